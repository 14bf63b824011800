"""Playing maps of a whole file, on disk: written step by step, read back when the video is drawn.

In: maps (K, H, W) in [0, 1], one a step. Out: the maps of the labels that had any activity. An hour
of them would be 70 MB and more in memory; here they lie in a temporary file without a name, which
the system removes when it is closed or the process ends, in whatever way.
"""

import struct
import tempfile
from array import array
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .jsonl import output_error

HalfMap = NDArray[np.float16]  # (H, W)

FLOOR = 0.1  # labels that stay below this in a step are not kept for it
_HEADER = struct.Struct("<HHH")  # number of labels, H, W


class MapSpool:
    """The playing maps of one source.

    Parameters
    ----------
    labels : sequence of str
        The axis K of the maps.
    folder : Path, optional
        Where the temporary file lies; the system's folder for them if not given (which may be in
        memory: the output folder is the better choice).
    floor : float
        A label whose map stays below this in a step is left out of it.

    Raises
    ------
    OutputError
        If the file cannot be made, or the disk is full.

    Examples
    --------
    >>> with MapSpool(["drum", "piano"]) as spool:
    ...     spool.append(0, np.array([[[0.5, 0.25]], [[0.0, 0.0]]]))
    ...     spool.read(0)
    {'drum': array([[0.5 , 0.25]], dtype=float16)}
    """

    def __init__(
        self, labels: Sequence[str], *, folder: Path | None = None, floor: float = FLOOR
    ) -> None:
        self._labels = tuple(labels)
        self._floor = floor
        self._starts = array("q")  # of each step's record; -1: none
        self._folder = folder or Path(tempfile.gettempdir())
        self._length = 0
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        except OSError as error:
            raise output_error(self._folder, error) from None

    def append(self, step: int, maps: NDArray[np.floating[Any]] | None) -> None:
        """Keep the maps of a step.

        Parameters
        ----------
        step : int
            Later than the one before; steps may be left out.
        maps : floating, shape (K, H, W), or None
            None, and maps of a single cell (sound alone), hold no place and are not kept.

        Raises
        ------
        ValueError
            If `step` is not later than the last one.
        OutputError
            If the disk is full.
        """
        if step < len(self._starts):
            raise ValueError(f"step {step} comes after step {len(self._starts) - 1}")
        self._starts.extend([-1] * (step - len(self._starts)))
        if maps is None or maps.shape[1] * maps.shape[2] <= 1:
            self._starts.append(-1)
            return
        kept = [k for k, scores in enumerate(maps) if float(scores.max()) >= self._floor]
        record = _HEADER.pack(len(kept), *maps.shape[1:])
        record += np.array(kept, np.uint16).tobytes()
        record += maps[kept].astype(np.float16).tobytes()  # (n, H, W)
        try:
            self._file.seek(self._length)
            self._file.write(record)
        except OSError as error:
            raise output_error(self._folder, error) from None
        self._starts.append(self._length)
        self._length += len(record)

    def read(self, step: int) -> dict[str, HalfMap]:
        """Return the maps of a step by label; none for a step that has none."""
        if not 0 <= step < len(self._starts) or self._starts[step] < 0:
            return {}
        self._file.seek(self._starts[step])
        n, height, width = _HEADER.unpack(self._file.read(_HEADER.size))
        kept = np.frombuffer(self._file.read(2 * n), np.uint16)
        maps = np.frombuffer(self._file.read(2 * n * height * width), np.float16)
        cube = maps.reshape(n, height, width)
        return {self._labels[k]: cube[i] for i, k in enumerate(kept.tolist())}

    def close(self) -> None:
        """Remove the file; more calls do nothing."""
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
