"""Records to a file of JSON Lines, one at a time, so that another program can follow it.

In: pydantic records or dictionaries. Out: UTF-8, one JSON object a line, each line on its way to
the disk before the next one begins.
"""

import errno
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from .one_line import reason_of, shown_path


class OutputError(ValueError):
    """An output that cannot be written; the message is one line for the user."""


def output_error(path: Path, error: Exception) -> OutputError:
    """Return the error for the user when a file or folder cannot be written."""
    known = {
        errno.EACCES: "change its permissions, or choose another with --out",
        errno.EPERM: "change its permissions, or choose another with --out",
        errno.ENOSPC: "the disk is full: free some space",
        errno.EDQUOT: "the disk quota is used up: free some space",
        errno.EROFS: "the file system is read-only: choose another folder with --out",
        errno.ENOTDIR: "a part of the path is a file: choose another folder with --out",
        errno.EEXIST: "it is a file: choose another folder with --out",
        errno.ENAMETOOLONG: "the name is too long: rename the file",
        errno.EISDIR: "there is a folder of this name: move it away, or choose another with --out",
    }
    number = getattr(error, "errno", None) or 0
    advice = known.get(number, "try again, or choose another folder with --out")
    return OutputError(f"{shown_path(path)}: cannot be written ({reason_of(error)}); {advice}.")


def check_writable(folder: Path) -> None:
    """Make a folder if there is none, and see that files can be written into it.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    OutputError
        If it cannot be made or written into; so that this is known before long work begins.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     check_writable(Path(folder) / "a" / "b")
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\n")
            file.flush()
    except OSError as error:
        raise output_error(folder, error) from None


class JsonLines:
    r"""A file of JSON Lines that is being written.

    A line is in the file as a whole or not at all: where the disk is full in the middle of one, it
    is taken back.

    Parameters
    ----------
    path : Path
        What was there before is replaced.

    Attributes
    ----------
    n_lines : int
        Written so far.

    Raises
    ------
    OutputError
        If the file cannot be written, on opening or later.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "events.jsonl"
    ...     with JsonLines(path) as lines:
    ...         lines.write({"label": "violin"})
    ...     path.read_text()
    '{"label":"violin"}\n'
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.n_lines = 0
        self._length = 0
        try:
            self._file = path.open("wb", buffering=0)
        except (OSError, ValueError) as error:
            raise output_error(path, error) from None

    def write(self, record: BaseModel | Mapping[str, Any]) -> None:
        """Write one record as one line.

        Parameters
        ----------
        record : BaseModel or mapping
            Records by their aliases (`schema`, not `schema_`); numbers must be finite.
        """
        try:
            text = record.model_dump_json(by_alias=True) if isinstance(record, BaseModel) else None
        except PydanticSerializationError:
            text = None
        if text is None:
            plain = record.model_dump(by_alias=True) if isinstance(record, BaseModel) else record
            text = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        # A file name that is not valid text comes with lone surrogates, which UTF-8 does not have.
        line = text.encode("utf-8", "backslashreplace") + b"\n"
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._take_back()
            raise output_error(self.path, error) from None
        self._length += len(line)
        self.n_lines += 1

    def close(self) -> None:
        """Close the file; more calls do nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._file.fileno(), self._length)
            self._file.seek(self._length)
        except OSError:
            self.close()  # rather no further line than one after half a line
