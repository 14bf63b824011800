"""The history over HTTP: pages, filters, pictures and clips."""

import sqlite3
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

Run = Any  # of tests/web.py


@pytest.fixture(scope="module")
def kept(web: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A web process with 30 events; `kept.ids` are theirs, the newest last."""
    folder = tmp_path_factory.mktemp("kept")
    ids = web.fill(folder / "events.sqlite", folder / "recordings")
    with web.ServedRun(database=folder / "events.sqlite", recordings=folder / "recordings") as run:
        run.ids = ids
        yield run


@pytest.fixture(scope="module")
def bare(web: ModuleType) -> Iterator[Run]:
    """A web process without database and recordings."""
    with web.ServedRun() as run:
        yield run


def found(run: Run, query: str = "") -> list[dict[str, Any]]:
    answer = run.get(f"/api/events?{query}")
    assert answer.status_code == 200, answer.text
    events: list[dict[str, Any]] = answer.json()["events"]
    return events


def test_the_newest_event_comes_first(kept: Run) -> None:
    assert [event["id"] for event in found(kept)] == kept.ids[::-1]


def test_pages_give_every_event_once(kept: Run) -> None:
    ids, cursor = [], ""
    while cursor is not None:
        answer = kept.get(f"/api/events?limit=7{cursor and '&cursor=' + cursor}").json()
        ids += [event["id"] for event in answer["events"]]
        cursor = answer["next"]
    assert ids == kept.ids[::-1]


def test_a_parameter_may_be_repeated(kept: Run) -> None:
    assert len(found(kept, "source=stage&source=hall&label=violin&label=drum")) == 30
    assert {event["source"] for event in found(kept, "source=hall")} == {"hall"}
    assert {event["label"] for event in found(kept, "label=drum")} == {"drum"}


def test_time_score_and_state_filter(kept: Run) -> None:
    assert len(found(kept, "from=1760000000&to=1760000060")) == 1
    assert {event["top_score"] >= 0.7 for event in found(kept, "min_score=0.7")} == {True}
    assert [event["id"] for event in found(kept, "state=open")] == [kept.ids[-1]]


def test_an_unknown_parameter_is_ignored(kept: Run) -> None:
    assert len(found(kept, "colour=red")) == 30


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("limit=900", "limit: 900 is too much; give at most 500"),
        ("limit=0", "limit: 0 is too small; give at least 1"),
        ("limit=x", "limit: 'x' is not a number"),
        ("state=over", "state: 'over' is unknown; give 'open' or 'ended'"),
        ("min_score=2", "min_score: 2 is too much; give at most 1"),
        ("from=nan", "from: 'nan' is not a number"),
        ("from=-1", "from: -1 is too small; give at least 0"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_bound(kept: Run, query: str, error: str) -> None:
    answer = kept.get(f"/api/events?{query}")
    assert (answer.status_code, answer.json()) == (400, {"error": error})


def test_a_cursor_that_was_made_up_is_refused(kept: Run) -> None:
    for cursor in ("x", "WyJ4IiwxXQ", "%ff", "W1tbW1s"):
        assert kept.get(f"/api/events?cursor={cursor}").status_code == 404


def test_one_event_is_found_by_its_id(kept: Run) -> None:
    event = kept.get(f"/api/events/{kept.ids[3]}").json()
    assert (event["id"], event["label"]) == (kept.ids[3], "drum")
    assert kept.get("/api/events/stage.c0ffee00.999").status_code == 404


def test_it_says_whether_there_is_a_picture_and_a_clip(kept: Run) -> None:
    with_files = [e["id"] for e in found(kept) if e["has_snapshot"] and e["has_clip"]]
    assert with_files == kept.ids[:1]


def test_the_picture_of_an_event_is_served(kept: Run) -> None:
    answer = kept.get(f"/api/events/{kept.ids[0]}/snapshot.jpg")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content == b"\xff\xd8jpeg\xff\xd9"
    assert answer.headers["cache-control"] == "no-cache"  # while it is open a better one may come
    assert kept.get(f"/api/events/{kept.ids[1]}/snapshot.jpg").status_code == 404


def test_a_part_of_a_clip_is_served(kept: Run) -> None:
    path = f"/api/events/{kept.ids[0]}/clip.mp4"
    whole = kept.get(path)
    assert (whole.status_code, len(whole.content)) == (200, 256)
    part = kept.get(path, headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, bytes(range(10, 20)))
    assert part.headers["content-range"] == "bytes 10-19/256"
    assert kept.get(path, headers={"range": "bytes=900-"}).status_code == 416


@pytest.mark.parametrize("path", ["/api/events", "/api/events/stage.c0ffee00.1"])
def test_without_a_database_it_says_what_to_do(bare: Run, path: str) -> None:
    answer = bare.get(path)
    assert answer.status_code == 503
    assert "database" in answer.json()["error"]


def test_without_recordings_there_are_no_files(bare: Run) -> None:
    assert bare.get("/api/events/stage.c0ffee00.1/clip.mp4").status_code == 404


def test_a_damaged_database_is_an_error_in_one_line(
    web: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "events.sqlite"
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
    with web.ServedRun(database=path) as run:
        answer = run.get("/api/events")
        assert answer.status_code == 503
        assert "\n" not in answer.json()["error"]


def test_a_locked_database_does_not_hold_up_others(
    web: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("locked")
    ids = web.fill(folder / "events.sqlite", folder / "recordings")
    with web.ServedRun(database=folder / "events.sqlite") as run:
        writer = sqlite3.connect(folder / "events.sqlite")
        try:
            writer.execute("BEGIN IMMEDIATE")
            assert [event["id"] for event in found(run, "limit=1")] == ids[-1:]
        finally:
            writer.close()
