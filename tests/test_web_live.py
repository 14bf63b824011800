"""What clients hear: in order, without a gap, each in time; and what a slow one costs."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from playspot.stream.events import Event, ModelInfo
from playspot.stream.topics import topic
from playspot.stream.web_client import Client, SlowClientError, StoppedError
from playspot.stream.web_live import Live
from playspot.stream.web_messages import Told, Watch
from playspot.stream.web_replay import Replayed, ReplayError, Replays

RUN = "ab12"
EVENTS = Watch(events=True)


def event(seq: int, source: str = "stage", **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "type": "new",
        "id": f"{source}.{RUN}.{seq}",
        "source": source,
        "label": "violin",
        "score": 0.5,
        "top_score": 0.5,
        "start_time": 0.0,
        "time": 0.0,
        "wall_time": 100.0 + seq,
        "step": 0,
        "seq": seq,
        "system_id": RUN,
        "model": ModelInfo(name="m", hash="h", engine="e", precision="p"),
    }
    return Event(**(fields | changes))


def message(event: Event, replay: str = "") -> list[bytes]:
    name = topic(event.source, event.label)
    header = f'{{"replay": "{replay}"}}' if replay else "{}"
    return [name.encode(), header.encode(), event.model_dump_json(by_alias=True).encode()]


def heartbeat(**seq: int) -> list[bytes]:
    body = str({"system_id": RUN, "wall_time": 0.0, "seq": seq}).replace("'", '"')
    return [b"playspot/heartbeat/v1/", b"{}", body.encode()]


class Kept(Replays):
    """A replay of events that it has."""

    def __init__(self, *events: Event, most: int = 3) -> None:
        self.events, self.most = events, most
        self.asked: list[tuple[str, int, int | None]] = []
        self.error: ReplayError | None = None

    async def fetch(self, source: str, since: int, until: int | None = None) -> Replayed:
        await asyncio.sleep(0)
        self.asked.append((source, since, until))
        if self.error is not None:
            raise self.error
        own = [each for each in self.events if each.source == source]
        wanted = [e for e in own if e.seq >= since and (until is None or e.seq < until)]
        found = tuple((e, e.model_dump_json(by_alias=True)) for e in wanted[: self.most])
        return Replayed(RUN, 0, max((e.seq for e in own), default=-1) + 1, found)


def seqs(client: Client) -> list[int]:
    """Return the seq of all events that wait for a client."""
    found = []
    while client._events:
        told = client._events.popleft()
        if client._is_new(told):
            found.append(told.seq)
    return found


def play(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 10))


async def settled(live: Live) -> None:
    while live._tasks:
        await asyncio.gather(*live._tasks)


def test_events_reach_a_client_in_order() -> None:
    live, client = Live(RUN, Kept()), Client("ws")
    live.watch(client, EVENTS)
    for seq in range(3):
        live.take(message(event(seq)))
    assert seqs(client) == [0, 1, 2]


def test_what_comes_twice_is_told_once() -> None:
    live, client = Live(RUN, Kept()), Client("ws")
    live.watch(client, EVENTS)
    for seq in (0, 1, 0, 1, 2):
        live.take(message(event(seq), "recent"))
    assert seqs(client) == [0, 1, 2]


def test_a_gap_is_filled_before_what_came_after_it() -> None:
    async def work() -> None:
        kept = Kept(*map(event, range(10)))
        live, client = Live(RUN, kept), Client("ws")
        live.watch(client, EVENTS)
        for seq in (0, 1, 7, 8):
            live.take(message(event(seq)))
        await settled(live)
        live.take(message(event(9)))
        assert seqs(client) == list(range(10))
        assert kept.asked == [("stage", 2, 7), ("stage", 5, 7)]

    play(work())


def test_a_further_gap_among_those_that_wait_is_filled_too() -> None:
    async def work() -> None:
        live, client = Live(RUN, Kept(*map(event, range(10)))), Client("ws")
        live.watch(client, EVENTS)
        for seq in (0, 3, 7, 8):
            live.take(message(event(seq)))
        await settled(live)
        assert seqs(client) == list(range(9))

    play(work())


def test_a_gap_that_nothing_follows_is_seen_by_the_heartbeat() -> None:
    async def work() -> None:
        live, client = Live(RUN, Kept(*map(event, range(4)))), Client("ws")
        live.watch(client, EVENTS)
        live.take(message(event(0)))
        live.take(heartbeat(stage=4))
        live.take(heartbeat(stage=4))
        await settled(live)
        assert seqs(client) == [0, 1, 2, 3]

    play(work())


def test_events_that_cannot_be_had_do_not_hold_up_the_others() -> None:
    async def work() -> None:
        kept = Kept()
        kept.error = ReplayError("no answer")
        live, client = Live(RUN, kept), Client("ws")
        live.watch(client, EVENTS)
        live.take(message(event(0)))
        live.take(message(event(5)))
        await settled(live)
        live.take(message(event(6)))
        assert seqs(client) == [0, 5, 6]

    play(work())


def test_open_events_are_known_from_their_repetition() -> None:
    live = Live(RUN, Kept())
    live.take(message(event(3), "open"))
    live.take(heartbeat(stage=9))
    live.take(message(event(5), "open"))
    assert [told.seq for told in live.open_events()] == [3, 5]
    live.take(message(event(9, id=event(3).id, type="end")))
    assert [told.seq for told in live.open_events()] == [5]


def test_a_new_client_gets_the_open_events_once() -> None:
    live, client = Live(RUN, Kept()), Client("ws")
    live.take(message(event(0)))
    live.watch(client, EVENTS)
    live.watch(client, Watch(events=True, steps=True))
    live.take(message(event(1)))
    assert seqs(client) == [0, 1]


def test_a_client_that_comes_back_gets_what_it_missed_before_what_is_new() -> None:
    async def work() -> None:
        live, client = Live(RUN, Kept(*map(event, range(8)))), Client("ws")
        for seq in range(7):
            live.take(message(event(seq)))
        live.watch(client, Watch(events=True, since={"stage": (RUN, 2)}))
        live.take(message(event(7)))
        resume = await client.next()
        got = []
        async for missed in live.missed(resume):  # type: ignore[arg-type]
            got += [told.seq for told in client.unsent(missed)]
        assert got + seqs(client) == [2, 3, 4, 5, 6, 7]

    play(work())


def test_of_another_run_a_client_has_missed_everything() -> None:
    async def work() -> None:
        live, client = Live(RUN, Kept(*map(event, range(3)))), Client("ws")
        live.watch(client, Watch(events=True, since={"stage": ("old", 70)}))
        resume = await client.next()
        got = [told.seq async for part in live.missed(resume) for told in part]  # type: ignore[arg-type]
        assert got == [0, 1, 2]

    play(work())


def test_the_events_after_one_are_those_of_all_sources_in_the_order_of_time() -> None:
    async def work() -> None:
        of_hall = [event(n, "hall", wall_time=100.5 + n) for n in range(4)]
        live = Live(RUN, Kept(*map(event, range(4)), *of_hall))
        live.take(heartbeat(stage=4, hall=4))
        found = await live.missed_after(RUN, "stage", 1)
        assert [(told.source, told.seq) for told in found] == [
            *[("hall", 1), ("stage", 2), ("hall", 2), ("stage", 3), ("hall", 3)],
        ]

    play(work())


def test_nobody_resumes_before_it_is_known_which_sources_there_are() -> None:
    async def work() -> None:
        live = Live(RUN, Kept(event(0), event(0, "hall", wall_time=100.5)))
        with pytest.raises(ReplayError, match="not been heard of yet"):
            await live.missed_after(RUN, "stage", 0)
        live.take(heartbeat(stage=1, hall=1))
        assert [told.source for told in await live.missed_after(RUN, "stage", 0)] == ["hall"]

    play(work())


def test_the_events_of_a_source_stay_in_order_though_the_clock_was_set_back() -> None:
    async def work() -> None:
        of_stage = [event(n, wall_time=w) for n, w in enumerate((100.0, 105.0, 101.0, 102.0))]
        live = Live(RUN, Kept(*of_stage, event(0, "hall", wall_time=103.0)))
        live.take(heartbeat(stage=4, hall=1))
        found = await live.missed_after(RUN, "stage", 0)
        assert [told.seq for told in found if told.source == "stage"] == [1, 2, 3]
        assert [told.seq for told in found if told.source == "hall"] == [0]

    play(work())


def test_of_state_a_client_gets_the_latest_only() -> None:
    async def work() -> None:
        live, client = Live(RUN, Kept()), Client("ws")
        live.watch(client, Watch(steps=True, pictures={"stage": 640}))
        for n in range(100):
            live.take([b"playspot/steps/v1/stage/", b"{}", str(n).encode()])
            live.show("stage", str(n).encode())
        step = await client.next()
        assert isinstance(step, Told)
        assert step.body == "99"
        assert await client.next() == b"99"
        assert not client._state
        assert not client._pictures

    play(work())


def test_a_client_that_does_not_take_its_events_is_let_go() -> None:
    async def work() -> None:
        live, slow, fast = Live(RUN, Kept()), Client("ws"), Client("ws")
        live.watch(slow, EVENTS)
        live.watch(fast, EVENTS)
        got = []
        for seq in range(1001):
            live.take(message(event(seq)))
            got += seqs(fast)
        with pytest.raises(SlowClientError):
            await slow.next()
        assert len(got) == 1001
        assert not slow._events

    play(work())


def test_at_the_end_every_client_is_told() -> None:
    async def work() -> None:
        live, client = Live(RUN, Kept()), Client("ws")
        live.watch(client, EVENTS)
        waiting = asyncio.create_task(client.next())
        await asyncio.sleep(0)
        live.stop()
        with pytest.raises(StoppedError):
            await waiting

    play(work())


def test_a_client_hears_only_what_it_wants() -> None:
    live, client = Live(RUN, Kept()), Client("ws")
    live.watch(client, Watch(heat=("hall",)))
    live.take(message(event(0)))
    for source in ("stage", "hall"):
        live.take([f"playspot/heat/v1/{source}/".encode(), b"{}", b"{}"])
    live.show("stage", b"picture")
    assert list(client._state) == [("heat", "hall")]
    assert not client._events
    assert not client._pictures


def test_a_source_that_is_gone_is_forgotten() -> None:
    live = Live(RUN, Kept())
    of_source = '{"source": "stage", "wall_time": 0, "state": "live", "since": 0}'
    model = '{"name": "m", "hash": "h", "engine": "e", "precision": "p"}'
    of_run = (
        f'{{"system_id": "{RUN}", "wall_time": 0, "uptime": 1, "model": {model}, "budget": 2, '
        '"latency": "normal", "look_ahead": 0.7, "sources": {}}'
    )
    live.take([b"playspot/status/v1/stage/", b"{}", of_source.encode()])
    live.take([b"playspot/steps/v1/stage/", b"{}", b"{}"])
    assert list(live.sources) == ["stage"]
    live.take([b"playspot/status/v1/", b"{}", of_run.encode()])
    assert live.sources == {}
    assert live.steps() == {}
    live.take([b"playspot/steps/v1/stage/", b"{}", b"{}"])  # it was still on its way
    live.take([b"playspot/status/v1/", b"{}", of_run.encode()])
    assert live.steps() == {}


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b"playspot/v1/a/b/"],
        [b"playspot/v1/a/b/", b"[]", b"{}"],
        [b"playspot/v1/a/b/", b"{}", b"\xff"],
        [b"playspot/heartbeat/v1/", b"{}", b"{}"],
        [b"playspot/status/v1/", b"{}", b'{"schema": "playspot/status/2"}'],
        [b"else", b"{}", b"{}"],
    ],
)
def test_what_is_no_message_is_skipped(parts: list[bytes]) -> None:
    live = Live(RUN, Kept())
    live.take(parts)
    assert live.run is None
    assert not live.is_fresh


def test_events_of_another_run_are_not_told() -> None:
    live, client = Live(RUN, Kept()), Client("ws")
    live.watch(client, EVENTS)
    live.take(message(event(0, system_id="other")))
    assert seqs(client) == []


def test_a_message_is_written_once_for_all_clients() -> None:
    live = Live(RUN, Kept())
    clients = [Client("ws") for _ in range(2)]
    for client in clients:
        live.watch(client, EVENTS)
    live.take(message(event(0)))
    first, second = (client._events[0] for client in clients)
    assert first.text is second.text
    assert first.server_sent is second.server_sent


def test_events_that_are_no_longer_kept_are_asked_for_once() -> None:
    async def work() -> None:
        kept = Kept()
        live, client = Live(RUN, kept), Client("ws")
        live.watch(client, EVENTS)
        live.take(message(event(0)))
        for _ in range(3):
            live.take(heartbeat(stage=5))
            await settled(live)
        live.take(message(event(5)))
        assert len(kept.asked) == 1
        assert seqs(client) == [0, 5]

    play(work())
