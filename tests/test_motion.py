"""The motion measure: open where something moves, shut where all is still."""

import numpy as np
import pytest

from playspot.engines.motion import CELL, MotionEngine, motion_map


def moving(speed: float, box: tuple[int, int, int, int] = (64, 32, 96, 64)) -> np.ndarray:
    """Five flows in which only a box (x0, y0, x1, y1) moves, by `speed` px a tick to the left."""
    stack = np.zeros((10, 144, 256), np.float32)
    x0, y0, x1, y1 = box
    stack[::2, y0:y1, x0:x1] = -speed
    return stack


def test_a_still_picture_gives_nothing() -> None:
    assert motion_map(np.zeros((10, 144, 256), np.float32)).max() == 0


def test_a_camera_that_pans_gives_nothing() -> None:
    stack = np.full((10, 144, 256), 3.0, np.float32)
    assert motion_map(stack).max() == 0


def test_a_hand_that_moves_opens_its_surroundings_only() -> None:
    opened = motion_map(moving(2.0))
    assert opened[5, 9] > 0.95
    assert opened[15, 28] == 0


def test_a_small_gesture_is_enough() -> None:
    assert motion_map(moving(0.3))[5, 9] > 0.8


def test_coding_noise_is_not(rng: np.random.Generator) -> None:
    noise = rng.normal(0, 0.03, (10, 144, 256)).astype(np.float32)
    assert motion_map(noise).max() < 0.3


def test_a_cut_is_outvoted() -> None:
    stack = np.zeros((10, 144, 256), np.float32)
    stack[4:6, :, :128] = 50.0
    assert motion_map(stack).max() == 0


def test_labels_share_one_map_and_odd_sizes_fit() -> None:
    engine = MotionEngine(("drum", "violin"))
    scores = engine(moving(2.0)[None, :, :27, :251])
    assert scores.shape == (1, 2, 4, 32)
    assert (scores[:, 0] == scores[:, 1]).all()
    assert engine.header.offset == (CELL - 1) / 2


def test_other_input_is_refused() -> None:
    with pytest.raises(ValueError, match="flow stacks"):
        MotionEngine(("drum",))(np.zeros((10, 4, 4), np.float32))
