"""Piano and accordion, each in five designs.

Coordinates are the instrument's own; see `instruments.py`.
"""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, shade, smooth
from .finish import BLACK, IVORY, Finish
from .motion import KEYBOARD_HALF
from .players import FEET_SEATED, Pose

_LID = smooth([(-30, -8), (-34, -40), (-20, -52), (10, -50), (34, -60), (52, -48), (50, -8)], 9)


def draw_lid(canvas: Canvas, finish: Finish) -> None:
    """Draw the raised lid of a grand piano, where the design has one."""
    if finish.form in (0, 4):
        return
    canvas.fill(_LID, shade(finish.body, 0.7))
    canvas.fill(_LID * (0.93, 0.93) + (1, -1.5), shade(finish.body, 1.12))


def draw_piano(canvas: Canvas, pose: Pose, finish: Finish) -> None:
    """Draw a piano from its player's side, without the lid."""
    half = KEYBOARD_HALF
    floor = FEET_SEATED + 6.0
    for x in (-half + 1, half - 1):
        canvas.limb((x, 14), (x, floor - 3), 3.0, 2.0, shade(finish.body, 0.8))
    deep = 9 if finish.form == 4 else 17  # a stage piano is thin
    canvas.box(-half - 5, -9, half + 5, deep, finish.body)
    if finish.form == 0:  # the front of an upright
        canvas.box(-half, 10, half, floor - 8, shade(finish.body, 0.85))
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


def _keys(canvas: Canvas) -> None:
    canvas.box(-22.5, -17.5, -15.5, 17.5, (24, 22, 22))
    canvas.box(-22, -17, -16, 17, IVORY)
    for i in range(1, 12):
        y = -17 + 34 / 12 * i
        canvas.line(np.array([[-22.0, y], [-16.0, y]]), 0.5, (110, 106, 100))
        if i % 7 not in (3, 0):
            canvas.box(-20, y - 0.9, -16, y + 0.9, BLACK)


def _buttons(canvas: Canvas, finish: Finish) -> None:
    canvas.box(-22.5, -17.5, -15.5, 17.5, shade(finish.second, 0.35))
    rows = (-21.0, -18.8, -16.6) if finish.form == 1 else (-20.5, -17.5)
    for i, x in enumerate(rows):
        for y in np.arange(-15.5, 16, 3.0):
            tone = IVORY if (i + round(y / 3)) % 3 else BLACK
            canvas.ellipse((x, float(y) + 0.7 * i), 0.95, 0.95, tone)


def draw_accordion(canvas: Canvas, pose: Pose, finish: Finish) -> None:
    """Draw an accordion; keys or buttons, by its design."""
    width, fan = pose.part
    n_folds = (9, 11, 7, 10, 8)[finish.form]
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
    if finish.form in (1, 3):
        _buttons(canvas, finish)
    else:
        _keys(canvas)
    if finish.form == 4:  # carved
        canvas.ellipse((-12.5, 0), 2.0, 15, shade(finish.body, 0.5))
    for y in (-12, -6, 0, 6, 12):
        canvas.limb((-13.6, y - 1.5), (-13.6, y + 1.5), 0.8, 0.8, (236, 224, 180))
    far.box(0, -19, 11, 18, finish.body)
    far.box(8.6, -19, 11, 18, shade(finish.body, 0.7))
    far.box(1.2, -16, 3, 15, (214, 206, 190))
    for y in range(-14, 15, 4):
        far.ellipse((5.8, y), 0.8, 0.8, IVORY)
