"""Fusion: the three models' scores become one playing map per label.

In: action scores (K, h, w), object scores (K, h', w'), sound scores (K,), each in [0, 1] or None.
Out: the playing map (K, H, W) on a common grid that covers the picture, in [0, 1].

The paper multiplies the maps point by point (Liu, Yang and Jeng 2018, section III-B). The product
of three scores is small and means something else when a modality is missing, so it is put back on
the scale of one score: the weighted geometric mean. With all weights equal this is a monotone
function of the paper's product; which label wins and where its maximum lies are the same.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..engines.settings import MODALITIES, Decoding, ModalityName

ScoreMap = NDArray[np.float32]

GRID_SIDE = 32  # cells along the longer side of the picture: 8 px of 256
FLOOR = 1e-6  # a score of exactly 0 in one modality must not hide what the others say of it


@dataclass(frozen=True)
class Geometry:
    """Where the cells of a score map lie: cell i is centred on input pixel `offset + stride * i`.

    Attributes
    ----------
    width, height : int
        Of the network's input, pixels.
    stride, offset : float
        In input pixels, the same in x and y.
    """

    width: int
    height: int
    stride: float
    offset: float


def grid_shape(width: int, height: int) -> tuple[int, int]:
    """Return (rows, columns) of the common grid for a picture of this size or aspect.

    Examples
    --------
    >>> grid_shape(1920, 1080)
    (18, 32)
    """
    longer = max(width, height)
    return max(1, round(GRID_SIDE * height / longer)), max(1, round(GRID_SIDE * width / longer))


@lru_cache(maxsize=256)
def _interpolation(n_out: int, n_in: int, size: int, stride: float, offset: float) -> ScoreMap:
    """Return the (n_out, n_in) matrix that reads `n_in` cells at `n_out` even places, linearly."""
    centre = (np.arange(n_out) + 0.5) / n_out * size - 0.5  # in input pixels
    place = np.clip((centre - offset) / stride, 0, n_in - 1)
    left = np.minimum(place.astype(int), max(n_in - 2, 0))
    weight = (place - left).astype(np.float32)
    matrix = np.zeros((n_out, n_in), np.float32)
    rows = np.arange(n_out)
    matrix[rows, left] = 1 - weight
    matrix[rows, np.minimum(left + 1, n_in - 1)] += weight
    return matrix


def resample(scores: ScoreMap, geometry: Geometry, shape: tuple[int, int]) -> ScoreMap:
    """Return score maps read on the common grid by bilinear interpolation.

    Parameters
    ----------
    scores : float32, shape (K, h, w)
    geometry : Geometry
        Where the cells of `scores` lie.
    shape : (H, W)
        Rows and columns of the common grid, which covers the picture evenly.

    Returns
    -------
    scores : float32, shape (K, H, W)

    Examples
    --------
    >>> ramp = np.arange(4, dtype=np.float32)[None, None, :].repeat(4, axis=1)
    >>> resample(ramp, Geometry(128, 128, stride=32, offset=15.5), (4, 4))[0, 0].tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    _, h, w = scores.shape
    rows = _interpolation(shape[0], h, geometry.height, geometry.stride, geometry.offset)
    columns = _interpolation(shape[1], w, geometry.width, geometry.stride, geometry.offset)
    return np.asarray(rows @ scores @ columns.T, np.float32)  # (K, H, W)


def _logit(score: ScoreMap) -> ScoreMap:
    clipped = np.clip(score, FLOOR, 1 - FLOOR)
    return np.asarray(np.log(clipped / (1 - clipped)), np.float32)


def fuse(
    maps: dict[ModalityName, ScoreMap | None], labels: tuple[str, ...], decoding: Decoding
) -> ScoreMap | None:
    """Return the playing map: the weighted geometric mean of the modalities of the mode.

    Parameters
    ----------
    maps : dict
        `action` and `object` (K, H, W) on one grid, `sound` (K,); None or absent is missing.
    labels : tuple of str
        The axis K.
    decoding : Decoding
        Mode, weights and recalibration.

    Returns
    -------
    playing : float32, shape (K, H, W), or (K, 1, 1) from sound alone; None if all are missing.

    Notes
    -----
    Source: Liu, Yang and Jeng 2018, section III-B (the four fusion formulas).

    Examples
    --------
    >>> half, all_ = np.full((1, 2, 2), 0.25, np.float32), np.ones(1, np.float32)
    >>> decoding = Decoding(mode="action*sound")
    >>> float(fuse({"action": half, "sound": all_}, ("violin",), decoding)[0, 0, 0])
    0.5
    """
    wanted = [name for name in MODALITIES if name in decoding.mode.split("*")]
    present = {name: scores for name in wanted if (scores := maps.get(name)) is not None}
    if not present:
        return None
    total = sum(decoding.weights.get(name, 1.0) for name in present)
    if total <= 0:
        return None
    log_mean: ScoreMap = np.zeros((len(labels), 1, 1), np.float32)
    for name, scores in present.items():
        cube = scores[:, None, None] if scores.ndim == 1 else scores
        weight = decoding.weights.get(name, 1.0) / total
        log_mean = np.asarray(log_mean + weight * np.log(np.maximum(cube, FLOOR)), np.float32)
    playing = np.exp(log_mean)
    if (decoding.slope or decoding.bias) and len(present) == len(wanted):
        slope = np.array([decoding.slope.get(label, 1.0) for label in labels], np.float32)
        bias = np.array([decoding.bias.get(label, 0.0) for label in labels], np.float32)
        z = slope[:, None, None] * _logit(playing) + bias[:, None, None]
        playing = 1 / (1 + np.exp(-z))
    return np.asarray(playing, np.float32)
