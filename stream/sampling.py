"""Frames at any times -> frames on the tick grid.

In: the frames of a video with their media times, at any rate, even or not. Out: for each tick the
frame that is on the screen then. Nothing is converted or copied here.
"""

import math
from collections.abc import Iterator
from typing import Generic, TypeVar

from .timeline import STEP, TICK, tick_time

TOLERANCE = 0.001  # s; containers round timestamps to milliseconds

FrameT = TypeVar("FrameT")


class TickSampler(Generic[FrameT]):
    """The frame of each tick: the last one that is not later than the tick.

    A video that starts within a step of media time 0 counts as starting there. A frame lasts until
    the next one; the last one for its own length, and for another half a step so that the step
    that begins just before the end of the video has its frames.

    Attributes
    ----------
    end : float
        Media time at which the video so far ends.

    Examples
    --------
    >>> sampler = TickSampler()
    >>> list(sampler.push(0.0, 0.2, "a")), list(sampler.push(0.2, 0.2, "b"))
    ([], [(0, 'a'), (1, 'a')])
    >>> list(sampler.flush())
    [(2, 'b'), (3, 'b'), (4, 'b'), (5, 'b')]
    """

    def __init__(self) -> None:
        self._tick = 0
        self._held: FrameT | None = None
        self._is_interrupted = False
        self.end = 0.0

    def push(self, time: float, length: float, frame: FrameT) -> Iterator[tuple[int, FrameT]]:
        """Yield the ticks that are settled once `frame` is there.

        Parameters
        ----------
        time, length : float
            Media time of the frame and how long it lasts, s; `time` not before the last one's.
        frame : FrameT

        Yields
        ------
        tick : int
        frame : FrameT
        """
        if self._held is None and not self._is_interrupted and time <= STEP + TOLERANCE:
            self._held = frame
        self.end = max(self.end, time)  # the one before has lasted until now
        while tick_time(self._tick) + TOLERANCE < time:
            if self._held is not None:
                yield self._tick, self._held
                self._tick += 1
            else:
                self._tick = max(0, math.ceil((time - TOLERANCE) / TICK))
        self._held, self._is_interrupted = frame, False
        self.end = time + length

    def interrupt(self) -> Iterator[tuple[int, FrameT]]:
        """Yield the ticks that the last frame itself lasts; until the next one there are none."""
        if self._held is None:
            return
        while tick_time(self._tick) + TOLERANCE < self.end:
            yield self._tick, self._held
            self._tick += 1
        self._held, self._is_interrupted = None, True

    def flush(self) -> Iterator[tuple[int, FrameT]]:
        """Yield the ticks of the last frame."""
        if self._held is None:
            return
        while tick_time(self._tick) < self.end + STEP / 2:
            yield self._tick, self._held
            self._tick += 1
