"""What the teachers make of unlabelled parts: the verdict of each step, tags, and one common size.

The **verdict** of a step and label is what the target asks of both teachers, without the place: for
SOT0503, that the sound is at least 0.5 and the object at least 0.3 somewhere in the picture.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..models.labels import LABELS
from .batches import TeacherScores
from .cache import CachedClip
from .targets import Target, make_targets

LEAST_SHARE = 0.1  # of a part's steps: what a label must have to be a tag of the part


def verdict(scores: TeacherScores, target: Target) -> NDArray[np.bool_]:
    """Return whether the teachers say that a label is played, bool (N, K).

    Examples
    --------
    >>> sound = np.zeros((2, 9), np.float32); sound[1, 2] = 0.8
    >>> maps = np.full((2, 9, 1, 1), 0.4, np.float32)
    >>> np.argwhere(verdict(TeacherScores(sound, maps), Target("SOT", 0.5, 0.3))).tolist()
    [[1, 2]]
    """
    if (target.needs_sound and scores.sound is None) or (
        target.needs_object and scores.object_map is None
    ):  # a teacher had nothing to go by
        return np.zeros((0, len(LABELS)), bool)
    no_tags = np.zeros((1, len(LABELS)), np.float32)
    asked = make_targets(target, no_tags, scores.sound, scores.object_map) > 0
    return np.asarray(asked.any(axis=tuple(range(2, asked.ndim))))


def tagged(clip: CachedClip, verdicts: NDArray[np.bool_]) -> CachedClip:
    """Return a clip with the labels that the teachers find in a tenth of its steps as its tags.

    Training chooses its best state by the clip-level AUC against these.
    """
    share = verdicts.mean(axis=0) if len(verdicts) else np.zeros(len(LABELS))
    played = tuple(label for label, part in zip(LABELS, share, strict=True) if part >= LEAST_SHARE)
    return replace(clip, clip=replace(clip.clip, played=played))


def counts(verdicts: Sequence[NDArray[np.bool_]]) -> dict[str, int]:
    """Return in how many steps each label is played, by the verdict."""
    total = sum((found.sum(axis=0) for found in verdicts), np.zeros(len(LABELS), int))
    return {label: int(n) for label, n in zip(LABELS, total, strict=True)}


@dataclass(frozen=True)
class FramedClip(CachedClip):
    """A clip on a canvas that several sizes fit on, at its top left; 0 around.

    Attributes
    ----------
    height, width : int
        Of the canvas, pixels.
    """

    height: int = 0
    width: int = 0

    @property
    def pictures(self) -> NDArray[np.uint8]:
        """Pictures of all steps, uint8 (N, height, width, 3), made at each call."""
        found = super().pictures
        around = _margins(found.shape[1:3], (self.height, self.width))
        return np.pad(found, ((0, 0), *around, (0, 0)))

    @property
    def n_steps(self) -> int:
        """How many steps there are."""
        return len(super().pictures)

    def stack(self, step: int) -> NDArray[np.float16]:
        """Return the flow stack of a step, float16 (10, height, width)."""
        stack = super().stack(step)
        return np.pad(stack, ((0, 0), *_margins(stack.shape[1:], (self.height, self.width))))


def framed(
    clips: Sequence[CachedClip],
    teachers: Mapping[str, TeacherScores],
    height: int,
    width: int,
) -> tuple[list[CachedClip], dict[str, TeacherScores]]:
    """Return clips of any size as clips of one, with targets of 0 where the canvas is empty.

    Parameters
    ----------
    clips : sequence of CachedClip
        With a longer side of 256 px.
    teachers : mapping of clip name to TeacherScores
    height, width : int
        Of the canvas: as high and as wide as any of the clips.
    """
    found: list[CachedClip] = []
    scores: dict[str, TeacherScores] = {}
    for clip in clips:
        name = clip.clip.name
        size = clip.flows.shape[2:]
        scores[name] = teachers[name]
        if size == (height, width):
            found.append(clip)
            continue
        found.append(FramedClip(clip.clip, clip.folder, height=height, width=width))
        maps = scores[name].object_map
        if maps is not None:
            stride = scores[name].stride * max(height, width)  # px, longer sides are the same
            wanted = tuple(
                max(int(np.ceil(side / stride)), cells + (side > own))
                for side, own, cells in zip((height, width), size, maps.shape[2:], strict=True)
            )
            wide = np.pad(maps, ((0, 0), (0, 0), *_margins(maps.shape[2:], wanted)))
            scores[name] = replace(scores[name], object_map=wide)
    return found, scores


def _margins(size: Sequence[int], wanted: Sequence[int]) -> list[tuple[int, int]]:
    return [(0, whole - part) for part, whole in zip(size, wanted, strict=True)]
