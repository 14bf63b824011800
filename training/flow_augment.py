"""Changes of flow stacks in training: what a real camera and the world add to drawn players.

In and out: flow stacks, float32 (B, 10, H, W), px per tick, x (to the right) and y (down) in turn,
oldest first. All amounts come from the generator that is given, so a batch can be made again.

==============  ===========================================================================
`camera_flow`   the camera pans, zooms, turns and shakes; seen where the picture has texture
`blob_flow`     things of no shape that drift, or jerk to and fro without a beat
`noise_flow`    what Farneback sees in noise and coding: smooth, now and then a burst
==============  ===========================================================================
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .config import TrainConfig

N_FLOWS = 5  # in a stack
BLOB_SPEED = 10.0  # px per tick, of the fastest

Array = NDArray[np.float32]


def warp_flow(stacks: Tensor, theta: Array) -> Tensor:
    """Return flow stacks of pictures that are shifted, enlarged and mirrored.

    A picture that is mirrored or enlarged moves so as well: x and y of flow scale with it.

    Parameters
    ----------
    stacks : Tensor, shape (B, 10, H, W)
    theta : float32, shape (B, 2, 3)
        As for `batches.warp`, without turns.
    """
    grid = functional.affine_grid(torch.from_numpy(theta), list(stacks.shape), align_corners=False)
    warped = functional.grid_sample(stacks, grid, padding_mode="zeros", align_corners=False)
    factors = torch.from_numpy(1 / theta[:, [0, 1], [0, 1]]).repeat(1, N_FLOWS)  # (B, 10)
    return warped.mul_(factors[:, :, None, None])


def augment_flow(stacks: Tensor, config: TrainConfig, rng: np.random.Generator) -> Tensor:
    """Return stacks changed as a configuration says, in place.

    Parameters
    ----------
    stacks : Tensor, shape (B, 10, H, W)
    config : TrainConfig
        Its `speed`, `blobs`, `camera` and `flow_noise` are used.
    rng : Generator
    """
    n, _, height, width = stacks.shape
    if config.speed:
        stacks *= _tensor(np.exp(rng.uniform(-config.speed, config.speed, (n, 1, 1, 1))))
    if config.blobs:
        chosen = torch.from_numpy(rng.random(n) < config.blobs)
        stacks[chosen] += blob_flow(rng, int(chosen.sum()), height, width, BLOB_SPEED)
    if config.camera:
        stacks += camera_flow(rng, n, height, width, config.camera)
    if config.flow_noise:
        stacks += noise_flow(rng, n, height, width, config.flow_noise)
    return stacks


def crop_flow(
    stacks: Tensor, targets: Tensor, stride: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return the same random part of all stacks, and of their targets: strips, close-ups.

    Videos have many shapes, a network sees none but that of its clips; and a part costs less.

    Parameters
    ----------
    stacks : Tensor, shape (B, 10, H, W)
    targets : Tensor, shape (B, K, ceil(H / stride), ceil(W / stride))
    stride : int
        Px between the cells of the targets; the part begins at one of them.
    rng : Generator
    """
    parts = []
    for size in targets.shape[2:]:
        n = int(rng.integers(1, size + 1))
        first = int(rng.integers(size - n + 1))
        parts.append((first, first + n))
    (top, bottom), (left, right) = parts
    inner = stacks[:, :, stride * top : stride * bottom, stride * left : stride * right]
    return inner, targets[:, :, top:bottom, left:right]


def affine_flow(coefficients: Array, height: int, width: int) -> Tensor:
    """Return the flow of a picture that is shifted, enlarged and turned about its middle.

    Parameters
    ----------
    coefficients : float32, shape (n, 4)
        Shift to the right and down; enlargement and turn (clockwise), both as the px that a point
        half a width beside the middle moves.
    height, width : int

    Returns
    -------
    flow : float32, shape (n, 2, H, W)

    Examples
    --------
    >>> affine_flow(np.float32([[0, 0, 1, 0]]), 1, 2)[0, 0].tolist()  # away from the middle
    [[-0.5, 0.5]]
    """
    half = width / 2
    x = (torch.arange(width) + 0.5 - half) / half  # (W,)
    y = ((torch.arange(height) + 0.5 - height / 2) / half)[:, None]  # (H, 1)
    across, down, grow, turn = torch.from_numpy(coefficients)[:, :, None, None].unbind(1)
    return torch.stack([across + grow * x - turn * y, down + grow * y + turn * x], 1)


def camera_flow(
    rng: np.random.Generator, n: int, height: int, width: int, largest: float
) -> Tensor:
    """Return what moving cameras add to stacks, float32 (n, 10, H, W).

    A camera drifts with one speed over the five flows and shakes besides; how much of it is pan,
    zoom and turn differs. Half of the pictures have places without texture, which show no motion.

    Parameters
    ----------
    rng : Generator
    n, height, width : int
    largest : float
        Px per tick. Most cameras move much less: amounts are squared.
    """
    kinds = rng.standard_normal((n, 1, 4)) * (rng.random((n, 1, 4)) < 0.5) * [1, 0.5, 0.7, 0.5]
    drift = kinds * rng.uniform(0, 1, (n, 1, 1)) ** 2
    shake = _wander(rng, n, 4) * [1, 1, 0.2, 0.3] * 0.5 * rng.uniform(0, 1, (n, 1, 1)) ** 3
    coefficients = np.asarray(largest * (drift + shake), np.float32)  # (n, 5, 4)
    flow = affine_flow(coefficients.reshape(-1, 4), height, width)
    flow = flow.reshape(n, N_FLOWS * 2, height, width)
    bare = rng.random(n) < 0.5
    flow[torch.from_numpy(bare)] *= texture(rng, int(bare.sum()), height, width)
    return flow


def texture(rng: np.random.Generator, n: int, height: int, width: int) -> Tensor:
    """Return where pictures have texture, (n, 1, H, W) in [0, 1]: soft patches of random size."""
    cells = torch.from_numpy(rng.uniform(-1, 1, (n, 1, 7, 11)).astype(np.float32))
    level = torch.from_numpy(rng.uniform(-0.6, 0.6, (n, 1, 1, 1)).astype(np.float32))
    return _spread((8 * (cells - level)).clamp(-1, 2), height, width).clamp_(0, 1)


def blob_flow(rng: np.random.Generator, n: int, height: int, width: int, fastest: float) -> Tensor:
    """Return the flow of one to four soft blobs a stack, float32 (n, 10, H, W).

    Each goes its own way: steadily (as one who walks, or water) or jerking without a beat.

    Parameters
    ----------
    rng : Generator
    n, height, width : int
    fastest : float
        Px per tick.
    """
    count = 4
    present = np.arange(count) < rng.integers(1, count + 1, (n, 1))  # (n, count)
    jerky = rng.random((n, count, 1, 1))
    steady = rng.standard_normal((n, count, 1, 2))
    jerks = rng.standard_normal((n, count, N_FLOWS, 2)) * rng.uniform(0.3, 1, (n, count, 1, 2))
    speed = fastest * rng.uniform(0.05, 1, (n, count, 1, 1)) ** 2
    velocity = speed * (jerky * jerks + (1 - jerky) * steady) * present[:, :, None, None]
    start = rng.uniform(0, 1, (n, count, 1, 2)) * [width, height]
    middle = start + np.cumsum(velocity, axis=2)  # (n, count, 5, 2)
    radius = width * np.exp(rng.uniform(np.log(0.02), np.log(0.2), (n, count, 1, 2)))
    x = _bell(np.arange(width) - middle[..., :1], radius[..., :1])  # (n, count, 5, W)
    y = _bell(np.arange(height) - middle[..., 1:], radius[..., 1:])  # (n, count, 5, H)
    flow = torch.einsum("bktv,bkty,bktx->btvyx", _tensor(velocity), _tensor(y), _tensor(x))
    return flow.reshape(n, N_FLOWS * 2, height, width)


def noise_flow(rng: np.random.Generator, n: int, height: int, width: int, largest: float) -> Tensor:
    """Return smooth random flow, float32 (n, 10, H, W): coarse, each flow its own amount.

    Parameters
    ----------
    rng : Generator
    n, height, width : int
    largest : float
        Standard deviation of the strongest, px per tick; more where the picture is flat.
    """
    shape = (n, N_FLOWS, 2, 12, 20)
    amount = rng.uniform(0, 1, (n, 1, 1, 1, 1)) ** 2 * rng.uniform(0.2, 1, (n, N_FLOWS, 1, 1, 1))
    flat = rng.uniform(0, 1, (n, 1, 1, 12, 20)) ** 3
    noise = rng.standard_normal(shape, dtype=np.float32) * np.asarray(2 * largest * amount * flat)
    return _spread(_tensor(noise.reshape(n, N_FLOWS * 2, 12, 20)), height, width)


def _wander(rng: np.random.Generator, n: int, k: int) -> NDArray[np.float64]:
    """Return random walks that return, (n, 5, k): each value half of the last, and new."""
    steps = rng.standard_normal((n, N_FLOWS, k))
    for i in range(1, N_FLOWS):
        steps[:, i] = 0.5 * steps[:, i - 1] + 0.87 * steps[:, i]
    return steps


def _bell(distance: NDArray[np.float64], radius: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.exp(-((distance / radius) ** 2)))


def _spread(cells: Tensor, height: int, width: int) -> Tensor:
    return functional.interpolate(cells, (height, width), mode="bilinear", align_corners=False)


def _tensor(values: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))
