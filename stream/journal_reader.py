r"""Reading the journal from a place in it, while another process writes it: the queue of the sinks.

In: the folder of a journal and a position. Out: events in order, each once.

What each event is followed by is known from its run, its source and its `seq`, so a reader can go
back in the journal whenever it is unsure, without reading anything twice:

* Lines that the writer took back, because the disk was full in the middle of several, come again.
* A journal that was removed and begun anew, or that lost its end with the power, is read from its
  oldest file on.
* A journal that dropped what had not been read yet shows a gap in `seq`: it is counted. (Of earlier
  runs of the program that are gone as a whole nobody knows how many events they had.)

Only whole lines are read. What is no event, such as the lines of state, is skipped.
"""

import json
import os
import time
import zlib
from collections import deque
from io import FileIO
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from .events import Event
from .journal import JOURNAL_SCHEMA, journal_file, journal_numbers

CHUNK = 1 << 18  # bytes read at once
TAIL = 2048  # bytes before a position by which its file is known again: an event or two
MAX_RUNS = 8  # runs of the program whose `seq` are remembered
SETTLED = 1.0  # s; a folder that changed a moment ago may change again at the same time stamp


class Position(BaseModel):
    """A place in a journal, between two lines; by default before the oldest.

    Attributes
    ----------
    file, offset : int
        Number of the file, and bytes of it that have been read; file 0 is before all others.
    check : int
        CRC-32 of the last bytes that have been read, at most `TAIL`.
    seen : dict
        Run to source to the next `seq`.
    """

    model_config = ConfigDict(frozen=True)

    file: int = Field(default=0, ge=0)
    offset: int = Field(default=0, ge=0)
    check: int = 0
    seen: dict[str, dict[str, int]] = {}


class JournalReader:
    """Read a journal from a position on.

    Parameters
    ----------
    folder : Path
        Of the journal; it may come later.
    position : Position
        Of what has been read before.

    Attributes
    ----------
    lost : int
        Events that were gone before they could be read, since this reader began.

    Examples
    --------
    >>> reader = JournalReader(Path("no such folder"), Position())
    >>> reader.read(), reader.lost
    ([], 0)
    """

    def __init__(self, folder: Path, position: Position) -> None:
        self._folder = folder
        self.lost = 0
        self._seen = {run: dict(seqs) for run, seqs in position.seen.items()}
        self._number, self._offset = position.file, position.offset
        self._tail = b""  # the last bytes before the offset
        self._lines: deque[bytes] = deque()  # behind the offset
        self._file: FileIO | None = None
        self._numbers: list[int] = []  # of the files that there are
        self._listed: int | None = None  # time stamp of the folder when it was listed
        try:
            self._file = FileIO(journal_file(folder, position.file))
            self._file.seek(max(0, self._offset - TAIL))
            self._tail = self._file.read(min(self._offset, TAIL))
            is_known = len(self._tail) == min(self._offset, TAIL)
            is_known = is_known and zlib.crc32(self._tail) == position.check
        except FileNotFoundError:
            is_known = False
        if not is_known:
            self._restart()

    @property
    def position(self) -> Position:
        """Behind the last event that was returned."""
        seen = {run: dict(seqs) for run, seqs in self._seen.items()}
        check = zlib.crc32(self._tail)
        return Position(file=self._number, offset=self._offset, check=check, seen=seen)

    def read(self, most: int = 500) -> list[Event]:
        """Return the next events, none if there are no more at the moment.

        Raises
        ------
        OSError
            If a file cannot be read.
        """
        events: list[Event] = []
        while len(events) < most and (self._lines or self._fetch()):
            line = self._lines.popleft()
            self._offset += len(line)
            self._tail = (self._tail + line)[-TAIL:]
            event = self._take(line)
            if event is not None:
                events.append(event)
        return events

    def close(self) -> None:
        """Close the file that is being read."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _fetch(self) -> bool:
        """Read further lines; return whether there are any."""
        while self._file is not None or self._open_next():
            assert self._file is not None
            is_full = self._is_followed()  # asked first: what is followed grows no more
            status = os.fstat(self._file.fileno())
            if status.st_size < self._offset:  # taken back
                self._offset, self._tail = 0, b""
            elif status.st_size > self._offset and self._read_lines(status.st_size):
                return True
            elif is_full or status.st_nlink == 0:
                self.close()
            else:
                return False
        return False

    def _read_lines(self, size: int) -> bool:
        """Read lines behind the offset; return False if there is no whole one."""
        assert self._file is not None
        known, n_bytes = len(self._tail), CHUNK
        while True:
            self._file.seek(self._offset - known)
            read = self._file.read(known + n_bytes)
            if read[:known] != self._tail:  # taken back, and something else in its place
                self._offset, self._tail = 0, b""
                return self._read_lines(size)
            end = read.rfind(b"\n", known) + 1
            if end:
                self._lines.extend(read[known:end].splitlines(keepends=True))
                return True
            if self._offset + n_bytes >= size:
                return False
            n_bytes *= 2

    def _open_next(self) -> bool:
        """Open the file after the last one; return whether there is one."""
        self._is_followed()
        further = [number for number in self._numbers if number > self._number]
        if not further:  # the last one was removed
            self._number, further = 0, self._numbers
        for number in further:
            try:
                self._file = FileIO(journal_file(self._folder, number))
            except FileNotFoundError:
                continue
            self._number, self._offset, self._tail = number, 0, b""
            return True
        return False

    def _restart(self) -> None:
        self.close()
        self._number, self._offset, self._tail = 0, 0, b""

    def _is_followed(self) -> bool:
        """Return whether there is a file after this one that something was written to."""
        try:
            changed = self._folder.stat().st_mtime_ns
        except FileNotFoundError:
            self._numbers, self._listed = [], None
            return False
        if changed != self._listed:
            is_settled = abs(time.time() - changed / 1e9) > SETTLED
            self._listed = changed if is_settled else None
            self._numbers = journal_numbers(self._folder)
        return any(n > self._number and _size(self._folder, n) for n in self._numbers)

    def _take(self, line: bytes) -> Event | None:
        """Return the event of a line, None if there is none or it is known."""
        try:
            event = Event.model_validate_json(line)
        except ValueError:
            self._take_state(line)
            return None
        if not self._seen:  # what went before the first is not missing
            self._seen[event.system_id] = {event.source: event.seq}
        is_new = self._reach(event.system_id, event.source, event.seq)
        if is_new:
            self._seen[event.system_id][event.source] = event.seq + 1
        return event if is_new else None

    def _take_state(self, line: bytes) -> None:
        """Learn from a line of state which events went before it."""
        try:
            state: dict[str, Any] = json.loads(line)
            if state["schema"] != JOURNAL_SCHEMA:
                return
            run = str(state["system_id"])
            seqs = {str(source): int(seq) for source, seq in state["seq"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            return  # not ours
        if not self._seen:
            self._seen[run] = seqs
        for source, seq in seqs.items():
            self._reach(run, source, seq)

    def _reach(self, run: str, source: str, seq: int) -> bool:
        """Go on to `seq`, counting what is missing before it; return False if it is behind."""
        if run not in self._seen:
            self._seen[run] = {}
            while len(self._seen) > MAX_RUNS:
                del self._seen[next(iter(self._seen))]
        expected = self._seen[run].get(source, 0)
        self.lost += max(0, seq - expected)
        self._seen[run][source] = max(seq, expected)
        return seq >= expected


def beginning(folder: Path, run: str) -> Position:
    """Return the position before the first line that a run wrote; the end if it wrote none."""
    mark = f'"system_id":"{run}"'.encode()
    best: Position | None = None
    for number in reversed(journal_numbers(folder)):
        tail, offset = b"", 0
        with journal_file(folder, number).open("rb") as file:
            for line in file:
                if mark in line or not line.endswith(b"\n"):
                    break
                offset += len(line)
                tail = (tail + line)[-TAIL:]
            else:
                line = b""
        here = Position(file=number, offset=offset, check=zlib.crc32(tail), seen={run: {}})
        if mark in line or best is None:
            best = here
        if mark not in line or offset > 0:
            break
    return best or Position(seen={run: {}})


def bytes_behind(folder: Path, position: Position) -> int:
    """Return how many bytes a journal holds behind a position.

    Examples
    --------
    >>> bytes_behind(Path("no such folder"), Position())
    0
    """
    numbers = journal_numbers(folder)
    first = position.file if position.file <= max(numbers, default=0) else 0
    sizes = {number: _size(folder, number) for number in numbers if number >= first}
    return max(0, sum(sizes.values()) - (position.offset if position.file in sizes else 0))


def _size(folder: Path, number: int) -> int:
    try:
        return journal_file(folder, number).stat().st_size
    except FileNotFoundError:
        return 0
