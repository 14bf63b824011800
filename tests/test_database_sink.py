"""Events in SQLite: each once, whatever happens to the process, the file and the disk."""

import os
import resource
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from playspot.stream import database, database_sink
from playspot.stream.database import MIGRATIONS, DatabaseError, open_database, version_of
from playspot.stream.database_sink import DAY, DatabaseSink
from playspot.stream.history import History
from playspot.stream.journal_reader import Position
from playspot.stream.output_config import DatabaseConfig
from playspot.stream.sink import SinkError
from playspot.stream.sink_runner import SinkRunner
from playspot.stream.status import SourceStatus
from playspot.stream.stored_event import StoredEvent, follow


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history" / "events.sqlite"


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def sink(path: Path, journal: Path) -> Iterator[DatabaseSink]:
    sink = DatabaseSink(DatabaseConfig(path=path), journal)
    yield sink
    sink.close()


def merged(events: list[Any]) -> dict[str, StoredEvent]:
    """Return what should be stored of events."""
    found: dict[str, StoredEvent] = {}
    for event in events:
        found[event.id] = follow(found.get(event.id), event)
    return found


def stored(path: Path) -> dict[str, StoredEvent]:
    """Return everything that is stored."""
    store, events, cursor = History(path), [], None
    while True:
        page, cursor = store.search(limit=500, cursor=cursor)
        events += page
        if cursor is None:
            return {event.id: event for event in events}


def rows(path: Path, query: str) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_messages_are_merged_into_one_row_each(
    sink: DatabaseSink, path: Path, event_feed: ModuleType
) -> None:
    events = event_feed.Stage().play(60)
    for k in range(0, len(events), 7):
        sink.take(events[k : k + 7], Position(offset=k))
    assert stored(path) == merged(events)
    assert rows(path, "SELECT name FROM models") == [("test",)]


def test_messages_that_come_again_change_nothing(
    sink: DatabaseSink, path: Path, event_feed: ModuleType
) -> None:
    events = event_feed.Stage().play(60)
    sink.take(events, Position())
    sink.take(events[20:], Position())
    assert stored(path) == merged(events)


def test_the_position_is_that_of_the_last_transaction(
    path: Path, journal: Path, event_feed: ModuleType
) -> None:
    position = Position(file=3, offset=77, check=5, seen={"run1": {"stage": 4}})
    for folder, expected in ((journal, Position()), (journal, position)):
        sink = DatabaseSink(DatabaseConfig(path=path), folder)
        assert sink.position() == expected
        sink.take(event_feed.Stage().play(3), position)
        sink.close()
    other = DatabaseSink(DatabaseConfig(path=path), journal / "other")
    assert other.position() == Position()
    other.close()


def test_only_the_user_may_read_the_file(sink: DatabaseSink, path: Path) -> None:
    assert [p.stat().st_mode & 0o077 for p in path.parent.glob("events.sqlite*")] == [0, 0, 0]


def test_sources_are_kept_with_their_last_state(sink: DatabaseSink, path: Path) -> None:
    for wall_time, state in ((5.0, "connecting"), (6.0, "live"), (7.0, "live"), (99.0, "live")):
        fields: Any = {"source": "stage", "url": "rtsp://***@cam", "since": 4.0, "state": state}
        sink.note(SourceStatus(**fields, wall_time=wall_time))
        sink.turn()
    assert rows(path, "SELECT * FROM sources") == [
        ("stage", "rtsp://***@cam", "live", 4.0, 5.0, 99.0)
    ]


def test_tables_are_brought_up_to_the_present_version(
    path: Path, journal: Path, event_feed: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = event_feed.Stage().play(20)
    monkeypatch.setattr(database, "MIGRATIONS", MIGRATIONS[:1])
    sink = DatabaseSink(DatabaseConfig(path=path), journal)
    sink.take(events, Position(offset=9))
    sink.close()
    later = (*MIGRATIONS, ("ALTER TABLE sources ADD COLUMN seat TEXT", "CREATE TABLE more (a)"))
    monkeypatch.setattr(database, "MIGRATIONS", later)
    sink = DatabaseSink(DatabaseConfig(path=path), journal)
    assert sink.position() == Position(offset=9)
    sink.close()
    assert rows(path, "PRAGMA user_version") == [(len(later),)]
    assert rows(path, "SELECT seat FROM sources") == []
    assert stored(path) == merged(events)


def test_a_migration_that_fails_leaves_the_version_before(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_database(path).close()
    wrong = (*MIGRATIONS, ("CREATE TABLE more (a)", "CREATE TABLE more (a)"))
    monkeypatch.setattr(database, "MIGRATIONS", wrong)
    with pytest.raises(DatabaseError, match="more already exists"):
        open_database(path)
    monkeypatch.setattr(database, "MIGRATIONS", MIGRATIONS)
    connection = open_database(path)
    assert version_of(connection) == len(MIGRATIONS)
    assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'more'").fetchall() == []
    connection.close()


def test_a_database_of_a_newer_version_is_not_touched(path: Path, journal: Path) -> None:
    open_database(path).close()
    rows(path, "PRAGMA user_version = 99")
    before = path.read_bytes(), path.stat().st_mtime_ns
    with pytest.raises(SinkError, match=r"newer playspot \(version 99"):
        DatabaseSink(DatabaseConfig(path=path), journal)
    with pytest.raises(DatabaseError, match="newer playspot"):
        History(path).search()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_a_database_of_another_program_is_not_touched(path: Path, journal: Path) -> None:
    path.parent.mkdir()
    rows(path, "CREATE TABLE contacts (name)")
    before = path.read_bytes()
    with pytest.raises(SinkError, match="another program"):
        DatabaseSink(DatabaseConfig(path=path), journal)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_moved_aside(
    path: Path, journal: Path, event_feed: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database, but long enough to be one" * 100)
    sink = DatabaseSink(DatabaseConfig(path=path), journal)
    sink.take(event_feed.Stage().play(3), Position())
    sink.close()
    (aside,) = path.parent.glob("events.sqlite.damaged-*Z")
    assert aside.read_bytes().startswith(b"not a database")
    assert len(caplog.messages) == 1
    assert aside.name in caplog.messages[0]


@pytest.mark.parametrize("harm", ["damaged", "removed"])
def test_a_database_that_breaks_is_begun_anew_and_filled_from_the_journal(
    path: Path, journal: Path, event_feed: ModuleType, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    monkeypatch.setattr(database_sink, "LOOK_INTERVAL", 0.0)
    first = event_feed.Stage(system_id="run0").play(30)
    event_feed.journal_with(journal, first, system_id="run0")
    stage = event_feed.Stage()
    second, third = stage.play(30), stage.play(30)
    event_feed.journal_with(journal, second)
    config = DatabaseConfig(path=path)
    runner = SinkRunner("database", lambda: DatabaseSink(config, journal), journal)
    runner.start()
    event_feed.wait_for(lambda: stored(path) == merged(first + second))
    if harm == "removed":
        for part in path.parent.glob("events.sqlite*"):
            part.unlink()
    else:
        rows(path, "PRAGMA wal_checkpoint(TRUNCATE)")
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(path.stat().st_size - 4096))
    event_feed.journal_with(journal, third)
    event_feed.wait_for(
        lambda: path.exists() and runner.status().delivered >= 120 and runner.status().error is None
    )
    assert stored(path) == merged(first + second + third)
    runner.stop()
    assert runner.join(5)


def test_a_database_that_another_program_holds_is_tried_again(
    sink: DatabaseSink, path: Path, event_feed: ModuleType
) -> None:
    sink._connection.execute("PRAGMA busy_timeout = 10")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    events = event_feed.Stage().play(10)
    with pytest.raises(SinkError, match="locked"):
        sink.take(events, Position())
    holder.execute("COMMIT")
    holder.close()
    sink.take(events, Position())
    assert stored(path) == merged(events)


def test_a_full_disk_costs_nothing_but_time(
    sink: DatabaseSink, path: Path, event_feed: ModuleType
) -> None:
    stage = event_feed.Stage()
    first, second = stage.play(20), stage.play(2000)
    sink.take(first, Position())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        limit = max(p.stat().st_size for p in path.parent.iterdir()) + 20_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        with pytest.raises(SinkError, match="disk"):
            sink.take(second, Position(offset=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert sink.position() == Position()
    assert stored(path) == merged(first)
    sink.take(second, Position(offset=1))
    assert stored(path) == merged(first + second)


def test_events_are_removed_so_many_days_after_their_end(
    path: Path, journal: Path, event_feed: ModuleType
) -> None:
    sink = DatabaseSink(DatabaseConfig(path=path, keep_days=1), journal)
    now = time.time()
    long, short = event_feed.Stage("long"), event_feed.Stage("short")
    for stage, ended in ((long, now - DAY + 60), (short, now - DAY - 60)):
        new = stage.event("new", start_time=0, time=0, wall_time=now - 2 * DAY)
        end = stage.event("end", new, time=ended - new.wall_time, end_time=ended - new.wall_time)
        sink.take([new, end], Position())
    sink.turn()
    assert {event.source for event in stored(path).values()} == {"long"}
    sink.close()


def test_the_oldest_events_go_when_the_file_is_too_large(
    path: Path, journal: Path, event_feed: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_sink, "CLEAN_INTERVAL", 0.0)
    sink = DatabaseSink(DatabaseConfig(path=path, keep_mb=1), journal)
    events = event_feed.Stage().play(8000)
    sink.take(events, Position())
    size = path.stat().st_size + path.with_name("events.sqlite-wal").stat().st_size
    assert size > 1.2e6
    for _ in range(100):
        sink.turn()
    rows(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    assert 0.7e6 < path.stat().st_size < 1.2e6
    everything = sorted(merged(events).values(), key=lambda event: (event.began_at, event.id))
    left = stored(path)
    assert set(left) == {event.id for event in everything[-len(left) :]}
    sink.close()
