"""`playspot run`: detect live, in everything that plays, until told to stop."""

import logging
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .commands import (
    EngineOption,
    FlowOption,
    LabelsOption,
    ModelsOption,
    PrecisionOption,
    parse_labels,
)
from .config import Config
from .configuration import ConfigError, config_of_sources, is_config_file
from .output_config import WebConfig
from .teller import Teller

if TYPE_CHECKING:
    from .live_run import LiveRun

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
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    flow: FlowOption = None,
    budget: Annotated[
        float | None, typer.Option(help="Seconds by which a step is published or dropped.")
    ] = None,
    publish: Annotated[
        str | None, typer.Option(help="Endpoint for subscribers, auto or off.")
    ] = None,
    web: Annotated[
        bool, typer.Option("--web", help="Serve the live page and the HTTP API (extra: web).")
    ] = False,
    web_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of the live page; with --web.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--for", min=0, help="Stop after so many seconds.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print events as JSON lines.")] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="Print lines on a terminal, too, in place of a table.")
    ] = False,
) -> None:
    """Detect who plays what, when and where, live, in cameras, streams and microphones.

    A configuration is read again on SIGHUP.

    Example: playspot run rtsp://camera.local/stage mic://default
    """
    from ..engines.catalogue import find_models
    from .live_run import LiveRun

    settings = {
        "models": models,
        "engine": engine,
        "precision": precision,
        "flow": flow,
        "latency": latency,
        "budget": budget,
        "publish": publish,
    }
    of_sources: dict[str, Any] = {"threshold": threshold, "loop": loop or None}

    def read() -> Config:
        config = config_of_sources(sources, settings=settings, of_sources=of_sources)
        return with_web(config, web_port) if web or web_port is not None else config

    try:
        config = read()
    except ConfigError as error:
        if len(sources) == 1 and is_config_file(sources[0]):
            raise
        raise typer.BadParameter("; ".join(error.lines)) from None
    model_set = replace(find_models(config.models), options=config.engine_options)
    if wanted := parse_labels(labels, model_set.labels):
        of_sources["labels"] = tuple(sorted(wanted))
        config = read()
    reload = _Flag(is_config_file(sources[0]))
    until = None if seconds is None else time.monotonic() + seconds
    with Teller(as_json=as_json, is_plain=plain) as teller, LiveRun(config, model_set) as live:
        for line in (*model_set.describe(), *live.describe()):
            teller.say(line)
        teller.follow(live.hub)
        while not (live.is_over or teller.is_alone):
            if until is not None and time.monotonic() >= until:
                break
            live.turn()
            if reload.is_set():
                _reload(live, read)
        has_failed = any(feed.state == "failed" for feed in live.feeds)
    if has_failed:
        raise typer.Exit(1)


def with_web(config: Config, port: int | None) -> Config:
    """Return a configuration that has a live page, at a port if one is given.

    Examples
    --------
    >>> config = Config(sources={"a": {"url": "a.mp4"}})
    >>> with_web(config, None).web.listen, with_web(config, 8080).web.listen
    ('127.0.0.1:8773', '127.0.0.1:8080')
    """
    web = config.web or WebConfig()
    if port is not None:
        web = web.at_port(port)
    return config.model_copy(update={"web": web})


class _Flag:
    """Set by SIGHUP, cleared by looking; without a configuration SIGHUP ends the run."""

    def __init__(self, is_reloaded: bool) -> None:
        self._is_set = False
        if is_reloaded and (number := getattr(signal, "SIGHUP", None)) is not None:
            signal.signal(number, self._set)

    def _set(self, _number: int, _frame: FrameType | None) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        was_set, self._is_set = self._is_set, False
        return was_set


def _reload(live: "LiveRun", read: Callable[[], Config]) -> None:
    try:
        live.reload(read())
    except (ValueError, OSError) as error:
        for line in str(error).splitlines():
            logger.error("%s", line)
        logger.error("the configuration is left as it was")
