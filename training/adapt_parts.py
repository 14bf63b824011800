"""Recordings without labels become parts of some seconds, each in one of three splits.

In: recordings. Out: `Part`s. The parts of one recording are in one split, as neighbouring seconds
are nearly the same; with fewer than `FEW` recordings each is cut in time instead (first 70 % for
training, then 15 % each for validation and held out). No second is ever in two parts.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from ..stream.media import End
from ..stream.sources import FileSource
from ..stream.timeline import STEP
from .clips import Clip, ClipError, Split

How = Literal["auto", "recordings", "time"]

FEW = 5  # recordings
PART_STEPS = 40  # 20.48 s, as many steps as the paper takes of a video
SHARES: dict[Split, float] = {"training": 0.7, "validation": 0.15, "test": 0.15}
LEAST_STEPS = 2  # a shorter part is of no use


@dataclass(frozen=True)
class Part:
    """Some seconds of a recording.

    Attributes
    ----------
    path : Path
    first, end : int
        Steps of the recording: from `first` on, up to but without `end`.
    split : {"training", "validation", "test"}
        `test` is the part that is held out: nothing is chosen by it.
    """

    path: Path
    first: int
    end: int
    split: Split


def n_steps_of(path: Path) -> int:
    """Return how many steps a recording has that can serve: it needs both picture and sound.

    Raises
    ------
    ClipError
        If it has not both, or is too short.
    SourceError
        If it cannot be read.
    """
    with FileSource(path, picture_side=64) as source:
        info = source.info
        if not (info.has_video and info.has_audio):
            lacking = "sound" if info.has_video else "picture"
            raise ClipError(f"{path.name}: has no {lacking} (or none that can be decoded)")
        seconds = info.duration
        if seconds is None:  # a stream that was recorded as it came: only reading it tells
            seconds = sum(item.duration for item in source if isinstance(item, End))
    n = int(seconds / STEP)
    if n < LEAST_STEPS:
        raise ClipError(f"{path.name}: {seconds:.1f} s is too short; a second is the least")
    return n


def split_recordings(recordings: Sequence[tuple[Path, int]], how: How = "auto") -> list[Part]:
    """Return all parts of recordings, given as (path, number of steps).

    `how` is `recordings` (each whole in one split), `time` (each cut in time), or `auto`: `time`
    with fewer than `FEW` recordings.

    Which split a recording is in depends on the names and lengths of all of them and on nothing
    else: a second call gives the same.

    Examples
    --------
    >>> parts = split_recordings([(Path("a.mp4"), 100)])
    >>> [(part.first, part.end, part.split) for part in parts]
    [(0, 35, 'training'), (35, 70, 'training'), (70, 85, 'validation'), (85, 100, 'test')]
    """
    parts: list[Part] = []
    if how == "time" or (how == "auto" and len(recordings) < FEW):
        for path, n in recordings:
            first = 0
            for part, end in zip(SHARES, _ends(n), strict=True):
                parts += _cut(path, first, end, part)
                first = end
        return parts
    # By a number drawn from its name, so that neighbours by name (one concert) are spread.
    order = sorted(recordings, key=lambda item: (zlib.crc32(item[0].name.encode()), str(item[0])))
    total = sum(n for _, n in order)
    held: tuple[Split, ...] = ("test", "validation")
    left = {split: SHARES[split] * total for split in held}
    for path, n in order:
        split: Split = next((name for name, wanted in left.items() if wanted > 0), "training")
        if split != "training":
            left[split] -= n
        parts += _cut(path, 0, n, split)
    if not any(part.split == "training" for part in parts):  # one very long recording came first
        longest = max(order, key=lambda item: item[1])[0]
        parts = [part for part in parts if part.path != longest]
        parts += split_recordings([item for item in order if item[0] == longest], "time")
    return parts


def _ends(n: int) -> list[int]:
    """Return where training, validation and the held-out part of n steps end."""
    small = max(LEAST_STEPS, round(SHARES["test"] * n)) if n >= 4 * LEAST_STEPS else 0
    return [n - 2 * small, n - small, n]


def _cut(path: Path, first: int, end: int, split: Split) -> list[Part]:
    n = end - first
    pieces = max(1, -(-n // PART_STEPS))
    edges = [first + n * i // pieces for i in range(pieces + 1)]
    return [Part(path, a, b, split) for a, b in pairwise(edges) if b - a >= LEAST_STEPS]


def clip_of(part: Part) -> Clip:
    """Return a part as a clip without tags."""
    return Clip(
        path=part.path,
        truth=None,
        played=(),
        visible=(),
        heard=(),
        start=part.first * STEP,
        end=part.end * STEP,
        given_split=part.split,
    )
