"""The events of a run as lines for a terminal or a program, as `playspot run` prints them."""

from collections.abc import Iterator

import zmq
from pydantic import ValidationError

from .events import Event
from .publish import TOPIC_ROOT
from .report import event_line


class EventLines:
    """A subscriber that never waits.

    Parameters
    ----------
    endpoint : str
        Where the run publishes.
    as_json : bool
        Whole events, for programs; else a line when playing begins and when it ends.
    """

    def __init__(self, endpoint: str, *, as_json: bool) -> None:
        self._as_json = as_json
        self._last: dict[str, int] = {}  # source to seq: a publisher that is new repeats some
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.IPV6, "[" in endpoint)
        self._socket.subscribe(TOPIC_ROOT)
        self._socket.connect(endpoint)

    def take(self, wait: float = 0.0) -> Iterator[str]:
        """Yield a line for each event that has arrived, or arrives within `wait` seconds."""
        while self._socket.poll(int(1000 * wait)):
            try:
                event = Event.model_validate_json(self._socket.recv_multipart()[2])
            except (IndexError, ValidationError):
                continue
            if event.seq <= self._last.get(event.source, -1):
                continue
            self._last[event.source] = event.seq
            if self._as_json:
                yield event.model_dump_json(by_alias=True)
            elif event.type != "update":
                yield event_line(event)

    def close(self) -> None:
        """Release the socket."""
        self._socket.close()
        self._context.term()
