"""Checkpoints: whole, atomic, and without code in them."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from playspot.training.checkpoint import (  # noqa: E402
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> Any:
            return print, ("run",)

    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "evil.pt")


def test_a_truncated_checkpoint_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    save_checkpoint(path, {"config": {}, "labels": [], "state_dict": {}, "step": 1})
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"^[^\n]*not a checkpoint[^\n]*$"):
        load_checkpoint(path)


def test_a_checkpoint_that_lacks_something_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="needs `labels`"):
        save_checkpoint(tmp_path / "a.pt", {"config": {}, "state_dict": {}, "step": 1})
    assert list(tmp_path.iterdir()) == []
