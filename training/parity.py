"""Whether two ways to run the same networks agree: their maps, and what is made of them.

The reference is ONNX Runtime at fp32 on the CPU. A candidate is compared with it on the same
inputs, score by score; and on clips with truth, in when and where as `evaluate` measures them.

Conventions
-----------
* A difference is of a score, 0 to 1, candidate minus reference.
* A change is a figure of the candidate minus that of the reference on the same clips.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engines.bounds import LARGEST, MEAN
from ..engines.options import Precision
from ..engines.settings import Decoding
from .evaluate import FUSED, Evaluation
from .scores import ClipScores

KINDS = ("sound", "object", "action")


@dataclass(frozen=True)
class Bounds:
    """What is accepted; None: any.

    Attributes
    ----------
    largest, mean : float or None
        Absolute difference of a score.
    auc : float
        How much a temporal AUC may fall.
    px : float
        How much a spatial distance may grow, pixels of a picture whose longer side is 256.
    """

    largest: float | None
    mean: float | None
    auc: float = 0.01
    px: float = 1.5

    def with_flow(self) -> "Bounds":
        """Return the bounds for a network that computes the optical flow itself.

        Its flow differs from OpenCV's by some 0.0002 pixels, more where there is nothing to see.
        """
        largest = None if self.largest is None else max(self.largest, FLOW_LARGEST)
        mean = None if self.mean is None else max(self.mean, FLOW_MEAN)
        return Bounds(largest, mean, max(self.auc, 0.01), max(self.px, 1.5))


FLOW_LARGEST, FLOW_MEAN = 0.01, 1e-4  # of a score, from another optical flow
BOUNDS: dict[Precision, Bounds] = {
    "fp32": Bounds(LARGEST["fp32"], MEAN["fp32"], 0.005, 0.5),
    "fp16": Bounds(LARGEST["fp16"], MEAN["fp16"]),
    "bf16": Bounds(LARGEST["bf16"], MEAN["bf16"]),
    "int8": Bounds(LARGEST["int8"], MEAN["int8"]),
}


@dataclass(frozen=True)
class Agreement:
    """How far the scores of one network are from the reference's.

    Attributes
    ----------
    kind, name : str
    n : int
        Scores compared.
    largest, mean : float
        Absolute difference.
    faults : tuple of str
        What is beyond the bounds.
    """

    kind: str
    name: str
    n: int
    largest: float
    mean: float
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """How the figures of one output changed.

    Attributes
    ----------
    output : str
        One of `evaluate.OUTPUTS`.
    auc, auc_change : float
        Temporal AUC of the candidate, mean over labels; NaN where no video has one.
    n_videos : int
        Of which it is: a label in a clip.
    px, px_change : float
        Spatial distance, mean over labels; NaN without maps.
    n_frames : int
        Of which it is.
    faults : tuple of str
    """

    output: str
    auc: float
    auc_change: float
    n_videos: int
    px: float
    px_change: float
    n_frames: int
    faults: tuple[str, ...] = ()


class Parity:
    """One candidate against the reference, clip by clip.

    Parameters
    ----------
    candidate : str
        For people, such as "tensorrt fp16".
    bounds : Bounds
    names : mapping of kind to str
        Names of the networks that are compared.
    labels, decoding
        Of the model set.
    has_flow : bool
        Whether the candidate's action model computes the optical flow itself.
    """

    def __init__(
        self,
        candidate: str,
        bounds: Bounds,
        names: Mapping[str, str],
        labels: tuple[str, ...],
        decoding: Decoding,
        *,
        has_flow: bool = False,
    ) -> None:
        self.candidate = candidate
        self.bounds = bounds
        self.names = dict(names)
        self.has_flow = has_flow
        self._pairs: dict[str, list[tuple[NDArray[Any], NDArray[Any]]]] = {}
        self._reference = Evaluation(labels, decoding)
        self._given = Evaluation(labels, decoding)

    def bounds_of(self, output: str) -> Bounds:
        """Return what is accepted of an output: more, if flow from another place is in it."""
        is_looser = self.has_flow and "action" in output
        return self.bounds.with_flow() if is_looser else self.bounds

    def add(
        self,
        clip: str,
        truth: Mapping[str, Any] | None,
        reference: ClipScores,
        given: ClipScores,
    ) -> None:
        """Compare what both say of a clip; `truth` is its JSON, if it has one."""
        for kind in self.names:
            ours, theirs = _scores(reference, kind), _scores(given, kind)
            if ours is not None and theirs is not None:
                self._pairs.setdefault(kind, []).append((ours.ravel(), theirs.ravel()))
        if truth is not None:
            self._reference.add(clip, truth, reference)
            self._given.add(clip, truth, given)

    def pairs(self, kind: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return all scores of a network: the reference's and the candidate's, (n,) each."""
        found = self._pairs.get(kind, [])
        if not found:
            return np.empty(0, np.float32), np.empty(0, np.float32)
        ours, theirs = zip(*found, strict=True)
        return np.concatenate(ours), np.concatenate(theirs)

    def agreements(self) -> list[Agreement]:
        """Return how far the scores of each network are from the reference's."""
        found = []
        for kind, name in self.names.items():
            ours, theirs = self.pairs(kind)
            if not len(ours):
                continue
            difference = np.abs(theirs.astype(np.float64) - ours)
            largest, mean = float(difference.max()), float(difference.mean())
            bounds = self.bounds_of(kind)
            faults = (
                *_above("largest difference", largest, bounds.largest),
                *_above("mean difference", mean, bounds.mean),
            )
            found.append(Agreement(kind, name, len(ours), largest, mean, faults))
        return found

    def changes(self) -> list[Change]:
        """Return how the figures changed: of each network that is compared, and of all together."""
        found = []
        for output in (*self.names, FUSED):
            before, after = (
                evaluation.papers[output].report(self._given.labels)
                for evaluation in (self._reference, self._given)
            )
            n = after["n"]
            if not n["temporal_auc"]["all"] and not n["frames"]["all"]:
                continue
            auc, px = after["temporal_auc"]["average"], after["spatial_px"]["average"]
            auc_change = auc - before["temporal_auc"]["average"]
            px_change = px - before["spatial_px"]["average"]
            bounds = self.bounds_of(output)
            faults = (
                *_above("fall of the AUC", -auc_change, bounds.auc),
                *_above("growth of the distance, px,", px_change, bounds.px),
            )
            found.append(
                Change(
                    output,
                    auc,
                    auc_change,
                    n["temporal_auc"]["all"],
                    px,
                    px_change,
                    n["frames"]["all"],
                    faults,
                )
            )
        return found

    def faults(self, kind: str | None = None) -> list[str]:
        """Return what is beyond the bounds, of one network or of all.

        What is wrong with the figures of all together is held against each.
        """
        rows = [(row.kind, row.faults) for row in self.agreements()]
        rows += [(row.output, row.faults) for row in self.changes()]
        return [
            f"{name}, {self.candidate}: {fault}"
            for name, faults in rows
            if kind in (None, name) or name == FUSED
            for fault in faults
        ]

    def report(self) -> dict[str, Any]:
        """Return all figures: numbers, text, lists and dictionaries only."""
        return {
            "candidate": self.candidate,
            "bounds": {kind: asdict(self.bounds_of(kind)) for kind in self.names},
            "agreements": [asdict(row) for row in self.agreements()],
            "changes": [asdict(row) for row in self.changes()],
            "faults": self.faults(),
        }


def _scores(scores: ClipScores, kind: str) -> NDArray[Any] | None:
    return {"sound": scores.sound, "object": scores.object_map, "action": scores.action}[kind]


def _above(what: str, value: float, bound: float | None) -> tuple[str, ...]:
    if bound is None or value <= bound or (what.startswith(("fall", "growth")) and np.isnan(value)):
        return ()
    return (f"{what} {value:.2g}, accepted up to {bound:g}",)
