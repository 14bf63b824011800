import errno
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from playspot.engines.settings import Decoding
from playspot.stream import journal as journal_module
from playspot.stream.detections import Region
from playspot.stream.event_log import EventLog
from playspot.stream.event_ring import SentEvent
from playspot.stream.events import Detection, Event, ModelInfo
from playspot.stream.journal import Journal, claim_journal
from playspot.stream.journal_lock import JournalTakenError, journal_folder, state_folder
from playspot.stream.marks import LINE, Marks
from playspot.stream.tracks import Tracker

MODEL = ModelInfo(name="test", hash="0" * 12, engine="replay", precision="fp32")
RUN = "run1"


def events(n_steps: int, source: str = "stage", system_id: str = RUN, *, end: bool) -> list[Event]:
    """Return the events of one player who plays `n_steps` steps, with or without the end."""
    tracker, log = Tracker(Decoding(min_duration=0)), EventLog(source, MODEL, system_id)
    changes = []
    for step in range(n_steps):
        detection = Detection(label="violin", score=0.9, point=(0.5, 0.5), box=(0.4, 0.4, 0.6, 0.6))
        region = Region("violin", 0.9, detection.point, detection.box, (0, 0))
        changes += tracker.update(step, [(region, detection)])
    if end:
        changes += tracker.flush(n_steps - 1, "silence")
    return [log.event(change) for change in changes]


@contextmanager
def opened(folder: Path, system_id: str = RUN, **options: int) -> Iterator[Journal]:
    journal = Journal(folder, system_id, **options)
    try:
        yield journal
    finally:
        journal.close()


def lines(folder: Path) -> list[bytes]:
    paths = sorted(folder.glob("events-*.jsonl"))
    return b"".join(path.read_bytes() for path in paths).splitlines(keepends=True)


def kept(folder: Path) -> list[int]:
    """Return the `seq` of all events of a journal; each line must be whole."""
    records = [json.loads(line) for line in lines(folder)]
    return [record["seq"] for record in records if "id" in record]


def test_another_process_of_the_run_goes_on(tmp_path: Path) -> None:
    sent = events(3, end=False)
    with opened(tmp_path) as journal:
        journal.append(sent)
    with opened(tmp_path) as journal:
        assert journal.found.seq == {"stage": 3}
        assert journal.found.open == {sent[0].id: sent[2]}
        assert journal.found.recent == [SentEvent.of(event) for event in sent]
        assert not journal.found.left


def test_another_run_begins_anew_and_learns_what_was_left_open(tmp_path: Path) -> None:
    sent = events(3, end=False)
    with opened(tmp_path) as journal:
        journal.append(sent)
    with opened(tmp_path, "run2") as journal:
        assert journal.found.seq == {}
        assert journal.found.recent == []
        assert journal.found.left == {sent[0].id: sent[2]}


def test_an_event_that_ended_is_not_left(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.append(events(3, end=True))
    with opened(tmp_path, "run2") as journal:
        assert journal.found.left == {}


def test_a_torn_last_line_is_left_out_and_cut_off(tmp_path: Path) -> None:
    sent = events(3, end=False)
    with opened(tmp_path) as journal:
        journal.append(sent)
    path = tmp_path / "events-00000001.jsonl"
    path.write_bytes(path.read_bytes()[:-100])
    with opened(tmp_path) as journal:
        assert journal.found.seq == {"stage": 2}
        journal.append(sent[2:])
    assert kept(tmp_path) == [0, 1, 2]


def test_what_was_appended_survives_kill_9(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from playspot.stream.events import Event\n"
        "from playspot.stream.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]), sys.argv[2])\n"
        "for line in sys.stdin:\n"
        "    journal.append([Event.model_validate_json(line)])\n"
        "    print('kept', flush=True)\n"
    )
    sent = events(20, end=False)
    command = [sys.executable, "-c", code, str(tmp_path), RUN]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for event in sent:
            process.stdin.write(event.model_dump_json(by_alias=True) + "\n")
            process.stdin.flush()
            assert process.stdout.readline() == "kept\n"
        process.send_signal(signal.SIGKILL)
    with opened(tmp_path) as journal:
        assert journal.found.recent == [SentEvent.of(event) for event in sent]


def test_two_programs_do_not_share_a_folder(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(JournalTakenError, match="set `journal` to a folder"):
        Journal(tmp_path, "run2")


def test_two_programs_without_a_folder_get_one_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "journal_folder", lambda _: tmp_path / "tcp")
    first, second = (claim_journal(None, "tcp://127.0.0.1:7773", run) for run in ("a", "b"))
    assert [journal.folder.name for journal in (first, second)] == ["tcp", "tcp-2"]
    first.close()
    second.close()


def test_files_are_rotated_and_bounded(tmp_path: Path) -> None:
    limit = 80_000
    still_open = events(1, source="other", end=False)
    with opened(tmp_path, max_bytes=limit) as journal:
        journal.append(still_open)
        for event in events(400, end=False):
            journal.append([event])
            total = sum(path.stat().st_size for path in tmp_path.glob("events-*"))
            assert total <= limit
    with opened(tmp_path, max_bytes=limit) as journal:
        assert journal.found.seq == {"stage": 400, "other": 1}
        assert journal.found.open[still_open[0].id] == still_open[0]


@pytest.fixture
def full_disk() -> Iterator[object]:
    """Return what limits the size of files of this process: a write that passes it fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def limit(size: int | None) -> None:
        soft = before[0] if size is None else size
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, before[1]))

    yield limit
    limit(None)
    signal.signal(signal.SIGXFSZ, ignored)


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("events-*"))


def test_a_full_disk_leaves_no_torn_line_and_is_tried_again(
    tmp_path: Path, full_disk: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "RETRY_INTERVAL", 0.0)
    sent = events(10, end=False)
    with opened(tmp_path) as journal:
        journal.append(sent[:3])
        full_disk(size_of(tmp_path) + 300)  # type: ignore[operator]
        for event in sent[3:6]:
            journal.append([event])
        assert journal.error == os.strerror(errno.EFBIG)
        assert journal.n_unsaved == 3
        assert kept(tmp_path) == [0, 1, 2]
        full_disk(None)  # type: ignore[operator]
        journal.append(sent[6:])
        assert journal.error is None
        assert journal.n_unsaved == journal.n_lost == 0
    assert kept(tmp_path) == [*range(10)]


def test_a_disk_that_is_full_for_long_costs_events_and_no_more(
    tmp_path: Path, full_disk: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "RETRY_INTERVAL", 0.0)
    monkeypatch.setattr(journal_module, "MAX_UNSAVED", 5000)
    sent = events(30, end=True)
    with opened(tmp_path) as journal:
        journal.append(sent[:1])
        full_disk(size_of(tmp_path))  # type: ignore[operator]
        for event in sent[1:]:
            journal.append([event])
        assert journal.n_lost > 0
        full_disk(None)  # type: ignore[operator]
        journal.retry()
        assert journal.error is None
    with opened(tmp_path) as journal:
        assert journal.found.seq == {"stage": len(sent)}
        assert journal.found.open == {}


def test_a_folder_that_cannot_be_made_is_reported_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    with opened(tmp_path / "file" / "journal") as journal:
        journal.append(events(1, end=False))
        assert journal.error is not None
        assert journal.n_unsaved == 1
    assert "events are published, but not kept" in caplog.text


def test_a_folder_that_is_removed_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    sent = events(4, end=False)
    with opened(folder) as journal:
        journal.append(sent[:2])
        folder.rename(tmp_path / "elsewhere")
        for path in (tmp_path / "elsewhere").iterdir():
            path.unlink()
        journal.append(sent[2:])
    with opened(folder) as journal:
        assert journal.found.seq == {"stage": 4}


def test_the_folder_is_of_the_user_and_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    if sys.platform == "linux":
        expected = Path("/state/playspot/journal/tcp-127.0.0.1-7773")
        assert journal_folder("tcp://127.0.0.1:7773") == expected
    assert state_folder("linux", {}) == Path.home() / ".local" / "state" / "playspot"
    assert state_folder("darwin", {}).parts[-2:] == ("Application Support", "playspot")
    assert state_folder("win32", {"LOCALAPPDATA": "C"}) == Path("C") / "playspot"


def test_marks_are_found_by_the_same_run_only(tmp_path: Path) -> None:
    path = tmp_path / "steps"
    marks = Marks(path, RUN)
    for n in range(3):
        assert marks.set("a", {"n": n})
        assert marks.set("b", {"n": -n})
    marks.close()
    assert path.stat().st_size == 2 * LINE
    again = Marks(path, RUN)
    assert again.found == {"a": {"n": 2}, "b": {"n": -2}}
    again.close()
    other = Marks(path, "run2")
    assert other.found == {}
    other.close()


def test_a_damaged_mark_does_not_harm_the_others(tmp_path: Path) -> None:
    path = tmp_path / "steps"
    marks = Marks(path, RUN)
    for source in "abc":
        marks.set(source, {"n": 1})
    marks.close()
    content = bytearray(path.read_bytes())
    content[0:3] = b"xxx"
    path.write_bytes(content)
    again = Marks(path, RUN)
    assert set(again.found) == {"b", "c"}
    again.set("d", {"n": 4})
    again.close()
    last = Marks(path, RUN)
    assert set(last.found) == {"b", "c", "d"}
    last.close()
