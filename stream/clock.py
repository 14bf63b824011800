"""Timestamps of a container -> seconds, in order: the only place where PTS mean anything.

In: presentation and decoding timestamps in units of a stream's time base, as files have them:
missing, jumping, running backwards, starting anywhere. Out: seconds that never run backwards.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Generic, Protocol, TypeVar

from av.packet import Packet

MAX_STRIDE = 10.0  # s; a timestamp further ahead of the last is doubted
MAX_LEAP = 600.0  # s; a timestamp further from what was expected is not believed at all
WRAP = Fraction(2**33, 90_000)  # s; after which the timestamps of MPEG begin again


class Stamped(Protocol):
    """What a decoded frame says of its time, in units of the time base of its stream."""

    @property
    def pts(self) -> int | None:
        """When it is seen or heard."""

    @property
    def dts(self) -> int | None:
        """When it was to be decoded."""


FrameT = TypeVar("FrameT", bound=Stamped)


@dataclass(frozen=True)
class Timed(Generic[FrameT]):
    """A decoded frame at its time.

    Attributes
    ----------
    time, length : float
        Seconds, in the clock of the file; how long it lasts.
    frame : FrameT
    """

    time: float
    length: float
    frame: FrameT


class StreamClock(Generic[FrameT]):
    """The times of the frames of one stream.

    A frame without timestamps follows the one before it. A frame earlier than the one before it is
    left out; but if that one had leapt ahead by more than ten seconds, it was itself in error.

    Parameters
    ----------
    time_base : Fraction
        Seconds per unit of the timestamps.
    length : callable
        Frame -> seconds that it lasts.

    Attributes
    ----------
    n_dropped : int
        Frames left out.
    """

    def __init__(self, time_base: Fraction, length: Callable[[FrameT], float]) -> None:
        self._time_base = time_base
        self._length = length
        self._last: Timed[FrameT] | None = None
        self._doubted: Timed[FrameT] | None = None  # waits for the next one to bear it out
        self.n_dropped = 0

    def place(self, frames: Iterable[FrameT]) -> Iterator[Timed[FrameT]]:
        """Yield the frames at their times, which never run backwards.

        Parameters
        ----------
        frames : iterable of FrameT
            In the order in which the decoder gave them.

        Yields
        ------
        timed : Timed
        """
        for frame in frames:
            yield from self.push(frame)
        yield from self.flush()

    def push(self, frame: FrameT) -> Iterator[Timed[FrameT]]:
        """Yield the frames whose times are settled once `frame` has come."""
        last, doubted = self._last, self._doubted
        timed = self._timed(frame, doubted or last)
        if doubted is not None:
            if last is not None and timed.time < last.time:
                self.n_dropped += 1
                return
            # At the start nothing says which of two is wrong: only a leap is held against it.
            slack = MAX_STRIDE if last is None else 0.0
            if timed.time < doubted.time - slack:
                self.n_dropped += 1
            else:
                yield doubted
                last = self._last = doubted
            self._doubted = None
        if last is None or timed.time > last.time + last.length + MAX_STRIDE:
            self._doubted = timed
        elif timed.time < last.time:
            self.n_dropped += 1
        else:
            self._last = timed
            yield timed

    def flush(self) -> Iterator[Timed[FrameT]]:
        """Yield the frame that nothing has borne out; there are no more."""
        if self._doubted is not None:
            yield self._doubted
        self._doubted = None

    def _timed(self, frame: FrameT, before: Timed[FrameT] | None) -> Timed[FrameT]:
        stamp = frame.pts if frame.pts is not None else frame.dts
        if stamp is not None:
            time = stamp * self._time_base.numerator / self._time_base.denominator
        else:
            time = before.time + before.length if before is not None else 0.0
        return Timed(time, self._length(frame), frame)


class Joints:
    """The places where timestamps leap, and what is to be added to them from there on.

    Recordings in formats made for transmission can be glued end to end; elsewhere a leap of many
    minutes is damage. After either, all streams are shifted so that the stream that leapt goes on
    where it was. Streams that begin many minutes apart are taken to begin together. Packets must
    come in the order of the file.

    Parameters
    ----------
    limit : float
        Seconds; only longer leaps count.

    Attributes
    ----------
    times : list of float
        Seconds, in the clock of the start of the file, of each leap.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._shifts = [Fraction(0)]
        self._expected: dict[int, Fraction] = {}
        self._first: Fraction | None = None
        self.times: list[float] = []

    def mend(self, packet: "Packet[Any]", waited: float = 0.0) -> None:
        """Shift the timestamps of `packet` by what the leaps so far ask for.

        Parameters
        ----------
        packet : Packet
            Changed in place.
        waited : float
            Seconds that a live source gave nothing of the stream: so far ahead is no leap.
        """
        # One damaged entry of an MP4 index moves all its decoding times, but not the other ones.
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None:
            return
        unit = Fraction(packet.time_base)
        time = stamp * unit
        if self._first is None:
            self._first = time
        if packet.stream_index in self._expected:
            shift = self._shift(time, self._expected[packet.stream_index], self._limit, waited)
        else:
            shift = self._shift(time, self._first, MAX_LEAP, waited)
        self._expected[packet.stream_index] = time + shift + (packet.duration or 0) * unit
        if shift:
            n_units = round(shift / unit)
            if packet.dts is not None:
                packet.dts += n_units
            if packet.pts is not None:
                packet.pts += n_units

    def _shift(self, time: Fraction, expected: Fraction, limit: float, waited: float) -> Fraction:
        # Just after a joint, other streams still bring packets from before it.
        known = self._shifts[-2:][::-1]
        for shift in (*known, known[0] + WRAP):
            if -limit <= time + shift - expected <= limit + waited:
                break
        else:
            shift = expected - time
        if shift not in known:
            self._shifts.append(shift)
            self.times.append(float(expected))
        return shift
