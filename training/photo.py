"""Backdrops with the statistics of photographs, though nothing in them is real.

What comes out: pictures, uint8 (H, W, 3) RGB: things of all sizes that hide one another (their
sizes follow a power law, as in pictures of the world), noise that is the weaker the finer, and the
blur of what lies behind the focus.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.random import Generator

from .canvas import Canvas, Picture, from_hsv, shade, smooth
from .cloth import noise_field
from .shares import Share

N_THINGS = 160


def make_photo(rng: Generator, share: Share, size: tuple[int, int], kind: str) -> Picture:
    """Return a backdrop of a size (width, height) in pixels.

    Parameters
    ----------
    rng : Generator
    share : Share
    size : (width, height)
    kind : str
        "leaves": discs; "blobs": soft forms; "clouds": noise alone; "panes": upright rectangles;
        "streaks": long slanted ones.
    """
    width, height = size
    hues = [share.uniform(rng, 0, 1) for _ in range(3)]
    light = share.uniform(rng, 0.3, 0.9)
    base = from_hsv(hues[0], share.uniform(rng, 0.0, 0.5), light)
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = np.asarray(base, np.uint8)
    canvas = Canvas(picture, np.eye(2, 3))
    least, most = 0.012 * width, 0.35 * width
    for _ in range(0 if kind == "clouds" else N_THINGS):
        radius = (least**-2 + rng.random() * (most**-2 - least**-2)) ** -0.5 * 1.6  # power law
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        value = float(np.clip(light + rng.normal(0, 0.22), 0.05, 1.0))
        saturation = 0.7 * rng.random() ** 2
        colour = from_hsv(hues[rng.integers(3)] + rng.normal(0, 0.02), saturation, value)
        place = canvas.placed(x, y, rng.uniform(0, math.tau))
        if kind == "leaves":
            place.ellipse((0, 0), radius, radius * rng.uniform(0.4, 1.0), colour)
        elif kind == "blobs":
            angles = np.arange(7) / 7 * math.tau
            far = radius * rng.uniform(0.5, 1.2, 7)
            form = [(float(r * math.cos(a)), float(r * math.sin(a)))
                    for r, a in zip(far, angles, strict=True)]  # fmt: skip
            place.fill(smooth(form), colour)
        elif kind == "panes":
            tall = radius * rng.uniform(0.4, 2.0)
            canvas.box(x - radius, y - tall, x + radius, y + tall, colour)
            if rng.random() < 0.5:
                canvas.box(x - 0.85 * radius, y - 0.85 * tall, x, y + 0.85 * tall,
                           shade(colour, 1.2))  # fmt: skip
        else:
            slanted = canvas.placed(x, y, 0.5 + rng.normal(0, 0.15))
            slanted.box(-3 * radius, -0.25 * radius, 3 * radius, 0.25 * radius, colour)
    deep = 0.4 if kind != "clouds" else 1.3
    tones = noise_field(rng, (height, width), rng.uniform(1.0, 1.5))
    shaded = picture * (1 + 0.16 * deep * tones[:, :, None])
    slope = np.linspace(rng.uniform(0.75, 1.2), rng.uniform(0.75, 1.2), height)[:, None, None]
    picture = np.asarray(np.clip(shaded * slope, 0, 255), np.uint8)
    focus = rng.uniform(0, 2.5) ** 1.3 * width / 256
    if focus > 0.3:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), focus), np.uint8)
    return picture
