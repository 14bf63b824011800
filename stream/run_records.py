"""What the processes of a live run publish, read from inside without ever waiting.

In: the endpoint of the run's hub. Out: events, steps and statuses as they come.
"""

from collections.abc import Iterator
from typing import TypeAlias

import zmq
from pydantic import ValidationError

from .events import Event, LiveStep
from .status import Status, parse_status
from .topics import STATUS_ROOT, STEP_ROOT, TOPIC_ROOT

Record: TypeAlias = Event | LiveStep | Status

RECONNECT_MAX_MS = 200


class RunRecords:
    """A subscriber that never waits longer than it is told.

    Parameters
    ----------
    endpoint : str
        Where the run publishes.
    """

    def __init__(self, endpoint: str) -> None:
        self._last: dict[str, int] = {}  # source to seq: a publisher that is new repeats some
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
        self._socket.setsockopt(zmq.IPV6, "[" in endpoint)
        for root in (TOPIC_ROOT, STEP_ROOT, STATUS_ROOT):
            self._socket.subscribe(root)
        self._socket.connect(endpoint)

    def take(self, wait: float = 0.0) -> Iterator[Record]:
        """Yield what has arrived, waiting up to `wait` seconds for the first of it."""
        timeout_ms = int(1000 * wait)
        while self._socket.poll(timeout_ms):
            timeout_ms = 0
            record = _record(self._socket.recv_multipart())
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


def _record(parts: list[bytes]) -> Record | None:
    try:
        if parts[0].startswith(STEP_ROOT.encode()):
            return LiveStep.model_validate_json(parts[2])
        if parts[0].startswith(STATUS_ROOT.encode()):
            return parse_status(parts[2])
        return Event.model_validate_json(parts[2])
    except (IndexError, ValidationError):
        return None  # of a later schema
