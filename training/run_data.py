"""The clips of a training run: which of them a network can use, and what they ask of it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..models.labels import LABELS
from .batches import Batches, TeacherScores, clip_tags
from .cache import CachedClip
from .config import TrainConfig, TrainingError
from .targets import Target, make_targets, parse_target


def target_of(config: TrainConfig) -> Target | None:
    """Return what an action network is to output; None for the other networks.

    Raises
    ------
    ValueError
        If there is no such target, or it does not use a threshold that is given.

    Examples
    --------
    >>> config = TrainConfig(kind="action", target="SOT0503", object_threshold=0.25)
    >>> target_of(config)
    Target(rule='SOT', sound_threshold=0.5, object_threshold=0.25)
    """
    if config.kind != "action":
        return None
    target = parse_target(config.target)
    for name, is_used in (("sound", target.needs_sound), ("object", target.needs_object)):
        value = getattr(config, f"{name}_threshold")
        if value is not None and not is_used:
            raise TrainingError(f"{name}_threshold: {value}: target {target.rule} does not use it")
        if value is not None:
            target = replace(target, **{f"{name}_threshold": value})
    return target


def usable(
    clips: Sequence[CachedClip], config: TrainConfig, target: Target | None
) -> list[CachedClip]:
    """Return the clips that have what the network takes and its target needs."""
    needs_sound = config.kind == "sound" or (target is not None and target.needs_sound)
    return [
        clip
        for clip in clips
        if (clip.has_sound or not needs_sound)
        and (clip.has_pictures or config.kind != "object")
        and (clip.has_flows or config.kind != "action")
    ]


def labels_asked(batches: Batches) -> NDArray[np.bool_]:
    """Return which labels some target is 1 for, bool (K,): in the tags, or by the teachers."""
    asked = np.asarray(batches.tags.any(axis=0), np.bool_)
    if batches.target is None:
        return asked
    asked = np.zeros(len(LABELS), np.bool_)
    for clip, tags in zip(batches.clips, batches.tags, strict=True):
        said = batches.teachers.get(clip.clip.name, TeacherScores())
        of_steps = np.tile(tags, (clip.n_steps, 1))  # (N, K)
        targets = make_targets(batches.target, of_steps, said.sound, said.object_map)
        asked |= (targets > 0).any(axis=(0, *range(2, targets.ndim)))
        if asked.all():
            break
    return asked


def missing_labels(batches: Batches) -> str:
    """Return a line about labels that no target is 1 for; empty if there is none.

    They are no error: who detects three instruments has clips of three. What has nothing to learn
    is one.

    Raises
    ------
    TrainingError
        If no target at all is 1.
    """
    asked = labels_asked(batches)
    names = ", ".join(label for label, is_asked in zip(LABELS, asked, strict=True) if not is_asked)
    target = batches.target
    by_tags = target is None or not (target.needs_sound or target.needs_object)
    if not asked.any():
        remedy = "give clips with tags" if by_tags else "lower the thresholds of --target"
        raise TrainingError(f"no clip is a positive one of any label ({names}); {remedy}")
    what = "no training clip is tagged" if by_tags else "the thresholds are reached nowhere for"
    return f"{what} {names}; the network will not report them" if names else ""


def fingerprint(
    clips: Sequence[CachedClip], validation: Sequence[CachedClip], config: TrainConfig
) -> str:
    """Return what tells these clips, in this order and with these tags, from others."""
    digest = hashlib.sha256()
    for part in (clips, validation):
        for clip in part:
            tags = clip_tags(clip, config.kind).astype(np.uint8).tobytes().hex()
            digest.update(f"{clip.clip.name}\0{tags}\n".encode())
        digest.update(b"\n")
    return digest.hexdigest()


def teachers_fingerprint(clips: Sequence[CachedClip], teachers: Mapping[str, TeacherScores]) -> str:
    """Return what tells the scores of these teachers on these clips from those of others."""
    digest = hashlib.sha256()
    for clip in clips:
        said = teachers.get(clip.clip.name, TeacherScores())
        for scores in (said.sound, said.object_map):
            digest.update(b"-" if scores is None else np.ascontiguousarray(scores).tobytes())
    return digest.hexdigest()
