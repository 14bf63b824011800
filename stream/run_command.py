"""`playspot run`: detect live, in everything that plays, until told to stop."""

import logging
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from .commands import LabelsOption, ModelsOption, parse_labels
from .config import Config
from .configuration import ConfigError, config_of_sources, is_config_file
from .locator import redacted
from .table import print_line

if TYPE_CHECKING:
    from .event_lines import EventLines
    from .live_run import LiveRun

LAST_WORDS = 0.2  # seconds for the last events to arrive

logger = logging.getLogger(__name__)


def run(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Files, URLs (rtsp, http, hls, rtmp), v4l2:///dev/video0, mic://default, "
            "camera+microphone, bandstand://; or one configuration (YAML).",
            metavar="CONFIG|SOURCE...",
        ),
    ],
    models: ModelsOption = None,
    labels: LabelsOption = None,
    threshold: Annotated[
        float | None, typer.Option(help="Score from which playing begins, 0 to 1.")
    ] = None,
    loop: Annotated[
        bool, typer.Option("--loop", help="Begin files again when they are over.")
    ] = False,
    latency: Annotated[
        str | None, typer.Option(help="normal, or low: only the past is used.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="Seconds by which a step is published or dropped.")
    ] = None,
    publish: Annotated[
        str | None, typer.Option(help="Endpoint for subscribers, auto or off.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--for", min=0, help="Stop after so many seconds.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print events as JSON lines.")] = False,
) -> None:
    """Detect who plays what, when and where, live, in cameras, streams and microphones.

    A configuration is read again on SIGHUP.

    Example: playspot run rtsp://camera.local/stage mic://default
    """
    from ..engines.catalogue import find_models
    from .event_lines import EventLines
    from .live_run import LiveRun

    settings = {"models": models, "latency": latency, "budget": budget, "publish": publish}
    of_sources: dict[str, Any] = {"threshold": threshold, "loop": loop or None}

    def read() -> Config:
        return config_of_sources(sources, settings=settings, of_sources=of_sources)

    try:
        config = read()
    except ConfigError as error:
        if len(sources) == 1 and is_config_file(sources[0]):
            raise
        raise typer.BadParameter("; ".join(error.lines)) from None
    model_set = find_models(config.models)
    if wanted := parse_labels(labels, model_set.labels):
        of_sources["labels"] = tuple(sorted(wanted))
        config = read()
    people = Console(stderr=True, highlight=False)
    _log_to(people)
    reload = _Flag(signal.SIGHUP if is_config_file(sources[0]) else None)
    with LiveRun(config, model_set) as live:
        for line in (*model_set.describe(), *live.describe()):
            print_line(people, line)
        lines = EventLines(live.endpoint, as_json=as_json) if live.endpoint else None
        until = None if seconds is None else time.monotonic() + seconds
        while not live.is_over and (until is None or time.monotonic() < until):
            live.turn()
            _print(lines)
            if reload.is_set():
                _reload(live, read)
        has_failed = any(feed.state == "failed" for feed in live.feeds)
    _print(lines, LAST_WORDS)  # the ends of what was open
    if has_failed:
        raise typer.Exit(1)


def _print(lines: "EventLines | None", wait: float = 0.0) -> None:
    for line in lines.take(wait) if lines is not None else ():
        print(line, flush=True)


class _Flag:
    """Set by a signal (None: by nothing), cleared by looking."""

    def __init__(self, number: signal.Signals | None) -> None:
        self._is_set = False
        if number is not None:
            signal.signal(number, self._set)

    def _set(self, _number: int, _frame: FrameType | None) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        was_set, self._is_set = self._is_set, False
        return was_set


def _reload(live: "LiveRun", read: Callable[[], Config]) -> None:
    try:
        live.reload(read())
    except ConfigError as error:
        for line in error.lines:
            logger.error("%s", line)
        logger.error("the configuration is left as it was")


class _LogLines(logging.Handler):
    """Show what happens to processes and sources, one line each, however wide the terminal is."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        clock = time.strftime("%X", time.localtime(record.created))
        print_line(self._console, f"{clock} {redacted(record.getMessage())}")


def _log_to(console: Console) -> None:
    root = logging.getLogger("playspot")
    root.addHandler(_LogLines(console))
    root.propagate = False
    root.setLevel(logging.INFO)
