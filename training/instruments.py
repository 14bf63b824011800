"""The nine instruments: one table of how each is drawn.

Coordinates are the instrument's own: origin and angle are the `tool` of a `Pose`, x runs along the
instrument, 1 unit = 1 pixel of a 256-pixel-wide picture at size 1. Each has a part drawn before its
player's arms and, where hands hold something, a part drawn after them. A new instrument needs a row
here, and more: docs/training.md lists the tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import finish
from .canvas import Canvas, Points
from .drums import draw_drum, draw_sticks
from .finish import Finish, MakeFinish
from .keyboards import draw_accordion, draw_lid, draw_piano
from .motion import KEYBOARD_HALF
from .players import FEET_SEATED, Pose
from .strings import draw_bow, draw_cello, draw_guitar, draw_violin
from .winds import draw_flute, draw_saxophone, draw_trumpet, saxophone_bell

Draw = Callable[[Canvas, Pose, Finish], None]
Outline = Callable[[Pose, Finish], Points]


@dataclass(frozen=True)
class Instrument:
    """How one instrument looks.

    Attributes
    ----------
    finish : callable
        Generator and share to `Finish`: design and colours within what the split may have.
    before : callable or None
        Drawn before the player's arms, on the instrument's canvas.
    after : callable or None
        Drawn after them, on the canvas that hands are given in.
    outline : callable
        Pose and finish to points (n, 2) that span it, in its own coordinates; gives its box.
    """

    finish: MakeFinish
    before: Draw
    after: Draw | None
    outline: Outline


def _span(x0: float, y0: float, x1: float, y1: float, *, grows: bool = False) -> Outline:
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    return lambda pose, design: corners * (1.0, design.girth if grows else 1.0)


def _saxophone_span(pose: Pose, design: Finish) -> Points:
    half = 13.5 * saxophone_bell(design)
    left, right = min(0.0, 14 - half * 0.6), 14 + half
    return np.array([[left, -2], [right, -2], [right, 53], [left, 53]])


def _accordion_span(pose: Pose, design: Finish) -> Points:
    end = -9 + pose.part[0] + 11
    rise = 0.12 * pose.part[0]
    return np.array([[-22.5, -19], [end, -19 - rise], [end, 19], [-22.5, 19]])


INSTRUMENTS: dict[str, Instrument] = {
    "accordion": Instrument(finish.lacquer, draw_accordion, None, _accordion_span),
    "cello": Instrument(finish.wood, draw_cello, draw_bow, _span(-9, -17, 96, 17, grows=True)),
    "drum": Instrument(finish.lacquer, draw_drum, draw_sticks, _span(-52, -40, 58, FEET_SEATED)),
    "flute": Instrument(finish.flute, draw_flute, None, _span(-9, -2.5, 47, 2.5)),
    "guitar": Instrument(finish.guitar, draw_guitar, None, _span(0, -14, 75, 14, grows=True)),
    "piano": Instrument(
        finish.piano, draw_piano, None, _span(-KEYBOARD_HALF - 5, -9, KEYBOARD_HALF + 5, 44)
    ),
    "saxophone": Instrument(finish.brass, draw_saxophone, None, _saxophone_span),
    "trumpet": Instrument(finish.brass, draw_trumpet, None, _span(0, -9, 46, 10, grows=True)),
    "violin": Instrument(finish.wood, draw_violin, draw_bow, _span(0, -9, 46, 9, grows=True)),
}


DRAWN = tuple(INSTRUMENTS)  # labels that the bandstand plays; it leaves out what has no drawing yet


def draw_behind(canvas: Canvas, label: str, pose: Pose, design: Finish) -> None:
    """Draw what stands behind the player: the raised lid of a grand piano."""
    if label == "piano":
        draw_lid(canvas.placed(*pose.tool), design)
