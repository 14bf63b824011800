"""The schemas of what goes in and out, by the names that `playspot schema` knows them by."""

from typing import Any, Literal, get_args

from pydantic import TypeAdapter

from .asyncapi import asyncapi
from .config import Config
from .events import Event, LiveStep, Step
from .status import RunStatus, SourceStatus
from .stored_event import StoredEvent
from .wire import Heartbeat, Heat, ReplayAnswer, ReplayRequest

Name = Literal[
    *("event", "step", "live-step", "status", "heartbeat", "heat", "replay"),
    *("stored-event", "config", "asyncapi"),
]
RECORDS: dict[str, Any] = {
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
NAMES = (*RECORDS, "asyncapi")


def schema_of(name: str) -> dict[str, Any]:
    """Return the JSON Schema of a record, or of "asyncapi" the document of all messages.

    Parameters
    ----------
    name : str
        One of `NAMES`.

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
