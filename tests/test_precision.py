"""Precision: other arithmetic inside a network, the same network from outside."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from playspot.engines import Kind, ModelError
from playspot.engines.metadata import find_header, write_header
from playspot.engines.options import Precision
from playspot.engines.ort import OrtNetwork
from playspot.engines.precision import convert

KINDS: tuple[Kind, ...] = ("object", "action", "sound")
HALVES: tuple[Precision, ...] = ("fp16", "bf16")
ELEMENTS = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}


def _bundled(kind: Kind) -> bytes:
    return resources.files("playspot.models").joinpath(f"{kind}.onnx").read_bytes()


def _inputs(kind: Kind, rng: np.random.Generator, side: int = 64) -> dict[str, NDArray[Any]]:
    if kind == "object":
        blocks = rng.integers(0, 256, (2, side // 8, side // 8, 3), np.uint8)
        return {"pictures": blocks.repeat(8, axis=1).repeat(8, axis=2)}
    if kind == "action":
        return {"stacks": rng.standard_normal((2, 10, side, side), np.float32) * 3}
    return {"log_mel": rng.uniform(0, 8, (2, 384, 48)).astype(np.float32)}


def _run(model: bytes, feeds: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Return the first output, by ONNX Runtime."""
    return next(iter(OrtNetwork(model, "a test's").run(feeds).values()))


def _model(
    nodes: Sequence[Any], weights: Mapping[str, Any], outputs: Sequence[str] = ("y",)
) -> bytes:
    """Return a network of float32 x (1, 2, h, w)."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        list(nodes),
        "test",
        [value("x", TensorProto.FLOAT, (1, 2, "h", "w"))],
        [value(name, TensorProto.FLOAT, (1, 2, "h", "w")) for name in outputs],
        [numpy_helper.from_array(np.asarray(w, np.float32), name) for name, w in weights.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    content: bytes = helper.make_model(
        graph, opset_imports=opset, ir_version=10
    ).SerializeToString()
    return content


def _scale(factor: float) -> NDArray[np.float32]:
    """Return the weights of a 1x1 convolution that multiplies its two channels."""
    return (factor * np.eye(2, dtype=np.float32))[:, :, None, None]


def _types(model: bytes) -> dict[str, int]:
    """Return the element type of every tensor of a model."""
    graph = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(model)).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    found = {value.name: value.type.tensor_type.elem_type for value in values}
    return found | {str(tensor.name): int(tensor.data_type) for tensor in graph.initializer}


def test_fp32_is_the_model_as_it_is() -> None:
    model = _bundled("sound")
    assert convert(model, "fp32") is model


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("kind", KINDS)
def test_inputs_and_outputs_stay_what_they_were(kind: Kind, precision: Precision) -> None:
    before = onnx.load_model_from_string(_bundled(kind)).graph
    after = onnx.load_model_from_string(convert(_bundled(kind), precision)).graph
    assert list(after.input) == list(before.input)
    assert list(after.output) == list(before.output)


@pytest.mark.parametrize("precision", HALVES)
def test_the_header_is_kept_and_says_the_precision(precision: Precision) -> None:
    before = find_header(onnx.load_model_from_string(_bundled("object")), "before")
    after = find_header(
        onnx.load_model_from_string(convert(_bundled("object"), precision)), "after"
    )
    assert before is not None
    assert after is not None
    provenance = {**before.provenance, "precision": precision}
    assert after == before.model_copy(update={"provenance": provenance})


@pytest.mark.parametrize("kind", KINDS)
def test_fp16_gives_nearly_the_same_scores(kind: Kind, rng: np.random.Generator) -> None:
    feeds = _inputs(kind, rng)
    difference = np.abs(_run(convert(_bundled(kind), "fp16"), feeds) - _run(_bundled(kind), feeds))
    assert difference.max() < 0.005  # eleven bits; a score's slope is a quarter


@pytest.mark.parametrize("kind", KINDS)
def test_bf16_gives_nearly_the_same_scores(kind: Kind, rng: np.random.Generator) -> None:
    """By onnx's own evaluator: ONNX Runtime has no such convolution on the CPU."""
    feeds = _inputs(kind, rng, side=32)
    evaluator = ReferenceEvaluator(onnx.load_model_from_string(convert(_bundled(kind), "bf16")))
    found = np.asarray(next(iter(evaluator.run(None, feeds))))
    assert np.abs(found - _run(_bundled(kind), feeds)).max() < 0.04  # eight bits


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_convolution_computes_in_half_precision(kind: Kind, precision: Precision) -> None:
    model = convert(_bundled(kind), precision)
    types = _types(model)
    nodes = onnx.load_model_from_string(model).graph.node
    given = {types[name] for node in nodes if node.op_type == "Conv" for name in node.input}
    assert given == {ELEMENTS[precision]}


@pytest.mark.parametrize("precision", HALVES)
def test_each_weight_is_stored_once(precision: Precision) -> None:
    model = _bundled("action")
    assert len(convert(model, precision)) < 0.55 * len(model)


def test_pools_before_a_convolution_are_halved_with_it() -> None:
    model = convert(_bundled("object"), "fp16")
    types = _types(model)
    pools = [n for n in onnx.load_model_from_string(model).graph.node if n.op_type == "MaxPool"]
    assert {types[pool.input[0]] for pool in pools} == {TensorProto.FLOAT16}


def test_squares_that_overflow_half_precision_stay_single() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["large"]),
        helper.make_node("Mul", ["large", "large"], ["square"]),
        helper.make_node("Sqrt", ["square"], ["root"]),
        helper.make_node("Conv", ["root", "l"], ["y"]),
    ]
    model = _model(nodes, {"k": _scale(1000.0), "l": _scale(0.5)})
    x = np.full((1, 2, 2, 2), 3.0, np.float32)  # 3000 squared is beyond 65504
    np.testing.assert_allclose(_run(convert(model, "fp16"), {"x": x}), 1500.0, rtol=2e-3)


def test_a_value_that_is_an_output_too_stays_one() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["between"]),
        helper.make_node("Relu", ["between"], ["y"]),
    ]
    model = convert(_model(nodes, {"k": _scale(2.0)}, ["y", "between"]), "fp16")
    x = np.array([-1.0, 1.0], np.float32).reshape(1, 2, 1, 1)
    found = OrtNetwork(model, "a test's").run({"x": x})
    assert [found[name].ravel().tolist() for name in ("between", "y")] == [[-2, 2], [0, 2]]


def test_a_weight_that_two_convolutions_share_is_stored_once() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["between"]),
        helper.make_node("Conv", ["between", "k"], ["y"]),
    ]
    model = convert(_model(nodes, {"k": _scale(2.0)}), "bf16")
    assert len(onnx.load_model_from_string(model).graph.initializer) == 1


def test_a_weight_beyond_half_precision_becomes_the_largest_there_is() -> None:
    nodes = [helper.make_node("Conv", ["x", "k"], ["y"])]
    model = convert(_model(nodes, {"k": _scale(1e6)}), "fp16")
    x = np.full((1, 2, 1, 1), 0.25, np.float32)
    np.testing.assert_allclose(_run(model, {"x": x}), 65504 / 4)


@pytest.mark.parametrize("precision", HALVES)
def test_the_same_model_gives_the_same_bytes(precision: Precision) -> None:
    assert convert(_bundled("sound"), precision) == convert(_bundled("sound"), precision)


def test_a_converted_model_is_not_converted_again() -> None:
    with pytest.raises(ModelError, match="it is in fp16 already; convert the original"):
        convert(convert(_bundled("sound"), "fp16"), "bf16")


def test_a_model_with_its_own_flow_is_refused() -> None:
    proto = onnx.load_model_from_string(_bundled("action"))
    header = find_header(proto, "action")
    assert header is not None
    write_header(proto, header.model_copy(update={"takes": "frames"}))
    with pytest.raises(ModelError, match="convert the action model first"):
        convert(proto.SerializeToString(), "fp16")


def test_a_model_that_branches_is_refused() -> None:
    value = helper.make_tensor_value_info("b", TensorProto.FLOAT, (1, 2, "h", "w"))
    branch = helper.make_graph([helper.make_node("Identity", ["x"], ["b"])], "b", [], [value])
    nodes = [
        helper.make_node("Constant", [], ["is"], value=helper.make_tensor("v", 9, (), [True])),
        helper.make_node("If", ["is"], ["y"], then_branch=branch, else_branch=branch),
    ]
    with pytest.raises(ModelError, match="it branches; use it in fp32"):
        convert(_model(nodes, {}), "fp16")


def test_what_is_no_model_is_refused_in_one_line() -> None:
    with pytest.raises(ModelError, match="not an ONNX file") as caught:
        convert(b"nothing", "bf16")
    assert "\n" not in str(caught.value)


def test_who_converts_nothing_loads_no_onnx() -> None:
    code = "import sys, playspot.engines.precision; print('onnx' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
