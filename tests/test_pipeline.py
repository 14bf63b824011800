"""The pipeline of real processes over real sockets, with recorded scores in place of networks."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import psutil
import pytest

from playspot.engines.engine import Header
from playspot.engines.replay import ReplayModels
from playspot.engines.settings import Decoding
from playspot.models.labels import LABELS
from playspot.stream.events import Event
from playspot.stream.pipeline import Pipeline, StepOutput
from playspot.stream.sources import SourceError
from playspot.stream.subscriber import listen
from playspot.stream.supervisor import WorkerError
from playspot.stream.whole import steps_of

pytestmark = pytest.mark.live

MakeClip = Callable[..., Path]
DEADLINE = 20.0  # seconds until a test gives up waiting


def models(seed: int = 1) -> ReplayModels:
    """Return a model set whose scores differ from step to step."""
    rng = np.random.default_rng(seed)
    k = len(LABELS)
    return ReplayModels(
        headers={
            "object": Header(kind="object", name="recorded", labels=LABELS),
            "action": Header(kind="action", name="recorded", labels=LABELS),
            "sound": Header(kind="sound", name="recorded", labels=LABELS, front_end="paper"),
        },
        scores={
            "object": rng.random((11, k, 5, 8), np.float32),
            "action": rng.random((13, k, 5, 8), np.float32),
            "sound": rng.random((7, k, 4), np.float32),
        },
        decoding=Decoding(on=0.8, off=0.7),
    )


@pytest.fixture(scope="module")
def long_clip(media: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clip that takes some seconds to detect in."""
    path: Path = media.make_clip(
        tmp_path_factory.mktemp("long") / "long.mp4", duration=120.0, size=(64, 48), video_rate=8.0
    )
    return path


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    with Pipeline(models(), publish="tcp://127.0.0.1:7773", may_move=True) as running:
        yield running


def outputs(pipeline: Pipeline, path: Path) -> tuple[list[StepOutput], list[Event]]:
    run = pipeline.open(path)
    steps = list(run)
    return steps, [event for step in steps for event in step.events] + list(run.final_events)


def assert_nothing_is_left(pids: list[int]) -> None:
    _, alive = psutil.wait_procs(
        [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=5
    )
    assert alive == []


@pytest.mark.parametrize(
    "options",
    [
        {"duration": 4.3},
        {"duration": 3.0, "sample_rate": None},
        {"duration": 3.0, "size": None},
        {"duration": 4.0, "audio_start": 1.7},
        {"duration": 4.0, "audio_duration": 1.0},
        {"duration": 5.2, "audio_duration": 16.0},
    ],
    ids=["both", "picture only", "sound only", "late sound", "short sound", "short picture"],
)
def test_the_processes_give_what_the_whole_file_gives(
    make_clip: MakeClip, options: dict[str, object]
) -> None:
    """The law, over real processes (with input-blind scores: what arrives when, and in order)."""
    path = make_clip(**options)
    expected = list(steps_of(path, models()))
    with Pipeline(models()) as fresh:
        got, _ = outputs(fresh, path)
    assert [output.step for output in got] == [result.step for result in expected]
    for output, result in zip(got, expected, strict=True):
        changes = [(change.type, change.track.label) for change in result.changes]
        assert [(event.type, event.label) for event in output.events] == changes


def test_every_step_comes_once_and_in_order(pipeline: Pipeline, make_clip: MakeClip) -> None:
    steps, events = outputs(pipeline, make_clip(duration=5.0))
    assert [output.step.step for output in steps] == list(range(10))
    assert [event.seq for event in events] == list(range(len(events)))
    assert {e.id for e in events if e.type == "new"} == {e.id for e in events if e.type == "end"}


def test_a_second_file_begins_afresh(pipeline: Pipeline, make_clip: MakeClip) -> None:
    for name in ("one.mp4", "two.mp4"):
        steps, events = outputs(pipeline, make_clip(name, duration=1.5))
        assert steps[0].step.time == 0.0
        assert events[0].seq == 0
        assert events[0].source == Path(name).stem


def test_sources_of_one_name_are_told_apart(pipeline: Pipeline, make_clip: MakeClip) -> None:
    clip = make_clip("same.mp4", duration=1.5)
    names = [{event.source for event in outputs(pipeline, clip)[1]} for _ in range(2)]
    assert names == [{"same"}, {"same-2"}]


def test_no_event_ends_after_its_file(pipeline: Pipeline, make_clip: MakeClip) -> None:
    run = pipeline.open(make_clip("short.mp4", duration=1.2))
    assert len(list(run)) == 3
    assert run.final_events
    for event in run.final_events:
        assert event.end_time is not None
        assert event.start_time < event.end_time <= run.duration


def test_a_broken_file_is_an_error_and_the_next_one_is_done(
    pipeline: Pipeline, make_clip: MakeClip, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video" * 100)
    with pytest.raises(SourceError, match=r"broken\.mp4"):
        pipeline.open(broken)
    steps, _ = outputs(pipeline, make_clip(duration=1.0))
    assert len(steps) == 2


def test_subscribers_get_the_events_while_the_file_is_detected(
    pipeline: Pipeline, make_clip: MakeClip
) -> None:
    assert pipeline.endpoint is not None
    got: list[Event] = []
    thread = threading.Thread(
        target=lambda: got.extend(listen(pipeline.endpoint or "", timeout=3.0))
    )
    thread.start()
    threading.Event().wait(0.7)  # the subscription has no acknowledgement
    _, events = outputs(pipeline, make_clip(duration=3.0))
    thread.join(DEADLINE)
    assert got == events


def test_a_reader_that_is_killed_fails_its_file_only(
    pipeline: Pipeline, make_clip: MakeClip, long_clip: Path
) -> None:
    run = pipeline.open(long_clip)
    steps = iter(run)
    next(steps)
    reader = next(pid for name, pid in pipeline.pids().items() if name.startswith("reader"))
    os.kill(reader, signal.SIGKILL)
    with pytest.raises(SourceError, match="broke off"):
        list(steps)
    assert len(outputs(pipeline, make_clip("next.mp4", duration=1.0))[0]) == 2


def test_a_file_can_be_given_up(pipeline: Pipeline, make_clip: MakeClip, long_clip: Path) -> None:
    run = pipeline.open(long_clip)
    next(iter(run))
    run.abandon()
    assert len(outputs(pipeline, make_clip("next.mp4", duration=1.0))[0]) == 2


def test_a_slow_reader_of_results_holds_the_file_back(pipeline: Pipeline, long_clip: Path) -> None:
    """Back-pressure: nothing is lost, and the reader waits instead of filling the memory."""
    run = pipeline.open(long_clip)
    steps = iter(run)
    next(steps)
    threading.Event().wait(1.5)  # time enough to read it all, were it not held back
    reader = next(n for n in pipeline.pids() if n.startswith("reader"))
    used = psutil.Process(pipeline.pids()[reader]).cpu_times().user
    threading.Event().wait(0.5)
    assert psutil.Process(pipeline.pids()[reader]).cpu_times().user - used < 0.2
    assert 1 + len(list(steps)) == 235


@pytest.mark.parametrize("victim", ["flow", "mel", "detector"])
def test_a_worker_that_is_killed_ends_the_run_and_nothing_is_left(
    long_clip: Path, victim: str
) -> None:
    with Pipeline(models()) as running:
        run = running.open(long_clip)
        steps = iter(run)
        next(steps)
        pids = running.pids()
        os.kill(pids[victim], signal.SIGKILL)
        with pytest.raises(WorkerError, match=f"{victim}.*signal 9"):
            list(steps)
    assert_nothing_is_left(list(pids.values()))


PROGRAM = """
import sys
from pathlib import Path
from test_models import models
from playspot.stream.pipeline import Pipeline

if __name__ == "__main__":
    with Pipeline(models()) as pipeline:
        run = pipeline.open(Path(sys.argv[1]))
        for output in run:
            print(output.step.step, *pipeline.pids().values(), flush=True)
"""


@pytest.fixture
def program(long_clip: Path, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Start a program of its own session that detects in a long file."""
    (tmp_path / "test_models.py").write_text(Path(__file__).read_text(encoding="utf-8"))
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py"), str(long_clip)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        yield process
        if process.poll() is None:
            process.kill()


def pids_of(process: "subprocess.Popen[str]") -> list[int]:
    assert process.stdout is not None
    return [int(pid) for pid in process.stdout.readline().split()[1:]]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a child to its parent")
def test_kill_9_of_the_program_leaves_no_process(program: "subprocess.Popen[str]") -> None:
    pids = pids_of(program)
    assert len(pids) == 4
    program.kill()
    program.wait(DEADLINE)
    assert_nothing_is_left(pids)


def test_ctrl_c_leaves_no_process_and_no_file(program: "subprocess.Popen[str]") -> None:
    pids = pids_of(program)
    began = time.monotonic()
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does: to the whole group
    program.wait(DEADLINE)
    assert time.monotonic() - began < 5
    assert_nothing_is_left(pids)
    unix = Path("/proc/net/unix")
    if unix.is_file():
        assert f"@playspot-{program.pid}-" not in unix.read_text()
