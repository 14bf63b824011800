"""Events and their measures, against the packages' own classes, fixtures and known answers."""

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from playspot.engines.settings import Decoding
from playspot.stream.timeline import STEP
from playspot.training import event_metrics
from playspot.training.event_metrics import ClipEvents, event_report, psds
from playspot.training.played_events import Intervals, decoded_events, merged, true_events
from playspot.training.standard_metrics import StandardMetrics, prf

needs_packages = pytest.mark.skipif(
    not event_metrics.is_installed(), reason="needs the extra evaluate"
)
LABELS = ("drum", "violin")
TRUE = {"drum": np.array([[1.0, 3.0], [5.0, 8.0]]), "violin": np.array([[2.0, 6.0]])}
NONE: Intervals = {label: np.empty((0, 2)) for label in LABELS}


def report_of(estimate: Intervals) -> dict[str, Any]:
    return event_report({"a": ClipEvents(10, TRUE, estimate)}, LABELS)


@needs_packages
def test_perfect_events_score_1() -> None:
    swept = dict.fromkeys((0.1, 0.9), TRUE)
    report = event_report({"a": ClipEvents(10, TRUE, TRUE, swept)}, LABELS)
    for kind in ("segment", "event", "interval"):
        assert report[kind]["micro"]["f1"] == report[kind]["macro"]["f1"] == 1
    assert report["event"]["micro"]["error_rate"] == 0
    assert report["interval"]["micro"]["overlap"] == 1
    assert report["psds1"] == report["psds2"] == 1


@needs_packages
def test_what_is_missed_altogether_scores_0() -> None:
    report = report_of(NONE)
    assert report["event"]["macro"]["f1"] == report["interval"]["macro"]["f1"] == 0
    assert report["segment"]["micro"]["error_rate"] == 1


@needs_packages
def test_an_onset_may_be_off_by_one_step() -> None:
    late = {"drum": TRUE["drum"] + [0.5, 0.0], "violin": TRUE["violin"] + [0.6, 0.0]}
    report = report_of(late)
    for kind in ("event", "interval"):
        assert report[kind]["labels"]["drum"]["f1"] == 1
        assert report[kind]["labels"]["violin"]["f1"] == 0


@needs_packages
def test_intervals_are_of_clips_drawn() -> None:
    clips = {name: ClipEvents(10, TRUE, TRUE if name < "c" else NONE) for name in "abcd"}
    report = event_report(clips, LABELS)
    for kind in ("event", "interval"):
        low, high = report[kind]["micro"]["interval"]
        assert low < report[kind]["micro"]["f1"] == pytest.approx(2 / 3)
        assert high > 2 / 3


@needs_packages
def test_errors_are_no_share_of_nothing() -> None:
    report = event_report({"a": ClipEvents(10, NONE, TRUE)}, LABELS)
    for kind in ("segment", "event"):
        assert math.isnan(report[kind]["micro"]["error_rate"])
        assert math.isnan(report[kind]["labels"]["drum"]["error_rate"])


@needs_packages
def test_a_clip_in_which_nobody_plays_is_no_error() -> None:
    report = event_report({"a": ClipEvents(10, NONE, NONE)}, LABELS)
    assert math.isnan(report["event"]["micro"]["f1"])
    assert report["event"]["n"] == 0


@needs_packages
def test_psds_falls_with_false_positives_and_needs_thresholds() -> None:
    noisy = TRUE | {"violin": np.array([[0.0, 1.0], [2.0, 6.0], [7.0, 9.0]])}
    scenario = event_metrics.SCENARIOS["psds1"]
    clean = psds({"a": ClipEvents(36, TRUE, TRUE, {0.5: TRUE})}, LABELS, **scenario)
    dirty = psds({"a": ClipEvents(36, TRUE, TRUE, {0.5: noisy})}, LABELS, **scenario)
    assert dirty < clean == 1
    assert math.isnan(psds({"a": ClipEvents(36, TRUE, TRUE)}, LABELS, **scenario))


def read_events(path: Path) -> list[tuple[float, float, str]]:
    with path.open(newline="") as file:
        return [(float(a), float(b), c) for a, b, c in csv.reader(file, delimiter="\t")]


@needs_packages
def test_segments_of_the_fixtures_of_sed_eval_count_as_by_hand(shared: Path) -> None:
    folder = shared / "data/annotations/sed_eval_tests"
    clips, right, found, true = {}, 0, 0, 0
    labels: tuple[str, ...] = ()
    for name in ("office_snr0_high_v2", "office_snr0_med_v2"):
        lists = [read_events(folder / f"{name}{end}.txt") for end in ("", "_detected")]
        labels = tuple(sorted({*labels, *(label for rows in lists for _, _, label in rows)}))
        end = max(stop for rows in lists for _, stop, _ in rows)
        active: list[set[tuple[int, str]]] = [set(), set()]
        for rows, cells in zip(lists, active, strict=True):
            for start, stop, label in rows:
                cells |= {(k, label) for k in range(math.floor(start), math.ceil(stop))}
        right, found, true = (
            right + len(active[0] & active[1]),
            found + len(active[1]),
            true + len(active[0]),
        )
        clips[name] = (lists, end)
    events = {}
    for name, (lists, end) in clips.items():
        true_spans, found_spans = ({k: spans(rows, k) for k in labels} for rows in lists)
        events[name] = ClipEvents(end, true_spans, found_spans)
    micro = event_report(events, labels)["segment"]["micro"]
    assert micro["f1"] == pytest.approx(prf(right, found, true)["f1"], abs=1e-9)
    assert 0.2 < micro["f1"] < 1


def spans(rows: list[tuple[float, float, str]], label: str) -> np.ndarray:
    return np.array([(a, b) for a, b, c in rows if c == label], float).reshape(-1, 2)


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("perfect_prediction", "output_perfect_prediction"),
        ("imperfect_prediction", "imperfect_prediction_output"),
    ],
)
def test_tags_of_the_fixtures_of_dcase_score_as_they_say(
    shared: Path, name: str, output: str
) -> None:
    folder = shared / "data/annotations/dcase2017_task4_eval_fixtures"
    true, found = (
        {tuple(line.split("\t")[::3]) for line in (folder / f"{n}.csv").read_text().splitlines()}
        for n in ("perfect_prediction", name)
    )
    figures = prf(len(true & found), len(found), len(true))
    lines = (folder / f"{output}.csv").read_text().splitlines()
    expected = {key.strip(): float(value) for key, value in (line.split("=") for line in lines)}
    assert 100 * figures["precision"] == pytest.approx(expected["Precision"], abs=1e-6)
    assert 100 * figures["recall"] == pytest.approx(expected["Recall"], abs=1e-6)
    assert 100 * figures["f1"] == pytest.approx(expected["F1 Score"], abs=1e-6)


def playing_maps(*runs: tuple[int, int, int]) -> np.ndarray:
    """Return maps of 20 steps; a run is (label, first step, last step)."""
    maps = np.full((20, 2, 4, 4), 0.02, np.float32)
    for label, first, last in runs:
        maps[first : last + 1, label, 1, 1] = 0.9
    return maps


def test_events_are_decoded_by_hysteresis_and_shortest_duration() -> None:
    maps = playing_maps((0, 2, 9), (1, 5, 5))
    found = decoded_events(maps, LABELS, Decoding(), 10.24)
    assert found["drum"].tolist() == [[pytest.approx(1.5 * STEP), pytest.approx(9.5 * STEP)]]
    assert len(found["violin"]) == 0


def test_events_end_with_the_clip() -> None:
    found = decoded_events(playing_maps((0, 15, 19)), LABELS, Decoding(), 9.9)
    assert found["drum"][0, 1] == 9.9


def test_instruments_that_the_models_do_not_know_are_passed_over() -> None:
    truth = {"players": [{"label": "kazoo", "playing": [[0.0, 1.0]]}, {"label": "drum"}]}
    assert true_events(truth, ("drum",), 4, 2.0)["drum"].shape == (0, 2)


def test_true_events_of_steps_are_their_runs() -> None:
    player = {"label": "drum", "playing": True, "points": [[0.5, 0.5]]}
    truth = {"steps": [{"step": k, "players": [player]} for k in (3, 4, 5)]}
    spans = true_events(truth, LABELS, 20, 10.24)["drum"]
    assert spans.tolist() == [[pytest.approx(2.5 * STEP), pytest.approx(5.5 * STEP)]]


def test_intervals_that_touch_are_one_and_bad_ones_none() -> None:
    assert merged([(1, 2), (2, 3), (5, 4), (float("nan"), 2)], 9).tolist() == [[1, 3]]


def standard_of(maps: np.ndarray, truth: dict[str, Any]) -> StandardMetrics:
    standard = StandardMetrics(LABELS, Decoding(), has_events=False)
    playing = np.zeros((20, 2), bool)
    playing[2:10, 0] = True
    standard.add("a", truth, playing, maps)
    return standard


def test_steps_clips_and_hits_of_a_perfect_model_score_1() -> None:
    report = standard_of(playing_maps((0, 2, 9)), {"played": ["drum"]}).report()
    assert report["frame"]["micro"]["f1"] == report["clip"]["micro"]["f1"] == 1
    assert report["hit_at"]["1"]["mean"] == 1
    assert report["confusion"] == [[8, 0], [0, 0]]


def test_a_model_that_names_another_label_is_confused() -> None:
    report = standard_of(playing_maps((1, 2, 9)), {"played": ["drum"]}).report()
    assert report["frame"]["micro"]["f1"] == report["hit_at"]["1"]["mean"] == 0
    assert report["hit_at"]["3"]["mean"] == 1
    assert report["confusion"] == [[0, 8], [0, 0]]
