"""The figures of `evaluate` as rows, for CSV files and tables.

One row is one figure: `output` (which models, or `detect` for what is decoded), `metric`, `label`
(or `average`), `value`, `low` and `high` of its 95 % bootstrap interval over clips, and `n`: how
many clips, videos, steps or events it is of. What is unknown is NaN, an empty cell in the file.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

NAN = float("nan")
NO_INTERVAL = (NAN, NAN)


class Row(NamedTuple):
    """One figure."""

    output: str
    metric: str
    label: str
    value: float
    low: float = NAN
    high: float = NAN
    n: int | None = None


def rows(report: Mapping[str, Any]) -> list[Row]:
    """Return all figures of a report of `evaluate`, of any data set.

    Examples
    --------
    >>> named = {"mean": 0.75, "n": 1, "labels": {"drum": 0.75}}
    >>> rows({"outputs": {}, "sound_frame_auc": named})[1]
    Row(output='sound', metric='frame_auc', label='drum', value=0.75, low=nan, high=nan, n=None)
    """
    found: list[Row] = []
    if "spatial_px" in report:  # a predictor without models
        found += _of_paper(report["predictor"], _as_paper(report))
    for output, figures in report.get("outputs", {}).items():
        if "paper" in figures:
            found += _of_paper(output, figures["paper"])
        found += _of_steps(output, figures)
    for output, metric in (("sound", "frame_auc"), ("object", "hit_rate")):
        if (named := report.get(f"{output}_{metric}")) is not None:
            found.append(Row(output, metric, "average", named["mean"], n=named["n"]))
            found += [Row(output, metric, label, value) for label, value in named["labels"].items()]
    found += _of_standard(report.get("standard", {}))
    return found


def _as_paper(report: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "spatial_px": report["spatial_px"],
        "n": {"spatial_px": report["videos"]},
        "intervals": {"spatial_px": report["intervals"]},
    }


def _of_paper(output: str, paper: Mapping[str, Any]) -> Iterator[Row]:
    for metric in ("temporal_auc", "spatial_px", "hit_rate", "frame_auc"):
        n = paper["n"].get(metric, {})
        for label, value in paper.get(metric, {}).items():
            if n.get(label if label != "average" else "all"):
                low, high = paper["intervals"][metric].get(label, NO_INTERVAL)
                count = n[label if label != "average" else "all"]
                yield Row(output, f"paper {metric}", label, value, low, high, count)


def _of_steps(output: str, figures: Mapping[str, Any]) -> Iterator[Row]:
    for metric, key in (("temporal_auc", "mean"), ("spatial_px", "median")):
        if (one := figures.get(metric)) is not None and one["n"]:
            name = f"{metric} {key}"
            low, high = one["interval"]
            yield Row(output, name, "average", one[key], low, high, one["n"])
            for label, of_label in one["labels"].items():
                if of_label["n"]:
                    yield Row(output, name, label, of_label[key], n=of_label["n"])
    if (top1 := figures.get("top1")) is not None:
        yield Row(output, "top1", "average", top1["mean"], n=top1["n"])


def _of_standard(standard: Mapping[str, Any]) -> Iterator[Row]:
    for k, hits in standard.get("hit_at", {}).items():
        low, high = hits["interval"]
        yield Row("detect", f"hit@{k}", "average", hits["mean"], low, high, hits["n"])
    events = standard.get("events", {})
    kinds = {name: standard[name] for name in ("clip", "frame") if name in standard}
    for kind, figures in {**kinds, **events}.items():
        if not isinstance(figures, Mapping):
            yield Row("detect", kind, "average", figures)
            continue
        for key in ("f1", "precision", "recall", "error_rate", "overlap"):
            if key not in figures["micro"]:
                continue
            value, name = figures["micro"][key], f"{kind} {key}"
            low, high = (
                figures["micro"].get("interval", NO_INTERVAL) if key == "f1" else NO_INTERVAL
            )
            yield Row("detect", f"{name} micro", "average", value, low, high, figures["n"])
            yield Row("detect", f"{name} macro", "average", figures["macro"].get(key, NAN))
            for label, of_label in figures["labels"].items():
                if of_label["n"]:
                    yield Row("detect", name, label, of_label[key], n=of_label["n"])
