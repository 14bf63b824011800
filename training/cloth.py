"""Texture and shading of what is drawn: cloth, wood and skin are not of one colour.

In: a canvas and what is drawn on it. Out: the same pixels, darker and lighter by a noise that is
fixed to the canvas's coordinates, so that it moves, turns and grows with what was drawn. Optical
flow needs it: an even surface has none inside.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from numpy.random import Generator

from .canvas import Canvas, Picture

HALF = 64  # the noise spans -64 ... 64 units, then is mirrored
_SIDE = 128


class Weave:
    """The noise of one person and instrument.

    Parameters
    ----------
    rng : Generator
    strength : float
        0-1.
    """

    def __init__(self, rng: Generator, strength: float) -> None:
        noise = noise_field(rng, (_SIDE, _SIDE), rng.uniform(0.6, 1.3))
        slope = np.linspace(-1, 1, _SIDE) * rng.uniform(-1, 1)  # light from one side
        level = 1 + strength * (0.12 * noise + 0.25 * slope[None, :])
        self.picture: Picture = np.asarray(np.clip(128 * level, 0, 255), np.uint8)


def noise_field(rng: Generator, shape: tuple[int, int], fall: float) -> np.ndarray:
    """Return noise of mean 0 and deviation 1, the finer the weaker: 1 / frequency ** `fall`.

    Examples
    --------
    >>> noise_field(np.random.default_rng(1), (8, 16), 1.0).shape
    (8, 16)
    """
    rows, columns = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]
    falling = 1 / np.maximum(np.hypot(rows, columns), 1.5 / max(shape)) ** fall
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * falling, shape)
    field -= field.mean()
    return np.asarray(field / max(1e-9, float(field.std())))


@contextmanager
def woven(canvas: Canvas, weave: Weave | None) -> Iterator[None]:
    """Give texture to whatever is drawn on the picture inside of the `with` block.

    Parameters
    ----------
    canvas : Canvas
        In whose coordinates the texture stays where it is.
    weave : Weave or None
        None: nothing happens.
    """
    if weave is None:
        yield
        return
    picture = canvas.picture
    before = picture.copy()
    yield
    red, green, blue = cv2.split(cv2.absdiff(picture, before))
    changed = cv2.max(cv2.max(red, green), blue)
    x, y, width, height = cv2.boundingRect(changed)
    if not width:
        return
    matrix = canvas.placed(-HALF, -HALF).matrix
    matrix[:, 2] -= (x, y)
    cloth = cv2.warpAffine(
        weave.picture, matrix, (width, height), flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )  # fmt: skip
    part = picture[y : y + height, x : x + width]
    shaded = cv2.multiply(part, cv2.merge([cloth, cloth, cloth]), scale=1 / 128)
    cv2.copyTo(shaded, changed[y : y + height, x : x + width], part)
