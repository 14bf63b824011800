"""Quantisation: pairs that say which integer stands for what, as engines want them."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from playspot.engines import Kind, ModelError
from playspot.engines.metadata import find_header
from playspot.engines.ort import OrtNetwork
from playspot.engines.precision import convert
from playspot.engines.quantise import measure, weight_scales

KINDS: tuple[Kind, ...] = ("object", "action", "sound")
N_PRODUCTS = {"object": 8, "action": 8, "sound": 5}
Feeds = list[dict[str, NDArray[Any]]]


def _bundled(kind: Kind) -> bytes:
    return resources.files("playspot.models").joinpath(f"{kind}.onnx").read_bytes()


def _inputs(kind: Kind, rng: np.random.Generator) -> Feeds:
    if kind == "object":
        blocks = rng.integers(0, 256, (3, 12, 16, 3), np.uint8)
        return [{"pictures": blocks.repeat(8, axis=1).repeat(8, axis=2)}]
    if kind == "action":
        return [{"stacks": rng.standard_normal((3, 10, 96, 128), np.float32)}]
    return [{"log_mel": rng.uniform(0, 8, (3, 384, 64)).astype(np.float32)}]


def _chain(
    *, pools: bool = False, factor: Sequence[float] = (1.0, 1.0), bias: float = 0.0
) -> bytes:
    """Return x (1, 2, h, w) -> Conv -> Relu -> (MaxPool) -> Conv -> Conv -> y, one to one."""
    weight = np.diag(np.asarray(factor, np.float32))[:, :, None, None]
    nodes = [
        helper.make_node("Conv", ["x", "k", "bias"], ["first"]),
        helper.make_node("Relu", ["first"], ["positive"]),
        helper.make_node("MaxPool", ["positive"], ["pooled"], kernel_shape=[2, 2]),
        helper.make_node("Conv", ["pooled" if pools else "positive", "l"], ["second"]),
        helper.make_node("Conv", ["second", "l"], ["y"]),
    ]
    if not pools:
        del nodes[2]
    weights: dict[str, NDArray[Any]] = {
        "k": weight,
        "l": np.eye(2)[:, :, None, None],
        "bias": np.full(2, bias),
    }
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "chain",
        [value("x", TensorProto.FLOAT, (1, 2, "h", "w"))],
        [value("y", TensorProto.FLOAT, (1, 2, "rows", "cells"))],
        [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    content: bytes = helper.make_model(
        graph, opset_imports=opset, ir_version=10
    ).SerializeToString()
    return content


def _ramp(low: float, high: float) -> Feeds:
    return [{"x": np.linspace(low, high, 512, dtype=np.float32).reshape(1, 2, 16, 16)}]


def _constants(model: bytes) -> dict[str, NDArray[Any]]:
    graph = onnx.load_model_from_string(model).graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def _nodes(model: bytes, kind: str) -> list[Any]:
    return [n for n in onnx.load_model_from_string(model).graph.node if n.op_type == kind]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_int8_gives_nearly_the_same_scores(
    kind: Kind, signed: bool, rng: np.random.Generator
) -> None:
    model, feeds = _bundled(kind), _inputs(kind, rng)
    small = convert(model, "int8", calibration=feeds, signed=signed)
    found = [OrtNetwork(m, kind).run(feeds[0])["scores"] for m in (model, small)]
    assert np.abs(found[0] - found[1]).mean() < 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_the_header_is_kept_and_says_int8(kind: Kind, rng: np.random.Generator) -> None:
    small = convert(_bundled(kind), "int8", calibration=_inputs(kind, rng))
    header = find_header(onnx.load_model_from_string(small), kind)
    assert header is not None
    assert header.kind == kind
    assert header.provenance["precision"] == "int8"


@pytest.mark.parametrize("kind", KINDS)
def test_onnx_runtime_computes_all_but_the_last_product_in_integers(
    kind: Kind, rng: np.random.Generator, tmp_path: Path
) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4  # that the file is for this machine
    small = convert(_bundled(kind), "int8", calibration=_inputs(kind, rng))
    onnxruntime.InferenceSession(small, options, providers=["CPUExecutionProvider"])
    graph = onnx.load(tmp_path / "optimised.onnx").graph
    n_integer = sum(node.op_type == "QLinearConv" for node in graph.node)
    assert n_integer == N_PRODUCTS[kind] - 1


@pytest.mark.parametrize("kind", KINDS)
def test_signed_is_symmetric_everywhere_as_tensorrt_demands(
    kind: Kind, rng: np.random.Generator
) -> None:
    model = convert(_bundled(kind), "int8", calibration=_inputs(kind, rng), signed=True)
    constants = _constants(model)
    zeros = [constants[n.input[2]] for n in _nodes(model, "DequantizeLinear")]
    assert {zero.dtype for zero in zeros} == {np.dtype(np.int8)}
    assert not any(zero.any() for zero in zeros)


def test_after_a_relu_all_256_integers_are_used() -> None:
    small = convert(_chain(), "int8", calibration=_ramp(-1.0, 1.0))
    constants = _constants(small)
    assert constants["positive_zero"] == 0
    assert constants["positive_zero"].dtype == np.uint8
    np.testing.assert_allclose(constants["positive_scale"], 1 / 255, rtol=1e-6)


def test_a_pool_has_the_steps_of_what_it_pools() -> None:
    constants = _constants(convert(_chain(pools=True), "int8", calibration=_ramp(-1.0, 2.0)))
    assert constants["pooled_scale"] == constants["positive_scale"]


def test_each_channel_of_weights_has_its_own_scale() -> None:
    small = convert(_chain(factor=(100.0, 0.01)), "int8", calibration=_ramp(-1.0, 1.0))
    scales = _constants(small)["first_weight_scale"]
    assert scales.shape == (2,)
    assert scales[0] / scales[1] > 1000


def test_steps_of_weights_never_do_worse_than_from_the_largest(rng: np.random.Generator) -> None:
    rows = rng.standard_normal((16, 75)).astype(np.float32)
    plain = np.abs(rows).max(axis=1, keepdims=True) / 127
    chosen = weight_scales(rows)[:, None]
    error = [np.square(rows - s * np.rint(rows / s)).sum(axis=1) for s in (plain, chosen)]
    assert (error[1] <= error[0] * (1 + 1e-5)).all()


def test_weights_that_were_integers_become_the_same_integers(rng: np.random.Generator) -> None:
    """Many public networks were quantised once: their weights lose nothing."""
    integers = rng.integers(-90, 91, (8, 50)).astype(np.float32)
    steps = rng.uniform(0.001, 0.1, (8, 1)).astype(np.float32)
    rows = integers * steps
    chosen = weight_scales(rows)[:, None]
    np.testing.assert_allclose(chosen * np.rint(rows / chosen), rows, atol=1e-6)


def test_a_channel_without_weights_is_quantised() -> None:
    model = _chain(factor=(1.0, 0.0))
    small = convert(model, "int8", calibration=_ramp(0.0, 1.0))
    assert not OrtNetwork(small, "small").run(_ramp(0.0, 1.0)[0])["y"][:, 1].any()


def test_a_bias_next_to_which_all_weights_are_nothing_stays_what_it_is() -> None:
    """Engines hold biases in 32 bits, in steps of the weights."""
    model = _chain(factor=(1.0, 1e-20), bias=0.5)
    small = convert(model, "int8", calibration=_ramp(0.0, 1.0))
    found = OrtNetwork(small, "small").run(_ramp(0.0, 1.0)[0])["y"]
    np.testing.assert_allclose(found[:, 1], 0.5, atol=0.02)


@pytest.mark.parametrize("signed", [False, True])
def test_zero_stays_zero(signed: bool) -> None:
    """Padding is zeros: they must not become something else."""
    small = convert(_chain(), "int8", calibration=_ramp(-0.37, 1.0), signed=signed)
    x = np.zeros((1, 2, 4, 4), np.float32)
    assert not OrtNetwork(small, "small").run({"x": x})["y"].any()


@pytest.mark.parametrize("signed", [False, True])
def test_numbers_are_within_a_few_steps(signed: bool) -> None:
    feeds = _ramp(-1.0, 1.0)
    small = convert(_chain(), "int8", calibration=feeds, signed=signed)
    found = OrtNetwork(small, "small").run(feeds[0])["y"]
    step = 1 / 127
    np.testing.assert_allclose(found, np.maximum(feeds[0]["x"], 0), atol=2 * step)


def test_what_is_larger_than_all_that_was_seen_is_cut_off() -> None:
    small = convert(_chain(), "int8", calibration=_ramp(-1.0, 1.0))
    found = OrtNetwork(small, "small").run({"x": np.full((1, 2, 2, 2), 9.0, np.float32)})
    np.testing.assert_allclose(found["y"], 1.0, atol=0.01)


def test_ranges_are_those_of_all_that_was_fed_and_hold_zero() -> None:
    proto = onnx.load_model_from_string(_chain())
    feeds = [*_ramp(0.5, 1.0), *_ramp(0.25, 3.0)]
    assert measure(proto, ["x", "positive"], feeds) == {"x": (0.0, 3.0), "positive": (0.0, 3.0)}


def test_a_network_that_calibration_leaves_silent_is_quantised() -> None:
    small = convert(_chain(), "int8", calibration=_ramp(0.0, 0.0))
    assert np.isfinite(OrtNetwork(small, "small").run(_ramp(0.0, 1.0)[0])["y"]).all()


def test_biases_stay_as_they_are() -> None:
    """TensorRT takes no integer bias; ONNX Runtime makes its own of it."""
    assert (
        _constants(convert(_chain(), "int8", calibration=_ramp(0, 1)))["bias"].dtype == np.float32
    )


def test_the_same_inputs_give_the_same_bytes() -> None:
    made = [convert(_chain(), "int8", calibration=_ramp(-1.0, 1.0)) for _ in range(2)]
    assert made[0] == made[1]


@pytest.mark.parametrize("calibration", [None, []])
def test_nothing_to_calibrate_on_is_an_error(calibration: Feeds | None) -> None:
    with pytest.raises(ValueError, match="int8 needs inputs to calibrate on"):
        convert(_chain(), "int8", calibration=calibration)


def test_inputs_of_another_network_are_refused_in_one_line() -> None:
    wrong = [{"x": np.zeros((1, 5, 4, 4), np.float32)}]
    with pytest.raises(ModelError, match="fails on what calibrates it") as caught:
        convert(_chain(), "int8", calibration=wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ModelError, match="not finite"):
        convert(_chain(), "int8", calibration=[{"x": np.full((1, 2, 4, 4), value, np.float32)}])


def test_a_network_of_one_product_is_left_alone() -> None:
    proto = onnx.load_model_from_string(_chain())
    del proto.graph.node[2:]
    proto.graph.output[0].name = "positive"
    with pytest.raises(ModelError, match="no convolution to quantise"):
        convert(proto.SerializeToString(), "int8", calibration=_ramp(0.0, 1.0))
