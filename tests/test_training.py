"""Batches, the loop and the commands; with tiny networks on made-up clips."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from playspot.models.labels import LABELS
from playspot.training.cache import CachedClip
from playspot.training.clips import Clip

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from playspot.training.checkpoint import (  # noqa: E402
    load_checkpoint,
)
from playspot.training.commands import train_app  # noqa: E402
from playspot.training.config import SMALL, TrainConfig, TrainingError  # noqa: E402
from playspot.training.datasets import (  # noqa: E402
    Batches,
    TeacherScores,
    input_statistics,
    map_shape,
    mix_log_mel,
    same_size,
    warp,
    warp_map,
)
from playspot.training.targets import parse_target  # noqa: E402
from playspot.training.train import Report, load_network, network_loss, train  # noqa: E402

HEIGHT, WIDTH, N_STEPS = 48, 64, 4


def make_clip(folder: Path, number: int, seed: int | None = None) -> CachedClip:
    """Return a clip with one label that tints its pictures, moves and sounds in its own way."""
    rng = np.random.default_rng(number)
    k = number % 3
    place = folder / f"clip{number}"
    place.mkdir(parents=True)
    pictures = rng.integers(0, 40, (N_STEPS, HEIGHT, WIDTH, 3), dtype=np.uint8)
    pictures[:, 16:40, 16:40, k] += 200
    flows = rng.normal(0, 0.1, (4 * N_STEPS + 1, 2, HEIGHT, WIDTH)).astype(np.float16)
    flows[:, k % 2, 16:40, 16:40] += 3 - 2 * k
    log_mel = rng.random((384, 16 * N_STEPS)).astype(np.float16)
    log_mel[40 * k : 40 * k + 40] += 4
    for name, array in (("pictures", pictures), ("flows", flows), ("log_mel", log_mel)):
        np.save(place / f"{name}.npy", array)
    tags = (LABELS[k],)
    path = folder / f"clip{number}.mp4"
    return CachedClip(Clip(path, path.with_suffix(".json"), tags, tags, tags, seed), place)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[CachedClip]:
    folder = tmp_path_factory.mktemp("clips")
    return [make_clip(folder, number) for number in range(12)]


def tiny(kind: Any, **changes: Any) -> TrainConfig:
    """Return a configuration that trains in a second."""
    settings = {
        "width": 0.05,
        "steps": 6,
        "clips_per_batch": 4,
        "validate_every": 3,
        "validation_frames": 2,
        **changes,
    }
    return replace(SMALL[kind], **settings)


# Batches ----------------------------------------------------------------------------------------


def test_every_clip_is_used_once_in_an_epoch(clips: list[CachedClip]) -> None:
    batches = Batches(clips, "object", tiny("object", clips_per_batch=5))
    chosen = [i for number in range(12) for i in batches._chosen(number)]
    for epoch in range(5):
        assert sorted(chosen[12 * epoch : 12 * epoch + 12]) == list(range(12))
    assert chosen[:12] != chosen[12:24]


@pytest.mark.parametrize("kind", ["sound", "object", "action"])
def test_a_batch_depends_on_its_number_alone(clips: list[CachedClip], kind: Any) -> None:
    target = parse_target("VT")
    first, again = (Batches(clips, kind, tiny(kind), target) for _ in range(2))
    first.batch(0)
    assert torch.equal(first.batch(3)[0], again.batch(3)[0])
    assert not torch.equal(first.batch(3)[0], again.batch(4)[0])


def test_a_mirrored_picture_moves_the_other_way(clips: list[CachedClip]) -> None:
    config = tiny("action", flip=True, zoom=0.0, frames_per_clip=8)
    batches = Batches(clips[:1], "action", replace(config, clips_per_batch=1), parse_target("VT"))
    inputs, _ = batches.batch(0)
    left, right = inputs[:, 0, 20:36, 20:36], inputs[:, 0, 20:36, WIDTH - 36 : WIDTH - 20]
    moves = [
        (a.mean().item(), b.mean().item()) for a, b in zip(left, right, strict=True)
    ]  # the square of clip 0 moves by x = +3
    fastest = [a if abs(a) > abs(b) else b for a, b in moves]
    assert {round(speed) for speed in fastest} == {3, -3}
    assert all((abs(a) > abs(b)) == (a > 0) for a, b in moves if abs(abs(a) - abs(b)) > 1)


def test_an_enlarged_picture_moves_as_much_more(clips: list[CachedClip]) -> None:
    config = tiny("action", flip=False, zoom=0.5, clips_per_batch=1, frames_per_clip=16)
    inputs, _ = Batches(clips[:1], "action", config, parse_target("VT")).batch(0)
    speeds = inputs[:, 0].amax(dim=(1, 2))
    assert speeds.min() < 2.7  # 3 px in a picture made smaller
    assert speeds.max() > 3.6


def test_sounds_are_mixed_with_the_tags_of_both(clips: list[CachedClip]) -> None:
    config = tiny("sound", mix=1.0, clips_per_batch=12)
    _, targets = Batches(clips, "sound", config).batch(0)
    assert targets.sum(dim=1).max() == 2
    assert set(targets.flatten().tolist()) == {0, 1}


def test_a_long_sound_is_cut_and_a_short_one_repeated(clips: list[CachedClip]) -> None:
    plain = {"gain": 0.0, "mix": 0.0, "clips_per_batch": 1}
    whole = clips[0].log_mel.astype(np.float32)  # 64 columns
    short, _ = Batches(clips[:1], "sound", tiny("sound", seconds=1.0, **plain)).batch(0)
    long, _ = Batches(clips[:1], "sound", tiny("sound", seconds=4.0, **plain)).batch(0)
    assert short.shape[2] == 31
    assert long.shape[2] == 125
    assert np.array_equal(long[0, :, :61], long[0, :, 64:])
    assert sorted(long[0, 0, :64].tolist()) == sorted(whole[0].tolist())


def test_mixing_adds_powers(rng: np.random.Generator) -> None:
    power = torch.from_numpy(rng.random((2, 3, 384, 5)))
    first, second = torch.log1p(10000 * power)
    mixed = mix_log_mel(first, second, torch.tensor([[1.0], [0.5]]).expand(2, 3))
    assert torch.allclose(torch.expm1(mixed) / 10000, power[0] + 0.5 * power[1])


def test_a_mosaic_has_the_tags_of_each_quarter(clips: list[CachedClip]) -> None:
    config = tiny("object", mosaic=1.0, flip=False, zoom=0.0, light=0.0)
    inputs, targets = Batches(clips, "object", config).batch(0)
    assert inputs.shape == (4, 3, HEIGHT, WIDTH)
    assert targets.shape == (4, 9, 2, 2)
    for picture, tags in zip(inputs, targets, strict=True):
        for quarter, place in (
            (picture[:, : HEIGHT // 2, : WIDTH // 2], tags[:, 0, 0]),
            (picture[:, : HEIGHT // 2, WIDTH // 2 :], tags[:, 0, 1]),
            (picture[:, HEIGHT // 2 :, WIDTH // 2 :], tags[:, 1, 1]),
        ):  # the colour of a square is its label
            assert quarter.mean(dim=(1, 2)).argmax() == place.argmax()
            assert place.sum() == 1


def test_the_loss_of_a_mosaic_punishes_a_label_in_the_wrong_quarter() -> None:
    config = tiny("object", width=0.05, pool="max")
    right, wrong = torch.full((2, 1, 9, 4, 4), -9.0)
    right[0, 0, 0, 0], wrong[0, 0, 3, 3] = 9.0, 9.0
    targets = torch.zeros(1, 9, 2, 2)
    targets[0, 0, 0, 0] = 1

    image = torch.zeros(1, 3, 128, 128)
    fixed: list[Any] = [
        SimpleNamespace(scores=lambda _, logits=logits: torch.sigmoid(logits))
        for logits in (right, wrong)
    ]
    losses = [network_loss(net, config, image, targets).item() for net in fixed]
    assert losses[0] < 0.01 < 0.3 < losses[1]


def test_a_rolled_picture_keeps_its_pixels(clips: list[CachedClip]) -> None:
    still = {"mosaic": 0.0, "flip": False, "zoom": 0.0, "light": 0.0}
    plain, _ = Batches(clips, "object", tiny("object", roll=0.0, **still)).batch(0)
    rolled, _ = Batches(clips, "object", tiny("object", roll=1.0, **still)).batch(0)
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


def test_sot_targets_are_on_while_and_where_the_teachers_say(clips: list[CachedClip]) -> None:
    rows, columns = map_shape(HEIGHT, WIDTH)
    sound = np.zeros((N_STEPS, 9), np.float32)
    sound[:, 3] = 1
    where = np.zeros((N_STEPS, 9, rows, columns), np.float32)
    where[:, 3:5, 0, 1] = 1
    teachers = {clip.clip.name: TeacherScores(sound, where, 32 / WIDTH, 0.0) for clip in clips}
    config = tiny("action", flip=False, zoom=0.0)
    _, targets = Batches(clips, "action", config, parse_target("SOT0503"), teachers).batch(0)
    assert targets.shape == (4, 9, rows, columns)
    assert {tuple(place[1:]) for place in targets.nonzero().tolist()} == {(3, 0, 1)}


def test_clips_of_another_size_are_left_out(clips: list[CachedClip], tmp_path: Path) -> None:
    odd = make_clip(tmp_path, 3)
    np.save(odd.folder / "pictures.npy", np.zeros((N_STEPS, 64, 64, 3), np.uint8))
    kept, others = same_size([*clips, odd])
    assert kept == clips
    assert others == [("clip3", "64x64 px, most clips here are 64x48")]


def test_input_statistics_are_those_of_the_columns(clips: list[CachedClip]) -> None:
    mean, deviation = input_statistics(clips)
    joined = np.concatenate([clip.log_mel for clip in clips], axis=1).astype(np.float64)
    assert np.allclose(mean, joined.mean(axis=1), atol=1e-3)
    assert np.allclose(deviation, joined.std(axis=1), atol=1e-3)


# The loop ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sound", "object", "action"])
def test_a_network_learns_made_up_clips(clips: list[CachedClip], tmp_path: Path, kind: Any) -> None:
    plain = {
        "mix": 0.0,
        "mosaic": 0.0,
        "roll": 0.0,
        "zoom": 0.2,
        "target": "VT",
        "positive_weight": 1.0,
    }
    config = tiny(kind, width=0.1, steps=100, validate_every=50, clips_per_batch=8, **plain)
    if kind == "object":
        config = replace(config, pool="max")
    result = train(config, clips, clips, tmp_path)
    assert result.auc > 0.85  # 12 clips of 3 labels; 0.5 is chance
    assert result.history[-1][1] < result.history[0][1]


@pytest.mark.parametrize("kind", ["sound", "object", "action"])
def test_a_run_killed_and_resumed_ends_with_the_same_weights(
    clips: list[CachedClip], tmp_path: Path, kind: Any
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    config = tiny(kind, target="VT")

    def kill(report: Report) -> None:
        if report.step == 5:
            raise KeyboardInterrupt

    try:
        train(config, clips, clips, tmp_path / "whole")
        with pytest.raises(KeyboardInterrupt):
            train(config, clips, clips, tmp_path / "killed", progress=kill)
        assert load_checkpoint(tmp_path / "killed" / f"{kind}.last.pt")["step"] == 3
        train(config, clips, clips, tmp_path / "killed")
    finally:
        torch.set_num_threads(threads)
    whole, resumed = (
        load_checkpoint(tmp_path / run / f"{kind}.last.pt") for run in ("whole", "killed")
    )
    assert resumed["step"] == 6
    assert resumed["history"] == whole["history"]
    for name, weights in whole["state_dict"].items():
        assert torch.equal(weights, resumed["state_dict"][name]), name


def test_a_checkpoint_of_other_settings_is_refused(clips: list[CachedClip], tmp_path: Path) -> None:
    train(tiny("sound", steps=3), clips, clips, tmp_path)
    with pytest.raises(TrainingError, match=r"made with lr = 0\.002, asked for 0\.5"):
        train(tiny("sound", steps=3, lr=0.5), clips, clips, tmp_path)


def test_a_loss_that_is_not_finite_is_one_clear_error(
    clips: list[CachedClip], tmp_path: Path
) -> None:
    config = tiny("object", optimiser="sgd", lr=1e30, steps=50)
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) at step \d+: lower --lr"):
        train(config, clips, clips, tmp_path)


def test_training_without_validation_clips_says_so(clips: list[CachedClip], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no validation clip"):
        train(tiny("sound"), clips, [], tmp_path)


def test_settings_out_of_bounds_name_the_value() -> None:
    with pytest.raises(TrainingError, match="steps must be at least 1, got 0"):
        tiny("sound", steps=0)
    with pytest.raises(TrainingError, match="lr must be above 0, got -1"):
        tiny("sound", lr=-1)


def test_the_network_of_a_checkpoint_is_that_which_was_trained(
    clips: list[CachedClip], tmp_path: Path
) -> None:
    result = train(tiny("sound"), clips, clips, tmp_path)
    net, state = load_network(result.best)
    assert not net.training
    assert net.config.width == 0.05
    assert state["labels"] == list(LABELS)


# Commands ---------------------------------------------------------------------------------------


def test_the_commands_import_without_torch() -> None:
    code = "import sys; import playspot.training.commands; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_torch_the_command_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    result = CliRunner().invoke(
        train_app, ["sound", "--data", str(tmp_path), "--out", str(tmp_path)]
    )
    assert result.exit_code == 1
    assert 'pip install "playspot[train]"' in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--recipe", "x"], "--recipe x"), (["--steps", "0"], "steps must be at least 1")],
)
def test_a_bad_option_is_one_line(tmp_path: Path, options: list[str], message: str) -> None:
    result = CliRunner().invoke(
        train_app, ["sound", "--data", str(tmp_path), "--out", str(tmp_path), *options]
    )
    assert result.exit_code == 1
    assert message in result.output


def test_sot_without_teachers_is_refused_before_any_work(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        train_app, ["action", "--data", str(tmp_path), "--out", str(tmp_path)]
    )
    assert result.exit_code == 1
    assert "target SOT0503 needs --sound" in result.output


def test_a_command_trains_and_exports_a_model_with_its_provenance(
    write_clip: Callable[..., None],
    clips: list[CachedClip],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from playspot.engines import load

    seeded = [
        replace(clip, clip=replace(clip.clip, seed=number if number < 8 else 100_000 + number))
        for number, clip in enumerate(clips)
    ]
    monkeypatch.setattr("playspot.training.jobs.features_of", lambda *_: seeded)
    for clip in seeded:
        write_clip(tmp_path, clip.clip.name, seed=clip.clip.seed)
    command = ["sound", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(train_app, [*command, "--steps", "3", "--width", "0.05"])
    assert result.exit_code == 0, result.output
    engine = load(tmp_path / "out" / "sound.onnx", "sound")
    provenance = engine.header.provenance
    assert provenance["data"]["seeds"] == "0 to 7"
    assert provenance["validation"]["clips"] == 4
    assert provenance["config"]["steps"] == 3
    assert str(tmp_path) not in json.dumps(provenance)
