"""A training state on disk: `{config, labels, state_dict, optimiser, step, rng, ...}`.

Only tensors, numbers, text, lists and dictionaries: a checkpoint is loaded with
`weights_only=True` and can run no code. It is written beside its place and moved there, so a
killed run leaves the last complete one.
"""

import os
from pathlib import Path
from typing import Any

import torch

State = dict[str, Any]

REQUIRED = ("config", "labels", "state_dict", "step")


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message is one line for the user."""


def save_checkpoint(path: Path, state: State) -> None:
    """Write a state, whole or not at all.

    Parameters
    ----------
    path : Path
        Its folder is made if it is not there.
    state : dict
        Holds at least `config`, `labels`, `state_dict` and `step`.

    Raises
    ------
    CheckpointError
        If a required entry is missing.
    """
    missing = [key for key in REQUIRED if key not in state]
    if missing:
        raise CheckpointError(f"{path.name}: a checkpoint needs `{missing[0]}`")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def load_checkpoint(path: Path) -> State:
    """Return a state as `save_checkpoint` wrote it, on the CPU.

    Raises
    ------
    CheckpointError
        If the file is missing, is not a checkpoint, or lacks a required entry.

    Examples
    --------
    >>> load_checkpoint(Path("nothing.pt"))
    Traceback (most recent call last):
    ...
    playspot.training.checkpoint.CheckpointError: nothing.pt: no such checkpoint
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is not its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: not a checkpoint of `playspot train` ({reason})") from None
    missing = [key for key in REQUIRED if not isinstance(state, dict) or key not in state]
    if missing:
        raise CheckpointError(f"{path}: not a checkpoint of `playspot train` (no `{missing[0]}`)")
    return dict(state)
