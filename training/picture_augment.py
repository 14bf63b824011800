"""Changes of pictures in training: other light, lenses, sensors, and what stands in the way.

In and out: pictures, float32 RGB (B, 3, H, W), 0 to 255. All amounts come from the generator that
is given, so a batch can be made again.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .config import TrainConfig

GREY = (0.299, 0.587, 0.114)  # weights of red, green and blue


def augment_pictures(pictures: Tensor, config: TrainConfig, rng: np.random.Generator) -> Tensor:
    """Return pictures changed as a configuration says.

    Parameters
    ----------
    pictures : Tensor, shape (B, 3, H, W)
    config : TrainConfig
        Its `light`, `grey`, `blur`, `cut` and `grain` are used.
    rng : Generator
    """
    n = len(pictures)
    if config.light:
        pictures = lit(pictures, config.light, rng)
    if config.grey:
        chosen = torch.from_numpy(rng.random(n) < config.grey)
        pictures = torch.where(chosen[:, None, None, None], grey(pictures), pictures)
    if config.blur:
        for i in np.flatnonzero(rng.random(n) < config.blur):
            pictures[i] = blurred(pictures[i], rng.uniform(1.5, 4))
    if config.cut:
        for i in np.flatnonzero(rng.random(n) < config.cut):
            cut(pictures[i], rng)
    if config.grain:
        amount = _tensor(rng.uniform(0, config.grain, (n, 1, 1, 1)))
        noise = _tensor(rng.standard_normal(tuple(pictures.shape), np.float32))
        pictures = (pictures + amount * noise).clamp_(0, 255)
    return pictures


def lit(pictures: Tensor, light: float, rng: np.random.Generator) -> Tensor:
    """Return pictures under other light: each colour channel times a random factor."""
    common = rng.uniform(-1, 1, (len(pictures), 1, 1, 1)) * light
    colour = rng.uniform(-1, 1, (len(pictures), 3, 1, 1)) * light / 3
    return (pictures * _tensor(np.exp(common + colour))).clamp_(0, 255)


def grey(pictures: Tensor) -> Tensor:
    """Return pictures without colour, still of three channels.

    Examples
    --------
    >>> grey(torch.full((1, 3, 1, 1), 100.0)).flatten().round().tolist()
    [100.0, 100.0, 100.0]
    """
    weights = torch.tensor(GREY)[:, None, None]
    return (pictures * weights).sum(1, keepdim=True).expand_as(pictures)


def blurred(picture: Tensor, factor: float) -> Tensor:
    """Return a picture (3, H, W) as of so many times fewer pixels."""
    height, width = picture.shape[1:]
    small = (max(1, round(height / factor)), max(1, round(width / factor)))
    few = functional.interpolate(picture[None], small, mode="area")
    return functional.interpolate(few, (height, width), mode="bilinear", align_corners=False)[0]


def cut(picture: Tensor, rng: np.random.Generator) -> None:
    """Put a rectangle of one colour into a picture (3, H, W), a quarter of it at most."""
    height, width = picture.shape[1:]
    tall, wide = (round(side * rng.uniform(0.1, 0.5)) for side in (height, width))
    top, left = int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1))
    picture[:, top : top + tall, left : left + wide] = _tensor(rng.uniform(0, 255, (3, 1, 1)))


def rolled(pictures: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """Return pictures of which a share is shifted by any amount, around the edges."""
    is_rolled = rng.random(len(pictures)) < share
    shifts = rng.random((len(pictures), 2)) * pictures.shape[2:]
    moved = [
        torch.roll(picture, [int(down), int(across)], [1, 2]) if is_on else picture
        for picture, (down, across), is_on in zip(pictures, shifts, is_rolled, strict=True)
    ]
    return torch.stack(moved)


def _tensor(values: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))
