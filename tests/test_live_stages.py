"""Flow, mel and detector as real processes over real sockets, under twice the load they bear."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import zmq

from playspot.engines.engine import Header
from playspot.engines.replay import ReplayModels
from playspot.models.labels import LABELS
from playspot.stream.live_detector import SCORED, LiveDetectorJob, detect_live
from playspot.stream.live_flow import LiveFlowJob, flow_live
from playspot.stream.live_mel import LiveMelJob, mel_live
from playspot.stream.media import AudioChunk, End, GreyFrame, MediaItem, Picture
from playspot.stream.messages import Message, receive, try_send
from playspot.stream.sockets import LIVE_QUEUE, close_run, new_run, pull, push
from playspot.stream.supervisor import Supervisor
from playspot.stream.timeline import (
    STEP,
    STEP_SAMPLES,
    TICK_SAMPLES,
    TICKS_PER_STEP,
)

pytestmark = [pytest.mark.live, pytest.mark.clock]

BUDGET = 2.0
N_SOURCES, N_STEPS = 4, 12
SLOW = 2 * STEP / N_SOURCES / 3  # of each of three networks: the steps of all take twice too long
DEADLINE = 30.0  # seconds until a test gives up waiting


def models(seconds: float) -> ReplayModels:
    """Return a model set that takes its time."""
    kinds: list[Any] = ["object", "action", "sound"]
    scores = np.random.default_rng(1).random((1, len(LABELS), 5, 8), np.float32)
    return ReplayModels(
        {k: Header(kind=k, name=k, labels=LABELS, front_end="paper") for k in kinds},
        {"object": scores, "action": scores, "sound": scores[:, :, 0]},
        seconds=seconds,
    )


def medium(n_steps: int) -> Iterator[MediaItem]:
    """Yield moving noise with sound, in the order of time."""
    rng = np.random.default_rng(2)
    greys = rng.integers(0, 256, (TICKS_PER_STEP, 36, 64), np.uint8)
    sound = rng.standard_normal(TICK_SAMPLES).astype(np.float32)
    for tick in range(n_steps * TICKS_PER_STEP):
        yield GreyFrame(tick, greys[tick % TICKS_PER_STEP])
        if tick % TICKS_PER_STEP == 0:
            yield Picture(tick // TICKS_PER_STEP, np.zeros((36, 64, 3), np.uint8))
        yield AudioChunk(tick * TICK_SAMPLES, sound)
    yield End(n_steps * STEP_SAMPLES / 16_000, n_steps)


@dataclass
class Outcome:
    """What came out, by source."""

    steps: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    ages: list[float] = field(default_factory=list)
    dropped: dict[str, "Counter[str]"] = field(default_factory=lambda: defaultdict(Counter))
    statuses: "Counter[str]" = field(default_factory=Counter)
    ended: set[str] = field(default_factory=set)
    measures: dict[str, Any] = field(default_factory=dict)
    longest_silence: float = 0.0


def played(feed: ModuleType, seconds: float, n_steps: int) -> Outcome:
    """Play four sources in real time through three processes."""
    run, context, outcome = new_run(), zmq.Context[Any](), Outcome()
    supervisor = Supervisor(run)
    control = pull(context, run, "control", queue=1000)
    scored = pull(context, run, SCORED, queue=LIVE_QUEUE)
    sockets = {n: push(context, run, n, queue=LIVE_QUEUE) for n in ("pictures", "grey", "pcm")}
    try:
        supervisor.start("flow", flow_live, LiveFlowJob(BUDGET))
        supervisor.start("mel", mel_live, LiveMelJob("paper", BUDGET))
        supervisor.start("detector", detect_live, LiveDetectorJob(models(seconds), BUDGET))
        living: dict[str, float] = {}
        deadline = time.monotonic() + DEADLINE
        while len(living) < 3:
            assert control.poll(max(0, int(1000 * (deadline - time.monotonic())))), (
                "no sign of life"
            )
            message = receive(control)
            if message.kind == "alive":
                living[message.data["worker"]] = time.monotonic()
        begin = time.monotonic()
        due: list[tuple[float, str, Message]] = []
        for i in range(N_SOURCES):
            name, start = f"source {i}", begin + i * STEP / N_SOURCES
            opening = feed.opening(i + 1, name)
            due += [(start, socket, opening) for socket in sockets]
            due += list(feed.reading(i + 1, name, medium(n_steps), start))
        due.sort(key=lambda one: one[0])
        while len(outcome.ended) < N_SOURCES:
            now = time.monotonic()
            assert now < begin + n_steps * STEP + DEADLINE, "the end did not come"
            while due and due[0][0] <= now:
                _, socket, message = due.pop(0)
                assert try_send(sockets[socket], message)
            while control.poll(0):
                report = receive(control)
                worker = report.data["worker"]
                if report.kind == "alive":
                    silence = time.monotonic() - living[worker]
                    outcome.longest_silence = max(outcome.longest_silence, silence)
                    living[worker] = time.monotonic()
                    outcome.measures[worker] = report.data["measures"]
            wait = 1000 * (due[0][0] - time.monotonic()) if due else 100
            if scored.poll(int(max(0, min(100, wait)))):
                _note(outcome, receive(scored))
    finally:
        supervisor.stop()
        context.destroy(linger=0)
        close_run(run)
    return outcome


def _note(outcome: Outcome, message: Message) -> None:
    name = str(message.data.get("name", ""))
    if message.kind == "scored":
        outcome.steps[name].append(message.index)
        outcome.ages.append(time.monotonic() - message.data["captured"])
        outcome.statuses.update(message.data["modalities"].values())
    if message.kind in ("scored", "end"):
        outcome.dropped[name].update(message.data["dropped"])
    if message.kind == "end":
        outcome.ended.add(name)


@pytest.fixture(scope="module")
def overloaded(feed: ModuleType) -> Outcome:
    return played(feed, SLOW, N_STEPS)


def test_without_load_every_step_leaves_whole_and_soon(feed: ModuleType) -> None:
    outcome = played(feed, 0.0, 5)
    assert dict(outcome.steps) == {f"source {i}": list(range(5)) for i in range(N_SOURCES)}
    assert set(outcome.statuses) == {"ok"}
    assert np.quantile(outcome.ages, 0.95) < 1.4  # the look-ahead is 0.736 s


def test_under_twice_the_load_the_ages_stay_in_the_budget(overloaded: Outcome) -> None:
    assert len(overloaded.ages) > N_SOURCES
    assert np.quantile(overloaded.ages, 0.95) < BUDGET + 0.05  # and a hop of a socket


def test_under_twice_the_load_what_is_dropped_is_even(overloaded: Outcome) -> None:
    served = [len(steps) for steps in overloaded.steps.values()]
    assert len(served) == N_SOURCES
    assert max(served) - min(served) <= max(1, 0.2 * max(served))


def test_under_twice_the_load_every_step_is_accounted_for(overloaded: Outcome) -> None:
    for i in range(N_SOURCES):
        name = f"source {i}"
        steps = overloaded.steps[name]
        assert steps == sorted(set(steps))
        assert len(steps) + overloaded.dropped[name].total() == N_STEPS
    assert {cause for told in overloaded.dropped.values() for cause in told} == {"late"}


def test_under_twice_the_load_the_processes_show_that_they_live(overloaded: Outcome) -> None:
    assert overloaded.longest_silence < 1.5
    assert overloaded.measures["detector"]["drops"]
