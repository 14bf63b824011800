"""The figures of `evaluate` as files: CSV, JSON and pictures.

====================  ==========================================================================
`figures.csv`         one row a figure: output, metric, label, value, interval, n
`figures.json`        the whole report
`labels.png`          when and where, by instrument, with intervals over clips
`curves.png`          precision and recall, and ROC, over the steps, by instrument
`confusion.png`       which instrument has the highest score where another is played
====================  ==========================================================================
"""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..stream.jsonl import output_error
from ..stream.whole_file import whole_file
from .evaluate_plots import draw_confusion, draw_curves, draw_labels
from .evaluate_report import plain
from .evaluate_table import Row, rows
from .standard_metrics import StandardMetrics


def write_files(
    report: Mapping[str, Any], measured: StandardMetrics | None, out: Path
) -> list[Path]:
    """Write the figures of a report into a folder; return the paths of what was written.

    Parameters
    ----------
    report : dict
    measured : StandardMetrics or None
        What curves and confusion are drawn of.
    out : Path
        Made if it is not there. Files of an earlier report are replaced.

    Raises
    ------
    OutputError
        If the folder cannot be written to.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        return list(_written(report, measured, out))
    except OSError as error:
        raise output_error(out, error) from None


def _written(report: Mapping[str, Any], measured: StandardMetrics | None, out: Path) -> list[Path]:
    found = rows(report)
    paths = [out / "figures.csv", out / "figures.json"]
    with whole_file(paths[0]) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        writer.writerows([_cell(value) for value in row] for row in found)
    with whole_file(paths[1]) as partial:
        partial.write_text(json.dumps(plain(dict(report)), indent=2) + "\n", encoding="utf-8")
    if draw_labels(out / "labels.png", found):
        paths.append(out / "labels.png")
    if measured is not None:
        if draw_curves(out / "curves.png", measured.labels, *measured.joined()):
            paths.append(out / "curves.png")
        if draw_confusion(out / "confusion.png", measured.labels, measured.confusion()):
            paths.append(out / "confusion.png")
    return paths


def _cell(value: Any) -> Any:
    return "" if value is None or (isinstance(value, float) and np.isnan(value)) else value
