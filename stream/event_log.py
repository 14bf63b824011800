"""Changes of tracks become events: with `seq`, `id`, and the clock's time."""

import secrets
import time
from dataclasses import dataclass, field

from .events import Event, ModelInfo
from .timeline import STEP, step_time
from .tracks import Change


@dataclass
class EventLog:
    """Give each change of a source its `seq`, its event its `id`, and the clock's time.

    Parameters
    ----------
    source : str
    model : ModelInfo
    system_id : str
        Names this run of the program; part of every event's id.
    seq : int
        Of the next event.
    """

    source: str
    model: ModelInfo
    system_id: str = field(default_factory=lambda: secrets.token_hex(4))
    seq: int = 0

    def event(
        self, change: Change, latency_ms: float | None = None, zones: tuple[str, ...] = ()
    ) -> Event:
        """Return the event of a change; to be called once for each, in order."""
        track = change.track
        if track.id is None:
            track.id = f"{self.source}.{self.system_id}.{self.seq}"
        event = Event(
            type=change.type,
            id=track.id,
            source=self.source,
            label=track.label,
            score=change.detection.score,
            top_score=track.top_score,
            start_time=track.start_time,
            end_time=change.end_time,
            time=step_time(change.step),
            wall_time=time.time(),
            step=change.step,
            seq=self.seq,
            system_id=self.system_id,
            point=change.detection.point,
            box=change.detection.box,
            zones=zones,
            modalities=change.detection.modalities,
            latency_ms=latency_ms,
            model=self.model,
            end_reason=change.end_reason,
        )
        self.seq += 1
        return event

    def end_of(self, event: Event) -> Event:
        """Return the end of an event that an earlier run of the program left open."""
        changes = {
            "type": "end",
            "end_time": step_time(event.step) + STEP / 2,
            "end_reason": "shutdown",
            "wall_time": time.time(),
            "latency_ms": None,
            "seq": self.seq,
            "system_id": self.system_id,
        }
        self.seq += 1
        return event.model_copy(update=changes)
