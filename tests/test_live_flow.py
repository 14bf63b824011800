"""The flow stage without its process: the law, losses, lateness, fairness, memory."""

from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playspot.stream import flow_method
from playspot.stream.deadlines import most_steps, stage_limit
from playspot.stream.flow import stack_flow
from playspot.stream.flow_method import FARNEBACK, Farneback, Flow, FlowMethod, Pair
from playspot.stream.latency import flow_look_ahead, flow_stream
from playspot.stream.live_flow import FlowStage, LiveFlowJob
from playspot.stream.measure import Measures
from playspot.stream.media import Grey, GreyFrame
from playspot.stream.messages import Message
from playspot.stream.stage import Outlet
from playspot.stream.timeline import TICK, TICKS_PER_STEP, step_time, tick_time

GREYS = np.random.default_rng(20187).integers(0, 256, (40, 24, 32), np.uint8)
JOB = LiveFlowJob(budget=2.0)
PATIENT = LiveFlowJob(budget=60.0)
LIMIT = stage_limit(2.0, flow_look_ahead("normal"))


class Batched(Farneback):
    """A method that wants many steps at once, and notes how many pairs it was given."""

    def __init__(self, batch: int = 16, spend: Callable[[int], None] = lambda n: None) -> None:
        super().__init__()
        self.batch = batch  # type: ignore[misc]
        self.calls: list[int] = []
        self.spend = spend

    def flows(self, pairs: Sequence[Pair]) -> list[Flow]:
        self.calls.append(len(pairs))
        self.spend(len(pairs))
        return super().flows(pairs)


class Bench:
    """A stage with a clock that is turned by hand, and what it sent."""

    def __init__(
        self,
        feed: ModuleType,
        job: LiveFlowJob = JOB,
        method: FlowMethod | None = FARNEBACK,
    ) -> None:
        self.clock, self.sent, self.measures = feed.Clock(), feed.Sent(), Measures()
        self.n_patient = 0  # how often it was said that what follows may take long
        out = Outlet(self.sent, self.measures, self.clock)
        self.stage = FlowStage(job, out, self.measures, self.clock, method, self.be_patient)
        self.feed, self.begin = feed, self.clock.now

    def be_patient(self) -> None:
        self.n_patient += 1

    def open(self, number: int = 1, name: str = "stage", **options: Any) -> None:
        self.stage.take("grey", self.feed.opening(number, name, **options))

    def send(self, ticks: Iterable[int], number: int = 1, **data: Any) -> None:
        for tick in ticks:
            captured = data.get("captured", self.begin + tick_time(tick))
            self.clock.now = max(self.clock.now, captured)
            base = {"name": "stage", "captured": captured, "arrived": captured}
            image = GREYS[(tick + number - 1) % len(GREYS)]  # of every source other ones
            if "size" in data:
                image = image[: data["size"], : data["size"]]
            self.stage.take("grey", Message("grey", number, tick, {**base, **data}, (image,)))

    def gap(self, step: int, ticks: int) -> None:
        captured = self.begin + step_time(step)
        self.clock.now = max(self.clock.now, captured)
        data = {"name": "stage", "captured": captured, "ticks": ticks}
        self.stage.take("grey", Message("gap", 1, step, data))

    def end(self, n: int, ticks: int, number: int = 1) -> None:
        data = {"name": "stage", "duration": step_time(n), "ticks": ticks}
        self.stage.take("grey", Message("end", number, n, data))

    def work(self) -> None:
        """Do all that is due."""
        while self.stage.work():
            pass

    def stale(self) -> list[int]:
        return [gap.index for gap in self.sent.of("gap") if gap.data.get("stale")]


@pytest.fixture
def bench(feed: ModuleType) -> Bench:
    return Bench(feed)


def expected(n_frames: int, latency: Any = "normal") -> dict[int, np.ndarray]:
    stream = flow_stream(latency)
    stacks = [s for t in range(n_frames) for s in stream.push(GreyFrame(t, GREYS[t]))]
    return {stack.step: stack.stack for stack in stacks + stream.flush()}


def test_a_stream_gives_what_the_file_gives(bench: Bench) -> None:
    bench.open()
    for tick in range(22):
        bench.send([tick])
        bench.work()
    bench.end(6, 22)
    bench.work()
    np.testing.assert_array_equal(
        [m.arrays[0] for m in bench.sent.of("stack")], stack_flow(GREYS[:22])
    )
    assert [m.kind for m in bench.sent.messages[-2:]] == ["stack", "end"]
    assert not bench.measures.drops


@settings(deadline=None, max_examples=60)
@given(
    lost=st.sets(st.integers(0, 39), max_size=12),
    tail=st.booleans(),
    latency=st.sampled_from(["normal", "low"]),
    batch=st.sampled_from([1, 16]),
    pauses=st.sets(st.integers(0, 39)),
)
def test_under_losses_what_is_given_is_right_and_every_step_is_told(
    feed: ModuleType, lost: set[int], tail: bool, latency: Any, batch: int, pauses: set[int]
) -> None:
    bench = Bench(feed, LiveFlowJob(60.0, latency), Batched(batch))  # nothing is ever late
    bench.open()
    for tick in range(40):
        if tick not in lost:
            bench.send([tick], first=tick == 0)
        if batch == 1 or tick not in pauses:
            bench.work()
    if tail:
        bench.end(10, 40)
        bench.work()
    whole = expected(40, latency)
    delay = 3 if latency == "low" else 0
    for message in bench.sent.of("stack"):
        np.testing.assert_array_equal(message.arrays[0], whole[message.index])
        first = TICKS_PER_STEP * message.index - 2 - delay
        assert not lost & set(range(max(0, first), min(40, first + 6)))
    told = bench.sent.steps("stack") + bench.stale()
    assert len(told) == len(set(told))
    if tail and 0 not in lost:
        # Of the last steps nothing came after the losses that shows them: `end` says the rest.
        came = max((t for t in range(40) if t not in lost), default=-1)
        assert sorted(told) == list(range(len(told)))
        assert len(told) >= came // TICKS_PER_STEP
        if 39 not in lost:
            assert len(told) == 10
    assert bench.measures.drops["stage", "lost"] == len(bench.stale())


def test_a_session_joined_in_the_middle_starts_with_the_first_complete_stack(bench: Bench) -> None:
    bench.open(index=3)
    bench.send(range(13, 23))
    bench.work()
    whole = expected(24)
    (stack,) = bench.sent.of("stack")
    assert stack.index == 4  # ticks 14 ... 19; step 5 waits for tick 23
    np.testing.assert_array_equal(stack.arrays[0], whole[stack.index])
    assert bench.stale() == [3]


def test_a_video_that_begins_late_has_no_flow_before_and_begins_as_in_a_file(bench: Bench) -> None:
    bench.open()
    bench.send([9], first=True)
    bench.send(range(10, 17))
    bench.work()
    stream = flow_stream("normal")
    whole = [s for t in range(9, 17) for s in stream.push(GreyFrame(t, GREYS[t]))]
    assert bench.sent.steps("stack") == [s.step for s in whole] == [3]
    np.testing.assert_array_equal(bench.sent.of("stack")[0].arrays[0], whole[0].stack)
    assert [(m.index, m.data["stale"]) for m in bench.sent.of("gap")] == [
        (0, False),
        (1, False),
        (2, False),
    ]


def test_a_gap_in_the_source_is_passed_on_in_its_place_and_what_follows_begins_anew(
    bench: Bench,
) -> None:
    bench.open()
    bench.send(range(8))
    bench.work()
    bench.send(range(8, 10))
    bench.gap(3, 10)
    bench.work()
    bench.send([16], first=True)
    bench.send(range(17, 20))
    bench.work()
    order = [(m.kind, m.index) for m in bench.sent.messages if m.kind != "open"]
    assert order == [("stack", 0), ("stack", 1), ("stack", 2), ("gap", 3), ("stack", 4)]
    np.testing.assert_array_equal(bench.sent.of("stack")[2].arrays[0], expected(10)[2])
    assert bench.stale() == []


def test_where_the_last_frames_were_lost_the_end_is_not_made_up(bench: Bench) -> None:
    bench.open()
    bench.send(range(9))
    bench.end(4, 14)  # ticks 9 ... 13 did not arrive
    bench.work()
    assert bench.sent.steps("stack") == [0, 1]
    assert bench.stale() == [2, 3]


def test_what_is_too_late_is_never_computed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch)
    bench.open()
    bench.send(range(8))
    bench.clock.now += 60
    bench.work()
    assert calls == []
    assert bench.stale() == [0, 1]
    assert bench.measures.drops == {("stage", "late"): 2}


def test_each_flow_is_computed_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch)
    bench.open()
    for tick in range(32):
        bench.send([tick])
        bench.work()
    assert bench.sent.steps("stack") == list(range(8))
    assert len(calls) == 31


def counted(monkeypatch: pytest.MonkeyPatch, spend: Callable[[], None] = lambda: None) -> list[int]:
    calls: list[int] = []

    def slow(previous: Grey, following: Grey) -> np.ndarray:
        calls.append(1)
        spend()
        return np.zeros((2, *previous.shape), np.float32)

    monkeypatch.setattr(flow_method, "farneback", slow)
    return calls


@pytest.mark.parametrize("n_sources", [1, 3, 10])
def test_under_twice_the_load_ages_stay_below_the_limit_and_drops_are_even(
    feed: ModuleType, monkeypatch: pytest.MonkeyPatch, n_sources: int
) -> None:
    bench = Bench(feed)

    cost = 2 * TICK / n_sources  # all flows of one tick take two ticks
    ages: dict[str, list[float]] = {}

    def spend() -> None:
        bench.clock.now += cost

    def kept(message: Message) -> bool:
        if message.kind == "stack":
            age = bench.clock.now - message.data["captured"]
            ages.setdefault(message.data["name"], []).append(age)
        return bool(bench.sent(message))

    bench.stage._out = Outlet(kept, bench.measures, bench.clock)

    counted(monkeypatch, spend)
    begin, n_ticks = bench.clock.now, 240
    due = [
        (when, message)
        for i in range(n_sources)
        for when, _, message in feed.reading(
            i + 1,
            f"source {i}",
            [GreyFrame(t, GREYS[t % 40]) for t in range(n_ticks)],
            begin + i * TICK / n_sources,
        )
    ]
    for i in range(n_sources):
        bench.open(i + 1, f"source {i}")
    due.sort(key=lambda one: one[0])
    while due:
        while due and due[0][0] <= bench.clock.now:
            bench.stage.take("grey", due.pop(0)[1])
        if not bench.stage.work() and due:
            bench.clock.now = max(bench.clock.now, due[0][0])
    bench.work()
    served = [len(bench.sent.steps("stack", i + 1)) for i in range(n_sources)]
    assert max(served) / min(served) < 1.2
    for i in range(n_sources):
        name = f"source {i}"
        assert served[i] + bench.measures.drops[name, "late"] == n_ticks // TICKS_PER_STEP
        assert np.quantile(ages[name], 0.95) <= LIMIT + 5 * cost + 1e-9
    share = sum(served) / (n_sources * n_ticks / TICKS_PER_STEP)
    assert 0.38 < share < 0.62


def test_a_source_that_floods_takes_no_more_memory_and_nothing_from_the_others(
    bench: Bench,
) -> None:
    bench.open(1, "flood")
    bench.open(2, "calm")
    bench.send(range(4), 2)
    for start in range(0, 4000, 40):
        bench.send(range(start, start + 40), 1, captured=bench.clock.now)
    frames = bench.stage._roster.get(1)
    assert frames is not None
    assert len(frames.line) <= most_steps(2.0)
    assert frames.stream is not None
    assert len(frames.stream._frames) <= TICKS_PER_STEP * (most_steps(2.0) + 2)
    bench.work()
    assert bench.sent.steps("stack", 2) == [0]
    n_told = len(bench.sent.steps("stack", 1)) + len(bench.stale())
    assert n_told == 1000


def test_a_network_computes_what_waits_of_all_sources_in_one_batch(feed: ModuleType) -> None:
    method = Batched()
    bench = Bench(feed, PATIENT, method)
    for number in (1, 2, 3):
        bench.open(number, f"source {number}")
        bench.send(range(4), number)
    assert bench.stage.work()
    assert method.calls == [9]  # three flows of each
    assert not bench.stage.work()
    for number in (1, 2, 3):
        (stack,) = bench.sent.of("stack", number)
        expected = stack_flow(np.roll(GREYS, 1 - number, axis=0)[:4])[0]
        np.testing.assert_array_equal(stack.arrays[0], expected)


def test_in_a_batch_every_source_has_its_turn(feed: ModuleType) -> None:
    bench = Bench(feed, PATIENT, Batched(4))
    bench.open(1, "full")
    bench.send(range(24), 1)
    bench.open(2, "calm")
    bench.send(range(8), 2)
    bench.stage.work()
    assert sorted(bench.sent.steps("stack", 1)) == [0, 1]
    assert sorted(bench.sent.steps("stack", 2)) == [0, 1]


def test_in_a_batch_nothing_overtakes_a_gap(feed: ModuleType) -> None:
    bench = Bench(feed, PATIENT, Batched())
    bench.open()
    bench.send(range(10))
    bench.gap(3, 10)
    bench.send([16], first=True)
    bench.send(range(17, 20))
    bench.work()
    order = [(m.kind, m.index) for m in bench.sent.messages if m.kind != "open"]
    assert order == [("stack", 0), ("stack", 1), ("stack", 2), ("gap", 3), ("stack", 4)]


def test_a_slow_network_is_given_less_at_once(feed: ModuleType) -> None:
    method = Batched()
    bench = Bench(feed, PATIENT, method)

    def spend(n_pairs: int) -> None:
        bench.clock.now += 0.03 * n_pairs  # as the network on a CPU

    method.spend = spend
    for number in range(1, 9):
        bench.open(number, f"source {number}")
        bench.send(range(4), number)
    bench.work()
    assert method.calls == [12, 6, 6]  # four steps to begin with, then such as take 0.2 s
    assert len(bench.sent.of("stack")) == 8


def test_before_the_first_run_of_a_size_it_is_said_that_it_may_take_long(feed: ModuleType) -> None:
    bench = Bench(feed, PATIENT, Batched())
    bench.open(1)
    for tick in range(12):
        bench.send([tick])
        bench.work()
    assert bench.n_patient == 1
    bench.open(2, "other")
    bench.send(range(4), 2, size=20)
    bench.work()
    assert bench.n_patient == 2


@pytest.mark.parametrize("latency", ["normal", "low"])
def test_for_a_model_that_computes_the_flow_the_frames_are_sent(
    feed: ModuleType, latency: Any
) -> None:
    bench = Bench(feed, LiveFlowJob(2.0, latency), method=None)
    bench.open()
    for tick in range(22):
        bench.send([tick])
        bench.work()
    bench.end(6, 22)
    bench.work()
    stream = flow_stream(latency, None)
    whole = [s for t in range(22) for s in stream.push(GreyFrame(t, GREYS[t]))] + stream.flush()
    assert bench.sent.steps("stack") == [s.step for s in whole] == list(range(6))
    for message, six in zip(bench.sent.of("stack"), whole, strict=True):
        assert message.arrays[0].dtype == np.uint8
        np.testing.assert_array_equal(message.arrays[0], six.stack)


def test_data_of_an_unknown_session_is_ignored(bench: Bench) -> None:
    bench.send(range(8), 77)
    bench.work()
    assert bench.sent.messages == []


def test_every_announcement_is_forwarded(bench: Bench) -> None:
    bench.open()
    bench.open(index=2)
    assert bench.sent.steps("open") == [0, 2]


def test_a_newer_session_takes_the_place_of_one_that_never_ended(bench: Bench) -> None:
    bench.open(1)
    bench.send(range(6))  # step 0 is whole, step 1 is not
    bench.open(2)
    bench.send(range(4), 2)
    bench.work()
    assert bench.sent.steps("stack", 1) == [0]
    assert bench.sent.steps("stack", 2) == [0]
    assert bench.stage._roster.get(1) is None
    assert bench.stale() == [1]


def test_a_session_of_which_nothing_is_heard_is_forgotten(bench: Bench) -> None:
    bench.open()
    bench.send(range(6))
    bench.clock.now += 31
    bench.work()
    assert list(bench.stage._roster) == []


def test_where_there_is_no_room_the_step_is_counted(bench: Bench) -> None:
    bench.open()
    bench.sent.has_room = False
    bench.send(range(8))
    bench.work()
    assert bench.measures.drops == {("stage", "full"): 2}
