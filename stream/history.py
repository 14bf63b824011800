"""History: the database of events, read only. Any thread of any process of the user may ask.

Newest first. A page ends with a cursor; the next page begins behind it, whatever has been added or
removed meanwhile.
"""

import base64
import json
import math
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .database import BUSY_TIMEOUT, DatabaseError, check_version, database_error, version_of
from .database_rows import SELECT, stored_event
from .stored_event import StoredEvent

MOST = 500  # events of a page
MAX_VALUES = 100  # sources or labels that are searched for at once
TIME_LIMIT = 5.0  # s a query may take


class History:
    """The events of a database.

    Parameters
    ----------
    path : Path
        Of the database; it may come later, and until then there are no events.

    Examples
    --------
    >>> History(Path("no such database.sqlite")).search(labels=["violin"])
    ([], None)
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def search(
        self,
        sources: Sequence[str] = (),
        labels: Sequence[str] = (),
        *,
        began_after: float | None = None,
        began_before: float | None = None,
        min_score: float = 0.0,
        state: Literal["open", "ended"] | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[list[StoredEvent], str | None]:
        """Return a page of events, newest first by beginning and id.

        Parameters
        ----------
        sources, labels : sequence of str
            Only of these; all when empty.
        began_after, began_before : float, optional
            Unix times: not before the first, and before the second.
        min_score : float
            Only with at least this `top_score`.
        state : {"open", "ended"}, optional
        limit : int
            1 to `MOST`.
        cursor : str, optional
            Of the page before.

        Returns
        -------
        events : list of StoredEvent
        cursor : str or None
            Of the next page; None if there is none.

        Raises
        ------
        ValueError
            If the cursor is none of ours, or a value is out of bounds.
        DatabaseError
            If the database cannot be read, or is too slow.
        """
        if not 1 <= limit <= MOST:
            raise ValueError(f"limit {limit} is not in 1 to {MOST}")
        if len(sources) > MAX_VALUES or len(labels) > MAX_VALUES:
            raise ValueError(f"at most {MAX_VALUES} sources and labels can be searched for at once")
        wanted = _Wanted()
        wanted.add("began_at >= ?", began_after)
        wanted.add("began_at < ?", began_before)
        wanted.add("top_score >= ?", min_score or None)
        if cursor is not None:
            wanted.add("(began_at, id) < (?, ?)", *_place(cursor))
        with self._opened() as connection:
            if connection is None:
                return [], None
            keys: list[tuple[float, str]] = []
            for index, way in _ways(wanted, sources, labels, state):
                keys += connection.execute(
                    f"SELECT began_at, id FROM events INDEXED BY {index} WHERE {way.condition} "
                    "ORDER BY began_at DESC, id DESC LIMIT ?",
                    (*way.values, limit + 1),
                )
            keys.sort(reverse=True)
            events = [_event(connection, id_) for _, id_ in keys[:limit]]
        found = [event for event in events if event is not None]
        return found, _cursor(*keys[limit - 1]) if len(keys) > limit else None

    def get(self, id: str) -> StoredEvent | None:
        """Return an event, None if there is none (any more).

        Raises
        ------
        DatabaseError
            If the database cannot be read.
        """
        with self._opened() as connection:
            return None if connection is None else _event(connection, id)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection | None]:
        """Open the database for one query: whatever became of the file since, it is the present."""
        if not self.path.exists():
            yield None
            return
        uri = f"{self.path.absolute().as_uri()}?mode=ro"
        try:
            connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None)
        except sqlite3.Error as error:
            raise database_error(self.path, error) from None
        deadline = time.monotonic() + TIME_LIMIT
        connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
        try:
            check_version(connection, self.path)
            connection.execute("BEGIN")
            yield connection if version_of(connection) else None
        except sqlite3.Error as error:
            if time.monotonic() > deadline:
                message = f"{self.path}: the search took longer than {TIME_LIMIT:g} s; narrow it"
                raise DatabaseError(message) from None
            raise database_error(self.path, error) from None
        finally:
            connection.close()


@dataclass
class _Wanted:
    """Conditions, and the values in them."""

    conditions: list[str] = field(default_factory=list)
    values: list[object] = field(default_factory=list)

    def add(self, condition: str, *values: object) -> None:
        """Add a condition, unless its value is None."""
        if None not in values:
            self.conditions.append(condition)
            self.values.extend(values)

    def also(self, column: str, values: Sequence[str]) -> "_Wanted":
        """Return these conditions, and that a column has one of some values; any when empty."""
        further = _Wanted([*self.conditions], [*self.values])
        if values:
            marks = ", ".join("?" * len(values))
            further.add(f"{column} IN ({marks})", *(_text(value) for value in values))
        return further

    @property
    def condition(self) -> str:
        return " AND ".join(self.conditions) or "TRUE"


def _ways(
    wanted: _Wanted, sources: Sequence[str], labels: Sequence[str], state: str | None
) -> Iterator[tuple[str, _Wanted]]:
    """Yield by which index what is looked for; together they give everything, each in order.

    In an index by label the events of one label lie in the order of time. Of several labels, each
    is asked for on its own, so that never more is read than is wanted.
    """
    sources, labels = tuple(dict.fromkeys(sources)), tuple(dict.fromkeys(labels))
    if state is not None:
        wanted.add(f"state = '{state}'")
    if state == "open":
        yield "events_open", wanted.also("source", sources).also("label", labels)
    elif labels:
        for label in labels:
            yield "events_by_label", wanted.also("source", sources).also("label", [label])
    elif sources:
        for source in sources:
            yield "events_by_source", wanted.also("source", [source])
    else:
        yield "events_by_time", wanted


def _event(connection: sqlite3.Connection, id: str) -> StoredEvent | None:
    row = connection.execute(f"{SELECT} WHERE events.id = ?", (_text(id),)).fetchone()
    return None if row is None else stored_event(row)


def _text(value: str) -> str:
    """Return a text that can be asked for: what is no Unicode is nowhere in the database."""
    return value.encode("utf-8", "replace").decode()


def _cursor(began_at: float, id: str) -> str:
    text = json.dumps([began_at, id], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _place(cursor: str) -> tuple[float, str]:
    """Return the place of a cursor; raise `ValueError` if it is none."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        began_at, id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if isinstance(began_at, float) and math.isfinite(began_at) and isinstance(id, str):
            id.encode()
            return began_at, id
    except (ValueError, TypeError, RecursionError):
        pass
    raise ValueError("the cursor is not one that was given with a page; leave it out to begin")
