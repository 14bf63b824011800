"""Engines: a model file is checked before it is trusted, and a batch before it is run."""

import hashlib
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import playspot.stream
from playspot.engines import Header, Kind, ModelError, OrtEngine, ReplayEngine, load
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


@pytest.fixture
def written(tmp_path: Path) -> Write:
    """Return a function that writes a model file of some bytes."""

    def write(content: bytes, name: str = "a model é.onnx") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


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
    assert np.allclose(OrtEngine(_bytes("sound"))(batch), 1 / (1 + np.exp(-z)), atol=1e-5)


def test_a_batch_gives_what_its_parts_give(rng: np.random.Generator) -> None:
    engine = OrtEngine(_bytes("action"))
    batch = _batch("action", rng)
    parts = np.concatenate([engine(batch[:1]), engine(batch[1:])])
    assert np.allclose(engine(batch), parts, atol=1e-6)


def test_a_batch_need_not_be_contiguous(rng: np.random.Generator) -> None:
    engine = OrtEngine(_bytes("object"))
    batch = _batch("object", rng)[:, :, ::-1]
    assert np.array_equal(engine(batch), engine(np.ascontiguousarray(batch)))


def test_the_hash_is_that_of_the_file(written: Write) -> None:
    path = written(_bytes("sound"))
    assert load(path).hash == hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def test_a_header_can_be_given(written: Write) -> None:
    header = HEADERS["object"].model_copy(update={"name": "renamed"})
    assert OrtEngine(written(_bytes("object")), header).header.name == "renamed"


def test_a_model_may_be_bytes() -> None:
    assert OrtEngine(_bytes("sound")).header == HEADERS["sound"]


def test_a_session_keeps_to_one_thread_and_plans_no_memory_by_shape() -> None:
    session: Any = OrtEngine(_bytes("sound"))._session
    options = session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert not options.enable_mem_pattern
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_threads_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="threads is 0; use 1 or more"):
        OrtEngine(_bytes("sound"), threads=0)


def test_a_closed_engine_says_so(rng: np.random.Generator) -> None:
    engine = OrtEngine(_bytes("sound"))
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
    engine = OrtEngine(_bytes(kind))
    with pytest.raises(ValueError, match=f"the {kind} model 'tiny {kind}' takes") as caught:
        engine(np.zeros(shape, dtype))
    assert str(caught.value).endswith(f"given is {np.dtype(dtype)} {shape}")


def test_a_batch_that_the_network_cannot_take_is_reported_on_one_line() -> None:
    message = _refusal(OrtEngine(_bytes("action")), np.zeros((1, 10, 8, 8), np.float32))
    assert message.startswith("the model 'tiny action' failed on a batch (1, 10, 8, 8)")


# What a model file may not be


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
    content = _bytes("object")
    path = written(content[: int(len(content) * fraction)])
    assert _refusal(load, path).startswith(str(path))


def test_random_damage_is_refused_or_harmless(rng: np.random.Generator) -> None:
    content = _bytes("sound")
    messages = []
    for _ in range(200):
        damaged = bytearray(content)
        for place in rng.integers(0, 400, 3):
            damaged[place] = int(rng.integers(0, 256))
        try:
            OrtEngine(bytes(damaged)).close()
        except ModelError as error:
            messages.append(str(error))
    assert messages
    assert not any("\n" in message for message in messages)


def test_a_model_without_a_header_is_told_what_it_needs(written: Write) -> None:
    path = written(_model("object").SerializeToString())
    assert "without Playspot's header; describe it in a TOML" in _refusal(OrtEngine, path)
    assert "describe it in" in _refusal(load, path)


def test_a_model_that_is_too_large_is_refused_unread(
    written: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata_module, "MAX_MODEL_BYTES", 1000)
    assert "a model may have 0 MiB at most" in _refusal(load, written(_bytes("object")))


def _externally(tensor: Any) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"


def test_weights_in_another_file_are_refused(written: Write) -> None:
    model = onnx.load_model_from_string(_bytes("object"))
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
    model = _model("object")
    model.graph.node.append(helper.make_node("Loop", ["n", "c"], ["y"], body=middle))
    assert "another file" in _refusal(parse_model, model.SerializeToString(), "x.onnx")


def test_a_constant_in_another_file_is_refused() -> None:
    constant = numpy_helper.from_array(np.zeros(3), "w")
    _externally(constant)
    model = _model("object")
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
    model = _model("object")
    for _ in range(2):
        entry = model.metadata_props.add()
        entry.key, entry.value = "playspot", HEADERS["object"].model_dump_json()
    assert "doubled" in _refusal(OrtEngine, model.SerializeToString())


def test_a_header_may_say_more_than_is_known() -> None:
    text = HEADERS["object"].model_dump_json()[:-1] + ', "colour": "blue"}'
    assert OrtEngine(_with_text(text)).header == HEADERS["object"]


def test_a_header_is_written_over_the_old_one() -> None:
    model = _model("object")
    other = model.metadata_props.add()
    other.key, other.value = "author", "somebody"
    write_header(model, HEADERS["action"])
    write_header(model, HEADERS["object"])
    assert find_header(model, "x") == HEADERS["object"]
    assert sorted(entry.key for entry in model.metadata_props) == ["author", "playspot"]


def test_a_header_that_no_reader_accepts_is_not_written() -> None:
    with pytest.raises(ModelError, match="front_end"):
        write_header(_model("object"), HEADERS["object"].model_copy(update={"front_end": "paper"}))


def test_read_header_runs_nothing(written: Write) -> None:
    assert read_header(written(_bytes("action"))) == HEADERS["action"]


def test_a_header_of_another_kind_than_the_network_is_refused() -> None:
    message = _refusal(OrtEngine, _bytes("object", HEADERS["action"]))
    assert "does not take what action models take" in message


def test_a_header_with_more_labels_than_scores_is_refused() -> None:
    header = HEADERS["object"].model_copy(update={"labels": ("drum", "flute", "violin")})
    assert "gives 2 scores for 3 labels" in _refusal(OrtEngine, _bytes("object", header))


def test_a_network_without_scores_is_refused() -> None:
    model = _model("object", name="logits")
    write_header(model, HEADERS["object"])
    assert "has no float32 output `scores`" in _refusal(OrtEngine, model.SerializeToString())


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
    _refusal(OrtEngine(_bytes("action")), np.zeros((1, 10, 8, 8), np.float32))
    model = _model("object")
    model.graph.node[-1].op_type = "Frobnicate"
    write_header(model, HEADERS["object"])
    _refusal(OrtEngine, model.SerializeToString())
    assert capfd.readouterr() == ("", "")


def test_long_messages_are_shortened() -> None:
    assert len(one_line(ValueError("word " * 1000))) == 200
    assert one_line(ValueError()) == "ValueError"


# The test double


def test_recorded_scores_are_given_in_order(rng: np.random.Generator) -> None:
    recorded = rng.random((5, 2, 3, 4))
    engine = ReplayEngine(HEADERS["action"], recorded)
    batch = np.zeros((2, 10, 64, 96), np.float32)
    given = np.concatenate([engine(batch), engine(batch), engine(batch[:1])])
    assert np.array_equal(given, recorded.astype(np.float32))
    assert engine.n_given == 5


def test_a_recording_that_ends_says_so() -> None:
    engine = ReplayEngine(HEADERS["sound"], np.zeros((3, 2, 1)))
    with pytest.raises(ValueError, match="'tiny sound' has 3 scores and input 4 was asked for"):
        engine(np.zeros((4, 384, 16), np.float32))
    assert engine.n_given == 0


def test_a_function_may_stand_in_for_a_recording() -> None:
    engine = ReplayEngine(HEADERS["sound"], lambda batch: np.full((len(batch), 2, 1), batch.mean()))
    assert engine(np.full((3, 384, 16), 0.25, np.float32)).tolist() == [[[0.25], [0.25]]] * 3


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.zeros((3, 4, 1)), "axis 1 must be the 2 labels"),
        (np.zeros(2), "axis 1 must be the 2 labels"),
        (np.full((3, 2, 1), 1.5), r"must lie in \[0, 1\]"),
        (np.full((3, 2, 1), np.nan), r"must lie in \[0, 1\]"),
    ],
)
def test_scores_that_are_none_are_refused(scores: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReplayEngine(HEADERS["sound"], scores)


def test_a_function_must_answer_for_each_input() -> None:
    engine = ReplayEngine(HEADERS["sound"], lambda batch: np.zeros((1, 2, 1)))
    with pytest.raises(ValueError, match="1 scores for 3 inputs"):
        engine(np.zeros((3, 384, 16), np.float32))


def test_a_recording_goes_to_another_process() -> None:
    engine = ReplayEngine(HEADERS["sound"], np.full((1, 2, 1), 0.5))
    again = pickle.loads(pickle.dumps(engine))
    assert again.header == engine.header
    assert again.hash == engine.hash
    assert again(np.zeros((1, 384, 16), np.float32)).shape == (1, 2, 1)


def test_recordings_that_differ_have_different_hashes() -> None:
    low, high = (ReplayEngine(HEADERS["sound"], np.full((1, 2, 1), x)) for x in (0.1, 0.9))
    assert low.hash != high.hash
    assert len(low.hash) == 12


# What is imported

FORBIDDEN = ("torch", "librosa", "scipy", "sklearn")


def _loaded(*modules: str) -> set[str]:
    """Return which modules a fresh process has after importing some."""
    code = f"import importlib, sys\nfor m in {modules!r}: importlib.import_module(m)\n"
    code += "print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def _modules(package: Any, leave_out: Any = ()) -> list[str]:
    folder = Path(package.__file__).parent
    names = sorted(path.stem for path in folder.glob("*.py") if path.stem not in leave_out)
    return [f"{package.__name__}.{name}" for name in names if name != "__init__"]


def test_engines_do_without_torch() -> None:
    import playspot.engines

    names = _modules(playspot.engines, leave_out=("export",))
    assert "playspot.engines.ort" in names
    assert _loaded("playspot.engines", *names).isdisjoint(FORBIDDEN)


def test_streams_do_without_torch() -> None:
    names = _modules(playspot.stream, leave_out=("__main__",))
    assert "playspot.stream.timeline" in names
    assert _loaded("playspot.stream", *names).isdisjoint(FORBIDDEN)


def test_labels_do_without_torch() -> None:
    assert _loaded("playspot.models", "playspot.models.labels").isdisjoint(FORBIDDEN)


def test_a_process_that_runs_no_model_does_not_load_the_runtime() -> None:
    loaded = _loaded("playspot.engines", "playspot.engines.settings")
    assert loaded.isdisjoint({"onnxruntime", "onnx"})


def test_networks_without_torch_say_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import playspot.models\n"
        "try: playspot.models.SoundNet\n"
        "except ModuleNotFoundError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "SoundNet needs PyTorch: pip install 'playspot[train]'\n"
