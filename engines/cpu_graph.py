"""A network's graph as CPU libraries run it fastest: other nodes, the same scores.

Three things fall off the fast path of ONNX Runtime on a CPU:

* fp32: a convolution of 9 to 15 input channels that are no multiple of 4, such as the ten of a
  flow stack, where blocks are of 8 channels: it is computed in parts of fewer, which are added;
* fp32: local response normalisation as shifted slices: the sum over 5 neighbours is a 1x1
  convolution with a band of ones, which costs less up to some 64 channels. OpenVINO gains by that
  too, ONNX Runtime in int8 does not;
* int8: `(x - mean) / scale` of pictures, which it moves in front of the transposition, where it
  goes by 3 numbers at a time: it is a 1x1 convolution.

The scores differ by the order of additions alone (1e-7). Figures: benchmarks/engines.md.
"""

import platform
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .machine import cpu_flags
from .metadata import parse_model
from .onnx_graph import replace_nodes
from .options import Backend

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

MOST_IN_BAND = 64  # channels; a band of more costs more than the slices
WHOLE_PART = 7  # channels of a part at most: below a block, so that it need not be reordered
SAME_SHAPE = frozenset({"Relu", "QuantizeLinear", "DequantizeLinear", "Identity"})


def for_cpu(model: bytes, name: str, *, backend: Backend, precision: str) -> bytes:
    """Return a network as an ONNX file that a CPU runs faster; as it is, where nothing is gained.

    Parameters
    ----------
    model : bytes
        An ONNX file.
    name : str
        For the messages of errors.
    backend : {"onnx", "openvino"}
        What will run it.
    precision : {"fp32", "fp16", "bf16", "int8"}
        That of the file.

    Raises
    ------
    ModelError
        If the bytes are no ONNX model.
    """
    if precision not in ("fp32", "int8"):
        return model
    proto = parse_model(model, name)
    try:
        return _rewritten(proto, backend, precision) or model
    except (IndexError, TypeError, ValueError):  # a graph that is none: what runs it says so
        return model


def _rewritten(proto: "ModelProto", backend: Backend, precision: str) -> bytes | None:
    from onnx import numpy_helper

    graph = proto.graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = list(graph.node)
    if backend == "openvino" or precision == "fp32":
        nodes = _with_bands(graph, nodes, weights)
    if backend == "onnx" and precision == "int8":
        nodes = _with_standardisation(graph, nodes, weights)
    if backend == "onnx" and precision == "fp32" and has_blocks_of_8():
        nodes = [new for node in nodes for new in _parts(graph, node, weights)]
    if nodes == list(graph.node):
        return None
    replace_nodes(graph, nodes)
    return bytes(proto.SerializeToString(deterministic=True))


@cache
def has_blocks_of_8() -> bool:
    """Return whether ONNX Runtime works in blocks of 8 channels here: x86 without AVX-512."""
    flags = cpu_flags()
    is_x86 = platform.machine() in ("x86_64", "AMD64")
    return is_x86 and bool(flags) and "avx512f" not in flags


def _parts(graph: "GraphProto", node: "NodeProto", weights: dict[str, Any]) -> "list[NodeProto]":
    """Return a convolution as several of fewer channels, or as it is."""
    from onnx import helper

    kernel = weights.get(node.input[1]) if node.op_type == "Conv" else None
    if kernel is None or kernel.dtype != np.float32 or kernel.ndim != 4:
        return [node]
    n_channels = kernel.shape[1]
    group = next((a.i for a in node.attribute if a.name == "group"), 1)
    if group != 1 or not 8 < n_channels < 16 or n_channels % 4 == 0:
        return [node]
    kernels = np.array_split(kernel, -(-n_channels // WHOLE_PART), axis=1)
    base = node.output[0]
    sizes = _add(graph, f"{base}/sizes", np.array([part.shape[1] for part in kernels]))
    inputs = [f"{base}/input{number}" for number in range(len(kernels))]
    nodes = [helper.make_node("Split", [node.input[0], sizes], inputs, axis=1)]
    total = ""
    for number, part in enumerate(kernels):
        new = type(node).FromString(node.SerializeToString())
        new.name = f"{node.name}/{number}"
        new.input[0] = inputs[number]
        new.input[1] = _add(graph, f"{base}/weight{number}", np.ascontiguousarray(part))
        if number:  # the bias is added once
            del new.input[2:]
        new.output[0] = f"{base}/part{number}"
        nodes.append(new)
        if number:
            out = base if number == len(kernels) - 1 else f"{base}/sum{number}"
            nodes.append(helper.make_node("Add", [total, new.output[0]], [out]))
            total = out
        else:
            total = new.output[0]
    return nodes


def _with_bands(
    graph: "GraphProto", nodes: "list[NodeProto]", weights: dict[str, NDArray[Any]]
) -> "list[NodeProto]":
    """Return the nodes with each sum over neighbouring channels as a convolution."""
    from onnx import helper

    made = {output: node for node in nodes for output in node.output}
    outputs = {output.name for output in graph.output}
    for last in [node for node in nodes if node.op_type == "Add"]:
        found = _neighbours(last, made, weights)
        if found is None:
            continue
        squares, inner, n_channels, scale, bias = found
        if _n_channels(graph, squares, made, weights) != n_channels:
            continue
        used = {name for node in nodes if node not in inner for name in node.input} | outputs
        gone = [output for node in inner for output in node.output if output != last.output[0]]
        if used.intersection(gone):
            continue
        distance = np.abs(np.subtract.outer(np.arange(n_channels), np.arange(n_channels)))
        band = np.where(distance <= 2, scale, 0).astype(np.float32)[:, :, None, None]
        base = last.output[0]
        kernel = _add(graph, f"{base}/band", band)
        constant = _add(graph, f"{base}/bias", np.full(n_channels, bias, np.float32))
        conv = helper.make_node("Conv", [squares, kernel, constant], [base], kernel_shape=[1, 1])
        at = nodes.index(last)
        nodes = [*nodes[:at], conv, *nodes[at + 1 :]]
        nodes = [node for node in nodes if node not in inner]
    return nodes


def _with_standardisation(
    graph: "GraphProto", nodes: "list[NodeProto]", weights: dict[str, NDArray[Any]]
) -> "list[NodeProto]":
    """Return the nodes with `(x - mean) / scale` of what was transposed as a convolution."""
    from onnx import helper

    made = {output: node for node in nodes for output in node.output}
    for divide in [node for node in nodes if node.op_type == "Div"]:
        subtract = made.get(divide.input[0])
        if subtract is None or subtract.op_type != "Sub":
            continue
        mean, scale = weights.get(subtract.input[1]), weights.get(divide.input[1])
        turned = made.get(subtract.input[0])
        if turned is not None and turned.op_type == "Cast":
            turned = made.get(turned.input[0])
        n_users = sum(list(node.input).count(subtract.output[0]) for node in nodes)
        if mean is None or scale is None or mean.shape != scale.shape or mean.ndim != 4:
            continue
        n_channels = mean.shape[1]
        is_small = n_channels <= 4 and mean.size == n_channels and mean.dtype == np.float32
        if not is_small or n_users != 1 or turned is None or turned.op_type != "Transpose":
            continue
        base = divide.output[0]
        factor = 1 / scale.ravel()
        kernel = np.diag(factor).astype(np.float32)[:, :, None, None]
        shift = (-mean.ravel() * factor).astype(np.float32)
        inputs = [
            subtract.input[0],
            _add(graph, f"{base}/factor", kernel),
            _add(graph, f"{base}/shift", shift),
        ]
        at = nodes.index(divide)
        conv = helper.make_node("Conv", inputs, [base], kernel_shape=[1, 1])
        nodes = [*nodes[:at], conv, *nodes[at + 1 :]]
        nodes.remove(subtract)
    return nodes


def _neighbours(
    last: "NodeProto", made: "dict[str, NodeProto]", weights: dict[str, NDArray[Any]]
) -> "tuple[str, list[NodeProto], int, float, float] | None":
    """Return what bias + scale * (sum of 5 shifted slices of a padded input) is made of, or None.

    That is its input, its nodes, its number of channels, its scale and its bias.
    """
    product, bias = _with_scalar(last, made, weights)
    total, scale = _with_scalar(product, made, weights)
    if product is None or product.op_type != "Mul" or total is None or total.op_type != "Add":
        return None
    adds: list[NodeProto] = []
    slices: list[NodeProto] = []
    left = [total]
    while left:
        node = left.pop()
        (adds if node.op_type == "Add" else slices).append(node)
        if node.op_type == "Add":
            left += [made[name] for name in node.input if name in made]
        if len(adds) + len(slices) > 9:
            return None
    if len(adds) != 4 or any(node.op_type != "Slice" for node in slices):
        return None
    if len({node.input[0] for node in slices}) != 1:
        return None
    ranges = sorted(filter(None, (_channels(node, weights) for node in slices)))
    pad = made.get(slices[0].input[0])
    if [start for start, _ in ranges] != [0, 1, 2, 3, 4] or pad is None or pad.op_type != "Pad":
        return None
    n_channels = ranges[0][1]
    pads = _numbers(pad, 1, weights)
    is_plain = len(pad.input) == 2 and all(a.s in (b"", b"constant") for a in pad.attribute)
    if pads != [0, 2, 0, 0, 0, 2, 0, 0] or not is_plain or not 2 < n_channels <= MOST_IN_BAND:
        return None
    if any(stop < start + n_channels for start, stop in ranges):
        return None
    return pad.input[0], [last, product, *adds, *slices, pad], n_channels, scale, bias


def _n_channels(
    graph: "GraphProto",
    name: str,
    made: "dict[str, NodeProto]",
    weights: dict[str, NDArray[Any]],
) -> int | None:
    """Return the number of channels of a value, or None where it is not plain to see."""
    for _ in made:  # no more often, as a damaged graph may turn in a circle
        node = made.get(name)
        is_square = node is not None and node.op_type == "Mul" and len(set(node.input)) == 1
        if node is None or not (is_square or node.op_type in SAME_SHAPE):
            break
        name = node.input[0]
    if name in made:
        if made[name].op_type != "Conv":
            return None
        kernel = made[name].input[1]
        kernel = made[kernel].input[0] if kernel in made else kernel  # of int8, dequantised
        return int(weights[kernel].shape[0]) if kernel in weights else None
    for value in graph.input:
        if value.name == name and len(value.type.tensor_type.shape.dim) > 1:
            return int(value.type.tensor_type.shape.dim[1].dim_value)
    return None


def _with_scalar(
    node: "NodeProto | None", made: "dict[str, NodeProto]", weights: dict[str, NDArray[Any]]
) -> "tuple[NodeProto | None, float]":
    """Return what makes the one operand of a node and the number that the other one is."""
    if node is not None and len(node.input) == 2:
        for name, other in (node.input, reversed(node.input)):
            if other in weights and weights[other].size == 1 and name in made:
                return made[name], float(weights[other].reshape(()))
    return None, 0.0


def _channels(node: "NodeProto", weights: dict[str, NDArray[Any]]) -> tuple[int, int] | None:
    """Return the first channel of a slice and the one after its last, or None."""
    starts, stops, axes, steps = (_numbers(node, number, weights) for number in range(1, 5))
    if axes != [1] or steps not in ([1], []) or len(starts) != 1 or len(stops) != 1:
        return None
    return starts[0], stops[0]


def _numbers(node: "NodeProto", number: int, weights: dict[str, NDArray[Any]]) -> list[int]:
    if number >= len(node.input) or node.input[number] not in weights:
        return []
    return [int(value) for value in weights[node.input[number]].ravel()]


def _add(graph: "GraphProto", name: str, values: NDArray[Any]) -> str:
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(values, name))
    return name
