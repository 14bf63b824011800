"""Does a process grow? Memory and open files over time, and their slope with its interval.

A process that is replaced begins a new life with a level of its own; the slope is that within
lives, over all lives of a role. Sums are kept, not samples, so a day of watching takes no more
memory than a minute.
"""

import math
import os
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = 10.0  # s; samples are averaged over it, since neighbours are not independent
WARM_UP = 180.0  # s of a life that do not count: caches, allocators and queues fill
MAX_POINTS = 500  # of a curve for drawing
MB = 1e6
HOUR = 3600.0


def memory_mb(pid: int) -> float | None:
    """Return the resident memory of a process in MB; None if it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    except (OSError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / MB if pages else None


def n_files(pid: int) -> int | None:
    """Return how many file descriptors a process has open; None if it is gone."""
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return None


@dataclass
class Curve:
    """A curve for drawing: when it has too many points, every other is left out from then on.

    Examples
    --------
    >>> curve = Curve()
    >>> for k in range(5000):
    ...     curve.add(k, 1.0)
    >>> len(curve.points) <= MAX_POINTS, curve.points[-1][0] > 4900
    (True, True)
    """

    points: list[tuple[float, float]] = field(default_factory=list)
    every: int = 1
    _n: int = 0
    _most: float = -math.inf

    def add(self, time: float, value: float) -> None:
        """Take in a point; of those that are left out, the highest is kept."""
        self._n += 1
        self._most = max(self._most, value)
        if self._n % self.every:
            return
        self.points.append((time, self._most))
        self._most = -math.inf
        if len(self.points) > MAX_POINTS:
            self.points = [
                (late[0], max(early[1], late[1]))
                for early, late in zip(self.points[::2], self.points[1::2], strict=False)
            ]
            self.every *= 2


@dataclass
class Trend:
    """Slope of a quantity within the lives of a role.

    Examples
    --------
    >>> trend = Trend()
    >>> for k in range(400):
    ...     trend.add(life=1, age=k * 2.0, value=50 + k * 2.0 / 3600)
    >>> slope, half = trend.slope
    >>> round(slope, 3), half < 0.01
    (1.0, True)
    """

    n: int = 0
    _lives: int = 0
    _tt: float = 0.0  # sums of squares and products about the mean of each life
    _ty: float = 0.0
    _yy: float = 0.0
    _open: "dict[int, _Life]" = field(default_factory=dict)

    def add(self, *, life: int, age: float, value: float) -> None:
        """Take in a value of a life (its process id) at its age in seconds."""
        if age >= WARM_UP:
            self._open.setdefault(life, _Life()).add(age, value)

    def end(self, life: int) -> None:
        """Take note that a life is over."""
        ended = self._open.pop(life, None)
        if ended is not None and ended.n > 1:
            self._lives += 1
            self.n += ended.n
            self._tt += ended.tt
            self._ty += ended.ty
            self._yy += ended.yy

    @property
    def slope(self) -> tuple[float, float]:
        """Slope per hour, and half the width of its 95 % interval (inf if too few values)."""
        for life in list(self._open):
            self.end(life)
        n_free = self.n - self._lives - 1
        if n_free < 2 or self._tt <= 0:
            return 0.0, math.inf
        slope = self._ty / self._tt
        rest = max(0.0, self._yy - slope * self._ty)
        return slope * HOUR, _t95(n_free) * math.sqrt(rest / n_free / self._tt) * HOUR


@dataclass
class _Life:
    """Running sums (Welford) over blocks of one life."""

    n: int = 0
    tt: float = 0.0
    ty: float = 0.0
    yy: float = 0.0
    _t: float = 0.0
    _y: float = 0.0
    _block: list[tuple[float, float]] = field(default_factory=list)

    def add(self, time: float, value: float) -> None:
        self._block.append((time, value))
        if time - self._block[0][0] < BLOCK:
            return
        times, values = zip(*self._block, strict=True)
        self._block = []
        self._take(sum(times) / len(times), sum(values) / len(values))

    def _take(self, time: float, value: float) -> None:
        self.n += 1
        before_t, before_y = time - self._t, value - self._y
        self._t += before_t / self.n
        self._y += before_y / self.n
        self.tt += before_t * (time - self._t)
        self.ty += before_t * (value - self._y)
        self.yy += before_y * (value - self._y)


def _t95(n_free: int) -> float:
    """Return the 97.5 % quantile of Student's t, by Cornish and Fisher."""
    z = 1.959964
    g1 = (z**3 + z) / 4
    g2 = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + g1 / n_free + g2 / n_free**2
