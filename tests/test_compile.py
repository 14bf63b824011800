"""`playspot compile`: networks in another form, kept if they still say the same, and then used."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from playspot.engines import compiled as cache  # noqa: E402
from playspot.engines.catalogue import Model, find_models  # noqa: E402
from playspot.engines.engine import Header, ModelError  # noqa: E402
from playspot.engines.metadata import model_hash, write_header  # noqa: E402
from playspot.engines.network import Tensor  # noqa: E402
from playspot.engines.options import EngineOptions  # noqa: E402
from playspot.models.labels import LABELS  # noqa: E402
from playspot.stream.detector import model_info  # noqa: E402
from playspot.training import compile_run, compile_speed, parity  # noqa: E402
from playspot.training.calibration import Recorder, a_few, recordings, rendered  # noqa: E402
from playspot.training.clips import ClipError  # noqa: E402
from playspot.training.compile_command import compile_models  # noqa: E402
from playspot.training.compile_network import InBatches, shapes_of  # noqa: E402
from playspot.training.compile_run import Request, run  # noqa: E402
from playspot.training.compile_speed import Speed, measure_speed  # noqa: E402
from playspot.training.fused_models import write_fused  # noqa: E402
from playspot.training.parity_report import print_outcome  # noqa: E402
from playspot.training.scores import Inputs  # noqa: E402

KINDS = ("sound", "object", "action")


def _network(kind: Any) -> bytes:
    """Return a network of two convolutions with a header, as ONNX."""
    rng = np.random.default_rng(KINDS.index(kind))
    kernel = (16,) if kind == "sound" else (32, 32)
    n_channels, scale = {"object": (3, 4e-4), "action": (10, 4e-3), "sound": (384, 1e-3)}[kind]
    weights = {
        "w1": rng.normal(0, scale, (8, n_channels, *kernel)),
        "w2": rng.normal(0, 1.0, (len(LABELS), 8, *(1 for _ in kernel))),
    }
    nodes = [
        helper.make_node("Transpose", ["input"], ["turned"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["turned"], ["cast"], to=TensorProto.FLOAT),
    ]
    is_object = kind == "object"
    nodes = nodes if is_object else []
    before = "cast" if is_object else "input"
    nodes += [
        helper.make_node("Conv", [before, "w1"], ["a"], strides=kernel, auto_pad="SAME_UPPER"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"]),
        helper.make_node("Sigmoid", ["c"], ["scores"]),
    ]
    shapes: dict[str, tuple[list[str | int], list[str | int]]] = {
        "object": (["b", "h", "w", 3], ["b", len(LABELS), "y", "x"]),
        "action": (["b", 10, "h", "w"], ["b", len(LABELS), "y", "x"]),
        "sound": (["b", 384, "t"], ["b", len(LABELS), "n"]),
    }
    shape, scores = shapes[kind]
    element = TensorProto.UINT8 if is_object else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", element, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, scores)],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in weights.items()],
    )
    proto = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])
    front_end: Any = "paper" if kind == "sound" else None
    write_header(proto, Header(kind=kind, name=f"tiny {kind}", labels=LABELS, front_end=front_end))
    return bytes(proto.SerializeToString())


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of three tiny networks."""
    folder = tmp_path_factory.mktemp("models")
    for kind in KINDS:
        (folder / f"{kind}.onnx").write_bytes(_network(kind))
    return folder


@pytest.fixture(scope="module")
def clips_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def home(clips_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep rendered clips for all tests, and what is compiled for one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(clips_cache))
    monkeypatch.setenv("PLAYSPOT_ENGINES", str(tmp_path / "engines"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "engines"


@pytest.fixture
def generous(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accept what a few steps of a clip happen to give; the scores must agree all the same."""
    monkeypatch.setitem(parity.BOUNDS, "int8", parity.Bounds(0.2, 0.02, 1.0, 200.0))


@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return what decides how many times as fast all that is compiled is measured to be."""

    def decide(times: float) -> None:
        monkeypatch.setattr(
            compile_run,
            "measure_speeds",
            lambda compiled, *_, **options: {
                kind: Speed(kind, "onnx", 2.0, 2.0 / times, times, (times, times), 9)
                for kind in compiled
            },
        )

    return decide


def asked(models: Path, **changes: Any) -> Request:
    settings: dict[str, Any] = {
        "n_clips": 1,
        "duration": 2.0,
        "precision": "int8",
        "seconds": 0.0,
        **changes,
    }
    return Request(models, **settings)


@pytest.mark.usefixtures("generous")
def test_what_passed_is_what_detect_then_runs_and_events_say_so(models: Path, speeds: Any) -> None:
    speeds(1.5)
    outcome = run(asked(models))
    assert outcome.faults == []
    engines = find_models(models).load()
    info = model_info(engines)
    assert (info.engine, info.precision) == ("onnxruntime-cpu", "int8")
    assert {kind: engine.hash for kind, engine in engines.items()} == {
        kind: model_hash((models / f"{kind}.onnx").read_bytes()) for kind in KINDS
    }


@pytest.mark.usefixtures("generous")
def test_what_passed_and_is_slower_is_used_only_where_it_is_asked_for(
    models: Path, speeds: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    speeds(0.8)
    outcome = run(asked(models))
    assert outcome.faults == []
    print_outcome(outcome)
    assert capsys.readouterr().out.endswith(
        "): onnx int8 passed, not used by itself: 0.80 times as fast as ONNX Runtime on the CPU; "
        "--engine onnx --precision int8 does\n"
    )
    found = find_models(models)
    assert model_info(found.load()).precision == "fp32"
    asked_for = replace(found, options=EngineOptions(precision="int8"))
    assert model_info(asked_for.load()).precision == "int8"


@pytest.mark.usefixtures("generous")
def test_the_speed_is_measured_against_what_runs_without_and_kept(models: Path) -> None:
    outcome = run(asked(models))
    assert set(outcome.speeds) == set(KINDS)
    kept = {one.kind: one for one in cache.compiled_networks()}
    for kind, speed in outcome.speeds.items():
        assert speed.n >= 5
        assert speed.quartiles[0] <= speed.speed_up <= speed.quartiles[1]
        assert (kept[kind].speed_up, kept[kind].against) == (speed.speed_up, "onnx")


def test_the_original_is_not_timed_against_itself(models: Path) -> None:
    outcome = run(asked(models, precision="fp32"))
    assert outcome.speeds == {}
    assert outcome.standings["sound"] == "nothing to use: it is the model's own file"


def test_what_did_not_pass_is_kept_but_not_used(
    models: Path, speeds: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds(1.5)
    monkeypatch.setitem(parity.BOUNDS, "int8", parity.Bounds(0.0, 0.0))
    outcome = run(asked(models))
    assert len(outcome.faults) >= 3
    assert [one.passed for one in outcome.compiled.values()] == [False] * 3
    assert len(list(cache.compiled_networks())) == 3
    assert model_info(find_models(models).load()).precision == "fp32"


def test_the_command_ends_with_1_if_the_scores_do_not_agree(
    models: Path,
    speeds: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    speeds(1.5)
    monkeypatch.setitem(parity.BOUNDS, "fp16", parity.Bounds(0.0, 0.0))
    monkeypatch.setattr(compile_run, "rendered", lambda split, n, *_: rendered(split, n, 2.0))
    with pytest.raises(typer.Exit) as ending:
        compile_models(
            models / "object.onnx", "onnx", "fp16", clips=1, out=Path("report"), as_json=True
        )
    assert ending.value.exit_code == 1
    report = json.loads(capsys.readouterr().out)
    assert [one["kind"] for one in report["compiled"]] == ["object"]
    assert not report["passed"]
    assert [one["speed_up"] for one in report["speeds"]] == [1.5]
    assert "| object | onnx fp16 | 2.00 | 1.33 | 1.50 |" in Path("report/parity.md").read_text()
    assert sorted(path.name for path in Path("report").iterdir()) == [
        "parity.json",
        "parity.md",
        "parity.png",
    ]


def test_a_run_that_is_stopped_leaves_what_was_there(
    models: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(asked(models, precision="fp32"))
    before = {path: path.read_bytes() for path in home.iterdir()}

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(compile_run, "score_clip", stop)
    with pytest.raises(KeyboardInterrupt):
        run(asked(models, precision="fp32"))
    assert {path: path.read_bytes() for path in home.iterdir()} == before


def test_calibration_never_sees_what_is_compared() -> None:
    splits = {
        split: [clip.split for clip in rendered(split, 1, 2.0)] for split in ("training", "test")
    }
    assert splits == {"training": ["training"], "test": ["test"]}


@pytest.mark.usefixtures("generous")
def test_recordings_calibrate_and_are_compared_too_and_broken_ones_are_told(
    models: Path, tmp_path: Path, make_clip: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    make_clip("mine.mp4", duration=2.0, size=(64, 36))
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    outcome = run(asked(models, calibrate=tmp_path, compare=tmp_path, n_clips=0))
    assert outcome.clips == {"bandstand": 0, "recordings": 1}
    assert outcome.faults == []
    assert "broken" in capsys.readouterr().err


def test_a_folder_without_recordings_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match="no recording in it; give a folder of videos"):
        recordings(tmp_path)


def test_a_plan_is_built_compared_and_then_used(models: Path, fake_gpu: Any, speeds: Any) -> None:
    speeds(1.5)
    request = asked(
        models, backend="tensorrt", precision="fp16", batch=(1, 2, 3), sizes=((1280, 720),)
    )
    outcome = run(request)
    assert outcome.faults == []
    assert outcome.compiled["action"].shapes["input"] == (
        (1, 10, 144, 256),
        (2, 10, 144, 256),
        (3, 10, 144, 256),
    )
    engines = find_models(models).load()
    info = model_info(engines)
    assert (info.engine, info.precision) == ("tensorrt", "fp16")
    for engine in engines.values():
        engine.close()


def test_fused_flow_takes_frames_and_agrees_with_opencv(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fused = tmp_path / "fused"
    outcome = run(asked(models, precision="fp32", fused=fused))
    assert outcome.faults == []
    print_outcome(outcome)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"use the fused set: playspot detect FILE --models {fused}"
    headers = find_models(fused).headers
    assert headers["action"].takes == "frames"
    assert headers["sound"].name == "tiny sound"
    largest = {one.kind: one.largest for one in outcome.parities[0].agreements()}
    assert 0 < largest["action"] < 0.01
    assert largest["object"] == largest["sound"] == 0


def test_a_fused_set_is_whole_and_has_nothing_of_an_earlier_one(
    models: Path, tmp_path: Path
) -> None:
    """What describes a public model goes with it, and the settings of the set."""
    mine, fused = tmp_path / "mine", tmp_path / "fused"
    shutil.copytree(models, mine)
    (mine / "playspot.toml").write_text("[decoding]\non = 0.61\n")
    fused.mkdir()
    (fused / "a model of an earlier set.onnx").write_bytes(b"")
    found = write_fused(find_models(mine), fused)
    assert sorted(path.name for path in fused.iterdir()) == [
        "action.onnx",
        "object.onnx",
        "playspot.toml",
        "sound.onnx",
    ]
    assert found.decoding.on == 0.61
    assert found.headers["action"].takes == "frames"
    assert {model.origin for model in found.models.values()} == {str(fused)}


def test_models_are_not_fused_over_themselves(models: Path) -> None:
    before = (models / "action.onnx").read_bytes()
    with pytest.raises(ModelError, match="is where the models are from; give another --out"):
        write_fused(find_models(models), models)
    assert (models / "action.onnx").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"batch": "4:2:1"}, "--batch 4:2:1: give MIN:OPT:MAX, in this order, 1 to 256"),
        ({"batch": "1:2"}, "--batch 1:2: give MIN:OPT:MAX"),
        ({"size": "256x144,9x9"}, "--size 9x9: give WIDTHxHEIGHT, 32 to 4096"),
        ({"precision": "bf16"}, "ONNX Runtime has no bf16 on the CPU; use fp16 or int8"),
        ({"precision": "int8", "clips": 0}, "int8 needs clips to calibrate on"),
        ({"precision": "fp16", "clips": 0}, "nothing to compare on"),
    ],
)
def test_a_bad_option_is_one_line_of_usage(
    options: dict[str, Any], told: str, models: Path
) -> None:
    with pytest.raises(typer.BadParameter, match=re.escape(told)) as error:
        compile_models(models, **{"engine": "onnx", **options})
    assert "\n" not in str(error.value)


def test_an_engine_that_is_not_there_is_one_line_of_failure(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as done:
        compile_models(models, engine="tensorrt")
    assert done.value.exit_code == 1
    assert re.fullmatch(
        r"playspot: the engine tensorrt cannot be used: .+\n", capsys.readouterr().err
    )


@pytest.mark.usefixtures("generous")
def test_what_is_compiled_is_listed_and_removed(
    models: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compile_models(is_listed=True)
    assert "nothing is compiled" in capsys.readouterr().out
    run(asked(models, precision="fp32"))
    compile_models(is_listed=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all("onnx fp32, " in line for line in lines)
    assert all(line.endswith("nothing to use: it is the model's own file") for line in lines)
    compile_models(is_removed=True)
    assert list(home.iterdir()) == []


def test_a_file_that_is_no_model_of_ours_says_what_to_do(tmp_path: Path) -> None:
    proto = onnx.load_model_from_string(_network("object"))
    del proto.metadata_props[:]
    (tmp_path / "x.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match=r"an unknown model; describe it in x\.toml beside it"):
        run(Request(tmp_path / "x.onnx"))


def test_the_speed_is_the_median_of_what_rounds_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round in which the machine was busy with something else changes nothing."""
    taken = {
        "original": [0.003, 0.006, 0.003, 0.030, 0.003],
        "compiled": [0.002, 0.004, 0.002, 0.002, 0.002],
    }
    monkeypatch.setattr(compile_speed, "time_rounds", lambda *_: taken)
    network = _Doubling()
    speed = measure_speed("object", network, network, [{}], against="onnx")
    assert speed.speed_up == pytest.approx(1.5)
    assert (speed.original_ms, speed.compiled_ms, speed.n) == (3.0, 2.0, 5)


def test_both_networks_are_given_the_same_real_inputs_in_turn() -> None:
    one, other = Recorder(_Doubling()), Recorder(_Doubling())
    feeds = [{"x": np.full(1, k, np.float32)} for k in range(3)]
    measure_speed("object", one, other, feeds, against="onnx", seconds=0.0)
    given = [feed["x"].item() for feed in one.feeds]
    assert given == [feed["x"].item() for feed in other.feeds]
    assert given[:4] == [0, 1, 2, 0]


def test_a_network_that_fails_while_it_is_timed_is_told_in_one_line() -> None:
    network = _Doubling()
    with pytest.raises(ModelError, match="sound: its speed cannot be measured"):
        measure_speed("sound", network, network, [{}], against="onnx", seconds=0.0)


class _Doubling:
    """A network that doubles what it is given."""

    inputs = outputs = (Tensor("x", np.dtype(np.float32), ("b",)),)
    backend, precision = "none", "fp32"
    is_closed = False

    def run(self, feeds: Any) -> dict[str, Any]:
        return {"x": feeds["x"] * 2}

    def close(self) -> None:
        self.is_closed = True


def test_a_recorder_keeps_copies_of_what_the_network_is_fed() -> None:
    network = _Doubling()
    recorder = Recorder(network)
    given = np.ones(2, np.float32)
    assert recorder.run({"x": given})["x"].tolist() == [2, 2]
    given[:] = 0
    assert [feed["x"].tolist() for feed in recorder.feeds] == [[1, 1]]
    recorder.close()
    assert network.is_closed


def test_steps_that_calibrate_are_from_all_through_the_clip() -> None:
    pictures = np.arange(11, dtype=np.uint8)[:, None, None, None]
    few = a_few(Inputs(pictures, list(pictures), None, None, 11), 3)
    assert few.pictures.ravel().tolist() == [0, 5, 10]
    assert few.n_steps == 3


class _Strict:
    """An engine that takes 2 or 3 at once, and returns what it is given."""

    header, hash, backend, precision = None, "h", "b", "p"

    def __call__(self, batch: Any) -> Any:
        assert 2 <= len(batch) <= 3
        return batch


def test_a_plan_is_given_no_batch_that_it_refuses() -> None:
    engine: Any = InBatches(_Strict(), 2, 3)  # type: ignore[arg-type]
    for n in (1, 2, 3, 4, 7):
        batch = np.arange(n)
        assert engine(batch).tolist() == batch.tolist()


def test_a_plan_for_two_sizes_of_video_takes_both() -> None:
    header = Header(kind="object", name="x", labels=LABELS, picture_side=64, picture_multiple=32)
    pictures = Tensor("p", np.dtype(np.uint8), ("b", "h", "w", 3))
    shapes = shapes_of(
        Model(header, None, "test"), (pictures,), (1, 1, 1), ((1920, 1080), (400, 800))
    )
    assert shapes == {"p": ((1, 32, 32, 3), (1, 32, 64, 3), (1, 64, 64, 3))}
