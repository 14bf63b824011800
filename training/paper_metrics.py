"""The paper's metrics, to the letter: when, where, and the two teachers alone.

Conventions
-----------
* A *video* is one label in one clip: the steps of the clip, of which some are positive (the label
  is played: its set of key points is not empty), and the label's map at each step.
* `maps` (N, h, w): a label's map at each step, at the network's own resolution.
* `size` (H, W): of the picture, resized so that its longer side is 256 and the other side, times
  the same factor, cut to whole pixels.
* `points` (n, 2): key points of a step as (y, x), pixels of that picture, counted from the centre
  of its top left pixel; `boxes` (n, 4) likewise as (y0, x0, y1, x1), bounds included.

Metrics
-------
* **temporal AUC**: the score of a step is the maximum of the map *before* any enlarging. Area under
  the ROC curve over the steps of a video; mean over the videos of a label; mean over labels. A
  video whose steps are all positive, or all negative, has none and is left out.
* **spatial distance**: of positive steps only. The map is enlarged to the picture bilinearly with
  its corner cells on the corner pixels (`align_corners=True`); from the first pixel that has the
  maximum to the nearest key point. Mean over positive steps of a video; over videos of a label;
  over labels.
* **hit rate** (object model): whether that pixel lies in a box of the label. Mean over the pictures
  of a clip that have a box (a photograph is a clip of one); over clips of a label; over labels.
* **frame AUC** (sound model): over the steps of all clips joined, by label; mean over labels.

Fusion is the product of the maps before enlarging. Maps of two networks that differ in size
cannot be multiplied; the smaller is enlarged to the other in the same manner first.

Source: Liu, Yang and Jeng 2018, sections V-A to V-D and equation 3; what the text leaves open
(reduction, corners, truncation) is as in the authors' public evaluation scripts.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..stream.pictures import fit_size
from .bootstrap import label_intervals

Array = NDArray[np.float64]
ScoreMap = NDArray[np.float32]
Size = tuple[int, int]  # rows, columns
Place = tuple[tuple[float, float], Array]  # (y, x), and the key points (n, 2) to measure from

SIDE = 256  # px: the longer side of the pictures in which distances are measured


def auc(positive: NDArray[np.bool_], scores: NDArray[Any]) -> float:
    """Return the area under the ROC curve; NaN unless both classes are there.

    Parameters
    ----------
    positive : bool, shape (N,)
    scores : float, shape (N,)
        Equal scores count half.

    Examples
    --------
    >>> auc(np.array([False, True, False, True]), np.array([0.1, 0.4, 0.4, 0.8]))
    0.875
    """
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if n_positive == 0 or n_negative == 0:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # mean rank of equal scores, from 1
    wins = ranks[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(wins / (n_positive * n_negative))


def picture_size(width: int, height: int) -> Size:
    """Return (H, W) of a picture resized to a longer side of 256, the other side truncated.

    Examples
    --------
    >>> picture_size(1920, 1080), picture_size(640, 512)
    ((144, 256), (204, 256))
    """
    wide, high = fit_size(width, height, SIDE)
    return high, wide


def in_pixels(places: Array, size: Size) -> Array:
    """Return normalised x, y pairs (n, 2 or 4) as y, x in pixels from the first one's centre.

    Examples
    --------
    >>> in_pixels(np.array([[0.5, 0.25]]), (144, 256)).tolist()
    [[35.5, 127.5]]
    """
    swapped = [1, 0, 3, 2][: places.shape[1]]
    return np.asarray(places[:, swapped] * np.resize(size, places.shape[1]) - 0.5)


def enlarge(maps: NDArray[Any], size: Size) -> Array:
    """Return maps (..., h, w) enlarged to (..., H, W), bilinear, corner cells on corner pixels.

    Examples
    --------
    >>> enlarge(np.array([[0.0, 1.0]]), (1, 5)).tolist()
    [[0.0, 0.25, 0.5, 0.75, 1.0]]
    """
    rows = _between(np.asarray(maps, np.float64), size[0], -2)
    return _between(rows, size[1], -1)


def _between(values: Array, n_out: int, axis: int) -> Array:
    """Return values read at n_out even places along an axis; a flat map stays exactly flat."""
    n_in = values.shape[axis]
    place = np.arange(n_out) * (n_in - 1) / max(n_out - 1, 1)
    left = place.astype(int)
    right = np.minimum(left + 1, n_in - 1)
    weight = (place - left).reshape(-1, *[1] * (-1 - axis))
    before = np.take(values, left, axis)
    return np.asarray(before + weight * (np.take(values, right, axis) - before))


def max_location(score_map: NDArray[Any], size: Size) -> tuple[int, int]:
    """Return (row, column) of the maximum of a map (h, w) enlarged to a picture.

    The first in reading order where several pixels have it.

    Examples
    --------
    >>> max_location(np.array([[0.1, 0.9, 0.1]]), (144, 257))
    (0, 128)
    """
    row, column = divmod(int(enlarge(score_map, size).argmax()), size[1])
    return row, column


def distance_px(location: tuple[float, float], points: NDArray[Any]) -> float:
    """Return the distance from a place (y, x) to the nearest of the points (n, 2), in pixels.

    Source: equation 3 of the paper.

    Examples
    --------
    >>> distance_px((10, 10), np.array([[13.0, 14.0], [90.0, 10.0]]))
    5.0
    """
    return float(np.hypot(*(np.asarray(points) - location).T).min())


def places(maps: NDArray[Any], points: Sequence[Array], size: Size) -> list[Place]:
    """Return the max location and the key points of each positive step; none of 1x1 maps."""
    if maps.shape[1:] == (1, 1):
        return []
    return [
        (max_location(score_map, size), some)
        for score_map, some in zip(maps, points, strict=True)
        if len(some)
    ]


def is_in_a_box(location: tuple[float, float], boxes: NDArray[Any]) -> bool:
    """Return whether a place (y, x) lies in one of the boxes (n, 4), bounds included.

    Examples
    --------
    >>> is_in_a_box((10, 20), np.array([[0, 0, 5, 5], [10, 10, 30, 30]]))
    True
    """
    y, x = location
    y0, x0, y1, x1 = np.asarray(boxes).T
    return bool(((y0 <= y) & (y <= y1) & (x0 <= x) & (x <= x1)).any())


def multiply(maps: Sequence[NDArray[Any]]) -> ScoreMap:
    """Return the product of maps (N, K, h, w) and scores (N, K): the fusion of the paper.

    Examples
    --------
    >>> multiply([np.full((1, 2, 5, 8), 0.5), np.array([[1.0, 0.5]])])[0, :, 0, 0].tolist()
    [0.5, 0.25]
    """
    size = max((m.shape[2:] for m in maps if m.ndim == 4), default=(1, 1), key=math.prod)
    found: NDArray[Any] = np.ones(1, np.float32)
    for scores in maps:
        cube = scores[:, :, None, None] if scores.ndim == 2 else scores
        is_other = scores.ndim == 4 and scores.shape[2:] != size
        found = found * (enlarge(cube, size) if is_other else cube)
    return np.asarray(found, np.float32)


@dataclass
class PaperTally:
    """What was measured of one output: one value for each (clip, label), in the order added.

    Attributes
    ----------
    aucs, distances : dict of (clip, label) to float
        Of videos that have one; distances are means over positive steps.
    hits : dict of (clip, label) to float
        Share of the steps with a box.
    n_frames : dict of label to int
        Positive steps whose distance was measured.
    """

    aucs: dict[tuple[str, str], float] = field(default_factory=dict)
    distances: dict[tuple[str, str], float] = field(default_factory=dict)
    hits: dict[tuple[str, str], float] = field(default_factory=dict)
    n_frames: dict[str, int] = field(default_factory=dict)

    def add(
        self, clip: str, label: str, maps: NDArray[Any], points: Sequence[Array], size: Size
    ) -> None:
        """Measure one video, when and where.

        Parameters
        ----------
        clip, label : str
        maps : float, shape (N, h, w)
            Of the label; (N, 1, 1) is a score without a place.
        points : sequence of (n, 2) float arrays, length N
            Key points of each step, (y, x) px; empty where the label is not played.
        size : (H, W)
            Of the picture.
        """
        self.add_times(clip, label, maps, points)
        self.add_places(clip, label, places(maps, points, size))

    def add_times(self, clip: str, label: str, maps: NDArray[Any], points: Sequence[Array]) -> None:
        """Measure when: see `add`."""
        positive = np.array([len(some) > 0 for some in points], bool)
        area = auc(positive, maps.max(axis=(1, 2)))
        if not np.isnan(area):
            self.aucs[clip, label] = area

    def add_places(self, clip: str, label: str, found_places: Sequence[Place]) -> None:
        """Measure where, from the place (y, x) and the key points of each positive step."""
        if found_places:
            found = [distance_px(place, points) for place, points in found_places]
            self.distances[clip, label] = float(np.mean(found))
            self.n_frames[label] = self.n_frames.get(label, 0) + len(found)

    def add_hits(
        self, clip: str, label: str, maps: NDArray[Any], boxes: Sequence[Array], size: Size
    ) -> None:
        """Measure in how many of a clip's pictures the maximum lies in a box.

        Parameters
        ----------
        clip, label, maps, size :
            As of `add`.
        boxes : sequence of (n, 4) float arrays, length N
            Of the label in each picture, (y0, x0, y1, x1) px.
        """
        found = [
            is_in_a_box(max_location(score_map, size), some)
            for score_map, some in zip(maps, boxes, strict=True)
            if len(some)
        ]
        if found:
            self.hits[clip, label] = float(np.mean(found))

    def report(self, labels: tuple[str, ...]) -> dict[str, Any]:
        """Return `temporal_auc`, `spatial_px` and, if measured, `hit_rate`; `n` and `intervals`.

        Each holds `average` and every label; NaN where nothing was measured. `n` counts videos,
        and `frames` the positive steps.
        """
        kinds = {"temporal_auc": self.aucs, "spatial_px": self.distances}
        if self.hits:
            kinds["hit_rate"] = self.hits
        found: dict[str, Any] = {
            kind: label_means(values, labels) for kind, values in kinds.items()
        }
        found["n"] = {kind: counts(values, labels) for kind, values in kinds.items()}
        frames = {label: self.n_frames.get(label, 0) for label in labels}
        found["n"]["frames"] = {"all": sum(frames.values()), **frames}
        found["intervals"] = {
            kind: label_intervals(values, labels) for kind, values in kinds.items()
        }
        return found


def label_means(
    values: Mapping[tuple[str, str], float], labels: tuple[str, ...]
) -> dict[str, float]:
    """Return the mean over the clips of each label, and `average`: the mean over labels with any.

    Examples
    --------
    >>> values = {("a", "drum"): 1.0, ("b", "drum"): 0.5, ("a", "cello"): 0.25}
    >>> label_means(values, ("cello", "drum"))
    {'average': 0.5, 'cello': 0.25, 'drum': 0.75}
    """
    means = {}
    for label in labels:
        own = [value for (_, other), value in values.items() if other == label]
        means[label] = float(np.mean(own)) if own else float("nan")
    return {"average": mean_of(means.values()), **means}


def mean_of(values: Iterable[float]) -> float:
    """Return the mean of what is not NaN; NaN of nothing.

    Examples
    --------
    >>> mean_of([0.5, float("nan"), 1.0])
    0.75
    """
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def counts(values: Mapping[tuple[str, str], float], labels: tuple[str, ...]) -> dict[str, int]:
    """Return how many clips each label has, and `all`: of all labels together."""
    found = {label: sum(other == label for _, other in values) for label in labels}
    return {"all": sum(found.values()), **found}
