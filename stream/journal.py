r"""The journal: every event on its way to the disk before anybody hears of it.

JSON Lines in a folder, `events-00000001.jsonl` and so on: bodies of events as they are published,
and at the head of each file, and wherever a process began, a line of state (`playspot/journal/1`)
that says what went before: events that are open, and the next `seq` of each source. So the last
file is enough to go on, and the oldest is removed when all take more than the space allowed.

* kill -9: each write is with the kernel when `append` returns. A line that was torn by the kill is
  the last one; it is cut off by whoever opens the journal next.
* A full disk: a line that did not fit is taken back, and waits in memory with those after it; it is
  tried again. What has waited for too long is dropped, counted, and made good by a line of state.
  A process that is killed meanwhile takes what waits along; `seq` goes on even so (`marks.py`).
* Power failure: the last seconds may be lost; there is no fsync.
"""

import json
import logging
import os
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

from .event_ring import RING, SentEvent
from .events import SCHEMA, Event
from .journal_lock import (
    LOCK_TIME,
    MAX_FOLDERS,
    FolderLock,
    JournalTakenError,
    journal_folder,
)
from .one_line import reason_of

JOURNAL_SCHEMA = "playspot/journal/1"
MAX_BYTES = 64 << 20  # of all files together
N_FILES = 8
MAX_UNSAVED = 4 << 20  # bytes that may wait for the disk
RETRY_INTERVAL = 1.0  # s
N_READ = 3  # files read at the start: the last one may be new, and RING events must be in them

logger = logging.getLogger(__name__)


@dataclass
class Journalled:
    """What a journal says of earlier processes.

    Attributes
    ----------
    seq : dict
        Source to the next `seq`, of this run.
    open : dict
        Id to the last event of what was open; of this run.
    left : dict
        The same, left open by earlier runs.
    recent : list of SentEvent
        The last `RING` events of this run, in order.
    """

    seq: dict[str, int] = field(default_factory=dict)
    open: dict[str, Event] = field(default_factory=dict)
    left: dict[str, Event] = field(default_factory=dict)
    recent: list[SentEvent] = field(default_factory=list)


class Journal:
    """The journal of one run in one folder.

    Nothing that is wrong with the disk is raised: publishing goes on without it, and `error`,
    `n_unsaved` and `n_lost` tell.

    Parameters
    ----------
    folder : Path
        Made if there is none.
    system_id : str
        Of the run.
    max_bytes : int
        Of all files together.
    wait : float
        Seconds to wait until another program has left the folder.

    Attributes
    ----------
    found : Journalled
        What was there.
    error : str or None
        Why events are not kept at the moment.
    n_lost : int
        Events that were not kept.

    Raises
    ------
    JournalTakenError
        If another program writes into the folder.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     journal = Journal(Path(folder), "a1")
    ...     print(journal.found.seq, journal.error)
    ...     journal.close()
    {} None
    """

    def __init__(
        self, folder: Path, system_id: str, *, max_bytes: int = MAX_BYTES, wait: float = 0.0
    ) -> None:
        self.folder = folder
        self.found = Journalled()
        self.error: str | None = None
        self.n_lost = 0
        self._system_id = system_id
        self._max_bytes = max_bytes
        self._waiting: deque[tuple[bytes, int]] = deque()  # lines, and how many events they are
        self._waiting_bytes = 0
        self._retry_at = 0.0
        self._lock: FolderLock | None = None
        self._file: FileIO | None = None
        self._length = 0  # of the file, up to its last whole line
        self._seq: dict[str, int] = {}
        self._open: dict[str, Event] = {}
        try:
            self._enter(wait)
            self.found = journalled(self._paths()[-N_READ:], system_id)
        except OSError as error:
            self._fail(error)
        self._seq = dict(self.found.seq)
        self._open = self.found.open | self.found.left
        self._put(self._state(), 0)

    @property
    def n_unsaved(self) -> int:
        """Events that wait for the disk."""
        return sum(n for _, n in self._waiting)

    def append(self, events: Iterable[Event]) -> list[SentEvent]:
        """Keep events, those of one call written at once; return what is to be sent of them."""
        kept = []
        for event in events:
            kept.append(SentEvent.of(event))
            self._seq[event.source] = event.seq + 1
            self._open.pop(event.id, None)
            if event.type != "end":
                self._open[event.id] = event
        if kept:
            self._put(b"".join(event.body + b"\n" for event in kept), len(kept))
        return kept

    def retry(self) -> None:
        """Write what waits for the disk, unless that was tried a moment ago."""
        if self.error is None or time.monotonic() >= self._retry_at:
            self._save()

    def close(self) -> None:
        """Close the journal and let go of its folder; what waits for the disk is lost."""
        self._leave()

    def _put(self, lines: bytes, n_events: int) -> None:
        self._waiting.append((lines, n_events))
        self._waiting_bytes += len(lines)
        if self._waiting_bytes > MAX_UNSAVED:
            self.n_lost += self.n_unsaved
            state = self._state()  # what was dropped is in it, as far as it matters
            self._waiting = deque([(state, 0)])
            self._waiting_bytes = len(state)
        self.retry()

    def _save(self) -> None:
        try:
            if self._file is not None and os.fstat(self._file.fileno()).st_nlink == 0:
                self._leave()  # somebody has removed it
            if self._file is None:
                self._enter()
                self._open_last()
            while self._waiting:
                self._write(self._waiting[0][0])
                lines, _ = self._waiting.popleft()
                self._waiting_bytes -= len(lines)
            if self._length >= self._max_bytes // N_FILES:
                self._rotate()
        except (OSError, JournalTakenError) as error:
            self._fail(error)
            return
        if self.error is not None:
            logger.warning("events are kept again in %s", self.folder)
            self.error = None

    def _fail(self, error: Exception) -> None:
        reason = reason_of(error)
        if self.error is None:
            logger.warning("events are published, but not kept in %s: %s", self.folder, reason)
        self.error = reason
        self._retry_at = time.monotonic() + RETRY_INTERVAL

    def _enter(self, wait: float = 0.0) -> None:
        if self._lock is None:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = FolderLock(self.folder, wait)

    def _leave(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._lock is not None:
            self._lock.close()
        self._file = self._lock = None

    def _paths(self) -> list[Path]:
        return [journal_file(self.folder, number) for number in journal_numbers(self.folder)]

    def _open_last(self) -> None:
        """Open the last file to write on, behind its last whole line."""
        path = max(self._paths(), default=journal_file(self.folder, 1))
        path.touch(0o600)
        self._file = FileIO(path, "r+b")
        self._length = _whole_length(self._file)

    def _write(self, lines: bytes) -> None:
        """Write whole lines or, where that fails, none."""
        assert self._file is not None
        self._file.truncate(self._length)  # what is left of a torn line
        self._file.seek(self._length)
        rest = memoryview(lines)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            with suppress(OSError):
                self._file.truncate(self._length)
            raise
        self._length += len(lines)

    def _rotate(self) -> None:
        """Remove the oldest files to make room, and begin a new one."""
        numbers = journal_numbers(self.folder)
        paths = [journal_file(self.folder, number) for number in numbers]
        sizes = [path.stat().st_size for path in paths]
        while len(paths) > 1 and sum(sizes) > self._max_bytes * (N_FILES - 1) // N_FILES:
            paths.pop(0).unlink()
            sizes.pop(0)
        old, length = self._file, self._length
        path = journal_file(self.folder, numbers[-1] + 1)
        path.touch(0o600)
        self._file, self._length = FileIO(path, "r+b"), 0
        try:
            self._write(self._state())
        except OSError:
            self._file.close()
            self._file, self._length = old, length
            path.unlink()
            raise
        if old is not None:
            old.close()

    def _state(self) -> bytes:
        state = {
            "schema": JOURNAL_SCHEMA,
            "system_id": self._system_id,
            "seq": self._seq,
            "open": [event.model_dump(mode="json", by_alias=True) for event in self._open.values()],
        }
        return json.dumps(state, separators=(",", ":")).encode() + b"\n"


def journal_file(folder: Path, number: int) -> Path:
    """Return the path of a file of a journal.

    Examples
    --------
    >>> journal_file(Path("journal"), 7).name
    'events-00000007.jsonl'
    """
    return folder / f"events-{number:08d}.jsonl"


def journal_numbers(folder: Path) -> list[int]:
    """Return the numbers of the files that a journal has, in order."""
    stems = (path.stem.partition("-")[2] for path in folder.glob("events-[0-9]*.jsonl"))
    return sorted(int(stem) for stem in stems if stem.isdecimal() and stem == f"{int(stem):08d}")


def claim_journal(folder: Path | None, endpoint: str | None, system_id: str) -> Journal:
    """Return the journal of a run.

    Parameters
    ----------
    folder : Path or None
        Where the user wants it, or where the publisher that is replaced had it. None: in the
        user's state folder, by the endpoint; a program that publishes there at the same time,
        on a port it was moved to, gets a folder beside it.
    endpoint : str or None
        As configured.
    system_id : str

    Raises
    ------
    JournalTakenError
        If another program has it.
    """
    if folder is not None:
        return Journal(folder, system_id, wait=LOCK_TIME)
    first = journal_folder(endpoint)
    for n in range(1, MAX_FOLDERS):
        with suppress(JournalTakenError):
            return Journal(first if n == 1 else first.with_name(f"{first.name}-{n}"), system_id)
    raise JournalTakenError(f"{first}: {MAX_FOLDERS} programs write journals; stop some of them")


def journalled(paths: Iterable[Path], system_id: str) -> Journalled:
    """Return what the last files of a journal say, for a process of the run `system_id`.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    seq: dict[tuple[str, str], int] = {}  # run and source
    opened: dict[str, bytes] = {}  # id -> event
    recent: deque[SentEvent] = deque(maxlen=RING)
    for path in paths:
        with path.open("rb") as file:
            for line in file:
                try:
                    _follow(json.loads(line), line, system_id, seq, opened, recent)
                except (ValueError, KeyError, TypeError, AttributeError):
                    continue  # torn, or not ours
    found = Journalled({source: n for (run, source), n in seq.items() if run == system_id})
    for id_, line in opened.items():
        with suppress(ValueError):
            event = Event.model_validate_json(line)
            (found.open if event.system_id == system_id else found.left)[id_] = event
    found.recent = list(recent)
    return found


def _follow(
    record: dict[str, Any],
    line: bytes,
    system_id: str,
    seq: dict[tuple[str, str], int],
    opened: dict[str, bytes],
    recent: deque[SentEvent],
) -> None:
    """Take in a line of a journal."""
    run = str(record["system_id"])
    if record["schema"] == JOURNAL_SCHEMA:
        seq.clear()
        seq.update({(run, str(source)): int(n) for source, n in record["seq"].items()})
        opened.clear()
        opened.update({str(event["id"]): json.dumps(event).encode() for event in record["open"]})
    elif record["schema"] == SCHEMA:
        place = (run, str(record["source"]))
        if run == system_id:
            recent.append(SentEvent.kept(line, record))
        if int(record["seq"]) < seq.get(place, 0):
            return  # written late, after a full disk: the state before it knows more
        seq[place] = int(record["seq"]) + 1
        opened.pop(str(record["id"]), None)
        if record["type"] != "end":
            opened[str(record["id"])] = line


def _whole_length(file: FileIO) -> int:
    """Return the length of a file up to the end of its last whole line."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - (1 << 16))
        file.seek(start)
        if (place := file.read(end - start).rfind(b"\n")) >= 0:
            return start + place + 1
        end = start
    return 0
