"""Features of clips, computed once: each clip becomes a folder of memory-mapped arrays.

====================  =============================  ==========================================
file                  array                          what
====================  =============================  ==========================================
`pictures.npy`        uint8 (N, H, W, 3)             the picture of each step, RGB
`flows.npy`           float16 (4 N + 1, 2, H, W)     flow of each tick from -2 on, pixels per tick
`log_mel.npy`         float16 (384, T)               three-scale log-mel
`source.json`         -                              size and time of the video, format of the cache
====================  =============================  ==========================================

Neighbouring flow stacks share a flow, so flows are stored once and a stack is a view: stack k is
`flows[4 k : 4 k + 5]`. The numbers come from `playspot.stream.features`: what a network is trained
on is what it will see.
"""

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..stream.timeline import FLOWS_PER_STACK, TICKS_PER_STEP
from .clips import Clip

CACHE_FORMAT = 1  # raise it when features change

Progress = Callable[[int, int], None]  # (done, total)


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
        """How many steps have a picture and a stack."""
        return len(self.pictures)

    def stack(self, step: int) -> NDArray[np.float16]:
        """Return the flow stack of a step, float16 (10, H, W): x and y, oldest first."""
        first = TICKS_PER_STEP * step
        flows = self.flows[first : first + FLOWS_PER_STACK]  # (5, 2, H, W)
        return flows.reshape(-1, *flows.shape[2:])  # (10, H, W)

    def _array(self, name: str) -> NDArray[Any]:
        return cast(NDArray[Any], np.load(self.folder / f"{name}.npy", mmap_mode="r"))


def _stamp(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"format": CACHE_FORMAT, "size": stat.st_size, "time_ns": stat.st_mtime_ns}


def _is_fresh(clip: Clip, folder: Path) -> bool:
    try:
        return bool(json.loads((folder / "source.json").read_text()) == _stamp(clip.path))
    except (OSError, ValueError):
        return False


def compute_features(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of one clip as in the module's table.

    Raises
    ------
    ValueError
        If the clip cannot be decoded, or has no picture or no sound.
    """
    from ..stream.features import features  # here: decoding is not needed to read a cache

    found = features(path)
    if found.pictures is None or found.stacks is None or found.log_mel is None:
        raise ValueError(f"{path.name}: training needs both picture and sound")
    n = min(found.n_steps, len(found.pictures), len(found.stacks))
    if n == 0:
        raise ValueError(f"{path.name}: shorter than one step")
    height, width = found.stacks[0].shape[1:]
    flows = np.empty((TICKS_PER_STEP * n + 1, 2, height, width), np.float16)
    for step in range(n):
        first = TICKS_PER_STEP * step
        stack = np.asarray(found.stacks[step])
        flows[first : first + FLOWS_PER_STACK] = stack.reshape(FLOWS_PER_STACK, 2, height, width)
    return {
        "pictures": np.asarray(found.pictures[:n], np.uint8),
        "flows": flows,
        "log_mel": np.asarray(found.log_mel, np.float16),
    }


def _cache_clip(clip: Clip, folder: Path) -> str:
    """Write one clip's features; return why it was skipped, or an empty string."""
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")  # another run may be at it too
    try:
        arrays = compute_features(clip.path)
    except ValueError as error:
        return str(error)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(part / f"{name}.npy", array)
    (part / "source.json").write_text(json.dumps(_stamp(clip.path)))
    shutil.rmtree(folder, ignore_errors=True)
    try:
        part.rename(folder)  # complete or not there
    except OSError:
        shutil.rmtree(part, ignore_errors=True)
        return "" if _is_fresh(clip, folder) else f"{clip.path.name}: cannot write to {folder}"
    return ""


def cache_clips(
    clips: Iterable[Clip], folder: Path, *, processes: int = 1, progress: Progress | None = None
) -> tuple[list[CachedClip], list[tuple[str, str]]]:
    """Return the clips with their features on disk, computing what is not there yet.

    Parameters
    ----------
    clips : iterable of Clip
    folder : Path
        Made if it is not there. One sub-folder a clip; about 1.5 MB per second of video.
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

    Examples
    --------
    >>> cache_clips([], Path("nowhere"))
    ([], [])
    """
    wanted = [(clip, folder / clip.name) for clip in clips]
    missing = [(clip, place) for clip, place in wanted if not _is_fresh(clip, place)]
    total = len(missing)
    reasons: dict[str, str] = {}
    if processes > 1 and total > 1:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(processes, total), mp_context=context) as pool:
            futures = [(clip, pool.submit(_cache_clip, clip, place)) for clip, place in missing]
            for done, (clip, future) in enumerate(futures, 1):
                try:
                    reasons[clip.name] = future.result()
                except BrokenProcessPool:
                    reasons[clip.name] = f"{clip.path.name}: the process that decoded it died"
                if progress is not None:
                    progress(done, total)
    else:
        for done, (clip, place) in enumerate(missing, 1):
            reasons[clip.name] = _cache_clip(clip, place)
            if progress is not None:
                progress(done, total)
    skipped = [(name, reason) for name, reason in reasons.items() if reason]
    cached = [CachedClip(clip, place) for clip, place in wanted if not reasons.get(clip.name)]
    return cached, skipped
