"""Events as lines for a terminal or a program: of `playspot run` and `playspot listen`."""

import time
from collections.abc import Iterator

import zmq

from .events import Event
from .one_line import printable
from .played import time_text
from .subscriber_records import EventListener
from .table import place_text


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


def event_line(event: Event) -> str:
    """Return an event as one plain line.

    Examples
    --------
    >>> event_line(Event(type="new", id="a", source="stage", label="drum", score=0.9,
    ...     top_score=0.9, start_time=1.0, time=1.5, wall_time=0, step=3, seq=0, system_id="b",
    ...     model={"name": "m", "hash": "h", "engine": "e", "precision": "fp32"}))
    'stage  0:01.5  new     drum        0.90  no picture'
    """
    return (
        f"{event.source}  {time_text(event.time, decimals=1)}  {event.type:<6}  "
        f"{event.label:<10}  {event.score:.2f}  {place_text(event.point)}"
    )


def heard_line(event: Event) -> str:
    """Return an event of any publisher as one plain line, with the local time in front.

    An end says how long was played and the best score, in place of where. Control characters are
    left out.
    """
    clock = time.strftime("%H:%M:%S", time.localtime(event.wall_time))
    line = event_line(event)
    if event.type == "end" and event.end_time is not None:
        seconds = event.end_time - event.start_time
        line = line.removesuffix(place_text(event.point))
        line += f"after {seconds:.1f} s, best {event.top_score:.2f}"
    return f"{clock}  {printable(line)}"
