"""The command `playspot train`: parse, call, print. PyTorch is imported when it runs."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..engines.engine import Kind
from .config import TrainConfig, TrainingError
from .data_sets import NAMES
from .jobs import TrainJob, config_of, run_training
from .user_errors import check_folder, make_folder, user_errors

SETTINGS = "Settings (over those of the file, over those of the recipe)"
ACTION = "Of the action network"


def train(
    kind: Annotated[Kind, typer.Argument(help="Which network.", show_default=False)],
    data: Annotated[Path, typer.Option("--data", help="Folder of clips with tags.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for checkpoints and the ONNX file.")],
    dataset: Annotated[
        str | None,
        typer.Option(help=f"One of {', '.join(NAMES)}. (default: told by its files)"),
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="Table or folder of annotations that is not in --data.")
    ] = None,
    recipe: Annotated[
        Literal["small", "paper"],
        typer.Option(help="`small`: minutes on a CPU, from scratch. `paper`: as published."),
    ] = "small",
    config: Annotated[Path | None, typer.Option(help="YAML file of settings.")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew where a checkpoint of an earlier run lies.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Name in the ONNX file, for people.")] = None,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="CPU threads of PyTorch.")] = 2,
    processes: Annotated[
        int, typer.Option(min=1, max=1024, help="Processes that compute features.")
    ] = 2,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for features. (default: DATA/.features)")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Mini-batches.", rich_help_panel=SETTINGS)
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="How often each clip is used; for --steps.", rich_help_panel=SETTINGS),
    ] = None,
    width: Annotated[
        float | None,
        typer.Option(help="Filters, as a part of the paper's.", rich_help_panel=SETTINGS),
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--lr", help="Learning rate.", rich_help_panel=SETTINGS)
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option("--batch", help="Clips in a mini-batch.", rich_help_panel=SETTINGS),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option("--frames", help="Frames of each clip in it.", rich_help_panel=SETTINGS),
    ] = None,
    init_from: Annotated[
        str | None,
        typer.Option(
            help="Checkpoint to begin with: ours, or one for the early layers.",
            rich_help_panel=SETTINGS,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Of first weights, batches and dropout.", rich_help_panel=SETTINGS),
    ] = None,
    others: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any other setting; may be given often.",
            rich_help_panel=SETTINGS,
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="VT, ST05, OT03, SOT0503 ... (paper)", rich_help_panel=ACTION)
    ] = None,
    sound_threshold: Annotated[
        float | None,
        typer.Option(help="For others than tenths: v of ST and SOT.", rich_help_panel=ACTION),
    ] = None,
    object_threshold: Annotated[
        float | None, typer.Option(help="The same: u of OT and SOT.", rich_help_panel=ACTION)
    ] = None,
    sound: Annotated[
        Path | None,
        typer.Option(
            help="Trained sound model, .onnx or .pt; for ST and SOT.", rich_help_panel=ACTION
        ),
    ] = None,
    object_: Annotated[
        Path | None,
        typer.Option(
            "--object", help="Trained object model; for OT and SOT.", rich_help_panel=ACTION
        ),
    ] = None,
) -> None:
    """Train a network from tags of whole clips: when an instrument is heard (sound), where it is
    seen (object); or, from what these two say, where it is being played (action).

    Example: playspot train sound --data clips --out runs

    Example: playspot train action --data clips --out runs --sound runs/sound.onnx
    --object runs/object.onnx
    """  # noqa: D205
    if steps is not None and epochs is not None:
        raise typer.BadParameter("--steps and --epochs: give one of them")
    settings: dict[str, Any] = {
        "steps": steps,
        "epochs": epochs,
        "width": width,
        "lr": rate,
        "clips_per_batch": batch,
        "frames_per_clip": frames,
        "init_from": init_from,
        "seed": seed,
    }
    of_action = {
        "target": None if target is None else target.upper(),
        "sound_threshold": sound_threshold,
        "object_threshold": object_threshold,
    }
    teachers = {"sound": sound, "object": object_}
    given = [key for key, value in (of_action | teachers).items() if value is not None]
    if kind != "action" and given:
        raise typer.BadParameter(f"--{given[0].replace('_', '-')} is for the action network")
    job = TrainJob(
        kind,
        data,
        out,
        recipe,
        _pairs(others or [])
        | {key: v for key, v in (settings | of_action).items() if v is not None},
        threads,
        processes,
        cache,
        fresh,
        name,
        teachers,
        config,
        dataset,
        annotations,
    )
    _check(job)
    with user_errors():
        if line := run_training(job):
            print(line)


def _check(job: TrainJob) -> None:
    """Refuse what cannot be meant before anything is read: a bad option is exit code 2."""
    if job.dataset not in (None, *NAMES):
        raise typer.BadParameter(f"--dataset {job.dataset}: one of {', '.join(NAMES)}")
    with user_errors():
        config_of(replace(job, settings={}))  # the recipe and the file alone
    try:
        config = config_of(job)
        if config.kind == "action":
            _check_target(config, job.teachers)
    except TrainingError as error:
        raise typer.BadParameter(str(error)) from None
    with user_errors():
        check_folder(job.data)
        make_folder(job.out)
        if job.cache is not None:
            make_folder(job.cache)


def _check_target(config: TrainConfig, teachers: Mapping[str, Path | None]) -> None:
    try:
        from .run_data import target_of
    except ImportError:
        return  # without PyTorch: `run_training` says so
    try:
        target = target_of(config)
    except ValueError as error:
        raise TrainingError(str(error)) from None
    needs = {"sound": target.needs_sound, "object": target.needs_object} if target else {}
    for kind, is_needed in needs.items():
        if is_needed and teachers.get(kind) is None:
            raise TrainingError(f"target {config.target} needs --{kind}, a trained model")


def _pairs(texts: list[str]) -> dict[str, str]:
    """Return settings of `NAME=VALUE`."""
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name.strip() and equals):
            raise typer.BadParameter(f"--set {text}: give NAME=VALUE, such as dropout=0.2")
        if name.strip() == "kind":
            raise typer.BadParameter(f"--set {text}: the kind is the first argument")
        pairs[name.strip()] = value
    return pairs
