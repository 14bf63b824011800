"""What a subscriber passes on, whatever is lost, repeated, late or restarted."""

from collections import defaultdict
from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from playspot.stream import subscriber_gaps as rules
from playspot.stream.events import Event, ModelInfo
from playspot.stream.subscriber_gaps import ASK_AGAIN, TRIES, Gap, Subscription
from playspot.stream.wire import Heartbeat, ReplayAnswer, ReplayRequest

MODEL = ModelInfo(name="m", hash="h", engine="e", precision="fp32")
REPLAY = "ipc://@replay"
Item = tuple[str, int]  # "event" or "gap", and a seq


def event(seq: int, source: str = "a", system_id: str = "run0", label: str = "drum") -> Event:
    return Event(
        type="new",
        id=f"{source}.{system_id}.{seq}",
        source=source,
        label=label,
        score=0.9,
        top_score=0.9,
        start_time=1.0,
        time=1.5,
        wall_time=0,
        step=3,
        seq=seq,
        system_id=system_id,
        model=MODEL,
    )


def heartbeat(
    seq: dict[str, int], system_id: str = "run0", replay: str | None = REPLAY
) -> Heartbeat:
    return Heartbeat(system_id=system_id, wall_time=0, seq=seq, replay=replay)


def answer(request: ReplayRequest, seqs: list[int], system_id: str = "run0") -> ReplayAnswer:
    return ReplayAnswer(
        id=request.id, system_id=system_id, source=request.source, n=len(seqs), next=100
    )


def taken(subscription: Subscription) -> list[Item]:
    """Return what came out, a gap as one item for each seq."""
    items: list[Item] = []
    for item in subscription.take():
        if isinstance(item, Gap):
            items += [("gap", seq) for seq in range(item.first, item.first + item.n)]
        else:
            items.append(("event", item.seq))
    return items


def events(*seqs: int) -> list[Item]:
    return [("event", seq) for seq in seqs]


@pytest.fixture
def joined() -> Subscription:
    """Return a subscription to a run that has published nothing yet."""
    subscription = Subscription()
    subscription.heartbeat(heartbeat({"a": 0}))
    return subscription


def test_an_event_ahead_of_a_gap_waits_for_the_replay(joined: Subscription) -> None:
    joined.event(event(0))
    joined.event(event(3))
    assert taken(joined) == events(0)
    (request,) = joined.due(now=0.0)
    assert (request.source, request.since, request.until) == ("a", 1, 3)
    assert joined.due(now=0.5) == []
    joined.answer(answer(request, [1, 2]), [event(1), event(2)])
    assert taken(joined) == events(1, 2, 3)
    assert joined.patience(0.5) is None


def test_a_heartbeat_tells_of_events_that_no_other_one_follows(joined: Subscription) -> None:
    joined.event(event(0))
    joined.heartbeat(heartbeat({"a": 3}))
    (request,) = joined.due(now=0.0)
    assert (request.since, request.until) == (1, 3)


def test_a_source_is_followed_from_the_first_heartbeat_on() -> None:
    subscription = Subscription()
    subscription.heartbeat(heartbeat({"a": 7}))
    subscription.event(event(8))
    (request,) = subscription.due(now=0.0)
    assert (request.since, request.until) == (7, 8)


def test_open_events_come_first_and_leave_no_gap() -> None:
    subscription = Subscription()
    subscription.event(event(3), is_open=True)
    subscription.event(event(5), is_open=True)
    subscription.heartbeat(heartbeat({"a": 9}))
    subscription.event(event(9))
    subscription.event(event(5), is_open=True)  # repeated for another subscriber
    assert taken(subscription) == events(3, 5, 9)
    assert subscription.due(now=0.0) == []


def test_open_events_may_come_after_the_heartbeat() -> None:
    subscription = Subscription()
    subscription.heartbeat(heartbeat({"a": 9}))
    subscription.event(event(3), is_open=True)
    subscription.event(event(9))
    subscription.event(event(5), is_open=True)
    assert taken(subscription) == events(3, 9)


def test_without_heartbeats_a_source_is_followed_from_its_first_event_on() -> None:
    subscription = Subscription()
    subscription.event(event(4))
    subscription.event(event(4))
    subscription.event(event(5))
    assert taken(subscription) == events(4, 5)


def test_without_heartbeats_a_gap_is_given_up_soon() -> None:
    subscription = Subscription()
    subscription.event(event(4))
    subscription.event(event(6))
    now, requests = 0.0, []
    while (wait := subscription.patience(now)) is not None and now < 60:
        now += wait
        requests += subscription.due(now)
    assert requests == []
    assert now == rules.TRIES_UNHEARD * ASK_AGAIN
    assert taken(subscription) == [("event", 4), ("gap", 5), ("event", 6)]


def test_a_publisher_without_replay_is_not_waited_for(joined: Subscription) -> None:
    joined.heartbeat(heartbeat({"a": 0}, replay=None))
    joined.event(event(2))
    assert joined.due(now=0.0) == []
    assert taken(joined) == [("gap", 0), ("gap", 1), ("event", 2)]


def test_a_request_is_repeated_and_then_given_up(joined: Subscription) -> None:
    joined.event(event(2))
    now, ids = 0.0, []
    while (wait := joined.patience(now)) is not None and now < 60:
        now += wait
        ids += [request.id for request in joined.due(now)]
    assert len(set(ids)) == TRIES
    assert now == TRIES * ASK_AGAIN
    assert taken(joined) == [("gap", 0), ("gap", 1), ("event", 2)]


def test_an_answer_that_comes_too_late_is_left_out(joined: Subscription) -> None:
    joined.event(event(1))
    (late,) = joined.due(now=0.0)
    joined.due(now=ASK_AGAIN)
    joined.answer(answer(late, []), [])
    assert taken(joined) == []  # the later request may still bring it


def test_what_an_answer_does_not_have_is_lost(joined: Subscription) -> None:
    joined.event(event(6))
    (request,) = joined.due(now=0.0)
    joined.answer(answer(request, [2, 4]), [event(2), event(4)])
    (rest,) = joined.due(now=0.0)  # there may be more than fits into one answer
    assert (rest.since, rest.until) == (5, 6)
    joined.answer(answer(rest, []), [])
    kinds = ["gap", "gap", "event", "gap", "event", "gap", "event"]
    assert taken(joined) == list(zip(kinds, range(7), strict=True))


def test_a_new_run_is_followed_from_its_beginning(joined: Subscription) -> None:
    joined.event(event(0))
    joined.event(event(1, system_id="run1"))
    (request,) = joined.due(now=0.0)
    assert (request.since, request.until) == (0, 1)
    joined.answer(answer(request, [0], "run1"), [event(0, system_id="run1")])
    assert taken(joined) == events(0, 0, 1)


def test_what_was_missing_of_a_run_that_is_over_is_lost(joined: Subscription) -> None:
    joined.event(event(2))
    joined.heartbeat(heartbeat({"a": 0}, "run1"))
    assert taken(joined) == [("gap", 0), ("gap", 1), ("event", 2)]


def test_an_answer_of_another_run_fills_nothing(joined: Subscription) -> None:
    joined.event(event(1))
    (request,) = joined.due(now=0.0)
    joined.answer(answer(request, [0], "run1"), [event(0, system_id="run1")])
    assert taken(joined) == [("gap", 0), ("event", 1)]


def test_a_source_that_is_added_is_followed_from_its_beginning(joined: Subscription) -> None:
    joined.event(event(1, source="b"))
    (request,) = joined.due(now=0.0)
    assert (request.source, request.since, request.until) == ("b", 0, 1)


def test_a_program_that_was_restarted_goes_on_where_it_was() -> None:
    subscription = Subscription(since={"a": ("run0", 4)})
    subscription.event(event(2), is_open=True)  # had that
    subscription.heartbeat(heartbeat({"a": 6, "b": 3}))
    (request,) = subscription.due(now=0.0)
    assert (request.source, request.since, request.until) == ("a", 4, 6)


def test_where_it_was_in_another_run_means_all_of_this_one() -> None:
    subscription = Subscription(since={"a": ("run0", 4)})
    subscription.heartbeat(heartbeat({"a": 2}, "run1"))
    (request,) = subscription.due(now=0.0)
    assert (request.since, request.until) == (0, 2)


def test_sources_that_are_not_wanted_leave_no_gap() -> None:
    subscription = Subscription(sources=["a"])
    subscription.heartbeat(heartbeat({"a": 0, "b": 0}))
    subscription.heartbeat(heartbeat({"a": 0, "b": 5}))
    subscription.event(event(7, source="b"))
    assert subscription.due(now=0.0) == []
    assert taken(subscription) == []


def test_what_is_held_back_is_bounded(
    joined: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "MAX_HELD", 10)
    for seq in range(1, 11):
        joined.event(event(seq))
    assert taken(joined) == []
    joined.event(event(11))
    assert taken(joined) == [("gap", 0), *events(*range(1, 12))]


def test_sources_are_bounded_and_the_longest_unheard_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rules, "MAX_SOURCES", 3)
    subscription = Subscription()
    subscription.heartbeat(heartbeat({}))
    for name in "abcd":
        subscription.event(event(0, source=name))
    subscription.heartbeat(heartbeat(dict.fromkeys("abcde", 1)))  # a is not followed again
    assert subscription.due(now=0.0) == []
    assert taken(subscription) == events(0, 0, 0, 0)


def test_a_source_whose_name_is_too_long_to_ask_for_has_gaps() -> None:
    name = "x" * (rules.MAX_NAME + 1)
    subscription = Subscription()
    subscription.heartbeat(heartbeat({}))
    subscription.event(event(1, source=name))
    assert subscription.due(now=0.0) == []
    assert taken(subscription) == [("gap", 0), ("event", 1)]


@dataclass
class World:
    """A publisher, a network that loses things, and a subscriber that joined before the first."""

    kept: int  # events of each source that can be replayed
    most: int = 3  # events in an answer
    run: int = 0
    now: float = 0.0
    published: "dict[tuple[str, str], int]" = field(default_factory=lambda: defaultdict(int))
    requests: list[ReplayRequest] = field(default_factory=list)
    subscription: Subscription = field(default_factory=Subscription)

    def __post_init__(self) -> None:
        self.beat()

    @property
    def system_id(self) -> str:
        return f"run{self.run}"

    def publish(self, source: str, is_lost: bool) -> None:
        key = source, self.system_id
        self.published[key] += 1
        if not is_lost:
            self.send(self.published[key] - 1, source)

    def repeat(self, source: str, back: int, is_open: bool) -> None:
        seq = self.published.get((source, self.system_id), 0) - 1 - back
        if seq >= 0:
            self.send(seq, source, is_open=is_open)

    def send(self, seq: int, source: str, *, is_open: bool = False) -> None:
        self.subscription.event(event(seq, source, self.system_id), is_open=is_open)

    def beat(self) -> None:
        run = self.system_id
        seq = {source: n for (source, of), n in self.published.items() if of == run}
        self.subscription.heartbeat(heartbeat(seq, run))

    def restart(self) -> None:
        self.run += 1

    def ask(self, seconds: float) -> None:
        self.now += seconds
        self.requests += self.subscription.due(self.now)

    def reply(self, index: int, is_lost: bool) -> None:
        if not self.requests:
            return
        request = self.requests.pop(index % len(self.requests))
        key = request.source, self.system_id
        n = self.published.get(key, 0)
        first = max(request.since, n - self.kept)
        seqs = list(range(first, min(n, request.until or n)))[: self.most]
        if not is_lost:
            self.subscription.answer(
                answer(request, seqs, self.system_id), [event(seq, *key) for seq in seqs]
            )

    def settle(self) -> None:
        """Let everything arrive that still can."""
        self.beat()
        for _ in range(1000):
            self.ask(0.0)
            while self.requests:
                self.reply(0, is_lost=False)
            if (wait := self.subscription.patience(self.now)) is None:
                return
            self.now += wait
        raise AssertionError("it waits for ever")


SOURCES = st.sampled_from(["a", "b"])
PUBLISH = st.tuples(st.just("publish"), SOURCES, st.booleans())
REPEAT = st.tuples(st.just("repeat"), SOURCES, st.integers(0, 5), st.booleans())
BEAT = st.just(("beat",))
ASK = st.tuples(st.just("ask"), st.sampled_from([0.0, ASK_AGAIN / 2, ASK_AGAIN, 5.0]))
REPLY = st.tuples(st.just("reply"), st.integers(0, 3), st.booleans())
RESTART = st.just(("restart",))
ONE_RUN = st.lists(st.one_of(PUBLISH, PUBLISH, PUBLISH, REPEAT, BEAT, ASK, REPLY), max_size=60)
RUNS = st.lists(st.one_of(PUBLISH, PUBLISH, REPEAT, BEAT, ASK, REPLY, RESTART), max_size=60)


def play(world: World, script: list[tuple[object, ...]]) -> list[Event | Gap]:
    out: list[Event | Gap] = []
    for name, *arguments in script:
        getattr(world, str(name))(*arguments)
        out += world.subscription.take()
    world.settle()
    world.subscription.finish()
    return out + world.subscription.take()


def ends(out: list[Event | Gap]) -> "dict[tuple[str, str], int]":
    """Return how far each run of a source came; fail where a `seq` is missing, or comes twice."""
    ends: dict[tuple[str, str], int] = {}
    last: dict[str, str] = {}  # source to its run
    for item in out:
        key = item.source, item.system_id
        assert key not in ends or last[item.source] == item.system_id, "a run that was over"
        first, n = (item.first, item.n) if isinstance(item, Gap) else (item.seq, 1)
        assert first == ends.get(key, 0)
        assert n > 0
        last[item.source], ends[key] = item.system_id, first + n
    return ends


@given(RUNS, st.integers(0, 6))
@settings(max_examples=300, deadline=None)
def test_each_seq_comes_once_in_order_or_is_reported_as_lost(
    script: list[tuple[object, ...]], kept: int
) -> None:
    world = World(kept)
    found = ends(play(world, script))
    for (source, run), n in world.published.items():
        if run == world.system_id:
            assert found[source, run] == n
    assert all(n <= world.published[key] for key, n in found.items())


@given(ONE_RUN)
@settings(max_examples=200, deadline=None)
def test_nothing_is_lost_while_it_can_be_replayed(script: list[tuple[object, ...]]) -> None:
    world = World(kept=1000)
    out = play(world, [op for op in script if op[0] != "ask" or op[1] == 0.0])  # none runs out
    assert [item for item in out if isinstance(item, Gap)] == []
    assert ends(out) == world.published
