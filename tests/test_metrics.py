"""What Prometheus gets, read by its own parser."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from playspot.stream.events import ModelInfo
from playspot.stream.measure import BOUNDS, Measures
from playspot.stream.metrics import Rates, render
from playspot.stream.metrics_text import BUCKETS
from playspot.stream.status import (
    Ages,
    Clock,
    JournalStatus,
    PublisherStatus,
    RunStatus,
    SinkStatus,
    SourceStatus,
    WorkerStatus,
)

parser = pytest.importorskip("prometheus_client.parser", reason="needs prometheus_client")

MODEL = ModelInfo(name='bun"dled\\\n', hash="0a", engine="onnx", precision="fp32")
RUN = RunStatus(
    system_id="a1",
    wall_time=0,
    uptime=12.5,
    model=MODEL,
    budget=2,
    latency="normal",
    look_ahead=0.74,
    workers=(
        WorkerStatus(name="publisher", pid=1, state="running", rss_mb=80.5, restarts=2),
        WorkerStatus(name="reader stage", state="waiting"),
    ),
    sources={"stage": "live"},
    journal=JournalStatus(folder="x", error="full", unsaved=3, lost=4),
    publisher=PublisherStatus(subscriptions=1, overflows=2, replayed=3, refused=4),
    sinks={"mqtt": SinkStatus(state="retrying", delivered=7, behind=800, lost=1)},
)


def source(name: str = "stage", steps: int = 10, wall_time: float = 0.0) -> SourceStatus:
    return SourceStatus(
        source=name,
        wall_time=wall_time,
        state="live",
        since=0,
        steps=steps,
        published=steps - 2,
        dropped={"late": 2},
        drops={"detector": {"late": 2}, "reader": {"full": 1}},
        ages_ms={"flow": Ages(n=steps), "mel": Ages(n=steps - 1), "detector": Ages(n=steps - 1)},
        clock=Clock(av_offset_ms=-12.5),
    )


def measures(*seconds: float) -> Measures:
    counted = Measures()
    for age in seconds:
        counted.age("stage", age)
    return counted


@pytest.fixture(scope="module")
def samples() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return everything that a run with one source tells, by name and labels."""
    text = render(
        RUN,
        {"stage": source()},
        {"publisher": measures(0.9, 1.1, 500.0), "reader stage": measures(0.05)},
        events={("stage", "violin", "new"): 5},
        clients={"ws": 2},
    )
    return {(s.name, frozenset(s.labels.items())): s.value for s in read(text)}


def read(text: str) -> Iterator[Any]:
    for family in parser.text_string_to_metric_families(text):
        assert family.documentation
        assert family.name.startswith("playspot_")
        yield from family.samples


def test_each_figure_of_a_run_is_there(samples: dict[object, float]) -> None:
    def of(name: str, **labels: str) -> float:
        return samples[f"playspot_{name}", frozenset(labels.items())]

    assert of("uptime_seconds") == 12.5
    assert of("source_state", source="stage", state="live") == 1
    assert of("source_state", source="stage", state="retrying") == 0
    assert of("steps_total", source="stage") == 10
    assert of("process_steps_total", source="stage") == 10
    assert of("detection_steps_total", source="stage") == 9
    assert of("steps_dropped_total", source="stage", cause="late") == 2
    assert of("frames_dropped_total", source="stage", stage="reader", cause="full") == 1
    assert of("av_offset_seconds", source="stage") == -0.0125
    assert of("restarts_total", worker="publisher") == 2
    assert of("worker_running", worker="reader stage") == 0
    assert of("worker_rss_bytes", worker="publisher") == 80.5e6
    assert of("publisher_overflows_total") == 2
    assert of("journal_failing") == 1
    assert of("journal_lost_total") == 4
    assert of("sink_up", sink="mqtt") == 0
    assert of("sink_behind_bytes", sink="mqtt") == 800
    assert of("events_total", source="stage", label="violin", type="new") == 5
    assert of("clients", kind="ws") == 2


def test_what_is_not_known_is_left_out(samples: dict[tuple[str, object], float]) -> None:
    assert "playspot_av_uncertainty_seconds" not in {name for name, _ in samples}
    assert "playspot_camera_fps" not in {name for name, _ in samples}


def test_any_text_can_be_a_label(samples: dict[tuple[str, frozenset[object]], float]) -> None:
    (labels,) = [labels for name, labels in samples if name == "playspot_build_info"]
    assert ("model", 'bun"dled\\\n') in labels


def test_a_histogram_counts_each_age_in_all_buckets_above_it() -> None:
    ages = [0.001, 0.0999, 0.3, 0.95, 1.0, 1.3, 1.9, 3.0, 7.0, 1000.0]
    text = render(RUN, {}, {"publisher": measures(*ages)})
    buckets = {
        s.labels["le"]: s.value for s in read(text) if s.name.endswith("latency_seconds_bucket")
    }
    assert buckets == {
        **{f"{BOUNDS[k]:.4g}": sum(age <= BOUNDS[k] for age in ages) for k in BUCKETS},
        "+Inf": len(ages),
    }
    assert list(buckets.values()) == sorted(buckets.values())


def test_the_sum_of_a_histogram_is_within_6_percent(rng: np.random.Generator) -> None:
    ages = rng.uniform(0.2, 3.0, 500)
    text = render(RUN, {}, {"publisher": measures(*ages)})
    (told,) = [s.value for s in read(text) if s.name == "playspot_e2e_latency_seconds_sum"]
    assert math.isclose(told, ages.sum(), rel_tol=0.06)


def test_the_age_at_each_stage_is_told_by_stage(samples: dict[tuple[str, object], float]) -> None:
    key = (
        "playspot_stage_age_seconds_count",
        frozenset({("source", "stage"), ("stage", "reader")}),
    )
    assert samples[key] == 1


def test_rates_are_those_of_the_last_seconds() -> None:
    rates = Rates()
    for now, steps in ((0, 0), (5, 1000), (10, 1010), (20, 1030)):
        rates.note(source(steps=steps, wall_time=now))
    rate = rates.of("stage")
    assert rate is not None
    assert rate.camera == 2.0
    text = render(RUN, {"stage": source()}, {}, rates=rates)
    assert 'playspot_camera_fps{source="stage"} 2.0\n' in text


def test_sources_that_are_gone_have_no_rate() -> None:
    rates = Rates()
    rates.note(source(wall_time=1))
    rates.note(source(wall_time=2))
    rates.keep(["other"])
    assert rates.of("stage") is None


def test_a_clock_that_is_set_back_makes_no_negative_rate() -> None:
    rates = Rates()
    for now, steps in ((100, 10), (50, 12), (51, 14)):
        rates.note(source(steps=steps, wall_time=now))
    rate = rates.of("stage")
    assert rate is not None
    assert rate.camera == 2.0
