"""The colours and the design of one instrument, drawn at random from what a split may have.

Each function returns what `instruments.INSTRUMENTS` asks for a label: `Finish` of a generator and a
`shares.Share`. Designs 0, 1 and 2 are for training, 3 for validation, 4 for the test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from numpy.random import Generator

from .canvas import Colour, from_hsv, shade
from .shares import Share

BLACK: Colour = (28, 26, 28)
IVORY: Colour = (242, 238, 226)
STEEL: Colour = (176, 180, 188)
N_DESIGNS = 5


@dataclass(frozen=True)
class Finish:
    """The colours of one instrument (its body, a second one), its design and its girth.

    Attributes
    ----------
    body, second : Colour
    form : int
        Which of the label's `N_DESIGNS` designs.
    girth : float
        Size across, 1 is the usual; lengths, and so hands and key points, stay.
    """

    body: Colour
    second: Colour
    form: int
    girth: float = 1.0


MakeFinish = Callable[[Generator, Share], Finish]


def _made(
    rng: Generator, share: Share, tones: tuple[tuple[float, ...], ...], dark: float
) -> Finish:
    """Return a finish; a tone is low and high hue, saturation and value, for each design."""
    form = share.designs[rng.integers(len(share.designs))]
    h0, h1, s0, s1, v0, v1 = tones[form]
    body = from_hsv(
        share.uniform(rng, h0, h1), share.uniform(rng, s0, s1), share.uniform(rng, v0, v1)
    )
    second = shade(body, dark) if dark else from_hsv(
        share.uniform(rng, 0, 1), share.uniform(rng, 0.1, 0.7), share.uniform(rng, 0.5, 0.95)
    )  # fmt: skip
    return Finish(body, second, form, share.uniform(rng, 0.88, 1.14))


_WOOD = (0.01, 0.10, 0.55, 0.9)
_ANY = (0.0, 1.0, 0.5, 0.95)
_METAL = (0.5, 0.65, 0.0, 0.12, 0.75, 0.97)
_BRASS = (0.10, 0.14, 0.5, 0.8, 0.72, 0.98)


def wood(rng: Generator, share: Share) -> Finish:
    """Return the finish of a violin or cello: varnish from amber to dark brown."""
    tones = (
        (*_WOOD, 0.45, 0.8), (*_WOOD, 0.35, 0.55), (0.07, 0.13, 0.4, 0.7, 0.75, 0.95),
        (0.0, 0.04, 0.7, 0.95, 0.45, 0.7), (0.05, 0.10, 0.25, 0.5, 0.5, 0.85),
    )  # fmt: skip
    return _made(rng, share, tones, 0.55)


def guitar(rng: Generator, share: Share) -> Finish:
    """Return the finish of a guitar: two acoustic, two electric designs, one with a cone."""
    tones = (
        (0.04, 0.12, 0.45, 0.8, 0.6, 0.95), (0.02, 0.08, 0.6, 0.85, 0.35, 0.6), (*_ANY, 0.35, 0.9),
        (0.05, 0.12, 0.6, 0.9, 0.5, 0.9), (0.0, 0.14, 0.4, 0.9, 0.3, 0.75),
    )  # fmt: skip
    return _made(rng, share, tones, 0.45)


def brass(rng: Generator, share: Share) -> Finish:
    """Return the finish of a saxophone or trumpet: brass, silver, copper, black, old brass."""
    tones = (
        _BRASS, _METAL, (0.02, 0.07, 0.4, 0.7, 0.5, 0.8), (0.6, 0.7, 0.0, 0.3, 0.12, 0.3),
        (0.06, 0.12, 0.3, 0.6, 0.4, 0.7),
    )  # fmt: skip
    return _made(rng, share, tones, 0.6)


def flute(rng: Generator, share: Share) -> Finish:
    """Return the finish of a flute: silver, wood, gold, dark, white."""
    tones = (
        _METAL, (0.02, 0.08, 0.5, 0.8, 0.25, 0.45), (0.11, 0.14, 0.4, 0.7, 0.8, 0.97),
        (0.5, 0.8, 0.0, 0.3, 0.2, 0.4), (0.1, 0.2, 0.0, 0.08, 0.9, 1.0),
    )  # fmt: skip
    return _made(rng, share, tones, 0.55)


def lacquer(rng: Generator, share: Share) -> Finish:
    """Return the finish of a drum kit or accordion: any colour, with a second one."""
    tones = ((*_ANY, 0.4, 0.9),) * 4 + ((0.02, 0.12, 0.5, 0.8, 0.3, 0.8),)
    return _made(rng, share, tones, 0.0)


def piano(rng: Generator, share: Share) -> Finish:
    """Return the finish of a piano: upright brown, black and dark grands, white, red."""
    tones = (
        (0.02, 0.08, 0.5, 0.75, 0.3, 0.55), (0.6, 0.7, 0.0, 0.1, 0.08, 0.16),
        (0.0, 0.06, 0.5, 0.8, 0.15, 0.3), (0.08, 0.16, 0.0, 0.12, 0.85, 0.98),
        (0.95, 1.05, 0.6, 0.9, 0.4, 0.7),
    )  # fmt: skip
    return _made(rng, share, tones, 1.2)
