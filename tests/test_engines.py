"""Engines: a model file is checked before it is trusted, and a batch before it is run."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from playspot.engines import Header, Kind, ModelEngine, ModelError, load
from playspot.engines.metadata import (
    write_header,
)
from playspot.engines.ort import OrtNetwork

Write = Callable[[bytes], Path]

LABELS = ("drum", "violin")
HEADERS: dict[Kind, Header] = {
    "object": Header(kind="object", name="tiny object", labels=LABELS),
    "action": Header(kind="action", name="tiny action", labels=LABELS),
    "sound": Header(kind="sound", name="tiny sound", labels=LABELS, front_end="paper"),
}
SHAPES: dict[Kind, tuple[int, ...]] = {
    "object": (2, 64, 96, 3),
    "action": (2, 10, 64, 96),
    "sound": (2, 384, 32),
}
MAPS: dict[Kind, tuple[int, ...]] = {
    "object": (2, 2, 2, 3),
    "action": (2, 2, 2, 3),
    "sound": (2, 2, 2),
}


def _batch(kind: Kind, rng: np.random.Generator) -> NDArray[Any]:
    if kind == "object":
        return rng.integers(0, 256, SHAPES[kind], dtype=np.uint8)
    return rng.standard_normal(SHAPES[kind], dtype=np.float32)


def _model(kind: Kind, n_labels: int = 2, name: str = "scores") -> Any:
    """Return a network of one strided convolution, as ONNX, without a header."""
    kernel = (16,) if kind == "sound" else (32, 32)
    n_channels = {"object": 3, "action": 10, "sound": 384}[kind]
    weights = np.random.default_rng(3).normal(0, 0.01, (n_labels, n_channels, *kernel))
    is_object = kind == "object"
    nodes = [
        helper.make_node("Transpose", ["input"], ["turned"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["turned"], ["cast"], to=TensorProto.FLOAT),
    ]
    nodes = nodes if is_object else []
    nodes += [
        helper.make_node("Conv", ["cast" if is_object else "input", "w"], ["z"], strides=kernel),
        helper.make_node("Sigmoid", ["z"], [name]),
    ]
    shapes: dict[Kind, list[Any]] = {
        "object": ["b", "h", "w", 3],
        "action": ["b", 10, "h", "w"],
        "sound": ["b", 384, "t"],
    }
    element = TensorProto.UINT8 if is_object else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", element, shapes[kind])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights.astype(np.float32), "w")],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def _bytes(kind: Kind, header: Header | None = None) -> bytes:
    model = _model(kind)
    write_header(model, header or HEADERS[kind])
    return bytes(model.SerializeToString())


def _with_text(text: str) -> bytes:
    model = _model("object")
    entry = model.metadata_props.add()
    entry.key, entry.value = "playspot", text
    return bytes(model.SerializeToString())


def _refusal(function: Any, *arguments: Any, **options: Any) -> str:
    """Return the message of the refusal, which must be one line."""
    with pytest.raises(ModelError) as caught:
        function(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return message


# What an engine gives


@pytest.mark.parametrize("kind", ["object", "action", "sound"])
def test_a_model_is_loaded_by_its_own_header(
    kind: Kind, written: Write, rng: np.random.Generator
) -> None:
    engine = load(written(_bytes(kind)))
    assert engine.header == HEADERS[kind]
    assert (engine.backend, engine.precision) == ("onnxruntime-cpu", "fp32")
    scores = engine(_batch(kind, rng))
    assert scores.shape == MAPS[kind]
    assert scores.dtype == np.float32
    assert ((scores >= 0) & (scores <= 1)).all()


def test_scores_are_those_of_the_network(rng: np.random.Generator) -> None:
    weights = numpy_helper.to_array(_model("sound").graph.initializer[0])
    batch = _batch("sound", rng)
    z = np.einsum("bcsk,ock->bos", batch.reshape(2, 384, 2, 16), weights)
    assert np.allclose(ModelEngine(_bytes("sound"))(batch), 1 / (1 + np.exp(-z)), atol=1e-5)


def test_a_batch_gives_what_its_parts_give(rng: np.random.Generator) -> None:
    engine = ModelEngine(_bytes("action"))
    batch = _batch("action", rng)
    parts = np.concatenate([engine(batch[:1]), engine(batch[1:])])
    assert np.allclose(engine(batch), parts, atol=1e-6)


def test_a_batch_need_not_be_contiguous(rng: np.random.Generator) -> None:
    engine = ModelEngine(_bytes("object"))
    batch = _batch("object", rng)[:, :, ::-1]
    assert np.array_equal(engine(batch), engine(np.ascontiguousarray(batch)))


def test_the_hash_is_that_of_the_file(written: Write) -> None:
    path = written(_bytes("sound"))
    assert load(path).hash == hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def test_a_header_can_be_given(written: Write) -> None:
    header = HEADERS["object"].model_copy(update={"name": "renamed"})
    assert ModelEngine(written(_bytes("object")), header).header.name == "renamed"


def test_a_model_may_be_bytes() -> None:
    assert ModelEngine(_bytes("sound")).header == HEADERS["sound"]


def test_a_session_keeps_to_one_thread_and_plans_no_memory_by_shape() -> None:
    network: Any = ModelEngine(_bytes("sound"))._network
    session = network._session
    options = session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert not options.enable_mem_pattern
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_threads_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="threads is 0; use 1 or more"):
        OrtNetwork(_bytes("sound"), "x", threads=0)


def test_a_closed_engine_says_so(rng: np.random.Generator) -> None:
    engine = ModelEngine(_bytes("sound"))
    engine.close()
    engine.close()
    with pytest.raises(ValueError, match="'tiny sound' is closed; load it again"):
        engine(_batch("sound", rng))


@pytest.mark.parametrize(
    ("kind", "shape", "dtype"),
    [
        ("object", (1, 64, 64, 3), np.float32),
        ("object", (64, 64, 3), np.uint8),
        ("object", (1, 3, 64, 64), np.uint8),
        ("object", (1, 0, 64, 3), np.uint8),
        ("object", (0, 64, 64, 3), np.uint8),
        ("action", (1, 10, 64, 64), np.float64),
        ("action", (1, 2, 64, 64), np.float32),
        ("sound", (1, 128, 64), np.float32),
        ("sound", (1, 384, 64, 1), np.float32),
    ],
)
def test_a_batch_of_another_type_or_shape_is_refused(kind: Kind, shape: Any, dtype: Any) -> None:
    engine = ModelEngine(_bytes(kind))
    with pytest.raises(ValueError, match=f"the {kind} model 'tiny {kind}' takes") as caught:
        engine(np.zeros(shape, dtype))
    assert str(caught.value).endswith(f"given is {np.dtype(dtype)} {shape}")


def test_a_batch_that_the_network_cannot_take_is_reported_on_one_line() -> None:
    message = _refusal(ModelEngine(_bytes("action")), np.zeros((1, 10, 8, 8), np.float32))
    assert message.startswith("the model 'tiny action' failed on a batch (1, 10, 8, 8)")


# What does not fit its header


def test_a_header_of_another_kind_than_the_network_is_refused() -> None:
    message = _refusal(ModelEngine, _bytes("object", HEADERS["action"]))
    assert "does not take what action models take" in message


def test_a_header_with_more_labels_than_scores_is_refused() -> None:
    header = HEADERS["object"].model_copy(update={"labels": ("drum", "flute", "violin")})
    assert "gives 2 scores for 3 labels" in _refusal(ModelEngine, _bytes("object", header))


def test_a_network_without_scores_is_refused() -> None:
    model = _model("object", name="logits")
    write_header(model, HEADERS["object"])
    assert "has no float32 output `scores`" in _refusal(ModelEngine, model.SerializeToString())


def test_an_unknown_operator_is_refused_on_one_line(written: Write) -> None:
    model = _model("object")
    model.graph.node[-1].op_type = "Frobnicate"
    write_header(model, HEADERS["object"])
    path = written(model.SerializeToString())
    message = _refusal(load, path)
    assert message.startswith(f"{path}: cannot be loaded (")
    assert "Frobnicate" in message


def test_a_model_of_another_kind_than_asked_is_refused(written: Write) -> None:
    path = written(_bytes("object"))
    expected = f"{path}: a model of kind object; give one of kind sound"
    assert _refusal(load, path, "sound") == expected


def test_the_runtime_prints_nothing_of_its_own(
    written: Write, capfd: pytest.CaptureFixture[str]
) -> None:
    _refusal(ModelEngine(_bytes("action")), np.zeros((1, 10, 8, 8), np.float32))
    model = _model("object")
    model.graph.node[-1].op_type = "Frobnicate"
    write_header(model, HEADERS["object"])
    _refusal(ModelEngine, model.SerializeToString())
    assert capfd.readouterr() == ("", "")
