"""The command `playspot evaluate`. Parse, call, print."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..engines.options import ORIGINAL
from ..stream.commands import EngineOption, PrecisionOption, engine_options
from ..stream.config import Latency
from .evaluate_report import plain, print_report
from .user_errors import check_folder, make_folder, user_errors

SPLITS = ("training", "validation", "test", "demo", "all")
DATASETS = ("bandstand", "ipa", "medleydb", "imagenet")
PREDICTORS = ("models", "center")


def evaluate(
    folder: Annotated[
        Path | None, typer.Argument(help="Clips with their truth, as JSON, beside them.")
    ] = None,
    dataset: Annotated[
        str, typer.Option(help=f"Format of the folder: {', '.join(DATASETS)}.")
    ] = "bandstand",
    root: Annotated[Path | None, typer.Option(help="The folder, by another name.")] = None,
    videos: Annotated[
        Path | None,
        typer.Option(help="Folder of the media, where they are not below FOLDER; ipa: always."),
    ] = None,
    predictor: Annotated[
        str, typer.Option(help="`center`: the middle of each picture (ipa), without videos.")
    ] = "models",
    models: Annotated[
        Path | None, typer.Option(help="Folder of models. (default: as for detect)")
    ] = None,
    split: Annotated[str, typer.Option(help=f"Which clips: {', '.join(SPLITS)}.")] = "test",
    cache: Annotated[
        Path | None, typer.Option(help="Folder for features. (default: FOLDER/.features)")
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, max=1024, help="Processes that compute features.")
    ] = 2,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for CSV, JSON and plots of the figures.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    is_recorded: Annotated[
        bool, typer.Option("--record", help="Write the figures into the headers of --models.")
    ] = False,
    latency: Annotated[
        Latency, typer.Option(help="`low`: what the models say with the past alone.")
    ] = "normal",
    engine: EngineOption = None,
    precision: PrecisionOption = None,
) -> None:
    """Measure when, where and which on clips with ground truth, by the paper's metrics and others.

    Example: playspot evaluate clips --split test --out figures
    """
    place = folder or root
    if place is None or (folder is not None and root is not None):
        raise typer.BadParameter("give the folder of the data once: FOLDER or --root FOLDER")
    for value, allowed, option in (
        (split, SPLITS, "--split"),
        (dataset, DATASETS, "--dataset"),
        (predictor, PREDICTORS, "--predictor"),
    ):
        if value not in allowed:
            raise typer.BadParameter(f"{option} {value}: one of {', '.join(allowed)}")
    if predictor == "center" and dataset != "ipa":
        raise typer.BadParameter("--predictor center is for --dataset ipa")
    if is_recorded and (models is None or dataset != "bandstand"):
        raise typer.BadParameter(
            "--record needs --models, a folder of your own, and bandstand clips"
        )
    if is_recorded and latency != "normal":
        raise typer.BadParameter("--record is for figures of --latency normal")
    if is_recorded and (engine or precision):
        raise typer.BadParameter("--record is for figures of the models' own files: no --engine")
    wish = engine_options(engine, precision).model_copy(update={"builds": False})
    with user_errors():
        from .evaluate_run import Request, record, run

        check_folder(place)
        if videos is not None:
            check_folder(videos)
        for written in (out, cache):
            if written is not None:
                make_folder(written)
        request = Request(
            place, dataset, videos, predictor, models, split, cache, processes, latency,
            ORIGINAL if is_recorded else wish,
        )  # fmt: skip
        report, measured = run(request)
        if is_recorded and models is not None:
            record(report, models)
        if out is not None:
            from .evaluate_files import write_files

            for path in write_files(report, measured, out):
                print(path, file=sys.stderr)
        if as_json:
            print(json.dumps(plain(report), indent=2))
        else:
            print_report(report)
