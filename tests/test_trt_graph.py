"""Graphs as TensorRT takes them: bytes go into a cast and nowhere else; the scores stay."""

from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from playspot.engines.catalogue import bundled
from playspot.engines.engine import ModelError
from playspot.engines.ort import OrtNetwork
from playspot.engines.planned import plan_order
from playspot.engines.precision import convert
from playspot.engines.trt_build import build_plan
from playspot.engines.trt_graph import for_tensorrt


def shipped(kind: Any) -> bytes:
    """Return a network that comes with the package."""
    if kind == "flow":
        return resources.files("playspot.models").joinpath("flow.onnx").read_bytes()
    path = bundled()[kind].path
    assert path is not None
    return Path(path).read_bytes()


def users_of_bytes(model: bytes) -> list[str]:
    graph = onnx.load_model_from_string(model).graph
    names = {v.name for v in graph.input if v.type.tensor_type.elem_type == TensorProto.UINT8}
    return [node.op_type for node in graph.node if not names.isdisjoint(node.input)]


@pytest.mark.parametrize("kind", ["object", "action", "sound", "flow"])
def test_what_is_shipped_can_be_built(fake_gpu: Any, kind: str) -> None:
    """The object network transposes bytes, which no TensorRT does; the fake refuses it as well."""
    model = shipped(kind)
    assert build_plan(model, plan_order(model, kind).shapes)


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
@pytest.mark.parametrize("kind", ["object", "action", "sound"])
def test_what_is_compiled_can_be_built(
    fake_gpu: Any, kind: str, precision: Any, rng: np.random.Generator
) -> None:
    model = shipped(kind)
    shapes = plan_order(model, kind).shapes
    feeds = {
        name: (rng.random(low) * 255).astype(np.uint8 if kind == "object" else np.float32)
        for name, (low, _, _) in shapes.items()
    }
    converted = convert(model, precision, calibration=[feeds], signed=True)
    assert build_plan(converted, shapes)


def test_int8_for_a_cpu_cannot_be_built(fake_gpu: Any, rng: np.random.Generator) -> None:
    model = shipped("object")
    feeds = {"pictures": rng.integers(0, 256, (1, 64, 64, 3), np.uint8)}
    with pytest.raises(ModelError, match="zero_point must be zero"):
        build_plan(convert(model, "int8", calibration=[feeds]), plan_order(model, "object").shapes)


@pytest.mark.parametrize("kind", ["object", "flow"])
def test_bytes_go_into_one_cast(kind: str) -> None:
    assert users_of_bytes(for_tensorrt(shipped(kind))) == ["Cast"]


def test_bytes_go_through_fp32_to_a_type_that_they_cannot_be_cast_to(fake_gpu: Any) -> None:
    model = for_tensorrt(_times(TensorProto.BFLOAT16))
    casts = [
        node for node in onnx.load_model_from_string(model).graph.node if node.op_type == "Cast"
    ]
    to = [helper.get_node_attr_value(node, "to") for node in casts]
    assert to == [TensorProto.FLOAT, TensorProto.BFLOAT16, TensorProto.FLOAT]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_scores_are_the_same(precision: Any, rng: np.random.Generator) -> None:
    model = convert(shipped("object"), precision)
    given = {"pictures": rng.integers(0, 256, (2, 96, 128, 3), np.uint8)}
    one = OrtNetwork(model, "one", as_it_is=True).run(given)
    other = OrtNetwork(for_tensorrt(model), "other", as_it_is=True).run(given)
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])


@pytest.mark.parametrize("kind", ["action", "sound"])
def test_a_network_without_bytes_stays_as_it_is(kind: str) -> None:
    model = shipped(kind)
    assert for_tensorrt(model) is model


def test_a_cast_that_is_there_is_enough() -> None:
    model = _times(TensorProto.FLOAT)
    assert for_tensorrt(model) is model


def test_what_is_no_network_is_one_line() -> None:
    with pytest.raises(ModelError) as error:
        for_tensorrt(b"nothing", "m.onnx")
    assert "\n" not in str(error.value)


def _times(element: int) -> bytes:
    """Return a network that casts bytes, and doubles them in that type."""
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=element),
        helper.make_node("Add", ["f", "f"], ["g"]),
        helper.make_node("Cast", ["g"], ["y"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["batch", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
    )
    opset = helper.make_opsetid("", 18)
    content: bytes = helper.make_model(
        graph, opset_imports=[opset], ir_version=10
    ).SerializeToString()
    return content
