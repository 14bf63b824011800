"""Two processes of `torchrun` learn as one does."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from playspot.training.cache import CachedClip

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from playspot.training.checkpoint import load_checkpoint  # noqa: E402
from playspot.training.train import Report, train  # noqa: E402

RUN = Path(__file__).with_name("made_run.py")
# Uneven shares (5 clips a batch), frozen layers that are freed, no dropout: it is drawn anew in
# each process.
SETTINGS = {
    "kind": "action",
    "target": "VT",
    "steps": 10,
    "clips_per_batch": 5,
    "frozen_steps": 4,
    "dropout": 0.0,
}


def test_two_processes_have_the_loss_curve_of_one(
    made: ModuleType, clips: list[CachedClip], tmp_path: Path
) -> None:
    two = tmp_path / "two"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [str(RUN), str(clips[0].folder.parent), str(two), json.dumps(SETTINGS)]
    environ = os.environ | {"OMP_NUM_THREADS": "1", "LT_ACCELERATOR": "cpu"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stderr
    *steps, losses = done.stdout.splitlines()
    assert [int(step) for step in steps] == list(range(1, 11))  # of one process only
    reports: list[Report] = []
    train(made.tiny(**SETTINGS), clips, clips, tmp_path / "one", progress=reports.append)
    assert json.loads(losses) == pytest.approx([report.loss for report in reports], abs=1e-5)

    one, other = (load_checkpoint(tmp_path / name / "action.last.pt") for name in ("one", "two"))
    assert one["standing"]["history"][-1][2] == pytest.approx(other["standing"]["history"][-1][2])
    for name, weights in one["state_dict"].items():
        assert torch.allclose(weights, other["state_dict"][name], atol=1e-4), name
