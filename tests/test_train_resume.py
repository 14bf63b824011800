"""A run that ended at any moment goes on, and ends as one that did not."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from playspot.training.cache import CachedClip
from playspot.training.config import TrainingError

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from playspot.training.batches import TeacherScores  # noqa: E402
from playspot.training.checkpoint import load_checkpoint  # noqa: E402
from playspot.training.train import Report, train  # noqa: E402

RUN = Path(__file__).with_name("made_run.py")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums are the same to the last bit with the same number of threads only."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def stop_at(step: int) -> Callable[[Report], None]:
    """Return a progress that ends a run after a step."""

    def stop(report: Report) -> None:
        if report.step == step:
            raise KeyboardInterrupt

    return stop


def ends_as(folder: Path, other: Path, kind: str) -> None:
    """Fail unless two runs ended with the same weights, history and optimiser."""
    one, two = (load_checkpoint(each / f"{kind}.last.pt") for each in (folder, other))
    assert one["standing"] == two["standing"]
    for name, weights in one["state_dict"].items():
        assert torch.equal(weights, two["state_dict"][name]), name
    assert one["optimiser"]["param_groups"] == two["optimiser"]["param_groups"]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("sound", {}),
        ("object", {"frozen_steps": 4}),
        ("action", {"optimiser": "sgd", "schedule": "constant"}),
        ("sound", {"optimiser": "adagrad", "steps": 8}),
    ],
)
def test_a_run_that_was_stopped_ends_with_the_same_weights(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path, kind: Any, changes: dict[str, Any]
) -> None:
    config = made.tiny(kind, target="VT", **changes)  # with dropout
    train(config, clips, clips, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(config, clips, clips, tmp_path / "stopped", progress=stop_at(5))
    assert load_checkpoint(tmp_path / "stopped" / f"{kind}.last.pt")["step"] == 3
    train(config, clips, clips, tmp_path / "stopped")
    ends_as(tmp_path / "whole", tmp_path / "stopped", kind)


def test_a_process_killed_at_a_random_moment_ends_with_the_same_weights(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path
) -> None:
    settings = {"kind": "sound", "steps": 40, "validate_every": 10, "checkpoint_every": 1}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    folder = clips[0].folder.parent
    command = [sys.executable, str(RUN), str(folder), str(killed), json.dumps(settings)]
    environ = os.environ | {"OMP_NUM_THREADS": "1"}
    step, delay = random.randrange(1, 25), random.random() / 50
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == step:
                break
        time.sleep(delay)
        process.kill()
    assert process.returncode == -9, f"killed {delay} s after step {step}"
    kept = load_checkpoint(killed / "sound.last.pt")["step"]
    assert step <= kept < 40
    config = made.tiny(**settings)
    train(config.replace(checkpoint_every=100), clips, clips, whole)
    train(config, clips, clips, killed)
    ends_as(whole, killed, "sound")


def test_a_finished_run_is_not_trained_further(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path
) -> None:
    config = made.tiny("sound")
    first = train(config, clips, clips, tmp_path)
    assert train(config, clips, clips, tmp_path, progress=stop_at(1)) == first


def test_a_fresh_run_does_not_go_on(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path
) -> None:
    config = made.tiny("sound")
    train(config, clips, clips, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(config, clips, clips, tmp_path, resume=False, progress=stop_at(1))


def test_a_checkpoint_of_other_settings_is_refused(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path
) -> None:
    train(made.tiny("sound", steps=3), clips, clips, tmp_path)
    with pytest.raises(TrainingError, match=r"made with lr = 0\.002, asked for 0\.5; take another"):
        train(made.tiny("sound", steps=3, lr=0.5), clips, clips, tmp_path)


def test_a_checkpoint_of_other_clips_is_refused(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path
) -> None:
    train(made.tiny("sound", steps=3), clips, clips, tmp_path)
    with pytest.raises(TrainingError, match="made of other clips, or of other tags"):
        train(made.tiny("sound", steps=3), clips[1:], clips, tmp_path)


def test_a_checkpoint_of_other_teachers_is_refused(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path
) -> None:
    config = made.tiny("action", target="ST05", steps=1)
    names = [clip.clip.name for clip in clips]
    one, other = (
        dict.fromkeys(names, TeacherScores(np.full((made.N_STEPS, 9), score, np.float32)))
        for score in (0.5, 0.6)
    )
    train(config, clips, clips, tmp_path, teachers=one)
    with pytest.raises(TrainingError, match="taught by other models; take another --out"):
        train(config, clips, clips, tmp_path, teachers=other)


def test_the_saved_settings_give_the_same_run_again(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path
) -> None:
    from playspot.training.config import PAPER
    from playspot.training.config_file import read_settings

    train(made.tiny("sound", epochs=1, seed=7), clips, clips, tmp_path / "a")
    settings = read_settings(tmp_path / "a" / "sound.yaml", PAPER["sound"])
    train(PAPER["sound"].replace(**settings), clips, clips, tmp_path / "b")
    ends_as(tmp_path / "a", tmp_path / "b", "sound")
