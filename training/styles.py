"""How differently the nine instruments are played: one table of gesture styles for each label.

What comes out: a `Style`, which `motion.PLAY` turns into poses. Five for each label; the table
`shares.SHARES` says which are for training (0, 1, 2), validation (3) and test (4). `make_style`
varies the one that it draws, so that no two players move alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from numpy.random import Generator

from .shares import Share


@dataclass(frozen=True)
class Style:
    """One way of playing an instrument.

    Attributes
    ----------
    pattern : str
        What the hands do with the notes; each instrument knows its own.
    reach : float
        Size of the playing motion, 1 is the usual.
    tilt : float
        Radians by which the instrument is held steeper than usual.
    sway : float
        How much the body goes along, 1 is the usual.
    period : float
        Beats of a sway, or of the bellows.
    spot : float
        Units along the instrument by which the hand or bow is shifted.
    lift : float
        How high hands, sticks or the bell rise, 1 is the usual.
    phase : float
        Where the player's own slow wandering begins, any number.
    """

    pattern: str
    reach: float = 1.0
    tilt: float = 0.0
    sway: float = 1.0
    period: float = 4.0
    spot: float = 0.0
    lift: float = 1.0
    phase: float = 0.0


STYLES: dict[str, tuple[Style, ...]] = {
    "accordion": (
        Style("level", 1.0, 0.0, 1.0, 4),
        Style("fan", 1.15, 0.08, 1.8, 8),
        Style("pulse", 0.7, -0.05, 0.8, 4),
        Style("arc", 0.9, 0.12, 2.2, 6),
        Style("push", 1.05, -0.10, 1.4, 5),
    ),
    "cello": (
        Style("separate", 1.0, 0.0, 1.0, 6),
        Style("slur3", 1.2, 0.06, 1.6, 8, 2.0),
        Style("tremolo", 0.9, -0.05, 0.6, 4, -2.0),
        Style("stroke", 1.0, 0.10, 1.3, 7, 3.5),
        Style("slur2", 1.1, -0.09, 2.0, 5, -3.5),
    ),
    "drum": (
        Style("straight", 1.0, 0.0, 1.0, 2, lift=1.0),
        Style("high", 1.0, 0.0, 1.6, 4, lift=1.5),
        Style("low", 1.0, 0.0, 0.6, 2, lift=0.6),
        Style("outward", 1.0, 0.0, 1.3, 3, lift=1.25),
        Style("inward", 1.0, 0.0, 2.0, 5, lift=0.85),
    ),
    "flute": (
        Style("still", 0.25, 0.0, 0.5, 6),
        Style("dip", 0.9, -0.08, 1.2, 2, 1.5),
        Style("sway", 0.4, 0.10, 1.7, 6, -1.5),
        Style("lean", 0.5, 0.16, 1.7, 5, 2.5),
        Style("circle", 0.6, -0.14, 1.5, 3, -2.5),
    ),
    "guitar": (
        Style("strokes", 1.0, 0.0, 1.0, 4),
        Style("swing", 0.9, 0.12, 1.5, 8, -3.0),
        Style("pick", 0.8, -0.10, 0.6, 4, 2.0),
        Style("down", 1.1, 0.18, 1.2, 3, 4.0),
        Style("double", 0.75, -0.16, 1.9, 6, -5.0),
    ),
    "piano": (
        Style("chords", 1.0, 0.0, 1.0, 2),
        Style("roll", 0.9, 0.0, 1.8, 4, lift=0.5),
        Style("stride", 1.1, 0.0, 0.7, 2, lift=1.3),
        Style("wave", 1.0, 0.0, 1.4, 3, lift=0.8),
        Style("shake", 0.8, 0.0, 2.2, 5, lift=0.65),
    ),
    "saxophone": (
        Style("bob", 1.0, 0.0, 1.0, 2),
        Style("still", 0.25, 0.08, 0.5, 4),
        Style("swing", 0.9, -0.08, 2.0, 4),
        Style("lean", 0.6, 0.14, 1.5, 6),
        Style("circle", 0.7, -0.14, 1.2, 3),
    ),
    "trumpet": (
        Style("accent", 1.0, 0.0, 1.0, 2),
        Style("still", 0.2, 0.10, 0.6, 4),
        Style("sweep", 0.7, -0.10, 1.8, 4),
        Style("lean", 0.5, 0.17, 1.4, 6),
        Style("circle", 0.6, -0.17, 1.6, 3),
    ),
    "violin": (
        Style("separate", 1.0, 0.0, 1.0, 4),
        Style("slur3", 1.15, 0.12, 1.3, 6, 1.5),
        Style("tremolo", 0.9, -0.10, 0.7, 4, -1.5),
        Style("stroke", 1.05, 0.18, 1.4, 5, 2.5),
        Style("slur2", 1.1, -0.17, 1.4, 5, -2.5),
    ),
}


def make_style(rng: Generator, label: str, share: Share) -> Style:
    """Return a random style of a label: one of the split's own, varied within its comb.

    Examples
    --------
    >>> import numpy as np
    >>> from playspot.training.shares import SHARES
    >>> make_style(np.random.default_rng(2), "violin", SHARES["test"]).pattern
    'slur2'
    """
    style = STYLES[label][share.styles[rng.integers(len(share.styles))]]
    return replace(
        style,
        reach=style.reach * share.uniform(rng, 0.75, 1.25),
        tilt=style.tilt + share.uniform(rng, -0.06, 0.06),
        sway=style.sway * share.uniform(rng, 0.4, 1.5),
        spot=style.spot + share.uniform(rng, -1.0, 1.0),
        lift=style.lift * share.uniform(rng, 0.8, 1.2),
        phase=rng.uniform(0, 50),
    )


def wander(time: float, phase: float) -> float:
    """Return a slow irregular motion between -1 and 1: what a body does by itself.

    Examples
    --------
    >>> abs(wander(3.0, 0.5)) <= 1
    True
    """
    return (
        0.5 * math.sin(math.tau * 0.23 * time + phase)
        + 0.3 * math.sin(math.tau * 0.61 * time + 2.1 * phase)
        + 0.2 * math.sin(math.tau * 1.27 * time + 3.7 * phase)
    )
