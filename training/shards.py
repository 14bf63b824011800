"""Arrays by name in a few large files, written whole or not at all, read as memory maps.

===========================  ================  ================================================
file                         array             what
===========================  ================  ================================================
`<name>.json`                -                 which array lies where, its stamp and its sum
`<name>-<n>.npy`             float16 (n,)      many arrays, one after the other
===========================  ================  ================================================

A killed run loses at most the last `FLUSH_AFTER` seconds of work.
"""

import json
import os
import re
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .clips import ClipError

Array = NDArray[np.float16]

FORMAT = 1
SHARD_BYTES = 64 << 20
FLUSH_AFTER = 20.0  # s

_NAME = re.compile(r"\d{1,9}")  # what follows the store's name in that of a file


class Shards:
    """Arrays by name, each with a stamp and a note, in few large files.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    name : str
        First part of the files' names.

    Notes
    -----
    What cannot be read (another format, a truncated or changed file) counts as not there.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        folder.mkdir(parents=True, exist_ok=True)
        self._maps: dict[str, Array] = {}
        self._new: dict[str, tuple[Array, dict[str, Any]]] = {}
        self._flushed = time.monotonic()
        self._entries = {
            key: entry for key, entry in self._read_index().items() if self._is_whole(entry)
        }

    def get(self, key: str, stamp: object) -> tuple[Array, dict[str, Any]] | None:
        """Return an array and its note, or None if it is not there with this stamp."""
        if key in self._new:
            array, entry = self._new[key]
        elif (entry := self._entries.get(key, {})) and entry["stamp"] == stamp:
            array = self._array(entry)
        else:
            return None
        return (array, entry["note"]) if entry["stamp"] == stamp else None

    def put(self, key: str, stamp: object, array: Array, note: dict[str, Any]) -> None:
        """Keep an array; it is on disk after the next `flush`, which now and then comes by itself.

        Raises
        ------
        ClipError
            If the disk is full or cannot be written: one line.
        """
        self._new[key] = (array, {"stamp": stamp, "note": note})
        waiting = sum(item.nbytes for item, _ in self._new.values())
        if waiting >= SHARD_BYTES or time.monotonic() - self._flushed > FLUSH_AFTER:
            self.flush()

    def flush(self) -> None:
        """Write what is new. A last file that is not full yet is written anew, with it.

        Raises
        ------
        ClipError
            If the disk is full or cannot be written: one line.
        """
        if not self._new:
            return
        arrays = {key: self._array(entry) for key, entry in self._of_last().items()}
        notes = {**self._entries, **{key: entry for key, (_, entry) in self._new.items()}}
        arrays |= {key: array for key, (array, _) in self._new.items()}
        old = {entry["shard"] for entry in self._entries.values()}
        shard = f"{self.name}-{1 + max(map(_number, old), default=-1)}"
        first = 0
        entries = dict(self._entries)
        for key, array in arrays.items():
            entries[key] = {
                "shard": shard,
                "first": first,
                "shape": list(array.shape),
                "crc": _crc(array),
                "stamp": notes[key]["stamp"],
                "note": notes[key]["note"],
            }
            first += array.size
        joined = np.concatenate([np.ravel(array) for array in arrays.values()], dtype=np.float16)
        try:
            with _whole(self.folder / f"{shard}.npy") as file:
                np.save(file, joined)
            with _whole(self.folder / f"{self.name}.json") as file:
                file.write(json.dumps({"format": FORMAT, "arrays": entries}).encode())
            for gone in old - {entry["shard"] for entry in entries.values()}:
                (self.folder / f"{gone}.npy").unlink(missing_ok=True)
        except OSError as error:
            raise ClipError(
                f"{self.folder}: cannot write {joined.nbytes / 1e6:.0f} MB "
                f"({error.strerror}); make room, the same command goes on from there"
            ) from None
        self._entries, self._new = entries, {}
        self._flushed = time.monotonic()

    def _of_last(self) -> dict[str, dict[str, Any]]:
        """Return the entries of the last file, if there is room in it."""
        if not self._entries:
            return {}
        last = max((entry["shard"] for entry in self._entries.values()), key=_number)
        found = {
            key: entry
            for key, entry in self._entries.items()
            if entry["shard"] == last and key not in self._new
        }
        n_bytes = sum(2 * int(np.prod(entry["shape"])) for entry in found.values())
        return found if n_bytes < SHARD_BYTES / 2 else {}

    def _read_index(self) -> dict[str, dict[str, Any]]:
        try:
            index = json.loads((self.folder / f"{self.name}.json").read_text(encoding="utf-8"))
            return dict(index["arrays"]) if index["format"] == FORMAT else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _is_whole(self, entry: Any) -> bool:
        try:
            numbers = [entry["first"], *entry["shape"]]
            if not (
                _NAME.fullmatch(entry["shard"].removeprefix(f"{self.name}-"))
                and entry["shard"].startswith(f"{self.name}-")
                and all(type(number) is int and number >= 0 for number in numbers)
                and isinstance(entry["note"], dict)
                and "stamp" in entry
            ):
                return False
            return bool(_crc(self._array(entry)) == entry["crc"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError):
            return False

    def _array(self, entry: Mapping[str, Any]) -> Array:
        shard, first, shape = entry["shard"], entry["first"], tuple(entry["shape"])
        if shard not in self._maps:
            found = np.load(self.folder / f"{shard}.npy", mmap_mode="r", allow_pickle=False)
            if found.ndim != 1 or found.dtype != np.float16:
                raise ValueError(f"{shard}: not scores")
            self._maps[shard] = found
        array: Array = self._maps[shard][first : first + int(np.prod(shape))].reshape(shape)
        return array


def _number(shard: str) -> int:
    return int(shard.rpartition("-")[2])


def _crc(array: Array) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data)


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """Give a file to write to that takes the place of `path` when all of it is on the disk."""
    part = path.with_name(f"{path.name}.part")  # no other name: a kill leaves one at most
    with part.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
