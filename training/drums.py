"""The drum kit, in five designs, and its sticks.

Coordinates are the instrument's own; see `instruments.py`.
"""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, shade
from .finish import IVORY, STEEL, Finish
from .motion import KIT
from .players import FEET_SEATED, Pose


def _shell(
    canvas: Canvas, centre: tuple[float, float], half: float, depth: float, finish: Finish
) -> None:
    x, y = centre
    canvas.box(x - half, y, x + half, y + depth, finish.body)
    canvas.ellipse((x, y + depth), half, 2.6, finish.body)
    canvas.box(x - half, y, x - half * 0.55, y + depth, shade(finish.body, 1.25))
    canvas.box(x + half * 0.6, y, x + half, y + depth, shade(finish.body, 0.75))
    if finish.form == 4:  # staves
        for u in np.linspace(-0.7, 0.7, 5) * half:
            canvas.line(np.array([[x + u, y], [x + u, y + depth]]), 0.6, shade(finish.body, 0.6))
    elif finish.form == 2:
        canvas.box(x - half, y + depth * 0.5, x + half, y + depth * 0.75, finish.second)
    canvas.ellipse((x, y), half + 0.6, 3.8, STEEL)
    canvas.ellipse((x, y - 0.3), half - 0.6, 3.0, IVORY)


def _cymbal(canvas: Canvas, centre: tuple[float, float], half: float, angle: float) -> None:
    plate = canvas.placed(*centre, angle)
    plate.ellipse((0, 0.5), half, 2.6, (150, 118, 44))
    plate.ellipse((0, -0.2), half, 2.2, (222, 186, 88))
    plate.ellipse((-half * 0.3, -0.5), half * 0.4, 1.1, (246, 222, 150))
    plate.ellipse((0, -1.2), 2.6, 1.5, (200, 160, 70))


def draw_drum(canvas: Canvas, pose: Pose, finish: Finish) -> None:
    """Draw a drum kit."""
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
    canvas.ellipse((0, 16), 18.5, 18, IVORY if finish.form not in (2, 3) else (40, 38, 40))
    if finish.form == 3:  # a second ring
        canvas.ellipse((0, 16), 13, 12.6, STEEL)
        canvas.ellipse((0, 16), 11.5, 11.2, (40, 38, 40))
    if finish.form == 4:  # a cross
        canvas.limb((-15, 16), (15, 16), 1.6, 1.6, finish.second)
        canvas.limb((0, 2), (0, 30), 1.6, 1.6, finish.second)
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


def draw_sticks(canvas: Canvas, pose: Pose, finish: Finish) -> None:
    """Draw both sticks."""
    for hand, tip in ((pose.left, pose.part[0:2]), (pose.right, pose.part[2:4])):
        dx, dy = tip[0] - hand[0], tip[1] - hand[1]
        back = (hand[0] - 0.22 * dx, hand[1] - 0.22 * dy)
        canvas.limb(back, (tip[0], tip[1]), 1.6, 1.1, (226, 190, 128))
        canvas.ellipse((tip[0], tip[1]), 2.0, 1.7, (246, 224, 176))
