"""The mel stage without its process: the law, losses, lateness, fairness."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playspot.engines.engine import FrontEnd
from playspot.stream.deadlines import most_steps, stage_limit
from playspot.stream.latency import sound_windows, steps_to_settle, window_look_ahead
from playspot.stream.live_mel import LiveMelJob, MelStage
from playspot.stream.measure import Measures
from playspot.stream.media import AudioChunk, End, Waveform
from playspot.stream.messages import Message
from playspot.stream.stage import Outlet
from playspot.stream.timeline import (
    COLUMNS_PER_STEP,
    SAMPLE_RATE,
    STEP,
    STEP_SAMPLES,
    n_steps,
    step_time,
)
from playspot.stream.windows import COLUMNS_BACK, STEPS_BACK

CHUNK = 1024
N_CHUNKS = 90  # 11.25 steps
NOISE = (0.3 * np.random.default_rng(20188).standard_normal(N_CHUNKS * CHUNK)).astype(np.float32)
FRONT_ENDS: list[FrontEnd] = ["paper", "yamnet"]


class Bench:
    """A stage with a clock that is turned by hand, and what it sent."""

    def __init__(
        self, feed: ModuleType, front_end: FrontEnd = "paper", latency: Any = "normal"
    ) -> None:
        self.clock, self.sent, self.measures = feed.Clock(), feed.Sent(), Measures()
        self.out = Outlet(self.sent, self.measures, self.clock)
        job = LiveMelJob(front_end, 2.0, latency)
        self.stage = MelStage(job, self.out, self.measures, self.clock)
        self.feed, self.begin = feed, self.clock.now

    def open(self, number: int = 1, name: str = "stage", **options: Any) -> None:
        self.stage.take("pcm", self.feed.opening(number, name, **options))

    def send(self, chunk: int, number: int = 1, waveform: Waveform = NOISE, **data: Any) -> None:
        start = chunk * CHUNK
        captured = self.begin + start / SAMPLE_RATE
        self.clock.now = max(self.clock.now, captured + CHUNK / SAMPLE_RATE)
        data = {"name": "stage", "captured": captured, "arrived": self.clock.now, **data}
        sound = (waveform[start : start + CHUNK],)
        self.stage.take("pcm", Message("pcm", number, start, data, sound))

    def end(self, n_samples: int = len(NOISE), number: int = 1) -> None:
        n = n_steps(n_samples / SAMPLE_RATE)
        data = {"name": "stage", "duration": step_time(n), "samples": n_samples}
        self.stage.take("pcm", Message("end", number, n, data))

    def work(self) -> None:
        """Do all that is due."""
        while self.stage.work():
            pass

    def stale(self) -> list[int]:
        return [gap.index for gap in self.sent.of("gap") if gap.data["stale"]]


def whole(front_end: FrontEnd, latency: Any = "normal") -> list[Any]:
    stream = sound_windows(front_end, latency)
    return stream.push(AudioChunk(0, NOISE)) + stream.flush(n_steps(len(NOISE) / SAMPLE_RATE))


def seen(window: Any, step: int, output: int) -> Any:
    """Return what of a window the network sees for the step's score."""
    if window.ndim != 2 or window.shape[0] == 96:
        return window
    first = COLUMNS_PER_STEP * max(0, step - STEPS_BACK)
    return window[:, max(0, COLUMNS_PER_STEP * step - COLUMNS_BACK - first) :]


@pytest.mark.parametrize("latency", ["normal", "low"])
@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_a_stream_gives_what_the_file_gives(
    feed: ModuleType, front_end: FrontEnd, latency: Any
) -> None:
    bench = Bench(feed, front_end, latency)
    bench.open()
    for chunk in range(N_CHUNKS):
        bench.send(chunk)
        bench.work()
    bench.end()
    bench.work()
    for message, window in zip(bench.sent.of("window"), whole(front_end, latency), strict=True):
        assert (message.index, message.data["output"]) == (window.step, window.output)
        assert message.data["missing"] == window.missing
        np.testing.assert_allclose(message.arrays[0], window.window, atol=1e-5)
    assert bench.sent.messages[-1].kind == "end"
    assert not bench.measures.drops


@pytest.mark.parametrize("latency", ["normal", "low"])
@pytest.mark.parametrize("front_end", FRONT_ENDS)
@settings(deadline=None, max_examples=12)
@given(lost=st.sets(st.integers(0, N_CHUNKS - 1), max_size=4))
def test_under_losses_what_is_given_is_that_of_the_whole_and_every_step_is_told(
    feed: ModuleType, front_end: FrontEnd, latency: Any, lost: set[int]
) -> None:
    bench = Bench(feed, front_end, latency)
    bench.open()
    for chunk in range(N_CHUNKS):
        if chunk not in lost:
            bench.send(chunk)
        bench.work()
    bench.end()
    bench.work()
    windows = whole(front_end, latency)
    for message in bench.sent.of("window"):
        window, output = windows[message.index], message.data["output"]
        mine = seen(message.arrays[0], message.index, output)
        theirs = seen(window.window, message.index, window.output)
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    told = bench.sent.steps("window") + bench.stale()
    assert sorted(told) == list(range(len(windows)))
    assert bench.measures.drops["stage", "lost"] == len(bench.stale())
    n_lost = 3 + steps_to_settle(front_end, latency) + 1
    assert len(bench.stale()) <= n_lost * len(lost)


@pytest.mark.parametrize(("front_end", "n_stale"), [("paper", 2), ("yamnet", 1)])
def test_a_session_joined_in_the_middle_settles(
    feed: ModuleType, front_end: FrontEnd, n_stale: int
) -> None:
    bench = Bench(feed, front_end)
    bench.open(index=5)
    for chunk in range(40, 80):  # from the beginning of step 5 on
        bench.send(chunk)
        bench.work()
    assert bench.stale() == list(range(5, 5 + n_stale))
    assert bench.sent.steps("window")[0] == 5 + n_stale


def test_a_window_leaves_as_soon_as_its_last_sample_is_there(feed: ModuleType) -> None:
    bench = Bench(feed)
    bench.open()
    came = {}
    for chunk in range(N_CHUNKS):
        bench.send(chunk)
        bench.work()
        came[chunk] = len(bench.sent.of("window"))
    first = next(chunk for chunk, n in came.items() if n)
    assert (first + 1) * CHUNK >= 11_776 > first * CHUNK


def test_where_the_last_sound_was_lost_the_end_is_not_made_up(feed: ModuleType) -> None:
    bench = Bench(feed)
    bench.open()
    for chunk in range(80):
        bench.send(chunk)
        bench.work()
    bench.end()
    bench.work()
    assert bench.sent.steps("window") == list(range(9))
    assert bench.stale() == [9, 10, 11]


def test_who_is_too_late_goes_on_at_the_newest_step(feed: ModuleType) -> None:
    bench = Bench(feed)
    bench.open()
    for chunk in range(72):
        bench.send(chunk)
    bench.clock.now += 0.1
    bench.work()
    assert bench.sent.steps("window") == [7]
    assert bench.stale() == list(range(1, 7))  # nobody waits for those further back
    assert bench.measures.drops == {("stage", "late"): 7}
    window = bench.sent.of("window")[0]
    mine = seen(window.arrays[0], 7, 2)
    np.testing.assert_allclose(mine, seen(whole("paper")[7].window, 7, 2), atol=1e-5)


@pytest.mark.parametrize("n_sources", [3, 8])
def test_under_twice_the_load_ages_stay_below_the_limit_and_drops_are_even(
    feed: ModuleType, monkeypatch: pytest.MonkeyPatch, n_sources: int
) -> None:
    bench = Bench(feed)
    cost = 2 * STEP / n_sources
    ages: dict[str, list[float]] = {}
    inner = bench.stage._hear

    def slow(sound: Any, chunk: AudioChunk) -> bool:
        bench.clock.now += cost * CHUNK / STEP_SAMPLES
        return inner(sound, chunk)

    def kept(message: Message) -> bool:
        if message.kind == "window":
            age = bench.clock.now - message.data["captured"]
            ages.setdefault(message.data["name"], []).append(age)
        return bool(bench.sent(message))

    monkeypatch.setattr(bench.stage, "_hear", slow)
    bench.stage._out = Outlet(kept, bench.measures, bench.clock)
    n = 100
    sound = np.zeros(n * STEP_SAMPLES, np.float32)
    chunks = [AudioChunk(s, sound[s : s + CHUNK]) for s in range(0, len(sound), CHUNK)]
    due = []
    for i in range(n_sources):
        begin = bench.begin + i * STEP / n_sources
        due += list(feed.reading(i + 1, f"source {i}", [*chunks, End(n * STEP, n)], begin))
        bench.open(i + 1, f"source {i}")
    due = sorted((one for one in due if one[1] == "pcm"), key=lambda one: one[0])
    while due:
        while due and due[0][0] <= bench.clock.now:
            bench.stage.take("pcm", due.pop(0)[2])
        if not bench.stage.work() and due:
            bench.clock.now = max(bench.clock.now, due[0][0])
    bench.work()
    served = [len(bench.sent.steps("window", i + 1)) for i in range(n_sources)]
    assert min(served) > 0.1 * n
    assert max(served) / min(served) < 1.2
    limit = stage_limit(2.0, window_look_ahead("paper", "normal"))
    for i in range(n_sources):
        name = f"source {i}"
        dropped = sum(k for (source, _), k in bench.measures.drops.items() if source == name)
        assert served[i] + dropped == n
        assert np.quantile(ages[name], 0.95) <= limit + 3.5 * cost  # two steps lead up to it


def test_a_source_that_floods_is_kept_short(feed: ModuleType) -> None:
    bench = Bench(feed)
    bench.open()
    for chunk in range(0, 4000):
        bench.stage.take(
            "pcm",
            Message(
                "pcm",
                1,
                chunk * CHUNK,
                {"name": "stage", "captured": bench.clock.now, "arrived": bench.clock.now},
                (NOISE[:CHUNK],),
            ),
        )
        if chunk % 300 == 0:
            bench.stage.work()
    sound = bench.stage._roster.get(1)
    assert sound is not None
    assert len(sound.chunks) <= 300 + 8 * most_steps(2.0)


def test_a_source_without_sound_is_only_passed_on(feed: ModuleType) -> None:
    bench = Bench(feed)
    bench.open(has_audio=False)
    bench.end()
    bench.work()
    assert [m.kind for m in bench.sent.messages] == ["open", "end"]
    assert not bench.measures.drops
    assert list(bench.stage._roster) == []


def test_a_session_that_never_ends_is_forgotten(feed: ModuleType) -> None:
    bench = Bench(feed)
    bench.open()
    bench.send(0)
    bench.clock.now += 31
    bench.work()
    assert list(bench.stage._roster) == []


def test_a_newer_session_takes_the_place_of_one_that_never_ended(feed: ModuleType) -> None:
    bench = Bench(feed)
    bench.open(1)
    for chunk in range(20):
        bench.send(chunk)
    bench.open(2)
    bench.work()
    assert bench.sent.steps("window", 1) == [0, 1]
    assert [heard.session.number for heard in bench.stage._roster] == [2]
