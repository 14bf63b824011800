"""What stands behind and before the band: walls, curtains, stages, light, an audience.

What comes out: pictures, uint8 (H, W, 3) RGB, made once for a clip.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.random import Generator

from .camera import FLOOR
from .canvas import Canvas, Colour, Picture, from_hsv, shade
from .photo import make_photo
from .shares import Share

MARGIN = 0.12  # of the picture's size, on each side: what a moving camera may show


def make_backdrop(rng: Generator, share: Share, size: tuple[int, int], kind: str) -> Picture:
    """Return a background with a margin of `MARGIN` of its size on each side.

    Parameters
    ----------
    rng : Generator
    share : Share
        What the split may have.
    size : (width, height)
        Of the picture without margin, in pixels.
    kind : str
        "plain": a wall of one colour; "drawn"; "photo": with the statistics of photographs.

    Returns
    -------
    picture : uint8, shape (H * (1 + 2 * MARGIN), W * (1 + 2 * MARGIN), 3), rounded
    """
    width, height = (round(side * (1 + 2 * MARGIN)) for side in size)
    unit = size[0] / 256
    name = str(rng.choice({"plain": share.plain, "drawn": share.backdrops}.get(kind, share.photos)))
    if kind == "photo":
        return make_photo(rng, share, (width, height), name)
    picture = np.empty((height, width, 3), np.uint8)
    canvas = Canvas(
        picture,
        np.array([[unit, 0.0, MARGIN * size[0]], [0.0, unit, MARGIN * size[1]]]),
    )
    floor = FLOOR * size[1] / unit
    hue = share.uniform(rng, 0, 1)
    wall = from_hsv(hue, share.uniform(rng, 0.05, 0.45), share.uniform(rng, 0.4, 0.95))
    ground = from_hsv(
        share.uniform(rng, 0.03, 0.12), share.uniform(rng, 0.15, 0.6), share.uniform(rng, 0.3, 0.75)
    )
    _gradient(picture, shade(wall, 1.12), shade(wall, 0.8), 0, height)
    if name == "sweep":  # lighter on one side
        side = np.linspace(0.8, 1.1, width)[None, :, None]
        picture[:] = np.clip(picture * side, 0, 255).astype(np.uint8)
    elif name == "lamp":  # a round light on the wall
        x, y = np.linspace(-1, 1, width)[None, :], np.linspace(-0.7, 1.3, height)[:, None]
        round_light = 0.75 + 0.35 * np.exp(-2 * (x * x + y * y))
        picture[:] = np.clip(picture * round_light[:, :, None], 0, 255).astype(np.uint8)
    elif name == "curtain":
        _curtain(picture, rng)
    elif name == "bricks":
        _bricks(canvas, rng, wall, floor)
    elif name == "shelf":
        _room(canvas, rng, hue, floor, n_shelves=3)
    elif name == "room":
        _room(canvas, rng, hue, floor, n_shelves=1)
    elif name == "park":
        ground = _park(canvas, rng, floor)
    elif name == "stage":
        _stage(canvas, rng, floor)
    elif name == "stripes":
        _stripes(canvas, rng, wall, floor)
    elif name == "tiles":
        _tiles(canvas, rng, wall, floor)
    top = round((MARGIN + FLOOR) * size[1])
    _gradient(picture, shade(ground, 0.8), shade(ground, 1.1), top, height)
    if name in ("room", "stage", "curtain", "shelf"):
        _planks(canvas, rng, ground, floor)
    if kind != "plain":
        grain = rng.normal(0, 4, (height // 2 + 1, width // 2 + 1)).astype(np.float32)
        fine = cv2.resize(grain, (width, height), interpolation=cv2.INTER_LINEAR)
        picture[:] = np.clip(picture + fine[:, :, None], 0, 255).astype(np.uint8)
    return picture


def _gradient(picture: Picture, top: Colour, bottom: Colour, start: int, end: int) -> None:
    u = np.linspace(0, 1, max(1, end - start))[:, None]
    rows = np.asarray(top) * (1 - u) + np.asarray(bottom) * u  # (rows, 3)
    picture[start:end] = np.clip(rows, 0, 255).astype(np.uint8)[:, None, :]


def _curtain(picture: Picture, rng: Generator) -> None:
    width = picture.shape[1]
    u = np.linspace(0, 1, width)
    folds = rng.uniform(14, 30)
    wave = np.sin(math.tau * (folds * u + 0.4 * np.sin(7 * u + rng.uniform(0, 6))))
    light = 0.75 + 0.25 * wave
    colour = np.asarray(from_hsv(rng.choice((0.97, 0.0, 0.62, 0.38, 0.78)), 0.75, 0.55))
    fall = np.linspace(1.1, 0.7, picture.shape[0])[:, None, None]
    row = light[None, :, None] * colour  # (1, W, 3)
    picture[:] = np.clip(row * fall, 0, 255).astype(np.uint8)


def _bricks(canvas: Canvas, rng: Generator, wall: Colour, floor: float) -> None:
    colour = from_hsv(rng.uniform(0.0, 0.06), rng.uniform(0.3, 0.6), rng.uniform(0.4, 0.7))
    canvas.box(-60, -60, 320, floor, shade(colour, 0.7))
    for row, y in enumerate(np.arange(-30, floor, 7)):
        for x in np.arange(-40 + 8 * (row % 2), 300, 16):
            brick = shade(colour, float(rng.uniform(0.85, 1.1)))
            canvas.box(float(x), float(y), float(x) + 15, float(y) + 6, brick)


def _room(canvas: Canvas, rng: Generator, hue: float, floor: float, n_shelves: int) -> None:
    canvas.box(-60, floor - 5, 320, floor, (226, 222, 214))
    for _ in range(rng.integers(1, 4)):
        x, y = rng.uniform(-10, 230), rng.uniform(8, 40)
        w, h = rng.uniform(20, 46), rng.uniform(18, 40)
        canvas.box(x - 2.5, y - 2.5, x + w + 2.5, y + h + 2.5, from_hsv(0.08, 0.5, 0.35))
        canvas.box(x, y, x + w, y + h, from_hsv(hue + 0.5, 0.25, rng.uniform(0.6, 0.95)))
        canvas.ellipse((x + w / 2, y + h * 0.6), w * 0.3, h * 0.2, from_hsv(rng.random(), 0.4, 0.7))
    for place in rng.permutation(4)[:n_shelves]:
        _shelf(canvas, rng, 62.0 * place + rng.uniform(-10, 20), floor)


def _shelf(canvas: Canvas, rng: Generator, x: float, floor: float) -> None:
    canvas.box(x, floor - 42, x + 40, floor + 3, from_hsv(0.07, 0.5, 0.4))
    for y in (floor - 38, floor - 24, floor - 10):
        canvas.box(x + 2, y, x + 38, y + 10, from_hsv(0.07, 0.5, 0.25))
        for k in range(7):
            book = from_hsv(rng.random(), 0.5, 0.7)
            canvas.box(x + 3 + 5 * k, y + rng.uniform(1, 3), x + 7 + 5 * k, y + 10, book)


def _park(canvas: Canvas, rng: Generator, floor: float) -> Colour:
    canvas.box(-60, -60, 320, floor, from_hsv(0.56, rng.uniform(0.2, 0.5), rng.uniform(0.75, 1.0)))
    for _ in range(4):
        x, y = rng.uniform(0, 256), rng.uniform(5, 40)
        for k in range(3):
            canvas.ellipse((x + 9 * k, y + 3 * (k % 2)), 12, 6, (246, 248, 250))
    green = from_hsv(rng.uniform(0.24, 0.36), rng.uniform(0.35, 0.6), rng.uniform(0.4, 0.7))
    for _ in range(4):
        canvas.ellipse(
            (rng.uniform(-20, 280), floor + 8), rng.uniform(60, 110), 34, shade(green, 0.8)
        )
    for _ in range(5):
        x, tall = rng.uniform(-10, 266), rng.uniform(26, 52)
        canvas.limb((x, floor), (x, floor - tall * 0.6), 2.5, 2, (92, 66, 46))
        leaf = shade(green, float(rng.uniform(0.6, 0.9)))
        for dx, dy in ((-8, -0.6), (8, -0.65), (0, -0.9)):
            canvas.ellipse((x + dx, floor + dy * tall), 13, 12, leaf)
    return green


def _stage(canvas: Canvas, rng: Generator, floor: float) -> None:
    tone = from_hsv(rng.random(), 0.45, rng.uniform(0.2, 0.42))
    canvas.box(-60, -60, 320, floor, tone)
    for x in np.linspace(-10, 266, 6):
        colour = from_hsv(rng.random(), 0.55, 0.9)
        beam = np.array([[x - 2, -6], [x + 2, -6], [x + 24, floor], [x - 24, floor]])
        overlay = canvas.picture.copy()
        Canvas(overlay, canvas.matrix).fill_convex(beam, colour)
        cv2.addWeighted(overlay, 0.22, canvas.picture, 0.78, 0, canvas.picture)
        canvas.limb((float(x), -4), (float(x), 3), 4, 5, (40, 40, 44))
        canvas.ellipse((float(x), 6), 3.6, 2, shade(colour, 1.5))
    canvas.limb((-60, -3), (320, -3), 1.5, 1.5, (60, 60, 64))


def _stripes(canvas: Canvas, rng: Generator, wall: Colour, floor: float) -> None:
    wide, gap = rng.uniform(3, 12), rng.uniform(6, 20)
    for x in np.arange(-60, 320, wide + gap):
        canvas.box(float(x), -60, float(x) + wide, floor, shade(wall, 0.75))
    canvas.box(-60, floor - 30, 320, floor, shade(wall, 0.6))  # panelling below
    canvas.box(-60, floor - 32, 320, floor - 29, shade(wall, 1.3))


def _tiles(canvas: Canvas, rng: Generator, wall: Colour, floor: float) -> None:
    side = rng.uniform(9, 22)
    for row, y in enumerate(np.arange(floor, -60, -side)):
        for column, x in enumerate(np.arange(-60, 320, side)):
            tone = shade(wall, 0.8 + 0.3 * ((row + column) % 2) + float(rng.uniform(-0.05, 0.05)))
            canvas.box(float(x), float(y) - side + 0.6, float(x) + side - 0.6, float(y), tone)


def _planks(canvas: Canvas, rng: Generator, ground: Colour, floor: float) -> None:
    for x in np.linspace(-500, 756, 40):
        points = np.array([[128 + (x - 128) * 0.35, floor], [x, floor + 70]])
        canvas.line(points, 0.5, shade(ground, 0.72))
    canvas.line(np.array([[-60.0, floor], [320.0, floor]]), 1.0, shade(ground, 0.5))


def make_light(rng: Generator, size: tuple[int, int], level: float, *, plain: bool) -> Picture:
    """Return what the light leaves of each pixel, uint8 (H, W, 3), 255 = all of it.

    Parameters
    ----------
    rng : Generator
    size : (width, height)
        In pixels.
    level : float
        Overall light, 0-1.
    plain : bool
        Whether it is even.
    """
    width, height = size
    x = np.linspace(-1, 1, width)[None, :]
    y = np.linspace(-1, 1, height)[:, None]
    light = np.ones((height, width))
    if not plain:
        light -= rng.uniform(0.05, 0.22) * np.clip(x * x + y * y - 0.4, 0, 1)
        if rng.random() < 0.35:
            centre = rng.uniform(-0.4, 0.4)
            spot = np.exp(-(((x - centre - 0.1 * y) / 0.7) ** 2) * 2)
            light *= 0.62 + 0.38 * spot
    tint = 1 - rng.uniform(0, 0.12, 3) * (not plain)
    picture = light[:, :, None] * tint * level * 255
    return np.clip(picture, 0, 255).astype(np.uint8)


def draw_audience(canvas: Canvas, rng: Generator, time: float, bottom: float) -> None:
    """Draw a row of heads before the stage, seen from behind; `bottom` in stage coordinates."""
    for k in range(12):
        x = 12 + 22 * k + rng.uniform(-5, 5)
        tall, phase = rng.uniform(2, 8), rng.uniform(0, 6)
        y = bottom - tall + 0.5 * math.sin(1.5 * time + phase)
        canvas.ellipse((x, y + 7), 11, 6, (16, 14, 20))
        canvas.ellipse((x, y), 5.2, 6, (22, 19, 24))
