"""`playspot benchmark findings`: train everything from nothing, and see what of the paper holds.

Parse, call, print; PyTorch is imported by the processes that train.
"""

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from .user_errors import user_errors


def findings(
    out: Annotated[
        Path, typer.Option("--out", help="Folder for findings.md, .json and .png.")
    ] = Path("benchmarks"),
    work: Annotated[
        Path, typer.Option(help="Folder for clips, networks and figures; about 8 GB.")
    ] = Path("findings"),
    minutes: Annotated[
        float, typer.Option(min=0.1, help="Sets sizes that take about so long on 4 quiet cores.")
    ] = 40.0,
    seeds: Annotated[int, typer.Option(min=1, help="Action networks of each target.")] = 3,
    clips: Annotated[
        int | None, typer.Option(min=1, help="To train action networks on. (default: by --minutes)")
    ] = None,
    teacher_clips: Annotated[
        int | None, typer.Option(min=1, help="To train the teachers on. (default: by --minutes)")
    ] = None,
    test_clips: Annotated[
        int | None, typer.Option(min=2, help="To measure on. (default: by --minutes)")
    ] = None,
    validation_clips: Annotated[
        int | None, typer.Option(min=1, help="To choose the epoch. (default: by --minutes)")
    ] = None,
    targets: Annotated[
        str | None, typer.Option(help="Separated by commas. (default: ten of the paper's)")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Of each target. (default: by --minutes)")
    ] = None,
    start_steps: Annotated[
        int | None, typer.Option(min=1, help="Before them, of each seed. (default: by --minutes)")
    ] = None,
    teacher_steps: Annotated[
        int | None, typer.Option(min=1, help="Of each teacher. (default: by --minutes)")
    ] = None,
    width: Annotated[
        float | None, typer.Option(help="Filters, as a part of the paper's. (default: 0.25)")
    ] = None,
    level: Annotated[str | None, typer.Option(help="Of the bandstand. (default: mixed)")] = None,
    duration: Annotated[
        float | None, typer.Option(min=1, help="Seconds a clip. (default: 10)")
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Tasks at once. (default: one a core)")
    ] = None,
) -> None:
    """Train all networks of the paper's tables VIII and XI from nothing, and report what holds.

    The same command goes on from where it was stopped.

    Example: playspot benchmark findings --minutes 40
    """
    from .clips import ClipError
    from .findings import Settings
    from .findings_report import write_report
    from .findings_run import n_cores, run_tasks
    from .jobs import TORCH_IS_MISSING
    from .targets import parse_target

    with user_errors():
        if importlib.util.find_spec("torch") is None:
            raise ClipError(TORCH_IS_MISSING)
        names = [name.strip().upper() for name in targets.split(",")] if targets else None
        for name in names or ():
            parse_target(name)
        settings = Settings.of_minutes(
            minutes,
            seeds=seeds,
            targets=tuple(names) if names else None,
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
        took = run_tasks(settings, work, processes or n_cores())
        document = write_report(settings, work, out, took)
    for line in document["findings"]:
        print(f"{line['verdict']:<16}{line['finding']}")
    print(out / "findings.md")
