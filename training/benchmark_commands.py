"""`playspot benchmark`: the commands that measure. Without a name of one, it is `offline`.

Parse, call, print; what does the work is imported by the command that needs it.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from typer.core import TyperGroup

from ..engines.options import Precision
from ..stream.config import Latency
from .benchmark import benchmark
from .findings_command import findings

DEFAULT = "offline"
MINUTE = 60.0
MAX_BATCH = 256

ModelsOption = Annotated[
    Path | None, typer.Option(help="Folder of models; without it, as for run.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


class _WithDefault(TyperGroup):
    """A group whose first argument may be left out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, "--help"):
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


benchmark_app = typer.Typer(
    cls=_WithDefault,
    help=f"Measure on this machine; without the name of a command: {DEFAULT}.",
)
benchmark_app.command(DEFAULT)(benchmark)
benchmark_app.command()(findings)


@benchmark_app.command()
def latency(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="What plays, as for run; synthetic live sources without it."),
    ] = None,
    n_sources: Annotated[
        int, typer.Option("--sources", min=1, help="How many synthetic sources.")
    ] = 4,
    seconds: Annotated[float, typer.Option(min=1, help="How long, after a warm-up.")] = 60.0,
    latency: Annotated[Latency, typer.Option(help="`low`: only the past is used.")] = "normal",
    budget: Annotated[
        float | None, typer.Option(help="Seconds by which a step is published or dropped.")
    ] = None,
    models: ModelsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how old steps are, from capture to publishing, in a live run.

    Example: playspot benchmark latency --sources 8
    """
    from ..engines.catalogue import find_models
    from ..stream.configuration import config_of_sources
    from .benchmark_latency import SCHEMA, NotLiveError, bands, measure_latency, print_latency
    from .benchmark_report import machine, versions
    from .progress import counting

    settings = {"models": models, "latency": latency, "budget": budget}
    config = config_of_sources(sources or bands(n_sources), settings=settings)
    model_set = find_models(config.models)
    with _told(NotLiveError), counting("live", round(seconds)) as advance:
        figures = measure_latency(config, model_set, seconds, progress=advance)
    document = {"schema": SCHEMA, "machine": machine(), "versions": versions()} | figures
    document["models"] = model_set.describe()
    if as_json:
        print(json.dumps(document, indent=2))
    else:
        print("\n".join(document["models"]))
        print_latency(document)


@benchmark_app.command()
def soak(
    sources: Annotated[int, typer.Option(min=1, help="How many, RTSP included.")] = 8,
    rtsp: Annotated[
        int | None, typer.Option(min=0, help="Of these, served by RTSP. (default: half)")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long; 1440 is a day.")] = 20.0,
    faults: Annotated[
        str, typer.Option(help="Which, separated by commas; all, none, or `list` to see them.")
    ] = "all",
    pause: Annotated[
        float, typer.Option(min=0, help="Mean seconds between two faults; for a day, 60.")
    ] = 4.0,
    seed: Annotated[int, typer.Option(help="Of the order of faults.")] = 0,
    outputs: Annotated[
        bool, typer.Option(help="With files, database, MQTT, webhook, recordings, live page.")
    ] = True,
    models: ModelsOption = None,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for soak.json, soak.png and the logs.")
    ] = Path("soak"),
    as_json: JsonOption = False,
) -> None:
    """Run sources live while processes, streams and disks fail; exit code 1: a check failed.

    Example: playspot benchmark soak --sources 8 --minutes 20
    """
    from .soak import Soak
    from .soak_checks import checks
    from .soak_faults import KINDS
    from .soak_report import document_of, draw, print_soak
    from .soak_run import SoakError

    if faults == "list":
        for kind, (lasts, what) in KINDS.items():
            print(f"{kind:<7} {what}" + (f"; {lasts:g} s" if lasts else ""))
        return
    n_rtsp = sources // 2 if rtsp is None else rtsp
    if n_rtsp > sources:
        raise typer.BadParameter(f"--rtsp {n_rtsp}: of {sources} --sources at most")
    names = {"all": list(KINDS), "none": []}.get(faults, [x.strip() for x in faults.split(",")])
    if unknown := [name for name in names if name not in KINDS]:
        raise typer.BadParameter(f"--faults {unknown[0]}: there is {', '.join(KINDS)}")
    if not Path("/proc/self/fd").is_dir():
        raise typer.BadParameter("a soak looks into /proc, which only Linux has")
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    job = Soak(
        Path(tempfile.mkdtemp(prefix="soak-", dir=out)),
        sources,
        n_rtsp,
        MINUTE * minutes,
        tuple(names),
        seed,
        (pause / 2, 1.5 * pause),
        models,
        outputs,
        lambda line: print(f"{time.monotonic() - began:7.0f} s  {line}", file=sys.stderr),
    )
    with _told(SoakError):
        records, witness = job.run()
    found = checks(records)
    document = document_of(job, records, witness, found)
    (out / "soak.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    draw(out / "soak.png", witness, job.marks)
    if as_json:
        print(json.dumps(document, indent=1))
    else:
        print_soak(document)
    if not all(check.is_ok for check in found):
        raise typer.Exit(1)


@benchmark_app.command()
def engines(
    models: ModelsOption = None,
    width: Annotated[
        float | None,
        typer.Option(min=0.05, max=4, help="Of random networks, in place of models."),
    ] = None,
    batch: Annotated[str, typer.Option(help="Sizes, separated by commas.")] = "1,4,16",
    precision: Annotated[
        str, typer.Option(help="Separated by commas: fp32, fp16, bf16, int8; or all.")
    ] = "fp32",
    load: Annotated[
        int | None, typer.Option(min=0, help="Streams as well, beside so many busy processes.")
    ] = None,
    streams: Annotated[
        int | None, typer.Option(min=1, help="How many of these. (default: one a core)")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.0, help="For each network and batch, all ways together.")
    ] = 10.0,
    threads: Annotated[int, typer.Option(min=1, help="Inside an operator.")] = 1,
    gpu: Annotated[int, typer.Option(min=0, help="Number of the GPU.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="A PNG to draw it into.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure every engine and precision there is, PyTorch beside them, and streams under load.

    Example: playspot benchmark engines --precision fp32,int8 --load 4 --out engines.png
    """
    from .benchmark_engines import EngineJob, run
    from .benchmark_engines_report import draw, print_engines
    from .processes import n_cores
    from .user_errors import user_errors

    job = EngineJob(
        models,
        width,
        _sizes(batch),
        _precisions(precision),
        seconds,
        threads,
        gpu,
        load or 0,
        None if load is None and streams is None else streams or n_cores(),
    )
    with user_errors():
        document = run(job)
        if out is not None:
            draw(out, document)
    if as_json:
        print(json.dumps(document, indent=2))
    else:
        print_engines(document)


@benchmark_app.command()
def flow(
    batch: Annotated[str, typer.Option(help="Pairs at once, separated by commas.")] = "1,4,16",
    seconds: Annotated[
        float, typer.Option(min=0.0, help="For each size and batch, all ways together.")
    ] = 5.0,
    clips: Annotated[
        Path | None, typer.Option(help="Folder of recordings, for the difference in pixels.")
    ] = None,
    quality: Annotated[
        int, typer.Option(min=0, help="Clips of the bandstand to try the action model on.")
    ] = 0,
    models: ModelsOption = None,
    gpu: Annotated[int, typer.Option(min=0, help="Number of the GPU.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="A PNG to draw it into.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the ways to compute optical flow: what they cost, and what they change.

    Example: playspot benchmark flow --quality 9 --out flow.png
    """
    from .benchmark_flow import FlowJob, run
    from .benchmark_flow_report import draw, print_flow
    from .user_errors import user_errors

    job = FlowJob(_sizes(batch), seconds, clips, quality, models, gpu)
    with user_errors():
        document = run(job)
        if out is not None:
            draw(out, document)
    if as_json:
        print(json.dumps(document, indent=2))
    else:
        print_flow(document)


def _sizes(text: str) -> tuple[int, ...]:
    sizes = [size.strip() for size in text.split(",")]
    if not all(size.isascii() and size.isdigit() and 1 <= int(size) <= MAX_BATCH for size in sizes):
        raise typer.BadParameter(f"--batch {text}: numbers from 1 to {MAX_BATCH}, as 1,4,16")
    return tuple(sorted({int(size) for size in sizes}))


def _precisions(text: str) -> tuple[Precision, ...]:
    known: tuple[Precision, ...] = get_args(Precision)
    if text == "all":
        return known
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise typer.BadParameter(f"--precision {unknown[0]}: there is {', '.join(known)}, all")
    return tuple(name for name in known if name in names)


@contextmanager
def _told(kind: type[Exception]) -> Iterator[None]:
    """Print what went wrong as one line, and exit with code 1."""
    try:
        yield
    except kind as error:
        print(f"playspot: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
