"""What a network costs by its ONNX graph: FLOP and bytes moved, operator by operator.

In: an ONNX graph and the sizes of its inputs. Out: FLOP (a multiply-add is two) and bytes, each
operator reading its weights and inputs once and writing its outputs once, by element type. That is
exact for convolutions and products of matrices; an engine that fuses operators moves fewer bytes.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

Shape = tuple[int, ...]

# Another name for the same memory, or known before the run: neither FLOP nor bytes.
_FREE: Final = frozenset({
    "Constant", "ConstantOfShape", "Dropout", "Flatten", "Identity", "Reshape", "Shape", "Size",
    "Squeeze", "Unsqueeze",
})  # fmt: skip
# What only moves numbers.
_MOVES: Final = frozenset({
    "Cast", "Concat", "DepthToSpace", "Expand", "Gather", "GatherElements", "GatherND", "Pad",
    "Slice", "SpaceToDepth", "Split", "Tile", "Transpose", "Where",
})  # fmt: skip
# Part of the operators around them in every engine that knows int8: they read and write int8.
_QUANTISE: Final = frozenset(("QuantizeLinear", "DequantizeLinear"))
_POOLS: Final = frozenset(("MaxPool", "AveragePool"))
_OF_INPUT: Final = frozenset(("GlobalAveragePool", "GlobalMaxPool"))
_SOFTMAX = 5  # FLOP an element: maximum, difference, exponential, sum, quotient
_BILINEAR = 8  # FLOP an output element: four weights, four multiply-adds less one


@dataclass(frozen=True)
class OperatorCost:
    """What one operator costs.

    Attributes
    ----------
    name, operator : str
        Of the node, and its type, such as "Conv".
    flop, n_bytes : int
    """

    name: str
    operator: str
    flop: int
    n_bytes: int


@dataclass(frozen=True)
class GraphCost:
    """What a graph costs at given input sizes.

    Attributes
    ----------
    operators : tuple of OperatorCost
        In the order of the graph, without those that cost nothing.
    """

    operators: tuple[OperatorCost, ...]

    @property
    def flop(self) -> int:
        """All floating point operations; a multiply-add is two."""
        return sum(operator.flop for operator in self.operators)

    @property
    def n_bytes(self) -> int:
        """All bytes read and written."""
        return sum(operator.n_bytes for operator in self.operators)

    @property
    def intensity(self) -> float:
        """FLOP a byte."""
        return self.flop / max(1, self.n_bytes)

    def by_operator(self) -> dict[str, tuple[int, int]]:
        """Return FLOP and bytes by type of operator, the dearest first."""
        found: dict[str, tuple[int, int]] = {}
        for cost in self.operators:
            flop, n_bytes = found.get(cost.operator, (0, 0))
            found[cost.operator] = flop + cost.flop, n_bytes + cost.n_bytes
        return dict(sorted(found.items(), key=lambda item: -item[1][0]))


def graph_cost(model: "bytes | ModelProto", sizes: Mapping[str, Shape]) -> GraphCost:
    """Return what one run of a network costs.

    Parameters
    ----------
    model : bytes or ModelProto
        An ONNX file that `parse_model` accepts.
    sizes : mapping of input name to tuple of int
        Of every input.

    Returns
    -------
    cost : GraphCost

    Raises
    ------
    ValueError
        If an input has no size, or a shape in the graph follows neither from these sizes nor from
        a run on zeros.

    Examples
    --------
    >>> from playspot.engines.catalogue import bundled
    >>> model = bundled()["object"].path.read_bytes()
    >>> round(graph_cost(model, {"pictures": (1, 144, 256, 3)}).flop / 2e9, 2)  # GMAC
    0.14
    """
    import onnx

    proto = onnx.ModelProto()
    proto.CopyFrom(onnx.load_model_from_string(model) if isinstance(model, bytes) else model)
    if proto.functions:
        import onnx.inliner

        proto = onnx.inliner.inline_local_functions(proto)
    graph = _Graph(proto, sizes)
    return GraphCost(tuple(graph.costs()))


class _Graph:
    # A graph whose every tensor has a shape and an element size.

    def __init__(self, proto: "ModelProto", sizes: Mapping[str, Shape]) -> None:
        import onnx

        weights = {weight.name: weight for weight in proto.graph.initializer}
        for value in proto.graph.input:
            if value.name not in weights:
                _fix(value, sizes.get(value.name))
        del proto.graph.value_info[:]
        proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
        self.nodes = list(proto.graph.node)
        self.shapes: dict[str, Shape] = {n: tuple(w.dims) for n, w in weights.items()}
        self.widths = {n: _width(w.data_type) for n, w in weights.items()}
        values = (proto.graph.input, proto.graph.value_info, proto.graph.output)
        for value in (value for group in values for value in group):
            self._learn(value)
        outputs = [name for node in self.nodes for name in node.output if name]
        if unknown := [name for name in outputs if name not in self.shapes]:
            self.shapes |= _shapes_of_a_run(proto, unknown)
        # Through Q and DQ: the tensor that is read in place of this one.
        self.source = {n.output[0]: n.input[0] for n in self.nodes if n.op_type in _QUANTISE}
        readers: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                readers.setdefault(name, []).append(node)
        self.sink = {
            name: nodes[0].output[0]
            for name, nodes in readers.items()
            if len(nodes) == 1 and nodes[0].op_type == "QuantizeLinear"
        }

    def costs(self) -> Iterator[OperatorCost]:
        for node in self.nodes:
            if node.op_type in _FREE or node.op_type in _QUANTISE:
                continue
            reads = sum(self._bytes(self._read(name)) for name in set(node.input) if name)
            writes = sum(self._bytes(self.sink.get(name, name)) for name in node.output if name)
            flop = 0 if node.op_type in _MOVES else self._flop(node)
            yield OperatorCost(node.name, node.op_type, flop, reads + writes)

    def _learn(self, value: "ValueInfoProto") -> None:
        tensor = value.type.tensor_type
        self.widths[value.name] = _width(tensor.elem_type)
        dims = tensor.shape.dim
        if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            self.shapes[value.name] = tuple(dim.dim_value for dim in dims)

    def _read(self, name: str) -> str:
        source = self.source.get(name, name)
        # x -> Q -> DQ -> operator: what is read is what Q wrote, not what Q read.
        return name if source not in self.shapes else source

    def _bytes(self, name: str) -> int:
        return math.ceil(self._n(name) * self.widths.get(name, 4))

    def _n(self, name: str) -> int:
        return math.prod(self.shapes[name])

    def _flop(self, node: "NodeProto") -> int:
        n_out = self._n(node.output[0])
        kind = node.op_type
        if kind in _PRODUCTS:
            first, bias = _PRODUCTS[kind]
            n_terms = first(node, self.shapes)
            has_bias = bias is not None and len(node.input) > bias and bool(node.input[bias])
            return n_out * (2 * n_terms + has_bias)
        if kind == "ConvTranspose":
            weight = self.shapes[node.input[1]]
            return 2 * self._n(node.input[0]) * math.prod(weight[1:])
        if kind in _POOLS:
            return n_out * int(math.prod(_attribute(node, "kernel_shape")))
        if kind in _OF_INPUT or kind.startswith(("Reduce", "Arg")):
            return self._n(node.input[0])
        if kind == "LRN":
            return n_out * (2 * int(_attribute(node, "size")) + 3)
        if kind in ("Resize", "GridSample"):
            return n_out * _BILINEAR
        if kind in ("Softmax", "LogSoftmax"):
            return n_out * _SOFTMAX
        return n_out  # element by element


def _conv_terms(node: "NodeProto", shapes: Mapping[str, Shape]) -> int:
    weight = 3 if node.op_type == "QLinearConv" else 1
    return math.prod(shapes[node.input[weight]][1:])  # (input channels / groups) * kernel


def _matmul_terms(node: "NodeProto", shapes: Mapping[str, Shape]) -> int:
    return shapes[node.input[0]][-1]


def _gemm_terms(node: "NodeProto", shapes: Mapping[str, Shape]) -> int:
    return shapes[node.input[0]][0 if _attribute(node, "transA", 0) else -1]


# How many products make an output element, and the place of the bias.
_PRODUCTS: Final[
    dict[str, tuple[Callable[["NodeProto", Mapping[str, Shape]], int], int | None]]
] = {
    "Conv": (_conv_terms, 2),
    "ConvInteger": (_conv_terms, None),
    "QLinearConv": (_conv_terms, 8),
    "MatMul": (_matmul_terms, None),
    "MatMulInteger": (_matmul_terms, None),
    "Gemm": (_gemm_terms, 2),
}


def _attribute(node: "NodeProto", name: str, default: Any = None) -> Any:
    import onnx

    found = [entry for entry in node.attribute if entry.name == name]
    return onnx.helper.get_attribute_value(found[0]) if found else default


def _width(element: int) -> float:
    """Return the bytes of an element; of a kind that is unknown, four."""
    import onnx

    if element in (onnx.TensorProto.INT4, onnx.TensorProto.UINT4):
        return 0.5
    try:
        return float(onnx.helper.tensor_dtype_to_np_dtype(element).itemsize)
    except (KeyError, ValueError):
        return 4.0


def _fix(value: "ValueInfoProto", size: Shape | None) -> None:
    dims = value.type.tensor_type.shape.dim
    if size is None or len(size) != len(dims):
        raise ValueError(f"the input {value.name} has {len(dims)} axes; its size is {size}")
    for dim, n in zip(dims, size, strict=True):
        if dim.HasField("dim_value") and dim.dim_value != n:
            raise ValueError(f"an axis of {value.name} is {dim.dim_value}, not {n}")
        dim.dim_value = n


def _shapes_of_a_run(proto: "ModelProto", names: list[str]) -> dict[str, Shape]:
    """Return the shapes that follow from values alone, from a run on zeros."""
    import numpy as np
    import onnx
    import onnxruntime

    for name in {*names} - {value.name for value in proto.graph.output}:
        proto.graph.output.append(onnx.ValueInfoProto(name=name))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        feeds = {
            value.name: np.zeros(
                [dim.dim_value for dim in value.type.tensor_type.shape.dim],
                onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type),
            )
            for value in proto.graph.input
        }
        return dict(zip(names, (a.shape for a in session.run(names, feeds)), strict=True))
    except Exception as error:  # the runtime's own exceptions share no base class
        raise ValueError(f"the shape of {names[0]} cannot be known ({error})") from None
