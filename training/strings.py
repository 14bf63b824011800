"""Violin, cello and guitar, each in five designs.

Coordinates are the instrument's own; see `instruments.py`.
"""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Points, mirrored, shade, smooth
from .finish import BLACK, IVORY, STEEL, Finish
from .motion import BOW_LENGTH
from .players import Pose


def _fiddle_body(length: float, lower: float, waist: float, upper: float) -> Points:
    at = [
        (0.0, 0.0), (0.03, -0.62 * lower), (0.17, -lower), (0.34, -0.92 * lower),
        (0.46, -waist), (0.60, -waist), (0.70, -0.93 * upper), (0.84, -upper),
        (0.96, -0.6 * upper), (1.0, 0.0),
    ]  # fmt: skip
    return smooth(mirrored([(x * length, y) for x, y in at]))


_FORMS = (  # lower bout, waist and upper bout of each design, of a body 26 long
    (9.0, 5.0, 7.6), (9.8, 5.6, 7.2), (8.2, 5.4, 7.4), (8.4, 7.2, 7.6), (9.4, 3.6, 8.6),
)  # fmt: skip
_VIOLINS = tuple(_fiddle_body(26, *form) for form in _FORMS)
_CELLOS = tuple(_fiddle_body(52, *(1.9 * side for side in form)) for form in _FORMS)


def _fiddle(canvas: Canvas, outline: Points, finish: Finish, unit: float, neck: float) -> None:
    """Draw a violin or cello: `unit` is its body's length, `neck` where its neck ends."""
    wide = unit / 26
    outline = outline * (1.0, finish.girth)
    inner = (outline - (unit / 2, 0)) * 0.9 + (unit / 2, 0)
    canvas.fill(outline, finish.second)
    canvas.fill(inner, finish.body)
    canvas.fill(inner * (0.8, 0.45) + (unit * 0.1, -2.2 * wide), shade(finish.body, 1.13))
    for side in (-1, 1):  # sound holes
        y = side * 3.9 * wide
        hole = np.array([[0.34, y], [0.42, y * 0.93], [0.52, y * 0.82]]) * (unit, 1)
        if finish.form == 3:  # round holes
            canvas.ellipse((0.44 * unit, y), 1.3 * wide, 1.3 * wide, BLACK)
        else:
            canvas.line(hole, (1.6 if finish.form == 4 else 0.9) * wide, BLACK)
    if finish.form == 1:  # the seam of a back in two parts
        canvas.line(np.array([[unit * 0.05, 0], [unit * 0.6, 0]]), 0.6 * wide, finish.second)
    if finish.form == 4:  # striped maple
        for x in np.linspace(0.1, 0.9, 7) * unit:
            canvas.line(np.array([[x, -4.0 * wide], [x + wide, 4.0 * wide]]), 0.6 * wide,
                        shade(finish.body, 0.8))  # fmt: skip
    canvas.limb((unit * 0.04, 0), (unit * 0.3, 0), 1.6 * wide, 1.0 * wide, BLACK)  # tail piece
    canvas.limb((unit * 0.4, -3 * wide), (unit * 0.4, 3 * wide), 0.6 * wide, 0.6 * wide, IVORY)
    canvas.limb((unit * 0.6, 0), (neck, 0), 1.7 * wide, 1.2 * wide, BLACK)  # finger board
    canvas.limb((neck, 0), (neck + 4 * wide, 0), 1.3 * wide, 1.0 * wide, finish.second)
    canvas.ellipse((neck + 5.2 * wide, 0), 1.9 * wide, 1.9 * wide, finish.second)
    for x, side in ((1.2, -1), (2.2, 1), (3.2, -1)):
        tip = (neck + x * wide, side * 3.0 * wide)
        canvas.limb((neck + x * wide, 0), tip, 0.5 * wide, 0.6 * wide, BLACK)
    canvas.line(np.array([[unit * 0.25, 0], [neck, 0]]), 0.5, (216, 210, 190))


def draw_violin(canvas: Canvas, pose: Pose, finish: Finish) -> None:
    """Draw a violin."""
    _fiddle(canvas, _VIOLINS[finish.form], finish, 26, 39)


def draw_cello(canvas: Canvas, pose: Pose, finish: Finish) -> None:
    """Draw a cello."""
    canvas.limb((-9, 0), (2, 0), 0.7, 0.7, STEEL)
    _fiddle(canvas, _CELLOS[finish.form], finish, 52, 82)


def draw_bow(canvas: Canvas, pose: Pose, finish: Finish) -> None:
    """Draw the bow in the left hand."""
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


_CUTAWAY_BODY = smooth(
    [(0, 0), (1, -9), (7, -14.5), (14, -14), (20, -10.5), (26, -11), (32, -12.5), (33, -6),
     (29, -2.5), (32, 3), (32, 9), (27, 11.5), (20, 10.5), (13, 14.5), (6, 14), (1, 8)]
)  # fmt: skip
_OUTLINES = (_GUITAR_BODY, _GUITAR_BODY * (1, 1.05), _ELECTRIC_BODY, _CUTAWAY_BODY,
             _GUITAR_BODY * (1, 0.93))  # fmt: skip


def draw_guitar(canvas: Canvas, pose: Pose, finish: Finish) -> None:
    """Draw a guitar with its strap."""
    electric = finish.form == 2
    outline = _OUTLINES[finish.form] * (1.0, finish.girth)
    canvas.limb((33, -4), (33, -34), 1.3, 1.3, (58, 46, 40))  # strap, up to the shoulder
    canvas.limb((30, 0), (64, 0), 2.4, 2.0, (78, 52, 36))  # neck
    canvas.fill(outline, finish.second)
    canvas.fill((outline - (17, 0)) * 0.91 + (17, 0), finish.body)
    if electric:
        guard = smooth([(8, 2), (14, 6), (24, 7), (29, 3), (29, -3), (16, -4)])
        canvas.fill(guard, IVORY)
        for x in (12, 17.5, 23):
            canvas.limb((x, -3), (x, 3), 1.0, 1.0, BLACK)
    elif finish.form == 3:  # sound holes as a cello's, two pickups
        for side in (-1, 1):
            hole = np.array([[11, side * 8.0], [15, side * 7], [20, side * 6.5]])
            canvas.line(hole, 1.2, BLACK)
        for x in (17.0, 25.0):
            canvas.limb((x, -3), (x, 3), 1.1, 1.1, STEEL)
    elif finish.form == 4:  # a metal cone
        canvas.ellipse((13, 0), 9, 9, STEEL)
        canvas.ellipse((13, 0), 7.4, 7.4, shade(STEEL, 1.4))
        canvas.ellipse((13, 0), 3, 3, shade(STEEL, 0.6))
        for side in (-1, 1):
            canvas.ellipse((27, side * 6.5), 1.8, 1.8, BLACK)
    else:
        if finish.form == 1:
            canvas.fill(smooth([(17, 3), (20, 9), (26, 8), (27, 4), (22, 7)]), (40, 26, 22))
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
