"""The ROUTER that replays events: real sockets, and everything a stranger may send."""

import json
import os
import threading
import time
from collections.abc import Iterator
from itertools import count

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from playspot.stream import replay as replay_module
from playspot.stream.event_ring import EventRing, SentEvent
from playspot.stream.replay import Replay
from playspot.stream.wire import REPLAY_MOST, ReplayAnswer, ReplayRequest

Socket = zmq.Socket[bytes]
NAMES = count()


def sent(seq: int, source: str = "stage") -> SentEvent:
    return SentEvent(source, "drum", f"{source}.0", seq, "run1", 1000.0 + seq, False, b"%d" % seq)


def test_a_ring_keeps_the_last_events_of_all_sources_together() -> None:
    ring = EventRing(size=4)
    for seq in range(3):
        ring.append(sent(seq, "stage"))
        ring.append(sent(seq, "hall"))
    assert (ring.oldest("stage"), ring.oldest("hall")) == (1, 1)
    for seq in range(3, 7):
        ring.append(sent(seq, "hall"))
    assert ring.oldest("stage") is None
    assert [event.seq for event in ring.find("hall", 0, None, 10)] == [3, 4, 5, 6]


@given(st.lists(st.integers(0, 30), unique=True).map(sorted), st.integers(0, 31), st.data())
def test_a_ring_finds_what_is_between_also_around_holes(
    seqs: list[int], since: int, data: st.DataObject
) -> None:
    until = data.draw(st.none() | st.integers(0, 31))
    ring = EventRing()
    for seq in seqs:
        ring.append(sent(seq))
    found = [event.seq for event in ring.find("stage", since, until, 5)]
    assert found == [n for n in seqs if since <= n < (99 if until is None else until)][:5]


def test_an_event_that_comes_twice_is_kept_once() -> None:
    ring = EventRing()
    for seq in (0, 1, 1, 0, 2):
        ring.append(sent(seq))
    assert [event.seq for event in ring.find("stage", 0, None, 10)] == [0, 1, 2]


class Served:
    """A replay socket that is served, and one that asks."""

    def __init__(self, n_events: int) -> None:
        self.context: zmq.Context[Socket] = zmq.Context()
        ring = EventRing()
        for seq in range(n_events):
            ring.append(sent(seq))
        self.endpoint = f"ipc://@playspot-test-replay-{os.getpid()}-{next(NAMES)}"
        next_seq = {"stage": n_events}
        self.replay = Replay(self.context.socket(zmq.ROUTER), ring, next_seq, "run1")
        self.replay.socket.bind(self.endpoint)
        self.asking = self.connected(zmq.DEALER)

    def connected(self, kind: int, queue: int = 1000) -> Socket:
        socket = self.context.socket(kind)
        socket.setsockopt(zmq.RCVHWM, queue)
        socket.connect(self.endpoint)
        return socket

    def answer(self, socket: Socket | None = None) -> tuple[ReplayAnswer, list[bytes]]:
        socket = socket or self.asking
        deadline = time.monotonic() + 10
        while not socket.poll(5):
            self.replay.serve()
            assert time.monotonic() < deadline
        head, *bodies = socket.recv_multipart()
        return ReplayAnswer.model_validate_json(head), bodies

    def ask(self, **fields: object) -> tuple[ReplayAnswer, list[bytes]]:
        request = ReplayRequest.model_validate({"source": "stage"} | fields)
        self.asking.send(request.model_dump_json(by_alias=True).encode())
        return self.answer()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    served = Served(1200)
    yield served
    served.context.destroy(linger=0)


def test_the_events_that_are_asked_for_come_in_order(served: Served) -> None:
    answer, bodies = served.ask(**{"id": "7", "from": 3, "until": 6})
    assert bodies == [b"3", b"4", b"5"]
    assert (answer.id, answer.system_id, answer.source) == ("7", "run1", "stage")
    assert (answer.oldest, answer.next, answer.n, answer.error) == (0, 1200, 3, None)


def test_many_events_come_in_several_answers(served: Served) -> None:
    bodies: list[bytes] = []
    while len(bodies) < 1200:
        answer, more = served.ask(**{"from": len(bodies)})
        assert answer.n == len(more) <= REPLAY_MOST
        bodies += more
    assert bodies == [b"%d" % n for n in range(1200)]


def test_a_source_that_is_not_known_has_no_events(served: Served) -> None:
    answer, bodies = served.ask(source="elsewhere")
    assert (answer.oldest, answer.next, answer.n, answer.error, bodies) == (None, 0, 0, None, [])


def test_a_req_socket_may_ask_too(served: Served) -> None:
    socket = served.connected(zmq.REQ)
    socket.send(json.dumps({"source": "stage", "from": 1199}).encode())
    _, bodies = served.answer(socket)
    assert bodies == [b"1199"]
    socket.close()


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ([b""], "request: Invalid JSON"),
        ([b"[]"], "request: Input should be an object"),
        ([b"{}"], "source: Field required"),
        ([b"\xff\x00"], "request: Invalid JSON"),
        ([b'{"source": "stage", "from": -1}'], "from: Input should be greater"),
        ([b'{"source": "stage", "from": 1' + b"0" * 5000 + b"}"], "request: Invalid JSON"),
        ([b'{"source": "stage", "id": "\\ud800"}'], "request: Invalid JSON"),
        ([b'{"source": "stage", "schema": "playspot/replay/2"}'], "schema: Input should be"),
        ([b'{"source": "' + b"a" * 300 + b'"}'], "source: String should have at most 256"),
        ([b"[" * 4000], "request: Invalid JSON"),
        ([b"a", b"b"], "a request has 1 part, this one has 2"),
        ([b"", b"", b"{}"], "a request has 1 part"),
    ],
)
def test_a_malformed_request_is_answered_with_an_error(
    served: Served, parts: list[bytes], error: str
) -> None:
    before = served.replay.n_refused
    served.asking.send_multipart(parts)
    answer, bodies = served.answer()
    assert error in (answer.error or "")
    assert "\n" not in (answer.error or "")
    assert (answer.n, bodies) == (0, [])
    assert served.replay.n_refused == before + 1


def test_a_stranger_who_asks_and_asks_holds_nobody_up() -> None:
    served = Served(1000)
    flood, request = served.connected(zmq.DEALER, queue=1), json.dumps({"source": "stage"}).encode()
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                flood.send(request, zmq.DONTWAIT)  # and never reads
            except zmq.Again:
                stop.wait(0.001)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        longest, n = 0.0, 0
        while n < 20 or served.replay.n_refused == 0:  # its queue is full at last
            assert n < 1000
            began = time.monotonic()
            served.replay.serve()
            longest = max(longest, time.monotonic() - began)
            answer, _ = served.ask(**{"from": n, "until": n + 1})
            assert answer.n == 1
            n += 1
    finally:
        stop.set()
        thread.join()
        served.context.destroy(linger=0)
    assert longest < 0.2


def test_a_turn_answers_only_a_few() -> None:
    served = Served(10)
    for _ in range(20):
        served.asking.send(json.dumps({"source": "stage", "until": 1}).encode())
    assert served.replay.socket.poll(5000)
    served.replay.serve()
    assert served.replay.n_replayed <= replay_module.IN_A_TURN
    served.context.destroy(linger=0)
