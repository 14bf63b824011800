"""Physics of what training adds to flow stacks: cameras, blobs, noise, other views."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from playspot.training.config import TrainConfig  # noqa: E402
from playspot.training.flow_augment import (  # noqa: E402
    affine_flow,
    augment_flow,
    blob_flow,
    camera_flow,
    crop_flow,
    noise_flow,
    texture,
    warp_flow,
)

SIZE = (36, 64)
MAKERS = [camera_flow, blob_flow, noise_flow]
Maker = Callable[[np.random.Generator, int, int, int, float], Any]


def view(scale: float = 1.0, mirror: int = 1) -> np.ndarray:
    return np.array([[[scale * mirror, 0, 0], [0, scale, 0]]], np.float32)


def test_a_pan_adds_the_same_everywhere() -> None:
    flow = affine_flow(np.array([[3, -2, 0, 0]], np.float32), *SIZE)
    assert (flow[0, 0] == 3).all()
    assert (flow[0, 1] == -2).all()


def test_a_zoom_is_radial_and_grows_with_the_distance() -> None:
    x, y = affine_flow(np.array([[0, 0, 2, 0]], np.float32), *SIZE)[0].numpy()
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    across, down = columns - SIZE[1] / 2, rows - SIZE[0] / 2
    np.testing.assert_allclose(x * down, y * across, atol=1e-4)  # along the radius
    np.testing.assert_allclose(np.hypot(x, y), 2 * np.hypot(across, down) / 32, rtol=1e-5)


def test_a_turn_is_across_the_radius() -> None:
    x, y = affine_flow(np.array([[0, 0, 0, 1]], np.float32), *SIZE)[0].numpy()
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    across, down = columns - SIZE[1] / 2, rows - SIZE[0] / 2
    np.testing.assert_allclose(x * across + y * down, 0, atol=1e-4)
    assert y[SIZE[0] // 2, -1] > 0  # clockwise: the right side goes down


def test_a_mirrored_stack_moves_the_other_way_across_only() -> None:
    stacks = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 10, *SIZE)))
    mirrored = warp_flow(stacks.float(), view(mirror=-1))
    np.testing.assert_allclose(mirrored[:, 0::2], -stacks[:, 0::2].flip(3), atol=1e-4)
    np.testing.assert_allclose(mirrored[:, 1::2], stacks[:, 1::2].flip(3), atol=1e-4)


def test_a_close_up_moves_as_much_more() -> None:
    assert (warp_flow(torch.ones(1, 10, *SIZE), view(0.5)) == 2).all()


def test_a_distant_view_is_still_around_the_picture() -> None:
    warped = warp_flow(torch.ones(1, 10, *SIZE), view(2.0))
    assert warped[0, 0, 0, 0] == 0
    assert warped[0, 0, 18, 32] == pytest.approx(0.5)


@pytest.mark.parametrize("make", MAKERS)
def test_what_is_added_depends_on_the_generator_alone(make: Maker) -> None:
    first, again = (make(np.random.default_rng(7), 3, *SIZE, 4.0) for _ in range(2))
    assert first.shape == (3, 10, *SIZE)
    assert first.dtype == torch.float32
    assert torch.equal(first, again)


@pytest.mark.parametrize("make", MAKERS)
def test_twice_the_amount_moves_twice_as_far_or_more(make: Maker) -> None:
    one, two = (make(np.random.default_rng(3), 8, *SIZE, amount).abs().sum() for amount in (2, 4))
    assert two > 1.5 * one > 0


def test_a_camera_goes_on_as_it_began() -> None:
    flow = camera_flow(np.random.default_rng(0), 64, *SIZE, 4.0).mean((2, 3)).reshape(64, 5, 2)
    steps = (flow[:, 1:] * flow[:, :-1]).sum()
    assert steps > 0.6 * flow.square().sum() * 4 / 5  # neighbours in time agree


def test_texture_lies_between_none_and_whole_and_is_both() -> None:
    seen = texture(np.random.default_rng(0), 32, *SIZE)
    assert (seen.min().item(), seen.max().item()) == (0, 1)
    assert 0.2 < seen.mean() < 0.8


def test_a_blob_leaves_most_of_the_picture_as_it_is() -> None:
    speed = blob_flow(np.random.default_rng(0), 32, *SIZE, 10.0).square().sum(1).sqrt()
    assert (speed > 0.1).float().mean() < 0.5
    assert speed.amax((1, 2)).min() > 0.01


def test_noise_is_smooth() -> None:
    noise = noise_flow(np.random.default_rng(0), 8, 144, 256, 1.0)
    assert (noise[..., 1:] - noise[..., :-1]).std() < 0.2 * noise.std()


def test_nothing_is_changed_unless_asked_for() -> None:
    stacks = torch.ones(2, 10, *SIZE)
    same = augment_flow(stacks.clone(), TrainConfig(kind="action"), np.random.default_rng(0))
    assert torch.equal(same, stacks)


def test_speed_scales_a_whole_stack() -> None:
    config = TrainConfig(kind="action", speed=1.0)
    stacks = augment_flow(torch.ones(16, 10, *SIZE), config, np.random.default_rng(0))
    factors = stacks.amax((1, 2, 3))
    assert torch.equal(factors, stacks.amin((1, 2, 3)))
    assert np.exp(-1) < factors.min() < 0.8
    assert 1.2 < factors.max() < np.exp(1)


def test_a_part_keeps_each_cell_over_its_place() -> None:
    cells = torch.arange(5.0 * 8).reshape(1, 1, 5, 8)
    stacks = cells.repeat_interleave(32, 2).repeat_interleave(32, 3)[:, :, :144].repeat(2, 10, 1, 1)
    shapes = set()
    for seed in range(20):
        part, targets = crop_flow(stacks, cells, 32, np.random.default_rng(seed))
        assert torch.equal(part[:1, :1, ::32, ::32], targets)
        shapes.add(tuple(part.shape[2:]))
    assert len(shapes) > 10
    assert min(shapes)[0] <= 32
