"""The sink into JSON Lines: a file that is rotated; each event is a line of it, once.

How long the file was when the position was saved is kept with the position: after a kill, what was
written since is cut off and written again.

* A full file gets the UTC time into its name (`events-20261121T103625.123Z.jsonl`), the oldest ones
  are removed. Other programs may rename, remove or truncate the file as well.
* A disk that is full leaves no torn line: what did not fit is taken back, and tried again.
* Nothing waits for the disk itself (fsync) until a file is full: a power failure may take the last
  seconds. Files may be read by the group (0640).
"""

import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import FileIO
from pathlib import Path

from pydantic import BaseModel

from .events import Event
from .journal_reader import Position
from .output_config import JsonLinesConfig
from .sink import SinkError
from .sink_cursor import load_cursor, save_cursor
from .status import Status

if sys.platform != "win32":
    import fcntl

MODE = 0o640


class _Kept(BaseModel):
    """What is saved: the position, and the file (device, inode) with its length."""

    position: Position
    file: tuple[int, int] | None = None
    length: int = 0


class JsonLinesSink:
    """Events into a file.

    Parameters
    ----------
    config : JsonLinesConfig
    cursor : Path
        File of the position.
    start : callable
        Returns the position to start from where there is none.
    """

    name = "jsonl"
    most = 500

    def __init__(
        self, config: JsonLinesConfig, cursor: Path, start: Callable[[], Position] = Position
    ) -> None:
        self._config, self._path, self._cursor = config, config.path, cursor
        self._file: FileIO | None = None
        kept = load_cursor(cursor, _Kept)
        if kept is None:
            kept = _Kept(position=start())
            save_cursor(cursor, kept)
        self._kept = kept

    def position(self) -> Position:
        """Return the position behind the last line."""
        return self._kept.position

    def take(self, events: Sequence[Event], position: Position) -> None:
        """Write the lines of events, and the position; neither if that fails."""
        file = self._opened()
        lines = b"".join(event.model_dump_json(by_alias=True).encode() + b"\n" for event in events)
        before = self._kept
        try:
            _write(file, lines, before.length)
            kept = _Kept(position=position, file=before.file, length=before.length + len(lines))
            save_cursor(self._cursor, kept)
        except (OSError, SinkError) as error:
            with suppress(OSError):
                file.truncate(before.length)
            raise self._error(error) from None
        self._kept = kept

    def note(self, status: Status) -> None:
        """Statuses are not written."""

    def turn(self) -> None:
        """Begin a new file when this one is full."""
        if self._file is None or self._kept.length < self._config.rotate_mb * 1e6:
            return
        try:
            os.fsync(self._file.fileno())
            if _identity(self._path.stat()) == self._kept.file:
                self._path.rename(self._full_path())
            self.close()
            full = self._full_paths()
            for path in full[: max(0, len(full) - self._config.keep)]:
                path.unlink()
        except FileNotFoundError:
            self.close()  # somebody else was faster
        except OSError as error:
            raise self._error(error) from None

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _opened(self) -> FileIO:
        """Return the file, opened if it is not, or not any more, the one of this path."""
        try:
            if self._file is not None:
                if _identity(self._path.stat()) == self._kept.file:
                    size = os.fstat(self._file.fileno()).st_size
                    if size != self._kept.length:  # others write to it as well
                        self._kept = self._kept.model_copy(update={"length": size})
                    return self._file
                self.close()
        except FileNotFoundError:
            self.close()
        except OSError as error:
            raise self._error(error) from None
        try:
            self._open()
        except OSError as error:
            self.close()
            raise self._error(error) from None
        assert self._file is not None
        return self._file

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._file = FileIO(os.open(self._path, flags, MODE), "r+b")
        _lock(self._file)
        status = os.fstat(self._file.fileno())
        length = status.st_size
        if _identity(status) == self._kept.file and length > self._kept.length:
            length = self._kept.length
            self._file.truncate(length)  # written by a process that was killed before it said so
        elif length > 0:
            self._file.seek(length - 1)
            if self._file.read(1) != b"\n":
                _write(self._file, b"\n", length)  # torn, by whomever
                length += 1
        kept = _Kept(position=self._kept.position, file=_identity(status), length=length)
        save_cursor(self._cursor, kept)
        self._kept = kept

    def _full_path(self) -> Path:
        """Return a new name for a full file."""
        end = datetime.now(UTC)
        while True:
            time = f"{end:%Y%m%dT%H%M%S}.{end.microsecond // 1000:03d}Z"
            path = self._path.with_name(f"{self._path.stem}-{time}{self._path.suffix}")
            if not path.exists():
                return path
            end += timedelta(milliseconds=1)

    def _full_paths(self) -> list[Path]:
        """Return the full files, oldest first."""
        stem, suffix = re.escape(self._path.stem), re.escape(self._path.suffix)
        pattern = re.compile(rf"{stem}-\d{{8}}T\d{{6}}\.\d{{3}}Z{suffix}")
        return sorted(p for p in self._path.parent.iterdir() if pattern.fullmatch(p.name))

    def _error(self, error: Exception) -> SinkError:
        reason = getattr(error, "strerror", None)
        return SinkError(f"{self._path}: {reason}" if reason else str(error))


def _write(file: FileIO, lines: bytes, place: int) -> None:
    """Write lines at a place, and cut off what is behind them."""
    file.seek(place)
    rest = memoryview(lines)
    while rest:
        rest = rest[file.write(rest) :]
    file.truncate(place + len(lines))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _lock(file: FileIO) -> None:
    """Keep other programs of ours out of a file; it holds until the file is closed."""
    if sys.platform != "win32":
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(
                0, "another playspot writes to it; set jsonl.path to another file"
            ) from None
