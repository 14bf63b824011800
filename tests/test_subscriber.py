"""Subscribers and publishers over real sockets: what is lost on the way comes all the same."""

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq
from pydantic import ValidationError

from playspot.stream import broadcast, publish, subscriber_gaps, subscriber_socket
from playspot.stream.addresses import EndpointError
from playspot.stream.event_lines import EventLines
from playspot.stream.event_ring import SentEvent
from playspot.stream.events import Event, LiveStep, ModelInfo
from playspot.stream.keys import make_client_keys, make_server_keys
from playspot.stream.publish import Publisher
from playspot.stream.subscriber import listen
from playspot.stream.subscriber_async import listen_async, statuses_async, steps_async
from playspot.stream.subscriber_records import EventListener, replay_address
from playspot.stream.subscriber_socket import SchemaMismatch

MODEL = ModelInfo(name="m", hash="h", engine="e", precision="fp32")
DEADLINE = 10.0


def event(seq: int, system_id: str = "run0", label: str = "drum", kind: Any = "update") -> Event:
    return Event(
        type=kind,
        id=f"stage.{system_id}.{label}",
        source="stage",
        label=label,
        score=0.9,
        top_score=0.9,
        start_time=1.0,
        time=1.5,
        wall_time=time.time(),
        step=3,
        seq=seq,
        system_id=system_id,
        model=MODEL,
    )


def address() -> str:
    return f"ipc://@playspot-test-{os.getpid()}-{time.monotonic_ns()}"


@pytest.fixture
def context() -> Iterator["zmq.Context[zmq.Socket[bytes]]"]:
    with zmq.Context() as context:
        yield context


class Link:
    """A publisher and a subscriber that take turns."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", **options: Any) -> None:
        self.context = context
        self.got: list[Event] = []
        self.gaps: list[tuple[str, int, int]] = []
        self.publisher = Publisher(context, address(), system_id="run0")
        endpoint = self.publisher.endpoint or ""
        self.listener = EventListener(
            endpoint, **{"on_gap": lambda *gap: self.gaps.append(gap)} | options
        )

    def wait(self, done: Callable[[], Any]) -> None:
        """Let both go on until something is so."""
        deadline = time.monotonic() + DEADLINE
        while not done():
            assert time.monotonic() < deadline, f"{len(self.got)} events, gaps {self.gaps}"
            self.publisher.turn()
            self.got += self.listener.take(time.monotonic())

    def join(self) -> None:
        self.wait(lambda: self.listener._subscription.replay)

    def replace(self, system_id: str) -> None:
        """Put another publisher in the place of this one."""
        endpoint = self.publisher.endpoint
        self.publisher.close()
        deadline = time.monotonic() + DEADLINE
        while True:  # ZeroMQ lets go of an address in its own time
            try:
                self.publisher = Publisher(self.context, endpoint, system_id=system_id)
            except (EndpointError, zmq.ZMQError):
                assert time.monotonic() < deadline
            else:
                return

    def seqs(self, system_id: str = "run0") -> list[int]:
        return [event.seq for event in self.got if event.system_id == system_id]


@contextmanager
def linked(context: "zmq.Context[zmq.Socket[bytes]]", **options: Any) -> Iterator[Link]:
    link = Link(context, **options)
    with closing(link.listener):
        try:
            link.join()
            yield link
        finally:
            link.publisher.close()


@pytest.fixture
def small_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast, "QUEUE", 20)
    monkeypatch.setattr(subscriber_socket, "QUEUE", 20)
    monkeypatch.setattr(publish, "HEARTBEAT_INTERVAL", 0.05)


@pytest.mark.usefixtures("small_queues")
def test_a_listener_that_stalls_gets_every_event_in_order(
    context: "zmq.Context[zmq.Socket[bytes]]",
) -> None:
    n = 3000
    with linked(context) as link:
        for seq in range(n):
            link.publisher.publish(event(seq))  # and the listener is busy
        link.wait(lambda: len(link.got) >= n)
        assert link.seqs() == list(range(n))
        assert link.gaps == []
        assert link.publisher.counts()["overflows"] > 0
        assert link.publisher.counts()["replayed"] > 100


@pytest.mark.usefixtures("small_queues")
def test_what_is_no_longer_kept_is_reported_and_the_rest_comes(
    context: "zmq.Context[zmq.Socket[bytes]]",
) -> None:
    n, kept = 3000, 50
    with linked(context) as link:
        link.publisher._ring._size = kept
        for seq in range(n):
            link.publisher.publish(event(seq))
        link.wait(lambda: link.seqs()[-1:] == [n - 1])
        lost = [seq for _, first, n_lost in link.gaps for seq in range(first, first + n_lost)]
        assert sorted(link.seqs() + lost) == list(range(n))
        assert link.seqs() == sorted(link.seqs())
        assert 0 < len(lost) < n - kept


def test_events_that_nothing_follows_are_noticed_by_the_heartbeat(
    context: "zmq.Context[zmq.Socket[bytes]]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "HEARTBEAT_INTERVAL", 0.05)
    with linked(context) as link:
        send = link.publisher._send
        monkeypatch.setattr(link.publisher, "_send", lambda message: None)  # lost
        link.publisher.publish(event(0))
        monkeypatch.setattr(link.publisher, "_send", send)
        link.wait(lambda: link.got)
        assert (link.seqs(), link.gaps) == ([0], [])


def test_a_gap_is_noticed_though_only_one_label_is_wanted(
    context: "zmq.Context[zmq.Socket[bytes]]", monkeypatch: pytest.MonkeyPatch
) -> None:
    with linked(context, labels=["violin"]) as link:
        send = link.publisher._send
        monkeypatch.setattr(link.publisher, "_send", lambda message: None)  # lost
        link.publisher.publish(event(0, label="violin"))
        monkeypatch.setattr(link.publisher, "_send", send)
        link.publisher.publish(event(1, label="drum"))
        link.wait(lambda: link.got)
        assert link.seqs() == [0]


def test_a_publisher_that_takes_over_goes_on_without_a_gap(
    context: "zmq.Context[zmq.Socket[bytes]]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "REPLAY_TIME", 0.0)  # it repeats nothing by itself
    with linked(context) as link:
        link.publisher.publish(event(0))
        link.wait(lambda: link.got)
        link.replace("run0")
        link.publisher.resume([], [SentEvent.of(event(seq)) for seq in range(5)])
        link.publisher.publish(event(5))  # before the listener is back
        link.wait(lambda: len(link.got) == 6)
        assert (link.seqs(), link.gaps) == ([0, 1, 2, 3, 4, 5], [])


def test_of_a_new_run_nothing_is_missed(context: "zmq.Context[zmq.Socket[bytes]]") -> None:
    with linked(context) as link:
        link.publisher.publish(event(0))
        link.wait(lambda: link.got)
        link.replace("run1")
        for seq in range(3):
            link.publisher.publish(event(seq, "run1", kind="end"))  # before the listener is back
        link.wait(lambda: len(link.got) == 4)
        assert (link.seqs("run1"), link.gaps) == ([0, 1, 2], [])


def test_a_program_that_was_restarted_goes_on_where_it_was(
    context: "zmq.Context[zmq.Socket[bytes]]",
) -> None:
    with closing(Publisher(context, address(), system_id="run0")) as publisher:
        for seq in range(6):
            publisher.publish(event(seq, kind="end"))
        got: list[Event] = []
        thread = threading.Thread(
            target=lambda: got.extend(
                listen(publisher.endpoint or "", since={"stage": ("run0", 4)}, timeout=0.5)
            )
        )
        thread.start()
        while thread.is_alive():
            publisher.turn()
            thread.join(0.001)
    assert [event.seq for event in got] == [4, 5]


def test_a_publisher_that_cannot_replay_is_listened_to_as_well(
    context: "zmq.Context[zmq.Socket[bytes]]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriber_gaps, "ASK_AGAIN", 0.02)
    gaps: list[tuple[str, int, int]] = []
    got: list[Event] = []
    with closing(context.socket(zmq.XPUB)) as socket:
        socket.bind(address())
        endpoint = socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        with closing(EventListener(endpoint, on_gap=lambda *gap: gaps.append(gap))) as events:
            assert {socket.recv(), socket.recv()} == {
                b"\x01playspot/v1/",
                b"\x01playspot/heartbeat/",
            }
            for seq in (3, 6):
                socket.send_multipart(message("playspot/v1/stage/drum/", event(seq)))
            deadline = time.monotonic() + DEADLINE
            while len(got) < 2 and time.monotonic() < deadline:
                got += events.take(time.monotonic())
    assert [event.seq for event in got] == [3, 6]
    assert gaps == [("stage", 4, 2)]


def message(topic: str, event: Event, schema: str = "playspot/event/1") -> list[bytes]:
    header = json.dumps({"schema": schema, "seq": event.seq}).encode()
    return [topic.encode(), header, event.model_dump_json(by_alias=True).encode()]


def test_messages_of_another_major_version_are_told_once_and_never_read(
    context: "zmq.Context[zmq.Socket[bytes]]",
) -> None:
    told: list[SchemaMismatch] = []
    got: list[Event] = []
    with closing(context.socket(zmq.XPUB)) as socket:
        socket.bind(address())
        endpoint = socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        with closing(EventListener(endpoint, on_mismatch=told.append)) as events:
            socket.recv(), socket.recv()
            for seq in range(3):
                of_later = message("playspot/v1/stage/drum/", event(seq), "playspot/event/2")
                socket.send_multipart(of_later)
            socket.send_multipart(
                [b"playspot/heartbeat/v2/", b'{"schema": "playspot/heartbeat/2"}', b"?"]
            )
            for junk in ([], [b"{", b"{}"], [b"[" * 100_000, b"{}"]):
                socket.send_multipart([b"playspot/v1/x/", *junk])
            socket.send_multipart(message("playspot/v1/stage/drum/", event(7)))
            deadline = time.monotonic() + DEADLINE
            while not got and time.monotonic() < deadline:
                got += events.take(time.monotonic())
    assert [event.seq for event in got] == [7]
    assert told == [
        SchemaMismatch("playspot/v1/stage/drum/", "playspot/event/2", "playspot/event/1"),
        SchemaMismatch("playspot/heartbeat/v2/", "playspot/heartbeat/2", "playspot/heartbeat/1"),
    ]


@pytest.mark.parametrize("field", ["time", "start_time", "wall_time", "score"])
@pytest.mark.parametrize("value", ["NaN", "1e999", "1e300", "-1e300"])
def test_an_event_with_a_number_that_cannot_be_is_none(field: str, value: str) -> None:
    fields = event(1).model_dump(mode="json", by_alias=True) | {field: "here"}
    with pytest.raises(ValidationError):
        Event.model_validate_json(json.dumps(fields).replace('"here"', value))


def test_by_default_another_major_version_is_one_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    subscriber_socket.log_mismatch(SchemaMismatch("t", "playspot/event/2", "playspot/event/1"))
    (line,) = caplog.messages
    assert "'playspot/event/2'" in line
    assert "'playspot/event/1'" in line


def test_keys_open_the_events_and_the_replay(
    context: "zmq.Context[zmq.Socket[bytes]]",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server, client = tmp_path / "server", tmp_path / "client"
    make_server_keys(server)
    make_client_keys(server, "desk")
    client.mkdir()
    (server / "desk.key_secret").rename(client / "desk.key_secret")
    (client / "server.key").write_bytes((server / "server.key").read_bytes())
    publisher = Publisher(context, "tcp://127.0.0.1:0", system_id="run0", keys=server)
    got: list[Event] = []
    with (
        closing(publisher),
        closing(EventListener(publisher.endpoint or "", keys=client)) as events,
        closing(EventListener(publisher.endpoint or "")) as stranger,
    ):
        deadline = time.monotonic() + DEADLINE
        while not events._subscription.replay and time.monotonic() < deadline:
            publisher.turn()
            events.take(time.monotonic())
        send = publisher._send
        monkeypatch.setattr(publisher, "_send", lambda message: None)  # lost
        publisher.publish(event(0))
        monkeypatch.setattr(publisher, "_send", send)
        publisher.publish(event(1))
        while (len(got) < 2 or not caplog.messages) and time.monotonic() < deadline:
            publisher.turn()
            got += events.take(time.monotonic())
            assert stranger.take(time.monotonic()) == []
    assert [event.seq for event in got] == [0, 1]
    assert caplog.messages == [
        f"{publisher.endpoint} does not let us in: {subscriber_socket.NO_MATCH}"
    ]


def test_where_to_ask_is_known_by_the_way_that_events_come() -> None:
    assert replay_address("tcp://[::1]:7773", "tcp://[::]:7774") == "tcp://[::1]:7774"
    assert replay_address("ipc://@run", "ipc://@run-replay") == "ipc://@run-replay"
    assert replay_address("tcp://stage:7773", "ipc://@run-replay") is None
    assert replay_address("tcp://stage:7773", "tcp://stage:*") is None


async def turns(publisher: Publisher) -> None:
    while True:
        publisher.turn()
        await asyncio.sleep(0.001)


def test_asyncio_gets_the_same(
    context: "zmq.Context[zmq.Socket[bytes]]", small_queues: None
) -> None:
    n, gaps = 1000, []

    async def hear(publisher: Publisher) -> list[int]:
        task = asyncio.create_task(turns(publisher))
        seqs: list[int] = []
        events = listen_async(publisher.endpoint or "", on_gap=lambda *gap: gaps.append(gap))
        async with asyncio.timeout(DEADLINE), aclosing(events):
            async for each in events:
                if not seqs:
                    for seq in range(1, n):  # at once: most are lost on the way
                        publisher.publish(event(seq))
                seqs.append(each.seq)
                if len(seqs) == n:
                    break
        task.cancel()
        return seqs

    with closing(Publisher(context, address(), system_id="run0")) as publisher:
        publisher.publish(event(0))  # open
        assert asyncio.run(hear(publisher)) == list(range(n))
        assert publisher.counts()["replayed"] > 0
    assert gaps == []


def test_asyncio_gets_steps_and_statuses_and_may_leave_early(
    context: "zmq.Context[zmq.Socket[bytes]]",
) -> None:
    step = LiveStep(
        step=0, time=0, scores={}, points={}, source="stage", system_id="run0", base=0,
        captured=0, latency_ms=1,
    )  # fmt: skip
    status = (
        '{"schema": "playspot/status/1", "source": "stage", "wall_time": 0, "state": "live",'
        ' "since": 0}'
    )

    async def first(records: Any) -> str:
        async for record in records:
            return str(record.source)
        return ""

    async def hear(publisher: Publisher) -> list[str]:
        async def publish() -> None:
            while True:
                publisher.turn()
                publisher.publish_step(step)
                publisher.publish_status("stage", status)
                await asyncio.sleep(0.001)

        task = asyncio.create_task(publish())
        endpoint = publisher.endpoint or ""
        async with asyncio.timeout(DEADLINE):
            names = await asyncio.gather(
                first(steps_async(endpoint)), first(statuses_async(endpoint))
            )
        task.cancel()
        return list(names)

    with closing(Publisher(context, address(), system_id="run0")) as publisher:
        assert asyncio.run(hear(publisher)) == ["stage", "stage"]


def test_lines_never_wait_longer_than_they_are_told() -> None:
    with closing(EventLines(address(), as_json=True)) as lines:
        began = time.monotonic()
        assert list(lines.take(0.0)) == []
        assert time.monotonic() - began < 0.5
