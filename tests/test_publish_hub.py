"""What the publisher does besides: slow subscribers, heartbeats, the hub, heat."""

import json
import os
import time
from collections.abc import Callable, Iterator
from itertools import count

import numpy as np
import pytest
import zmq

from playspot.stream import broadcast
from playspot.stream.events import Event, ModelInfo
from playspot.stream.heat_record import heat_of
from playspot.stream.messages import Message
from playspot.stream.publish import Publisher
from playspot.stream.sockets import endpoint, new_run
from playspot.stream.wire import Heartbeat, Heat, ReplayAnswer, ReplayRequest

Context = zmq.Context[zmq.Socket[bytes]]
Subscriber = Callable[..., zmq.Socket[bytes]]

MODEL = ModelInfo(name="test", hash="0" * 12, engine="replay", precision="fp32")
NAMES = count()


def event(seq: int, kind: str = "update") -> Event:
    return Event.model_validate(
        {
            "type": kind,
            "id": "stage.run1.0",
            "source": "stage",
            "label": "drum",
            "score": 0.9,
            "top_score": 0.9,
            "start_time": 0,
            "time": seq,
            "wall_time": time.time(),
            "step": seq,
            "seq": seq,
            "system_id": "run1",
            "model": MODEL,
        }
    )


@pytest.fixture
def context() -> Iterator[Context]:
    context: Context = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def connected(context: Context) -> Iterator[Subscriber]:
    """Return what connects a socket; it is closed after the test."""
    sockets = []

    def connect(kind: int, address: str, queue: int = 0) -> zmq.Socket[bytes]:
        socket = context.socket(kind)
        socket.setsockopt(zmq.RCVHWM, queue)
        socket.connect(address)
        sockets.append(socket)
        return socket

    yield connect
    for socket in sockets:
        socket.close(linger=0)


@pytest.fixture
def run() -> str:
    return new_run()


@pytest.fixture
def publisher(context: Context, run: str) -> Iterator[Publisher]:
    name = f"ipc://@playspot-test-hub-{os.getpid()}-{next(NAMES)}"
    publisher = Publisher(context, name, system_id="run1", run=run)
    yield publisher
    publisher.close()


@pytest.fixture
def subscribe(connected: Subscriber, publisher: Publisher) -> Subscriber:
    def connect(topic: str, address: str = "") -> zmq.Socket[bytes]:
        before = publisher.counts()["subscriptions"]
        socket = connected(zmq.SUB, address or publisher.endpoint)
        socket.subscribe(topic)
        deadline = time.monotonic() + 10
        while publisher.counts()["subscriptions"] == before:
            publisher.turn()
            assert time.monotonic() < deadline
        return socket

    return connect


def received(socket: "zmq.Socket[bytes]", timeout: float = 0.0) -> list[list[bytes]]:
    messages = []
    while socket.poll(int(1000 * timeout)):
        messages.append(socket.recv_multipart())
    return messages


def one(socket: "zmq.Socket[bytes]") -> list[bytes]:
    assert socket.poll(5000)
    return socket.recv_multipart()


def seqs(messages: list[list[bytes]]) -> list[int]:
    return [json.loads(body)["seq"] for _, _, body in messages]


def test_others_lose_nothing_while_one_subscriber_stalls(
    monkeypatch: pytest.MonkeyPatch, context: Context, connected: Subscriber
) -> None:
    monkeypatch.setattr(broadcast, "QUEUE", 500)
    name = f"ipc://@playspot-test-hub-{os.getpid()}-{next(NAMES)}"
    publisher = Publisher(context, name, system_id="run1")
    quick = connected(zmq.SUB, publisher.endpoint)
    stalled = connected(zmq.SUB, publisher.endpoint, queue=1)
    quick.subscribe("playspot/v1/")
    stalled.subscribe("playspot/v1/stage/")
    deadline = time.monotonic() + 30
    while publisher.counts()["subscriptions"] < 2:
        publisher.turn()
        assert time.monotonic() < deadline
    got: list[int] = []
    n = 0
    while publisher.counts()["overflows"] < 1 or n % 100:
        publisher.publish(event(n))
        n += 1
        got += seqs([one(quick)])  # it is never behind, however busy the machine is
        assert time.monotonic() < deadline
    for more in range(n, n + 200):
        publisher.publish(event(more))
        got += seqs([one(quick)])
    n += 200
    assert got == [*range(n)]
    assert publisher.counts()["overflows"] == 1  # a full queue is passed by until it drains
    late = seqs(received(stalled, 0.2))
    assert late == [*range(len(late))]
    assert len(late) < n
    publisher.publish(event(n))
    assert seqs([one(stalled)]) == [n]  # it sees the gap
    publisher.close()


def test_a_heartbeat_comes_each_second_and_at_once(
    publisher: Publisher, subscribe: Subscriber
) -> None:
    publisher.publish(event(0, "new"))
    publisher.turn()
    socket = subscribe("playspot/heartbeat/v1/")
    topic, header, body = one(socket)
    heartbeat = Heartbeat.model_validate_json(body)
    assert topic == b"playspot/heartbeat/v1/"
    assert json.loads(header)["schema"] == "playspot/heartbeat/1"
    assert (heartbeat.system_id, heartbeat.seq) == ("run1", {"stage": 1})
    assert heartbeat.replay == f"{publisher.endpoint}-replay"
    began = time.monotonic()
    while not socket.poll(20):
        publisher.turn()
    assert time.monotonic() - began < 1.5


def test_the_hub_has_the_same_topics_and_its_own_replay(
    publisher: Publisher, subscribe: Subscriber, connected: Subscriber, run: str
) -> None:
    hub = subscribe("playspot/", endpoint(run, "hub"))
    public = subscribe("playspot/v1/")
    sent = [event(0, "new"), event(1, "end")]
    for each in sent:
        publisher.publish(each)
    everything = received(hub, 0.2)
    messages = [each for each in everything if each[0].startswith(b"playspot/v1/")]
    assert messages == received(public, 0.2)
    assert seqs(messages) == [0, 1]
    heartbeat = next(body for topic, _, body in everything if b"heartbeat" in topic)
    asking = connected(zmq.DEALER, Heartbeat.model_validate_json(heartbeat).replay)
    asking.send(ReplayRequest(source="stage").model_dump_json(by_alias=True).encode())
    while not asking.poll(10):
        publisher.turn()
    head, *bodies = asking.recv_multipart()
    assert ReplayAnswer.model_validate_json(head).n == 2
    assert [Event.model_validate_json(body) for body in bodies] == sent


def test_a_run_that_publishes_nothing_has_a_hub(
    context: Context, connected: Subscriber, run: str
) -> None:
    publisher = Publisher(context, None, system_id="run1", run=run)
    hub = connected(zmq.SUB, endpoint(run, "hub"))
    hub.subscribe("playspot/v1/")
    publisher.publish(event(0, "new"))
    while not hub.poll(10):
        publisher.turn()
    assert seqs([hub.recv_multipart()]) == [0]
    assert publisher.endpoint == ""
    publisher.close()


def test_heat_is_wanted_only_where_somebody_subscribes(
    publisher: Publisher, subscribe: Subscriber
) -> None:
    assert not publisher.is_wanted("playspot/heat/v1/", "stage")
    socket = subscribe("playspot/heat/v1/stage/")
    assert publisher.is_wanted("playspot/heat/v1/", "stage")
    assert not publisher.is_wanted("playspot/heat/v1/", "stage2")
    maps = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    scored = Message("scored", data={"heat_labels": ["drum"]}, arrays=(maps,))
    publisher.publish_heat(heat_of(scored, "stage", "run1", 4))
    topic, _, body = one(socket)
    heat = Heat.model_validate_json(body)
    assert topic == b"playspot/heat/v1/stage/"
    assert (heat.step, heat.shape, heat.maps) == (4, (2, 3), {"drum": "AAECAwQF"})


def test_a_step_without_maps_is_empty_heat() -> None:
    assert heat_of(Message("scored"), "stage", "run1", 0).maps == {}


def test_maps_without_their_labels_are_refused() -> None:
    message = Message("scored", arrays=(np.zeros((2, 3, 3), np.uint8),))
    with pytest.raises(ValueError, match="0 heat maps were announced"):
        heat_of(message, "stage", "run1", 0)


def test_too_many_subscriptions_are_refused_and_counted(
    monkeypatch: pytest.MonkeyPatch, publisher: Publisher, connected: Subscriber
) -> None:
    monkeypatch.setattr(broadcast, "MAX_TOPICS", 10)
    socket = connected(zmq.SUB, publisher.endpoint)
    for n in range(30):
        socket.subscribe(f"playspot/v1/{n}/")
    deadline = time.monotonic() + 5
    while publisher.counts()["refused"] < 20 and time.monotonic() < deadline:
        publisher.turn()
    counts = publisher.counts()
    assert (counts["subscriptions"], counts["refused"]) == (10, 20)
    other = connected(zmq.SUB, publisher.endpoint)
    other.subscribe("playspot/v1/")
    while publisher.counts()["subscriptions"] == 10 and time.monotonic() < deadline:
        publisher.turn()
    publisher.publish(event(0, "new"))
    assert seqs([one(other)]) == [0], "nobody can lock out who wants all events"
    other.close()
    socket.close()
    while publisher.counts()["subscriptions"] and time.monotonic() < deadline:
        publisher.turn()
    assert publisher.counts()["subscriptions"] == 0


def test_many_subscriptions_at_once_do_not_hold_up_the_publisher() -> None:
    def greeting(_name: bytes) -> Iterator[list[bytes]]:
        time.sleep(0.01)  # as long as it takes to look through the events of a resumed run
        yield [b"t", b"{}", b"{}"]

    address = endpoint(new_run(), "greeted")
    with zmq.Context() as context, context.socket(zmq.XPUB) as xpub:
        public = broadcast.Broadcast(xpub, greeting)
        xpub.bind(address)
        with context.socket(zmq.SUB) as subscriber:
            subscriber.setsockopt(zmq.LINGER, 0)
            for n in range(100):
                subscriber.subscribe(f"t{n}")
            subscriber.connect(address)
            assert xpub.poll(5000)
            began, n_turns = time.monotonic(), 0
            longest = 0.0
            while public.n_topics < 100 and time.monotonic() < began + 10:
                turn = time.monotonic()
                public.greet()
                longest, n_turns = max(longest, time.monotonic() - turn), n_turns + 1
        assert public.n_topics == 100
        assert n_turns > 20
        assert longest < 0.5
