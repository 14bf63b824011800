"""A network in another precision: the same inputs and outputs, other arithmetic between them.

In: an ONNX file. Out: an ONNX file that says its precision itself, by casts (fp16, bf16) or by
quantise and dequantise pairs (int8), as TensorRT 11, OpenVINO and ONNX Runtime all want it.

Only what costs is made cheap: convolutions and matrix products, and what passes their values on.
Standardisation, the squares of local response normalisation (which overflow half precision) and
the sigmoid at the end stay fp32.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .engine import Header, ModelError
from .metadata import find_header, one_line, parse_model, write_header
from .onnx_graph import PRODUCTS, replace_nodes
from .options import Precision

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

# Rounding before them is rounding after them: in half precision with what comes in, or goes out.
MONOTONE = frozenset(
    {"Clip", "Flatten", "Identity", "MaxPool", "Relu", "Reshape", "Squeeze", "Transpose"}
)
# In half precision if all that comes in is: sums and means of few values of one size.
FOLLOWERS = MONOTONE | {"Add", "AveragePool", "Concat", "GlobalAveragePool"}
OPSET = {"fp16": 13, "bf16": 22, "int8": 13}  # the first whose operators take these types


def convert(
    model: bytes,
    precision: Precision,
    *,
    calibration: Iterable[Mapping[str, NDArray[Any]]] | None = None,
    signed: bool = False,
) -> bytes:
    """Return a network in another precision.

    Parameters
    ----------
    model : bytes
        An ONNX file in fp32.
    precision : {"fp32", "fp16", "bf16", "int8"}
        fp32 is the model as it is. ONNX Runtime has no kernels for bf16 on the CPU.
    calibration : iterable of mappings of input name to array, optional
        int8 only: inputs as the network will see them, which say how large its activations are.
    signed : bool
        int8 only: activations as TensorRT demands them; see `quantise`.

    Returns
    -------
    converted : bytes
        An ONNX file whose inputs and outputs have the names and types of the model's; its header,
        if there is one, says the precision in `provenance`.

    Raises
    ------
    ModelError
        If the model cannot be converted: one line that says why.
    ValueError
        If int8 is wanted without anything to calibrate on.

    Examples
    --------
    >>> half = convert(Path("object.onnx").read_bytes(), "fp16")  # doctest: +SKIP
    """
    if precision == "fp32":
        return model
    import onnx  # only who converts pays for it

    proto = parse_model(model, "the model")
    header = find_header(proto, "the model")
    if fault := _fault(proto, header):
        raise ModelError(f"the model cannot be converted to {precision}: {fault}")
    if all(given.version < OPSET[precision] for given in proto.opset_import):
        proto = _raised(proto, OPSET[precision])
    if precision == "int8":
        from .quantise import quantise

        quantise(proto, calibration or (), signed=signed)
    else:
        halve(proto, onnx.TensorProto.FLOAT16 if precision == "fp16" else onnx.TensorProto.BFLOAT16)
    if header is not None:
        known = {**header.provenance, "precision": precision}
        write_header(proto, header.model_copy(update={"provenance": known}))
    try:
        onnx.checker.check_model(proto, full_check=True)
    except Exception as error:  # its own, and those of shape inference
        raise ModelError(
            f"the model cannot be converted to {precision}: {one_line(error)}"
        ) from None
    converted: bytes = proto.SerializeToString(deterministic=True)
    return converted


def halve(proto: "ModelProto", element: int) -> None:
    """Turn the products of a network, and what follows them, into a 16-bit type, in place.

    Parameters
    ----------
    proto : onnx.ModelProto
    element : int
        `onnx.TensorProto.FLOAT16` or `BFLOAT16`.
    """
    from onnx import TensorProto, helper

    graph = proto.graph
    floats = _floats(proto)
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.name in floats}
    inside = _halved(graph, floats - weights.keys())
    outside = [node for i, node in enumerate(graph.node) if i not in inside]
    needed = {name for node in outside for name in node.input}  # in fp32 as well
    needed |= {output.name for output in graph.output}
    nodes: list[NodeProto] = []
    halves: set[str] = set()  # tensors that are there in 16 bits: by this name, and `_half`

    def half(name: str) -> str:
        new = f"{name}_half"
        if name not in halves and name in weights:
            graph.initializer.append(_rounded(weights[name], new, element))
        elif name not in halves:
            nodes.append(helper.make_node("Cast", [name], [new], new, to=element))
        halves.add(name)
        return new

    for i, node in enumerate(graph.node):
        if i not in inside:
            nodes.append(node)
            continue
        made = [name for name in node.output if name in floats]
        inputs = [half(name) if name in floats else name for name in node.input]
        halves.update(made)
        outputs = [half(name) if name in floats else name for name in node.output]
        node.input[:], node.output[:] = inputs, outputs
        nodes.append(node)
        for name in (name for name in made if name in needed):
            single = f"{name}_single"
            nodes.append(
                helper.make_node("Cast", [half(name)], [name], single, to=TensorProto.FLOAT)
            )
    replace_nodes(graph, nodes)


def _fault(proto: "ModelProto", header: Header | None) -> str | None:
    """Return why a model cannot be converted, or None."""
    if any(attribute.HasField("g") for node in proto.graph.node for attribute in node.attribute):
        return "it branches; use it in fp32"
    if header is None:
        return None
    if header.takes == "frames":
        return "its optical flow needs fp32; convert the action model first, then fuse the flow"
    if (known := header.provenance.get("precision", "fp32")) != "fp32":
        return f"it is in {known} already; convert the original"
    return None


def _raised(proto: "ModelProto", opset: int) -> "ModelProto":
    """Return a model of a newer opset; the converter forgets the metadata."""
    import onnx

    try:
        raised = onnx.version_converter.convert_version(proto, opset)
    except Exception as error:  # the converter's own share no base class
        raise ModelError(
            f"the model cannot be raised to opset {opset} ({one_line(error)}); export it anew"
        ) from None
    del raised.metadata_props[:]
    raised.metadata_props.extend(proto.metadata_props)
    return raised


def _floats(proto: "ModelProto") -> set[str]:
    """Return the names of all tensors that are fp32."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(proto).graph
    element = onnx.TensorProto.FLOAT
    values = [*graph.input, *graph.value_info, *graph.output]
    found = {value.name for value in values if value.type.tensor_type.elem_type == element}
    return found | {tensor.name for tensor in graph.initializer if tensor.data_type == element}


def _halved(graph: "GraphProto", values: set[str]) -> set[int]:
    """Return the numbers of the nodes that compute in 16 bits; `values` are fp32 activations."""
    inside: set[int] = set()
    half: set[str] = set()
    for i, node in enumerate(graph.node):
        given = values.intersection(node.input)
        follows = node.op_type in FOLLOWERS and given and given <= half
        if node.op_type in PRODUCTS or follows:
            inside.add(i)
            half.update(values.intersection(node.output))
    users: dict[str, set[int]] = {}
    for i, node in enumerate(graph.node):
        for name in node.input:
            users.setdefault(name, set()).add(i)
    for i in reversed(range(len(graph.node))):
        node = graph.node[i]
        goes_to = set[int]().union(*(users.get(name, ()) for name in node.output))
        is_float = node.op_type in MONOTONE and not values.isdisjoint(node.input)
        if is_float and goes_to and goes_to <= inside:
            inside.add(i)
    return inside


def _rounded(tensor: Any, name: str, element: int) -> Any:
    """Return an fp32 tensor in a 16-bit type; what is too large becomes the largest there is."""
    import onnx

    values = onnx.numpy_helper.to_array(tensor)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(element)
    if element == onnx.TensorProto.FLOAT16:
        largest = float(np.finfo(np.float16).max)
        values = np.clip(values, -largest, largest)
    return onnx.numpy_helper.from_array(values.astype(dtype), name)
