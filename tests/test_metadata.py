"""A model file is checked before it is trusted: its bytes, its tensors and its header."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from playspot.engines import Header, ModelEngine, ModelError, load
from playspot.engines import metadata as metadata_module
from playspot.engines.metadata import (
    MAX_HEADER_BYTES,
    find_header,
    one_line,
    parse_model,
    read_header,
    write_header,
)

Write = Callable[[bytes], Path]

HEADER = Header(kind="object", name="tiny object", labels=("drum", "violin"))


def _model() -> Any:
    """Return a network from pictures to scores, as ONNX, without a header."""
    weights = np.random.default_rng(3).normal(0, 1e-4, (2, 3, 32, 32)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Transpose", ["pictures"], ["turned"], perm=[0, 3, 1, 2]),
            helper.make_node("Cast", ["turned"], ["x"], to=TensorProto.FLOAT),
            helper.make_node("Conv", ["x", "w"], ["z"], strides=[32, 32]),
            helper.make_node("Sigmoid", ["z"], ["scores"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["b", "h", "w", 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def _bytes() -> bytes:
    model = _model()
    write_header(model, HEADER)
    return bytes(model.SerializeToString())


def _with_text(text: str) -> bytes:
    model = _model()
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


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nothing.onnx"
    assert _refusal(load, path) == f"{path}: no such model file; give the path of an .onnx"


def test_a_folder_is_named(tmp_path: Path) -> None:
    assert _refusal(load, tmp_path).startswith(f"{tmp_path}: not a file")


def test_an_empty_file_is_named(written: Write) -> None:
    path = written(b"")
    assert _refusal(load, path).startswith(f"{path}: empty; copy it again")


@pytest.mark.parametrize(
    "content",
    [
        b"\x00" * 64,
        b"not a model at all",
        b"PK\x03\x04 a zip",
        bytes(range(256)) * 40,
        b"\x80\x04cos\nsystem\n(S'touch hacked'\ntR.",
    ],
    ids=["zeros", "text", "zip", "bytes", "pickle"],
)
def test_a_foreign_file_is_named(written: Write, content: bytes) -> None:
    path = written(content)
    assert _refusal(load, path).startswith(f"{path}: not an ONNX file")


@pytest.mark.parametrize("fraction", [0.02, 0.3, 0.9, 0.999])
def test_a_truncated_model_is_refused(written: Write, fraction: float) -> None:
    content = _bytes()
    path = written(content[: int(len(content) * fraction)])
    assert _refusal(load, path).startswith(str(path))


def test_random_damage_is_refused_or_harmless(rng: np.random.Generator) -> None:
    content = _bytes()
    messages = []
    for _ in range(200):
        damaged = bytearray(content)
        for place in rng.integers(0, 400, 3):
            damaged[place] = int(rng.integers(0, 256))
        try:
            ModelEngine(bytes(damaged)).close()
        except ModelError as error:
            messages.append(str(error))
    assert messages
    assert not any("\n" in message for message in messages)


def test_a_model_without_a_header_is_told_what_it_needs(written: Write) -> None:
    path = written(_model().SerializeToString())
    assert "without Playspot's header; describe it in a TOML" in _refusal(ModelEngine, path)
    assert "describe it in" in _refusal(load, path)


def test_a_model_that_is_too_large_is_refused_unread(
    written: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata_module, "MAX_MODEL_BYTES", 1000)
    assert "a model may have 0 MiB at most" in _refusal(load, written(_bytes()))


def _externally(tensor: Any) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"


def test_weights_in_another_file_are_refused(written: Write) -> None:
    model = onnx.load_model_from_string(_bytes())
    _externally(model.graph.initializer[0])
    path = written(model.SerializeToString())
    assert _refusal(load, path).startswith(f"{path}: keeps weights in another file")


def test_weights_in_another_file_are_found_inside_branches() -> None:
    inner = helper.make_graph([], "branch", [], [], [numpy_helper.from_array(np.zeros(3), "w")])
    _externally(inner.initializer[0])
    middle = helper.make_graph(
        [helper.make_node("If", ["c"], ["x"], then_branch=inner, else_branch=inner)],
        "middle", [], [],
    )  # fmt: skip
    model = _model()
    model.graph.node.append(helper.make_node("Loop", ["n", "c"], ["y"], body=middle))
    assert "another file" in _refusal(parse_model, model.SerializeToString(), "x.onnx")


def test_a_constant_in_another_file_is_refused() -> None:
    constant = numpy_helper.from_array(np.zeros(3), "w")
    _externally(constant)
    model = _model()
    model.graph.node.append(helper.make_node("Constant", [], ["y"], value=constant))
    assert "another file" in _refusal(parse_model, model.SerializeToString(), "x.onnx")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "header is damaged (JSON: Invalid JSON"),
        ("{", "header is damaged (JSON: Invalid JSON"),
        ("[1]", "header is damaged (JSON: "),
        ('{"kind": "object", "name": "x"}', "header is damaged (labels: Field required)"),
        ('{"kind": "smell", "name": "x", "labels": ["a"]}', "header is damaged (kind: "),
        ('{"kind": "object", "name": "x", "labels": []}', "header is wrong (labels: none"),
        ('{"kind": "object", "name": "x", "labels": ["a", "a"]}', "one twice"),
        ('{"kind": "object", "name": "x", "labels": ["a/b"]}', "slash"),
        ('{"kind": "object", "name": "x", "labels": ["a\\nb"]}', "control character"),
        ('{"kind": "sound", "name": "x", "labels": ["a"]}', "front_end: a sound model has one"),
        ('{"kind": "object", "name": "x", "labels": ["a"], "stride": 0}', "stride or offset"),
        ('{"kind": "object", "name": "x", "labels": ["a"], "stride": NaN}', "stride"),
        ('{"kind": "object", "name": "x", "labels": ["a"], "picture_side": 0}', "picture_side"),
        (
            '{"kind": "object", "name": "x", "labels": ["a"], "thresholds": {"a": 7}}',
            "thresholds: out of 0 to 1",
        ),
        (
            '{"schema_version": 2, "kind": "object", "name": "x", "labels": ["a"]}',
            "header version 2, this Playspot reads up to 1; update Playspot",
        ),
        (" " * (MAX_HEADER_BYTES + 1), "above 1 MiB"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(written: Write, text: str, message: str) -> None:
    path = written(_with_text(text))
    refusal = _refusal(load, path)
    assert refusal.startswith(str(path))
    assert message in refusal


def test_two_headers_are_refused() -> None:
    model = _model()
    for _ in range(2):
        entry = model.metadata_props.add()
        entry.key, entry.value = "playspot", HEADER.model_dump_json()
    assert "doubled" in _refusal(ModelEngine, model.SerializeToString())


def test_a_header_may_say_more_than_is_known() -> None:
    text = HEADER.model_dump_json()[:-1] + ', "colour": "blue"}'
    assert ModelEngine(_with_text(text)).header == HEADER


def test_a_header_is_written_over_the_old_one() -> None:
    model = _model()
    other = model.metadata_props.add()
    other.key, other.value = "author", "somebody"
    write_header(model, HEADER.model_copy(update={"name": "another"}))
    write_header(model, HEADER)
    assert find_header(model, "x") == HEADER
    assert sorted(entry.key for entry in model.metadata_props) == ["author", "playspot"]


def test_a_header_that_no_reader_accepts_is_not_written() -> None:
    with pytest.raises(ModelError, match="front_end"):
        write_header(_model(), HEADER.model_copy(update={"front_end": "paper"}))


def test_a_header_is_read_as_it_was_written(written: Write) -> None:
    assert read_header(written(_bytes())) == HEADER


def test_long_messages_are_shortened() -> None:
    assert len(one_line(ValueError("word " * 1000))) == 200
    assert one_line(ValueError()) == "ValueError"
