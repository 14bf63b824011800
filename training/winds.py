"""Flute, saxophone and trumpet, each in five designs.

Coordinates are the instrument's own; see `instruments.py`.
"""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, shade, smooth
from .finish import BLACK, IVORY, STEEL, Finish
from .players import Pose


def draw_flute(canvas: Canvas, pose: Pose, finish: Finish) -> None:
    """Draw a flute."""
    canvas.limb((-9, 0), (47, 0), 1.9, 1.7, finish.second)
    canvas.limb((-9, 0.4), (47, 0.4), 1.2, 1.0, finish.body)
    if finish.form == 3:  # a head of another metal
        canvas.limb((-9, 0.2), (9, 0.2), 1.7, 1.7, STEEL)
    keys = (
        STEEL if finish.form in (1, 3) else BLACK if finish.form == 4 else shade(finish.body, 1.5)
    )
    canvas.limb((-2, 0.2), (2, 0.2), 1.9, 1.9, finish.body)
    for x in (-6.5, 7.5, 39):
        canvas.limb((x, -1.6), (x, 1.6), 0.8, 0.8, finish.second)
    for x in range(13, 46, 4):
        canvas.ellipse((x, 1.0), 1.5, 1.1, keys)
        canvas.ellipse((x, 1.0), 0.7, 0.5, finish.second)


_SAX_BELL = smooth([(9.5, 47), (14.5, 40), (14, 30), (11.5, 22), (27.5, 20.5), (23.5, 29),
                    (22, 42), (17, 51), (10, 53), (6.5, 50)])  # fmt: skip


_SAX_BELLS = (1.0, 0.94, 1.06, 1.0, 1.12)  # width of each design's bell


def saxophone_bell(finish: Finish) -> float:
    """Return how wide the bell is, 1 is the usual."""
    return finish.girth * _SAX_BELLS[finish.form]


def draw_saxophone(canvas: Canvas, pose: Pose, finish: Finish) -> None:
    """Draw a saxophone."""
    dark, light = finish.second, shade(finish.body, 1.45)
    keys = (226, 190, 90) if finish.form == 3 else STEEL if finish.form == 4 else light
    bell = (_SAX_BELL - (14, 40)) * (saxophone_bell(finish), 1) + (14, 40)
    canvas.limb((0, 0), (3.2, -0.8), 1.2, 1.5, BLACK)
    canvas.line(np.array([[3, -1], [6, -1.5], [8.2, 1], [8, 5]], np.float64), 2.6, dark)
    canvas.line(np.array([[3, -1], [6, -1.5], [8.2, 1], [8, 5]], np.float64), 1.7, finish.body)
    canvas.fill(bell, dark)
    canvas.fill((bell - (16, 36)) * 0.9 + (16, 36), finish.body)
    canvas.limb((8, 4), (7, 46), 2.6, 4.6, dark)
    canvas.limb((8, 4), (7, 46), 1.9, 3.7, finish.body)
    canvas.limb((7, 8), (6, 42), 0.6, 1.0, light)
    canvas.ellipse((19.5, 21), 8.6, 2.9, dark)
    canvas.ellipse((19.5, 20.6), 7.6, 2.3, shade(finish.body, 0.4))
    canvas.limb((18, 27), (17.5, 38), 0.7, 0.8, light)
    for y in range(10, 46, 5):
        canvas.ellipse((8.6, y), 1.9, 1.7, dark)
        canvas.ellipse((8.6, y), 1.2, 1.1, keys)


_TRUMPET_BELL = smooth([(24, -1.6), (34, -2.2), (40, -4), (45, -9), (45.8, 0), (45, 9), (40, 4),
                        (34, 2.2), (24, 1.6)])  # fmt: skip


def draw_trumpet(canvas: Canvas, pose: Pose, finish: Finish) -> None:
    """Draw a trumpet."""
    dark, light = finish.second, shade(finish.body, 1.45)
    wide = finish.girth * (1.0, 0.94, 1.1, 1.0, 1.2)[finish.form]
    bell = (_TRUMPET_BELL * (1, wide)) if finish.form != 4 else _TRUMPET_BELL * (0.97, wide)
    loop = np.array([[31, 0], [34.5, 1.5], [35, 4.5], [33, 7.5], [13, 7.5], [10, 5], [10, 2]])
    canvas.line(loop, 2.6, dark)
    canvas.line(loop, 1.6, finish.body)
    canvas.limb((0, 0), (2.6, 0), 1.9, 1.1, STEEL)
    canvas.limb((3, 0), (30, 0), 1.3, 1.5, dark)
    canvas.limb((3, -0.2), (30, -0.2), 0.8, 1.0, finish.body)
    canvas.fill(bell, dark)
    canvas.fill((bell - (36, 0)) * (0.92, 0.82) + (36, 0), finish.body)
    if finish.form == 3:  # a gold rim
        canvas.limb((45, -8 * wide), (45, 8 * wide), 0.7, 0.7, (226, 190, 90))
    canvas.limb((30, -0.8), (43, -3.4), 0.5, 0.9, light)
    for i, x in enumerate((14.5, 19.0, 23.5)):
        down = 2.6 * (1 - pose.fingers[i])
        canvas.limb((x, -6.5 + down), (x, -2), 0.6, 0.6, STEEL)
        canvas.limb((x - 1, -6.5 + down), (x + 1, -6.5 + down), 0.8, 0.8, IVORY)
        canvas.limb((x, -2.2), (x, 9.5), 2.0, 2.0, dark)
        canvas.limb((x - 0.4, -2.2), (x - 0.4, 9.5), 1.2, 1.2, finish.body)
