"""Cameras before pictures in which nothing moves."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from playspot.training.still_camera import N_KEPT, StillCameras, still_stack  # noqa: E402


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """Coarse texture, (72, 128, 3): flow finds its way in it."""
    cells = np.random.default_rng(0).integers(0, 256, (12, 20, 3)).astype(np.uint8)
    return cells.repeat(6, axis=0).repeat(7, axis=1)[:72, :128]


def test_a_camera_that_stands_still_sees_next_to_no_motion(picture: np.ndarray) -> None:
    stack = still_stack(picture, 0.0, np.random.default_rng(0))
    assert stack.shape == (10, 72, 128)
    assert np.median(np.abs(stack)) < 0.1


def test_some_cameras_move_the_whole_picture(picture: np.ndarray) -> None:
    medians = [
        np.median(np.abs(still_stack(picture, 8.0, np.random.default_rng(seed))))
        for seed in range(12)
    ]
    assert max(medians) > 1
    assert min(medians) < 0.1  # one in four stands


def test_a_stack_is_made_once_and_again_the_same(picture: np.ndarray) -> None:
    clip = cast(Any, SimpleNamespace(pictures=picture[None], n_steps=1))
    cameras = StillCameras([clip], 0, 4.0)
    first = cameras.stack(3, [0])
    assert cameras.stack(3 + N_KEPT, [0]) is first
    np.testing.assert_array_equal(StillCameras([clip], 0, 4.0).stack(3, [0]), first)
    assert not np.array_equal(cameras.stack(4, [0]), first)
