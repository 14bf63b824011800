"""The AsyncAPI 3 document of what is published, made from the records themselves.

AsyncAPI has no binding for ZeroMQ: how a message is laid out is said in words, and for programs
under `x-zmq`. Its schemas are JSON Schema, draft 7.
"""

import importlib.metadata
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from .addresses import DEFAULT_ENDPOINT
from .events import SCHEMA, Detection, Event, LiveStep, Modalities, Modality, ModelInfo
from .status import (
    STATUS_SCHEMA,
    Ages,
    Clock,
    JournalStatus,
    PublisherStatus,
    RunStatus,
    SourceStatus,
)
from .status import WorkerStatus as Worker
from .topics import HEARTBEAT_ROOT, HEAT_ROOT, STATUS_ROOT, STEP_ROOT, TOPIC_ROOT
from .wire import HEARTBEAT_SCHEMA, HEAT_SCHEMA, Heartbeat, Heat, ReplayAnswer, ReplayRequest

Document = dict[str, Any]

TEXT: Document = {"type": "string"}
ABOUT = {
    Event: "Playing begins, goes on (each step), ends. `seq` counts those of a source without gap.",
    LiveStep: "Scores and points of all instruments in a step of a live source.",
    SourceStatus: "How a source is doing, each second. The last one is sent to new subscribers.",
    RunStatus: "How the run is doing, each second. The last one is sent to new subscribers.",
    Heartbeat: "That the publisher lives, and how far it is; each second, and at once.",
    Heat: "The playing maps of a step; made only while somebody subscribes.",
    ReplayRequest: "One part of JSON, sent by a DEALER (or REQ).",
    ReplayAnswer: "The answer, followed by the events, one part each.",
}
CHANNELS: dict[str, tuple[str, type[BaseModel]]] = {
    "events": (f"{TOPIC_ROOT}{{source}}/{{label}}/", Event),
    "steps": (f"{STEP_ROOT}{{source}}/", LiveStep),
    "source_status": (f"{STATUS_ROOT}{{source}}/", SourceStatus),
    "run_status": (STATUS_ROOT, RunStatus),
    "heartbeats": (HEARTBEAT_ROOT, Heartbeat),
    "heat": (f"{HEAT_ROOT}{{source}}/", Heat),
}
PARAMETERS = {
    "source": {"description": "Name of a source; a slash in it is an underscore here."},
    "label": {"description": "Instrument.", "examples": ["violin"]},
}


def asyncapi() -> Document:
    """Return the document.

    Examples
    --------
    >>> document = asyncapi()
    >>> document["channels"]["heartbeats"]["address"]
    'playspot/heartbeat/v1/'
    """
    records = [record for _, record in CHANNELS.values()] + [ReplayRequest, ReplayAnswer]
    _, schemas = models_json_schema(
        [(record, "serialization") for record in records],
        ref_template="#/components/schemas/{model}",
    )
    replay = {"servers": [_ref("servers", "replay")], "address": None}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Playspot",
            "version": importlib.metadata.version("playspot"),
            "description": "Which instrument is being played, when and where in the picture, "
            "while it happens. Receivers ignore fields they do not know.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "events": _server(0, "XPUB", "subscribe with SUB, to topics or their beginnings"),
            "replay": _server(1, "ROUTER", "ask with DEALER for events that were missed"),
        },
        "channels": {name: _channel(name) for name in CHANNELS}
        | {
            "replay_requests": replay | {"messages": _messages(ReplayRequest)},
            "replay_answers": replay | {"messages": _messages(ReplayAnswer)},
        },
        "operations": {
            f"send_{name}": {"action": "send", "channel": _ref("channels", name)}
            for name in CHANNELS
        }
        | {
            "replay": {
                "action": "receive",
                "channel": _ref("channels", "replay_requests"),
                "reply": {"channel": _ref("channels", "replay_answers")},
            }
        },
        "components": {
            "messages": {record.__name__: _message(record) for record in records},
            "schemas": _draft_7(schemas["$defs"]),
        },
    }


def _server(offset: int, socket: str, how: str) -> Document:
    host, _, port = DEFAULT_ENDPOINT.removeprefix("tcp://").rpartition(":")
    return {
        "host": f"{host}:{int(port) + offset}",
        "protocol": "zmq",
        "protocolVersion": "3.1",
        "description": f"A {socket} socket: {how}. The address is the default one; beyond "
        "loopback the sockets are CURVE servers, with keys of `playspot keygen`.",
        "x-zmq": {"socket": socket},
    }


def _channel(name: str) -> Document:
    address, record = CHANNELS[name]
    parameters = {key: value for key, value in PARAMETERS.items() if f"{{{key}}}" in address}
    return {
        "address": address,
        "servers": [_ref("servers", "events")],
        "messages": _messages(record),
        **({"parameters": parameters} if parameters else {}),
    }


def _messages(record: type[BaseModel]) -> Document:
    return {record.__name__: _ref("components", "messages", record.__name__)}


def _message(record: type[BaseModel]) -> Document:
    """Return the message of a record; published ones have a header, replays have none."""
    example: Document = {"payload": _example(record).model_dump(mode="json", by_alias=True)}
    message: Document = {
        "name": record.__name__,
        "summary": ABOUT[record],
        "payload": _ref("components", "schemas", record.__name__),
        "examples": [example],
    }
    if record is ReplayRequest:
        return message | {"x-zmq": {"parts": ["payload"]}}
    if record is ReplayAnswer:
        return message | {"x-zmq": {"parts": ["payload", "Event ..."]}}
    schema = example["payload"]["schema"]
    fields: Document = {"content_type": {"const": "application/json"}, "schema": {"const": schema}}
    example["headers"] = {"content_type": "application/json", "schema": schema}
    if record is Event:
        fields |= {"system_id": TEXT, "source": TEXT, "seq": {"type": "integer", "minimum": 0}}
        example["headers"] |= {key: example["payload"][key] for key in [*fields][2:]}
    required = [*fields]
    if record is Event:
        fields["replay"] = {"enum": ["open", "recent"], "description": "In repetitions only."}
    message["headers"] = {"type": "object", "required": required, "properties": fields}
    return message | {"x-zmq": {"parts": ["topic", "headers", "payload"]}}


def _ref(*path: str) -> Document:
    return {"$ref": "#/" + "/".join(path)}


def _draft_7(schema: Any) -> Any:
    """Return a schema with tuples as draft 7 writes them."""
    if isinstance(schema, list):
        return [_draft_7(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    renamed = {"items" if key == "prefixItems" else key: each for key, each in schema.items()}
    return {key: _draft_7(each) for key, each in renamed.items()}


def _example(record: type[BaseModel]) -> BaseModel:
    model = ModelInfo(name="bundled", hash="0f3a9c1d2b4e", engine="onnxruntime", precision="fp32")
    seen = {
        "label": "violin",
        "score": 0.91,
        "point": (0.62, 0.48),
        "box": (0.55, 0.35, 0.7, 0.6),
        "modalities": Modalities(
            action=Modality(score=0.93, status="ok"),
            object=Modality(score=0.88, status="ok"),
            sound=Modality(score=0.97, status="stale"),
        ),
    }
    run = {"source": "stage", "system_id": "a1b2c3d4"}
    at = {"step": 24, "time": 12.288}
    examples: dict[type[BaseModel], Document] = {
        Event: run
        | at
        | seen
        | {
            "schema": SCHEMA,
            "type": "new",
            "id": "stage.a1b2c3d4.7",
            "top_score": 0.91,
            "start_time": 12.032,
            "wall_time": 1767225600.0,
            "seq": 7,
            "latency_ms": 812.0,
            "model": model,
        },
        LiveStep: run
        | at
        | {
            "scores": {"violin": 0.91, "drum": 0.02},
            "points": {"violin": (0.62, 0.48), "drum": (0.1, 0.2)},
            "detections": (Detection.model_validate(seen),),
            "base": 0,
            "captured": 1767225599.2,
            "latency_ms": 812.0,
            "status": {"action": "ok", "object": "ok", "sound": "stale"},
        },
        SourceStatus: {
            "schema": STATUS_SCHEMA,
            "source": "stage",
            "wall_time": 1767225600.0,
            "state": "live",
            "since": 1767225000.0,
            "url": "rtsp://camera.example/stage",
            "steps": 1171,
            "published": 1168,
            "dropped": {"late": 3},
            "drops": {"mel": {"late": 3}},
            "ages_ms": {"publisher": Ages(n=1168, p50=790.0, p95=860.0, p99=910.0)},
            "sessions": 1,
            "clock": Clock(kind="rtcp", av_offset_ms=4.0, uncertainty_ms=12.0),
        },
        RunStatus: {
            "schema": STATUS_SCHEMA,
            "system_id": "a1b2c3d4",
            "wall_time": 1767225600.0,
            "uptime": 601.5,
            "endpoint": DEFAULT_ENDPOINT,
            "model": model,
            "budget": 2.0,
            "latency": "normal",
            "look_ahead": 0.74,
            "workers": (Worker(name="publisher", pid=4711, state="running", rss_mb=62.1),),
            "sources": {"stage": "live"},
            "journal": JournalStatus(folder="/var/lib/playspot/journal"),
            "publisher": PublisherStatus(subscriptions=2),
        },
        Heartbeat: {
            "schema": HEARTBEAT_SCHEMA,
            "system_id": "a1b2c3d4",
            "wall_time": 1767225600.0,
            "seq": {"stage": 8},
            "replay": "tcp://127.0.0.1:7774",
        },
        Heat: run | at | {"schema": HEAT_SCHEMA, "shape": (2, 3), "maps": {"violin": "AAoUHihk"}},
        ReplayRequest: {"id": "1", "source": "stage", "from": 3, "until": 7},
        ReplayAnswer: run | {"id": "1", "oldest": 0, "next": 8, "n": 4},
    }
    return record.model_validate(examples[record])
