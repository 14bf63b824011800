"""The loop: it learns, says what is wrong in one line, and leaves what others read."""

import math
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from playspot.models.labels import LABELS
from playspot.training.cache import CachedClip
from playspot.training.clips import ClipError
from playspot.training.config import TrainingError

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from playspot.training.batches import Batches, TeacherScores  # noqa: E402
from playspot.training.checkpoint import (  # noqa: E402
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from playspot.training.run_data import missing_labels, target_of, usable  # noqa: E402
from playspot.training.train import Report, load_network, train  # noqa: E402

EARLY = ("conv1", "conv2", "conv3", "conv4", "conv5")


def weights(path: Path, *layers: str) -> dict[str, Any]:
    """Return the weights of some layers of a checkpoint, or of all."""
    state = load_checkpoint(path)["state_dict"]
    return {key: value for key, value in state.items() if not layers or key.startswith(layers)}


def is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether all weights are the same to the last bit."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("kind", ["sound", "object", "action"])
def test_a_network_learns_made_up_clips(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path, kind: Any
) -> None:
    plain = {"mix": 0.0, "mosaic": 0.0, "roll": 0.0, "zoom": 0.2, "positive_weight": 1.0}
    config = made.tiny(
        kind, width=0.1, steps=60, validate_every=30, clips_per_batch=6, target="VT", **plain
    )
    if kind == "object":
        config = config.replace(pool="max")
    result = train(config, clips, clips, tmp_path)
    assert result.auc > 0.85  # 12 clips of 3 labels; 0.5 is chance
    assert result.history[-1][1] < result.history[0][1]


def test_the_network_of_a_checkpoint_is_that_which_was_trained(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path
) -> None:
    result = train(made.tiny("sound"), clips, clips, tmp_path)
    net, state = load_network(result.best)
    assert not net.training
    assert net.config.width == 0.05
    assert state["labels"] == list(LABELS)


def test_epochs_take_the_place_of_steps(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path
) -> None:
    config = made.tiny("object", epochs=2, validate_every=0)  # 12 clips, 4 a batch
    result = train(config, clips, clips, tmp_path)
    assert [step for step, *_ in result.history] == [3, 6]


# Two steps: frozen early layers, then all -------------------------------------------------------


def test_frozen_early_layers_stay_as_they_are_until_they_are_freed(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path
) -> None:
    config = made.tiny("object", frozen_steps=3, checkpoint_every=1, mosaic=0.0)
    train(config.replace(steps=1), clips, clips, tmp_path / "one")
    train(config.replace(steps=3), clips, clips, tmp_path / "frozen")
    train(config.replace(steps=4), clips, clips, tmp_path / "freed")
    one, frozen, freed = (tmp_path / name / "object.last.pt" for name in ("one", "frozen", "freed"))
    assert is_same(weights(one, *EARLY), weights(frozen, *EARLY))
    assert not is_same(weights(one, "conv7"), weights(frozen, "conv7"))
    assert not is_same(weights(frozen, "conv1"), weights(freed, "conv1"))


def test_frozen_normalisation_keeps_its_statistics(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path
) -> None:
    config = made.tiny("sound", frozen_steps=2, steps=2)
    train(config, clips, clips, tmp_path)
    state = weights(tmp_path / "sound.last.pt")
    assert not state["norm1.running_mean"].any()
    assert state["norm3.running_mean"].any()


def test_a_run_begins_with_all_layers_of_a_checkpoint_of_ours(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path
) -> None:
    first = train(made.tiny("object"), clips, clips, tmp_path / "a")
    config = made.tiny("object", init_from=str(first.best), steps=1, lr=1e-12, weight_decay=0.0)
    second = train(config, clips, clips, tmp_path / "b")
    before, after = weights(first.best), weights(second.best)
    assert all(torch.allclose(before[key], after[key], atol=1e-6) for key in before)


def test_a_run_begins_with_the_early_layers_of_another_network(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path
) -> None:
    result = train(made.tiny("object"), clips, clips, tmp_path / "a")
    early = weights(result.best, *EARLY)
    torch.save(early, tmp_path / "early.pth")
    config = made.tiny("object", init_from=str(tmp_path / "early.pth"), steps=1, frozen_steps=1)
    second = train(config, clips, clips, tmp_path / "b")
    assert is_same(weights(second.best, *EARLY), early)
    assert not is_same(weights(second.best, "conv6"), weights(result.best, "conv6"))


def test_a_checkpoint_of_another_width_cannot_be_begun_with(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path
) -> None:
    result = train(made.tiny("object", steps=1), clips, clips, tmp_path / "a")
    config = made.tiny("object", init_from=str(result.best), width=0.1)
    with pytest.raises(TrainingError, match=r"has width = 0\.05, this network 0\.1"):
        train(config, clips, clips, tmp_path / "b")


# What is wrong, in one line ---------------------------------------------------------------------


def test_a_loss_that_is_not_finite_is_one_clear_error(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path
) -> None:
    config = made.tiny("object", optimiser="sgd", lr=1e30, steps=50)
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) at step \d+: lower --lr"):
        train(config, clips, clips, tmp_path)


def test_weights_before_a_loss_that_is_not_finite_are_kept(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path
) -> None:
    config = made.tiny("object", optimiser="sgd", lr=1e30, steps=50, checkpoint_every=1)
    with pytest.raises(TrainingError, match=r"last good state is .*object\.last\.pt"):
        train(config, clips, clips, tmp_path)
    assert all(torch.isfinite(each).all() for each in weights(tmp_path / "object.last.pt").values())


def test_training_without_validation_clips_says_so(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="no validation clip"):
        train(made.tiny("sound"), clips, [], tmp_path)


def test_labels_that_no_clip_has_are_named_and_no_error(
    made: ModuleType,
    clips: list[CachedClip],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train(made.tiny("sound", steps=1), clips, clips, tmp_path)
    said = capsys.readouterr().err
    assert "no training clip is tagged flute, guitar, piano, saxophone, trumpet, violin" in said


def test_clips_without_any_tag_are_one_clear_error(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path
) -> None:
    bare = [replace(clip, clip=replace(clip.clip, heard=())) for clip in clips]
    with pytest.raises(TrainingError, match="no clip is a positive one of any label"):
        train(made.tiny("sound"), bare, clips, tmp_path)


def test_labels_that_the_teachers_never_reach_are_named(
    made: ModuleType, clips: list[CachedClip]
) -> None:
    import numpy as np

    config = made.tiny("action", target="ST05", sound_threshold=0.6)
    sound = np.full((made.N_STEPS, 9), 0.59, np.float32)
    sound[2, 3:] = 0.6
    teachers = {clip.clip.name: TeacherScores(sound) for clip in clips}
    batches = Batches(clips, "action", config, target_of(config), teachers)
    assert missing_labels(batches).startswith("the thresholds are reached nowhere for accordion, ")
    assert "drum;" in missing_labels(batches)


def test_a_network_takes_the_clips_that_have_what_it_needs(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path
) -> None:
    silent, unseen = made.make_clips(tmp_path, 2)
    (silent.folder / "log_mel.npy").unlink()
    for name in ("pictures", "flows"):
        (unseen.folder / f"{name}.npy").unlink()

    def taken(kind: str, target: str = "VT") -> list[CachedClip]:
        config = made.tiny(kind, target=target)
        return usable([silent, unseen], config, target_of(config))

    assert taken("sound") == [unseen]
    assert taken("object") == taken("action") == taken("action", "OT03") == [silent]
    assert taken("action", "SOT0503") == []


def test_a_full_disk_is_one_clear_error_and_the_last_checkpoint_is_kept(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits files as only Unix can")
    path = tmp_path / "a.pt"
    state: dict[str, Any] = {"config": {}, "labels": [], "state_dict": {}, "step": 1}
    save_checkpoint(path, state)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(CheckpointError) as error:
            save_checkpoint(path, state | {"step": 2, "state_dict": {"w": torch.zeros(10**6)}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    said = f"{path}: cannot be written (File too large); make room, and the same command goes on"
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)
    assert load_checkpoint(path)["step"] == 1
    assert [each.name for each in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\x93NUMPY\x01\x00"])
def test_damaged_features_are_one_clear_error(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path, content: bytes
) -> None:
    broken = made.make_clip(tmp_path / "clips", 0)
    (broken.folder / "log_mel.npy").write_bytes(content)
    with pytest.raises(ClipError, match=r"^[^\n]*log_mel\.npy: damaged; remove the folder"):
        train(made.tiny("sound"), [broken], clips, tmp_path)


@pytest.mark.parametrize(
    "standing",
    [{"step": "3"}, {"step": -1}, {"history": [3]}, {"history": [[1, 2]]}, {"loss": None}, [], 7],
)
def test_a_checkpoint_that_does_not_say_where_it_stands_is_one_clear_error(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path, standing: Any
) -> None:
    train(made.tiny("sound", steps=1), clips, clips, tmp_path)
    path = tmp_path / "sound.last.pt"
    state = load_checkpoint(path)
    known = state["standing"]
    state["standing"] = known | standing if isinstance(standing, dict) else standing
    save_checkpoint(path, state)
    with pytest.raises(CheckpointError, match=r"^[^\n]*last\.pt: holds no whole state; begin"):
        train(made.tiny("sound", steps=1), clips, clips, tmp_path)


@pytest.mark.parametrize("momentum", ["x", torch.zeros(3)])
def test_a_checkpoint_of_another_optimiser_is_one_clear_error(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path, momentum: Any
) -> None:
    train(made.tiny("sound", steps=1), clips, clips, tmp_path)
    path = tmp_path / "sound.last.pt"
    state = load_checkpoint(path)
    state["optimiser"]["state"][0]["exp_avg"] = momentum
    save_checkpoint(path, state)
    with pytest.raises(CheckpointError, match=r"^[^\n]*last\.pt: holds no whole state; begin"):
        train(made.tiny("sound", steps=1), clips, clips, tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 rubbish", b"\x80\x02cposix\nsystem\n."])
def test_garbage_in_place_of_the_last_checkpoint_is_one_clear_error(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "sound.last.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"^[^\n]*not a checkpoint[^\n]*$"):
        train(made.tiny("sound"), clips, clips, tmp_path)


# What others read -------------------------------------------------------------------------------


def test_tensorboard_shows_loss_rate_throughput_and_the_auc_of_labels(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard", reason="needs tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

    train(made.tiny("sound", steps=20, validate_every=10), clips, clips, tmp_path)
    board = EventAccumulator(str(tmp_path / "sound.log"))
    board.Reload()
    names = board.Tags()["scalars"]
    assert {"loss", "lr", "inputs per second", "AUC/mean", "AUC/accordion"} <= set(names)
    assert [point.step for point in board.Scalars("loss")] == [10, 20]
    assert "AUC/violin" not in names  # no clip has it: there is no AUC


def test_without_tensorboard_the_numbers_are_in_a_csv_file(
    made: ModuleType,
    clips: list[CachedClip],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    train(made.tiny("sound", steps=20, validate_every=10), clips, clips, tmp_path)
    lines = (tmp_path / "sound.csv").read_text().splitlines()
    assert lines[0] == "step,name,value"
    assert [line.split(",")[0] for line in lines if ",loss," in line] == ["10", "20"]
    assert "no TensorBoard (pip install tensorboard)" in capsys.readouterr().err


def test_progress_is_told_after_each_step(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path
) -> None:
    reports: list[Report] = []
    train(made.tiny("sound"), clips, clips, tmp_path, progress=reports.append)
    assert [(report.step, report.steps) for report in reports] == [(n, 6) for n in range(1, 7)]
    assert math.isnan(reports[0].auc)
    assert not math.isnan(reports[-1].auc)
