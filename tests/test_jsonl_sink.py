"""Events in files of JSON Lines: rotated, moved by others, on a full disk, after a kill."""

import os
import resource
import signal
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import ModuleType

import pytest

from playspot.stream import jsonl_sink
from playspot.stream.events import Event
from playspot.stream.journal_reader import Position
from playspot.stream.jsonl_sink import JsonLinesSink
from playspot.stream.output_config import JsonLinesConfig
from playspot.stream.sink import SinkError
from playspot.stream.sink_cursor import save_cursor


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events" / "stage.jsonl"


@pytest.fixture
def cursor(tmp_path: Path) -> Path:
    return tmp_path / "cursors" / "jsonl.json"


@pytest.fixture
def sink(path: Path, cursor: Path) -> Iterator[JsonLinesSink]:
    sink = JsonLinesSink(JsonLinesConfig(path=path), cursor)
    yield sink
    sink.close()


def events_in(*paths: Path) -> list[Event]:
    lines = [line for path in paths for line in path.read_bytes().splitlines()]
    return [Event.model_validate_json(line) for line in lines]


def test_each_event_is_a_line(sink: JsonLinesSink, path: Path, event_feed: ModuleType) -> None:
    sent = event_feed.Stage().play(20)
    sink.take(sent[:3], Position())
    sink.take(sent[3:], Position())
    assert events_in(path) == sent
    assert path.stat().st_mode & 0o027 == 0


def test_lines_behind_the_saved_position_are_cut_off(
    path: Path, cursor: Path, event_feed: ModuleType
) -> None:
    """A process was killed after it had written lines, and before it had saved that."""
    sent = event_feed.Stage().play(20)
    config = JsonLinesConfig(path=path)
    sink = JsonLinesSink(config, cursor)
    sink.take(sent[:5], Position(offset=5))
    saved = cursor.read_bytes()
    sink.take(sent[5:9], Position(offset=9))
    sink.close()
    with path.open("ab") as file:
        file.write(b'{"torn')
    cursor.write_bytes(saved)
    sink = JsonLinesSink(config, cursor)
    assert sink.position() == Position(offset=5)
    sink.take(sent[5:], Position(offset=20))
    assert events_in(path) == sent
    sink.close()


def test_full_files_are_named_after_the_time_and_the_oldest_removed(
    path: Path, cursor: Path, event_feed: ModuleType
) -> None:
    sink = JsonLinesSink(JsonLinesConfig(path=path, rotate_mb=0.005, keep=3), cursor)
    other = path.with_name("stage-of-mine.jsonl")
    other.parent.mkdir()
    other.touch()
    sent = event_feed.Stage().play(60)
    for event in sent:
        sink.take([event], Position())
        sink.turn()
    sink.close()
    full = sorted(path.parent.glob("stage-2*.jsonl"))
    assert len(full) == 3
    for name in full:
        datetime.strptime(name.name, "stage-%Y%m%dT%H%M%S.%fZ.jsonl")
        assert 5000 <= name.stat().st_size < 7000
    left = events_in(*full, *path.parent.glob("stage.jsonl"))
    assert left == sent[-len(left) :]
    assert other.exists()


def test_a_kill_while_a_file_is_rotated_costs_nothing(
    path: Path, cursor: Path, event_feed: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = JsonLinesConfig(path=path, rotate_mb=0.005)
    sent = event_feed.Stage().play(30)
    sink = JsonLinesSink(config, cursor)
    sink.take(sent[:10], Position())
    sink.turn()  # renamed, and nothing after that
    sink.close()
    (full,) = path.parent.glob("stage-*.jsonl")
    sink = JsonLinesSink(config, cursor)
    sink.take(sent[10:12], Position())
    saved = cursor.read_bytes()
    sink.take(sent[12:15], Position())
    sink.close()
    cursor.write_bytes(saved)
    sink = JsonLinesSink(config, cursor)
    sink.take(sent[12:], Position())
    assert events_in(full, path) == sent
    sink.close()


def test_a_kill_right_after_the_first_line_of_a_new_file_costs_nothing(
    path: Path, cursor: Path, event_feed: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = JsonLinesConfig(path=path, rotate_mb=0.005)
    sent = event_feed.Stage().play(30)
    sink = JsonLinesSink(config, cursor)
    sink.take(sent[:10], Position())
    sink.turn()
    (full,) = path.parent.glob("stage-*.jsonl")
    saved: list[object] = []

    def die_later(*what: object) -> None:
        saved.append(what)
        if len(saved) == 2:
            raise KeyboardInterrupt
        save_cursor(*what)  # type: ignore[arg-type]

    monkeypatch.setattr(jsonl_sink, "save_cursor", die_later)
    with pytest.raises(KeyboardInterrupt):
        sink.take(sent[10:12], Position())
    monkeypatch.undo()
    sink.close()
    assert events_in(path) == sent[10:12]
    sink = JsonLinesSink(config, cursor)
    sink.take(sent[10:], Position())
    assert events_in(full, path) == sent
    sink.close()


@pytest.mark.parametrize("how", ["renamed", "removed", "copied and truncated"])
def test_other_programs_may_rotate_the_file(
    sink: JsonLinesSink, path: Path, event_feed: ModuleType, how: str
) -> None:
    sent = event_feed.Stage().play(20)
    sink.take(sent[:10], Position())
    kept = path.with_name("mine.1")
    if how == "copied and truncated":
        kept.write_bytes(path.read_bytes())
        os.truncate(path, 0)
    else:
        path.rename(kept)
        if how == "removed":
            kept.unlink()
    sink.take(sent[10:], Position())
    assert events_in(path) == sent[10:]
    if how != "removed":
        assert events_in(kept) == sent[:10]


def test_a_file_of_before_is_appended_to(path: Path, cursor: Path, event_feed: ModuleType) -> None:
    sent = event_feed.Stage().play(20)
    path.parent.mkdir()
    path.write_text("a line of before\nand a torn one")
    sink = JsonLinesSink(JsonLinesConfig(path=path), cursor)
    sink.take(sent, Position())
    sink.close()
    lines = path.read_text().splitlines()
    assert lines[:2] == ["a line of before", "and a torn one"]
    assert [Event.model_validate_json(line) for line in lines[2:]] == sent


def test_a_full_disk_leaves_no_torn_line(
    sink: JsonLinesSink, path: Path, event_feed: ModuleType
) -> None:
    sent = event_feed.Stage().play(40)
    sink.take(sent[:10], Position())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 1500, before[1]))
        with pytest.raises(SinkError, match=r"stage\.jsonl: File too large"):
            sink.take(sent[10:], Position(offset=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert events_in(path) == sent[:10]
    assert sink.position() == Position()
    sink.take(sent[10:], Position(offset=1))
    assert events_in(path) == sent


def test_a_position_that_cannot_be_saved_takes_the_lines_back(
    sink: JsonLinesSink, path: Path, cursor: Path, event_feed: ModuleType
) -> None:
    sent = event_feed.Stage().play(20)
    sink.take(sent[:10], Position())
    blocker = cursor.with_name(f".{cursor.name}.partial")
    blocker.mkdir()
    with pytest.raises(SinkError, match="Is a directory"):
        sink.take(sent[10:], Position())
    assert events_in(path) == sent[:10]
    blocker.rmdir()
    sink.take(sent[10:], Position())
    assert events_in(path) == sent


def test_two_programs_do_not_write_to_one_file(
    sink: JsonLinesSink, path: Path, cursor: Path, event_feed: ModuleType
) -> None:
    sent = event_feed.Stage().play(4)
    sink.take(sent, Position())
    other = JsonLinesSink(JsonLinesConfig(path=path), cursor.with_name("other.json"))
    with pytest.raises(SinkError, match=r"another playspot writes to it; set jsonl\.path"):
        other.take(sent, Position())
    other.close()
    assert events_in(path) == sent


def test_a_follower_sees_whole_lines_in_order(
    sink: JsonLinesSink, path: Path, event_feed: ModuleType
) -> None:
    sent = event_feed.Stage().play(300)
    sink.take(sent[:1], Position())
    seen: list[Event] = []

    def follow() -> None:
        with path.open("rb") as file:
            rest = b""
            while len(seen) < len(sent):
                *lines, rest = (rest + file.read()).split(b"\n")
                seen.extend(Event.model_validate_json(line) for line in lines)

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    for event in sent[1:]:
        sink.take([event], Position())
    follower.join(10)
    assert seen == sent
