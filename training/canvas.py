"""Anti-aliased flat shapes on a picture, in any coordinate system.

What goes in: points in a local system (a player's, an instrument's), colours RGB 0-255.
What comes out: pixels of one shared picture, uint8 (H, W, 3) RGB. Lengths are in local units;
a `Canvas` knows how they become pixels, so that the same drawing serves any picture size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Picture = NDArray[np.uint8]
Colour = tuple[float, float, float]

FIXED_BITS = 4  # sub-pixel bits of OpenCV's drawing functions
_FIXED = 1 << FIXED_BITS
_MIDDLE = (_FIXED - 1) / 2  # a pixel centre lies at a whole number; the rest rounds


def _circle(n_points: int) -> Points:
    """Return templates (cos, sin, 1): one product with (axes, centre) gives an ellipse."""
    angle = np.arange(n_points) * math.tau / n_points
    return np.stack([np.cos(angle), np.sin(angle), np.ones(n_points)], axis=1)


def _rod(n_points: int) -> Points:
    """Return templates of a rod: columns belong to (axes, centre) of its start, then its end."""
    angle = np.linspace(0.5, 1.5, n_points) * math.pi
    cap = np.stack([np.cos(angle), np.sin(angle), np.ones(n_points)], axis=1)
    none = np.zeros_like(cap)
    return np.block([[cap, none], [none, cap * (-1, -1, 1)]])


_COARSE, _ROUND, _FINE = _circle(10), _circle(18), _circle(36)
_COARSE_ROD, _ROUND_ROD, _FINE_ROD = _rod(3), _rod(5), _rod(9)


def shade(colour: Colour, factor: float) -> Colour:
    """Return a colour made darker (`factor` < 1) or lighter (> 1, towards white).

    Examples
    --------
    >>> shade((100.0, 50.0, 0.0), 0.5)
    (50.0, 25.0, 0.0)
    """
    red, green, blue = colour
    if factor <= 1:
        return red * factor, green * factor, blue * factor
    amount = min(1.0, factor - 1)
    return (
        red + (255 - red) * amount,
        green + (255 - green) * amount,
        blue + (255 - blue) * amount,
    )


def from_hsv(hue: float, saturation: float, value: float) -> Colour:
    """Return the RGB colour 0-255 of a hue (in turns, any real), saturation and value 0-1.

    Examples
    --------
    >>> from_hsv(0.0, 1.0, 1.0)
    (255.0, 0.0, 0.0)
    """
    sector = (hue % 1.0) * 6

    def channel(offset: float) -> float:
        k = (offset + sector) % 6
        return 255 * value * (1 - saturation * max(0.0, min(k, 4 - k, 1.0)))

    return channel(5), channel(3), channel(1)


def smooth(points: Sequence[tuple[float, float]], per_side: int = 4) -> Points:
    """Return a closed Catmull-Rom curve through `points`, shape (len(points) * per_side, 2).

    Examples
    --------
    >>> smooth([(0, 0), (1, 0), (1, 1), (0, 1)]).shape
    (16, 2)
    """
    p1 = np.asarray(points, np.float64)
    p0, p2, p3 = np.roll(p1, 1, 0), np.roll(p1, -1, 0), np.roll(p1, -2, 0)
    curve = []
    for u in np.arange(per_side) / per_side:
        curve.append(
            0.5
            * (
                2 * p1
                + (p2 - p0) * u
                + (2 * p0 - 5 * p1 + 4 * p2 - p3) * u * u
                + (3 * p1 - p0 - 3 * p2 + p3) * u**3
            )
        )
    return np.stack(curve, axis=1).reshape(-1, 2)  # (points, per_side, 2) -> (n, 2)


def mirrored(half: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return a closed outline from its upper half: the points, then their mirror images in y.

    Examples
    --------
    >>> mirrored([(0, 0), (1, -2), (3, 0)])
    [(0, 0), (1, -2), (3, 0), (1, 2)]
    """
    return list(half) + [(x, -y) for x, y in reversed(half) if y != 0]


class Canvas:
    """A picture and the 2x3 matrix from local coordinates to its pixels.

    Parameters
    ----------
    picture : uint8, shape (H, W, 3)
        Drawn on in place.
    matrix : float64, shape (2, 3)
        Local coordinates to pixels (x, y).

    Examples
    --------
    >>> canvas = Canvas(np.zeros((8, 8, 3), np.uint8), np.eye(2, 3))
    >>> canvas.placed(4, 4).ellipse((0, 0), 3, 3, (255.0, 0.0, 0.0))
    >>> int(canvas.picture[4, 4, 0])
    255
    """

    def __init__(self, picture: Picture, matrix: Points) -> None:
        self.picture = picture
        # everything below counts in OpenCV's fixed-point pixels: no scaling for each shape
        fixed = np.asarray(matrix, np.float64) * _FIXED
        fixed[:, 2] -= _MIDDLE
        self._set(fixed.ravel().tolist())

    def _set(self, at: list[float]) -> None:
        self._at = at
        self.scale = math.sqrt(abs(at[0] * at[4] - at[1] * at[3])) / _FIXED

    @property
    def matrix(self) -> Points:
        """The 2x3 matrix from local coordinates to pixels."""
        fixed = np.array(self._at).reshape(2, 3)
        fixed[:, 2] += _MIDDLE
        return fixed / _FIXED

    def placed(
        self, x: float, y: float, angle: float = 0.0, scale: float = 1.0, *, mirror: bool = False
    ) -> Canvas:
        """Return a canvas on the same picture whose origin is (x, y) of this one.

        Parameters
        ----------
        x, y : float
            The new origin, in this canvas's coordinates.
        angle : float
            In radians, clockwise as seen (y points down).
        scale : float
            Size of the new unit.
        mirror : bool
            Whether the new x axis is flipped before it is turned.
        """
        co, si = math.cos(angle) * scale, math.sin(angle) * scale
        flip = -1.0 if mirror else 1.0
        a, b, c, d, e, f = self._at
        canvas = Canvas.__new__(Canvas)
        canvas.picture = self.picture
        canvas._set(
            [
                (a * co + b * si) * flip,
                b * co - a * si,
                a * x + b * y + c,
                (d * co + e * si) * flip,
                e * co - d * si,
                d * x + e * y + f,
            ]
        )
        return canvas

    def pixels(self, points: Points) -> Points:
        """Return where local points lie on the picture, in pixels, shape (n, 2)."""
        matrix = self.matrix
        out: Points = points @ matrix[:, :2].T + matrix[:, 2]
        return out

    def _fixed(self, points: Points) -> NDArray[np.int32]:
        a, b, c, d, e, f = self._at
        out = np.empty(points.shape, np.int32)
        x, y = points[:, 0], points[:, 1]
        np.add(x * a + y * b, c, out[:, 0], casting="unsafe")
        np.add(x * d + y * e, f, out[:, 1], casting="unsafe")
        return out

    def fill(self, points: Points, colour: Colour) -> None:
        """Fill a closed outline, shape (n, 2), of any form."""
        cv2.fillPoly(self.picture, [self._fixed(points)], colour, cv2.LINE_AA, FIXED_BITS)

    def fill_convex(self, points: Points, colour: Colour) -> None:
        """Fill a closed convex outline, shape (n, 2); faster than `fill`."""
        self._convex(self._fixed(points), colour)

    def _convex(self, fixed: NDArray[np.int32], colour: Colour) -> None:
        cv2.fillConvexPoly(self.picture, fixed, colour, cv2.LINE_AA, FIXED_BITS)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """Fill an upright (in local coordinates) rectangle."""
        self.fill_convex(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]), colour)

    def ellipse(self, centre: tuple[float, float], rx: float, ry: float, colour: Colour) -> None:
        """Fill an ellipse of half axes `rx`, `ry`."""
        a, b, c, d, e, f = self._at
        x, y = centre
        axes = np.array(
            [[a * rx, d * rx], [b * ry, e * ry], [a * x + b * y + c, d * x + e * y + f]]
        )
        size = (rx if rx > ry else ry) * self.scale
        template = _FINE if size > 7.0 else _ROUND if size > 2.5 else _COARSE
        self._convex((template @ axes).astype(np.int32), colour)

    def limb(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        r0: float,
        r1: float,
        colour: Colour,
    ) -> None:
        """Fill a tapered rod with round ends: radius `r0` at `start`, `r1` at `end`."""
        a, b, c, d, e, f = self._at
        (x0, y0), (x1, y1) = start, end
        dx, dy = x1 - x0, y1 - y0
        length = math.hypot(dx, dy)
        ux, uy = (dx / length, dy / length) if length > 0 else (1.0, 0.0)
        along_x, along_y = a * ux + b * uy, d * ux + e * uy
        across_x, across_y = b * ux - a * uy, e * ux - d * uy
        axes = np.array(
            [
                [along_x * r0, along_y * r0],
                [across_x * r0, across_y * r0],
                [a * x0 + b * y0 + c, d * x0 + e * y0 + f],
                [along_x * r1, along_y * r1],
                [across_x * r1, across_y * r1],
                [a * x1 + b * y1 + c, d * x1 + e * y1 + f],
            ]
        )
        size = (r0 if r0 > r1 else r1) * self.scale
        template = _FINE_ROD if size > 5.0 else _ROUND_ROD if size > 1.2 else _COARSE_ROD
        self._convex((template @ axes).astype(np.int32), colour)

    def line(self, points: Points, width: float, colour: Colour) -> None:
        """Draw an open line through `points`, `width` local units wide, at least one pixel."""
        thickness = max(1, round(width * self.scale))
        fixed = self._fixed(points)
        cv2.polylines(self.picture, [fixed], False, colour, thickness, cv2.LINE_AA, FIXED_BITS)
