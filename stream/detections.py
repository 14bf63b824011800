"""Which and where: the playing map of one step becomes scores, points and detections.

In: the playing map (K, H, W) on a grid that covers the picture evenly. Out: per label the maximum
and its place, and a `Detection` for each connected region, coordinates normalised to [0, 1].
"""

from dataclasses import dataclass

import cv2
import numpy as np

from ..engines.settings import Decoding
from .events import Box, Point
from .fusion import ScoreMap


@dataclass(frozen=True)
class Region:
    """A connected part of a label's playing map.

    Attributes
    ----------
    label : str
    score : float
        Of the peak.
    point, box : tuple or None
        Peak and bounds, normalised; None without a picture.
    cell : tuple of int
        (row, column) of the peak on the grid.
    """

    label: str
    score: float
    point: Point | None
    box: Box | None
    cell: tuple[int, int]


def _vertex(before: float, peak: float, after: float) -> float:
    """Return where between -0.5 and 0.5 a parabola through three neighbours has its top."""
    bend = before - 2 * peak + after
    return 0.0 if bend >= 0 else float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5))


def _place(scores: ScoreMap, row: int, column: int) -> Point:
    """Return the normalised place of a peak, refined between cells by a parabola."""
    height, width = scores.shape
    y = row + 0.5
    x = column + 0.5
    if 0 < row < height - 1:
        y += _vertex(*(float(v) for v in scores[row - 1 : row + 2, column]))
    if 0 < column < width - 1:
        x += _vertex(*(float(v) for v in scores[row, column - 1 : column + 2]))
    return (x / width, y / height)


def peak(scores: ScoreMap) -> tuple[float, Point | None]:
    """Return the maximum of one label's map (H, W) and its place; no place on a 1x1 map.

    Notes
    -----
    The paper's max location (Liu, Yang and Jeng 2018, section V-C), refined between cells.

    Examples
    --------
    >>> scores = np.zeros((18, 32), np.float32)
    >>> scores[9, 8] = 0.75
    >>> peak(scores)
    (0.75, (0.265625, 0.5277777777777778))
    """
    row, column = divmod(int(scores.argmax()), scores.shape[1])
    point = None if scores.size == 1 else _place(scores, row, column)
    return float(scores[row, column]), point


def regions(playing: ScoreMap, labels: tuple[str, ...], decoding: Decoding) -> list[Region]:
    """Return every region that reaches its label's `off` threshold, best first.

    A region is a connected set of cells that reach `region` times the label's peak and `off`;
    two players of one instrument are two regions.

    Parameters
    ----------
    playing : float32, shape (K, H, W)
    labels : tuple of str
        The axis K.
    decoding : Decoding
        Thresholds.

    Examples
    --------
    >>> playing = np.zeros((1, 18, 32), np.float32)
    >>> playing[0, 4:6, 4:8], playing[0, 9, 20] = 0.8, 0.6
    >>> [(r.label, round(r.score, 2)) for r in regions(playing, ("drum",), Decoding())]
    [('drum', 0.8), ('drum', 0.6)]
    """
    found = []
    for label, scores in zip(labels, playing, strict=True):
        top = float(scores.max())
        off = decoding.off_of(label)
        if top < off:
            continue
        if scores.size == 1:
            found.append(Region(label, top, None, None, (0, 0)))
            continue
        level = max(off, decoding.region * top)
        n, parts, stats, _ = cv2.connectedComponentsWithStats(
            (scores >= level).astype(np.uint8), connectivity=8
        )
        for part in range(1, n):
            found.append(_region(label, np.where(parts == part, scores, 0), stats[part]))
    return sorted(found, key=lambda region: -region.score)


def _region(
    label: str, scores: ScoreMap, stats: "np.ndarray[tuple[int], np.dtype[np.int32]]"
) -> Region:
    height, width = scores.shape
    x, y, w, h = (int(v) for v in stats[:4])
    row, column = divmod(int(scores.argmax()), width)
    box = (x / width, y / height, (x + w) / width, (y + h) / height)
    return Region(
        label, float(scores[row, column]), _place(scores, row, column), box, (row, column)
    )
