"""The schemas of what goes in and out, by the names that `playspot schema` and the API know."""

from functools import lru_cache
from typing import Any, Literal, get_args

from pydantic import TypeAdapter

from .asyncapi import asyncapi
from .config import Config
from .events import Event, LiveStep, Step
from .status import RunStatus, SourceStatus
from .stored_event import StoredEvent
from .wire import Heartbeat, Heat, ReplayAnswer, ReplayRequest

SchemaName = Literal[
    "event",
    "step",
    "live-step",
    "status",
    "heartbeat",
    "heat",
    "replay",
    "stored-event",
    "config",
    "asyncapi",
]
NAMES: tuple[SchemaName, ...] = get_args(SchemaName)
RECORDS: dict[SchemaName, Any] = {
    "event": Event,
    "step": Step,
    "live-step": LiveStep,
    "status": RunStatus | SourceStatus,
    "heartbeat": Heartbeat,
    "heat": Heat,
    "replay": ReplayRequest | ReplayAnswer,
    "stored-event": StoredEvent,
    "config": Config,
}


@lru_cache
def schema_of(name: SchemaName) -> dict[str, Any]:
    """Return the JSON Schema of a record, or of "asyncapi" the document of all messages.

    Examples
    --------
    >>> schema_of("heartbeat")["title"], schema_of("asyncapi")["asyncapi"]
    ('Heartbeat', '3.0.0')
    """
    if name == "asyncapi":
        return asyncapi()
    mode: Literal["validation", "serialization"]
    mode = "validation" if name == "config" else "serialization"  # a file may leave things out
    return TypeAdapter(RECORDS[name]).json_schema(mode=mode)
