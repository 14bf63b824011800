"""How old a step is when it leaves each process of a live run, measured on a real one.

In: sources that play. Out: p50, p95 and p99 of the age since capture, by stage and source, and what
was dropped, in a window after the warm-up: the difference of two histograms of the same run.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import zmq
from rich.console import Console
from rich.table import Table

from ..stream.events import LiveStep
from ..stream.measure import Histogram, Measures
from ..stream.topics import STEP_ROOT

if TYPE_CHECKING:
    from ..engines.catalogue import ModelSet
    from ..stream.config import Config

SCHEMA: Final = "playspot/latency/1"
STAGES: Final = ("reader", "flow", "mel", "detector", "publisher")
QUANTILES: Final = (50, 95, 99)
SEED = 300_300  # of the first band; no model was trained on it
WARM_UP = 5.0  # s after all sources are live
START_PATIENCE = 60.0  # s
QUEUE = 100_000  # messages; taken once a second


class NotLiveError(RuntimeError):
    """A source that does not start; the message is one line for the user."""


def bands(n: int) -> list[str]:
    """Return the URLs of synthetic sources, each with scenes of its own.

    Examples
    --------
    >>> bands(2)
    ['bandstand://?seed=300300', 'bandstand://?seed=301300']
    """
    return [f"bandstand://?seed={SEED + 1000 * number}" for number in range(n)]


def measure_latency(
    config: "Config",
    models: "ModelSet",
    seconds: float,
    *,
    warm_up: float = WARM_UP,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Return what a live run of the sources gives; takes `warm_up + seconds` and the start.

    Parameters
    ----------
    config : Config
        Its journal is left alone: events are kept in a temporary folder.
    models : ModelSet
    seconds, warm_up : float
        Measured, and before that not, after all sources are live.
    progress : callable
        Called with (seconds done, seconds in all).

    Returns
    -------
    figures : dict
        `seconds`, `look_ahead_ms`, `latency`, `sources`, `stages` (see `figures_of`), `published`
        (the same of the steps as a subscriber gets them, exact) and `drops`.

    Raises
    ------
    NotLiveError
        If a source is not live within a minute.
    """
    from ..stream.live_run import LiveRun

    with tempfile.TemporaryDirectory(prefix="playspot-latency-") as folder:
        config = config.model_copy(update={"journal": Path(folder), "publish": "auto"})
        with LiveRun(config, models) as run:
            _wait_until_live(run)
            _turn(run, warm_up)
            before, began = by_stage(run.measures()), time.monotonic()
            with Published(run.endpoint or "") as published:
                for second in range(round(seconds)):
                    _turn(run, began + second + 1 - time.monotonic())
                    published.take()
                    progress(second + 1, round(seconds))
            after, took = by_stage(run.measures()), time.monotonic() - began
            look_ahead = run.look_ahead
    window = {stage: since(after[stage], before[stage]) for stage in STAGES}
    return {
        "seconds": took,
        "latency": config.latency,
        "budget": config.budget,
        "look_ahead_ms": 1000 * look_ahead,
        "sources": list(config.sources),
        "stages": {stage: figures_of(measures) for stage, measures in window.items()},
        "published": published.figures(),
        "drops": [
            {"stage": stage, "source": source, "cause": cause, "n": n}
            for stage, measures in window.items()
            for (source, cause), n in sorted(measures.drops.items())
            if n
        ],
    }


class Published:
    """The ages (ms, from capture to publishing) that a subscriber to the steps is told.

    Parameters
    ----------
    endpoint : str
    """

    def __init__(self, endpoint: str) -> None:
        self.ages: dict[str, list[float]] = {}
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.set_hwm(QUEUE)
        self._socket.subscribe(STEP_ROOT)
        self._socket.connect(endpoint)

    def take(self) -> None:
        """Take in the steps that have arrived."""
        while self._socket.poll(0):
            step = LiveStep.model_validate_json(self._socket.recv_multipart()[2])
            self.ages.setdefault(step.source, []).append(step.latency_ms)

    def figures(self) -> dict[str, Any]:
        """Return figures as `figures_of` does."""
        together = [age for ages in self.ages.values() for age in ages]
        by_source = {name: _exact(ages) for name, ages in sorted(self.ages.items())}
        return {"all": _exact(together), "sources": by_source}

    def __enter__(self) -> "Published":
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)


def by_stage(measures: dict[str, Measures]) -> dict[str, Measures]:
    """Return what each stage has counted, of what each process has: readers are one stage.

    Examples
    --------
    >>> measures = {"reader a": Measures(), "reader b": Measures(), "flow": Measures()}
    >>> measures["reader a"].age("a", 0.1)
    >>> measures["reader b"].age("b", 0.2)
    >>> sorted(by_stage(measures)["reader"].ages)
    ['a', 'b']
    """
    stages = {stage: Measures() for stage in STAGES}
    for name, counted in measures.items():
        stages[name.split()[0]].merge(counted)
    return stages


def since(now: Measures, before: Measures) -> Measures:
    """Return what was counted between two looks at the same counters.

    Examples
    --------
    >>> now, before = Measures(), Measures()
    >>> for age in (0.1, 0.1, 0.4):
    ...     now.age("a", age)
    >>> before.age("a", 0.4)
    >>> since(now, before).ages["a"].n
    2
    """
    nothing = Histogram()
    return Measures(
        Counter(now.drops) - Counter(before.drops),
        {
            name: Histogram(ages.counts - before.ages.get(name, nothing).counts)
            for name, ages in now.ages.items()
        },
    )


def figures_of(measures: Measures) -> dict[str, Any]:
    """Return n and quantiles (ms) over all sources, and by source.

    Examples
    --------
    >>> measures = Measures()
    >>> measures.age("a", 0.1)
    >>> figures_of(measures)["all"]["n"]
    1
    """
    together = Histogram()
    for ages in measures.ages.values():
        together.merge(ages)
    by_source = {name: _figures(ages) for name, ages in sorted(measures.ages.items())}
    return {"all": _figures(together), "sources": by_source}


def print_latency(document: dict[str, Any]) -> None:
    """Print the JSON document of `benchmark latency` as a table."""
    console = Console(highlight=False)
    host = document["machine"]
    console.print(
        f"{host['cpu']}, {host['cores']} cores, {host['system']}; load {host['load']}; "
        f"{host['date']}"
    )
    title = (
        f"age of steps since capture, ms, as they leave each stage; {len(document['sources'])} "
        f"sources, {document['seconds']:.0f} s, latency {document['latency']}"
    )
    table = Table(title=title, title_justify="left", caption_justify="left")
    spread = [f"{text} of the sources" for text in ("least p95", "most p95")]
    for place, heading in enumerate(("stage", "n", "p50", "p95", "p99", *spread)):
        table.add_column(heading, justify="right" if place else "left")
    rows = document["stages"] | {"published, as told to subscribers": document["published"]}
    for stage, figures in rows.items():
        row = figures["all"]
        p95 = [source["p95"] for source in figures["sources"].values() if source["n"]]
        table.add_row(
            stage,
            str(row["n"]),
            *(f"{row[f'p{q}']:.0f}" for q in QUANTILES),
            *(f"{value:.0f}" for value in ((min(p95), max(p95)) if p95 else ())),
        )
    table.caption = (
        f"{document['look_ahead_ms']:.0f} ms of it is what the models look ahead, on any machine; "
        "the last row is exact, the others are within 6 %"
    )
    console.print(table)
    drops: Counter[str] = Counter()
    for drop in document["drops"]:
        drops[f"{drop['stage']} {drop['cause']}"] += drop["n"]
    said = ", ".join(f"{what}: {n}" for what, n in drops.items())
    console.print(f"dropped, in steps: {said or 'nothing'}")


def _figures(ages: Histogram) -> dict[str, float]:
    return {"n": ages.n} | {f"p{q}": 1000 * ages.quantile(q / 100) for q in QUANTILES}


def _exact(ages: list[float]) -> dict[str, float]:
    found = np.percentile(ages, QUANTILES) if ages else (0.0,) * len(QUANTILES)
    return {"n": len(ages)} | {f"p{q}": float(x) for q, x in zip(QUANTILES, found, strict=True)}


def _wait_until_live(run: Any) -> None:
    deadline = time.monotonic() + START_PATIENCE
    while waiting := [feed for feed in run.feeds if feed.state != "live"]:
        if time.monotonic() > deadline or waiting[0].is_final:
            failure = waiting[0].failure
            reason = f" ({failure.message})" if failure is not None else ""
            raise NotLiveError(
                f"{waiting[0].name} is {waiting[0].state}, not live{reason}; see playspot probe"
            )
        run.turn()


def _turn(run: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        run.turn()
