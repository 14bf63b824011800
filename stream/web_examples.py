"""Examples of answers, for the description of the API; made of the records, so they are valid."""

from typing import Any

from pydantic import BaseModel

from .events import Detection, Event, LiveStep, Modalities, Modality, ModelInfo
from .status import JournalStatus, RunStatus, SourceStatus, WorkerStatus
from .stored_event import StoredEvent, follow

AT = 1_760_000_000.0
RUN = "1f3a9c2e"
MODEL = ModelInfo(name="bundled", hash="f8b1d62600b1", engine="onnxruntime-cpu", precision="fp32")
SEEN = Modalities(
    action=Modality(score=0.72, status="ok"),
    object=Modality(score=0.93, status="ok"),
    sound=Modality(score=0.88, status="ok"),
)
DETECTION = Detection(
    label="violin", score=0.84, point=(0.42, 0.55), box=(0.35, 0.4, 0.5, 0.7), modalities=SEEN
)
EVENT = Event(
    type="new",
    id=f"stage.{RUN}.42",
    source="stage",
    label=DETECTION.label,
    score=DETECTION.score,
    top_score=DETECTION.score,
    start_time=12.032,
    time=12.288,
    wall_time=AT,
    step=24,
    seq=42,
    system_id=RUN,
    point=DETECTION.point,
    box=DETECTION.box,
    modalities=SEEN,
    latency_ms=810.0,
    model=MODEL,
)
STEP = LiveStep(
    step=24,
    time=12.288,
    scores={"violin": 0.84, "drum": 0.03},
    points={"violin": DETECTION.point, "drum": None},
    detections=(DETECTION,),
    source="stage",
    system_id=RUN,
    base=0,
    captured=AT - 0.81,
    latency_ms=810.0,
    status={"action": "ok", "object": "ok", "sound": "ok"},
)
SOURCE = SourceStatus(
    source="stage",
    wall_time=AT,
    state="live",
    since=AT - 60,
    url="rtsp://***@192.168.1.20/stream1",
    steps=117,
    published=116,
    sessions=1,
)
STATUS = RunStatus(
    system_id=RUN,
    wall_time=AT,
    uptime=61.0,
    endpoint="tcp://127.0.0.1:7773",
    model=MODEL,
    budget=2.0,
    latency="normal",
    look_ahead=0.74,
    workers=(WorkerStatus(name="detector", pid=4242, state="running", rss_mb=210.0),),
    sources={"stage": "live"},
    journal=JournalStatus(folder="journal"),
    web="http://127.0.0.1:8773/",
    labels=("violin", "drum"),
)
STORED: StoredEvent = follow(None, EVENT)


def _json(record: BaseModel) -> dict[str, Any]:
    return record.model_dump(mode="json", by_alias=True)


EXAMPLES: dict[tuple[str, str], Any] = {
    ("get", "/api/version"): {
        "version": "0.2.0",
        "schemas": {"event": EVENT.schema_, "step": STEP.schema_, "status": STATUS.schema_},
    },
    ("get", "/api/status"): {"run": _json(STATUS), "sources": [_json(SOURCE)]},
    ("get", "/api/live"): {"open": [_json(EVENT)], "steps": {"stage": _json(STEP)}},
    ("get", "/api/replay"): {
        "system_id": RUN,
        "oldest": 0,
        "next": 43,
        "events": [_json(EVENT)],
    },
    ("get", "/api/schemas/{name}.json"): {"title": "Event", "type": "object"},
    ("get", "/api/sources"): {"sources": [_json(SOURCE)]},
    ("post", "/api/sources"): {"name": "stage", "url": SOURCE.url},
    ("get", "/api/sources/{name}"): _json(SOURCE),
    ("get", "/api/events"): {"events": [_json(STORED)], "next": None},
    ("get", "/api/events/{id}"): _json(STORED),
    ("get", "/api/openapi.json"): {"openapi": "3.1.0"},
    ("get", "/healthz"): {"status": "ok"},
    ("get", "/readiness"): {"status": "ready", "live": ["stage"]},
    ("get", "/metrics"): "playspot_uptime_seconds 61\n",
    ("get", "/api/stream"): (
        f"event: event\nid: {RUN}:stage:42\ndata: {EVENT.model_dump_json(by_alias=True)}\n\n"
    ),
}
