"""What was played in a file, kept small: the scores of all steps and the parts of all players.

In: the steps and events of one source, in order. Out: what the pictures and tables at the end are
made of. Numbers are kept in flat arrays, so that an hour takes some megabytes at most. Times are
media seconds; points and boxes are normalised to [0, 1], origin top left.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .events import Box, Event, Point, Step
from .timeline import STEP

FIELDS = 8  # of a keyframe: time, score, point x and y, box x0, y0, x1, y1
NOWHERE = float("nan")


@dataclass(frozen=True)
class Mark:
    """Where a player is at some time, and how sure that is; no point or box without a picture."""

    score: float
    point: Point | None
    box: Box | None


@dataclass
class Part:
    """One instrument played at one place for some time: an event with all that became of it.

    Attributes
    ----------
    id, label : str
        As in the event.
    start, end : float
        Media seconds; `end` is where the playing is known to last to, as long as it goes on.
    top_score : float
        The best so far.
    is_over : bool
        Whether the event has ended.
    """

    id: str
    label: str
    start: float
    end: float
    top_score: float
    is_over: bool = False
    _keyframes: "array[float]" = field(default_factory=lambda: array("f"), repr=False)

    @property
    def keyframes(self) -> NDArray[np.float32]:
        """One row a step, (n, 8): time, score, point x, y, box x0, y0, x1, y1 (NaN: none)."""
        return np.array(self._keyframes, np.float32).reshape(-1, FIELDS)

    def add(self, event: Event) -> None:
        """Take in the next event of this part."""
        self.top_score = max(self.top_score, event.top_score)
        if event.type == "end":
            self.is_over = True
            if event.end_time is not None:
                self.end = event.end_time
            return
        self.end = max(self.end, event.time + STEP / 2)
        point = event.point or (NOWHERE,) * 2
        box = event.box or (NOWHERE,) * 4
        self._keyframes.extend((event.time, event.score, *point, *box))

    def at(self, time: float) -> Mark:
        """Return where the player is at a media time.

        The place moves evenly from step to step; the score is that of the nearest step.

        Examples
        --------
        >>> part = Part("a", "drum", 0.0, 2.0, 0.9)
        >>> part._keyframes.extend((0.0, 0.75, 0.25, 0.5, 0.0, 0.0, 0.5, 1.0))
        >>> part._keyframes.extend((1.0, 0.5, 0.75, 0.5, 0.5, 0.0, 1.0, 1.0))
        >>> part.at(0.25)
        Mark(score=0.75, point=(0.375, 0.5), box=(0.125, 0.0, 0.625, 1.0))
        """
        n = len(self._keyframes) // FIELDS
        if n == 0:
            return Mark(self.top_score, None, None)
        right = self._after(time, n)
        left = max(0, right - 1)
        right = min(right, n - 1)
        a, b = (self._keyframes[i * FIELDS : (i + 1) * FIELDS] for i in (left, right))
        share = 0.0 if b[0] <= a[0] else (time - a[0]) / (b[0] - a[0])
        share = min(max(share, 0.0), 1.0)
        nearest = a if share < 0.5 else b
        if nearest[2] != nearest[2]:  # NaN
            return Mark(nearest[1], None, None)
        place = [nearest[i] if p != p else p for i, p in enumerate(_between(a, b, share))]
        has_box = place[4] == place[4]
        box = (place[4], place[5], place[6], place[7]) if has_box else None
        return Mark(nearest[1], (place[2], place[3]), box)

    @property
    def place(self) -> Point | None:
        """Where the part is played: the median of its points, None without a picture."""
        points = self.keyframes[:, 2:4]
        points = points[~np.isnan(points[:, 0])]
        if not len(points):
            return None
        x, y = np.median(points, axis=0).tolist()
        return (x, y)

    def _after(self, time: float, n: int) -> int:
        # Index of the first keyframe later than `time`; bisection over every eighth number.
        low, high = 0, n
        while low < high:
            middle = (low + high) // 2
            if self._keyframes[middle * FIELDS] <= time:
                low = middle + 1
            else:
                high = middle
        return low


def _between(a: Sequence[float], b: Sequence[float], share: float) -> list[float]:
    return [p + (q - p) * share for p, q in zip(a, b, strict=True)]


class Played:
    """All steps and parts of one source.

    Parameters
    ----------
    labels : sequence of str
        The columns of `scores`, in order.

    Attributes
    ----------
    labels : tuple of str
    duration : float
        Media seconds so far; the true length once it has been set.

    Examples
    --------
    >>> played = Played(["drum", "piano"])
    >>> played.add(Step(step=0, time=0.0, scores={"drum": 0.5, "piano": 0.0}, points={}))
    >>> played.scores.tolist()
    [[0.5, 0.0]]
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self.duration = 0.0
        self._times: array[float] = array("d")
        self._scores: array[float] = array("f")
        self._parts: dict[str, Part] = {}

    @property
    def parts(self) -> list[Part]:
        """The parts in the order in which they start, ends cut to the duration."""
        for part in self._parts.values():
            part.end = max(part.start, min(part.end, self.duration))
        return sorted(self._parts.values(), key=lambda part: (part.start, part.label, part.id))

    @property
    def times(self) -> NDArray[np.float64]:
        """Media time of each step, (N,)."""
        return np.array(self._times)

    @property
    def scores(self) -> NDArray[np.float32]:
        """Score of each label in each step, (N, K)."""
        return np.array(self._scores, np.float32).reshape(-1, len(self.labels))

    def add(self, step: Step, events: Iterable[Event] = ()) -> None:
        """Take in the next step and its events."""
        self._times.append(step.time)
        self._scores.extend(step.scores.get(label, 0.0) for label in self.labels)
        self.duration = max(self.duration, step.time + STEP / 2)
        self.add_events(events)

    def add_events(self, events: Iterable[Event]) -> None:
        """Take in events that belong to no further step: those of the end of the source."""
        for event in events:
            part = self._parts.get(event.id)
            if part is None:
                part = Part(event.id, event.label, event.start_time, event.start_time, 0.0)
                self._parts[event.id] = part
            part.add(event)

    def now_playing(self) -> list[Part]:
        """Return the parts that have not ended, best first."""
        going_on = [part for part in self._parts.values() if not part.is_over]
        return sorted(going_on, key=lambda part: (-part.at(part.end).score, part.label))


def time_text(seconds: float, *, decimals: int = 0) -> str:
    """Return a media time as people write it: minutes and seconds, hours if there are any.

    Examples
    --------
    >>> time_text(83.25, decimals=1), time_text(3605), time_text(59.96, decimals=1)
    ('1:23.2', '1:00:05', '1:00.0')
    """
    scale = 10**decimals
    units = round(max(0.0, seconds) * scale)
    minutes, rest = divmod(units, 60 * scale)
    hours, minutes = divmod(minutes, 60)
    width = 3 + decimals if decimals else 2
    tail = f"{rest / scale:0{width}.{decimals}f}"
    return f"{hours}:{minutes:02d}:{tail}" if hours else f"{minutes}:{tail}"
