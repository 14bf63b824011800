"""The training loop of the three networks: seeded, resumable, one plain loop.

In: cached clips and a `TrainConfig`. Out: `<kind>.last.pt` (to go on from), `<kind>.best.pt` (the
epoch with the best clip-level AUC on the validation clips).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..models.blocks import NetConfig
from ..models.labels import LABELS
from ..models.net import Net, build
from .cache import CachedClip
from .checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from .config import TrainConfig, TrainingError
from .datasets import Batches, TeacherScores, clip_tags, input_statistics
from .evaluate import auc
from .targets import parse_target, target_loss


@dataclass(frozen=True)
class Report:
    """Where a run stands, given to `progress` after each step.

    Attributes
    ----------
    step, steps : int
        Done, and in all.
    loss : float
        Smoothed.
    auc : float
        Clip-level AUC of the last validation; NaN before the first.
    best_auc : float
    """

    step: int
    steps: int
    loss: float
    auc: float
    best_auc: float


@dataclass(frozen=True)
class Result:
    """What a run leaves.

    Attributes
    ----------
    best : Path
        Checkpoint of the best validation.
    step : int
        Step it was taken at.
    auc : float
        Its clip-level AUC on the validation clips.
    history : list of (int, float, float)
        Step, training loss and AUC of each validation.
    """

    best: Path
    step: int
    auc: float
    history: list[list[float]]


def train(
    config: TrainConfig,
    clips: Sequence[CachedClip],
    validation: Sequence[CachedClip],
    out: Path,
    *,
    teachers: dict[str, TeacherScores] | None = None,
    resume: bool = True,
    progress: Callable[[Report], None] | None = None,
) -> Result:
    """Train one network, and return where its best state is.

    Parameters
    ----------
    config : TrainConfig
    clips, validation : sequence of CachedClip
        Of one picture size.
    out : Path
        Folder for the checkpoints.
    teachers : dict of clip name to TeacherScores, optional
        Action only, where the target needs them.
    resume : bool
        Go on from `<kind>.last.pt` if it is there.
    progress : callable, optional
        Called with a `Report` after each step.

    Returns
    -------
    result : Result

    Raises
    ------
    TrainingError
        If the loss is no longer finite, the checkpoint belongs to another configuration, or there
        is no validation clip.

    Notes
    -----
    On a CPU with a fixed number of threads, a run that was killed and went on ends with the same
    weights as one that was not.
    """
    if not validation:
        raise TrainingError("no validation clip: seeds 100000 and up are validation clips")
    target = parse_target(config.target) if config.kind == "action" else None
    batches = Batches(clips, config.kind, config, target, teachers)
    torch.manual_seed(config.seed)
    net = build(NetConfig(config.kind, LABELS, config.width, config.dropout))
    prepare(net, config, clips)
    if config.kind != "sound":
        # A fifth faster on a CPU; the stubs of torch know this argument for tensors only.
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = make_optimiser(net, config)
    last, best = out / f"{config.kind}.last.pt", out / f"{config.kind}.best.pt"
    step, smooth, best_auc, best_step = 0, math.nan, -math.inf, 0
    history: list[list[float]] = []
    if resume and last.is_file():
        state = load_state(last, config)
        net.load_state_dict(state["state_dict"])
        optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["rng"])
        step, smooth, history = state["step"], state["loss"], state["history"]
        best_auc, best_step = state["best_auc"], state["best_step"]
    area = history[-1][2] if history else math.nan

    for inputs, targets in prefetch(batches, step, config.steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(config, step)
        net.train()
        loss = network_loss(net, config, inputs, targets)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        step += 1
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss is {value} at step {step}: lower --lr (now {config.lr:g}); "
                f"the last good state is {last}"
            )
        smooth = value if math.isnan(smooth) else 0.98 * smooth + 0.02 * value

        if step % config.validate_every == 0 or step == config.steps:
            area = validation_auc(net, config, validation)
            history.append([float(step), smooth, area])
            if not area < best_auc:  # of equals the newest; also where there is no AUC
                best_auc, best_step = area, step
            state = {
                "config": config.to_dict(),
                "labels": list(LABELS),
                "state_dict": net.state_dict(),
                "optimiser": optimiser.state_dict(),
                "step": step,
                "rng": torch.get_rng_state(),
                "loss": smooth,
                "history": history,
                "best_auc": best_auc,
                "best_step": best_step,
            }
            if best_step == step:
                save_checkpoint(best, state)
            save_checkpoint(last, state)
        if progress is not None:
            progress(Report(step, config.steps, smooth, area, best_auc))
    return Result(best, best_step, best_auc, history)


def prepare(net: Net, config: TrainConfig, clips: Sequence[CachedClip]) -> None:
    """Set a new network's input standardisation from the clips, and its first weights."""
    if config.kind == "sound":
        mean, deviation = input_statistics(clips)
        net.standardise.set(mean=mean, scale=deviation)
    else:
        net.standardise.set(scale=config.input_scale)
    if config.init == "he":
        for layer in net.modules():
            if isinstance(layer, nn.Conv1d | nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        # Begin near "nothing": tags are rare, and a map's maximum would start near 1.
        last = net.conv5 if config.kind == "sound" else net.conv8
        assert isinstance(last, nn.Conv1d | nn.Conv2d)
        assert last.bias is not None
        nn.init.normal_(last.weight, std=0.01)
        nn.init.constant_(last.bias, -2.0)


def make_optimiser(net: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the optimiser of a configuration."""
    parameters = net.parameters()
    if config.optimiser == "sgd":
        return torch.optim.SGD(
            parameters, config.lr, momentum=config.momentum, weight_decay=config.weight_decay
        )
    if config.optimiser == "adagrad":
        return torch.optim.Adagrad(parameters, config.lr, weight_decay=config.weight_decay)
    return torch.optim.AdamW(parameters, config.lr, weight_decay=config.weight_decay)


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return the learning rate of a step.

    Examples
    --------
    >>> cosine = TrainConfig("sound", steps=1000, lr=1.0, schedule="cosine")
    >>> [round(learning_rate(cosine, step), 3) for step in (0, 100, 500, 1000)]
    [0.01, 0.976, 0.5, 0.0]
    """
    if config.schedule == "constant":
        return config.lr
    warm_up = min(1.0, (step + 1) / max(1, min(100, config.steps // 10)))
    return config.lr * warm_up * 0.5 * (1 + math.cos(math.pi * min(1.0, step / config.steps)))


def network_loss(net: Net, config: TrainConfig, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the binary cross-entropy of a batch, shape ()."""
    if config.kind == "action":
        return target_loss(net(inputs), targets, config.positive_weight)
    scores = net.scores(inputs)  # (B, K, T), (B, K, h, w)
    if targets.ndim == 2:
        pooled = pool(scores.flatten(2), config.pool)
    else:  # a mosaic: (B, K, 2, 2)
        rows, columns = (-(-size // 2) for size in scores.shape[2:])
        quarters = [
            pool(scores[:, :, down, across].flatten(2), config.pool)
            for down in (slice(rows), slice(rows, None))
            for across in (slice(columns), slice(columns, None))
        ]
        pooled = torch.stack(quarters, dim=2)  # (B, K, 4)
        targets = targets.flatten(2)
    pooled = pooled.clamp(1e-6, 1 - 1e-6)  # torch's own loss raises on NaN; the loop reports it
    return -(targets * pooled.log() + (1 - targets) * (1 - pooled).log()).mean()


def pool(scores: Tensor, how: str) -> Tensor:
    """Return one score of many, over the last axis: `mean`, `max`, or `linear`.

    Linear is the mean weighted by the scores themselves: near the mean of those that are high.

    Examples
    --------
    >>> pool(torch.tensor([0.0, 0.0, 0.5, 1.0]), "linear").item()
    0.8333333134651184
    """
    if how == "max":
        return scores.amax(dim=-1)
    if how == "mean":
        return scores.mean(dim=-1)
    return (scores**2).sum(dim=-1) / scores.sum(dim=-1).clamp_min(1e-6)


def prefetch(batches: Batches, first: int, end: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches `first` ... `end - 1`, each made in another thread while the last is used."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(batches.batch, first) if first < end else None
        for number in range(first, end):
            assert coming is not None
            ready = coming.result()
            coming = pool.submit(batches.batch, number + 1) if number + 1 < end else None
            yield ready


@torch.no_grad()
def validation_auc(net: Net, config: TrainConfig, clips: Sequence[CachedClip]) -> float:
    """Return the clip-level AUC, averaged over the labels that some clips have and some have not.

    A clip's score is the mean over its frames: of the sound network's output, or of the maximum of
    the map. NaN if no label can be judged.
    """
    net.eval()
    scores = np.zeros((len(clips), len(LABELS)))
    for row, clip in enumerate(clips):
        if config.kind == "sound":
            inputs = torch.from_numpy(np.asarray(clip.log_mel, np.float32)[None])
        else:
            steps = np.linspace(0, clip.n_steps - 1, config.validation_frames).round().astype(int)
            if config.kind == "object":
                inputs = torch.from_numpy(clip.pictures[steps]).permute(0, 3, 1, 2).float()
            else:
                stacks = np.stack([clip.stack(int(step)) for step in steps])
                inputs = torch.from_numpy(stacks).float()
        scores[row] = net.clip_scores(inputs).mean(dim=0).numpy()
    tags = np.stack([clip_tags(clip, config.kind) for clip in clips]) > 0
    areas = [auc(tags[:, k], scores[:, k]) for k in range(len(LABELS))]
    known = [area for area in areas if not math.isnan(area)]
    return float(np.mean(known)) if known else math.nan


def load_state(path: Path, config: TrainConfig) -> dict[str, Any]:
    """Return the state to go on from.

    Raises
    ------
    TrainingError
        If it was made with another configuration.
    """
    state = load_checkpoint(path)
    saved = state["config"]
    for key, value in config.to_dict().items():
        if saved.get(key) != value:
            raise TrainingError(
                f"{path}: made with {key} = {saved.get(key)!r}, asked for {value!r}; "
                "take another --out, or --fresh to begin anew"
            )
    missing = [key for key in ("optimiser", "rng", "history") if key not in state]
    if missing:
        raise TrainingError(f"{path}: cannot go on from it (no `{missing[0]}`)")
    return state


def load_network(path: Path) -> tuple[Net, dict[str, Any]]:
    """Return the network of a checkpoint, in evaluation mode, and the whole state.

    Raises
    ------
    CheckpointError
        If it is not a checkpoint, or its labels are not ours.
    """
    state = load_checkpoint(path)
    if tuple(state["labels"]) != LABELS:
        raise CheckpointError(f"{path}: labels {state['labels']} are not {list(LABELS)}")
    config = TrainConfig.from_dict(state["config"])
    net = build(NetConfig(config.kind, LABELS, config.width, config.dropout))
    net.load_state_dict(state["state_dict"])
    net.eval()
    return net, state
