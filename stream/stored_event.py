"""An event as it is remembered: one record from `new` to `end`, for history and search."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from .events import Box, Event, Modalities, ModelInfo, Point


class StoredEvent(BaseModel):
    """Somebody played an instrument, or still does.

    Attributes
    ----------
    id, source, label, system_id, zones, model, end_reason
        As in events.
    state : {"open", "ended"}
    began_at, ended_at : float
        Unix times of capture at which playing began and ended; the latter None while it goes on.
    start_time, end_time : float
        The same in media time, seconds.
    score, top_score : float
        Of the last step, and the best.
    point, box, modalities
        Of the moment with the best score.
    top_at : float
        Unix time of capture of that moment.
    first_seq, last_seq : int
        Of its messages.
    has_snapshot, has_clip : bool
        Whether there is a picture or a clip of it at the moment.
    """

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)

    id: str
    source: str
    label: str
    system_id: str
    state: Literal["open", "ended"]
    began_at: float
    ended_at: float | None = None
    start_time: float
    end_time: float | None = None
    score: float = Field(ge=0, le=1)
    top_score: float = Field(ge=0, le=1)
    top_at: float
    point: Point | None = None
    box: Box | None = None
    zones: tuple[str, ...] = ()
    modalities: Modalities = Modalities()
    model: ModelInfo
    end_reason: str | None = None
    first_seq: int
    last_seq: int
    has_snapshot: bool = False
    has_clip: bool = False


def captured_at(event: Event) -> float:
    """Return the Unix time at which the step of an event was captured."""
    return event.wall_time - (event.latency_ms or 0.0) / 1000


def began_at(event: Event) -> float:
    """Return the Unix time of capture of the beginning of an event."""
    return captured_at(event) - (event.time - event.start_time)


def follow(stored: StoredEvent | None, event: Event) -> StoredEvent:
    """Return the record of an event once another of its messages has come.

    Messages that are known already change nothing, so that they may come twice.
    """
    if stored is not None and stored.system_id == event.system_id and event.seq <= stored.last_seq:
        return stored
    is_best = stored is None or event.top_score > stored.top_score
    best = event if is_best or stored is None else stored
    is_over = event.type == "end"
    began = began_at(event) if stored is None else stored.began_at
    return StoredEvent(
        id=event.id,
        source=event.source,
        label=event.label,
        system_id=event.system_id,
        state="ended" if is_over else "open",
        began_at=began,
        ended_at=began + (event.end_time - event.start_time) if event.end_time else None,
        start_time=event.start_time,
        end_time=event.end_time,
        score=event.score,
        top_score=max(event.top_score, 0.0 if stored is None else stored.top_score),
        top_at=captured_at(event) if stored is None or is_best else stored.top_at,
        point=best.point,
        box=best.box,
        zones=best.zones,
        modalities=best.modalities,
        model=event.model,
        end_reason=event.end_reason,
        first_seq=event.seq if stored is None else stored.first_seq,
        last_seq=event.seq,
    )
