"""The command `playspot adapt`: a detector of one's own from recordings without labels."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .config import TrainingError
from .user_errors import check_folder, make_folder, user_errors


def adapt(
    folder: Annotated[Path, typer.Argument(help="Recordings: any videos in it and below.")],
    models: Annotated[
        Path | None,
        typer.Option(help="Folder of the teachers. (default: pulled models, else bundled)"),
    ] = None,
    sound: Annotated[Path | None, typer.Option(help="Another sound teacher, an ONNX file.")] = None,
    object_: Annotated[
        Path | None, typer.Option("--object", help="Another object teacher, an ONNX file.")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for the models, the report and the work in between.")
    ] = Path("adapted"),
    target: Annotated[
        str | None, typer.Option(help="What is learnt: SOT0503, ST05, OT03. (default: SOT0503)")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of training settings.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Mini-batches.")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Minutes of training, in place of --steps.")
    ] = None,
    width: Annotated[float | None, typer.Option(help="Filters, as a part of the paper's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of first weights and batches.")] = None,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="CPU threads of PyTorch.")] = 2,
    processes: Annotated[
        int, typer.Option(min=1, max=1024, help="Processes that compute features.")
    ] = 2,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for features. (default: OUT/work/features)")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train anew.")] = False,
    split: Annotated[
        Literal["auto", "recordings", "time"],
        typer.Option(
            help="What is held out: whole recordings, or the end of each. (auto: by their number)"
        ),
    ] = "auto",
) -> None:
    """Train an action model of your own from your unlabelled recordings, taught by other models.

    Example: playspot adapt recordings --out mine; playspot detect concert.mp4 --models mine
    """
    from .adapt import AdaptJob, adapt_config, run_adapt

    if steps is not None and minutes is not None:
        raise typer.BadParameter("--steps and --minutes: give one of them")
    settings = {"target": target, "steps": steps, "width": width, "seed": seed}
    with user_errors():
        check_folder(folder)
        adapt_config(config, {})  # the file alone
    try:
        train_config = adapt_config(config, settings)
    except TrainingError as error:
        raise typer.BadParameter(str(error)) from None
    with user_errors():
        make_folder(out)
        if cache is not None:
            make_folder(cache)
        job = AdaptJob(
            folder,
            out,
            models,
            sound,
            object_,
            train_config,
            minutes,
            threads,
            processes,
            cache,
            fresh,
            split,
        )
        for line in run_adapt(job):
            print(line)
