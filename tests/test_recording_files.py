"""Where recordings lie, that only whole ones do, and when they go."""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from playspot.stream.events import ModelInfo
from playspot.stream.recording_files import (
    DAY,
    UNFINISHED,
    Kind,
    RecordingFiles,
    find,
    path_of,
)
from playspot.stream.stored_event import StoredEvent

NOW = time.time()


def files_in(folder: Path, keep_days: float = 7, keep_mb: float = 1) -> RecordingFiles:
    return RecordingFiles(folder, keep_days=keep_days, keep_mb=keep_mb)


def put(files: RecordingFiles, number: int, size: int = 10, kind: Kind = "clip") -> Path:
    part = files.unfinished(kind)
    part.write_bytes(bytes(size))
    files.keep(part, f"stage.1a2b3c4d.{number}", NOW, kind)
    return path_of(files.folder, f"stage.1a2b3c4d.{number}", NOW, kind)


def stored(began_at: float) -> StoredEvent:
    return StoredEvent(
        id="stage.1a2b3c4d.1",
        source="stage",
        label="drum",
        system_id="1a2b3c4d",
        state="open",
        began_at=began_at,
        start_time=0.0,
        score=0.5,
        top_score=0.5,
        top_at=began_at,
        model=ModelInfo(name="m", hash="h", engine="e", precision="fp32"),
        first_seq=1,
        last_seq=1,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def test_a_file_is_found_by_its_event_and_by_the_id_alone(folder: Path) -> None:
    files = files_in(folder)
    path = put(files, 1)
    assert find(folder, stored(NOW), "clip") == path
    assert find(folder, "stage.1a2b3c4d.1", "clip") == path
    assert find(folder, "stage.1a2b3c4d.1", "snapshot") is None
    files.close()


def test_an_event_over_midnight_is_found_on_either_day(folder: Path) -> None:
    files = files_in(folder)
    path = put(files, 1)
    assert find(folder, stored(NOW + DAY), "clip") == path
    assert find(folder, stored(NOW - DAY), "clip") == path
    assert find(folder, stored(NOW + 3 * DAY), "clip") is None
    files.close()


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "stage/../../x.1a.1",
        ".unfinished.1a.1",
        "..1a.1",
        "stage.1a.1/",
        "stage.1a.1\n",
        "stage.1a.1\0",
        "",
        "stage",
        "x" * 65 + ".1a.1",
    ],
)
def test_an_id_that_is_none_leads_nowhere(folder: Path, name: str) -> None:
    files_in(folder).close()
    assert find(folder, name, "clip") is None
    with pytest.raises(ValueError, match="is no id of an event"):
        path_of(folder, name, NOW, "clip")


def test_a_link_to_somewhere_else_is_no_recording(folder: Path, tmp_path: Path) -> None:
    files = files_in(folder)
    path = put(files, 1)
    path.unlink()
    (tmp_path / "secret").write_text("x")
    path.symlink_to(tmp_path / "secret")
    assert find(folder, "stage.1a2b3c4d.1", "clip") is None
    files.close()


@pytest.mark.skipif(os.name == "nt", reason="there are no such modes")
def test_nobody_else_may_look(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    files = files_in(folder)
    path = put(files, 1)
    modes = [stat.S_IMODE(p.stat().st_mode) for p in (folder, path.parent, path)]
    assert modes == [0o700, 0o700, 0o600]
    files.close()


def test_what_is_not_complete_has_no_name(folder: Path) -> None:
    files = files_in(folder)
    files.unfinished("clip").write_bytes(b"torn")
    assert [p.name for p in folder.iterdir()] == [UNFINISHED]
    files.close()
    assert list((folder / UNFINISHED).iterdir()) == []


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_writes_is_not(
    folder: Path,
) -> None:
    code = (
        "import os, sys; from pathlib import Path;"
        "from playspot.stream.recording_files import RecordingFiles;"
        f"files = RecordingFiles(Path({str(folder)!r}), keep_days=7, keep_mb=1);"
        "files.unfinished('clip').write_bytes(b'torn'); os.kill(os.getpid(), 9)"
    )
    living = files_in(folder)
    part = living.unfinished("clip")
    part.write_bytes(b"half")
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(list((folder / UNFINISHED).glob("*/*.mp4"))) == 2
    files_in(folder).close()
    assert list((folder / UNFINISHED).glob("*/*.mp4")) == [part]
    living.close()


def test_too_much_goes_oldest_first(folder: Path) -> None:
    files = files_in(folder, keep_mb=1)
    paths = [put(files, number, 400_000) for number in range(4)]
    files.retire()
    assert [path.exists() for path in paths] == [False, False, True, True]
    assert (files.n_bytes, files.count("clip")) == (800_000, 2)
    files.close()


def test_what_is_too_old_goes_also_after_a_restart_and_takes_its_folder_along(
    folder: Path,
) -> None:
    files = files_in(folder)
    old, new = put(files, 1), put(files, 2, kind="snapshot")
    files.close()
    at = time.time() - 2 * DAY
    aged = folder / "stage" / "2001-02-03" / old.name
    aged.parent.mkdir()
    old.rename(aged)
    os.utime(aged, (at, at))
    files = files_in(folder, keep_days=1)
    assert files.n_bytes == 20
    files.retire()
    assert not aged.parent.exists()
    assert new.exists()
    assert (files.count("clip"), files.count("snapshot"), files.n_bytes) == (0, 1, 10)
    files.close()


def test_a_file_that_is_replaced_counts_once(folder: Path) -> None:
    files = files_in(folder)
    put(files, 1, 10, "snapshot")
    path = put(files, 1, 30, "snapshot")
    assert (files.count("snapshot"), files.n_bytes, path.stat().st_size) == (1, 30, 30)
    files.close()


def test_what_somebody_else_removed_does_not_count_for_ever(folder: Path) -> None:
    files = files_in(folder, keep_mb=1)
    paths = [put(files, number, 600_000) for number in range(2)]
    paths[0].unlink()
    files.retire()
    assert files.n_bytes == 600_000
    files.close()


def test_other_files_in_the_folder_are_left_alone(folder: Path) -> None:
    files = files_in(folder)
    own = put(files, 1).with_name("notes.txt")
    own.write_bytes(bytes(3_000_000))
    files.close()
    files = files_in(folder, keep_mb=1)
    files.retire()
    assert own.exists()
    assert files.n_bytes == 10
    files.close()
