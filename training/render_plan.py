"""How many clips of the bandstand to render, from which seed, and what room they take.

In: what was asked for, as clips or hours, and which share of it is this machine's. Out: a `Plan`.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from .clips import FIRST_DEMO_SEED, FIRST_TEST_SEED, FIRST_VALIDATION_SEED
from .scene import LEVELS, SceneError

_BYTES_A_SECOND = {  # of clip, with its JSON; measured on 45 s of 256 x 144 of each level
    "easy": 19_000, "normal": 30_000, "hard": 45_000, "wild": 45_000, "mixed": 31_000,
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """Seeds `first_seed` ... `first_seed + n_clips - 1`, about `size` bytes together."""

    first_seed: int
    n_clips: int
    size: int

    def check_room(self, folder: Path) -> None:
        """Make the folder, and see that the clips would fit on its disk.

        Raises
        ------
        SceneError
            If they would not.
        """
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if self.size > free:
            raise SceneError(
                f"{folder}: about {self.size / 1e9:.1f} GB would be written, {free / 1e9:.1f} GB "
                "are free; ask for fewer hours, or take another disk"
            )


def make_plan(
    *,
    clips: int | None,
    hours: float | None,
    first_seed: int,
    level: str,
    duration: float,
    shard: str = "1/1",
) -> Plan:
    """Return what to render.

    Parameters
    ----------
    clips : int or None
        How many in all; 100 where neither this nor `hours` is given.
    hours : float or None
        Of clips in all.
    first_seed : int
    level : str
        One of the levels, or "mixed".
    duration : float
        Seconds of a clip.
    shard : str
        "2/4": the second of four equal shares, each for another machine.

    Raises
    ------
    SceneError
        If the level is unknown, both numbers are given, the share is none, or the seeds would reach
        into the next split.

    Examples
    --------
    >>> make_plan(clips=None, hours=1.0, first_seed=0, level="easy", duration=10.0, shard="2/2")
    Plan(first_seed=180, n_clips=180, size=34200000)
    """
    if level not in (*LEVELS, "mixed"):
        raise SceneError(f"level {level!r} is none of {', '.join(LEVELS)}, mixed")
    if clips is not None and hours is not None:
        raise SceneError("give --clips or --hours, not both")
    n_clips = 100 if clips is None else clips
    if hours is not None:
        if not 0 < hours < 1e5:
            raise SceneError(f"--hours {hours}: give more than 0 and less than 100000")
        n_clips = math.ceil(hours * 3600 / duration - 1e-6)
    number, _, total = shard.partition("/")
    if not (number.isdecimal() and total.isdecimal() and 1 <= int(number) <= int(total)):
        raise SceneError(f"--shard {shard}: give the number of the share and of all, such as 2/4")
    edges = (FIRST_VALIDATION_SEED, FIRST_TEST_SEED, FIRST_DEMO_SEED)
    for edge in edges:
        if first_seed < edge < first_seed + n_clips:
            raise SceneError(
                f"{n_clips} clips from seed {first_seed} reach beyond {edge}, where the next split "
                f"begins; render {edge - first_seed} at most, or longer ones"
            )
    start = n_clips * (int(number) - 1) // int(total)
    end = n_clips * int(number) // int(total)
    size = round((end - start) * duration * _BYTES_A_SECOND[level])
    return Plan(first_seed + start, end - start, size)
