"""Detections of a step and events on the wire: the records that leave the pipeline.

`Event` is the message of schema `playspot/event/1`; its JSON Schema is `playspot schema event`.
Times are media seconds from the first sample of the source unless the name says wall. Points and
boxes are normalised to [0, 1], origin top left, boxes `x0, y0, x1, y1`; None without a picture.
"""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..engines.settings import ModalityName

SCHEMA: Final = "playspot/event/1"
STEP_SCHEMA: Final = "playspot/step/1"

Status = Literal["ok", "stale", "missing"]
Unit = float  # in [0, 1]
MediaTime = Annotated[float, Field(ge=-1e9, le=1e9)]  # s; what is further off is no time of a film
Point = tuple[Unit, Unit]
Box = tuple[Unit, Unit, Unit, Unit]


class Modality(BaseModel):
    """One model's score for a label at the point of a detection (None when it has none)."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)

    score: float | None = Field(default=None, ge=0, le=1)
    status: Status = "missing"


class Modalities(BaseModel):
    """The three models' scores for one detection."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)

    action: Modality = Modality()
    object: Modality = Modality()
    sound: Modality = Modality()


class Detection(BaseModel):
    """One instrument played at one place in one step."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)

    label: str
    score: float = Field(ge=0, le=1)
    point: Point | None = None
    box: Box | None = None
    modalities: Modalities = Modalities()


class Step(BaseModel):
    """One line of `<stem>.steps.jsonl`: every label's score and point, and the detections."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)

    step: int = Field(ge=0)
    time: float
    scores: dict[str, float]
    points: dict[str, Point | None]
    detections: tuple[Detection, ...] = ()


class LiveStep(Step):
    """One step of a live source, as subscribers to steps get it.

    Attributes
    ----------
    source, system_id : str
        As in events.
    base : int
        Steps of the source before the connection that brought this one.
    captured : float
        Unix time at which the step was captured, seconds.
    latency_ms : float
        From capture to publishing.
    status : dict
        Of each modality in this step.
    """

    schema_: Literal["playspot/step/1"] = Field(default=STEP_SCHEMA, alias="schema")
    source: str
    system_id: str
    base: int = Field(ge=0)
    captured: float
    latency_ms: float
    status: dict[ModalityName, Status] = Field(default_factory=dict)


class ModelInfo(BaseModel):
    """Which models made a detection: names joined, a hash over the files, and the engine."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)

    name: str
    hash: str
    engine: str
    precision: str


class Event(BaseModel):
    """Somebody begins (`new`), goes on (`update`) or stops (`end`) playing an instrument.

    `score` is that of this step, `top_score` the best so far; `start_time` and `end_time` (None
    until the end) bound the playing, `time` is the media time of this step; `seq` counts the
    events of a source without gap; `zones` names the source's zones that hold the point;
    `latency_ms` is from the capture of the step (live), of a file from the arrival of the newest
    input of the step, to publishing.
    """

    model_config = ConfigDict(
        frozen=True, json_schema_serialization_defaults_required=True, allow_inf_nan=False
    )

    schema_: Literal["playspot/event/1"] = Field(default=SCHEMA, alias="schema")
    type: Literal["new", "update", "end"]
    id: str
    source: str
    label: str
    score: float = Field(ge=0, le=1)
    top_score: float = Field(ge=0, le=1)
    start_time: MediaTime
    end_time: MediaTime | None = None
    time: MediaTime
    wall_time: float = Field(ge=0, le=1e11, description="Unix time of publishing, seconds")
    step: int = Field(ge=0)
    seq: int = Field(ge=0)
    system_id: str
    point: Point | None = None
    box: Box | None = None
    zones: tuple[str, ...] = ()
    modalities: Modalities = Modalities()
    latency_ms: float | None = None
    model: ModelInfo
    end_reason: Literal["silence", "end_of_stream", "timeout", "source_lost", "shutdown"] | None = (
        None
    )
