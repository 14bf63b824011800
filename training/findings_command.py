"""`playspot benchmark findings`: train everything from nothing, and see what of the paper holds.

Parse, call, print; PyTorch is imported by the processes that train.
"""

import importlib.util
from pathlib import Path
from typing import Annotated, Literal

import typer

from .user_errors import make_folder, user_errors

MOST_CLIPS = 50_000  # of a split: so many seeds lie between two of them


def findings(
    out: Annotated[
        Path, typer.Option("--out", help="Folder for findings.md, .json and .png.")
    ] = Path("benchmarks"),
    work: Annotated[
        Path, typer.Option(help="Folder for clips, networks and figures; about 8 GB.")
    ] = Path("findings"),
    minutes: Annotated[
        float,
        typer.Option(min=0.1, max=1e5, help="Sets sizes that take about so long on 4 quiet cores."),
    ] = 40.0,
    seeds: Annotated[
        int, typer.Option(min=1, max=1000, help="Action networks of each target.")
    ] = 3,
    clips: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_CLIPS, help="To train action networks on. (default: by --minutes)"
        ),
    ] = None,
    teacher_clips: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_CLIPS, help="To train the teachers on. (default: by --minutes)"
        ),
    ] = None,
    test_clips: Annotated[
        int | None,
        typer.Option(min=2, max=MOST_CLIPS, help="To measure on. (default: by --minutes)"),
    ] = None,
    validation_clips: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_CLIPS, help="To choose the epoch. (default: by --minutes)"),
    ] = None,
    targets: Annotated[
        str | None, typer.Option(help="Separated by commas. (default: ten of the paper's)")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, max=10_000_000, help="Of each target. (default: by --minutes)"),
    ] = None,
    start_steps: Annotated[
        int | None,
        typer.Option(
            min=1, max=10_000_000, help="Before them, of each seed. (default: by --minutes)"
        ),
    ] = None,
    teacher_steps: Annotated[
        int | None,
        typer.Option(min=1, max=10_000_000, help="Of each teacher. (default: by --minutes)"),
    ] = None,
    width: Annotated[
        float | None,
        typer.Option(min=0.01, max=4, help="Filters, as a part of the paper's. (default: 0.25)"),
    ] = None,
    level: Annotated[
        Literal["easy", "normal", "hard", "wild", "mixed"] | None,
        typer.Option(help="Of the bandstand. (default: mixed)"),
    ] = None,
    duration: Annotated[
        float | None, typer.Option(min=2, max=3600, help="Seconds a clip. (default: 10)")
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Tasks at once. (default: one a core)")
    ] = None,
) -> None:
    """Train all networks of the paper's tables VIII and XI from nothing, and report what holds.

    The same command goes on from where it was stopped.

    Example: playspot benchmark findings --minutes 40
    """
    from .clips import ClipError
    from .findings import Settings
    from .findings_report import write_report
    from .findings_run import run_tasks
    from .jobs import TORCH_IS_MISSING
    from .processes import n_cores
    from .targets import parse_target

    with user_errors():
        if importlib.util.find_spec("torch") is None:
            raise ClipError(TORCH_IS_MISSING)
    names = None if targets is None else [name.strip().upper() for name in targets.split(",")]
    try:
        for name in names or ():
            parse_target(name)
    except ValueError as error:
        raise typer.BadParameter(f"--targets: {error}") from None
    settings = Settings.of_minutes(
        minutes,
        seeds=seeds,
        targets=None if names is None else tuple(dict.fromkeys(names)),
        clips=clips,
        teacher_clips=teacher_clips,
        test_clips=test_clips,
        validation_clips=validation_clips,
        steps=steps,
        start_steps=start_steps,
        sound_steps=teacher_steps,
        object_steps=teacher_steps,
        width=width,
        level=level,
        duration=duration,
    )
    with user_errors():
        for folder in (work, out):
            make_folder(folder)
        took = run_tasks(settings, work, processes or n_cores())
        document = write_report(settings, work, out, took)
    for line in document["findings"]:
        print(f"{line['verdict']:<16}{line['finding']}")
    print(out / "findings.md")
