"""Measures of sound event detection, by the packages that define them.

Conventions
-----------
* `reference`, `estimate`: `played_events.Intervals` of a clip, label -> (n, 2) seconds.

Metrics
-------
* **segment-based** F1 and error rate (`sed_eval`): activity of each label in segments of 1 s.
* **event-based** F1 and error rate (`sed_eval`): an event is right if its onset lies within one
  step (0.512 s) of a true one's, and its offset within one step or half of the true event's length.
* **interval** precision, recall, F1 and overlap (`mir_eval`): the same tolerances, matched by
  `mir_eval.transcription`; the overlap is that of matched pairs, intersection over union.
* **PSDS** (`psds_eval`): area under the curve of true against false positives over all thresholds,
  up to 100 false positives an hour; scenario 1 wants exact times, scenario 2 forgives them and
  counts confusions of labels.

F1 and error rates are over the events of all clips joined (`micro`), and by label; `macro` is the
mean over labels that occur. Source: Mesaros, Heittola and Virtanen 2016 (sed_eval); Raffel and
others 2014 (mir_eval); Bilen and others 2020 and the DCASE 2021 task 4 settings (PSDS).
"""

import importlib.metadata
import importlib.util
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..stream.timeline import STEP
from .bootstrap import interval, joined_f1
from .paper_metrics import mean_of
from .played_events import Intervals

SEGMENT = 1.0  # s
COLLAR = STEP  # s: what lies within one step of ours cannot be told apart
LENGTH_SHARE = 0.5  # of a true event's length, for its offset
MAX_FALSE = 100.0  # false positives an hour
SCENARIOS: dict[str, dict[str, float]] = {
    "psds1": {"dtc": 0.7, "gtc": 0.7, "cttc": 0.3, "alpha_ct": 0.0, "alpha_st": 1.0},
    "psds2": {"dtc": 0.1, "gtc": 0.1, "cttc": 0.3, "alpha_ct": 0.5, "alpha_st": 1.0},
}
# sed_eval needs pkg_resources (setuptools below 81), psds_eval a pandas below 3.
PACKAGES = ("sed_eval", "mir_eval", "psds_eval", "pandas", "pkg_resources")
MISSING = "event-based figures need more packages: pip install 'playspot[evaluate]'"


def is_installed() -> bool:
    """Return whether the packages of the extra `evaluate` are there, in versions that work."""
    if any(importlib.util.find_spec(name) is None for name in PACKAGES):
        return False
    return int(importlib.metadata.version("pandas").split(".")[0]) < 3


@dataclass
class ClipEvents:
    """The events of one clip.

    Attributes
    ----------
    duration : float
        Seconds.
    reference, estimate : Intervals
    swept : dict of threshold to Intervals
        Estimates at other thresholds, for the PSDS.
    """

    duration: float
    reference: Intervals
    estimate: Intervals
    swept: Mapping[float, Intervals] = field(default_factory=dict)


def event_report(clips: Mapping[str, ClipEvents], labels: tuple[str, ...]) -> dict[str, Any]:
    """Return all figures: `segment`, `event`, `interval`, each with `micro`, `macro` and `labels`.

    Parameters
    ----------
    clips : mapping of name to ClipEvents
    labels : tuple of str

    Returns
    -------
    report : dict
        And `psds1`, `psds2` where thresholds were swept. NaN where a figure has nothing to be of.

    Raises
    ------
    ImportError
        Without the extra `evaluate`.
    """
    with _old_packages():
        report: dict[str, Any] = {
            "segment": _by_sed_eval(clips, labels, "segment"),
            "event": _by_sed_eval(clips, labels, "event"),
            "interval": _by_mir_eval(clips, labels),
        }
        for name, scenario in SCENARIOS.items():
            report[name] = psds(clips, labels, **scenario)
    return report


@contextmanager
def _old_packages() -> Iterator[None]:
    """Be quiet about what these packages use that will go one day; versions are pinned for it."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def _by_sed_eval(
    clips: Mapping[str, ClipEvents], labels: tuple[str, ...], kind: str
) -> dict[str, Any]:
    import sed_eval.sound_event as sed

    measure = (
        sed.SegmentBasedMetrics(list(labels), time_resolution=SEGMENT)
        if kind == "segment"
        else sed.EventBasedMetrics(list(labels), t_collar=COLLAR, percentage_of_length=LENGTH_SHARE)
    )
    measure.empty_system_output_handling = "zero_score"  # what is missed altogether counts
    counts = [np.zeros(3)]
    for name, clip in clips.items():
        reference, estimate = _listed(name, clip.reference), _listed(name, clip.estimate)
        if kind == "segment":
            measure.evaluate(reference, estimate, evaluated_length_seconds=clip.duration)
        else:
            measure.evaluate(reference, estimate)
        counts.append(np.array([measure.overall[key] for key in ("Ntp", "Nsys", "Nref")], float))
    by_label: dict[str, dict[str, Any]] = {}
    for label, found in measure.results_class_wise_metrics().items():
        count = found["count"]
        n = {"n": int(count["Nref"]), "n_estimated": int(count["Nsys"])}
        by_label[label] = _figures(found, n["n"]) | n
    there = [figures for figures in by_label.values() if figures["n"]]
    n_all = sum(figures["n"] for figures in there)
    micro = _figures(measure.results_overall_metrics(), n_all)
    of_clips = list(np.diff(counts, axis=0)) if clips else []
    return {
        "micro": micro | {"interval": list(interval(of_clips, joined_f1))},
        "macro": {key: mean_of(f[key] for f in there) for key in micro},
        "labels": by_label,
        "n": n_all,
    }


def _listed(name: str, events: Intervals) -> list[dict[str, Any]]:
    return [
        {"file": name, "event_label": label, "event_onset": start, "event_offset": end}
        for label, spans in events.items()
        for start, end in spans.tolist()
    ]


def _figures(found: Mapping[str, Any], n: int) -> dict[str, float]:
    """Return the figures of sed_eval under our names; n is how many true ones there are."""
    f1, error = found["f_measure"], found["error_rate"]
    return {
        "f1": float(f1["f_measure"]),
        "precision": float(f1["precision"]),
        "recall": float(f1["recall"]),
        "error_rate": float(error["error_rate"]) if n else float("nan"),  # else it is 1e17
    }


def _by_mir_eval(clips: Mapping[str, ClipEvents], labels: tuple[str, ...]) -> dict[str, Any]:
    from mir_eval.transcription import average_overlap_ratio, match_notes

    found = {label: _Matches() for label in labels}
    of_clips = []
    for clip in clips.values():
        counts = np.zeros(3)  # as of `joined_f1`
        of_clips.append(counts)
        for label in labels:
            reference, estimate = clip.reference[label], clip.estimate[label]
            matches = found[label]
            matches.n_reference += len(reference)
            matches.n_estimated += len(estimate)
            counts += (0, len(estimate), len(reference))
            if not len(reference) or not len(estimate):
                continue
            pairs = match_notes(  # one pitch for all: labels are told apart already
                reference,
                np.full(len(reference), 440.0),
                estimate,
                np.full(len(estimate), 440.0),
                onset_tolerance=COLLAR,
                offset_ratio=LENGTH_SHARE,
                offset_min_tolerance=COLLAR,
            )
            matches.n_matched += len(pairs)
            counts[0] += len(pairs)
            if pairs:
                ratio = float(average_overlap_ratio(reference, estimate, pairs))
                matches.overlap += len(pairs) * ratio
    by_label = {label: matches.figures() for label, matches in found.items()}
    there = [figures for figures in by_label.values() if figures["n"]]
    joined = _Matches()
    for matches in found.values():
        joined.n_reference += matches.n_reference
        joined.n_estimated += matches.n_estimated
        joined.n_matched += matches.n_matched
        joined.overlap += matches.overlap
    micro = joined.figures()
    n = micro.pop("n")
    return {
        "micro": micro | {"interval": list(interval(of_clips, joined_f1))},
        "macro": {key: mean_of(f[key] for f in there) for key in micro},
        "labels": by_label,
        "n": n,
    }


@dataclass
class _Matches:
    n_reference: int = 0
    n_estimated: int = 0
    n_matched: int = 0
    overlap: float = 0.0  # sum over matched pairs

    def figures(self) -> dict[str, Any]:
        return {
            "f1": _ratio(2 * self.n_matched, self.n_reference + self.n_estimated),
            "precision": _ratio(self.n_matched, self.n_estimated),
            "recall": _ratio(self.n_matched, self.n_reference),
            "overlap": _ratio(self.overlap, self.n_matched),
            "n": self.n_reference,
        }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def psds(
    clips: Mapping[str, ClipEvents],
    labels: tuple[str, ...],
    *,
    dtc: float,
    gtc: float,
    cttc: float,
    alpha_ct: float,
    alpha_st: float,
) -> float:
    """Return the polyphonic sound detection score, 0 to 1; NaN without thresholds or events.

    Parameters
    ----------
    clips : mapping of name to ClipEvents
    labels : tuple of str
    dtc, gtc, cttc : float
        Criteria of detection, ground truth and cross-trigger: shares of overlap.
    alpha_ct, alpha_st : float
        Weight of confused labels; of differences between labels.

    Notes
    -----
    The last step of psds_eval 0.5.3 (area up to a bound) fails with NumPy 2.4, so the area under
    its curve, a staircase, is taken here. A single label cannot be confused with another.
    """
    import pandas as pd
    from psds_eval import PSDSEval

    thresholds = sorted({t for clip in clips.values() for t in clip.swept})
    truth = _table(pd, {name: clip.reference for name, clip in clips.items()})
    if not thresholds or truth.empty:
        return float("nan")
    with _old_packages():
        durations = [(name, clip.duration) for name, clip in clips.items()]
        metadata = pd.DataFrame(durations, columns=["filename", "duration"])
        measure = PSDSEval(dtc, gtc, cttc, ground_truth=truth, metadata=metadata)
        occurring = set(truth.event_label)
        for threshold in thresholds:
            estimate = _table(pd, {name: clip.swept[threshold] for name, clip in clips.items()})
            measure.add_operating_point(estimate[estimate.event_label.isin(occurring)])
        alone, _, confused = measure.psd_roc_curves(alpha_ct)
    curve = confused if alpha_ct and len(occurring) > 1 else alone
    rates = np.maximum(curve.mean - alpha_st * curve.std, 0.0)
    inside = curve.xp < MAX_FALSE
    bounds = np.append(curve.xp[inside], MAX_FALSE)
    return float(np.sum(np.diff(bounds) * rates[inside]) / MAX_FALSE)


def _table(pd: Any, clips: Mapping[str, Intervals]) -> Any:
    rows = [
        (name, start, end, label)
        for name, events in clips.items()
        for label, spans in events.items()
        for start, end in spans.tolist()
    ]
    return pd.DataFrame(rows, columns=["filename", "onset", "offset", "event_label"])
