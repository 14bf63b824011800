"""How far an action model agrees with the teachers on recordings it has not learnt from.

There is no ground truth in a folder without labels. What can be measured is agreement, and only of
what does not see the same: the action model sees motion and neither picture nor sound.

* **temporal AUC**: of a label's score (maximum of the action map) over the steps of one recording,
  against the sound teacher reaching its threshold; mean over (recording, label) with both kinds.
* **AUC over all**: the same over the held-out steps of all recordings joined, by label.
* **spatial px**: from the maximum of the action map to that of the object teacher's map, at steps
  with a verdict; pixels of a picture whose longer side is 256.
* **top-1**: share of steps with a verdict at which the label with the highest action score is one
  of the verdict's. Where all labels score the same, the share that guessing would have.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engines.settings import Decoding, ModalityName
from ..models.labels import LABELS
from ..stream.detections import peak
from ..stream.fusion import Geometry, fuse, grid_shape, resample
from .batches import TeacherScores
from .paper_metrics import SIDE, auc

Maps = NDArray[np.float32]
Verdict = NDArray[np.bool_]


@dataclass(frozen=True)
class Heard:
    """What all three models say of one part, on a common grid.

    Attributes
    ----------
    recording : str
        Which recording it is a part of.
    sound : float32, shape (N, K)
    seen, action : float32, shape (N, K, H, W)
        Of the object teacher and the action model.
    verdicts : bool, shape (N, K)
    is_heard : bool, shape (N, K)
        Whether the sound teacher reaches its threshold.
    """

    recording: str
    sound: Maps
    seen: Maps
    action: Maps
    verdicts: Verdict
    is_heard: Verdict


def on_grid(scores: TeacherScores, size: tuple[int, int]) -> Maps:
    """Return the object teacher's maps on the common grid, float32 (N, K, H, W).

    Parameters
    ----------
    scores : TeacherScores
        With an object map.
    size : (int, int)
        Height and width of the cached picture, pixels.
    """
    height, width = size
    assert scores.object_map is not None
    longer = max(height, width)
    geometry = Geometry(width, height, scores.stride * longer, scores.offset * longer)
    shape = grid_shape(width, height)
    return np.stack(
        [resample(np.asarray(row, np.float32), geometry, shape) for row in scores.object_map]
    )


def fused(part: Heard, decoding: Decoding) -> Maps:
    """Return the playing maps of a part, float32 (N, K, H, W), as `detect` fuses them."""
    found = []
    for sound, seen, action in zip(part.sound, part.seen, part.action, strict=True):
        maps: dict[ModalityName, Maps | None] = {"sound": sound, "object": seen, "action": action}
        playing = fuse(maps, LABELS, decoding)
        assert playing is not None
        found.append(playing)
    return np.stack(found)


def agreement(
    parts: Sequence[Heard], decoding: Decoding, learnt: Collection[str] = LABELS
) -> dict[str, Any]:
    """Return the figures of the module's list, with their n, and how often fused scores fire.

    Parameters
    ----------
    parts : sequence of Heard
    decoding : Decoding
        Of the fused scores.
    learnt : collection of str
        Labels that the adapted model has learnt; of the others it says nothing, and its figures
        are without them.
    """
    is_learnt = np.array([label in learnt for label in LABELS])
    distances: list[float] = []
    centres: list[float] = []
    tops: list[float] = []
    fires: list[bool] = []
    false: list[bool] = []
    for part in parts:
        best = np.where(is_learnt, part.action.max(axis=(2, 3)), -1)  # (N, K)
        said = part.verdicts & is_learnt
        playing = fused(part, decoding).max(axis=(2, 3))
        on = np.array([decoding.on_of(label) for label in LABELS])
        fires += list((playing >= on)[part.verdicts])
        false += list((playing >= on)[~part.verdicts & ~part.is_heard])
        for step, k in np.argwhere(said):
            place, other = peak(part.action[step, k])[1], peak(part.seen[step, k])[1]
            if place is not None and other is not None:
                distances.append(_px(place, other, part.seen.shape[2:]))
                centres.append(_px((0.5, 0.5), other, part.seen.shape[2:]))
        for step in np.flatnonzero(said.any(axis=1)):
            is_top = best[step] >= best[step].max() - 1e-6
            tops.append(float(said[step, is_top].mean()))
    within = [a for label, found in _within(parts).items() if label in learnt for a in found]
    over_all = {k: area for k, area in _over_all(parts).items() if k in learnt}
    areas = [area for area in over_all.values() if not np.isnan(area)]
    return {
        "temporal_auc": {"average": _mean(within), "n": len(within)},
        "auc_over_all": {"average": _mean(areas), "n": len(areas), "labels": over_all},
        "spatial_px": {"average": _mean(distances), "n": len(distances), "centre": _mean(centres)},
        "top1": {"average": _mean(tops), "n": len(tops)},
        "fires": {"on_verdict": _mean(fires), "n": len(fires)},
        "fires_else": {"unheard": _mean(false), "n": len(false)},
    }


def written(value: float, form: str) -> str:
    """Return a figure as text; a dash where there is none.

    Examples
    --------
    >>> written(0.5, "{:.2f}"), written(float("nan"), "{:.2f}")
    ('0.50', '-')
    """
    return "-" if np.isnan(value) else form.format(value)


def _within(parts: Sequence[Heard]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for recording in dict.fromkeys(part.recording for part in parts):
        own = [part for part in parts if part.recording == recording]
        heard = np.concatenate([part.is_heard for part in own])
        scores = np.concatenate([part.action.max(axis=(2, 3)) for part in own])
        for k, label in enumerate(LABELS):
            area = auc(heard[:, k], scores[:, k])
            if not np.isnan(area):
                found.setdefault(label, []).append(area)
    return found


def _over_all(parts: Sequence[Heard]) -> dict[str, float]:
    if not parts:
        return {}
    heard = np.concatenate([part.is_heard for part in parts])
    scores = np.concatenate([part.action.max(axis=(2, 3)) for part in parts])
    return {label: auc(heard[:, k], scores[:, k]) for k, label in enumerate(LABELS)}


def _px(a: tuple[float, float], b: tuple[float, float], grid: Sequence[int]) -> float:
    """Return the distance of two places, given in parts of the picture, in pixels of 256."""
    rows, columns = grid
    scale = SIDE / max(rows, columns) * np.array([columns, rows])
    return float(np.hypot(*((np.asarray(a) - b) * scale)))


def _mean(values: "Sequence[float] | Sequence[bool]") -> float:
    return float(np.mean(values)) if len(values) else float("nan")
