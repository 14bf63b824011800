"""A network in 8-bit integers: quantise and dequantise pairs around its convolutions.

In: an ONNX model, and inputs as it will see them. Out: the same model with pairs that say which
integer stands for what number: weights symmetric, with a scale for each channel; activations with
one for each tensor, over all values that calibration has seen. Engines make integer arithmetic of
that. Biases stay as they are: engines round them to the scale of the sums themselves.

The last product stays fp32. It costs nothing, and what is rounded there is rounded in the scores.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .engine import ModelError
from .metadata import one_line
from .onnx_graph import PRODUCTS, replace_nodes

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

Feeds = Iterable[Mapping[str, NDArray[Any]]]
Ranges = dict[str, tuple[float, float]]

ACTIVATIONS = frozenset({"Clip", "Relu"})  # computed with the convolution before them
SAME_RANGE = frozenset({"Identity", "MaxPool"})  # what comes out is among what went in
LARGEST_BIAS = 2**30  # in steps; half of what 32 bits hold
LARGEST = 127  # of a weight, and of a signed activation: -128 would have no counterpart


def quantise(proto: "ModelProto", calibration: Feeds, *, signed: bool = False) -> None:
    """Quantise the convolutions of a model but the last ones, in place.

    Parameters
    ----------
    proto : onnx.ModelProto
        In fp32, of opset 13 or newer.
    calibration : iterable of mappings of input name to array
        Values beyond those seen here will be cut off.
    signed : bool
        Activations as int8 about zero, as TensorRT demands. False: as uint8 from the smallest
        value to the largest, which is twice as fine after a ReLU, and what makes one with the
        convolution in ONNX Runtime.

    Raises
    ------
    ValueError
        If there is nothing to calibrate on.
    ModelError
        If the model has nothing to quantise, or cannot be run on what calibrates.
    """
    graph = proto.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    chosen = {
        node.output[0]: node for node in _leading(graph) if node.input[1] in weights
    }  # a convolution's output -> itself
    if not chosen:
        raise ModelError("the model has no convolution to quantise; use it as it is")
    sources = _sources(graph, chosen.values())
    ranges = measure(proto, sorted(set(sources.values())), calibration)
    nodes: list[NodeProto] = []
    pairs: dict[str, str] = {}  # a tensor -> itself, dequantised

    def pair(name: str) -> None:
        if name in sources:
            scale, zero = _steps(*ranges[sources[name]], signed=signed)
            pairs[name] = _add_pair(graph, nodes, name, scale, zero)

    for value in graph.input:
        pair(value.name)
    for node in graph.node:
        if node.output[0] in chosen:
            step, _ = _steps(*ranges[sources[node.input[0]]], signed=signed)
            node.input[1] = _add_weights(graph, nodes, node, weights, step)
        for at, name in enumerate(node.input):
            node.input[at] = pairs.get(name, name)
        nodes.append(node)
        for name in node.output:
            pair(name)
    replace_nodes(graph, nodes)


def measure(proto: "ModelProto", names: Iterable[str], calibration: Feeds) -> Ranges:
    """Return the smallest and the largest value of tensors of a model, and 0 in any case.

    Parameters
    ----------
    proto : onnx.ModelProto
    names : iterable of str
        Of fp32 tensors, the model's inputs among them.
    calibration : iterable of mappings of input name to array

    Returns
    -------
    ranges : dict of name to (float, float)

    Raises
    ------
    ValueError
        If there is nothing to calibrate on.
    ModelError
        If the model cannot be run on it, or gives values that are not finite.
    """
    import onnx

    from .ort import make_session

    ranges = dict.fromkeys(names, (0.0, 0.0))
    inputs = {value.name for value in proto.graph.input}
    asked = [name for name in ranges if name not in inputs]
    probe = onnx.ModelProto()
    probe.CopyFrom(proto)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in asked)
    session = make_session(probe.SerializeToString(), "the model that is quantised")
    n_feeds = 0
    for n_feeds, feeds in enumerate(calibration, 1):  # noqa: B007
        try:
            values = dict(feeds) | dict(zip(asked, session.run(asked, dict(feeds)), strict=True))
        except Exception as error:  # the runtime's own exceptions share no base class
            raise ModelError(f"the model fails on what calibrates it: {one_line(error)}") from None
        for name, (low, high) in ranges.items():
            seen = values[name]
            ranges[name] = float(np.minimum(low, seen.min())), float(np.maximum(high, seen.max()))
    if not n_feeds:
        raise ValueError("int8 needs inputs to calibrate on; give some")
    if not np.isfinite(list(ranges.values())).all():
        raise ModelError("the model gives values that are not finite on what calibrates it")
    return ranges


def weight_scales(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the step between the integers of each row that rounds it with the smallest error.

    The largest weight becomes 64 to 127. Weights that were integers once, as those of many public
    networks, become integers again without any error.

    Parameters
    ----------
    rows : float32, shape (channels, weights of each)

    Returns
    -------
    scales : float32, shape (channels,)

    Examples
    --------
    >>> weight_scales(np.array([[0.5, 50.0]], np.float32))  # 100 half steps, in place of 127
    array([0.5], dtype=float32)
    """
    largest = np.abs(rows).max(axis=1)
    largest = np.where(largest > 0, largest, 1.0).astype(np.float32)
    best = largest / LARGEST
    least = np.full(len(rows), np.inf, np.float32)
    for level in range(LARGEST, LARGEST // 2, -1):
        scales = largest / level
        steps = rows / scales[:, None]
        error = scales**2 * np.square(steps - np.rint(steps)).sum(axis=1)
        best = np.where(error < least, scales, best)
        least = np.minimum(error, least)
    return np.asarray(best, np.float32)


def _leading(graph: "GraphProto") -> "Iterator[NodeProto]":
    """Yield the convolutions that lead to another one, or to a matrix product."""
    before: set[str] = set()  # tensors that lead to a product
    for node in reversed(graph.node):
        leads = not before.isdisjoint(node.output)
        if leads and node.op_type == "Conv":
            yield node
        if leads or node.op_type in PRODUCTS:
            before.update(node.input)


def _sources(graph: "GraphProto", chosen: "Iterable[NodeProto]") -> dict[str, str]:
    """Return the tensors to quantise: all that goes into a convolution, and what comes out of it.

    Returns
    -------
    sources : dict of str to str
        A tensor, and the one whose range it has: a pool's output has that of its input.
    """
    makers = {name: node for node in graph.node for name in node.output}
    users: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    sources: dict[str, str] = {}
    for convolution in chosen:
        way = [convolution.input[0]]
        while way[-1] in makers and makers[way[-1]].op_type in SAME_RANGE:
            way.append(makers[way[-1]].input[0])
        sources.update(dict.fromkeys(way, way[-1]))
        result = convolution.output[0]
        while len(users.get(result, ())) == 1 and users[result][0].op_type in ACTIVATIONS:
            result = users[result][0].output[0]
        sources.setdefault(result, result)
    return sources


def _steps(low: float, high: float, *, signed: bool) -> tuple[float, NDArray[Any]]:
    """Return the step between two integers, and the integer that stands for zero."""
    if signed:
        return max(-low, high) / LARGEST or 1.0, np.array(0, np.int8)
    scale = (high - low) / 255 or 1.0
    return scale, np.array(round(-low / scale), np.uint8)


def _add_pair(
    graph: "GraphProto", nodes: "list[NodeProto]", name: str, scale: float, zero: NDArray[Any]
) -> str:
    """Add the pair of a tensor, and return the name of what comes out of it."""
    from onnx import helper

    steps = _add_steps(graph, name, np.array(scale, np.float32), zero)
    integers, result = f"{name}_int8", f"{name}_dequantised"
    nodes.append(helper.make_node("QuantizeLinear", [name, *steps], [integers], integers))
    nodes.append(helper.make_node("DequantizeLinear", [integers, *steps], [result], result))
    return result


def _add_weights(
    graph: "GraphProto",
    nodes: "list[NodeProto]",
    node: "NodeProto",
    weights: Mapping[str, Any],
    step: float,
) -> str:
    """Add the weights of a convolution as integers, and return the name of what they stand for.

    Engines hold its bias in 32 bits, in steps of a weight times `step`, that of its input: next to
    a large bias, weights that are nothing become zero.
    """
    from onnx import helper, numpy_helper

    values = numpy_helper.to_array(weights[node.input[1]])  # (channels out, channels in, ...)
    scales = weight_scales(values.reshape(len(values), -1))
    if len(node.input) > 2 and node.input[2] in weights:
        bias = np.abs(numpy_helper.to_array(weights[node.input[2]]))
        scales = np.maximum(scales, bias / (step * LARGEST_BIAS)).astype(np.float32)
    integers = np.rint(values / scales.reshape(-1, *[1] * (values.ndim - 1)))
    name = f"{node.output[0]}_weight"
    steps = _add_steps(graph, name, scales, np.zeros(len(values), np.int8))
    stored, result = f"{name}_int8", f"{name}_dequantised"
    graph.initializer.append(numpy_helper.from_array(integers.astype(np.int8), stored))
    nodes.append(helper.make_node("DequantizeLinear", [stored, *steps], [result], result, axis=0))
    return result


def _add_steps(
    graph: "GraphProto", name: str, scale: NDArray[np.float32], zero: NDArray[Any]
) -> list[str]:
    from onnx import numpy_helper

    names = [f"{name}_scale", f"{name}_zero"]
    for given, values in zip(names, (scale, zero), strict=True):
        graph.initializer.append(numpy_helper.from_array(values, given))
    return names
