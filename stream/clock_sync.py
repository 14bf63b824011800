"""What a stream says of its time against what this machine's clock says: offset, drift, steps.

In: pairs of a time in the stream's own clock (timestamps, or samples counted) and of
`time.monotonic()`, noisy. Out: the monotonic time at which any moment of the stream was captured,
how sure that is, and by how much the stream's clock runs fast.

The pairs are reduced to one a second; a minute of these says where the clock stands, and ten
minutes how fast it runs. A clock that jumps is followed once three of them agree on where to.
"""

import math
from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

BLOCK = 1.0  # s that are reduced to one point
MIN_BLOCK, MAX_BLOCK = 8, 256  # pairs of a point
OFFSET_WINDOW = 60.0  # s of points that say where the clock stands
DRIFT_WINDOW = 600  # points that say how fast it runs
TUNE_EVERY = 10  # points; drift changes slowly
PRIOR_DRIFT = 100e-6  # what quartz clocks are off, before anything is known
MIN_STEP = 0.050  # s; a smaller jump is just the minute's new mean
STEP_POINTS = 3  # that must agree on a jump
SETTLING = 8  # points before which a jump is the connection's beginning, not the clock's
PATIENCE = 20.0  # s without agreement after which the last points are believed
SELDOM: Final = 0.03  # arrivals: the soonest of a second, the second soonest of a minute
HALF: Final = 0.5  # capture times err to both sides

Points = NDArray[np.float64]


class _Clock:
    # `time` is the stream's, offset = monotonic - time = level + slope * (time - origin).

    def __init__(self, quantile: float) -> None:
        self._quantile = quantile
        self._block: list[tuple[float, float]] = []  # time, offset
        self._block_start = 0.0
        self._times: Points = np.empty(0)
        self._offsets: Points = np.empty(0)
        self._n_points = 0  # since the beginning
        self._since = -math.inf  # time of the last step
        self._apart: deque[tuple[float, float, float]] = deque()  # time, offset, distance
        self._origin = self._level = self._slope = 0.0
        self._spread = MIN_STEP / 6  # of the points around the line
        self._margin = 0.0  # from the level to the points' median: where the soonest may lie
        self._slope_error = PRIOR_DRIFT
        self.n_steps = 0

    def add(self, time: float, monotonic: float) -> None:
        """Take one pair: what the stream says and what the machine says of one moment."""
        if not self._block:
            self._block_start = monotonic
        self._block.append((time, monotonic - time))
        n = len(self._block)
        if n >= MAX_BLOCK or (n >= MIN_BLOCK and monotonic - self._block_start >= BLOCK):
            self._close_block()

    def at(self, time: float) -> float:
        """Return the monotonic time of a moment of the stream.

        Raises
        ------
        ValueError
            If nothing was added yet.
        """
        return time + self._offset(time)

    @property
    def is_known(self) -> bool:
        """Whether anything was added yet."""
        return bool(self._n_points or self._block)

    @property
    def drift_ppm(self) -> float:
        """By how much the stream's clock runs fast."""
        return 0.0 - self._slope / (1 + self._slope) * 1e6

    @property
    def uncertainty(self) -> float:
        """Half the width (s) of the 95 % interval of `at` for the present.

        It covers what scatters, not what is always the same: a path on which every packet takes
        at least 80 ms looks like a capture 80 ms later.
        """
        if not self._n_points:
            offsets = [offset for _, offset in self._block]
            return max(MIN_STEP, max(offsets) - min(offsets)) if offsets else math.inf
        n = len(self._recent()[0])
        level_error = 3 * self._spread / math.sqrt(n) + self._margin / 2 + 0.001
        drift_error = 2 * self._slope_error * min(n, OFFSET_WINDOW) * BLOCK / 2
        # Until it is clear what came apart there, either may be right.
        apart = abs(self._apart[-1][2]) if self._apart else 0.0
        return max(math.hypot(level_error, drift_error), apart)

    def _offset(self, time: float) -> float:
        if self._n_points:
            return self._level + self._slope * (time - self._origin)
        if not self._block:
            raise ValueError("the clock has no timestamps yet; add some first.")
        return self._typical([offset for _, offset in self._block])

    def _typical(self, values: list[float]) -> float:
        return sorted(values)[int(self._quantile * (len(values) - 1))]

    def _close_block(self) -> None:
        times, offsets = zip(*self._block, strict=True)
        self._block.clear()
        point = sum(times) / len(times), self._typical(list(offsets))
        if not self._n_points:
            self._accept([point])
            return
        distance = point[1] - self._offset(point[0])
        if abs(distance) <= max(MIN_STEP, 6 * self._spread):
            self._apart.clear()
            self._accept([point])
            return
        self._apart.append((*point, distance))
        if self._has_stepped():
            self._step()

    def _has_stepped(self) -> bool:
        first, *_, end = (time + offset for time, offset, _ in (self._apart[0], *self._apart))
        if end - first > PATIENCE:
            return True
        last = [distance for _, _, distance in self._apart][-STEP_POINTS:]
        return len(last) == STEP_POINTS and max(last) - min(last) <= max(MIN_STEP, 6 * self._spread)

    def _step(self) -> None:
        last = list(self._apart)[-STEP_POINTS:]
        self._apart.clear()
        if self._n_points < SETTLING:
            self._times, self._offsets, self._n_points = np.empty(0), np.empty(0), 0
        else:
            # What was learnt of the drift stays true: the past is moved over to the new side.
            jump = self._typical([distance for _, _, distance in last])
            self._offsets, self._times = self._offsets + jump, self._times - jump
            self._since = last[0][0]
            self.n_steps += 1
        self._accept([(time, offset) for time, offset, _ in last])

    def _accept(self, points: list[tuple[float, float]]) -> None:
        times, offsets = zip(*points, strict=True)
        self._times = np.append(self._times, times)[-DRIFT_WINDOW:]
        self._offsets = np.append(self._offsets, offsets)[-DRIFT_WINDOW:]
        before = self._n_points
        self._n_points += len(points)
        recent, offsets_now = self._recent()
        is_due = self._n_points // TUNE_EVERY > before // TUNE_EVERY
        if is_due:
            self._tune_drift()
        self._origin = float(recent[-1])
        residuals = offsets_now - self._slope * (recent - self._origin)
        residuals.sort()
        self._level = float(residuals[int(self._quantile * (len(residuals) - 1))])
        self._margin = abs(float(residuals[len(residuals) // 2]) - self._level)
        if is_due:
            self._spread = _scale(residuals)

    def _recent(self) -> tuple[Points, Points]:
        first = max(self._times[-1] - OFFSET_WINDOW, self._since)
        index = int(np.searchsorted(self._times, first))
        return self._times[index:], self._offsets[index:]

    def _tune_drift(self) -> None:
        # The median slope over half the window each: a quarter of the points may be wrong.
        half = len(self._times) // 2
        span = self._times[half:] - self._times[: len(self._times) - half]
        slopes = (self._offsets[half:] - self._offsets[: len(self._offsets) - half]) / span
        error = 3 * _scale(slopes) / math.sqrt(half)
        # A short time says little of the drift: what quartz clocks do says more.
        trust = PRIOR_DRIFT**2 / (PRIOR_DRIFT**2 + error**2)
        self._slope = float(np.median(slopes)) * trust
        self._slope_error = error * math.sqrt(trust)


def _scale(values: Points) -> float:
    # The standard deviation, but for outliers.
    return 1.48 * float(np.median(np.abs(values - np.median(values))))


class ArrivalClock(_Clock):
    """When the moments of a stream were captured, judged by when its packets arrive.

    Packets wait on their way, some longer than others, never less than not at all: those that came
    soonest tell the time. So a late packet, a pause and a burst of stored pictures change nothing.
    When for several seconds all packets wait, that cannot be told from a clock that was set back:
    it is followed, and followed again when they no longer do.

    Examples
    --------
    >>> clock = ArrivalClock()
    >>> for k in range(300):  # 30 packets a second; every other one is 50 ms late
    ...     clock.add(k / 30, 1000 + k / 30 + 0.05 * (k % 2))
    >>> round(clock.at(20.0), 3), clock.n_steps, clock.uncertainty < 0.01
    (1020.0, 0, True)
    """

    def __init__(self) -> None:
        super().__init__(SELDOM)


class SampleClock:
    """When the samples of a sound card were captured: it counts them by a clock of its own.

    Parameters
    ----------
    sample_rate : float
        As the sound card states it, Hz.

    Examples
    --------
    >>> clock = SampleClock(48_000)
    >>> for k in range(1000):  # 1024 samples at once, in truth at 48004.8 Hz
    ...     clock.add(1024 * k, 1000 + 1024 * k / 48_004.8)
    >>> round(clock.at(480_048), 3), round(clock.drift_ppm)
    (1010.0, 100)
    """

    def __init__(self, sample_rate: float) -> None:
        self._sample_rate = sample_rate
        self._clock = _Clock(HALF)

    def add(self, sample: int, captured: float) -> None:
        """Take the capture time, `time.monotonic()`, that is stated for one sample."""
        self._clock.add(sample / self._sample_rate, captured)

    def at(self, sample: float) -> float:
        """Return when a sample was captured, as `time.monotonic()`.

        Raises
        ------
        ValueError
            If nothing was added yet.
        """
        return self._clock.at(sample / self._sample_rate)

    @property
    def is_known(self) -> bool:
        """Whether anything was added yet."""
        return self._clock.is_known

    @property
    def drift_ppm(self) -> float:
        """By how much the card delivers too many samples a second."""
        return self._clock.drift_ppm

    @property
    def uncertainty(self) -> float:
        """Half the width (s) of the 95 % interval of `at` for the present."""
        return self._clock.uncertainty

    @property
    def n_steps(self) -> int:
        """Jumps that were found: samples that the card lost or gave twice without saying so."""
        return self._clock.n_steps
