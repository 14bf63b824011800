"""The nine instruments: one table of how each is drawn.

Coordinates are the instrument's own: origin and angle are the `tool` of a `Pose`, x runs along the
instrument, 1 unit = 1 pixel of a 256-pixel-wide picture at size 1. Each has a part drawn before its
player's arms and, where hands hold something, a part drawn after them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from .canvas import Canvas, Colour, Points, from_hsv, mirrored, shade, smooth
from .motion import BOW_LENGTH, KEYBOARD_HALF, KIT
from .players import FEET_SEATED, Pose

BLACK: Colour = (28, 26, 28)
IVORY: Colour = (242, 238, 226)
STEEL: Colour = (176, 180, 188)


@dataclass(frozen=True)
class Finish:
    """The colours of one instrument: its body, a second colour, and a number for its form."""

    body: Colour
    second: Colour
    form: int


Draw = Callable[[Canvas, Pose, Finish], None]


@dataclass(frozen=True)
class Instrument:
    """How one instrument looks.

    Attributes
    ----------
    finish : callable
        Generator to `Finish`: colours within the range that the instrument has.
    before : callable or None
        Drawn before the player's arms, on the instrument's canvas.
    after : callable or None
        Drawn after them, on the canvas that hands are given in.
    outline : callable
        Pose to points (n, 2) that span it, in its own coordinates; gives its box.
    """

    finish: Callable[[Generator], Finish]
    before: Draw
    after: Draw | None
    outline: Callable[[Pose], Points]


def _wood(low: float, high: float, dark: float = 0.42) -> Callable[[Generator], Finish]:
    def finish(rng: Generator) -> Finish:
        hue, value = rng.uniform(low, high), rng.uniform(dark, 0.85)
        body = from_hsv(hue, rng.uniform(0.6, 0.9), value)
        return Finish(body, shade(body, 0.55), int(rng.integers(3)))

    return finish


def _guitar_finish(rng: Generator) -> Finish:
    form = int(rng.integers(3))
    if form < 2:  # acoustic: spruce to mahogany
        body = from_hsv(rng.uniform(0.04, 0.12), rng.uniform(0.45, 0.8), rng.uniform(0.6, 0.95))
        return Finish(body, shade(body, 0.45), form)
    body = from_hsv(rng.random(), rng.uniform(0.5, 0.95), rng.uniform(0.35, 0.9))  # electric
    return Finish(body, (60, 40, 28), form)


def _brass(rng: Generator) -> Finish:
    body = from_hsv(rng.uniform(0.10, 0.14), rng.uniform(0.5, 0.8), rng.uniform(0.75, 0.98))
    return Finish(body, shade(body, 0.6), int(rng.integers(2)))


def _silver(rng: Generator) -> Finish:
    body = from_hsv(rng.uniform(0.5, 0.65), rng.uniform(0.0, 0.12), rng.uniform(0.78, 0.97))
    return Finish(body, shade(body, 0.55), 0)


def _lacquer(rng: Generator) -> Finish:
    body = from_hsv(rng.random(), rng.uniform(0.55, 0.95), rng.uniform(0.4, 0.9))
    second = from_hsv(rng.random(), rng.uniform(0.1, 0.7), rng.uniform(0.5, 0.95))
    return Finish(body, second, int(rng.integers(3)))


def _piano_finish(rng: Generator) -> Finish:
    form = int(rng.integers(3))
    body = (30.0, 28.0, 32.0) if form else from_hsv(rng.uniform(0.02, 0.08), 0.65, 0.4)
    return Finish(body, shade(body, 1.2), form)


def _fiddle_body(length: float, lower: float, waist: float, upper: float) -> Points:
    at = [
        (0.0, 0.0), (0.03, -0.62 * lower), (0.17, -lower), (0.34, -0.92 * lower),
        (0.46, -waist), (0.60, -waist), (0.70, -0.93 * upper), (0.84, -upper),
        (0.96, -0.6 * upper), (1.0, 0.0),
    ]  # fmt: skip
    return smooth(mirrored([(x * length, y) for x, y in at]))


_VIOLIN_BODY = _fiddle_body(26, 9.0, 5.0, 7.6)
_CELLO_BODY = _fiddle_body(52, 17.0, 10.0, 14.0)


def _fiddle(canvas: Canvas, outline: Points, finish: Finish, unit: float, neck: float) -> None:
    """Draw a violin or cello: `unit` is its body's length, `neck` where its neck ends."""
    wide = unit / 26
    inner = (outline - (unit / 2, 0)) * 0.9 + (unit / 2, 0)
    canvas.fill(outline, finish.second)
    canvas.fill(inner, finish.body)
    canvas.fill(inner * (0.8, 0.45) + (unit * 0.1, -2.2 * wide), shade(finish.body, 1.13))
    for side in (-1, 1):  # sound holes
        y = side * 3.9 * wide
        hole = np.array([[0.34, y], [0.42, y * 0.93], [0.52, y * 0.82]]) * (unit, 1)
        canvas.line(hole, 0.9 * wide, BLACK)
    canvas.limb((unit * 0.04, 0), (unit * 0.3, 0), 1.6 * wide, 1.0 * wide, BLACK)  # tail piece
    canvas.limb((unit * 0.4, -3 * wide), (unit * 0.4, 3 * wide), 0.6 * wide, 0.6 * wide, IVORY)
    canvas.limb((unit * 0.6, 0), (neck, 0), 1.7 * wide, 1.2 * wide, BLACK)  # finger board
    canvas.limb((neck, 0), (neck + 4 * wide, 0), 1.3 * wide, 1.0 * wide, finish.second)
    canvas.ellipse((neck + 5.2 * wide, 0), 1.9 * wide, 1.9 * wide, finish.second)
    for x, side in ((1.2, -1), (2.2, 1), (3.2, -1)):
        tip = (neck + x * wide, side * 3.0 * wide)
        canvas.limb((neck + x * wide, 0), tip, 0.5 * wide, 0.6 * wide, BLACK)
    canvas.line(np.array([[unit * 0.25, 0], [neck, 0]]), 0.5, (216, 210, 190))


def _violin(canvas: Canvas, pose: Pose, finish: Finish) -> None:
    _fiddle(canvas, _VIOLIN_BODY, finish, 26, 39)


def _cello(canvas: Canvas, pose: Pose, finish: Finish) -> None:
    canvas.limb((-9, 0), (2, 0), 0.7, 0.7, STEEL)
    _fiddle(canvas, _CELLO_BODY, finish, 52, 82)


def _bow(canvas: Canvas, pose: Pose, finish: Finish) -> None:
    bow = canvas.placed(pose.left[0], pose.left[1], pose.part[0])
    bow.line(np.array([[2, 1.6], [BOW_LENGTH - 1, 1.2]], np.float64), 0.9, (246, 242, 230))
    stick = np.array([[-2, -0.8], [BOW_LENGTH * 0.5, 0.2], [BOW_LENGTH, -0.6]])
    bow.line(stick, 1.3, (88, 44, 24))
    bow.limb((0, 0.4), (4.5, 0.4), 1.5, 1.2, BLACK)
    bow.limb((BOW_LENGTH, -0.6), (BOW_LENGTH - 1, 1.4), 0.8, 0.8, (88, 44, 24))


_GUITAR_BODY = smooth(
    mirrored([(0, 0), (1, -8), (6, -14), (13, -14.5), (19, -10.5), (24, -10.5), (29, -11.5),
              (33, -7), (34, 0)])
)  # fmt: skip
_ELECTRIC_BODY = smooth(
    [(0, 0), (1, -9), (8, -13.5), (16, -10), (24, -11), (35, -14), (33, -8), (30, -3.5), (30, 3.5),
     (33, 8), (31, 11.5), (23, 9.5), (15, 10), (7, 14), (1, 9)]
)  # fmt: skip


def _guitar(canvas: Canvas, pose: Pose, finish: Finish) -> None:
    electric = finish.form == 2
    outline = _ELECTRIC_BODY if electric else _GUITAR_BODY
    canvas.limb((33, -4), (33, -34), 1.3, 1.3, (58, 46, 40))  # strap, up to the shoulder
    canvas.limb((30, 0), (64, 0), 2.4, 2.0, (78, 52, 36))  # neck
    canvas.fill(outline, finish.second)
    canvas.fill((outline - (17, 0)) * 0.91 + (17, 0), finish.body)
    if electric:
        guard = smooth([(8, 2), (14, 6), (24, 7), (29, 3), (29, -3), (16, -4)])
        canvas.fill(guard, IVORY)
        for x in (12, 17.5, 23):
            canvas.limb((x, -3), (x, 3), 1.0, 1.0, BLACK)
    else:
        canvas.ellipse((21.5, 0), 5.6, 5.6, shade(finish.body, 0.6))
        canvas.ellipse((21.5, 0), 4.7, 4.7, (36, 24, 20))
        canvas.limb((8, -4.5), (8, 4.5), 1.1, 1.1, (50, 32, 24))
    canvas.limb((27 if not electric else 26, 0), (64, 0), 1.9, 1.6, (52, 36, 28))
    for x in range(36, 64, 4):
        canvas.line(np.array([[x, -1.8], [x, 1.8]]), 0.5, (196, 186, 160))
    head = np.array([[64, -2.2], [74, -3.6], [75, 0], [74, 3.6], [64, 2.2]])
    canvas.fill_convex(head, finish.second if not electric else finish.body)
    for x in (66.5, 69, 71.5):
        for side in (-1, 1):
            canvas.limb((x, side * 2.5), (x, side * 4.4), 0.6, 0.8, STEEL)
    for y in (-1.0, 0.0, 1.0):
        canvas.line(np.array([[8.0, y], [64.0, y * 0.7]]), 0.4, (226, 222, 206))


_LID = smooth([(-30, -8), (-34, -40), (-20, -52), (10, -50), (34, -60), (52, -48), (50, -8)], 9)


def _piano_lid(canvas: Canvas, finish: Finish) -> None:
    canvas.fill(_LID, shade(finish.body, 0.7))
    canvas.fill(_LID * (0.93, 0.93) + (1, -1.5), shade(finish.body, 1.12))


def _piano(canvas: Canvas, pose: Pose, finish: Finish) -> None:
    half = KEYBOARD_HALF
    floor = FEET_SEATED + 6.0
    for x in (-half + 1, half - 1):
        canvas.limb((x, 14), (x, floor - 3), 3.0, 2.0, shade(finish.body, 0.8))
    canvas.box(-half - 5, -9, half + 5, 17, finish.body)
    canvas.box(-half - 5, -9, half + 5, -6.5, finish.second)
    canvas.box(-half - 1, -6, half + 1, 6, (20, 18, 18))
    canvas.box(-half, -5.5, half, 5.5, IVORY)
    n_white = 21
    width = 2 * half / n_white
    for i in range(n_white):
        x = -half + i * width
        if i:
            canvas.line(np.array([[x, -5.5], [x, 5.5]]), 0.5, (120, 116, 108))
        if i % 7 in (1, 2, 4, 5, 6):
            canvas.box(x - 1.35, -5.5, x + 1.35, 1.2, BLACK)
    canvas.box(-half - 5, 7.5, half + 5, 9, shade(finish.body, 1.35))
    canvas.limb((-2, 14), (-2, floor - 4), 1.2, 1.2, (150, 130, 70))
    canvas.limb((-6, floor - 3), (2, floor - 3), 1.3, 1.3, (150, 130, 70))


def _shell(
    canvas: Canvas, centre: tuple[float, float], half: float, depth: float, finish: Finish
) -> None:
    x, y = centre
    canvas.box(x - half, y, x + half, y + depth, finish.body)
    canvas.ellipse((x, y + depth), half, 2.6, finish.body)
    canvas.box(x - half, y, x - half * 0.55, y + depth, shade(finish.body, 1.25))
    canvas.box(x + half * 0.6, y, x + half, y + depth, shade(finish.body, 0.75))
    canvas.ellipse((x, y), half + 0.6, 3.8, STEEL)
    canvas.ellipse((x, y - 0.3), half - 0.6, 3.0, IVORY)


def _cymbal(canvas: Canvas, centre: tuple[float, float], half: float, angle: float) -> None:
    plate = canvas.placed(*centre, angle)
    plate.ellipse((0, 0.5), half, 2.6, (150, 118, 44))
    plate.ellipse((0, -0.2), half, 2.2, (222, 186, 88))
    plate.ellipse((-half * 0.3, -0.5), half * 0.4, 1.1, (246, 222, 150))
    plate.ellipse((0, -1.2), 2.6, 1.5, (200, 160, 70))


def _drum(canvas: Canvas, pose: Pose, finish: Finish) -> None:
    floor = FEET_SEATED
    hat, crash = KIT[2], KIT[5]
    hat_wobble, crash_wobble = pose.part[8], pose.part[9]
    for x, top in ((hat[0], hat[1]), (crash[0] + 2, crash[1])):
        canvas.limb((x, top), (x, floor - 6), 0.8, 0.9, STEEL)
        canvas.limb((x, floor - 8), (x - 6, floor), 0.7, 0.7, STEEL)
        canvas.limb((x, floor - 8), (x + 6, floor), 0.7, 0.7, STEEL)
    for x in (-26, -12):
        canvas.limb((x * 0.8 - 4, 4), (x, floor - 1), 0.7, 0.7, STEEL)
    for x in (24, 42):
        canvas.limb((x, 20), (x, floor - 1), 0.8, 0.8, STEEL)
    canvas.ellipse((0, 16), 23, 22.5, shade(finish.body, 0.6))
    canvas.ellipse((0, 16), 21.5, 21, finish.body)
    canvas.ellipse((0, 16), 18.5, 18, IVORY if finish.form < 2 else (40, 38, 40))
    if finish.form == 1:
        canvas.ellipse((0, 16), 10, 9.8, finish.second)
        canvas.ellipse((0, 16), 6, 5.8, IVORY)
    else:
        canvas.ellipse((0, 16), 6.5, 6.3, finish.second)
    _shell(canvas, (KIT[1][0], KIT[1][1] + 1), 12.5, 8, finish)
    _shell(canvas, (KIT[3][0], KIT[3][1] + 1), 11, 9, finish)
    _shell(canvas, (KIT[4][0], KIT[4][1] + 1), 12.5, 19, finish)
    _cymbal(canvas, (hat[0], hat[1] + 2.4), 11.5, 0.0)
    _cymbal(canvas, (hat[0], hat[1] + 0.3), 11.5, 0.05 + 0.15 * hat_wobble)
    _cymbal(canvas, (crash[0] + 2, crash[1]), 15.5, -0.16 + 0.35 * crash_wobble)


def _sticks(canvas: Canvas, pose: Pose, finish: Finish) -> None:
    for hand, tip in ((pose.left, pose.part[0:2]), (pose.right, pose.part[2:4])):
        dx, dy = tip[0] - hand[0], tip[1] - hand[1]
        back = (hand[0] - 0.22 * dx, hand[1] - 0.22 * dy)
        canvas.limb(back, (tip[0], tip[1]), 1.6, 1.1, (226, 190, 128))
        canvas.ellipse((tip[0], tip[1]), 2.0, 1.7, (246, 224, 176))


def _accordion(canvas: Canvas, pose: Pose, finish: Finish) -> None:
    width, fan = pose.part
    n_folds = 9
    far = canvas.placed(-9 + width, -0.06 * width, fan)
    top, bottom = [], []
    for i in range(n_folds + 1):
        u = i / n_folds
        x = -9 + width * u
        rise = 0.12 * width * u
        out = 1.6 if i % 2 else 0.0
        top.append((x, -17 - rise - out))
        bottom.append((x, 17 - rise * 0.4 + out))
    canvas.fill(np.array(top + bottom[::-1]), shade(finish.second, 0.75))
    for i in range(n_folds + 1):
        colour = finish.second if i % 2 else shade(finish.second, 0.4)
        canvas.line(np.array([top[i], bottom[i]]), 1.4, colour)
    canvas.box(-22, -19, -9, 19, finish.body)
    canvas.box(-11.5, -19, -9, 19, shade(finish.body, 0.7))
    canvas.box(-22.5, -17.5, -15.5, 17.5, (24, 22, 22))
    canvas.box(-22, -17, -16, 17, IVORY)
    for i in range(1, 12):
        y = -17 + 34 / 12 * i
        canvas.line(np.array([[-22.0, y], [-16.0, y]]), 0.5, (110, 106, 100))
        if i % 7 not in (3, 0):
            canvas.box(-20, y - 0.9, -16, y + 0.9, BLACK)
    for y in (-12, -6, 0, 6, 12):
        canvas.limb((-13.6, y - 1.5), (-13.6, y + 1.5), 0.8, 0.8, (236, 224, 180))
    far.box(0, -19, 11, 18, finish.body)
    far.box(8.6, -19, 11, 18, shade(finish.body, 0.7))
    far.box(1.2, -16, 3, 15, (214, 206, 190))
    for y in range(-14, 15, 4):
        far.ellipse((5.8, y), 0.8, 0.8, IVORY)


def _flute(canvas: Canvas, pose: Pose, finish: Finish) -> None:
    canvas.limb((-9, 0), (47, 0), 1.9, 1.7, finish.second)
    canvas.limb((-9, 0.4), (47, 0.4), 1.2, 1.0, finish.body)
    canvas.limb((-2, 0.2), (2, 0.2), 1.9, 1.9, finish.body)
    for x in (-6.5, 7.5, 39):
        canvas.limb((x, -1.6), (x, 1.6), 0.8, 0.8, finish.second)
    for x in range(13, 46, 4):
        canvas.ellipse((x, 1.0), 1.5, 1.1, shade(finish.body, 1.5))
        canvas.ellipse((x, 1.0), 0.7, 0.5, finish.second)


_SAX_BELL = smooth([(9.5, 47), (14.5, 40), (14, 30), (11.5, 22), (27.5, 20.5), (23.5, 29),
                    (22, 42), (17, 51), (10, 53), (6.5, 50)])  # fmt: skip


def _saxophone(canvas: Canvas, pose: Pose, finish: Finish) -> None:
    dark, light = finish.second, shade(finish.body, 1.45)
    canvas.limb((0, 0), (3.2, -0.8), 1.2, 1.5, BLACK)
    canvas.line(np.array([[3, -1], [6, -1.5], [8.2, 1], [8, 5]], np.float64), 2.6, dark)
    canvas.line(np.array([[3, -1], [6, -1.5], [8.2, 1], [8, 5]], np.float64), 1.7, finish.body)
    canvas.fill(_SAX_BELL, dark)
    canvas.fill((_SAX_BELL - (16, 36)) * 0.9 + (16, 36), finish.body)
    canvas.limb((8, 4), (7, 46), 2.6, 4.6, dark)
    canvas.limb((8, 4), (7, 46), 1.9, 3.7, finish.body)
    canvas.limb((7, 8), (6, 42), 0.6, 1.0, light)
    canvas.ellipse((19.5, 21), 8.6, 2.9, dark)
    canvas.ellipse((19.5, 20.6), 7.6, 2.3, shade(finish.body, 0.4))
    canvas.limb((18, 27), (17.5, 38), 0.7, 0.8, light)
    for y in range(10, 46, 5):
        canvas.ellipse((8.6, y), 1.9, 1.7, dark)
        canvas.ellipse((8.6, y), 1.2, 1.1, light)


_TRUMPET_BELL = smooth([(24, -1.6), (34, -2.2), (40, -4), (45, -9), (45.8, 0), (45, 9), (40, 4),
                        (34, 2.2), (24, 1.6)])  # fmt: skip


def _trumpet(canvas: Canvas, pose: Pose, finish: Finish) -> None:
    dark, light = finish.second, shade(finish.body, 1.45)
    loop = np.array([[31, 0], [34.5, 1.5], [35, 4.5], [33, 7.5], [13, 7.5], [10, 5], [10, 2]])
    canvas.line(loop, 2.6, dark)
    canvas.line(loop, 1.6, finish.body)
    canvas.limb((0, 0), (2.6, 0), 1.9, 1.1, STEEL)
    canvas.limb((3, 0), (30, 0), 1.3, 1.5, dark)
    canvas.limb((3, -0.2), (30, -0.2), 0.8, 1.0, finish.body)
    canvas.fill(_TRUMPET_BELL, dark)
    canvas.fill((_TRUMPET_BELL - (36, 0)) * (0.92, 0.82) + (36, 0), finish.body)
    canvas.limb((30, -0.8), (43, -3.4), 0.5, 0.9, light)
    for i, x in enumerate((14.5, 19.0, 23.5)):
        down = 2.6 * (1 - pose.fingers[i])
        canvas.limb((x, -6.5 + down), (x, -2), 0.6, 0.6, STEEL)
        canvas.limb((x - 1, -6.5 + down), (x + 1, -6.5 + down), 0.8, 0.8, IVORY)
        canvas.limb((x, -2.2), (x, 9.5), 2.0, 2.0, dark)
        canvas.limb((x - 0.4, -2.2), (x - 0.4, 9.5), 1.2, 1.2, finish.body)


def _span(x0: float, y0: float, x1: float, y1: float) -> Callable[[Pose], Points]:
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    return lambda pose: corners


def _accordion_span(pose: Pose) -> Points:
    end = -9 + pose.part[0] + 11
    rise = 0.12 * pose.part[0]
    return np.array([[-22.5, -19], [end, -19 - rise], [end, 19], [-22.5, 19]])


INSTRUMENTS: dict[str, Instrument] = {
    "accordion": Instrument(_lacquer, _accordion, None, _accordion_span),
    "cello": Instrument(_wood(0.02, 0.09, 0.4), _cello, _bow, _span(-9, -17, 90, 17)),
    "drum": Instrument(_lacquer, _drum, _sticks, _span(-52, -40, 58, FEET_SEATED)),
    "flute": Instrument(_silver, _flute, None, _span(-9, -2.5, 47, 2.5)),
    "guitar": Instrument(_guitar_finish, _guitar, None, _span(0, -14, 75, 14)),
    "piano": Instrument(
        _piano_finish, _piano, None, _span(-KEYBOARD_HALF - 5, -9, KEYBOARD_HALF + 5, 44)
    ),
    "saxophone": Instrument(_brass, _saxophone, None, _span(0, -2, 28, 53)),
    "trumpet": Instrument(_brass, _trumpet, None, _span(0, -9, 46, 10)),
    "violin": Instrument(_wood(0.01, 0.09), _violin, _bow, _span(0, -9, 46, 9)),
}


def draw_behind(canvas: Canvas, label: str, pose: Pose, finish: Finish) -> None:
    """Draw what stands behind the player: the raised lid of a grand piano."""
    if label == "piano" and finish.form:
        _piano_lid(canvas.placed(*pose.tool), finish)
