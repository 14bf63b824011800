"""Items that come in bursts -> the same items when a camera and a microphone would give them.

In: items of sessions with the time of their session's start in the clock of the stream. Out: the
items whose time has come. A source that stalls makes all that follows later.
"""

import math
from heapq import heappop, heappush

from .live import Opened
from .media import AudioChunk, End, GreyFrame, MediaItem, Picture
from .timeline import SAMPLE_RATE, step_time, tick_time

Paced = tuple[Opened | MediaItem, float]  # with the start of its session, s


class Pacer:
    """Holds items back until they are due.

    Attributes
    ----------
    anchor : float or None
        `time.monotonic()` of time 0 of the stream; None before the first item.
    newest : float
        Time up to which there are items, s in the clock of the stream.

    Examples
    --------
    >>> pacer = Pacer()
    >>> pacer.push(End(2.0, 4), 10.0, now=100.0)
    >>> pacer.wait(100.0), pacer.wait(103.0), pacer.take(103.0)
    (2.0, 0.0, (End(duration=2.0, n_steps=4), 10.0))
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Paced]] = []
        self._count = 0
        self._floor = -math.inf  # the items of a session do not overtake its beginning
        self.anchor: float | None = None
        self.newest = -math.inf

    def push(self, item: Opened | MediaItem, origin: float, now: float) -> None:
        """Take an item that came at `now`; `origin` is the start of its session."""
        if self.anchor is None:
            self.anchor = now - origin
        due = max(origin + due_time(item), self._floor)
        self.newest = max(self.newest, due)
        if isinstance(item, Opened | End):
            self._floor = due = max(due, self.newest)
        heappush(self._heap, (due, self._count, (item, origin)))
        self._count += 1

    def stall(self, time: float, came: float) -> None:
        """Make everything later if what is of `time` came after it was due."""
        if self.anchor is not None:
            self.anchor += max(0.0, came - self.anchor - time)

    def lead(self, now: float) -> float:
        """Return by how many seconds the items that are there reach beyond `now`."""
        return self.newest + self.anchor - now if self.anchor is not None else 0.0

    def wait(self, now: float) -> float | None:
        """Return in how many seconds the next item is due; None if there is none."""
        if not self._heap or self.anchor is None:
            return None
        return max(0.0, self.anchor + self._heap[0][0] - now)

    def take(self, now: float) -> Paced | None:
        """Return the next item that is due, if any."""
        return heappop(self._heap)[2] if self.wait(now) == 0.0 else None


def due_time(item: Opened | MediaItem) -> float:
    """Return the media time at which an item is there: of sound, once its last sample was heard."""
    if isinstance(item, AudioChunk):
        return (item.start + len(item.waveform)) / SAMPLE_RATE
    if isinstance(item, GreyFrame):
        return tick_time(item.tick)
    if isinstance(item, Picture):
        return step_time(item.step)
    return item.duration if isinstance(item, End) else 0.0
