"""The hub of a run: everything it publishes, for its own processes.

In: messages of the publisher. Out: a socket that they come from, and the records in them.
"""

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import zmq

from .events import Event, LiveStep
from .status import Status, parse_status
from .topics import STATUS_ROOT, STEP_ROOT, TOPIC_ROOT

Record: TypeAlias = Event | LiveStep | Status

QUEUE = 10_000  # messages that wait while the process is busy
RECONNECT_MAX_MS = 200  # a publisher that was killed is soon back


def hub_socket(
    context: "zmq.Context[zmq.Socket[bytes]]", topics: Iterable[str]
) -> "zmq.Socket[bytes]":
    """Return a SUB socket, to be connected to the hub of a run."""
    socket = context.socket(zmq.SUB)
    socket.set_hwm(QUEUE)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
    for topic in topics:
        socket.subscribe(topic)
    return socket


def record_of(parts: list[bytes]) -> Record | None:
    """Return the event, step or status of a message; None for what cannot be read."""
    try:
        topic, _, body = parts
        if topic.startswith(STEP_ROOT.encode()):
            return LiveStep.model_validate_json(body)
        if topic.startswith(STATUS_ROOT.encode()):
            return parse_status(body)
        return Event.model_validate_json(body)
    except ValueError:
        return None  # of a later schema


class HubRecords:
    """The records that a run publishes, for a program that never waits longer than it is told.

    Parameters
    ----------
    endpoint : str
        Of the hub.
    """

    def __init__(self, endpoint: str) -> None:
        self._last: dict[str, int] = {}  # source to seq: a publisher that is new repeats some
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = hub_socket(self._context, (TOPIC_ROOT, STEP_ROOT, STATUS_ROOT))
        self._socket.connect(endpoint)

    def take(self, wait: float = 0.0) -> Iterator[Record]:
        """Yield what has arrived, waiting up to `wait` seconds for the first of it."""
        timeout_ms = int(1000 * wait)
        while self._socket.poll(timeout_ms):
            timeout_ms = 0
            record = record_of(self._socket.recv_multipart())
            if isinstance(record, Event):
                if record.seq <= self._last.get(record.source, -1):
                    continue
                self._last[record.source] = record.seq
            if record is not None:
                yield record

    def close(self) -> None:
        """Release the socket."""
        self._socket.close()
        self._context.term()
