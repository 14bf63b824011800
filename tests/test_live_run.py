"""A real `playspot run`: the law, and what happens when its processes are killed and stopped."""

import itertools
import os
import re
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from playspot.engines.catalogue import bundled_models
from playspot.stream.whole import steps_of
from playspot.training.bandstand import render_clip

pytestmark = [pytest.mark.live, pytest.mark.clock]

RECOVERY = 5.0  # seconds until service is back (the bound)
LOADED = 4.0  # seconds more that a busy machine may take in a test; figures are in benchmarks/
SERVICES = ("flow", "mel", "detector", "publisher")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("live") / "stage.mp4"
    render_clip(path, seed=200_061, duration=8.0)
    return path


@pytest.fixture(scope="module")
def looping(
    live: ModuleType, clip: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """Return a run of two looped files that all faults of this module fall upon, one by one."""
    source = {"url": str(clip), "loop": True}
    config = {"sources": {"a": source, "b": source}}
    with live.RunningProgram(config, tmp_path_factory.mktemp("run")) as program:
        program.wait_for_steps(["a", "b"])
        program.wait(lambda: "" in program.statuses)
        yield program


def living(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those that still run after a while; zombies, whose parent is gone, do not."""
    _, left = psutil.wait_procs(processes, 1.0)
    return [process for process in left if process.status() != psutil.STATUS_ZOMBIE]


def check_events(events: list[dict[str, Any]]) -> None:
    """Check that every event came once, in order, and that none is left open."""
    by_source = defaultdict(list)
    for event in events:
        by_source[event["source"]].append(event)
    for source, own in by_source.items():
        unique = list({event["seq"]: event for event in own}.values())
        keys = {(event["seq"], event["id"], event["type"], event["step"]) for event in own}
        assert len(keys) == len(unique), f"{source}: two events with one seq"
        assert [e["seq"] for e in sorted(unique, key=lambda e: e["seq"])] == [
            *range(own[0]["seq"], own[0]["seq"] + len(unique))
        ], source
        opened = [event["id"] for event in unique if event["type"] == "new"]
        ended = [event["id"] for event in unique if event["type"] == "end"]
        assert sorted(opened) == sorted(ended), source
        assert len(set(opened)) == len(opened), source


def test_a_live_file_gives_the_steps_that_the_file_gives(
    live: ModuleType, clip: Path, tmp_path: Path
) -> None:
    with live.RunningProgram({"sources": {"stage": {"url": str(clip)}}}, tmp_path) as program:
        program.wait(lambda: program.process.poll() is not None, 60.0)
        assert program.process.returncode == 0
        steps = {step["step"]: step for step in program.steps}
        events = program.events
    expected = [result.step for result in steps_of(clip, bundled_models())]
    assert [step["base"] for step in steps.values()] == [0] * len(expected)
    for step in expected:
        assert steps[step.step]["scores"] == pytest.approx(step.scores, abs=1e-4)
        assert live.is_complete(steps[step.step])
    check_events(events)
    reasons = {event["end_reason"] for event in events if event["type"] == "end"}
    assert reasons <= {"silence", "end_of_stream"}


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("worker", [*SERVICES, "reader a"])
def test_a_worker_that_dies_or_hangs_is_replaced(
    looping: Any, worker: str, how: signal.Signals
) -> None:
    before = looping.pid(worker)
    first = len(looping.steps)
    os.kill(before, how)
    began = time.monotonic()
    looping.wait(lambda: looping.pid(worker) != before, RECOVERY + LOADED)
    seconds = time.monotonic() - began + looping.wait_for_steps(["a", "b"])
    assert seconds < RECOVERY + LOADED
    assert not psutil.pid_exists(before)
    for source in ("a", "b"):
        numbers = [step["step"] for step in looping.steps[first:] if step["source"] == source]
        assert all(later > earlier for earlier, later in itertools.pairwise(numbers))
    if worker == "reader a":  # the other source does not notice
        other = [step["step"] for step in looping.steps[first:] if step["source"] == "b"]
        assert other == [*range(other[0], other[0] + len(other))]


@pytest.mark.slow
def test_after_all_that_every_event_came_once_and_ended(looping: Any) -> None:
    assert looping.stop() == 130
    check_events(looping.events)


@pytest.mark.slow
def test_ctrl_c_twice_ends_everything_even_stopped_workers(
    live: ModuleType, clip: Path, tmp_path: Path
) -> None:
    config = {"sources": {"a": {"url": str(clip), "loop": True}}}
    with live.RunningProgram(config, tmp_path) as program:
        program.wait(lambda: "" in program.statuses)
        children = psutil.Process(program.process.pid).children(recursive=True)
        for worker in ("detector", "publisher"):
            os.kill(program.pid(worker), signal.SIGSTOP)
        program.process.send_signal(signal.SIGINT)
        program.take(0.2)
        program.process.send_signal(signal.SIGINT)
        assert program.process.wait(3.0) in (130, -signal.SIGINT)
        assert living(children) == []


@pytest.mark.slow
def test_the_death_of_the_supervisor_ends_all_workers(
    live: ModuleType, clip: Path, tmp_path: Path
) -> None:
    config = {"sources": {"a": {"url": str(clip), "loop": True}}}
    with live.RunningProgram(config, tmp_path) as program:
        program.wait(lambda: "" in program.statuses)
        children = psutil.Process(program.process.pid).children(recursive=True)
        program.process.kill()
        assert living(children) == []


@pytest.mark.slow
def test_sighup_adds_and_removes_sources_without_touching_the_others(
    live: ModuleType, clip: Path, tmp_path: Path
) -> None:
    source = {"url": str(clip), "loop": True}
    config = {"sources": {"a": source, "b": source}}
    with live.RunningProgram(config, tmp_path) as program:
        program.wait_for_steps(["a", "b"])
        program.wait(lambda: "" in program.statuses)
        reader = program.pid("reader a")
        program.write_config(sources={"a": source, "c": {**source, "labels": ["violin"]}})
        program.process.send_signal(signal.SIGHUP)
        program.wait_for_steps(["a", "c"])
        program.wait(lambda: set(program.statuses[""]["sources"]) == {"a", "c"})
        assert program.pid("reader a") == reader
        program.write_config(sources={"a": {"url": str(clip), "lop": True}})
        program.process.send_signal(signal.SIGHUP)
        program.wait(lambda: "left as it was" in program.log.read_text())
        assert "lop" in program.log.read_text()
        program.wait_for_steps(["a", "c"])
        assert program.stop() == 130
        numbers = [step["step"] for step in program.steps if step["source"] == "a"]
        assert numbers == [*range(numbers[0], numbers[0] + len(numbers))]
        check_events(program.events)


def test_a_file_that_is_not_there_is_one_line_and_exit_code_one(
    live: ModuleType, tmp_path: Path
) -> None:
    config = {"sources": {"a": {"url": str(tmp_path / "nowhere.mp4")}}}
    with live.RunningProgram(config, tmp_path) as program:
        assert program.process.wait(live.READY) == 1
        lines = [line for line in program.log.read_text().splitlines() if "nowhere" in line]
    assert len(lines) == 1
    assert re.search("no such file; check the path", lines[0])
