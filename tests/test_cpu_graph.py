"""A graph for the CPU: fewer and cheaper nodes, the same scores."""

from collections import Counter
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, load_model_from_string, numpy_helper

from playspot.engines import cpu_graph
from playspot.engines.catalogue import bundled
from playspot.engines.cpu_graph import for_cpu
from playspot.engines.metadata import find_header

CLOSE = 2e-6  # sums of some thousand products in another order


@pytest.fixture(autouse=True)
def _blocks_of_8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_graph, "has_blocks_of_8", lambda: True)


def _bytes(kind: Any) -> bytes:
    path = bundled()[kind].path
    assert path is not None
    return path.read_bytes()


def _operators(model: bytes) -> Counter[str]:
    return Counter(node.op_type for node in load_model_from_string(model).graph.node)


def _run(model: bytes, feed: NDArray[Any]) -> NDArray[Any]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: feed})[0])


def _convolution(n_channels: int, group: int = 1, bias: bool = True) -> bytes:
    rng = np.random.default_rng(1)
    kernel = rng.standard_normal((12 * group, n_channels // group, 3, 3), dtype=np.float32)
    weights = [numpy_helper.from_array(kernel, "w")]
    if bias:
        weights.append(numpy_helper.from_array(np.arange(12.0 * group, dtype=np.float32), "b"))
    inputs = ["x", *(weight.name for weight in weights)]
    node = helper.make_node("Conv", inputs, ["y"], strides=[2, 2], pads=[1, 1, 1, 1], group=group)
    return _file([node], ["batch", n_channels, "h", "w"], weights)


def _file(nodes: list[Any], shape: list[Any], weights: list[Any]) -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    proto = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    return bytes(proto.SerializeToString())


# The networks of the package


def test_the_flow_network_is_split_and_banded_and_gives_the_same_scores() -> None:
    model = _bytes("action")
    changed = for_cpu(model, "action", backend="onnx", precision="fp32")
    before, after = _operators(model), _operators(changed)
    assert (before["Slice"], after["Slice"], after["Pad"]) == (5, 0, 0)
    assert after["Conv"] == before["Conv"] + 2  # one part more, and the band
    stacks = np.random.default_rng(4).standard_normal((2, 10, 72, 120), dtype=np.float32)
    assert np.abs(_run(model, stacks) - _run(changed, stacks)).max() < CLOSE


def test_the_picture_network_is_banded_and_gives_the_same_scores() -> None:
    model = _bytes("object")
    changed = for_cpu(model, "object", backend="onnx", precision="fp32")
    assert _operators(changed)["Slice"] == 0
    pictures = np.random.default_rng(4).integers(0, 256, (2, 72, 120, 3), dtype=np.uint8)
    assert np.abs(_run(model, pictures) - _run(changed, pictures)).max() < CLOSE


def test_the_sound_network_is_left_as_it_is() -> None:
    model = _bytes("sound")
    assert for_cpu(model, "sound", backend="onnx", precision="fp32") is model


def test_the_header_is_kept() -> None:
    model = _bytes("action")
    changed = for_cpu(model, "action", backend="onnx", precision="fp32")
    header = find_header(load_model_from_string(model), "action")
    assert find_header(load_model_from_string(changed), "action") == header


def test_int8_has_its_standardisation_as_a_convolution_and_gives_the_same_scores() -> None:
    """The network of pictures: what is rewritten does not depend on what is quantised."""
    model = _bytes("object")
    changed = for_cpu(model, "object", backend="onnx", precision="int8")
    before, after = _operators(model), _operators(changed)
    assert (before["Sub"], after["Sub"], after["Slice"]) == (1, 0, 5)
    pictures = np.random.default_rng(4).integers(0, 256, (2, 72, 120, 3), dtype=np.uint8)
    assert np.abs(_run(model, pictures) - _run(changed, pictures)).max() < CLOSE


def test_openvino_gets_bands_and_no_parts() -> None:
    model = _bytes("action")
    changed = for_cpu(model, "action", backend="openvino", precision="fp32")
    assert _operators(changed)["Slice"] == 0
    assert _operators(changed)["Split"] == 0


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_is_left_as_it_is(precision: str) -> None:
    model = _bytes("action")
    assert for_cpu(model, "action", backend="openvino", precision=precision) is model


# Convolutions


@pytest.mark.parametrize("n_channels", [9, 10, 11, 13, 14, 15])
@pytest.mark.parametrize("bias", [True, False])
def test_parts_add_up_to_the_convolution(n_channels: int, bias: bool) -> None:
    model = _convolution(n_channels, bias=bias)
    changed = for_cpu(model, "x", backend="onnx", precision="fp32")
    assert _operators(changed)["Conv"] == (2 if n_channels <= 14 else 3)
    x = np.random.default_rng(4).standard_normal((2, n_channels, 9, 8), dtype=np.float32)
    assert np.allclose(_run(model, x), _run(changed, x), atol=1e-4)


@pytest.mark.parametrize("n_channels", [3, 8, 12, 16, 18])
def test_other_numbers_of_channels_are_left_as_they_are(n_channels: int) -> None:
    model = _convolution(n_channels)
    assert for_cpu(model, "x", backend="onnx", precision="fp32") is model


def test_convolutions_by_group_are_left_as_they_are() -> None:
    model = _convolution(20, group=2)
    assert for_cpu(model, "x", backend="onnx", precision="fp32") is model


def test_nothing_is_split_where_blocks_are_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_graph, "has_blocks_of_8", lambda: False)
    model = _convolution(10)
    assert for_cpu(model, "x", backend="onnx", precision="fp32") is model


# Local response normalisation


def _shifted(change: str = "") -> bytes:
    """Return what sums over neighbours by slices, or something that only looks like it."""
    n_channels = 70 if change == "many channels" else 6
    end = {"wrong end": n_channels - 1}.get(change, n_channels)
    integers = {
        "pads": [0, 1 if change == "pads" else 2, 0, 0, 0, 2, 0, 0],
        "axis": [2 if change == "axis" else 1],
        **{f"from{n}": [n] for n in range(5)},
        **{f"to{n}": [end + n] for n in range(5)},
    }
    weights = [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in integers.items()]
    floats = {"scale": [0.1] * (n_channels if change == "scales" else 1), "bias": [2.0]}
    for name, values in floats.items():
        shape = (1, -1, 1, 1) if len(values) > 1 else ()
        array = np.array(values, np.float32).reshape(shape)
        weights.append(numpy_helper.from_array(array, name))
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["p"], mode="edge" if change == "edge" else None),
        *(
            helper.make_node("Slice", ["p", f"from{n}", f"to{n}", "axis"], [f"s{n}"])
            for n in range(5)
        ),
        helper.make_node("Add", ["s0", "s1"], ["a1"]),
        *(helper.make_node("Add", [f"a{n - 1}", f"s{n}"], [f"a{n}"]) for n in range(2, 5)),
        helper.make_node("Mul", ["a4", "scale"], ["m"]),
        helper.make_node("Add", ["bias", "m"], ["z" if change == "used twice" else "y"]),
    ]
    if change == "used twice":
        nodes.append(helper.make_node("Add", ["z", "a3"], ["y"]))
    return _file(nodes, ["batch", n_channels, "h", "w"], weights)


def test_a_sum_over_neighbours_is_a_band() -> None:
    model = _shifted()
    changed = for_cpu(model, "x", backend="onnx", precision="fp32")
    assert _operators(changed) == {"Conv": 1}
    x = np.random.default_rng(4).standard_normal((2, 6, 4, 5), dtype=np.float32)
    assert np.allclose(_run(model, x), _run(changed, x), atol=1e-6)


@pytest.mark.parametrize(
    "change", ["many channels", "scales", "wrong end", "edge", "used twice", "pads", "axis"]
)
def test_what_only_looks_like_it_is_left_as_it_is(change: str) -> None:
    model = _shifted(change)
    assert for_cpu(model, "x", backend="onnx", precision="fp32") is model


def test_a_model_without_any_weights_is_left_as_it_is() -> None:
    model = _file([helper.make_node("Relu", ["x"], ["y"])], ["batch", 3], [])
    assert isinstance(load_model_from_string(model), ModelProto)
    assert for_cpu(model, "x", backend="onnx", precision="fp32") is model


def test_a_graph_that_is_none_is_left_as_it_is() -> None:
    """What runs it says what is wrong."""
    nodes = [
        helper.make_node("Conv", [], ["c"]),
        helper.make_node("Mul", ["c", "d"], ["d"]),
        helper.make_node("Add", ["d"], ["y"]),
    ]
    model = _file(nodes, ["batch", 3], [])
    assert for_cpu(model, "x", backend="onnx", precision="fp32") is model
