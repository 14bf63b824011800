"""How well a model set says when, where and which, on clips with ground truth.

Conventions
-----------
* `playing` (N,) bool: whether a label is played at each step: its set of key points is not empty.
* `points` (n, 2): key points of a step, normalised to [0, 1], origin top left.
* `box` x0, y0, x1, y1, normalised.
* Distances are in pixels of a picture whose longer side is 256.

Metrics
-------
* **temporal AUC**: of one label's score over the steps of one clip; only where the clip has steps
  with and without playing; then averaged over those (clip, label) pairs.
* **spatial distance**: at each step with playing, from the maximum of the label's map to the
  nearest key point; median and mean over all such steps.
* **frame AUC** (sound model): of one label over the steps of all clips joined.
* **hit rate** (object model): at each step where the instrument is seen, whether the maximum of the
  label's map lies in its box.
* **top-1**: at each step with playing, whether the label with the highest score is being played.

Intervals are 95 % bootstrap intervals over clips. Source: Liu, Yang and Jeng 2018, sections V-A to
V-D and equation 3.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engines.settings import MODALITIES, Decoding, ModalityName, Mode
from ..stream.detections import peak
from ..stream.fusion import fuse, grid_shape, resample
from .bootstrap import interval as interval
from .paper_metrics import (
    SIDE,
    PaperTally,
    in_pixels,
    mean_of,
    multiply,
    picture_size,
)
from .paper_metrics import auc as auc
from .scores import ClipScores

Array = NDArray[np.float64]
ScoreMap = NDArray[np.float32]

# What is evaluated: a name, and the models whose scores are multiplied.
OUTPUTS: dict[str, tuple[ModalityName, ...]] = {
    "sound": ("sound",),
    "object": ("object",),
    "action": ("action",),
    "action*object": ("action", "object"),
    "action*sound": ("action", "sound"),
    "action*object*sound": ("action", "object", "sound"),
}
FUSED: Mode = "action*object*sound"


@dataclass(frozen=True)
class StepTruth:
    """What is true of one label at one step: key points if played, boxes of what is seen."""

    points: Array  # (n, 2)
    boxes: Array  # (n, 4)


@dataclass
class Tally:
    """Measurements of one output, by clip and label.

    Attributes
    ----------
    aucs : dict of (clip, label) to float
    distances : dict of (clip, label) to list of float
        Pixels, one for each step with playing.
    top1 : dict of clip to list of bool
    """

    aucs: dict[tuple[str, str], float] = field(default_factory=dict)
    distances: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    top1: dict[str, list[bool]] = field(default_factory=dict)


def nearest_px(point: tuple[float, float], points: Array, width: int, height: int) -> float:
    """Return the distance from a place to the nearest key point, in pixels of a 256-side picture.

    Source: equation 3 of the paper.

    Examples
    --------
    >>> nearest_px((0.5, 0.5), np.array([[0.5, 0.25], [0.0, 0.0]]), 512, 256)
    32.0
    """
    scale = SIDE / max(width, height) * np.array([width, height])
    return float(np.hypot(*((points - point) * scale).T).min())


def is_hit(point: tuple[float, float], boxes: Array) -> bool:
    """Return whether a place lies in one of the boxes.

    Examples
    --------
    >>> is_hit((0.5, 0.5), np.array([[0.4, 0.4, 0.6, 0.6]]))
    True
    """
    x, y = point
    inside = (boxes[:, 0] <= x) & (x <= boxes[:, 2]) & (boxes[:, 1] <= y) & (y <= boxes[:, 3])
    return bool(inside.any())


def step_truths(truth: Mapping[str, Any], label: str, n_steps: int) -> list[StepTruth]:
    """Return what a clip's JSON says of one label at each step; nothing where it says nothing."""
    found = [StepTruth(np.empty((0, 2)), np.empty((0, 4))) for _ in range(n_steps)]
    for step in truth.get("steps", ()):
        if not 0 <= step["step"] < n_steps:
            continue
        players = [player for player in step["players"] if player["label"] == label]
        points = [point for player in players if player["playing"] for point in player["points"]]
        boxes = [player["box"] for player in players if player.get("box")]
        found[step["step"]] = StepTruth(
            np.array(points, float).reshape(-1, 2), np.array(boxes, float).reshape(-1, 4)
        )
    return found


def playing_maps(
    scores: ClipScores, names: Iterable[ModalityName], labels: tuple[str, ...], decoding: Decoding
) -> list[ScoreMap | None]:
    """Return the playing map of each step, from the named models, as `detect` fuses it.

    None where one of them has nothing to say. The map is recalibrated only while all models of the
    decoding's mode are among those named.
    """
    shape = grid_shape(max(scores.width, 1), max(scores.height, 1))
    wanted = set(names)
    found: list[ScoreMap | None] = []
    for step in range(scores.n_steps):
        maps: dict[ModalityName, ScoreMap | None] = {}
        if "sound" in wanted and scores.sound is not None:
            maps["sound"] = scores.sound[step]
        if "object" in wanted and scores.object_map is not None and scores.object_geometry:
            maps["object"] = resample(scores.object_map[step], scores.object_geometry, shape)
        if "action" in wanted and scores.action is not None and scores.action_geometry:
            maps["action"] = resample(scores.action[step], scores.action_geometry, shape)
        found.append(fuse(maps, labels, decoding) if len(maps) == len(wanted) else None)
    return found


def paper_maps(scores: ClipScores, output: str) -> ScoreMap | None:
    """Return the maps (N, K, h, w) of one of the `OUTPUTS`, multiplied as the paper does.

    None where one of its models has nothing to say.
    """
    found = {"sound": scores.sound, "object": scores.object_map, "action": scores.action}
    maps = [found[kind] for kind in OUTPUTS[output]]
    present = [scores for scores in maps if scores is not None]
    return multiply(present) if len(present) == len(maps) else None


def detected_maps(
    scores: ClipScores, labels: tuple[str, ...], decoding: Decoding
) -> ScoreMap | None:
    """Return the playing maps (N, K, H, W) that `detect` decodes: of the models that are there.

    None if the mode names none of them.
    """
    found = {"sound": scores.sound, "object": scores.object_map, "action": scores.action}
    names = [name for name in MODALITIES if name in decoding.mode.split("*")]
    present = [name for name in names if found[name] is not None]
    if not present:
        return None
    maps = playing_maps(scores, present, labels, decoding)
    return np.stack([playing for playing in maps if playing is not None])


def played_steps(
    truth: Mapping[str, Any], labels: tuple[str, ...], n_steps: int
) -> NDArray[np.bool_]:
    """Return which labels are played at each step, bool (N, K).

    Examples
    --------
    >>> player = {"label": "drum", "playing": True, "points": [[0.5, 0.5]], "box": None}
    >>> played_steps({"steps": [{"step": 1, "players": [player]}]}, ("drum",), 2).tolist()
    [[False], [True]]
    """
    found = [[len(s.points) > 0 for s in step_truths(truth, k, n_steps)] for k in labels]
    return np.array(found, bool).reshape(len(labels), n_steps).T


class Evaluation:
    """Measurements over clips, added one by one, and the report made of them.

    Parameters
    ----------
    labels : tuple of str
        The axis K of the scores.
    decoding : Decoding, optional
        Weights and recalibration of the fusion.
    """

    def __init__(self, labels: tuple[str, ...], decoding: Decoding | None = None) -> None:
        self.labels = labels
        # Multiplies whatever it is given, and recalibrates the product of all three.
        self.decoding = (decoding or Decoding()).model_copy(update={"mode": FUSED})
        self.tallies = {name: Tally() for name in OUTPUTS}
        self.papers = {name: PaperTally() for name in OUTPUTS}
        self.hits: dict[tuple[str, str], list[bool]] = {}
        self.sound_frames: dict[str, list[tuple[bool, float]]] = {}
        self.clips: list[str] = []

    def add(self, name: str, truth: Mapping[str, Any], scores: ClipScores) -> None:
        """Measure one clip.

        Parameters
        ----------
        name : str
            Of the clip, each once.
        truth : dict
            Content of its JSON.
        scores : ClipScores
        """
        self.clips.append(name)
        truths = {label: step_truths(truth, label, scores.n_steps) for label in self.labels}
        for output, names in OUTPUTS.items():
            maps = playing_maps(scores, names, self.labels, self.decoding)
            if maps and all(playing is not None for playing in maps):
                stacked = np.stack([playing for playing in maps if playing is not None])
                self._measure(output, name, truths, stacked, scores)
                self._measure_paper(output, name, truths, scores)
        if scores.sound is not None:
            self._measure_sound(truth, truths, scores.sound)

    def _measure(
        self,
        output: str,
        name: str,
        truths: dict[str, list[StepTruth]],
        maps: ScoreMap,
        scores: ClipScores,
    ) -> None:
        tally = self.tallies[output]
        tops = maps.max(axis=(2, 3))  # (N, K)
        playing = np.array(
            [[len(step.points) > 0 for step in truths[label]] for label in self.labels]
        ).T  # (N, K)
        busy = playing.any(axis=1)
        tally.top1[name] = list(playing[busy, tops[busy].argmax(axis=1)])
        for k, label in enumerate(self.labels):
            area = auc(playing[:, k], tops[:, k])
            if not np.isnan(area):
                tally.aucs[name, label] = area
            if maps.shape[2:] == (1, 1):
                continue
            for step, found in enumerate(truths[label]):
                wanted = len(found.points) or (output == "object" and len(found.boxes))
                point = peak(maps[step, k])[1] if wanted else None
                if point is None:
                    continue
                if len(found.points):
                    distance = nearest_px(point, found.points, scores.width, scores.height)
                    tally.distances.setdefault((name, label), []).append(distance)
                if output == "object" and len(found.boxes):
                    self.hits.setdefault((name, label), []).append(is_hit(point, found.boxes))

    def _measure_paper(
        self, output: str, name: str, truths: dict[str, list[StepTruth]], scores: ClipScores
    ) -> None:
        maps = paper_maps(scores, output)
        if maps is None:
            return
        size = picture_size(max(scores.width, 1), max(scores.height, 1))
        tally = self.papers[output]
        for k, label in enumerate(self.labels):
            points = [in_pixels(step.points, size) for step in truths[label]]
            tally.add(name, label, maps[:, k], points, size)
            if output == "object":
                boxes = [in_pixels(step.boxes, size) for step in truths[label]]
                tally.add_hits(name, label, maps[:, k], boxes, size)

    def _measure_sound(
        self, truth: Mapping[str, Any], truths: dict[str, list[StepTruth]], sound: ScoreMap
    ) -> None:
        unseen = set(truth.get("heard", ())) - set(truth.get("played", ()))
        for k, label in enumerate(self.labels):
            if label in unseen:
                continue  # it sounds off-screen, and the truth does not say when
            frames = self.sound_frames.setdefault(label, [])
            for step, found in enumerate(truths[label]):
                frames.append((len(found.points) > 0, float(sound[step, k])))

    def report(self) -> dict[str, Any]:
        """Return all figures: numbers, text, lists and dictionaries only.

        Returns
        -------
        report : dict
            `n_clips`; `outputs`, for each output `temporal` and `spatial` with `n`, an interval and
            `labels`; `sound_frame_auc`; `object_hit_rate`.
        """
        outputs = {
            name: {
                "temporal_auc": self._temporal(tally),
                "spatial_px": self._spatial(tally),
                "top1": _share([value for values in tally.top1.values() for value in values]),
                "paper": self.papers[name].report(self.labels),
            }
            for name, tally in self.tallies.items()
            if tally.top1
        }
        frame_aucs = {
            label: auc(np.array([p for p, _ in frames]), np.array([s for _, s in frames]))
            for label, frames in self.sound_frames.items()
        }
        hits = {
            label: _share([v for (_, other), vs in self.hits.items() if other == label for v in vs])
            for label in self.labels
        }
        return {
            "n_clips": len(self.clips),
            "outputs": outputs,
            "sound_frame_auc": _with_mean(frame_aucs),
            "object_hit_rate": _with_mean({k: v["mean"] for k, v in hits.items()}),
        }

    def _temporal(self, tally: Tally) -> dict[str, Any]:
        by_clip: dict[str, list[float]] = {}
        for (name, _), value in tally.aucs.items():
            by_clip.setdefault(name, []).append(value)
        groups = [np.array(values) for values in by_clip.values()]
        values = np.array(list(tally.aucs.values()))
        by_label = {
            label: [v for (_, other), v in tally.aucs.items() if other == label]
            for label in self.labels
        }
        return {
            "mean": _mean(values),
            "interval": list(interval(groups, _mean)),
            "n": len(values),
            "labels": {k: {"mean": _mean(np.array(v)), "n": len(v)} for k, v in by_label.items()},
        }

    def _spatial(self, tally: Tally) -> dict[str, Any]:
        by_clip: dict[str, list[float]] = {}
        by_label: dict[str, list[float]] = {label: [] for label in self.labels}
        for (name, label), values in tally.distances.items():
            by_clip.setdefault(name, []).extend(values)
            by_label[label].extend(values)
        groups = [np.array(values) for values in by_clip.values()]
        joined = np.concatenate(groups) if groups else np.empty(0)
        return {
            "median": _median(joined),
            "interval": list(interval(groups, _median)),
            "mean": _mean(joined),
            "n": len(joined),
            "labels": {
                k: {"median": _median(np.array(v)), "mean": _mean(np.array(v)), "n": len(v)}
                for k, v in by_label.items()
            },
        }


def _mean(values: Array) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _median(values: Array) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _share(values: list[bool]) -> dict[str, Any]:
    return {"mean": _mean(np.array(values, float)), "n": len(values)}


def _with_mean(values: dict[str, float]) -> dict[str, Any]:
    n = sum(not np.isnan(value) for value in values.values())
    return {"mean": mean_of(values.values()), "n": n, "labels": values}
