"""Marks: how far each source is (steps, `seq`), kept where a process that is killed leaves it.

One line of JSON a source, always `LINE` bytes long at the same place of the file, overwritten in
place: a line lies within one page, so the kernel takes it as a whole or not at all, and a disk that
is full since still has room for it.
"""

import contextlib
import json
from io import FileIO
from pathlib import Path
from typing import Any

LINE = 512  # bytes; divides a page


class Marks:
    r"""The marks of one run.

    Parameters
    ----------
    path : Path
        Of the file; what another run has left in it is removed.
    system_id : str
        Of the run.

    Attributes
    ----------
    found : dict
        Source to its last mark, of a killed process of the same run.
    """

    def __init__(self, path: Path, system_id: str) -> None:
        self._system_id = system_id
        self._places: dict[str, int] = {}
        self.found: dict[str, dict[str, Any]] = {}
        self._file: FileIO | None = None
        with contextlib.suppress(OSError):
            path.touch(0o600)
            self._file = FileIO(path, "r+b")
            self._read(self._file)

    def set(self, source: str, mark: dict[str, Any]) -> bool:
        """Write the mark of a source; return whether it is kept."""
        if self._file is None:
            return False
        text = json.dumps({"run": self._system_id, "source": source, **mark}).encode()
        if len(text) >= LINE:
            return False
        place = self._places.setdefault(source, max(self._places.values(), default=-1) + 1)
        try:
            self._file.seek(place * LINE)
            return self._file.write(text.ljust(LINE - 1) + b"\n") == LINE
        except OSError:
            return False

    def close(self) -> None:
        """Close the file; more calls do nothing."""
        if self._file is not None:
            self._file.close()

    def _read(self, file: FileIO) -> None:
        for place, line in enumerate(file.read().split(b"\n")):
            try:
                mark = json.loads(line)
                if mark.pop("run") == self._system_id:
                    source = str(mark.pop("source"))
                    self._places[source], self.found[source] = place, mark
            except (ValueError, KeyError, AttributeError):
                continue
        if not self.found:
            file.truncate(0)
