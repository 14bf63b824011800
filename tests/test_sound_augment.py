"""Log-mel changed at random stays log-mel, and changes only what it is asked to."""

import numpy as np
import pytest
import torch

from playspot.training.config import TrainConfig
from playspot.training.sound_augment import augmented

PLAIN = TrainConfig(kind="sound")


@pytest.fixture
def sounds(rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.uniform(0, 6, (6, 384, 100)).astype(np.float32))


def test_without_settings_nothing_changes(sounds: torch.Tensor, rng: np.random.Generator) -> None:
    assert augmented(sounds, PLAIN, rng) is sounds


@pytest.mark.parametrize("name", ["colour", "band_limit", "noise", "mask"])
def test_each_setting_changes_sounds_and_keeps_them_finite(sounds: torch.Tensor, name: str) -> None:
    config = PLAIN.replace(**{name: 12.0 if name == "colour" else 1.0})
    changed = augmented(sounds, config, np.random.default_rng(0))
    assert changed.shape == sounds.shape
    assert torch.isfinite(changed).all()
    assert (changed >= 0).all()
    assert not torch.equal(changed, sounds)


def test_the_same_generator_gives_the_same(sounds: torch.Tensor) -> None:
    config = PLAIN.replace(colour=10.0, band_limit=0.5, noise=0.5, mask=0.5)
    one, two = (augmented(sounds, config, np.random.default_rng(4)) for _ in range(2))
    assert torch.equal(one, two)


def test_a_gain_is_the_same_in_all_scales(rng: np.random.Generator) -> None:
    sounds = torch.full((1, 384, 4), 3.0)
    changed = augmented(sounds, PLAIN.replace(colour=10.0), rng)[0, :, 0]
    assert torch.equal(changed[:128], changed[128:256])
    assert torch.equal(changed[:128], changed[256:])
