"""TFLite classifiers -> ONNX: reads the flatbuffer, undoes the quantisation, writes a float graph.

For the public teachers: plain feed-forward networks of convolutions, additions, a global mean and
a classifier. A picture network becomes fully convolutional (any size that is a multiple of 32); a
network with its own sound front end is cut at its first convolution. The clamping that quantised
activations had is kept, so that the outputs stay those of the original.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .engine import ModelError
from .metadata import one_line

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

# Numbers of the TFLite schema (tensorflow/lite/schema/schema.fbs).
OPERATORS = {
    0: "ADD",
    1: "AVERAGE_POOL_2D",
    3: "CONV_2D",
    4: "DEPTHWISE_CONV_2D",
    6: "DEQUANTIZE",
    9: "FULLY_CONNECTED",
    14: "LOGISTIC",
    22: "RESHAPE",
    25: "SOFTMAX",
    40: "MEAN",
    114: "QUANTIZE",
}
DTYPES = {0: np.float32, 1: np.float16, 2: np.int32, 3: np.uint8, 4: np.int64, 9: np.int8}
RANGES = {3: (0, 255), 9: (-128, 127)}
RELU, RELU6 = 1, 3
SAME = 0
OPSET = 13
IR_VERSION = 8


class _Table:
    """A flatbuffer table: fields by their number in the schema."""

    def __init__(self, buffer: bytes, position: int) -> None:
        from flatbuffers import number_types, table

        self._types = number_types
        self._table = table.Table(buffer, position)

    def _at(self, number: int) -> int:
        return int(self._table.Offset(4 + 2 * number))

    def scalar(self, number: int, kind: str, default: int = 0) -> int:
        place = self._at(number)
        flags = getattr(self._types, f"{kind}Flags")
        return int(self._table.Get(flags, self._table.Pos + place)) if place else default

    def table(self, number: int) -> "_Table | None":
        place = self._at(number)
        if not place:
            return None
        position = self._table.Indirect(self._table.Pos + place)
        return _Table(self._table.Bytes, position)

    def tables(self, number: int) -> "list[_Table]":
        start, n = self._vector(number)
        return [_Table(self._table.Bytes, self._table.Indirect(start + 4 * i)) for i in range(n)]

    def union(self, number: int) -> "_Table | None":
        return self.table(number)

    def array(self, number: int, dtype: Any) -> NDArray[Any]:
        start, n = self._vector(number)
        return np.frombuffer(self._table.Bytes, np.dtype(dtype).newbyteorder("<"), n, start)

    def _vector(self, number: int) -> tuple[int, int]:
        place = self._at(number)
        return (self._table.Vector(place), self._table.VectorLen(place)) if place else (0, 0)


@dataclass(frozen=True)
class _Operator:
    name: str
    inputs: list[int]
    outputs: list[int]
    options: _Table | None

    def option(self, number: int, kind: str, default: int = 0) -> int:
        return self.options.scalar(number, kind, default) if self.options else default


class _Network:
    """The first subgraph of a TFLite file."""

    def __init__(self, content: bytes) -> None:
        if content[4:8] != b"TFL3":
            raise ValueError("not a TFLite file")
        model = _Table(content, struct.unpack_from("<I", content)[0])
        self._buffers = model.tables(4)
        codes = [max(code.scalar(0, "Int8"), code.scalar(3, "Int32")) for code in model.tables(1)]
        graph = model.tables(2)[0]
        self._tensors = graph.tables(0)
        self.input = int(graph.array(1, np.int32)[0])
        self.operators = [
            _Operator(
                OPERATORS.get(codes[entry.scalar(0, "Uint32")], "OTHER"),
                [int(i) for i in entry.array(1, np.int32)],
                [int(i) for i in entry.array(2, np.int32)],
                entry.union(4),
            )
            for entry in graph.tables(3)
        ]

    def constant(self, index: int) -> NDArray[np.float32]:
        """Return a stored tensor in float, de-quantised; through a DEQUANTIZE if need be."""
        tensor = self._tensors[index]
        data = self._buffers[tensor.scalar(2, "Uint32")].array(0, np.uint8)
        if not data.size:
            source = [o for o in self.operators if o.name == "DEQUANTIZE" and index in o.outputs]
            if not source:
                raise ValueError(f"tensor {index} is no constant")
            return self.constant(source[0].inputs[0])
        kind = tensor.scalar(1, "Int8")
        values = data.view(DTYPES[kind]).reshape(tensor.array(0, np.int32))
        scale, zero, axis = self._quantisation(tensor)
        if kind in (0, 1) or not scale.size:
            return values.astype(np.float32)
        if scale.size > 1:
            shape = [1] * values.ndim
            shape[axis] = -1
            scale, zero = scale.reshape(shape), zero.reshape(shape)
        return np.asarray((values.astype(np.float64) - zero) * scale, np.float32)

    def limits(self, index: int) -> tuple[float, float] | None:
        """Return what a quantised activation was clamped to, or None for one in float."""
        tensor = self._tensors[index]
        kind = tensor.scalar(1, "Int8")
        scale, zero, _ = self._quantisation(tensor)
        if kind not in RANGES or scale.size != 1:
            return None
        low, high = RANGES[kind]
        return float((low - zero[0]) * scale[0]), float((high - zero[0]) * scale[0])

    def _quantisation(self, tensor: _Table) -> tuple[NDArray[Any], NDArray[Any], int]:
        found = tensor.table(4)
        if found is None:
            return np.zeros(0), np.zeros(0), 0
        scale = found.array(2, np.float32).astype(np.float64)
        zero = found.array(3, np.int64).astype(np.float64)
        if not zero.size:
            zero = np.zeros_like(scale)
        return scale, zero, found.scalar(6, "Int32")


@dataclass
class _Graph:
    """An ONNX graph while it grows."""

    nodes: "list[NodeProto]" = field(default_factory=list)
    weights: "list[TensorProto]" = field(default_factory=list)

    def add(self, operator: str, *inputs: str, to: str | None = None, **attributes: Any) -> str:
        from onnx import helper

        name = to or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def weight(self, values: NDArray[np.float32] | float) -> str:
        from onnx import numpy_helper

        name = f"w{len(self.weights)}"
        array = np.ascontiguousarray(values, np.float32)
        self.weights.append(numpy_helper.from_array(array.reshape(np.shape(values)), name))
        return name


def convert(content: bytes, kind: Literal["object", "sound"], name: str) -> "ModelProto":
    """Return the ONNX model of a TFLite classifier.

    Parameters
    ----------
    content : bytes
        The TFLite file.
    kind : {"object", "sound"}
        object: input `image` (B, 3, H, W) in [-1, 1], output `logit_map` (B, C, h, w).
        sound: input `patch` (B, 1, T, 64) log-mel, output `scores` (B, C) in [0, 1].
    name : str
        For the error's message, and kept as the producer.

    Returns
    -------
    model : onnx.ModelProto

    Raises
    ------
    ModelError
        If the file is no TFLite network of this kind: one line for the user.
    """
    try:
        return _convert(_Network(content), kind, name)
    except (ValueError, KeyError, IndexError, TypeError, struct.error) as error:
        raise ModelError(f"{name}: cannot be converted ({one_line(error)})") from None


def convert_file(source: Path, target: Path, kind: Literal["object", "sound"]) -> None:
    """Convert a TFLite file to an ONNX file; the target appears only when it is complete.

    Raises
    ------
    ModelError
        As `convert`.
    """
    model = convert(source.read_bytes(), kind, source.name)
    part = target.with_name(target.name + ".part")
    part.write_bytes(model.SerializeToString())
    part.replace(target)


def _convert(network: _Network, kind: Literal["object", "sound"], name: str) -> "ModelProto":
    from onnx import TensorProto, checker, helper

    graph = _Graph()
    first = next((o for o in network.operators if o.name == "CONV_2D"), None)
    if first is None:
        raise ValueError("it has no convolution")
    given = "image" if kind == "object" else "patch"
    names = {first.inputs[0]: given}
    features, rest = _body(network, graph, names)
    shape: list[int | str]
    if kind == "object":
        weights, bias = _classifier(network, rest, "CONV_2D")
        n_classes, n_channels = weights.shape[0], weights.shape[-1]
        kernel = graph.weight(weights.reshape(n_classes, n_channels, 1, 1))
        out = graph.add("Conv", features, kernel, graph.weight(bias), to="logit_map")
        inputs: list[int | str] = ["n", 3, "h", "w"]
        shape = ["n", n_classes, "fh", "fw"]
    else:
        weights, bias = _classifier(network, rest, "FULLY_CONNECTED")
        n_classes = weights.shape[0]
        pooled = graph.add("Flatten", graph.add("GlobalAveragePool", features), axis=1)
        logits = graph.add("Gemm", pooled, graph.weight(weights), graph.weight(bias), transB=1)
        out = graph.add("Sigmoid", logits, to="scores")
        inputs, shape = ["n", 1, "frames", 64], ["n", n_classes]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            kind,
            [helper.make_tensor_value_info(given, TensorProto.FLOAT, inputs)],
            [helper.make_tensor_value_info(out, TensorProto.FLOAT, shape)],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name=f"playspot, from {name}",
    )
    model.ir_version = IR_VERSION
    checker.check_model(model)
    return model


def _body(network: _Network, graph: _Graph, names: dict[int, str]) -> tuple[str, list[_Operator]]:
    """Write the network up to its global mean; return its features and the operators left."""
    write: dict[str, Callable[[_Operator], str]] = {
        "CONV_2D": lambda o: _convolution(network, graph, o, names[o.inputs[0]]),
        "DEPTHWISE_CONV_2D": lambda o: _convolution(network, graph, o, names[o.inputs[0]]),
        "ADD": lambda o: graph.add("Add", *(names[i] for i in o.inputs)),
    }
    fused = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 4, "ADD": 0}
    for number, operator in enumerate(network.operators):
        if operator.inputs[0] not in names:
            continue  # before the first convolution: the sound front end
        if operator.name in ("AVERAGE_POOL_2D", "MEAN"):
            return names[operator.inputs[0]], network.operators[number + 1 :]
        if operator.name in ("QUANTIZE", "DEQUANTIZE", "RESHAPE"):
            names[operator.outputs[0]] = names[operator.inputs[0]]
            continue
        if operator.name not in write:
            raise ValueError(f"operator {number} ({operator.name}) is not known")
        value = write[operator.name](operator)
        activation = operator.option(fused[operator.name], "Int8")
        names[operator.outputs[0]] = _activate(
            graph, value, activation, network.limits(operator.outputs[0])
        )
    raise ValueError("it has no global mean before its classifier")


def _convolution(network: _Network, graph: _Graph, operator: _Operator, x: str) -> str:
    is_depthwise = operator.name == "DEPTHWISE_CONV_2D"
    weights = network.constant(operator.inputs[1])
    bias = network.constant(operator.inputs[2])
    # (out, h, w, in), depthwise (1, h, w, out) -> (out, in, h, w)
    kernel = weights.transpose(3, 0, 1, 2) if is_depthwise else weights.transpose(0, 3, 1, 2)
    strides = [operator.option(2, "Int32", 1), operator.option(1, "Int32", 1)]
    pads = [0, 0, 0, 0]
    if operator.option(0, "Int8") == SAME:
        # What SAME comes to where the size is a multiple of the stride: more at the far end.
        spare = [max(0, n - s) for n, s in zip(kernel.shape[2:], strides, strict=True)]
        pads = [spare[0] // 2, spare[1] // 2, spare[0] - spare[0] // 2, spare[1] - spare[1] // 2]
    return graph.add(
        "Conv",
        x,
        graph.weight(kernel),
        graph.weight(bias),
        strides=strides,
        pads=pads,
        group=len(kernel) if is_depthwise else 1,
        kernel_shape=list(kernel.shape[2:]),
    )


def _activate(graph: _Graph, x: str, activation: int, limits: tuple[float, float] | None) -> str:
    low, high = limits or (-np.inf, np.inf)
    if activation in (RELU, RELU6):
        low = max(low, 0.0)
    if activation == RELU6:
        high = min(high, 6.0)
    if (low, high) == (0.0, np.inf):
        return graph.add("Relu", x)
    if (low, high) == (-np.inf, np.inf):
        return x
    return graph.add("Clip", x, graph.weight(low), graph.weight(high))


def _classifier(
    network: _Network, operators: list[_Operator], name: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    last = [operator for operator in operators if operator.name == name]
    if not last:
        raise ValueError(f"it has no classifier ({name}) after its global mean")
    return network.constant(last[-1].inputs[1]), network.constant(last[-1].inputs[2])
