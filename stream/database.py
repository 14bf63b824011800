"""The SQLite file of events: its tables, how they come to their present version, and whose it is.

Version n of the tables is what the first n entries of `MIGRATIONS` make. A file of an older version
is brought up to the present one in one transaction each; one of a newer version, or of another
program, is not touched.
"""

import os
import sqlite3
from pathlib import Path
from typing import Final

APPLICATION_ID: Final = 0x504C5350  # "PLSP"
BUSY_TIMEOUT = 5.0  # s to wait for another program that writes

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE models (
            id INTEGER PRIMARY KEY, name TEXT NOT NULL, hash TEXT NOT NULL, engine TEXT NOT NULL,
            precision TEXT NOT NULL, UNIQUE (name, hash, engine, precision))""",
        """CREATE TABLE sources (
            name TEXT PRIMARY KEY, url TEXT NOT NULL, state TEXT NOT NULL, since REAL NOT NULL,
            first_seen REAL NOT NULL, last_seen REAL NOT NULL)""",
        """CREATE TABLE events (
            rowid INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, source TEXT NOT NULL,
            label TEXT NOT NULL, system_id TEXT NOT NULL, state TEXT NOT NULL,
            began_at REAL NOT NULL, ended_at REAL, start_time REAL NOT NULL, end_time REAL,
            score REAL NOT NULL, top_score REAL NOT NULL, top_at REAL NOT NULL,
            point TEXT, box TEXT, zones TEXT NOT NULL, modalities TEXT NOT NULL,
            model INTEGER NOT NULL REFERENCES models (id), end_reason TEXT,
            first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL)""",
        # What is searched for is in the indexes, so that only rows that are returned are read.
        "CREATE INDEX events_by_time ON events (began_at, id, top_score)",
        "CREATE INDEX events_by_label ON events (label, began_at, id, source, top_score)",
        "CREATE INDEX events_by_source ON events (source, began_at, id, label, top_score)",
        "CREATE INDEX events_open ON events (began_at, id) WHERE state = 'open'",
        """CREATE TABLE positions (
            journal TEXT PRIMARY KEY, position TEXT NOT NULL)""",
    ),
)


class DatabaseError(RuntimeError):
    """A database that cannot be used; one line for the user."""


class DamagedError(DatabaseError):
    """A file that is no SQLite database, or not any more."""


def open_database(path: Path) -> sqlite3.Connection:
    """Open the database to write to it; made if there is none.

    Returns
    -------
    connection : sqlite3.Connection
        In autocommit mode: transactions are begun by `BEGIN IMMEDIATE`.

    Raises
    ------
    DatabaseError
        If it is of a newer version, of another program, or cannot be opened.
    DamagedError
        If it is broken.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise DatabaseError(f"{path}: cannot be written ({error.strerror})") from None
    try:
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)
    except sqlite3.Error as error:
        raise database_error(path, error) from None
    try:
        _check_owner(connection, path)
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before the first table
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {16 << 20}")
        _migrate(connection)
    except sqlite3.Error as error:
        connection.close()
        raise database_error(path, error) from None
    except DatabaseError:
        connection.close()
        raise
    return connection


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version of the tables; 0 if there are none."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def check_version(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `DatabaseError` if the tables are of a newer version than this program knows."""
    version = version_of(connection)
    if version > len(MIGRATIONS):
        raise DatabaseError(
            f"{path}: was written by a newer playspot (version {version}, this one knows "
            f"{len(MIGRATIONS)}); update playspot, or set database.path to another file"
        )


def database_error(path: Path, error: sqlite3.Error) -> DatabaseError:
    """Return the error for the user of one of SQLite's."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DamagedError(f"{path}: is damaged ({error})")
    return DatabaseError(f"{path}: {error}")


def _check_owner(connection: sqlite3.Connection, path: Path) -> None:
    n_tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    if n_tables and owner != APPLICATION_ID:
        raise DatabaseError(
            f"{path}: is a database of another program; set database.path to another file"
        )
    check_version(connection, path)


def _migrate(connection: sqlite3.Connection) -> None:
    while (version := version_of(connection)) < len(MIGRATIONS):
        connection.execute("BEGIN IMMEDIATE")
        try:
            if version_of(connection) == version:  # not brought up by somebody else meanwhile
                for statement in MIGRATIONS[version]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
