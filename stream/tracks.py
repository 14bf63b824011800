"""When: the regions of each step become events that begin, go on and end.

Two thresholds (hysteresis), a shortest duration and a longest gap, per label and per player: two
players of one instrument are two tracks. One `Tracker` serves one source; its state depends on
what it was given only, so a stream and a file give the same events.

Gaps are measured on the time line: steps that never came (a hole) make a gap longer as silence
does, but an event that ends by a hole does not say that silence was heard.
"""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, Self

from ..engines.settings import Decoding
from .detections import Region
from .events import Box, Detection, Event
from .timeline import STEP, step_time

EndReason = Literal["silence", "end_of_stream", "timeout", "source_lost", "shutdown"]

MAX_SHIFT = 0.25  # of the picture: a player's region moves less than this from step to step


@dataclass
class Track:
    """One player of one label, from the first step that reached `on`."""

    label: str
    number: int
    first: int  # step
    last: int  # last step that reached `off`
    top_score: float
    detection: Detection
    id: str | None = None  # set by the publisher once it is reported
    reported: bool = False

    @classmethod
    def of_event(cls, event: Event, number: int) -> Self:
        """Return the track that an open event was the last report of.

        Parameters
        ----------
        event : Event
            Of type `new` or `update`.
        number : int
            Given to the track.
        """
        first = math.floor(event.start_time / STEP + 0.5 + 1e-6)
        detection = Detection(**{name: getattr(event, name) for name in Detection.model_fields})
        return cls(
            event.label, number, first, event.step, event.top_score, detection, event.id, True
        )

    @property
    def start_time(self) -> float:
        """Media time at which the first step begins to stand."""
        return max(0.0, step_time(self.first) - STEP / 2)

    @property
    def end_time(self) -> float:
        """Media time until which the last positive step stands."""
        return step_time(self.last) + STEP / 2


@dataclass(frozen=True)
class Change:
    """What happened to a track in a step: the core of an event."""

    type: Literal["new", "update", "end"]
    track: Track
    step: int
    detection: Detection
    end_time: float | None = None
    end_reason: EndReason | None = None


@dataclass
class Tracker:
    """Follow the players of one source.

    Parameters
    ----------
    decoding : Decoding
        Thresholds and durations.

    Examples
    --------
    >>> tracker = Tracker(Decoding(min_duration=0, gap_merge=0))
    >>> seen = (Region("drum", 0.9, None, None, (0, 0)), Detection(label="drum", score=0.9))
    >>> [change.type for change in tracker.update(0, [seen])]
    ['new']
    >>> [(change.type, change.end_time) for change in tracker.update(1, [])]
    [('end', 0.256)]
    """

    decoding: Decoding
    _tracks: list[Track] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def resume(self, events: Iterable[Event]) -> None:
        """Go on with open events that another tracker of the source has reported."""
        for event in events:
            self._tracks.append(Track.of_event(event, next(self._numbers)))

    def update(
        self, step: int, seen: list[tuple[Region, Detection]], hole: EndReason = "timeout"
    ) -> list[Change]:
        """Return what changed by the regions of a step.

        Parameters
        ----------
        step : int
            After all earlier ones; steps that nothing is known of may be left out.
        seen : list of (Region, Detection)
        hole : EndReason
            Why steps were left out: the reason of events that this has ended.
        """
        changes = self._expire(step, seen, hole)
        free = [track for track in self._tracks]
        for region, detection in seen:
            track = _nearest(region, [t for t in free if t.label == region.label])
            if track is not None:
                free.remove(track)
                self._extend(track, step, detection)
            elif region.score >= self.decoding.on_of(region.label):
                track = Track(
                    region.label, next(self._numbers), step, step, region.score, detection
                )
                self._tracks.append(track)
            else:
                continue
            if change := self._report(track, step, detection):
                changes.append(change)
        return changes

    def flush(self, step: int, reason: EndReason, until: float = math.inf) -> list[Change]:
        """Return the ends of all open events: the source is over, at media time `until`."""
        ends = [self._end(track, step, reason, until) for track in self._tracks if track.reported]
        self._tracks.clear()
        return ends

    def open_tracks(self) -> list[Track]:
        """Return the tracks that were reported and have not ended."""
        return [track for track in self._tracks if track.reported]

    def _extend(self, track: Track, step: int, detection: Detection) -> None:
        track.last = step
        track.detection = detection
        track.top_score = max(track.top_score, detection.score)

    def _report(self, track: Track, step: int, detection: Detection) -> Change | None:
        if track.reported:
            return Change("update", track, step, detection)
        if track.end_time - track.start_time + 1e-9 < self.decoding.min_duration:
            return None
        track.reported = True
        return Change("new", track, step, detection)

    def _expire(
        self, step: int, seen: list[tuple[Region, Detection]], hole: EndReason
    ) -> list[Change]:
        """End the tracks whose gap has grown too long (a gap ends at a step that is positive).

        A gap that is too long before this step counts is a hole: each step of silence that was
        heard is seen here when it makes the gap too long, and ends the track then.
        """
        changes = []
        for track in list(self._tracks):
            n_before = step - track.last - 1
            matched = _nearest_region(track, [region for region, _ in seen])
            if self._is_too_long(n_before):
                reason = hole
            elif not matched and self._is_too_long(n_before + 1):
                reason = "silence"
            else:
                continue
            self._tracks.remove(track)
            if track.reported:
                changes.append(self._end(track, step, reason))
        return changes

    def _is_too_long(self, n_steps: int) -> bool:
        return step_time(n_steps) > self.decoding.gap_merge + 1e-9

    def _end(self, track: Track, step: int, reason: EndReason, until: float = math.inf) -> Change:
        return Change("end", track, step, track.detection, min(track.end_time, until), reason)


def _iou(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def _distance(region: Region, track: Track) -> float:
    """Return 0 ... 1 for a region that may belong to a track (0 is nearest), above 1 for none."""
    if region.point is None or track.detection.point is None:
        return 0.5  # without a picture there is one place only
    (x0, y0), (x1, y1) = region.point, track.detection.point
    shift = max(abs(x0 - x1), abs(y0 - y1)) / MAX_SHIFT
    if region.box and track.detection.box:
        shift = min(shift, 2.0 - 2.0 * _iou(region.box, track.detection.box))
    return shift


def _nearest(region: Region, tracks: list[Track]) -> Track | None:
    near = [track for track in tracks if _distance(region, track) <= 1]
    return min(near, key=lambda track: (_distance(region, track), track.number), default=None)


def _nearest_region(track: Track, seen: list[Region]) -> bool:
    return any(r.label == track.label and _distance(r, track) <= 1 for r in seen)
