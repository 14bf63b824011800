"""Searching the history while it is written."""

import base64
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from playspot.stream import history
from playspot.stream.database import DatabaseError
from playspot.stream.database_sink import DatabaseSink
from playspot.stream.history import MOST, History
from playspot.stream.journal_reader import Position
from playspot.stream.output_config import DatabaseConfig
from playspot.stream.stored_event import StoredEvent, follow


@pytest.fixture(scope="module")
def everything(event_feed: ModuleType) -> list[StoredEvent]:
    """Return events of three sources, newest first; some are open, some begin at the same time."""
    found: dict[str, StoredEvent] = {}
    for number, source in enumerate(("left", "right", "stage")):
        stage = event_feed.Stage(source)
        for event in [*stage.play(200, seed=number), stage.event("new"), stage.event("new")]:
            found[event.id] = follow(found.get(event.id), event)
    return sorted(found.values(), key=lambda e: (e.began_at, e.id), reverse=True)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, event_feed: ModuleType) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("store") / "events.sqlite"
    sink = DatabaseSink(DatabaseConfig(path=path), path.parent)
    for number, source in enumerate(("left", "right", "stage")):
        stage = event_feed.Stage(source)
        events = [*stage.play(200, seed=number), stage.event("new"), stage.event("new")]
        sink.take(events, Position())
    yield path
    sink.close()


def pages(store: History, limit: int = 7, **wanted: Any) -> list[StoredEvent]:
    found: list[StoredEvent] = []
    cursor = None
    while True:
        page, cursor = store.search(**wanted, limit=limit, cursor=cursor)
        found += page
        if cursor is None:
            return found


def test_everything_comes_newest_first(path: Path, everything: list[StoredEvent]) -> None:
    assert pages(History(path)) == everything


def test_the_last_page_has_no_cursor(path: Path, everything: list[StoredEvent]) -> None:
    events, cursor = History(path).search(limit=len(everything))
    assert (len(events), cursor) == (len(everything), None)
    assert History(path).search(limit=len(everything) - 1)[1] is not None


@pytest.mark.parametrize(
    "wanted",
    [
        {"sources": ["left"]},
        {"sources": ["left", "stage", "left"]},
        {"labels": ["drum"]},
        {"labels": ["drum", "violin"], "sources": ["right", "stage"]},
        {"labels": ["kazoo"]},
        {"sources": ["'; DROP TABLE events; --"]},
        {"min_score": 0.9},
        {"min_score": 0.9, "labels": ["cello"]},
        {"state": "open"},
        {"state": "open", "sources": ["left"], "labels": ["drum", "cello", "violin"]},
        {"state": "ended", "labels": ["cello"]},
    ],
    ids=str,
)
def test_filters_give_what_they_say(
    path: Path, everything: list[StoredEvent], wanted: dict[str, Any]
) -> None:
    expected = [
        event
        for event in everything
        if event.source in wanted.get("sources", [event.source])
        and event.label in wanted.get("labels", [event.label])
        and event.top_score >= wanted.get("min_score", 0)
        and event.state == wanted.get("state", event.state)
    ]
    assert pages(History(path), **wanted) == expected


def test_times_include_the_first_and_exclude_the_second(
    path: Path, everything: list[StoredEvent]
) -> None:
    times = sorted({event.began_at for event in everything})
    after, before = times[10], times[20]
    expected = [event for event in everything if after <= event.began_at < before]
    assert pages(History(path), began_after=after, began_before=before) == expected


def test_pages_stay_as_they_are_while_events_come_and_go(
    tmp_path: Path, event_feed: ModuleType
) -> None:
    path, stage = tmp_path / "events.sqlite", event_feed.Stage()
    sink = DatabaseSink(DatabaseConfig(path=path), tmp_path)
    sink.take(stage.play(100), Position())
    store = History(path)
    expected = [event.id for event in pages(store)]
    page, cursor = store.search(limit=10)
    found = [event.id for event in page]
    while cursor is not None:
        sink.take(stage.play(5), Position())
        with sink._transaction() as connection:  # the last of the page is removed
            connection.execute("DELETE FROM events WHERE id = ?", (found[-1],))
        page, cursor = store.search(limit=10, cursor=cursor)
        found += [event.id for event in page]
    assert found == expected
    sink.close()


def test_an_event_is_found_by_its_id(path: Path, everything: list[StoredEvent]) -> None:
    store = History(path)
    assert store.get(everything[5].id) == everything[5]
    assert store.get("none") is None


def test_a_cursor_that_is_none_is_refused(path: Path) -> None:
    store, rng = History(path), random.Random(3)
    _, good = store.search(limit=1)
    assert good is not None
    texts = ["[1,2]", "[1.0]", '[NaN, "a"]', '{"a":1}', '[1.5,"\\ud800"]', "[" * 9999, "1"]
    wrong = [base64.urlsafe_b64encode(text.encode()).decode() for text in texts]
    wrong += ["", "é", "a", "====", good[:-3], "A" * 10_000, "\0"]
    wrong += [rng.randbytes(12).hex() for _ in range(20)]
    for cursor in wrong:
        with pytest.raises(ValueError, match="cursor"):
            store.search(cursor=cursor)


def test_a_limit_out_of_bounds_is_refused(path: Path) -> None:
    for limit in (0, -1, MOST + 1):
        with pytest.raises(ValueError, match=f"limit {limit} is not in 1 to {MOST}"):
            History(path).search(limit=limit)


def test_odd_values_harm_nothing(path: Path) -> None:
    store = History(path)
    nan, inf = float("nan"), float("inf")
    assert store.search(began_after=nan) == ([], None)
    assert store.search(began_after=inf)[0] == []
    assert len(store.search(began_after=-inf, began_before=inf)[0]) == 50
    assert store.get("a\0b") is None
    assert store.get("\ud800") is None
    assert store.search(labels=["\ud800", "a\0"])[0] == []


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    path.write_bytes(b"x" * 5000)
    with pytest.raises(DatabaseError, match="is damaged"):
        History(path).search()


def test_a_search_that_takes_too_long_is_ended(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "TIME_LIMIT", 0.0)
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) SELECT count(*) FROM n"
    with (
        pytest.raises(DatabaseError, match="longer than 0 s"),
        History(path)._opened() as opened,
    ):
        opened.execute(endless)  # type: ignore[union-attr]


def test_an_empty_file_has_no_events(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    path.touch()
    assert History(path).search() == ([], None)
    assert History(path).get("a") is None


def test_the_history_cannot_be_changed_through_it(path: Path) -> None:
    with History(path)._opened() as connection:
        assert connection is not None
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM events")
