"""What training does to pictures."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from playspot.training.config import TrainConfig  # noqa: E402
from playspot.training.picture_augment import augment_pictures  # noqa: E402


def changed(**settings: Any) -> Any:
    rng = np.random.default_rng(0)
    pictures = torch.from_numpy(rng.uniform(0, 255, (6, 3, 24, 32)).astype(np.float32))
    config = TrainConfig(kind="object", **settings)
    return pictures, augment_pictures(pictures.clone(), config, np.random.default_rng(1))


def test_nothing_is_changed_unless_asked_for() -> None:
    before, after = changed()
    assert torch.equal(before, after)


@pytest.mark.parametrize(
    "settings", [{"light": 0.5}, {"grey": 1}, {"blur": 1}, {"cut": 1}, {"grain": 20}]
)
def test_every_change_keeps_shape_and_range_and_is_made_again(settings: dict[str, float]) -> None:
    before, after = changed(**settings)
    assert after.shape == before.shape
    assert 0 <= after.min() <= after.max() <= 255
    assert not torch.equal(before, after)
    assert torch.equal(after, changed(**settings)[1])


def test_a_grey_picture_has_three_equal_channels() -> None:
    _, after = changed(grey=1)
    assert torch.equal(after[:, 0], after[:, 2])


def test_a_blurred_picture_has_less_contrast_between_neighbours() -> None:
    before, after = changed(blur=1)
    assert after.diff(dim=3).std() < 0.5 * before.diff(dim=3).std()


def test_a_cut_covers_a_quarter_at_most() -> None:
    before, after = changed(cut=1)
    covered = (before != after).any(1).float().mean((1, 2))
    assert 0 < covered.min() <= covered.max() <= 0.27
