"""The report of `evaluate`, for people and for programs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from .evaluate_table import Row, rows
from .event_metrics import MISSING

# Metrics that get a table of their own, a row a label: title, and how numbers are shown.
BY_LABEL = {
    "paper temporal_auc": ("when: temporal AUC, mean over videos, then labels", ".3f"),
    "paper spatial_px": (
        "where: px to the nearest key point, mean over videos, then labels",
        ".2f",
    ),
    "paper hit_rate": ("where: share of maxima in the instrument's box", ".3f"),
    "paper frame_auc": ("sound: AUC over the columns of all songs joined", ".3f"),
    "frame_auc": ("sound: AUC over the steps of all clips joined", ".3f"),
}

STEP_METRICS = {
    "temporal_auc mean": "AUC of pairs",
    "spatial_px median": "median px",
    "top1": "top-1",
}
KINDS = {
    "clip": "clips",
    "frame": "steps",
    "segment": "segments",
    "event": "events",
    "interval": "intervals",
}


def ran(model: Mapping[str, Any]) -> str:
    """Return what ran a model, for people.

    Examples
    --------
    >>> ran({"engine": "openvino-cpu", "precision": "int8"})
    'on openvino-cpu at int8'
    """
    return f"on {model['engine']} at {model['precision']}"


def print_report(report: Mapping[str, Any]) -> None:
    """Print the figures of `evaluate`, of any data set, as tables."""
    console = Console()
    for kind, model in report.get("models", {}).items():
        console.print(f"{kind}: {model['name']} ({model['hash']}), {ran(model)}", highlight=False)
    found = rows(report)
    if "n_clips" in report:
        console.print(f"{report['n_clips']} clips, split {report['split']}", highlight=False)
    for metric, (title, form) in BY_LABEL.items():
        chosen = [row for row in found if row.metric == metric]
        if chosen:
            console.print(_by_label(chosen, title, form))
    of_steps = [row for row in found if row.metric in STEP_METRICS and row.label == "average"]
    if of_steps:
        console.print(_by_output(of_steps))
    standard = report.get("standard", {})
    if standard:
        console.print(_detected(standard))
        console.print(_in_a_line(standard), highlight=False)


def _by_label(chosen: list[Row], title: str, form: str) -> Table:
    """Return a table of one metric: a row a label, a column an output, intervals of the average."""
    outputs = list(dict.fromkeys(row.output for row in chosen))
    labels = sorted(dict.fromkeys(row.label for row in chosen), key="average".__eq__)
    table = _table(title, ["label", *outputs, "n"])
    cells = {(row.output, row.label): row for row in chosen}
    for label in labels:
        there = [cells.get((output, label)) for output in outputs]
        n = max((row.n or 0 for row in there if row is not None), default=0)
        values = [_number(row.value if row else np.nan, form) for row in there]
        table.add_row(label, *values, str(n or "-"))
    averages = [cells.get((output, "average")) for output in outputs]
    if any(row is not None and not np.isnan(row.low) for row in averages):
        for name, bound in (("95 % from", "low"), ("95 % to", "high")):
            table.add_row(name, *(_number(getattr(row, bound, np.nan), form) for row in averages))
    return table


def _by_output(chosen: list[Row]) -> Table:
    """Return a table of what is measured over all steps or pairs: a row an output."""
    table = _table("all clips and labels joined", ["output", *STEP_METRICS.values()])
    cells = {(row.output, row.metric): row for row in chosen}
    for output in dict.fromkeys(row.output for row in chosen):
        there = [cells.get((output, metric)) for metric in STEP_METRICS]
        forms = (".1f" if "px" in name else ".3f" for name in STEP_METRICS)
        table.add_row(
            output,
            *(_bounded(row, form) for row, form in zip(there, forms, strict=True)),
        )
    return table


def _detected(standard: Mapping[str, Any]) -> Table:
    """Return a table of what `detect` would report: a row a kind of comparison."""
    table = _table(
        "detected", ["of", "F1", "95 %", "precision", "recall", "error rate", "macro F1", "n"]
    )
    kinds = {name: standard[name] for name in ("clip", "frame")} | standard.get("events", {})
    for kind, figures in kinds.items():
        if not isinstance(figures, Mapping):
            continue
        micro = figures["micro"]
        low, high = micro.get("interval", (np.nan, np.nan))
        table.add_row(
            KINDS[kind],
            _number(micro["f1"]),
            "-" if np.isnan(low) else f"{low:.3f}-{high:.3f}",
            *(_number(micro.get(key, np.nan)) for key in ("precision", "recall", "error_rate")),
            _number(figures["macro"]["f1"]),
            str(figures["n"]),
        )
    return table


def _in_a_line(standard: Mapping[str, Any]) -> str:
    parts = [f"Hit@{k} {_number(hits['mean'])}" for k, hits in standard["hit_at"].items()]
    events = standard.get("events")
    if events is None:
        return ", ".join([*parts, MISSING])
    parts += [f"PSDS {name[-1]} {_number(events[name])}" for name in ("psds1", "psds2")]
    return ", ".join(parts)


def _number(value: float, form: str = ".3f") -> str:
    return "-" if np.isnan(value) else f"{value:{form}}"


def _bounded(row: Row | None, form: str) -> str:
    if row is None or np.isnan(row.value):
        return "-"
    has_bounds = not np.isnan(row.low)
    return f"{row.value:{form}}" + (f" ({row.low:{form}}-{row.high:{form}})" if has_bounds else "")


def _table(title: str, headings: list[str]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    for heading in headings:
        is_text = heading in ("label", "output", "of")
        table.add_column(heading.replace("*", "\n*"), justify="left" if is_text else "right")
    return table


def plain(value: Any) -> Any:
    """Return figures as JSON can hold them: NaN becomes null."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value
