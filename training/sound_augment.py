"""Log-mel spectrograms changed at random: other microphones, noise, holes.

What goes in: log-mel of sounds, float32 (B, 384, T), three scales of 128 bands each. What comes
out: the same shape. The features are log(1 + 10000 x) of the power x, so gains multiply their
exponentials; what is done to a band is done to it in all three scales.
"""

import numpy as np
import torch
from torch import Tensor

from ..stream.timeline import N_MELS, WIN_LENGTHS
from .config import TrainConfig

N_SCALES = len(WIN_LENGTHS)
LOWEST_LIMIT = 56  # band below which no band limit cuts: about 2.5 kHz
WIDEST_MASK, LONGEST_MASK = 12, 16  # bands, columns


def augmented(sounds: Tensor, config: TrainConfig, rng: np.random.Generator) -> Tensor:
    """Return sounds as other microphones would have them, with noise and holes.

    Parameters
    ----------
    sounds : Tensor, shape (B, 384, T)
    config : TrainConfig
        `colour`, `band_limit`, `noise` and `mask`; with all of them 0 nothing is changed.
    rng : Generator

    Notes
    -----
    Holes after Park et al. 2019 (SpecAugment).

    Examples
    --------
    >>> some = torch.rand(1, 384, 8)
    >>> same = augmented(some, TrainConfig(kind="sound"), np.random.default_rng(0))
    >>> bool((same == some).all())
    True
    """
    if not (config.colour or config.band_limit or config.noise or config.mask):
        return sounds
    n, _, length = sounds.shape
    power = torch.expm1(sounds)
    gain = np.stack([_colour(rng, config.colour, config.band_limit) for _ in range(n)])
    if config.noise:
        floor = np.stack([_floor(rng) * (rng.random() < config.noise) for _ in range(n)])
        flicker = rng.gamma(4.0, 0.25, (n, N_MELS, length)).astype(np.float32)
        noise = torch.from_numpy(floor[:, :, None].astype(np.float32) * flicker)
        power = power + noise.repeat(1, N_SCALES, 1)
    power = power * _in_all_scales(gain)
    if config.mask:
        for i in range(n):
            if rng.random() < config.mask:
                _punch(power[i], rng)
    return torch.log1p(power)


def _colour(rng: np.random.Generator, decibel: float, share: float) -> np.ndarray:
    """Return the gain of each band: a tilt, some bumps, and limits, float32 (N_MELS,)."""
    place = np.linspace(-1, 1, N_MELS)
    curve = rng.uniform(-decibel, decibel) * place * 0.7
    for _ in range(int(rng.integers(0, 4))):
        width, centre = rng.uniform(0.05, 0.4), rng.uniform(-1.1, 1.1)
        bump = np.exp(-0.5 * ((place - centre) / width) ** 2)
        curve = curve + rng.uniform(-decibel, decibel) * bump
    band = np.arange(N_MELS)
    if rng.random() < share:
        curve = curve - rng.uniform(2, 20) * np.maximum(0, band - rng.integers(LOWEST_LIMIT, 122))
    if rng.random() < share:
        curve = curve - rng.uniform(1, 8) * np.maximum(0, rng.integers(0, 10) - band)
    return np.asarray(10 ** (np.clip(curve, -80, 30) / 10), np.float32)


def _floor(rng: np.random.Generator) -> np.ndarray:
    """Return the power of steady noise in each band, times 10000 as in the features."""
    place = np.linspace(-1, 1, N_MELS)
    decibel = rng.uniform(-15, 20) + rng.uniform(-15, 5) * place
    return np.asarray(10 ** (decibel / 10))


def _in_all_scales(gain: np.ndarray) -> Tensor:
    return torch.from_numpy(np.tile(gain, (1, N_SCALES)).astype(np.float32))[:, :, None]


def _punch(power: Tensor, rng: np.random.Generator) -> None:
    """Set a few ranges of bands and of columns of one sound, (384, T), to silence."""
    length = power.shape[1]
    for _ in range(int(rng.integers(0, 3))):
        width = int(rng.integers(1, WIDEST_MASK + 1))
        first = int(rng.integers(0, N_MELS - width))
        power.view(N_SCALES, N_MELS, length)[:, first : first + width] = 0
    for _ in range(int(rng.integers(0, 3))):
        width = int(rng.integers(1, LONGEST_MASK + 1))
        first = int(rng.integers(0, max(1, length - width)))
        power[:, first : first + width] = 0
