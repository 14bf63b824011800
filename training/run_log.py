"""The numbers of a training run, for people to look at: TensorBoard, or a CSV file without it."""

import csv
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class RunLog:
    """Numbers by name and step, in TensorBoard's folder `<path>.log`, or else in `<path>.csv`.

    A log that cannot be written is said once and no error: the weights are what counts.

    Parameters
    ----------
    path : Path
        Without a suffix.
    step : int
        Of a run that goes on: what was logged beyond it is dropped.
    """

    def __init__(self, path: Path, step: int) -> None:
        self._rows: Path | None = None
        self._board: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._rows = path.with_name(path.name + ".csv")
            print(f"no TensorBoard (pip install tensorboard): see {self._rows}", file=sys.stderr)
            self._attempt(lambda: self._keep(step))
        else:
            place = path.with_name(path.name + ".log")
            self._attempt(lambda: self._open(SummaryWriter, place, step))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers of a step."""
        self._attempt(lambda: self._write(step, values))

    def close(self) -> None:
        """Write what is left."""
        if self._board is not None:
            self._attempt(self._board.close)

    def _open(self, writer: Any, place: Path, step: int) -> None:
        self._board = writer(place, purge_step=step + 1, flush_secs=30)

    def _write(self, step: int, values: Mapping[str, float]) -> None:
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
        elif self._rows is not None:
            with self._rows.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows((step, name, value) for name, value in values.items())

    def _keep(self, step: int) -> None:
        """Begin the file, with the rows up to a step that are there already."""
        assert self._rows is not None
        rows = []
        if step and self._rows.is_file():
            with self._rows.open(newline="", encoding="utf-8", errors="replace") as file:
                rows = [r for r in csv.reader(file) if r[0].isdecimal() and int(r[0]) <= step]
        with self._rows.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("step", "name", "value"), *rows])

    def _attempt(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            self._board = self._rows = None
            print(f"the log of the run ends here: {error.strerror}", file=sys.stderr)
