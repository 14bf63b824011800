"""What is played, drawn onto a frame of a video: heat, boxes, points and tags.

In: the planes of a frame in YUV 4:2:0 (uint8; the chroma planes have half the size, rounded up),
places normalised to [0, 1], origin top left. The planes are changed in place. Drawing on the planes
as the video has them leaves every other pixel as it was, and spares two conversions of colour.

Sizes follow the shorter side of the frame, with a lower bound in pixels, so that the same drawing
can be read at 240p and at 1080p.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .events import Box, Point

Plane = NDArray[np.uint8]
RGB = tuple[int, int, int]
Area = tuple[int, int, int, int]  # px: left, top, right, bottom

# One colour a label. Nine that stay apart with full sight and without red, green or blue (smallest
# distance in CIE Lab with red- or green-blind sight 26; 16 for the nine of Tol's `muted`), of a
# lightness between 50 and 85, so that they show on a dark stage and on a white wall.
PALETTE: dict[str, RGB] = {
    "accordion": (0xD7, 0x2B, 0x9D),
    "cello": (0xA3, 0x6B, 0x47),
    "drum": (0x83, 0x55, 0xFF),
    "flute": (0x0B, 0xC4, 0x92),
    "guitar": (0xFF, 0xBA, 0x03),
    "piano": (0x3F, 0xE2, 0xFF),
    "saxophone": (0xD3, 0xDB, 0x82),
    "trumpet": (0x79, 0x9D, 0xFA),
    "violin": (0xE7, 0x54, 0x0F),
}
OTHER: RGB = (0xBB, 0xBB, 0xBB)  # of a label that is none of the nine

DARK: RGB = (16, 16, 16)
LIGHT: RGB = (255, 255, 255)

HEAT_OPACITY = 0.55
HEAT_FROM = 0.5  # of a label's peak: where its heat begins
HEAT_CELLS = 8  # finer cells along a cell of the map, smoothed in between
BOLD = 700  # weight of the font


def colour_of(label: str) -> RGB:
    """Return the colour of a label, the same in all pictures.

    Examples
    --------
    >>> colour_of("guitar")
    (255, 186, 3)
    """
    return PALETTE.get(label, OTHER)


def web_colour(label: str) -> str:
    """Return the colour of a label as web pages and terminals write it.

    Examples
    --------
    >>> web_colour("guitar")
    '#ffba03'
    """
    return "#{:02x}{:02x}{:02x}".format(*colour_of(label))


def text_colour(background: RGB) -> RGB:
    """Return black or white, whichever stands out more from a background.

    Examples
    --------
    >>> text_colour((255, 255, 0)) == DARK, text_colour((0, 0, 160)) == LIGHT
    (True, True)
    """
    linear = [(c / 255) ** 2.2 for c in background]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    # Equal contrast by WCAG 2.1: (1.05 / (L + 0.05)) = ((L + 0.05) / 0.05).
    return DARK if luminance > 0.18 else LIGHT


@dataclass(frozen=True)
class YuvCoding:
    """How a video turns colours into Y, U and V.

    Attributes
    ----------
    red, blue : float
        Their weights in Y: 0.299 and 0.114 (BT.601), 0.2126 and 0.0722 (BT.709).
    is_full_range : bool
        Y from 0 to 255, else from 16 to 235.

    Examples
    --------
    >>> YuvCoding(0.299, 0.114, False).encode(np.array([[[255, 255, 255]]])).tolist()
    [[[235, 128, 128]]]
    """

    red: float = 0.299
    blue: float = 0.114
    is_full_range: bool = False

    def encode(self, image: NDArray[np.integer]) -> Plane:
        """Return an RGB image (H, W, 3) as Y, U and V (H, W, 3), uint8."""
        rgb = image.astype(np.float32)
        r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
        y = self.red * r + (1 - self.red - self.blue) * g + self.blue * b
        u = (b - y) / (2 - 2 * self.blue)
        v = (r - y) / (2 - 2 * self.red)
        if self.is_full_range:
            yuv = np.stack([y, u + 128, v + 128], axis=-1)
        else:
            yuv = np.stack([y * 219 / 255 + 16, u * 224 / 255 + 128, v * 224 / 255 + 128], axis=-1)
        return _bytes(yuv)

    def colour(self, rgb: RGB) -> tuple[int, int, int]:
        """Return one colour as Y, U and V."""
        y, u, v = self.encode(np.array([[rgb]], np.uint8))[0, 0].tolist()
        return y, u, v


class Patch(NamedTuple):
    """A small picture ready to be laid over the planes: what stays of them, and what is added."""

    width: int
    height: int
    stays: tuple[Plane, Plane]  # 255 - opacity, of Y and of U and V
    added: tuple[Plane, Plane, Plane]  # Y, U, V times opacity


def make_patch(image: NDArray[np.uint8], opacity: NDArray[np.uint8], coding: YuvCoding) -> Patch:
    """Return a patch of an RGB image (H, W, 3) and its opacity (H, W); H and W even."""
    height, width = opacity.shape
    half = (width // 2, height // 2)
    yuv = coding.encode(image).astype(np.float32)
    a = opacity.astype(np.float32) / 255
    weighted = yuv * a[..., None]
    a_half = cv2.resize(a, half, interpolation=cv2.INTER_AREA).reshape(half[::-1])
    u, v = (
        cv2.resize(weighted[..., i], half, interpolation=cv2.INTER_AREA).reshape(half[::-1])
        for i in (1, 2)
    )
    stays = (_bytes(255 * (1 - a)), _bytes(255 * (1 - a_half)))
    return Patch(width, height, stays, (_bytes(weighted[..., 0]), _bytes(u), _bytes(v)))


def _bytes(values: NDArray[np.floating]) -> Plane:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


@lru_cache(maxsize=1)
def _font() -> cv2.FontFace:
    return cv2.FontFace("sans")  # comes with OpenCV


@lru_cache(maxsize=512)
def tag_patch(text: str, colour: RGB, size: int, coding: YuvCoding) -> Patch:
    """Return a tag: text on a rounded bar of a colour, with a dark rim.

    Parameters
    ----------
    text : str
    colour : RGB
    size : int
        Of the letters, px.
    coding : YuvCoding
    """
    font, pad = _font(), max(2, round(size * 0.3))
    _, _, text_width, _ = cv2.getTextSize((4096, 4096), text, (0, 2 * size), font, size, BOLD)
    # All tags of a size are of one height, whatever letters they hold.
    width = _even(text_width + 2 * pad + 2)
    height = _even(round(size * 1.15) + pad + 2)
    image = np.full((height, width, 3), colour, np.uint8)
    baseline = height - 1 - pad // 2 - round(size * 0.24)
    cv2.putText(image, text, (1 + pad, baseline), text_colour(colour), font, size, BOLD)
    rim = _rounded(width, height, 0, pad + 1)
    inside = _rounded(width, height, max(1, size // 16), pad)
    mix = (inside / 255)[..., None]
    image = _bytes(image * mix + np.array(DARK) * (1 - mix))
    return make_patch(image, rim, coding)


def _even(n: int) -> int:
    return n + n % 2


def _rounded(width: int, height: int, inset: int, radius: int) -> Plane:
    # Opacity of a rectangle with round corners, drawn four times as large and made smaller.
    big = np.zeros((height * 4, width * 4), np.uint8)
    x0, y0 = inset * 4, inset * 4
    x1, y1, r = width * 4 - 1 - x0, height * 4 - 1 - y0, radius * 4
    cv2.rectangle(big, (x0 + r, y0), (x1 - r, y1), 255, -1)
    cv2.rectangle(big, (x0, y0 + r), (x1, y1 - r), 255, -1)
    for x in (x0 + r, x1 - r):
        for y in (y0 + r, y1 - r):
            cv2.circle(big, (x, y), r, 255, -1)
    return np.asarray(cv2.resize(big, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


class Canvas:
    """A frame to draw on.

    Parameters
    ----------
    y, u, v : uint8, shapes (H, W), (ceil(H / 2), ceil(W / 2)) twice
        Changed in place.
    coding : YuvCoding

    Attributes
    ----------
    width, height : int
        Pixels.
    line : int
        Width of lines, px.
    letters : int
        Size of letters, px.
    """

    def __init__(self, y: Plane, u: Plane, v: Plane, coding: YuvCoding) -> None:
        self._y, self._chroma = y, (u, v)
        self.coding = coding
        self.height, self.width = y.shape
        side = min(self.width, self.height)
        self.line = max(2, round(side / 270))
        self.letters = max(12, round(side / 30))

    def heat(self, scores: NDArray[np.floating], colour: RGB) -> None:
        """Lay a translucent colour over the places where a map (H, W) is near its peak."""
        top = float(scores.max())
        if top <= 0:
            return
        low = HEAT_FROM * top
        share = np.clip((scores.astype(np.float32) - low) / (top - low), 0, 1)
        h, w = share.shape
        fine = cv2.resize(share, (w * HEAT_CELLS, h * HEAT_CELLS), interpolation=cv2.INTER_CUBIC)
        opacity = _bytes(fine * (255 * HEAT_OPACITY))
        found = cv2.findNonZero(opacity)
        if found is None:
            return
        x, y, wide, high = cv2.boundingRect(found)
        # To whole pairs of pixels, so that the three planes agree.
        grid_h, grid_w = opacity.shape
        x0, x1 = (2 * round(i * self.width / (2 * grid_w)) for i in (x, x + wide))
        y0, y1 = (2 * round(i * self.height / (2 * grid_h)) for i in (y, y + high))
        if x1 - x0 < 2 or y1 - y0 < 2:
            return
        part = opacity[y : y + high, x : x + wide]
        values = self.coding.colour(_brighter(colour))
        _tint(self._y[y0:y1, x0:x1], part, values[0])
        for plane, value in zip(self._chroma, values[1:], strict=True):
            _tint(plane[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2], part, value)

    def box(self, box: Box, colour: RGB) -> None:
        """Draw the outline of a box, with a dark rim on both sides."""
        line = self.line
        x0, y0, x1, y1 = self._pixels(box)
        values, dark = self.coding.colour(colour), self.coding.colour(DARK)
        cv2.rectangle(self._y, (x0, y0), (x1, y1), dark[0], line + 2 * max(1, line // 2))
        cv2.rectangle(self._y, (x0, y0), (x1, y1), values[0], line)
        for plane, value in zip(self._chroma, values[1:], strict=True):
            corners = ((x0 // 2, y0 // 2), (x1 // 2, y1 // 2))
            cv2.rectangle(plane, *corners, value, (line + 1) // 2)

    def point(self, point: Point, colour: RGB) -> None:
        """Draw a point: the colour in a white ring with a dark rim."""
        radius = self._radius()
        rim = radius + max(1.0, self.line * 0.75)
        values, light = self.coding.colour(colour), self.coding.colour(LIGHT)
        for r, value in ((rim, self.coding.colour(DARK)[0]), (radius, light[0])):
            _disc(self._y, point, r, value)
        _disc(self._y, point, radius * 0.65, values[0])
        for plane, neutral, value in zip(self._chroma, light[1:], values[1:], strict=True):
            _disc(plane, point, rim / 2, neutral)
            _disc(plane, point, radius * 0.65 / 2, value)

    def tags(self, tags: list[tuple[str, str, RGB, Box | None, Point | None]], floor: int) -> None:
        """Draw the tags of players at their boxes or points, none over another.

        Parameters
        ----------
        tags : list of (text, short text, colour, box, point)
            The short text is for pictures where the other has no room. Tags of players without a
            place stand in a row at the bottom left.
        floor : int
            Lowest row of pixels to use.
        """
        taken: list[Area] = []
        points = [self._area(point) for _, _, _, _, point in tags if point is not None]
        gap = max(2, self.line * 2)
        shelf = gap  # where the next tag without a place goes
        for text, short, colour, box, point in tags:
            patch = tag_patch(text, colour, self.letters, self.coding)
            if patch.width > self.width:
                patch = tag_patch(short, colour, self.letters, self.coding)
            if patch.width > self.width or patch.height > floor:
                continue
            if box is None and point is None:
                x, y = shelf, floor - gap - patch.height
                shelf += patch.width + gap
            else:
                x, y = self._beside(patch, box, point)
            x = min(max(x, 0), self.width - patch.width)
            lowest = floor - patch.height
            y = min(max(y, 0), lowest)
            # Rather over a point than not at all; over another tag neither could be read.
            place = _free(patch, x, y, lowest, taken + points)
            if place is None:
                place = _free(patch, x, y, lowest, taken)
            if place is not None:
                taken.append((x, place, x + patch.width, place + patch.height))
                self.paste(patch, x, place)

    def paste(self, patch: Patch, x: int, y: int) -> None:
        """Lay a patch over the frame, its corner at even pixels; what lies outside is cut off."""
        x, y = x - x % 2, y - y % 2
        right = min(x + patch.width, self.width - self.width % 2)
        bottom = min(y + patch.height, self.height - self.height % 2)
        left, top = max(x, 0), max(y, 0)
        if right <= left or bottom <= top:
            return
        for i, plane in enumerate((self._y, *self._chroma)):
            n = 2 if i else 1
            target = plane[top // n : bottom // n, left // n : right // n]
            rows = slice((top - y) // n, (bottom - y) // n)
            columns = slice((left - x) // n, (right - x) // n)
            stays = patch.stays[min(i, 1)][rows, columns]
            kept = cv2.multiply(target, stays, scale=1 / 255)
            target[:] = cv2.add(kept, patch.added[i][rows, columns]).reshape(target.shape)

    def _radius(self) -> float:
        return float(max(3.5, min(self.width, self.height) / 100))

    def _pixels(self, box: Box) -> tuple[int, int, int, int]:
        # The line lies inside the picture, also where the box goes to its edge.
        inset = self.line // 2
        right, bottom = self.width - 1 - inset, self.height - 1 - inset
        x0, x1 = (round(min(max(v * self.width, inset), right)) for v in (box[0], box[2]))
        y0, y1 = (round(min(max(v * self.height, inset), bottom)) for v in (box[1], box[3]))
        return x0, y0, x1, y1

    def _beside(self, patch: Patch, box: Box | None, point: Point | None) -> tuple[int, int]:
        # Above the box; in its corner where there is no room above; else above the point.
        if box is not None:
            x0, y0, _, _ = self._pixels(box)
            above = y0 - patch.height - self.line
            return x0 - self.line // 2, above if above >= 0 else y0 + 2 * self.line
        x, y = point or (0.0, 0.0)
        below = y * self.height - 2 * self._radius() - patch.height
        return round(x * self.width - patch.width / 2), round(below)

    def _area(self, point: Point) -> Area:
        x, y, r = point[0] * self.width, point[1] * self.height, self._radius() + self.line
        return math.floor(x - r), math.floor(y - r), math.ceil(x + r), math.ceil(y + r)


def _free(patch: Patch, x: int, y: int, lowest: int, taken: list[Area]) -> int | None:
    # The row nearest to y, straight up or down, where a patch touches nothing.
    touched = [t for t in taken if t[0] < x + patch.width and x < t[2]]
    rows = [y, *(t[3] + 1 for t in touched), *(t[1] - patch.height - 1 for t in touched)]
    for row in sorted(rows, key=lambda row: abs(row - y)):
        is_free = all(row + patch.height <= t[1] or t[3] <= row for t in touched)
        if 0 <= row <= lowest and is_free:
            return row
    return None


def _brighter(colour: RGB) -> RGB:
    # Heat glows: half way to the brightest colour of the same hue.
    gain = (1 + 255 / max(colour)) / 2
    r, g, b = (min(255, round(c * gain)) for c in colour)
    return r, g, b


def _tint(target: Plane, opacity: Plane, value: int) -> None:
    # Both terms are linear in the opacity, so each is computed small and made larger.
    size = target.shape[::-1]
    stays = cv2.resize(255 - opacity, size, interpolation=cv2.INTER_LINEAR)
    added = cv2.resize(
        _bytes(opacity * np.float32(value / 255)), size, interpolation=cv2.INTER_LINEAR
    )
    kept = cv2.multiply(target, stays, scale=1 / 255)
    target[:] = cv2.add(kept, added).reshape(target.shape)


def _disc(plane: Plane, point: Point, radius: float, value: int) -> None:
    height, width = plane.shape
    centre = (round((point[0] * width - 0.5) * 16), round((point[1] * height - 0.5) * 16))
    cv2.circle(plane, centre, round(radius * 16), value, -1, cv2.LINE_AA, 4)  # in 1/16 px
