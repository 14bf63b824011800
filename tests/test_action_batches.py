"""Batches of flow stacks: cameras before still pictures, and parts of stacks."""

from types import ModuleType
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from playspot.training.batches import Batches, TeacherScores, map_shape  # noqa: E402
from playspot.training.cache import CachedClip  # noqa: E402
from playspot.training.targets import parse_target  # noqa: E402


def batch(made: ModuleType, clips: list[CachedClip], number: int = 0, **settings: float) -> Any:
    """Return a batch of clips in which all nine play everywhere."""
    height, width = clips[0].pictures.shape[1:3]
    everywhere = TeacherScores(
        torch.ones(made.N_STEPS, 9).numpy(),
        torch.ones(made.N_STEPS, 9, *map_shape(height, width)).numpy(),
    )
    teachers = {clip.clip.name: everywhere for clip in clips}
    config = made.tiny("action", **{"flip": False, "zoom": 0.0, **settings})
    return Batches(clips, "action", config, parse_target("SOT0503"), teachers).batch(number)


def test_nothing_is_played_before_a_camera_that_looks_at_a_picture(
    made: ModuleType, clips: list[CachedClip]
) -> None:
    stacks, targets = batch(made, clips, still=1.0)
    assert targets.sum() == 0
    assert torch.isfinite(stacks).all()


def test_the_share_of_still_pictures_is_that_asked_for(
    made: ModuleType, clips: list[CachedClip]
) -> None:
    _, targets = batch(made, clips, still=0.3, clips_per_batch=200)
    assert (targets.sum((1, 2, 3)) == 0).float().mean().item() == pytest.approx(0.3, abs=0.1)


def test_some_batches_are_parts_of_any_shape_with_their_targets(
    made: ModuleType, clips: list[CachedClip]
) -> None:
    shapes = set()
    for number in range(12):
        stacks, targets = batch(made, clips, number, crop=0.7)
        assert map_shape(*stacks.shape[2:]) == tuple(targets.shape[2:])
        shapes.add(tuple(stacks.shape[2:]))
    assert tuple(clips[0].pictures.shape[1:3]) in shapes
    assert len(shapes) > 2
