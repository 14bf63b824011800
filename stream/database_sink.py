"""The sink into SQLite: events are merged into one row each, together with the position, or not.

* kill -9: events and position are in one transaction; each message counts once. (A power failure
  may take the last transactions back; the position goes with them.)
* A damaged file is moved aside, and a new one is filled from the journal as far as it reaches. The
  same when it was removed.
* Old events are removed a few at a time, so that nobody waits long: those that ended `keep_days`
  ago, and the oldest while the file is larger than `keep_mb`.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from .database import DamagedError, DatabaseError, database_error, open_database
from .database_rows import SELECT, stored_event, write_event
from .events import Event
from .journal_reader import Position
from .output_config import DatabaseConfig
from .sink import SinkError
from .status import RunStatus, SourceStatus, Status
from .stored_event import StoredEvent, follow

MOST = 500  # messages in one transaction
CLEAN_INTERVAL = 10.0  # s between looks at what is old, while there is none
CLEAN_EVENTS = 200  # removed at once
CLEAN_PAGES = 100  # given back to the file system at once
LOOSE_PAGES = 1000  # that may stay free in the file
LOOK_INTERVAL = 1.0  # s between looks at whether the file is still there
SOURCE_INTERVAL = 60.0  # s
DAY = 86400.0  # s
SIZES = ("page_count", "page_size", "freelist_count")

logger = logging.getLogger(__name__)


class DatabaseSink:
    """Events into a database.

    Parameters
    ----------
    config : DatabaseConfig
        Its `path` is set.
    journal : Path
        Folder of the journal, by which the position is found again.
    start : callable
        Returns the position to start from in a database that has had nothing of this journal.

    Raises
    ------
    SinkError
        If the database cannot be used.
    """

    name = "database"
    most = MOST

    def __init__(
        self, config: DatabaseConfig, journal: Path, start: Callable[[], Position] = Position
    ) -> None:
        if config.path is None:
            raise ValueError("the path of the database is not set")
        self._config, self._path, self._start = config, config.path, start
        self._journal = str(journal.absolute())
        self._clean_at = self._look_at = 0.0
        self._sources: dict[str, SourceStatus] = {}  # to be written
        self._written: dict[str, SourceStatus] = {}
        try:
            self._connection = open_database(self._path)
        except DamagedError as error:
            self._move_aside(error)
            self._connection = _opened(self._path)
        except DatabaseError as error:
            raise SinkError(str(error)) from None
        self._file = self._identity()

    def position(self) -> Position:
        """Return the position behind what is in the database."""
        with self._guarded() as connection:
            row = connection.execute(
                "SELECT position FROM positions WHERE journal = ?", (self._journal,)
            ).fetchone()
        if row is not None:
            with suppress(ValueError):
                return Position.model_validate_json(row[0])
        return self._start()

    def take(self, events: Sequence[Event], position: Position) -> None:
        """Merge events into their rows, in one transaction with the position."""
        with self._transaction() as connection:
            merged: dict[str, StoredEvent | None] = {}
            for event in events:
                if event.id not in merged:
                    merged[event.id] = _stored(connection, event.id)
                merged[event.id] = follow(merged[event.id], event)
            for stored in merged.values():
                if stored is not None:
                    write_event(connection, stored)
            connection.execute(
                "INSERT INTO positions VALUES (?, ?) "
                "ON CONFLICT (journal) DO UPDATE SET position = excluded.position",
                (self._journal, position.model_dump_json()),
            )

    def note(self, status: Status) -> None:
        """Take in how a source is doing; it is written when it changes, or once a minute."""
        if isinstance(status, RunStatus):
            return
        before = self._written.get(status.source)
        if (
            before is None
            or (before.url, before.state) != (status.url, status.state)
            or status.wall_time - before.wall_time >= SOURCE_INTERVAL
        ):
            self._sources[status.source] = status

    def turn(self) -> None:
        """Write what is new of sources, and remove a few of the oldest events if it is time."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_INTERVAL
            if self._identity() != self._file:
                raise DatabaseError(f"{self._path}: was removed; a new one is begun")
        if self._sources:
            self._write_sources()
        if now >= self._clean_at:
            self._clean_at = now + CLEAN_INTERVAL
            if self._clean():
                self._clean_at = now

    def close(self) -> None:
        """Close the database."""
        with suppress(sqlite3.Error):
            self._connection.close()

    def _write_sources(self) -> None:
        rows = [
            (s.source, s.url, s.state, s.since, s.wall_time, s.wall_time)
            for s in self._sources.values()
        ]
        with self._transaction() as connection:
            connection.executemany(
                "INSERT INTO sources VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
                "url = excluded.url, state = excluded.state, since = excluded.since, "
                "last_seen = excluded.last_seen",
                rows,
            )
        self._written |= self._sources
        self._sources = {}

    def _clean(self) -> bool:
        """Remove some of what is too old or too much; return whether there may be more."""
        with self._transaction() as connection:
            before = time.time() - self._config.keep_days * DAY
            n = _delete(connection, "began_at < ? AND coalesce(ended_at, began_at) < ?", before)
            pages, page, free = (_pragma(connection, name) for name in SIZES)
            keep = self._config.keep_mb * 1e6
            if (pages - free) * page > keep:
                n += _delete(connection, "TRUE")
            is_loose = free > LOOSE_PAGES or (free > 0 and pages * page > keep)
        if is_loose:
            with self._guarded() as connection:  # `execute` would give back a single page
                connection.executescript(f"PRAGMA incremental_vacuum({CLEAN_PAGES})")
        return n >= CLEAN_EVENTS or is_loose

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    @contextmanager
    def _guarded(self) -> Iterator[sqlite3.Connection]:
        """Turn errors into those of sinks; move a damaged file aside."""
        try:
            yield self._connection
        except sqlite3.Error as error:
            trouble = database_error(self._path, error)
            if isinstance(trouble, DamagedError):
                self._move_aside(trouble)
                raise trouble from None
            raise SinkError(str(trouble)) from None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._guarded() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                raise

    def _move_aside(self, error: DatabaseError) -> None:
        """Keep a damaged file under another name."""
        if hasattr(self, "_connection"):
            self.close()
        aside = f"{self._path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        try:
            for suffix in ("", "-wal", "-shm"):
                part = self._path.with_name(self._path.name + suffix)
                if part.exists():
                    part.replace(self._path.with_name(aside + suffix))
        except OSError as failure:
            raise SinkError(f"{error}, and cannot be moved ({failure.strerror})") from None
        logger.warning("%s; it is kept as %s, and a new one is begun", error, aside)


def _opened(path: Path) -> sqlite3.Connection:
    try:
        return open_database(path)
    except DatabaseError as error:
        raise SinkError(str(error)) from None


def _stored(connection: sqlite3.Connection, id: str) -> StoredEvent | None:
    row = connection.execute(f"{SELECT} WHERE events.id = ?", (id,)).fetchone()
    return None if row is None else stored_event(row)


def _delete(connection: sqlite3.Connection, condition: str, *values: float) -> int:
    """Remove the oldest events of which a condition holds; return how many."""
    oldest = (
        f"SELECT rowid FROM events INDEXED BY events_by_time WHERE {condition} "
        f"ORDER BY began_at, id LIMIT {CLEAN_EVENTS}"
    )
    deleted = connection.execute(
        f"DELETE FROM events WHERE rowid IN ({oldest})", values * condition.count("?")
    )
    return deleted.rowcount


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value
