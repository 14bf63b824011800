"""What a run is doing -> the text that Prometheus reads (`/metrics`).

Names are those that people know from Frigate where the meaning is the same, with the prefix
`playspot_`. Time is in seconds, memory in bytes. Counters start anew with the run.
"""

import importlib.metadata
from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple, get_args

from .measure import Measures
from .metrics_text import MetricsText
from .status import RunStatus, SinkStatus, SourceState, SourceStatus

RATE_TIME = 10.0  # s over which rates are taken


class Rate(NamedTuple):
    """Steps of a source per second.

    Attributes
    ----------
    camera : float
        That it captured.
    process : float
        Whose optical flow or log-mel was computed.
    detection : float
        That the detector scored.
    skipped : float
        That were dropped, wherever.
    """

    camera: float
    process: float
    detection: float
    skipped: float


class Rates:
    """How fast the counts of sources grow, over the last ten seconds.

    Examples
    --------
    >>> rates = Rates()
    >>> for now, steps in ((0.0, 0), (2.0, 4)):
    ...     rates.note(
    ...         SourceStatus(source="stage", wall_time=now, state="live", since=0, steps=steps)
    ...     )
    >>> rates.of("stage").camera
    2.0
    """

    def __init__(self) -> None:
        self._counts: dict[str, deque[tuple[float, Rate]]] = {}

    def note(self, status: SourceStatus) -> None:
        """Take in the status of a source."""
        counts = self._counts.setdefault(status.source, deque())
        if counts and status.wall_time <= counts[-1][0]:
            counts.clear()  # the clock was set back
        counts.append((status.wall_time, _counts(status)))
        while len(counts) > 2 and counts[1][0] <= status.wall_time - RATE_TIME:
            counts.popleft()

    def keep(self, sources: Iterable[str]) -> None:
        """Forget all other sources."""
        kept = set(sources)
        self._counts = {name: counts for name, counts in self._counts.items() if name in kept}

    def of(self, source: str) -> Rate | None:
        """Return the rates of a source; None before it was noted twice."""
        counts = self._counts.get(source)
        if counts is None or len(counts) < 2:
            return None
        (then, old), (now, new) = counts[0], counts[-1]
        return Rate(*(max(0.0, (b - a) / (now - then)) for a, b in zip(old, new, strict=True)))


def render(
    run: RunStatus,
    sources: Mapping[str, SourceStatus],
    workers: Mapping[str, Measures],
    *,
    rates: Rates | None = None,
    events: Mapping[tuple[str, str, str], int] | None = None,
    clients: Mapping[str, int] | None = None,
) -> str:
    r"""Return all metrics in Prometheus' text format 0.0.4.

    Parameters
    ----------
    run : RunStatus
    sources : mapping
        Name to status.
    workers : mapping
        Name of a process ("publisher", "flow", "reader stage") to what it has counted.
    rates : Rates, optional
        That were told of the sources.
    events : mapping, optional
        (source, label, type) to events.
    clients : mapping, optional
        Way ("stream", "ws") to those who are connected at the moment.

    Examples
    --------
    >>> from playspot.stream.events import ModelInfo
    >>> model = ModelInfo(name="bundled", hash="0", engine="onnx", precision="fp32")
    >>> run = RunStatus(system_id="a1", wall_time=0, uptime=5, model=model, budget=2,
    ...                 latency="normal", look_ahead=0.7)
    >>> "playspot_uptime_seconds 5.0\n" in render(run, {}, {})
    True
    """
    page = MetricsText()
    _put_run(page, run)
    _put_sources(page, sources)
    _put_rates(page, sources, rates)
    _put_latencies(page, workers)
    _put_workers(page, run)
    _put_publishing(page, run)
    _put_sinks(page, run.sinks)
    page.put(
        "events_total",
        "counter",
        "Messages of events: new, update, end.",
        (
            ({"source": source, "label": label, "type": kind}, n)
            for (source, label, kind), n in sorted((events or {}).items())
        ),
    )
    page.put(
        "clients",
        "gauge",
        "Who is connected to the web server.",
        (({"kind": kind}, n) for kind, n in sorted((clients or {}).items())),
    )
    return page.text()


def _put_run(page: MetricsText, run: RunStatus) -> None:
    info = {
        "version": importlib.metadata.version("playspot"),
        "model": run.model.name,
        "hash": run.model.hash,
        "engine": run.model.engine,
        "precision": run.model.precision,
    }
    page.put("build_info", "gauge", "Version of the program and of its models.", [(info, 1)])
    page.put_one("uptime_seconds", "gauge", "Since the run began.", run.uptime)
    page.put_one("budget_seconds", "gauge", "Age at which steps are dropped.", run.budget)
    told = "What the models need of the time after a step; part of every latency."
    page.put_one("look_ahead_seconds", "gauge", told, run.look_ahead)


def _put_sources(page: MetricsText, sources: Mapping[str, SourceStatus]) -> None:
    each = sorted(sources.items())
    page.put(
        "source_state",
        "gauge",
        "1 for the state that the source is in.",
        (
            ({"source": name, "state": state}, int(status.state == state))
            for name, status in each
            for state in get_args(SourceState)
        ),
    )
    for name, told, key in (
        ("steps_total", "Steps of the source's time line.", "steps"),
        ("steps_published_total", "Steps that were published.", "published"),
        ("sessions_total", "Connections that opened.", "sessions"),
    ):
        page.put(name, "counter", told, (({"source": s}, getattr(v, key)) for s, v in each))
    for name, told, k in (
        ("process_steps_total", "Steps whose flow or sound was computed.", 1),
        ("detection_steps_total", "Steps that the detector scored.", 2),
    ):
        page.put(name, "counter", told, (({"source": s}, int(_counts(v)[k])) for s, v in each))
    page.put(
        "steps_dropped_total",
        "counter",
        "Steps that were not published, by cause.",
        (
            ({"source": name, "cause": cause}, n)
            for name, status in each
            for cause, n in sorted(status.dropped.items())
        ),
    )
    page.put(
        "frames_dropped_total",
        "counter",
        "What each stage left out, in steps; a step can lose sound or picture and go on.",
        (
            ({"source": name, "stage": stage, "cause": cause}, n)
            for name, status in each
            for stage, drops in sorted(status.drops.items())
            for cause, n in sorted(drops.items())
        ),
    )
    for name, told, key in (
        ("av_offset_seconds", "By how much sound was late against the picture.", "av_offset_ms"),
        ("av_uncertainty_seconds", "How far that may be wrong.", "uncertainty_ms"),
    ):
        page.put(
            name,
            "gauge",
            told,
            (({"source": s}, _seconds(getattr(v.clock, key))) for s, v in each),
        )
    drifts = (({"source": s}, v.clock.drift_ppm / 1e6) for s, v in each)
    page.put(
        "clock_drift_ratio", "gauge", "Of the clock of sound against that of pictures.", drifts
    )


def _put_rates(page: MetricsText, sources: Iterable[str], rates: Rates | None) -> None:
    known = {name: rate for name in sorted(sources) if rates and (rate := rates.of(name))}
    for key, told in (
        ("camera", "Steps per second that the source captured."),
        ("process", "Steps per second whose flow or sound was computed."),
        ("detection", "Steps per second that the detector scored."),
        ("skipped", "Steps per second that were dropped."),
    ):
        samples = (({"source": s}, round(getattr(rate, key), 3)) for s, rate in known.items())
        page.put(f"{key}_fps", "gauge", told, samples)


def _put_latencies(page: MetricsText, workers: Mapping[str, Measures]) -> None:
    told = "since its capture; the sum is that of the buckets, within 6 %."
    page.put_histograms(
        "e2e_latency_seconds",
        f"Age of a step when it is published, {told}",
        (
            ({"source": source}, ages)
            for worker, measures in sorted(workers.items())
            if worker == "publisher"
            for source, ages in sorted(measures.ages.items())
        ),
    )
    page.put_histograms(
        "stage_age_seconds",
        f"Age of a step when it leaves a stage, {told}",
        (
            ({"source": source, "stage": worker.partition(" ")[0]}, ages)
            for worker, measures in sorted(workers.items())
            if worker != "publisher"
            for source, ages in sorted(measures.ages.items())
        ),
    )


def _put_workers(page: MetricsText, run: RunStatus) -> None:
    each = [({"worker": worker.name}, worker) for worker in run.workers]
    running = ((labels, int(worker.state == "running")) for labels, worker in each)
    page.put("worker_running", "gauge", "0 while a process waits for its next start.", running)
    restarts = ((labels, worker.restarts) for labels, worker in each)
    page.put("restarts_total", "counter", "Restarts of a process.", restarts)
    memory = ((labels, int(worker.rss_mb * 1e6)) for labels, worker in each)
    page.put("worker_rss_bytes", "gauge", "Resident memory of a process.", memory)


def _put_publishing(page: MetricsText, run: RunStatus) -> None:
    if (publisher := run.publisher) is not None:
        page.put_one("subscriptions", "gauge", "Topics subscribed to.", publisher.subscriptions)
        told = "Times that the queue of a slow subscriber was full."
        page.put_one("publisher_overflows_total", "counter", told, publisher.overflows)
        told = "Events that subscribers had missed and got again."
        page.put_one("publisher_replayed_total", "counter", told, publisher.replayed)
        told = "Requests and peers that were turned away."
        page.put_one("publisher_refused_total", "counter", told, publisher.refused)
    if (journal := run.journal) is not None:
        told = "1 while events cannot be kept."
        page.put_one("journal_failing", "gauge", told, int(journal.error is not None))
        told = "Events that wait for the disk."
        page.put_one("journal_unsaved_events", "gauge", told, journal.unsaved)
        page.put_one("journal_lost_total", "counter", "Events published, not kept.", journal.lost)


def _put_sinks(page: MetricsText, sinks: Mapping[str, SinkStatus]) -> None:
    each = [({"sink": name}, status) for name, status in sorted(sinks.items())]
    up = ((labels, int(status.state == "ok")) for labels, status in each)
    page.put("sink_up", "gauge", "1 while a sink takes events.", up)
    behind = ((labels, status.behind) for labels, status in each)
    page.put("sink_behind_bytes", "gauge", "Bytes of the journal that wait for a sink.", behind)
    delivered = ((labels, status.delivered) for labels, status in each)
    page.put("sink_delivered_total", "counter", "Events that a sink has taken.", delivered)
    lost = ((labels, status.lost) for labels, status in each)
    page.put("sink_lost_total", "counter", "Events that a sink never got.", lost)


def _counts(status: SourceStatus) -> Rate:
    """Return how often each thing happened that `Rate` has per second."""
    left = {stage: ages.n for stage, ages in status.ages_ms.items()}
    skipped = sum(status.dropped.values())
    processed = max(left.get("flow", 0), left.get("mel", 0))
    return Rate(status.steps, processed, left.get("detector", 0), skipped)


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1000
