"""A training state on disk: `{config, labels, state_dict, optimiser, step, ...}`.

Only tensors, numbers, text, lists and dictionaries: a checkpoint is loaded with
`weights_only=True` and can run no code. It is written beside its place and moved there, so a
killed run, or one whose disk is full, leaves the last complete one.
"""

import io
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from ..models.blocks import NetConfig
from ..models.labels import LABELS
from ..models.net import Net, build
from .config import TrainConfig, TrainingError

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
        If a required entry is missing, or the file cannot be written.
    """
    missing = [key for key in REQUIRED if key not in state]
    if missing:
        raise CheckpointError(f"{path.name}: a checkpoint needs `{missing[0]}`")
    content = io.BytesIO()  # torch hides why a file cannot be written
    torch.save(state, content)
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise CheckpointError(
            f"{path}: cannot be written ({error.strerror}); make room, and the same command goes "
            "on from the last complete checkpoint"
        ) from None


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
    except Exception:  # torch raises many kinds, and advises to load without safety
        raise CheckpointError(
            f"{path}: not a checkpoint of `playspot train`, or a damaged one; give another"
        ) from None
    missing = [key for key in REQUIRED if not isinstance(state, dict) or key not in state]
    if missing:
        raise CheckpointError(f"{path}: not a checkpoint of `playspot train` (no `{missing[0]}`)")
    return dict(state)


def load_state(path: Path, config: TrainConfig, data: str, teachers: str = "") -> State:
    """Return the state to go on from.

    Parameters
    ----------
    path : Path
    config : TrainConfig
    data, teachers : str
        What tells the clips, and what the teachers say of them, from others, as it was saved.

    Raises
    ------
    CheckpointError
        If it cannot be used.
    TrainingError
        If it was made with another configuration, of other clips, or by other teachers.
    """
    state = load_checkpoint(path)
    remedy = "take another --out, or --fresh to begin anew"
    missing = [key for key in ("optimiser", "precision", "standing", "data") if key not in state]
    if missing:
        raise CheckpointError(f"{path}: cannot go on from it (no `{missing[0]}`); {remedy}")
    saved = _config(path, state).to_dict()
    for key, value in config.to_dict().items():
        if saved[key] != value:
            raise TrainingError(
                f"{path}: made with {key} = {saved[key]!r}, asked for {value!r}; {remedy}"
            )
    if state["data"] != data:
        raise TrainingError(f"{path}: made of other clips, or of other tags; {remedy}")
    if state.get("teachers", teachers) != teachers:
        raise TrainingError(f"{path}: taught by other models; {remedy}")
    return state


def load_network(path: Path) -> tuple[Net, State]:
    """Return the network of a checkpoint, in evaluation mode, and the whole state.

    Raises
    ------
    CheckpointError
        If it is not a checkpoint, or its labels are not ours.
    """
    state = load_checkpoint(path)
    if state["labels"] != list(LABELS):
        raise CheckpointError(f"{path}: labels {state['labels']} are not {list(LABELS)}")
    net = new_network(_config(path, state))
    try:
        net.load_state_dict(state["state_dict"])
    except (RuntimeError, TypeError, AttributeError):
        raise CheckpointError(f"{path}: its weights do not fit its configuration") from None
    net.eval()
    return net, state


def new_network(config: TrainConfig) -> Net:
    """Return the network of a configuration, untrained."""
    return build(NetConfig(config.kind, LABELS, config.width, config.dropout, config.backbone))


def _config(path: Path, state: State) -> TrainConfig:
    try:
        return TrainConfig.from_dict(dict(state["config"]))
    except (TrainingError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from None
