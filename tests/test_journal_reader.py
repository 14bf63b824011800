"""The journal as a queue: read by one process while another writes, rotates, loses and tears it."""

import random
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from playspot.stream import journal_reader
from playspot.stream.journal import Journal, journal_file, journal_numbers
from playspot.stream.journal_reader import JournalReader, Position, beginning, bytes_behind


def read_all(reader: JournalReader) -> list[Any]:
    found: list[Any] = []
    while events := reader.read(7):
        found += events
    return found


def test_events_come_once_and_in_order(tmp_path: Path, event_feed: ModuleType) -> None:
    sent = event_feed.Stage().play(40)
    event_feed.journal_with(tmp_path, sent[:10], sent[10:])
    reader = JournalReader(tmp_path, Position())
    assert read_all(reader) == sent
    assert reader.read() == []
    reader.close()


def test_reading_goes_on_from_any_position(tmp_path: Path, event_feed: ModuleType) -> None:
    sent = event_feed.Stage().play(40)
    event_feed.journal_with(tmp_path, sent)
    rng, position = random.Random(1), Position()
    found: list[Any] = []
    while len(found) < len(sent):
        reader = JournalReader(tmp_path, position)
        found += reader.read(rng.randint(1, 5))
        position = Position.model_validate_json(reader.position.model_dump_json())
        reader.close()
    assert found == sent


def test_rotation_is_followed_while_the_journal_is_written(
    tmp_path: Path, event_feed: ModuleType
) -> None:
    journal = Journal(tmp_path, "run1", max_bytes=200_000)
    reader = JournalReader(tmp_path, Position())
    sent = event_feed.Stage().play(600)
    found: list[Any] = []
    for k in range(0, len(sent), 20):
        journal.append(sent[k : k + 20])
        found += read_all(reader)
    assert len(journal_numbers(tmp_path)) > 3
    assert found == sent
    assert reader.lost == 0
    reader.close()
    journal.close()


def test_what_the_journal_dropped_is_counted(tmp_path: Path, event_feed: ModuleType) -> None:
    journal = Journal(tmp_path, "run1", max_bytes=80_000)
    reader = JournalReader(tmp_path, Position())
    sent = event_feed.Stage().play(600)
    journal.append(sent[:5])
    first = reader.read()
    position = reader.position
    reader.close()
    for k in range(5, len(sent), 20):
        journal.append(sent[k : k + 20])
    reader = JournalReader(tmp_path, position)
    rest = read_all(reader)
    assert first + rest == sent[:5] + sent[-len(rest) :]
    assert reader.lost == len(sent) - 5 - len(rest) > 0
    reader.close()
    journal.close()


def test_sources_that_only_the_dropped_files_knew_are_counted_too(
    tmp_path: Path, event_feed: ModuleType
) -> None:
    journal = Journal(tmp_path, "run1", max_bytes=80_000)
    reader = JournalReader(tmp_path, Position())
    journal.append(event_feed.Stage().play(5))
    read_all(reader)
    position = reader.position
    reader.close()
    silent = event_feed.Stage("silent").play(30)
    journal.append(silent)
    loud = event_feed.Stage("loud").play(600)
    for k in range(0, len(loud), 20):
        journal.append(loud[k : k + 20])
    reader = JournalReader(tmp_path, position)
    rest = read_all(reader)
    assert reader.lost == len(loud) + len(silent) - len(rest)
    reader.close()
    journal.close()


def test_a_torn_last_line_waits_for_its_rest(tmp_path: Path, event_feed: ModuleType) -> None:
    sent = event_feed.Stage().play(10)
    event_feed.journal_with(tmp_path, sent)
    path = journal_file(tmp_path, 1)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    reader = JournalReader(tmp_path, Position())
    assert read_all(reader) == sent[:-1]
    path.write_bytes(whole)
    assert read_all(reader) == sent[-1:]
    reader.close()


def test_lines_that_were_taken_back_come_once(tmp_path: Path, event_feed: ModuleType) -> None:
    sent = event_feed.Stage().play(12)
    event_feed.journal_with(tmp_path, sent)
    path = journal_file(tmp_path, 1)
    whole = path.read_bytes()
    reader = JournalReader(tmp_path, Position())
    found = read_all(reader)
    shorter = b"".join(whole.splitlines(keepends=True)[:-3])
    path.write_bytes(shorter)
    found += read_all(reader)
    path.write_bytes(whole)
    assert found + read_all(reader) == sent
    assert reader.lost == 0
    reader.close()


def test_something_else_in_place_of_lines_that_were_taken_back_is_read(
    tmp_path: Path, event_feed: ModuleType
) -> None:
    stage = event_feed.Stage()
    sent = stage.play(12)
    further = stage.play(20)
    event_feed.journal_with(tmp_path, sent)
    path = journal_file(tmp_path, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    reader = JournalReader(tmp_path, Position())
    assert read_all(reader) == sent
    body = [event.model_dump_json(by_alias=True).encode() + b"\n" for event in further]
    path.write_bytes(b"".join([*lines[:-3], *body]))
    assert read_all(reader) == further
    reader.close()


def test_a_journal_that_was_removed_and_begun_anew_is_read(
    tmp_path: Path, event_feed: ModuleType
) -> None:
    stage = event_feed.Stage()
    first, second, third = stage.play(10), stage.play(10), stage.play(10)
    journal = Journal(tmp_path, "run1")
    reader = JournalReader(tmp_path, Position())
    journal.append(first)
    assert read_all(reader) == first
    journal_file(tmp_path, 1).unlink()
    assert read_all(reader) == []
    journal.append(second)
    assert read_all(reader) == second
    position = reader.position
    reader.close()
    journal_file(tmp_path, 1).unlink()
    journal.append(third)
    reader = JournalReader(tmp_path, position)
    assert read_all(reader) == third
    assert reader.lost == 0
    reader.close()
    journal.close()


def test_a_journal_that_lost_its_end_is_read_on(tmp_path: Path, event_feed: ModuleType) -> None:
    """As after a power failure: the position is behind the end of the file."""
    sent = event_feed.Stage().play(20)
    event_feed.journal_with(tmp_path, sent)
    reader = JournalReader(tmp_path, Position())
    read_all(reader)
    position = reader.position
    reader.close()
    path = journal_file(tmp_path, 1)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:5]))
    after = event_feed.Stage(system_id="run2").play(8)
    event_feed.journal_with(tmp_path, after, system_id="run2")
    reader = JournalReader(tmp_path, position)
    assert read_all(reader) == after
    reader.close()


def test_lines_of_others_are_skipped(tmp_path: Path, event_feed: ModuleType) -> None:
    sent = event_feed.Stage().play(6)
    event_feed.journal_with(tmp_path, sent)
    path = journal_file(tmp_path, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    odd = [
        b"\n",
        b"{}\n",
        b"[1]\n",
        b'{"schema":"playspot/journal/1"}\n',
        b"\xff\xfe\n",
        b"x" * 999,
    ]
    path.write_bytes(b"".join([*odd, b"\n", *lines[:3], b"null\n", *lines[3:]]))
    reader = JournalReader(tmp_path, Position())
    assert read_all(reader) == sent
    reader.close()


def test_a_line_longer_than_what_is_read_at_once_is_read(
    tmp_path: Path, event_feed: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_reader, "CHUNK", 64)
    sent = event_feed.Stage().play(10)
    event_feed.journal_with(tmp_path, sent)
    reader = JournalReader(tmp_path, Position())
    assert read_all(reader) == sent
    reader.close()


def test_the_beginning_is_that_of_the_run(tmp_path: Path, event_feed: ModuleType) -> None:
    old = event_feed.Stage(system_id="run0").play(10)
    event_feed.journal_with(tmp_path, old, system_id="run0")
    new = event_feed.Stage().play(10)
    event_feed.journal_with(tmp_path, new)
    for run, expected in (("run0", old + new), ("run1", new)):
        reader = JournalReader(tmp_path, beginning(tmp_path, run))
        assert read_all(reader) == expected
        reader.close()


def test_the_beginning_may_lie_files_back(tmp_path: Path, event_feed: ModuleType) -> None:
    event_feed.journal_with(tmp_path, event_feed.Stage(system_id="run0").play(10), system_id="run0")
    journal = Journal(tmp_path, "run1", max_bytes=400_000)
    new = event_feed.Stage().play(200)
    for event in new:
        journal.append([event])
    journal.close()
    assert len(journal_numbers(tmp_path)) > 2
    reader = JournalReader(tmp_path, beginning(tmp_path, "run1"))
    assert read_all(reader) == new
    assert reader.lost == 0
    reader.close()


def test_a_run_that_has_written_nothing_begins_at_the_end(
    tmp_path: Path, event_feed: ModuleType
) -> None:
    event_feed.journal_with(tmp_path, event_feed.Stage().play(10))
    reader = JournalReader(tmp_path, beginning(tmp_path, "run2"))
    assert read_all(reader) == []
    new = event_feed.Stage(system_id="run2").play(10)
    event_feed.journal_with(tmp_path, new, system_id="run2")
    assert read_all(reader) == new
    reader.close()


def test_bytes_behind_are_those_that_were_not_read(tmp_path: Path, event_feed: ModuleType) -> None:
    journal = Journal(tmp_path, "run1", max_bytes=400_000)
    for event in event_feed.Stage().play(200):
        journal.append([event])
    total = sum(journal_file(tmp_path, n).stat().st_size for n in journal_numbers(tmp_path))
    reader = JournalReader(tmp_path, Position())
    assert bytes_behind(tmp_path, reader.position) == total
    reader.read(3)
    assert 0 < bytes_behind(tmp_path, reader.position) < total
    read_all(reader)
    assert bytes_behind(tmp_path, reader.position) == 0
    reader.close()
    journal.close()


def test_a_removed_file_is_read_to_its_end(tmp_path: Path, event_feed: ModuleType) -> None:
    journal = Journal(tmp_path, "run1", max_bytes=400_000)
    sent = event_feed.Stage().play(200)
    journal.append(sent[:10])
    reader = JournalReader(tmp_path, Position())
    found = reader.read(2)
    for event in sent[10:]:
        journal.append([event])
    journal_file(tmp_path, 1).unlink()
    assert found + read_all(reader) == sent
    reader.close()
    journal.close()
