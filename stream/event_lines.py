"""The events of a run as lines for a terminal or a program, as `playspot run` prints them."""

import time
from collections.abc import Iterator

import zmq

from .listener import EventListener
from .report import event_line


class EventLines:
    """A subscriber that never waits longer than it is told.

    Parameters
    ----------
    endpoint : str
        Where the run publishes, to anybody or to its own processes.
    as_json : bool
        Whole events, for programs; else a line when playing begins and when it ends.
    """

    def __init__(self, endpoint: str, *, as_json: bool) -> None:
        self._as_json = as_json
        self._listener = EventListener(endpoint)

    def take(self, wait: float = 0.0) -> Iterator[str]:
        """Yield a line for each event that has arrived, or arrives within `wait` seconds."""
        end = time.monotonic() + wait
        while True:
            for event in self._listener.take(time.monotonic()):
                if self._as_json:
                    yield event.model_dump_json(by_alias=True)
                elif event.type != "update":
                    yield event_line(event)
            poller = zmq.Poller()
            for socket in self._listener.sockets:
                poller.register(socket, zmq.POLLIN)
            if not poller.poll(max(0, round(1000 * (end - time.monotonic())))):
                return

    def close(self) -> None:
        """Release the sockets."""
        self._listener.close()
