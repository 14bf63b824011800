"""Events as rows of the database, and back."""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from .events import ModelInfo
from .stored_event import StoredEvent

JSON_COLUMNS = ("point", "box", "zones", "modalities")
COLUMNS = (
    *("id", "source", "label", "system_id", "state", "began_at", "ended_at", "start_time"),
    *("end_time", "score", "top_score", "top_at", "point", "box", "zones", "modalities", "model"),
    *("end_reason", "first_seq", "last_seq"),
)
MODEL_COLUMNS = ("name", "hash", "engine", "precision")

SELECT = (
    f"SELECT {', '.join(f'events.{name}' for name in COLUMNS)}, "
    f"{', '.join(f'models.{name}' for name in MODEL_COLUMNS)} "
    "FROM events JOIN models ON models.id = events.model "
)
_UPSERT = (
    f"INSERT INTO events ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "
    f"ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name != "id")
)


def stored_event(row: Sequence[Any]) -> StoredEvent:
    """Return the event of a row of `SELECT`."""
    fields = dict(zip(COLUMNS, row, strict=False))
    for name in JSON_COLUMNS:
        if fields[name] is not None:
            fields[name] = json.loads(fields[name])
    fields["model"] = dict(zip(MODEL_COLUMNS, row[len(COLUMNS) :], strict=True))
    return StoredEvent.model_validate(fields)


def write_event(connection: sqlite3.Connection, event: StoredEvent) -> None:
    """Write an event in place of what was known of it."""
    fields = event.model_dump()
    for name in JSON_COLUMNS:
        if fields[name] is not None:
            fields[name] = json.dumps(fields[name], separators=(",", ":"))
    fields["model"] = _model_id(connection, event.model)
    connection.execute(_UPSERT, [fields[name] for name in COLUMNS])


def _model_id(connection: sqlite3.Connection, model: ModelInfo) -> int:
    values = [getattr(model, name) for name in MODEL_COLUMNS]
    where = " AND ".join(f"{name} = ?" for name in MODEL_COLUMNS)
    row = connection.execute(f"SELECT id FROM models WHERE {where}", values).fetchone()
    if row is None:
        names, marks = ", ".join(MODEL_COLUMNS), ", ".join("?" * len(values))
        inserted = connection.execute(f"INSERT INTO models ({names}) VALUES ({marks})", values)
        return int(inserted.lastrowid or 0)
    return int(row[0])
