"""Batches: the same for the same number, changed at random without changing what they show."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from playspot.training.cache import CachedClip

pytest.importorskip("torch", reason="training needs the extra `train`")

import torch

from playspot.training.batches import (
    Batches,
    TeacherScores,
    input_statistics,
    map_shape,
    mix_log_mel,
    warp,
    warp_map,
)
from playspot.training.loss import network_loss
from playspot.training.targets import parse_target


def test_every_clip_is_used_once_in_an_epoch(made: ModuleType, clips: list[CachedClip]) -> None:
    batches = Batches(clips, "object", made.tiny("object", clips_per_batch=4))
    chosen = [i for number in range(15) for i in batches.epochs.chosen(number)]
    for epoch in range(5):
        assert sorted(chosen[12 * epoch : 12 * epoch + 12]) == list(range(12))
    assert chosen[:12] != chosen[12:24]


@pytest.mark.parametrize("kind", ["sound", "object", "action"])
def test_a_batch_depends_on_its_number_alone(
    made: ModuleType, clips: list[CachedClip], kind: Any
) -> None:
    target = parse_target("VT")
    first, again = (Batches(clips, kind, made.tiny(kind), target) for _ in range(2))
    first.batch(0)
    assert torch.equal(first.batch(3)[0], again.batch(3)[0])
    assert not torch.equal(first.batch(3)[0], again.batch(4)[0])


def test_a_batch_of_the_paper_is_one_sub_clip_of_one_clip(
    made: ModuleType, clips: list[CachedClip]
) -> None:
    config = made.tiny("object", consecutive=True, frames_per_clip=2, clips_per_batch=1)
    batches = Batches(clips, "object", config)
    found = {tuple(batches._steps(5, np.random.default_rng(n)).tolist()) for n in range(20)}
    assert found == {(0, 1), (2, 3)}


def test_a_clip_shorter_than_a_sub_clip_is_repeated(
    made: ModuleType, clips: list[CachedClip]
) -> None:
    config = made.tiny("object", consecutive=True, frames_per_clip=5)
    steps = Batches(clips, "object", config)._steps(3, np.random.default_rng(0))
    assert steps.tolist() == [0, 1, 2, 0, 1]


def test_a_mirrored_picture_moves_the_other_way(made: ModuleType, clips: list[CachedClip]) -> None:
    config = made.tiny("action", flip=True, zoom=0.0, frames_per_clip=8)
    batches = Batches(clips[:1], "action", config.replace(clips_per_batch=1), parse_target("VT"))
    inputs, _ = batches.batch(0)
    left, right = inputs[:, 0, 20:36, 20:36], inputs[:, 0, 20:36, made.WIDTH - 36 : made.WIDTH - 20]
    moves = [
        (a.mean().item(), b.mean().item()) for a, b in zip(left, right, strict=True)
    ]  # the square of clip 0 moves by x = +3
    fastest = [a if abs(a) > abs(b) else b for a, b in moves]
    assert {round(speed) for speed in fastest} == {3, -3}
    assert all((abs(a) > abs(b)) == (a > 0) for a, b in moves if abs(abs(a) - abs(b)) > 1)


def test_an_enlarged_picture_moves_as_much_more(made: ModuleType, clips: list[CachedClip]) -> None:
    config = made.tiny("action", flip=False, zoom=0.5, clips_per_batch=1, frames_per_clip=16)
    inputs, _ = Batches(clips[:1], "action", config, parse_target("VT")).batch(0)
    speeds = inputs[:, 0].amax(dim=(1, 2))
    assert speeds.min() < 2.7  # 3 px in a picture made smaller
    assert speeds.max() > 3.6


def test_sounds_are_mixed_with_the_tags_of_both(made: ModuleType, clips: list[CachedClip]) -> None:
    config = made.tiny("sound", mix=1.0, clips_per_batch=12)
    _, targets = Batches(clips, "sound", config).batch(0)
    assert targets.sum(dim=1).max() == 2
    assert set(targets.flatten().tolist()) == {0, 1}


def test_a_long_sound_is_cut_and_a_short_one_repeated(
    made: ModuleType, clips: list[CachedClip]
) -> None:
    plain = {"gain": 0.0, "mix": 0.0, "clips_per_batch": 1}
    whole = clips[0].log_mel.astype(np.float32)  # 64 columns
    short, _ = Batches(clips[:1], "sound", made.tiny("sound", seconds=1.0, **plain)).batch(0)
    long, _ = Batches(clips[:1], "sound", made.tiny("sound", seconds=4.0, **plain)).batch(0)
    assert short.shape[2] == 31
    assert long.shape[2] == 125
    assert np.array_equal(long[0, :, :61], long[0, :, 64:])
    assert sorted(long[0, 0, :64].tolist()) == sorted(whole[0].tolist())


def test_mixing_adds_powers(rng: np.random.Generator) -> None:
    power = torch.from_numpy(rng.random((2, 3, 384, 5)))
    first, second = torch.log1p(10000 * power)
    mixed = mix_log_mel(first, second, torch.tensor([[1.0], [0.5]]).expand(2, 3))
    assert torch.allclose(torch.expm1(mixed) / 10000, power[0] + 0.5 * power[1])


def test_a_mosaic_has_the_tags_of_each_quarter(made: ModuleType, clips: list[CachedClip]) -> None:
    config = made.tiny("object", mosaic=1.0, flip=False, zoom=0.0, light=0.0)
    inputs, targets = Batches(clips, "object", config).batch(0)
    assert inputs.shape == (4, 3, made.HEIGHT, made.WIDTH)
    assert targets.shape == (4, 9, 2, 2)
    for picture, tags in zip(inputs, targets, strict=True):
        for quarter, place in (
            (picture[:, : made.HEIGHT // 2, : made.WIDTH // 2], tags[:, 0, 0]),
            (picture[:, : made.HEIGHT // 2, made.WIDTH // 2 :], tags[:, 0, 1]),
            (picture[:, made.HEIGHT // 2 :, made.WIDTH // 2 :], tags[:, 1, 1]),
        ):  # the colour of a square is its label
            assert quarter.mean(dim=(1, 2)).argmax() == place.argmax()
            assert place.sum() == 1


class Fixed(torch.nn.Module):
    """A network whose output is known."""

    def __init__(self, logits: Any) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, _: Any) -> Any:
        return self.logits


def test_the_loss_of_a_mosaic_punishes_a_label_in_the_wrong_quarter(made: ModuleType) -> None:
    config = made.tiny("object", width=0.05, pool="max")
    right, wrong = torch.full((2, 1, 9, 4, 4), -9.0)
    right[0, 0, 0, 0], wrong[0, 0, 3, 3] = 9.0, 9.0
    targets = torch.zeros(1, 9, 2, 2)
    targets[0, 0, 0, 0] = 1

    image = torch.zeros(1, 3, 128, 128)
    losses = [
        network_loss(Fixed(logits), config, image, targets).item() for logits in (right, wrong)
    ]
    assert losses[0] < 0.01 < 0.3 < losses[1]


def test_a_rolled_picture_keeps_its_pixels(made: ModuleType, clips: list[CachedClip]) -> None:
    still = {"mosaic": 0.0, "flip": False, "zoom": 0.0, "light": 0.0}
    plain, _ = Batches(clips, "object", made.tiny("object", roll=0.0, **still)).batch(0)
    rolled, _ = Batches(clips, "object", made.tiny("object", roll=1.0, **still)).batch(0)
    assert not torch.equal(plain, rolled)
    assert torch.allclose(plain.flatten(1).sort().values, rolled.flatten(1).sort().values, atol=0.1)


def test_a_zoomed_warp_reads_the_middle() -> None:
    image = torch.arange(64.0).reshape(1, 1, 8, 8)
    half = torch.tensor([[[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]]])
    assert warp(image, half, "zeros").mean() == pytest.approx(image.mean().item())
    assert warp(image, half, "zeros").min() > image[0, 0, 1, 1]


def test_a_mirrored_map_is_that_of_the_mirrored_picture() -> None:
    # A peak on pixel x = 64 goes to pixel 255 - 64 = 191, between the cells at 160 and 192.
    scores = np.zeros((1, 5, 8), np.float32)
    scores[0, 2, 2] = 1
    mirrored = warp_map(scores, np.array([[-1, 0, 0], [0, 1, 0]], np.float32), (144, 256), 32, 0)
    assert mirrored[0, 2].argmax() == 6
    assert mirrored[0, 2, 6] == pytest.approx(31 / 32)


def test_a_teacher_of_finer_grid_gives_targets_on_ours() -> None:
    scores = np.zeros((9, 18, 32), np.float32)
    scores[8, 8, 16] = 1  # on pixel (131.5, 67.5) of 256 x 144
    same = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    found = warp_map(scores, same, (144, 256), 8, 3.5)
    assert found.shape == (9, *map_shape(144, 256))
    assert np.unravel_index(found[8].argmax(), (5, 8)) == (2, 4)


def test_sot_targets_are_on_while_and_where_the_teachers_say(
    made: ModuleType, clips: list[CachedClip]
) -> None:
    rows, columns = map_shape(made.HEIGHT, made.WIDTH)
    sound = np.zeros((made.N_STEPS, 9), np.float32)
    sound[:, 3] = 1
    where = np.zeros((made.N_STEPS, 9, rows, columns), np.float32)
    where[:, 3:5, 0, 1] = 1
    teachers = {clip.clip.name: TeacherScores(sound, where, 32 / made.WIDTH, 0.0) for clip in clips}
    config = made.tiny("action", flip=False, zoom=0.0)
    _, targets = Batches(clips, "action", config, parse_target("SOT0503"), teachers).batch(0)
    assert targets.shape == (4, 9, rows, columns)
    assert {tuple(place[1:]) for place in targets.nonzero().tolist()} == {(3, 0, 1)}


def test_a_batch_holds_clips_of_one_size_and_an_epoch_all_clips(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path
) -> None:
    odd = made.make_clip(tmp_path, 3)
    np.save(odd.folder / "pictures.npy", np.zeros((made.N_STEPS, 64, 64, 3), np.uint8))
    config = made.tiny("object", mosaic=0.5)
    batches = Batches([*clips, odd], "object", config)
    sizes = [tuple(batches.batch(k)[0].shape[2:]) for k in range(2 * batches.epoch_steps)]
    assert sizes.count((64, 64)) == 2
    chosen = {i for k in range(batches.epoch_steps) for i in batches.epochs.chosen(k)}
    assert chosen == set(range(len(clips) + 1))


def test_input_statistics_are_those_of_the_columns(clips: list[CachedClip]) -> None:
    mean, deviation = input_statistics(clips)
    joined = np.concatenate([clip.log_mel for clip in clips], axis=1).astype(np.float64)
    assert np.allclose(mean, joined.mean(axis=1), atol=1e-3)
    assert np.allclose(deviation, joined.std(axis=1), atol=1e-3)
