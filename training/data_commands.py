"""The commands `playspot data ...`: make data to train and test on, and look at data that is there.

Parse, call, print. Nothing here needs PyTorch.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from ..models.labels import LABELS
from ..stream.one_line import one_line
from ..stream.timeline import STEP
from .cache import cache_clips
from .clips import ClipError, ClipIndex
from .data_sets import NAMES, guess, read
from .data_survey import Survey, by_reason, survey
from .processes import n_cores
from .progress import counting
from .user_errors import check_folder, make_folder, user_errors

data_app = typer.Typer(
    no_args_is_help=True, help="Make data to train and test on; check data that is there."
)

ProcessesOption = Annotated[int, typer.Option(min=1, max=1024, help="How many render at once.")]
AllCoresOption = Annotated[
    int | None, typer.Option(min=1, max=1024, help="Processes. (default: one a core)")
]
RootArgument = Annotated[Path, typer.Argument(help="Folder of recordings.", metavar="ROOT")]
DatasetOption = Annotated[
    str | None,
    typer.Option("--dataset", help=f"One of {', '.join(NAMES)}. (default: told by its files)"),
]
AnnotationsOption = Annotated[
    Path | None, typer.Option(help="Table or folder of annotations that is not in ROOT.")
]
SynthOption = Annotated[
    Literal["auto", "fluidsynth", "builtin"],
    typer.Option(
        help="What plays: `builtin`, `fluidsynth`, or `auto` for the latter if it is there."
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(
        min=0,
        max=2**31 - 1,
        help="Of the first clip: 0 training, 100000 validation, 200000 test and up.",
    ),
]
DurationOption = Annotated[float, typer.Option(min=2.0, max=3600.0, help="Seconds a clip.")]


@data_app.command("bandstand")
def data_bandstand(
    out: Annotated[Path, typer.Option("--out", help="Folder for the clips.")],
    clips: Annotated[int | None, typer.Option(min=1, help="How many. (default: 100)")] = None,
    hours: Annotated[float | None, typer.Option(help="Or how many hours of them.")] = None,
    seed: SeedOption = 0,
    level: Annotated[
        Literal["easy", "normal", "hard", "wild", "mixed"],
        typer.Option(help="`mixed`: of the first three."),
    ] = "normal",
    duration: DurationOption = 10.0,
    shard: Annotated[
        str, typer.Option(help="2/4: the second of four shares, for four machines.")
    ] = "1/1",
    synth: SynthOption = "auto",
    processes: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="How many render at once. (default: all cores)"),
    ] = None,
) -> None:
    """Render clips of the bandstand: pictures, sound, and the truth in a JSON beside each.

    Clips that are there are kept: the same command goes on where it was stopped.

    Example: playspot data bandstand --out clips --hours 2 --level wild --seed 0
    """
    from .bandstand import render_set
    from .orchestra import check_synth
    from .render_plan import make_plan
    from .scene import SceneError

    try:
        plan = make_plan(
            clips=clips, hours=hours, first_seed=seed, level=level, duration=duration, shard=shard
        )
    except SceneError as error:
        raise typer.BadParameter(str(error)) from None
    with user_errors():
        make_folder(out)
        plan.check_room(out)
        what = f"rendering, about {max(1, round(plan.size / 1e6))} MB"
        with counting(what, plan.n_clips) as advance:
            render_set(
                out,
                n_clips=plan.n_clips,
                first_seed=plan.first_seed,
                level=level,
                duration=duration,
                synth=check_synth(synth),
                processes=processes or n_cores(),
                progress=advance,
            )


@data_app.command("gallery")
def data_gallery(
    out: Annotated[Path, typer.Option("--out", help="Picture to write, .png or .jpg.")],
    split: Annotated[
        Literal["training", "validation", "test"] | None,
        typer.Option(help="One split in all levels. (default: level normal of all)"),
    ] = None,
    columns: Annotated[int, typer.Option(min=1, max=40, help="Pictures a row.")] = 12,
    is_marked: Annotated[
        bool, typer.Option("--truth", help="Draw boxes and key points of the truth.")
    ] = False,
) -> None:
    """Draw a sheet of what the bandstand looks like: a row an instrument, or a row a level.

    Example: playspot data gallery --out sheet.png --truth
    """
    from .gallery import write_gallery

    with user_errors():
        write_gallery(out, split=split, columns=columns, is_marked=is_marked)


@data_app.command("sounds")
def data_sounds(
    out: Annotated[Path, typer.Option("--out", help="Folder for the clips.")],
    clips: Annotated[int, typer.Option(min=1, help="How many.")] = 1000,
    seed: SeedOption = 0,
    level: Annotated[
        Literal["easy", "normal", "hard", "mixed"],
        typer.Option(help="How far from a solo in a studio."),
    ] = "mixed",
    duration: DurationOption = 10.0,
    synth: SynthOption = "auto",
    processes: ProcessesOption = 2,
) -> None:
    """Render clips of sound alone: soloists, small bands and sounds that are no instrument.

    Example: playspot data sounds --out sounds --clips 4000
    """
    from .orchestra import check_synth
    from .render_plan import make_plan
    from .scene import SceneError
    from .sound_clips import render_sounds

    try:  # as for clips with pictures, none may be of the next split
        make_plan(clips=clips, hours=None, first_seed=seed, level="easy", duration=duration)
    except SceneError as error:
        raise typer.BadParameter(str(error)) from None
    with user_errors(), counting("rendering", clips) as advance:
        make_folder(out)
        render_sounds(
            out,
            clips,
            first_seed=seed,
            level=level,
            duration=duration,
            synth=check_synth(synth),
            processes=processes,
            progress=advance,
        )


@data_app.command("check")
def data_check(
    root: RootArgument,
    dataset: DatasetOption = None,
    annotations: AnnotationsOption = None,
    processes: AllCoresOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Open every recording of a data set; print clips by label and split, hours, what is skipped.

    Example: playspot data check videos --dataset audioset
    """
    with user_errors():
        name, index = _read(root, dataset, annotations)
        with counting("opening", len(index.clips)) as advance:
            found = survey(index, processes=processes or n_cores(), progress=advance)
        if as_json:
            print(json.dumps({"dataset": name, **found.report()}, indent=2))
        else:
            _print(name, found)
        if not found.clips:
            raise ClipError(f"{root}: no clip of `{name}` could be used")


@data_app.command("features")
def data_features(
    root: RootArgument,
    dataset: DatasetOption = None,
    annotations: AnnotationsOption = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Folder for features. (default: ROOT/.features)")
    ] = None,
    processes: AllCoresOption = None,
) -> None:
    """Compute what the networks see of each clip, once; the same command goes on where it stopped.

    Example: playspot data features videos
    """
    with user_errors():
        if cache is not None:
            make_folder(cache)
        _, index = _read(root, dataset, annotations)
        place = cache or root / ".features"
        make_folder(place)
        with counting("features", len(index.clips)) as advance:
            cached, failed = cache_clips(
                index.clips, place, processes=processes or n_cores(), progress=advance
            )
        hours = (
            sum(clip.n_steps for clip in cached if clip.has_sound or clip.has_flows) * STEP / 3600
        )
        print(f"{place}: features of {len(cached)} clips, {hours:.2f} hours")
        _print_skipped([*index.skipped, *failed])
        if not cached:
            raise ClipError(f"{root}: no clip could be used")


def _read(root: Path, dataset: str | None, annotations: Path | None) -> tuple[str, ClipIndex]:
    if dataset not in (None, *NAMES):
        raise typer.BadParameter(f"--dataset {dataset}: one of {', '.join(NAMES)}")
    check_folder(root)
    name = dataset or guess(root)
    paths = {"annotations": annotations} if annotations is not None else {}
    return name, read(name, root, **paths)


def _print(name: str, found: Survey) -> None:
    report = found.report()
    splits = report["splits"]
    if not splits:
        return _print_skipped(found.skipped)
    table = Table(title=f"{name}: {report['clips']} clips, {report['hours']:.2f} hours")
    table.add_column("label")
    for split in splits:
        table.add_column(split, justify="right")
    for label in LABELS:
        table.add_row(label, *(str(own["labels"][label]) for own in splits.values()))
    table.add_section()
    table.add_row("clips", *(str(own["clips"]) for own in splits.values()))
    table.add_row("hours", *(f"{own['hours']:.2f}" for own in splits.values()))
    Console().print(table)
    _print_skipped(found.skipped)


def _print_skipped(skipped: list[tuple[str, str]]) -> None:
    if skipped:
        print(f"skipped {len(skipped)}:", file=sys.stderr)
        for line in by_reason(skipped):
            print(f"  {one_line(line)}", file=sys.stderr)
