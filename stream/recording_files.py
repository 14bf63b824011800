"""Where snapshots and clips of events lie, how they come there whole, and how long they stay.

    <folder>/<source>/<YYYY-MM-DD>/<event id>.jpg, .mp4

The day is that of the beginning of the event, UTC. Files get these names only once they are
complete; until then they lie in `.unfinished`, in a folder that is swept once its writer is gone.
"""

import os
import re
import secrets
import shutil
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, TypeAlias

from .journal_lock import FolderLock, JournalTakenError
from .stored_event import StoredEvent

Kind: TypeAlias = Literal["snapshot", "clip"]

ENDINGS: dict[Kind, str] = {"snapshot": ".jpg", "clip": ".mp4"}
UNFINISHED = ".unfinished"
DAY = 86_400.0  # s
MEGABYTE = 1_000_000
# Of an event: its source, the run, its number. Only names that stay where they are put.
ID = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.\-]{0,63})\.([A-Za-z0-9]{1,32})\.([0-9]{1,20})")
DAY_NAME = re.compile(r"\d{4}-\d\d-\d\d")


def path_of(folder: Path, event_id: str, began_at: float, kind: Kind) -> Path:
    """Return where a file of an event lies, or would.

    Parameters
    ----------
    folder : Path
        Of all recordings.
    event_id : str
    began_at : float
        Unix time at which playing began.
    kind : {"snapshot", "clip"}

    Raises
    ------
    ValueError
        If this is no id of an event.

    Examples
    --------
    >>> path_of(Path("kept"), "stage.1a2b3c4d.7", 0.0, "clip").as_posix()
    'kept/stage/1970-01-01/stage.1a2b3c4d.7.mp4'
    """
    return folder / _source(event_id) / _day(began_at) / (event_id + ENDINGS[kind])


def find(folder: Path, event: StoredEvent | str, kind: Kind) -> Path | None:
    """Return the snapshot or the clip of an event, None if there is none.

    Parameters
    ----------
    folder : Path
        Of all recordings.
    event : StoredEvent or str
        Itself, or its id: that takes a look into the folder of each day.
    kind : {"snapshot", "clip"}

    Examples
    --------
    >>> find(Path("kept"), "../../etc/passwd", "clip") is None
    True
    """
    event_id = event if isinstance(event, str) else event.id
    try:
        source = folder / _source(event_id)
        if isinstance(event, str):
            days = sorted(d.name for d in source.iterdir() if DAY_NAME.fullmatch(d.name))[::-1]
        else:  # a process that began in the middle of an event may have got the day before or after
            days = [_day(event.began_at + shift) for shift in (0, -DAY, DAY)]
        paths = (source / day / (event_id + ENDINGS[kind]) for day in days)
        return next((path for path in paths if path.is_file() and not path.is_symlink()), None)
    except (OSError, ValueError):
        return None


def _source(event_id: str) -> str:
    match = ID.fullmatch(event_id)
    if match is None:
        raise ValueError(f"{event_id!r} is no id of an event")
    return match[1]


def _day(at: float) -> str:
    day = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=at)
    return f"{day:%Y-%m-%d}"


@dataclass
class _Kept:
    at: float  # Unix time
    size: int


class RecordingFiles:
    """The files of one folder, for the one process that writes them.

    Parameters
    ----------
    folder : Path
        Made if there is none; nobody else may look into it.
    keep_days, keep_mb : float
        Of all files; the oldest go first.

    Attributes
    ----------
    n_bytes : int
        Of all files.

    Raises
    ------
    OSError
        If the folder cannot be used.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = RecordingFiles(Path(folder), keep_days=7, keep_mb=100)
    ...     part = files.unfinished("clip")
    ...     _ = part.write_bytes(b"moving pictures")
    ...     files.keep(part, "stage.1a2b3c4d.7", time.time(), "clip")
    ...     print(files.count("clip"), find(Path(folder), "stage.1a2b3c4d.7", "clip").name)
    ...     files.close()
    1 stage.1a2b3c4d.7.mp4
    """

    def __init__(self, folder: Path, *, keep_days: float, keep_mb: float) -> None:
        self.folder = folder
        self._keep_days, self._keep_bytes = keep_days, keep_mb * MEGABYTE
        self.n_bytes = 0
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        parts = folder / UNFINISHED
        parts.mkdir(exist_ok=True, mode=0o700)
        _sweep(parts)
        self._part = parts / secrets.token_hex(4)
        self._part.mkdir(mode=0o700)
        self._lock = FolderLock(self._part, 0.0)
        self._n_parts = 0
        self._kept: dict[Path, _Kept] = {}  # oldest first
        self._counts: Counter[str] = Counter()  # by ending
        self._look()

    def count(self, kind: Kind) -> int:
        """Return how many files of a kind there are."""
        return self._counts[ENDINGS[kind]]

    def unfinished(self, kind: Kind) -> Path:
        """Return a path to write a new file to."""
        self._n_parts += 1
        return self._part / f"{self._n_parts}{ENDINGS[kind]}"

    def keep(self, part: Path, event_id: str, began_at: float, kind: Kind) -> None:
        """Give a file that is complete its name, in the place of one that has it already.

        Raises
        ------
        OSError, ValueError
            If that is not possible.
        """
        path = path_of(self.folder, event_id, began_at, kind)
        part.chmod(0o600)
        path.parent.parent.mkdir(exist_ok=True, mode=0o700)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        part.replace(path)
        self._forget(path)
        self._add(path, time.time())

    def retire(self) -> None:
        """Remove what is too old or too much; cheap, to be called often."""
        now = time.time()
        while self._kept:
            path, kept = next(iter(self._kept.items()))
            is_old = now - kept.at > self._keep_days * DAY
            if not is_old and self.n_bytes <= self._keep_bytes:
                return
            with suppress(OSError):  # somebody else may have removed it
                path.unlink()
            self._forget(path)
            for parent in (path.parent, path.parent.parent):
                with suppress(OSError):  # not empty yet
                    parent.rmdir()

    def close(self) -> None:
        """Remove what is unfinished."""
        self._lock.close()
        shutil.rmtree(self._part, ignore_errors=True)

    def _add(self, path: Path, at: float) -> None:
        size = path.stat().st_size
        self._kept[path] = _Kept(at, size)
        self.n_bytes += size
        self._counts[path.suffix] += 1

    def _forget(self, path: Path) -> None:
        kept = self._kept.pop(path, None)
        if kept is not None:
            self.n_bytes -= kept.size
            self._counts[path.suffix] -= 1

    def _look(self) -> None:
        """Find what is there; once, at the beginning."""
        found = []
        for source in _folders(self.folder):
            for day in _folders(Path(source)):
                if DAY_NAME.fullmatch(day.name):
                    with suppress(OSError), os.scandir(day) as entries:
                        found += [(e.stat().st_mtime, e.path) for e in entries if _is_ours(e)]
        for at, path in sorted(found):
            with suppress(OSError):
                self._add(Path(path), at)


def _is_ours(entry: "os.DirEntry[str]") -> bool:
    name = Path(entry.name)
    is_name = name.suffix in ENDINGS.values() and ID.fullmatch(name.stem) is not None
    return is_name and entry.is_file(follow_symlinks=False)


def _folders(folder: Path) -> "list[os.DirEntry[str]]":
    with suppress(OSError), os.scandir(folder) as entries:
        return [e for e in entries if e.is_dir(follow_symlinks=False) and e.name[0] != "."]
    return []


def _sweep(parts: Path) -> None:
    """Remove what writers that are gone have left."""
    for folder in parts.iterdir():
        try:
            FolderLock(folder, 0.0).close()
        except (OSError, JournalTakenError):
            continue
        shutil.rmtree(folder, ignore_errors=True)
