"""Features of clips, computed once: each clip becomes a folder of memory-mapped arrays.

====================  =============================  ==========================================
file                  array                          what
====================  =============================  ==========================================
`pictures.npy`        uint8 (N, H, W, 3)             the picture of each step, RGB
`flows.npy`           float16 (4 N + 1, 2, H, W)     flow of each tick from -2 on, pixels per tick
`log_mel.npy`         float16 (384, T)               three-scale log-mel
`source.json`         -                              size and time of the file, format of the cache
====================  =============================  ==========================================

A clip without sound has no `log_mel.npy`, a sound no pictures and flows, a still picture no flows.
Neighbouring flow stacks share a flow, so flows are stored once and a stack is a view: stack k is
`flows[4 k : 4 k + 5]`. The numbers come from `playspot.stream.features`: what a network is trained
on is what it will see.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..stream.one_line import reason_of
from ..stream.timeline import COLUMNS_PER_STEP, FLOWS_PER_STACK, TICKS_PER_STEP
from .clips import Clip, ClipError
from .media_files import VIDEO_SUFFIXES, is_picture, length_of
from .processes import Failure, in_processes
from .stills import read_still

CACHE_FORMAT = 1  # raise it when features change
SECONDS_PER_CLIP, SECONDS_PER_MB = 600.0, 2.0  # after which a decoder is taken to hang
LONGEST_VIDEO = 1800.0  # s at once: a minute takes 0.3 GB of memory
DISK_IS_FULL = "no space left"

Progress = Callable[[int, int], None]  # (done, total)
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class CachedClip:
    """A clip whose features lie on disk.

    Attributes
    ----------
    clip : Clip
    folder : Path
        Where the arrays are.
    """

    clip: Clip
    folder: Path

    @cached_property
    def has_pictures(self) -> bool:
        """Whether there are pictures."""
        return (self.folder / "pictures.npy").is_file()

    @cached_property
    def has_flows(self) -> bool:
        """Whether the pictures move: not of a sound or a still picture."""
        return (self.folder / "flows.npy").is_file()

    @cached_property
    def has_sound(self) -> bool:
        """Whether there is sound."""
        return (self.folder / "log_mel.npy").is_file()

    @cached_property
    def pictures(self) -> NDArray[np.uint8]:
        """Pictures of all steps, uint8 (N, H, W, 3)."""
        return self._array("pictures")

    @cached_property
    def flows(self) -> NDArray[np.float16]:
        """Flows from tick -2 on, float16 (4 N + 1, 2, H, W)."""
        return self._array("flows")

    @cached_property
    def log_mel(self) -> NDArray[np.float16]:
        """Log-mel, float16 (384, T)."""
        return self._array("log_mel")

    @property
    def n_steps(self) -> int:
        """How many steps have a picture, or sound if there is no picture."""
        if self.has_pictures:
            return len(self.pictures)
        return max(1, -(-(int(self.log_mel.shape[1]) - 1) // COLUMNS_PER_STEP))

    def stack(self, step: int) -> NDArray[np.float16]:
        """Return the flow stack of a step, float16 (10, H, W): x and y, oldest first."""
        first = TICKS_PER_STEP * step
        flows = self.flows[first : first + FLOWS_PER_STACK]  # (5, 2, H, W)
        return flows.reshape(-1, *flows.shape[2:])  # (10, H, W)

    def _array(self, name: str) -> NDArray[Any]:
        path = self.folder / f"{name}.npy"
        try:
            return cast(NDArray[Any], np.load(path, mmap_mode="r", allow_pickle=False))
        except (ValueError, EOFError):
            raise ClipError(
                f"{path}: damaged; remove the folder {self.folder}, and it is computed again"
            ) from None


def compute_features(clip: Clip) -> Arrays:
    """Return the arrays of one clip as in the module's table, those that it has.

    Raises
    ------
    ValueError
        If the clip cannot be decoded, is a video of more than half an hour, or nothing of it is
        there.
    """
    from ..stream.features import features  # here: decoding is not needed to read a cache

    if is_picture(clip.path):
        return {"pictures": read_still(clip.path)[None]}
    if clip.path.suffix.lower() in VIDEO_SUFFIXES:
        end = length_of(clip.path) if clip.end is None else clip.end
        if end is not None and end - clip.start > LONGEST_VIDEO:
            raise ClipError(
                f"{clip.path.name}: {(end - clip.start) / 60:.0f} minutes of video at once do not "
                f"fit the memory; cut it into parts of at most {LONGEST_VIDEO / 60:.0f}"
            )
    found = features(clip.path, start=clip.start, end=clip.end, has_windows=False)
    if found.n_steps == 0:
        raise ClipError(f"{clip.name}: nothing in this part of the recording")
    arrays: Arrays = {}
    if found.pictures is not None:
        arrays["pictures"] = np.asarray(found.pictures, np.uint8)
        if found.stacks is not None:
            arrays["flows"] = _joined(found.stacks)
    if found.log_mel is not None:
        arrays["log_mel"] = np.asarray(found.log_mel, np.float16)
    if not arrays:
        raise ClipError(f"{clip.name}: neither picture nor sound in it")
    return arrays


def _joined(stacks: NDArray[np.float32]) -> NDArray[np.float16]:
    height, width = stacks.shape[2:]
    flows = np.empty((TICKS_PER_STEP * len(stacks) + 1, 2, height, width), np.float16)
    for step, stack in enumerate(stacks):
        first = TICKS_PER_STEP * step
        flows[first : first + FLOWS_PER_STACK] = stack.reshape(FLOWS_PER_STACK, 2, height, width)
    return flows


def cache_clips(
    clips: Iterable[Clip], folder: Path, *, processes: int = 1, progress: Progress | None = None
) -> tuple[list[CachedClip], list[tuple[str, str]]]:
    """Return the clips with their features on disk, computing what is not there yet.

    A clip whose decoder crashes or hangs costs that clip alone, if there are processes for it.

    Parameters
    ----------
    clips : iterable of Clip
    folder : Path
        Made if it is not there. One sub-folder a clip; about 1.5 MB per second of video, 24 kB
        per second of sound.
    processes : int
        How many to compute in; 1 stays in this process.
    progress : callable, optional
        Called with (done, total) after each clip.

    Returns
    -------
    cached : list of CachedClip
        In the order of `clips`, without those that failed.
    skipped : list of (str, str)
        Name and reason of those that failed.

    Raises
    ------
    ClipError
        If the disk is full.

    Examples
    --------
    >>> cache_clips([], Path("nowhere"))
    ([], [])
    """
    wanted = [(clip, folder / clip.name) for clip in clips]
    missing = [(clip, place) for clip, place in wanted if not _is_fresh(clip, place)]
    reasons: dict[str, str] = {}
    for done, (number, reason) in enumerate(_cached(missing, processes), 1):
        reasons[missing[number][0].name] = reason
        if progress is not None:
            progress(done, len(missing))
    skipped = [(clip.name, reasons[clip.name]) for clip, _ in missing if reasons[clip.name]]
    cached = [CachedClip(clip, place) for clip, place in wanted if not reasons.get(clip.name)]
    return cached, skipped


def _cached(missing: Sequence[tuple[Clip, Path]], processes: int) -> Iterator[tuple[int, str]]:
    # Cache clips; yield the number of each and why it was skipped, or an empty string.
    calls = [(clip, place, os.getpid()) for clip, place in missing]
    if processes > 1 and calls:
        limits = [_time_limit(clip.path) for clip, _ in missing]
        done = in_processes(_cache_clip, calls, processes=processes, time_limits=limits)
    else:
        done = ((number, _cache_clip(*call)) for number, call in enumerate(calls))
    for number, result in done:
        clip, place = missing[number]
        if isinstance(result, Failure):
            shutil.rmtree(_part(place, os.getpid()), ignore_errors=True)
            result = f"{clip.path.name}: {result.reason}"
        if result == DISK_IS_FULL:
            raise ClipError(f"{place.parent}: no space left; give --cache a folder on another disk")
        yield number, result


def _cache_clip(clip: Clip, folder: Path, owner: int) -> str:
    # Write one clip's features; return why it was skipped, or an empty string.
    part = _part(folder, owner)
    try:
        arrays = compute_features(clip)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for name, array in arrays.items():
            np.save(part / f"{name}.npy", array)
        (part / "source.json").write_text(json.dumps(_stamp(clip)))
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)  # complete or not there
    except ValueError as error:
        return str(error)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        if _is_fresh(clip, folder):  # another run was at it too
            return ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return DISK_IS_FULL
        return f"{clip.path.name}: cannot be read or written to {folder} ({reason_of(error)})"
    except MemoryError:
        return f"{clip.path.name}: too long for the memory; cut it into parts"
    return ""


def _part(folder: Path, owner: int) -> Path:
    return folder.with_name(f"{folder.name}.{owner}.part")  # another run may be at it too


def _stamp(clip: Clip) -> dict[str, Any]:
    stat = clip.path.stat()
    stamp = {"format": CACHE_FORMAT, "size": stat.st_size, "time_ns": stat.st_mtime_ns}
    return stamp | ({"part": [clip.start, clip.end]} if clip.is_part else {})


def _is_fresh(clip: Clip, folder: Path) -> bool:
    try:
        return bool(json.loads((folder / "source.json").read_text()) == _stamp(clip))
    except (OSError, ValueError):
        return False


def _time_limit(path: Path) -> float:
    try:
        size = path.stat().st_size
    except OSError:
        size = 0
    return SECONDS_PER_CLIP + SECONDS_PER_MB * size / 1e6
