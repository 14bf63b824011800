"""Pictures of the figures of `evaluate`: by label with intervals, curves, confusion."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..stream.drawing import web_colour
from ..stream.whole_file import whole_file
from .evaluate_table import Row
from .paper_metrics import auc

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = {  # metric: title, what chance gives
    "paper temporal_auc": ("when: temporal AUC", 0.5),
    "paper spatial_px": ("where: distance to the nearest key point, px", None),
    "paper hit_rate": ("where: share of maxima in the box", None),
    "paper frame_auc": ("sound: frame AUC", 0.5),
    "frame_auc": ("sound: frame AUC", 0.5),
}
MARKS = "os^Dvx*P"
COLOURS = ("#1b1b1b", "#2471a3", "#b9770e", "#c0392b", "#1e8449", "#7d3c98", "#148f77", "#707b7c")


def draw_labels(path: Path, found: list[Row]) -> bool:
    """Draw the metrics that are known by label into a PNG; return whether there was any."""
    by_metric = {
        metric: chosen
        for metric in PANELS
        if (chosen := [row for row in found if row.metric == metric and not np.isnan(row.value)])
    }
    if not by_metric:
        return False
    n_labels = max(len({row.label for row in chosen}) for chosen in by_metric.values())
    n_outputs = max(len({row.output for row in chosen}) for chosen in by_metric.values())
    figure = _figure(4.0 * len(by_metric) + 0.5, 1.4 + n_labels * (0.18 + 0.07 * n_outputs))
    outputs = list(dict.fromkeys(row.output for chosen in by_metric.values() for row in chosen))
    panels = figure.subplots(1, len(by_metric), squeeze=False)[0]
    for axes, (metric, chosen) in zip(panels, by_metric.items(), strict=True):
        _by_label(axes, chosen, outputs)
        title, chance = PANELS[metric]
        axes.set_title(title, size=10)
        if chance is not None:
            axes.axvline(chance, color="#999999", linewidth=1, linestyle=":")
        else:
            axes.set_xlim(left=0)
    if len(outputs) > 1:
        marks = {
            name: mark
            for axes in panels
            for mark, name in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(
            marks.values(), marks.keys(), loc="outside lower center", ncols=len(marks), fontsize=8
        )
    _save(figure, path)
    return True


def _by_label(axes: "Axes", chosen: list[Row], outputs: list[str]) -> None:
    labels = sorted(dict.fromkeys(row.label for row in chosen), key="average".__eq__)
    there = [output for output in outputs if any(row.output == output for row in chosen)]
    for place, output in enumerate(there):
        k = outputs.index(output)
        own = [row for row in chosen if row.output == output]
        offset = 0.7 * ((place + 0.5) / len(there) - 0.5)
        y = [labels.index(row.label) + offset for row in own]
        bars = [[max(0.0, r.value - r.low), max(0.0, r.high - r.value)] for r in own]
        axes.errorbar(
            [row.value for row in own],
            y,
            xerr=np.nan_to_num(np.array(bars).T),
            fmt=MARKS[k % len(MARKS)],
            color=COLOURS[k % len(COLOURS)],
            markersize=4,
            linewidth=1,
            label=output,
        )
    counts = {row.label: row.n for row in chosen}
    names = [f"{label} ({counts[label]})" if counts[label] else label for label in labels]
    axes.set_yticks(range(len(labels)), names)
    axes.axhspan(labels.index("average") - 0.5, len(labels) - 0.5, color="#f2f2f2", zorder=0)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    axes.tick_params(labelsize=8)


def draw_curves(
    path: Path, labels: tuple[str, ...], playing: NDArray[np.bool_], scores: NDArray[np.float64]
) -> bool:
    """Draw precision against recall, and the ROC, over the steps of all clips, label by label.

    Parameters
    ----------
    path : Path
    labels : tuple of str
    playing, scores : shape (steps, K)
        Whether each label is played; what is said of it.

    Returns
    -------
    is_drawn : bool
        False where no label is both played and not played.
    """
    known = [k for k in range(len(labels)) if 0 < playing[:, k].sum() < len(playing)]
    if not known:
        return False
    figure = _figure(10, 5)
    precision, roc = figure.subplots(1, 2)
    for k in known:
        right, false = cumulative(playing[:, k], scores[:, k])
        recall = right / right[-1]
        colour, name = web_colour(labels[k]), labels[k]
        ap = average_precision(playing[:, k], scores[:, k])
        precision.step(
            recall, right / (right + false), where="post", color=colour, label=f"{name} {ap:.2f}"
        )
        area = auc(playing[:, k], scores[:, k])
        roc.plot(
            np.append(0, false / false[-1]),
            np.append(0, recall),
            color=colour,
            label=f"{name} {area:.2f}",
        )
    roc.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":")
    precision.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    roc.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1.02))
    precision.set_title("steps: precision and recall (average precision)", size=10)
    roc.set_title("steps: ROC (area)", size=10)
    for axes in (precision, roc):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    _save(figure, path)
    return True


def cumulative(
    positive: NDArray[np.bool_], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how many true and false positives each threshold gives, highest first.

    Examples
    --------
    >>> right, false = cumulative(np.array([True, False, True]), np.array([0.9, 0.5, 0.5]))
    >>> right.tolist(), false.tolist()
    ([1.0, 2.0], [0.0, 1.0])
    """
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(positive[order], dtype=float)
    last = np.append(np.diff(scores[order]) != 0, True)  # of equal scores, all or none
    return right[last], (np.arange(1, len(scores) + 1) - right)[last]


def average_precision(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Return the average precision: the mean of precision over recall, a staircase.

    Examples
    --------
    >>> average_precision(np.array([True, False, True]), np.array([0.9, 0.5, 0.1]))
    0.8333333333333333
    """
    right, false = cumulative(positive, scores)
    gained = np.diff(np.append(0, right)) / right[-1]
    return float(np.sum(gained * right / (right + false)))


def draw_confusion(path: Path, labels: tuple[str, ...], counts: NDArray[np.int64]) -> bool:
    """Draw which label scores highest (column) where one alone is played (row), shares of a row."""
    if not counts.sum():
        return False
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    figure = _figure(6.4, 5.6)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="BuPu", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(counts), strict=True):
        ink = "white" if shares[row, column] > 0.5 else "#222222"
        axes.text(
            column,
            row,
            f"{shares[row, column]:.2f}".removeprefix("0"),
            ha="center",
            va="center",
            color=ink,
            size=8,
        )
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    names = [f"{label} ({int(n)})" for label, n in zip(labels, totals[:, 0], strict=True)]
    axes.set_yticks(range(len(labels)), names)
    axes.set(xlabel="highest score", ylabel="played alone (steps)")
    axes.tick_params(labelsize=8)
    axes.set_title("which: share of the steps of a row", size=10)
    figure.colorbar(image, ax=axes, shrink=0.8)
    _save(figure, path)
    return True


def _figure(width: float, height: float) -> "Figure":
    # matplotlib takes half a second to import: only who draws waits for it.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def _save(figure: "Figure", path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    options: Mapping[str, Any] = {"dpi": 120, "format": "png"}
    with whole_file(path) as partial:
        FigureCanvasAgg(figure).print_figure(str(partial), **options)
