"""The commands of the run time: `playspot detect`, `listen` and `schema`. Parse, call, print."""

import difflib
import importlib.metadata
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from pydantic import ValidationError

from ..engines.options import EngineOptions, FlowWish, Precision, Wish
from ..engines.settings import Decoding, Mode
from .addresses import DEFAULT_ENDPOINT, check_endpoint
from .supervisor import WorkerError

if TYPE_CHECKING:
    from ..engines.catalogue import ModelSet
    from .detect import Outputs

USER_ERRORS = (ValueError, WorkerError, OSError)
MODES: tuple[str, ...] = get_args(Mode)

LabelsOption = Annotated[
    str | None, typer.Option(help="Only these instruments, comma-separated. (default: all)")
]
EngineOption = Annotated[
    str | None,
    typer.Option(help=f"What runs the networks: {', '.join(get_args(Wish))}. (default: auto)"),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(help="fp32, or one that `playspot compile` made: fp16, bf16, int8."),
]
FlowOption = Annotated[
    str | None,
    typer.Option(help="Optical flow: auto, farneback, dis (faster, less precise), network (GPU)."),
]
ModelsOption = Annotated[
    Path | None,
    typer.Option(help="Folder of models. (default: pulled ones, else the bundled ones)"),
]


def _version(wanted: bool) -> None:
    if wanted:
        print(importlib.metadata.version("playspot"))
        raise typer.Exit


def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Say which instrument is being played, when and where in the picture."""


def detect(
    files: Annotated[list[Path], typer.Argument(help="Videos or sound files.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results. (default: beside each file)")
    ] = None,
    models: ModelsOption = None,
    labels: LabelsOption = None,
    mode: Annotated[str | None, typer.Option(help=f"What is fused: {', '.join(MODES)}.")] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Score from which playing begins, 0 to 1. (default: the models')"),
    ] = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    flow: FlowOption = None,
    publish: Annotated[
        str,
        typer.Option(
            help=f"Endpoint for subscribers, or `off`. auto: {DEFAULT_ENDPOINT}, or a "
            "free port where that is taken."
        ),
    ] = "auto",
    events: Annotated[bool, typer.Option(help="Write <name>.events.jsonl.")] = True,
    steps: Annotated[bool, typer.Option(help="Write <name>.steps.jsonl.")] = True,
    timeline: Annotated[bool, typer.Option(help="Write <name>.timeline.png.")] = True,
    video: Annotated[bool, typer.Option(help="Write <name>.annotated.mp4.")] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a file, for programs.")
    ] = False,
) -> None:
    """Detect who plays what, when and where, in files.

    Example: playspot detect concert.mp4 --out results
    """
    from ..engines.catalogue import find_models
    from .detect import Outputs

    options = engine_options(engine, precision)
    model_set = find_models(models)
    decoding = decoding_for(model_set.decoding, mode, threshold)
    run_detect(
        files,
        replace(model_set, decoding=decoding, options=options),
        Outputs(events, steps, timeline, video),
        out,
        wanted=parse_labels(labels, model_set.labels),
        flow=flow_wish(flow),
        publish=publish,
        as_json=as_json,
    )


def run_detect(
    files: Sequence[Path],
    models: "ModelSet",
    outputs: "Outputs",
    out: Path | None,
    *,
    wanted: frozenset[str] = frozenset(),
    flow: FlowWish = "auto",
    publish: str = "auto",
    as_json: bool = False,
) -> None:
    """Detect in files and tell what came of each; a file that fails does not stop the others.

    Parameters
    ----------
    files : sequence of Path
    models : ModelSet
    outputs : Outputs
    out : Path or None
        Folder for the results; None: beside each file.
    wanted : frozenset of str
        Labels to report; all when empty.
    flow : {"auto", "farneback", "dis", "network"}
        How optical flow is computed.
    publish : str
        An endpoint, "auto" or "off".
    as_json : bool
        For programs.

    Raises
    ------
    typer.Exit
        With code 1 if a file failed.
    """
    from .building import building_line
    from .detect import FileDetection
    from .detect_report import Reporter
    from .jsonl import check_writable
    from .pipeline import Pipeline

    if out is not None:
        check_writable(out)
    endpoint = {"off": None, "auto": DEFAULT_ENDPOINT}.get(publish, publish)
    if endpoint is not None:
        check_endpoint(endpoint)
    reporter = Reporter(as_json=as_json)
    n_failed = 0
    may_move = publish == "auto"
    with Pipeline(
        models, wanted=wanted, flow=flow, publish=endpoint, may_move=may_move
    ) as pipeline:
        plans = [] if pipeline.building is None else [building_line(pipeline.building)]
        reporter.begin([*models.describe(), pipeline.flow, *plans], pipeline.endpoint)
        detection = FileDetection(pipeline, models.labels, outputs, out)
        for path in files:
            with reporter.file(path) as view:
                report = detection.detect(
                    path, on_open=view.opened, on_step=view.step, on_drawn=view.drawn
                )
            reporter.done(report)
            n_failed += report.error is not None
    if n_failed:
        raise typer.Exit(1)


def listen(
    endpoint: Annotated[str, typer.Argument(help="Where events are published.")] = DEFAULT_ENDPOINT,
    source: Annotated[list[str] | None, typer.Option(help="Only these sources.")] = None,
    labels: LabelsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print whole events as JSON.")] = False,
    steps: Annotated[
        bool, typer.Option("--steps", help="Print every step of live sources, as JSON.")
    ] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Print how a live run and its sources are, as JSON.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Stop after so many seconds without an event.")
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(help="NAME.key_secret of playspot keygen, with server.key beside it."),
    ] = None,
) -> None:
    """Subscribe to a running playspot and print its events, one line each.

    Example: playspot listen --labels violin,cello
    """
    from . import subscriber
    from .event_lines import heard_line

    if steps or status:
        if labels or (steps and status):
            raise typer.BadParameter("--steps, --status and --labels exclude each other")
        records_of = subscriber.steps if steps else subscriber.statuses
        for record in records_of(endpoint, sources=source or [], keys=keys, timeout=timeout):
            print(record.model_dump_json(by_alias=True), flush=True)
        return
    wanted = [label.strip() for label in labels.split(",")] if labels else []
    for event in subscriber.listen(
        endpoint, sources=source or [], labels=wanted, keys=keys, timeout=timeout
    ):
        print(event.model_dump_json(by_alias=True) if as_json else heard_line(event), flush=True)


def schema(
    name: Annotated[
        str, typer.Argument(help="event, step, status, config, ..., or asyncapi")
    ] = "event",
) -> None:
    """Print the JSON Schema of a record or of the configuration, or all messages as AsyncAPI.

    Example: playspot schema config > playspot.schema.json
    """
    from .schemas import NAMES, schema_of

    if name not in NAMES:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(NAMES)}")
    print(json.dumps(schema_of(name), indent=2))


def engine_options(engine: str | None, precision: str | None) -> EngineOptions:
    """Return what runs the networks; raises a usage error for a value that is none.

    Examples
    --------
    >>> engine_options("openvino", None).engine
    'openvino'
    """
    given = {"engine": engine or "auto", "precision": precision}
    try:
        return EngineOptions.model_validate({**given, "builds": True})
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        known = get_args(Wish if name == "engine" else Precision)
        raise typer.BadParameter(
            f"--{name} is {given[name]!r}; use one of {', '.join(known)}"
        ) from None


def flow_wish(text: str | None) -> FlowWish:
    """Return how optical flow is computed; raises a usage error for a value that is none.

    Examples
    --------
    >>> flow_wish(None), flow_wish("dis")
    ('auto', 'dis')
    """
    for known in get_args(FlowWish):
        if text in (known, None):
            found: FlowWish = known
            return found
    raise typer.BadParameter(f"--flow is {text!r}; use one of {', '.join(get_args(FlowWish))}")


def parse_labels(text: str | None, known: Sequence[str]) -> frozenset[str]:
    """Return the labels of a comma-separated list; raises a usage error for an unknown one.

    Examples
    --------
    >>> sorted(parse_labels("violin, drum", ("drum", "piano", "violin")))
    ['drum', 'violin']
    """
    wanted = [label.strip() for label in text.split(",")] if text else []
    for label in wanted:
        if label not in known:
            near = difflib.get_close_matches(label, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise typer.BadParameter(
                f"{label!r} is not a label of these models ({', '.join(known)}){hint}"
            )
    return frozenset(wanted)


def decoding_for(decoding: Decoding, mode: str | None, threshold: float | None) -> Decoding:
    """Return `decoding` with what the user set; `off` keeps its distance below `on`."""
    changes: dict[str, object] = {}
    if mode is not None:
        if mode not in MODES:
            raise typer.BadParameter(f"mode {mode!r} is not one of {', '.join(MODES)}")
        changes["mode"] = mode
    if threshold is not None and not 0 <= threshold <= 1:
        raise typer.BadParameter(f"threshold {threshold} is not between 0 and 1")
    return decoding.with_thresholds(threshold, {}).model_copy(update=changes)
