"""The program as a person runs it: arguments in, files, lines and exit codes out."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import jsonschema
import pytest

from playspot.models.labels import LABELS
from playspot.stream.events import Event, Step
from playspot.stream.timeline import n_steps, step_time

MakeClip = Callable[..., Path]
KINDS = ("events.jsonl", "steps.jsonl", "timeline.png", "annotated.mp4")
DEADLINE = 100.0  # seconds


def environment(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which only the bundled models are found."""
    return {**os.environ, "PLAYSPOT_MODELS": str(tmp_path / "no models"), "COLUMNS": "200"}


def playspot(tmp_path: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "playspot.stream", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment(tmp_path),
        timeout=DEADLINE,
        check=False,
    )


def assert_one_clear_line(done: "subprocess.CompletedProcess[str]", *words: str) -> None:
    lines = [line for line in done.stderr.splitlines() if line.startswith("playspot: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in lines[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("odd files")


def _disorder(packet: Any) -> Any:
    """Give every fifth frame the time of one before it."""
    if packet.stream.type == "video":
        packet.dts = packet.pts - 50
        packet.pts -= 3 * (packet.pts % 5 == 4)
    return packet


@pytest.fixture(scope="module")
def odd(media: ModuleType, folder: Path) -> dict[str, Path]:
    """Return files that are unusual, and fine."""
    made: dict[str, dict[str, Any]] = {
        "no sound.mp4": {"sample_rate": None},
        "no picture.mp4": {"size": None},
        "1x1.mkv": {"size": (1, 1), "video_codec": "ffv1", "pixel_format": "bgr0"},
        "one frame.mp4": {"duration": 0.04, "sample_rate": None},
        "10 fps.mp4": {"video_rate": 10.0},
        "120 fps.mp4": {"video_rate": 120.0},
        "variable rate.mkv": {"times": [0, 0.02, 0.4, 0.41, 1.0, 1.5, 1.9]},
        "rotated.mp4": {"rotation": 90},
        "8 kHz.mkv": {"sample_rate": 8_000, "audio_codec": "pcm_s16le"},
        "96 kHz.mkv": {"sample_rate": 96_000, "audio_codec": "flac", "sample_format": "s16"},
        "5.1.mkv": {"sample_rate": 48_000, "layout": "5.1", "audio_codec": "ac3"},
        "odd size.mkv": {"size": (77, 51), "video_codec": "ffv1"},
        "times in disorder.mkv": {"video_codec": "mjpeg", "edit_packet": _disorder},
        "no times.avi": {"audio_codec": "mp3", "sample_rate": 44_100},
        "Käse & Brot 日本 100%.mp4": {},
        "a:b.mp4": {},
    }
    return {name: media.make_clip(folder / name, **options) for name, options in made.items()}


@pytest.fixture(scope="module")
def broken(media: ModuleType, folder: Path) -> dict[str, Path]:
    """Return files that cannot be read."""
    whole = media.make_clip(folder / "whole.mp4").read_bytes()
    contents = {"empty.mp4": b"", "garbage.mp4": b"\0\1garbage" * 999, "cut.mp4": whole[:3000]}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in [*contents, "missing.mp4"]}


@pytest.fixture(scope="module")
def all_files(
    folder: Path, odd: dict[str, Path], broken: dict[str, Path]
) -> "subprocess.CompletedProcess[str]":
    """Return the run of one call with all odd and broken files."""
    files = [path for pair in zip(odd.values(), broken.values(), strict=False) for path in pair]
    rest = [path for path in odd.values() if path not in files]
    return playspot(folder, "detect", *files, *rest, "--out", folder / "out", "--json")


def reports(done: "subprocess.CompletedProcess[str]") -> dict[str, dict[str, Any]]:
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {Path(report["file"]).name: report for report in found}


def test_a_broken_file_among_others_is_reported_and_the_others_are_done(
    all_files: "subprocess.CompletedProcess[str]", odd: dict[str, Path], broken: dict[str, Path]
) -> None:
    assert all_files.returncode == 1
    told = reports(all_files)
    assert {name for name, report in told.items() if report["error"]} == set(broken)
    assert set(told) == set(odd) | set(broken)


@pytest.mark.parametrize("name", ["missing.mp4", "empty.mp4", "garbage.mp4", "cut.mp4"])
def test_a_broken_file_gets_one_line_with_its_name(
    all_files: "subprocess.CompletedProcess[str]", name: str
) -> None:
    lines = [line for line in all_files.stderr.splitlines() if name in line]
    assert len([line for line in lines if line.startswith("playspot: ")]) == 1
    assert "Traceback" not in all_files.stderr


def test_every_odd_file_gives_every_step_and_all_outputs(
    all_files: "subprocess.CompletedProcess[str]", folder: Path, odd: dict[str, Path]
) -> None:
    for name, report in reports(all_files).items():
        if name not in odd:
            continue
        stem = Path(name).stem
        steps = [
            Step.model_validate_json(line)
            for line in (folder / "out" / f"{stem}.steps.jsonl").read_text("utf-8").splitlines()
        ]
        assert [step.step for step in steps] == list(range(n_steps(report["duration"]))), name
        kinds = {kind for kind in KINDS if (folder / "out" / f"{stem}.{kind}").is_file()}
        assert kinds == set(KINDS) - ({"annotated.mp4"} if name == "no picture.mp4" else set())


def test_a_step_line_has_all_nine_scores_and_points(
    all_files: "subprocess.CompletedProcess[str]", folder: Path
) -> None:
    assert all_files.stdout
    line = (folder / "out" / "rotated.steps.jsonl").read_text().splitlines()[1]
    step = json.loads(line)
    jsonschema.validate(step, Step.model_json_schema())
    assert step["time"] == step_time(1)
    assert tuple(step["scores"]) == tuple(step["points"]) == LABELS
    assert all(0 <= score <= 1 for score in step["scores"].values())


def test_without_a_picture_there_is_no_point_and_without_sound_there_is(
    all_files: "subprocess.CompletedProcess[str]", folder: Path
) -> None:
    assert all_files.stdout
    for name, is_none in (("no picture", True), ("no sound", False)):
        line = (folder / "out" / f"{name}.steps.jsonl").read_text().splitlines()[0]
        assert {point is None for point in json.loads(line)["points"].values()} == {is_none}


@pytest.mark.parametrize(
    ("name", "is_portrait"), [("rotated", True), ("odd size", False), ("1x1", False)]
)
def test_the_annotated_video_is_upright_and_as_long(
    all_files: "subprocess.CompletedProcess[str]", folder: Path, name: str, is_portrait: bool
) -> None:
    assert all_files.stdout
    with av.open(str(folder / "out" / f"{name}.annotated.mp4")) as video:
        stream = video.streams.video[0]
        assert (stream.height > stream.width) == is_portrait
        assert len(video.streams.audio) == 1
        assert video.duration is not None
        assert video.duration / 1e6 == pytest.approx(2.0, abs=0.15)


def test_two_files_of_one_name_do_not_overwrite_each_other(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    clips = [make_clip("x.mp4", duration=1.0), make_clip("a/x.mp4", duration=1.6)]
    options = ["--no-video", "--no-timeline", "--out", tmp_path / "out"]
    assert playspot(tmp_path, "detect", *clips, *options).returncode == 0
    written = {path.name: path for path in (tmp_path / "out").glob("*.steps.jsonl")}
    assert len(written["x.steps.jsonl"].read_text().splitlines()) == 2
    assert len(written["x-2.steps.jsonl"].read_text().splitlines()) == 4


def test_results_lie_beside_the_file_and_only_what_is_wanted(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    clip = make_clip("x.mp4", duration=1.0)
    done = playspot(tmp_path, "detect", clip, "--no-video", "--no-timeline", "--no-events")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.mp4", "x.steps.jsonl"]


def test_an_unwritable_folder_is_one_line_before_anything_is_done(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    done = playspot(tmp_path, "detect", make_clip(), "--out", tmp_path / "file")
    assert done.returncode == 1
    assert_one_clear_line(done, "file")


def test_an_output_that_cannot_be_written_fails_its_file_only(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.steps.jsonl").mkdir()  # a folder is in the way
    clips = [make_clip("a/x.mp4", duration=1.0), make_clip("y.mp4", duration=1.0)]
    done = playspot(tmp_path, "detect", *clips, "--no-video", "--no-timeline", "--json")
    assert done.returncode == 1
    assert_one_clear_line(done, "x.steps.jsonl")
    assert [bool(report["error"]) for report in reports(done).values()] == [True, False]


def test_a_file_name_that_is_no_text_will_do(make_clip: MakeClip, tmp_path: Path) -> None:
    clip = make_clip("x.mp4", duration=1.0)
    odd = clip.rename(tmp_path / os.fsdecode(b"\xff\xfe.mp4"))
    done = playspot(tmp_path, "detect", odd, "--no-video", "--threshold", "0")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--labels", "violin,celo", ["'celo'", "did you mean 'cello'"]),
        ("--mode", "sound", ["'sound'", "action*object*sound"]),
        ("--labelz", "violin", ["--labelz", "--labels"]),
        ("--threshold", "1.5", ["threshold 1.5", "between 0 and 1"]),
    ],
)
def test_a_wrong_option_is_a_usage_error(
    make_clip: MakeClip, tmp_path: Path, option: str, value: str, words: list[str]
) -> None:
    done = playspot(tmp_path, "detect", make_clip(), option, value)
    assert done.returncode == 2
    assert_one_clear_line(done, *words)


@pytest.mark.parametrize("content", [b"", b"not a model" * 100, b"\x08\x07" * 50])
def test_a_corrupt_model_is_one_line_that_names_it(
    make_clip: MakeClip, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "object.onnx").write_bytes(content)
    done = playspot(tmp_path, "detect", make_clip(), "--models", tmp_path / "models")
    assert done.returncode == 1
    assert_one_clear_line(done, "object.onnx")


def test_events_may_not_be_published_beyond_loopback(make_clip: MakeClip, tmp_path: Path) -> None:
    done = playspot(tmp_path, "detect", make_clip(), "--publish", "tcp://0.0.0.0:7773")
    assert done.returncode == 1
    assert_one_clear_line(done, "tcp://0.0.0.0:7773", "loopback")


def test_the_schema_of_events_is_printed(tmp_path: Path) -> None:
    done = playspot(tmp_path, "schema", "event")
    schema = json.loads(done.stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert {"schema", "type", "id", "seq", "point", "box", "modalities"} <= set(
        schema["properties"]
    )


@pytest.fixture
def long_run(media: ModuleType, tmp_path: Path) -> Iterator["tuple[subprocess.Popen[str], Path]"]:
    """Start a detection that takes a while, in a session of its own."""
    clip = media.make_clip(
        tmp_path / "long.mp4", duration=600.0, size=(64, 48), video_rate=8.0, sample_rate=None
    )
    command = [sys.executable, "-m", "playspot.stream", "detect", str(clip), "--labels", "drum"]
    with subprocess.Popen(
        [*command, "--threshold", "0", "--no-video"],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        yield process, tmp_path / "long.events.jsonl"
        if process.poll() is None:
            process.kill()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_an_interrupted_run_keeps_what_it_had_and_ends_its_events(
    long_run: "tuple[subprocess.Popen[str], Path]", number: signal.Signals, code: int
) -> None:
    process, events = long_run
    assert process.stdout is not None
    while "begins" not in process.stdout.readline():
        assert process.poll() is None
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == code
    assert "Traceback" not in errors
    kept = [Event.model_validate_json(line) for line in events.read_text().splitlines()]
    assert [event.seq for event in kept] == list(range(len(kept)))
    assert {e.id for e in kept if e.type == "new"} == {e.id for e in kept if e.type == "end"}
    assert kept[-1].end_reason == "shutdown"
