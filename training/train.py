"""The training loop of all networks: seeded, resumable, one plain loop on one device or many.

In: cached clips and a `TrainConfig`. Out, in a folder: `<kind>.yaml` (the configuration),
`<kind>.last.pt` (to go on from), `<kind>.best.pt` (the best clip-level AUC on the validation
clips) and `<kind>.log` (for TensorBoard).

Device, mixed precision and processes are Fabric's. A batch and the dropout of a step follow from
the step's number alone, so a run that was killed goes on as if it had not been.
"""

import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from ..models.labels import LABELS
from ..models.net import Net
from ..models.pretrained import load_early
from .batches import Batches, TeacherScores, input_statistics
from .cache import CachedClip
from .checkpoint import CheckpointError, load_state, new_network, save_checkpoint
from .checkpoint import load_network as load_network
from .config import TrainConfig, TrainingError
from .config_file import save_config
from .loss import network_loss
from .optimiser import learning_rate, load_optimiser, make_optimiser
from .run_data import fingerprint, missing_labels, target_of, teachers_fingerprint, usable
from .run_log import RunLog
from .validate import label_aucs

LOG_EVERY = 10  # steps


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


@dataclass
class Standing:
    """What a run knows of itself, besides its weights; saved with them."""

    step: int = 0
    loss: float = math.nan  # smoothed
    best_auc: float = -math.inf
    best_step: int = 0
    history: list[list[float]] = field(default_factory=list)  # step, loss, AUC


def train(
    config: TrainConfig,
    clips: Sequence[CachedClip],
    validation: Sequence[CachedClip],
    out: Path,
    *,
    teachers: Mapping[str, TeacherScores] | None = None,
    resume: bool = True,
    progress: Callable[[Report], None] | None = None,
    fabric: Fabric | None = None,
) -> Result:
    """Train one network, and return where its best state is.

    Parameters
    ----------
    config : TrainConfig
    clips, validation : sequence of CachedClip
        Of any picture sizes. Those without what the network sees or hears are left out.
    out : Path
        Folder for the checkpoints.
    teachers : mapping of clip name to TeacherScores, optional
        Action only, where the target needs them.
    resume : bool
        Go on from `<kind>.last.pt` if it is there.
    progress : callable, optional
        Called with a `Report` after each step, in the first process.
    fabric : Fabric, optional
        If not given, as `make_fabric` makes it.

    Returns
    -------
    result : Result

    Raises
    ------
    TrainingError
        If the loss is no longer finite, no label has a positive clip, the checkpoint belongs to
        another configuration, other clips or other teachers, or there is no clip to train or
        validate on.
    CheckpointError
        If a checkpoint cannot be read or written.

    Notes
    -----
    On a CPU with a fixed number of threads, a run that was killed and went on ends with the same
    weights as one that was not.
    """
    fabric = fabric or make_fabric(config)
    target = target_of(config)
    clips, validation = (usable(some, config, target) for some in (clips, validation))
    if not validation:
        raise TrainingError(
            f"no validation clip that the {config.kind} network can use, by which the best state "
            "would be told; give more clips (of the bandstand those of --seed 100000)"
        )
    batches = Batches(clips, config.kind, config, target, teachers)
    plan = config.in_steps(batches.epoch_steps)
    data = fingerprint(clips, validation, config)
    taught = teachers_fingerprint(clips, teachers or {})
    last, best = out / f"{config.kind}.last.pt", out / f"{config.kind}.best.pt"
    torch.manual_seed(config.seed)
    net, now = new_network(config), Standing()
    state = load_state(last, config, data, taught) if resume and last.is_file() else None
    if state is None:
        prepare(net, config, clips)
    net = placed(net, fabric)
    optimiser: Any = fabric.setup_optimizers(make_optimiser(net, config))
    if state is not None:
        try:
            net.load_state_dict(state["state_dict"])
            load_optimiser(optimiser, state["optimiser"])
            fabric.strategy.precision.load_state_dict(state["precision"])
            now = standing_of(state["standing"])
        except (RuntimeError, TypeError, ValueError, LookupError, AttributeError):
            raise CheckpointError(
                f"{last}: holds no whole state; begin anew with --fresh"
            ) from None

    def save(*paths: Path) -> None:
        held = {
            "config": config.to_dict(),
            "labels": list(LABELS),
            "state_dict": net.state_dict(),
            "optimiser": optimiser.state_dict(),
            "precision": fabric.strategy.precision.state_dict(),
            "step": now.step,
            "standing": asdict(now),
            "data": data,
            "teachers": taught,
        }
        for path in paths:
            save_checkpoint(path, held)

    log = None
    if fabric.is_global_zero:
        out.mkdir(parents=True, exist_ok=True)
        save_config(out / f"{config.kind}.yaml", config)
        log = RunLog(out / config.kind, now.step)
        if missing := missing_labels(batches):
            print(missing, file=sys.stderr)
        if plan.frozen_steps and not config.init_from:
            print("the frozen early layers are random ones: give --init-from", file=sys.stderr)
    area = now.history[-1][2] if now.history else math.nan
    first, clock, n_seen = now.step, time.perf_counter(), 0
    for inputs, targets in prefetch(batches, first, plan.steps, fabric):
        if now.step in (first, plan.frozen_steps):
            early = set_frozen(net, is_frozen=now.step < plan.frozen_steps)
            module = fabric.setup_module(net)  # anew: processes exchange what is trained
        rate = learning_rate(plan, now.step)
        for group in optimiser.param_groups:
            group["lr"] = rate
        module.train()
        for layer in early:
            layer.eval()  # a frozen batch normalisation keeps its statistics
        number = (plan.seed * 2**32 + now.step) * fabric.world_size + fabric.global_rank
        torch.manual_seed(number % 2**63)  # dropout; it takes no larger one
        part, wanted, weight = share(inputs, targets, fabric)
        loss = weight * network_loss(module, plan, part, wanted)
        value = float(cast(Tensor, fabric.all_reduce(loss.detach(), reduce_op="mean")))
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss is {value} at step {now.step + 1}: lower --lr (now {config.lr:g})"
                + (f"; the last good state is {last}" if last.is_file() else "")
            )
        optimiser.zero_grad(set_to_none=True)
        fabric.backward(loss)
        optimiser.step()
        now.step += 1
        now.loss = value if math.isnan(now.loss) else 0.98 * now.loss + 0.02 * value
        n_seen += len(inputs)

        if log and now.step % LOG_EVERY == 0:
            speed = n_seen / (time.perf_counter() - clock)
            log.add(now.step, {"loss": value, "lr": rate, "inputs per second": speed})
            clock, n_seen = time.perf_counter(), 0
        if now.step % plan.validate_every == 0 or now.step == plan.steps:
            areas = label_aucs(net, config, validation, fabric)
            known = {label: each for label, each in areas.items() if not math.isnan(each)}
            area = float(np.mean(list(known.values()))) if known else math.nan
            now.history.append([float(now.step), now.loss, area])
            if not area < now.best_auc:  # of equals the newest; also where there is no AUC
                now.best_auc, now.best_step = area, now.step
            if log:
                save(*([best, last] if now.best_step == now.step else [last]))
                log.add(now.step, {"AUC/mean": area} | {f"AUC/{k}": v for k, v in known.items()})
                clock, n_seen = time.perf_counter(), 0
        elif log and now.step % plan.checkpoint_every == 0:
            save(last)
        if log and progress is not None:
            progress(Report(now.step, plan.steps, now.loss, area, now.best_auc))
    if log:
        log.close()
    fabric.barrier()  # so that every process finds the files
    return Result(best, now.best_step, now.best_auc, now.history)


def standing_of(saved: Mapping[str, Any]) -> Standing:
    """Return where a saved run stands.

    Raises
    ------
    TypeError, ValueError
        If it is not as it was saved.
    """
    now = Standing(**saved)
    now.history = [[float(step), float(loss), float(auc)] for step, loss, auc in now.history]
    for step in (now.step, now.best_step):
        if type(step) is not int or step < 0:
            raise ValueError(f"step {step!r}")
    now.loss, now.best_auc = float(now.loss), float(now.best_auc)
    return now


def make_fabric(config: TrainConfig) -> Fabric:
    """Return what runs the loop: on the GPU if there is one, in the processes of `torchrun`.

    Fabric's own environment variables hold as well, such as `LT_ACCELERATOR=cpu`.
    """
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    nodes = int(os.environ.get("WORLD_SIZE", "1")) // processes
    fabric = Fabric(devices=processes, num_nodes=nodes, precision=config.precision)
    fabric.launch()
    return fabric


def prepare(net: Net, config: TrainConfig, clips: Sequence[CachedClip]) -> None:
    """Set a new network's input standardisation from the clips, and its first weights.

    Raises
    ------
    ValueError
        If `init_from` cannot be read, or is of another form.
    """
    if config.kind == "sound":
        mean, deviation = input_statistics(clips)
        net.standardise.set(mean=mean, scale=deviation)
    elif not (config.backbone and config.kind == "object"):  # that knows its pictures
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
    if config.init_from:
        begin_from(net, config)


def begin_from(net: Net, config: TrainConfig) -> None:
    """Give a new network all layers of one of ours, or the early layers of another."""
    path = Path(config.init_from)
    try:
        other, _ = load_network(path)
    except CheckpointError:
        load_early(net, config.init_from)
        return
    if other.config.kind != net.config.kind:
        load_early(net, config.init_from)
        return
    for name in ("width", "backbone"):
        theirs, ours = getattr(other.config, name), getattr(net.config, name)
        if theirs != ours:
            raise TrainingError(f"{path}: has {name} = {theirs!r}, this network {ours!r}")
    net.load_state_dict(other.state_dict())


def placed(net: Net, fabric: Fabric) -> Net:
    """Return a network where it is to be trained."""
    if net.config.kind != "sound":
        # A fifth faster on a CPU; the stubs of torch know this argument for tensors only.
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        net = nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
    fabric.to_device(net)
    return net


def set_frozen(net: Net, *, is_frozen: bool) -> list[nn.Module]:
    """Freeze or free the early layers; return those that are frozen."""
    for layer in net.early_layers():
        layer.requires_grad_(not is_frozen)
    return net.early_layers() if is_frozen else []


def share(inputs: Tensor, targets: Tensor, fabric: Fabric) -> tuple[Tensor, Tensor, float]:
    """Return this process's part of a batch on its device, and its weight.

    Processes' gradients are averaged; with these weights that is the gradient of the whole batch.

    Raises
    ------
    TrainingError
        If there is nothing for some process.
    """
    n, processes = len(inputs), fabric.world_size
    if n < processes:
        raise TrainingError(
            f"a batch of {n} is too small for {processes} processes; give --batch {processes}"
        )
    mine = slice(fabric.global_rank, None, processes)
    part, wanted = inputs[mine], targets[mine]
    return fabric.to_device(part), fabric.to_device(wanted), len(part) * processes / n


def prefetch(
    batches: Batches, first: int, end: int, fabric: Fabric
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches `first` ... `end - 1`, made in other threads while others are used.

    One is made ahead on a CPU, which is busy enough, and four for a GPU.
    """
    n_ahead = 1 if fabric.device.type == "cpu" else 4
    pool = ThreadPoolExecutor(n_ahead)
    try:
        coming: deque[Future[tuple[Tensor, Tensor]]] = deque()
        for number in range(first, end):
            while len(coming) <= n_ahead and number + len(coming) < end:
                coming.append(pool.submit(batches.batch, number + len(coming)))
            yield coming.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
