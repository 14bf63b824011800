"""The offline commands: `playspot train`, `playspot data` and `playspot evaluate`.

Parse, call, print. PyTorch is imported only by the command that trains; the others need what the
run time needs.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ..stream.config import Latency
from .jobs import TrainJob, record, run_evaluation, run_training
from .progress import counting
from .report import plain, print_report

SPLITS = ("training", "validation", "test", "demo", "all")

train_app = typer.Typer(
    no_args_is_help=True, help="Train the sound, the object or the action network."
)
data_app = typer.Typer(no_args_is_help=True, help="Make data to train and test on.")

DataOption = Annotated[
    Path, typer.Option("--data", help="Folder of clips with tags, as `playspot data` writes.")
]
OutOption = Annotated[Path, typer.Option("--out", help="Folder for checkpoints and the ONNX file.")]
RecipeOption = Annotated[
    str, typer.Option(help="`small`: minutes on a CPU, from scratch. `paper`: as published.")
]
StepsOption = Annotated[int | None, typer.Option(help="Mini-batches. (default: the recipe's)")]
WidthOption = Annotated[float | None, typer.Option(help="Filters, as a part of the paper's.")]
RateOption = Annotated[float | None, typer.Option("--lr", help="Learning rate.")]
BatchOption = Annotated[int | None, typer.Option("--batch", help="Clips in a mini-batch.")]
FramesOption = Annotated[int | None, typer.Option("--frames", help="Frames of each clip in it.")]
SeedOption = Annotated[int, typer.Option(help="Of first weights, batches and dropout.")]
ThreadsOption = Annotated[int, typer.Option(help="CPU threads of PyTorch.")]
ProcessesOption = Annotated[int, typer.Option(help="Processes that compute features.")]
CacheOption = Annotated[
    Path | None, typer.Option("--cache", help="Folder for features. (default: DATA/.features)")
]
FreshOption = Annotated[
    bool, typer.Option("--fresh", help="Begin anew where a checkpoint of an earlier run lies.")
]
NameOption = Annotated[str | None, typer.Option(help="Name in the ONNX file, for people.")]


@train_app.command("sound")
def train_sound(
    data: DataOption,
    out: OutOption,
    recipe: RecipeOption = "small",
    steps: StepsOption = None,
    width: WidthOption = None,
    rate: RateOption = None,
    batch: BatchOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = 2,
    processes: ProcessesOption = 2,
    cache: CacheOption = None,
    fresh: FreshOption = False,
    name: NameOption = None,
) -> None:
    """Train the sound network: when each instrument is heard, from tags of whole clips.

    Example: playspot train sound --data clips --out runs
    """
    settings = _settings(steps, width, rate, batch, None, seed)
    job = TrainJob("sound", data, out, recipe, settings, threads, processes, cache, fresh, name)
    with _errors():
        print(run_training(job))


@train_app.command("object")
def train_object(
    data: DataOption,
    out: OutOption,
    recipe: RecipeOption = "small",
    steps: StepsOption = None,
    width: WidthOption = None,
    rate: RateOption = None,
    batch: BatchOption = None,
    frames: FramesOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = 2,
    processes: ProcessesOption = 2,
    cache: CacheOption = None,
    fresh: FreshOption = False,
    name: NameOption = None,
) -> None:
    """Train the object network: where each instrument is seen, from tags of whole clips.

    Example: playspot train object --data clips --out runs
    """
    settings = _settings(steps, width, rate, batch, frames, seed)
    job = TrainJob("object", data, out, recipe, settings, threads, processes, cache, fresh, name)
    with _errors():
        print(run_training(job))


@train_app.command("action")
def train_action(
    data: DataOption,
    out: OutOption,
    target: Annotated[str, typer.Option(help="VT, ST05, OT03, SOT0503 ... (paper)")] = "SOT0503",
    sound: Annotated[
        Path | None, typer.Option(help="Trained sound model, .onnx or .pt; for ST and SOT.")
    ] = None,
    object_: Annotated[
        Path | None, typer.Option("--object", help="Trained object model; for OT and SOT.")
    ] = None,
    recipe: RecipeOption = "small",
    steps: StepsOption = None,
    width: WidthOption = None,
    rate: RateOption = None,
    batch: BatchOption = None,
    frames: FramesOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = 2,
    processes: ProcessesOption = 2,
    cache: CacheOption = None,
    fresh: FreshOption = False,
    name: NameOption = None,
) -> None:
    """Train the action network: where each instrument is being played, from the other two models.

    Example: playspot train action --data clips --out runs --sound runs/sound.onnx
    --object runs/object.onnx
    """
    settings = _settings(steps, width, rate, batch, frames, seed) | {"target": target.upper()}
    teachers = {"sound": sound, "object": object_}
    job = TrainJob(
        "action", data, out, recipe, settings, threads, processes, cache, fresh, name, teachers
    )
    with _errors():
        print(run_training(job))


@data_app.command("bandstand")
def data_bandstand(
    out: Annotated[Path, typer.Option("--out", help="Folder for the clips.")],
    clips: Annotated[int, typer.Option(min=1, help="How many.")] = 100,
    seed: Annotated[
        int,
        typer.Option(
            min=0, help="Of the first clip: 0 training, 100000 validation, 200000 test and up."
        ),
    ] = 0,
    level: Annotated[str, typer.Option(help="How hard the scenes are.")] = "normal",
    duration: Annotated[float, typer.Option(min=1.0, help="Seconds a clip.")] = 10.0,
    processes: ProcessesOption = 2,
) -> None:
    """Render clips of the bandstand: pictures, sound, and the truth in a JSON beside each.

    Example: playspot data bandstand --out clips --clips 400 --seed 0
    """
    from .bandstand import render_set

    with _errors(), counting("rendering", clips) as advance:
        out.mkdir(parents=True, exist_ok=True)
        render_set(
            out,
            n_clips=clips,
            first_seed=seed,
            level=level,
            duration=duration,
            processes=processes,
            progress=advance,
        )


def evaluate(
    folder: Annotated[Path, typer.Argument(help="Clips with their truth, as JSON, beside them.")],
    models: Annotated[
        Path | None, typer.Option(help="Folder of models. (default: as for detect)")
    ] = None,
    split: Annotated[str, typer.Option(help=f"Which clips: {', '.join(SPLITS)}.")] = "test",
    cache: CacheOption = None,
    processes: ProcessesOption = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    is_recorded: Annotated[
        bool, typer.Option("--record", help="Write the figures into the headers of --models.")
    ] = False,
    latency: Annotated[
        Latency, typer.Option(help="`low`: what the models say with the past alone.")
    ] = "normal",
) -> None:
    """Measure when, where and which on clips with ground truth, by the paper's metrics.

    Example: playspot evaluate clips --split test
    """
    with _errors():
        if split not in SPLITS:
            raise typer.BadParameter(f"--split {split}: one of {', '.join(SPLITS)}")
        if is_recorded and models is None:
            raise typer.BadParameter("--record needs --models, a folder of your own models")
        if is_recorded and latency != "normal":
            raise typer.BadParameter("--record is for figures of --latency normal")
        report = run_evaluation(folder, models, split, cache, processes, latency)
        if is_recorded and models is not None:
            record(report, models)
        if as_json:
            print(json.dumps(plain(report), indent=2))
        else:
            print_report(report)


def _settings(
    steps: int | None,
    width: float | None,
    rate: float | None,
    batch: int | None,
    frames: int | None,
    seed: int,
) -> dict[str, object]:
    return {
        "steps": steps,
        "width": width,
        "lr": rate,
        "clips_per_batch": batch,
        "frames_per_clip": frames,
        "seed": seed,
    }


@contextmanager
def _errors() -> Iterator[None]:
    """Print what users can do something about as one line, and exit with code 1."""
    try:
        yield
    except (ValueError, OSError) as error:
        print(f"playspot: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        print("playspot: stopped; the same command goes on from there", file=sys.stderr)
        raise typer.Exit(1) from None
