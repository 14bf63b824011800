"""What each split of the bandstand may draw from: the one table that keeps the splits apart.

In: a seed. Out: its `Share`: designs of instruments, gesture styles, backdrops, clothes and hair by
number or name, and for everything continuous (colours, skins, sizes of gestures) a comb of ranges.
No two splits share any of it: what is measured on held-out seeds was never seen in training, no
sprite, no motion, no backdrop. `clips.Clip.split` says which seeds are which.
"""

from __future__ import annotations

from dataclasses import dataclass

from numpy.random import Generator

from .clips import FIRST_TEST_SEED, FIRST_VALIDATION_SEED

N_TEETH = 4  # of the comb that a continuous range is divided into


@dataclass(frozen=True)
class Share:
    """What the scenes of one split are made of.

    Attributes
    ----------
    designs : tuple of int
        Of each instrument; `Finish.form`.
    styles : tuple of int
        Of each label's gestures, in `styles.STYLES`.
    plain, backdrops, photos : tuple of str
        Kinds of walls (level easy), of drawn backdrops and of those like photographs.
    hairs, clothes : tuple of int
        Forms of `players.Look`.
    tooth : (start, end)
        Which part (0-1) of each tooth of the comb is its own.
    """

    designs: tuple[int, ...]
    styles: tuple[int, ...]
    plain: tuple[str, ...]
    backdrops: tuple[str, ...]
    photos: tuple[str, ...]
    hairs: tuple[int, ...]
    clothes: tuple[int, ...]
    tooth: tuple[float, float]

    def uniform(self, rng: Generator, low: float, high: float) -> float:
        """Return a random number between `low` and `high`, out of this split's part of the comb.

        Examples
        --------
        >>> import numpy as np
        >>> 0.0 <= SHARES["training"].uniform(np.random.default_rng(1), 0, 4) % 1 < 0.58
        True
        """
        start, end = self.tooth
        place = int(rng.integers(N_TEETH)) + start + (end - start) * rng.random()
        return float(low + (high - low) * place / N_TEETH)


SHARES = {
    "training": Share(
        designs=(0, 1, 2),
        styles=(0, 1, 2),
        plain=("wall",),
        backdrops=("curtain", "bricks", "room", "shelf"),
        photos=("leaves", "blobs", "clouds"),
        hairs=(0, 1, 3, 5),
        clothes=(0, 1, 2),
        tooth=(0.0, 0.58),
    ),
    "validation": Share(
        designs=(3,),
        styles=(3,),
        plain=("sweep",),
        backdrops=("park", "tiles"),
        photos=("panes",),
        hairs=(4, 6),
        clothes=(3, 5),
        tooth=(0.64, 0.76),
    ),
    "test": Share(
        designs=(4,),
        styles=(4,),
        plain=("lamp",),
        backdrops=("stage", "stripes"),
        photos=("streaks",),
        hairs=(2, 7),
        clothes=(4, 6),
        tooth=(0.82, 0.94),
    ),
}


def share_of(seed: int) -> Share:
    """Return what a seed draws from; seeds of the demo show what the test's do.

    Examples
    --------
    >>> share_of(200_003) is SHARES["test"]
    True
    """
    if seed < FIRST_VALIDATION_SEED:
        return SHARES["training"]
    return SHARES["validation" if seed < FIRST_TEST_SEED else "test"]
