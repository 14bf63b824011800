"""The report of `benchmark flow` for people: tables, and a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.box import SIMPLE
from rich.table import Table

from .benchmark_report import begun

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS: Final = {"OpenCV": "#444444", "DIS": "#2166ac", "network": "#1b7837"}
RIGHT_MS: Final = 10.0
MARKERS: Final = "osD^v<>"


def print_flow(document: dict[str, Any]) -> None:
    """Print the JSON document of `benchmark flow` as tables."""
    console = begun(document, "one thread")
    console.print(_cost_table(document["rows"]))
    for what, rows in document["difference"].items():
        console.print(_difference_table(what, rows))
    if document["quality"]:
        console.print(_quality_table(document["quality"]))
    for way, why in document["skipped"].items():
        console.print(f"not measured: {way}: {why}", markup=False)


def _cost_table(rows: list[dict[str, Any]]) -> Table:
    headings = ("size", "pairs", "p50", "p95", "p99", "n")
    table = _table("ms a pair of frames", "way", *headings)
    before = None
    for row in rows:
        if before not in (None, (row["size"], row["batch"])):
            table.add_section()
        before = (row["size"], row["batch"])
        times = (f"{row[key]:.2f}" for key in ("p50_ms", "p95_ms", "p99_ms"))
        table.add_row(row["way"], row["size"], str(row["batch"]), *times, str(row["n"]))
    return table


def _difference_table(what: str, rows: list[dict[str, Any]]) -> Table:
    n = max((row["n_pairs"] for row in rows), default=0)
    scenes = max((row["n_scenes"] for row in rows), default=0)
    title = f"end-point difference to OpenCV's Farneback, px; {what}, {n} pairs of {scenes} scenes"
    table = _table(title, "way", "mean", "99 %", "largest", "worst scene's mean", "its 99 %")
    for row in rows:
        keys = ("mean", "p99", "largest", "worst_mean", "worst_p99")
        table.add_row(row["way"], *(f"{row[key]:.2g}" for key in keys))
    return table


def _quality_table(rows: list[dict[str, Any]]) -> Table:
    first = rows[0]
    table = _table(
        f"the action model on {first['n_clips']} clips it has not seen "
        f"({first['n_auc']} AUCs, {first['n_px']} frames)",
        *("way", "temporal AUC", "95 %", "median px", "95 %"),
    )
    for row in rows:
        table.add_row(
            *(row["way"], _told(3, row["auc"]), _told(3, *row["auc_interval"])),
            *(_told(1, row["px"]), _told(1, *row["px_interval"])),
        )
    return table


def _told(digits: int, *numbers: float | None) -> str:
    """Return a number or an interval; a single clip has none."""
    known = [f"{number:.{digits}f}" for number in numbers if number is not None]
    return " to ".join(known) if len(known) == len(numbers) else "-"


def _table(title: str, first: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE)
    table.add_column(first, no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def draw(path: Path, document: dict[str, Any]) -> None:
    """Draw the JSON document into a PNG: cost by size, and difference against cost."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
    _cost(left, document["rows"])
    _trade(right, document)
    host = document["machine"]
    figure.suptitle(
        f"{host['cpu']}, one thread; {host['date']}; load {host['load']}",
        size=10,
        x=0.01,
        ha="left",
    )
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _cost(axes: "Axes", rows: list[dict[str, Any]]) -> None:
    sizes = list(dict.fromkeys(row["size"] for row in rows))
    names = list(dict.fromkeys(row["way"] for row in rows))
    first = min((row["batch"] for row in rows), default=1)
    height = 0.8 / max(1, len(sizes))
    for k, size in enumerate(sizes):
        chosen = {r["way"]: r for r in rows if (r["size"], r["batch"]) == (size, first)}
        for place, name in enumerate(names):
            if name not in chosen:
                continue
            row = chosen[name]
            at = place + height * (k - (len(sizes) - 1) / 2)
            shade = 1 - 0.7 * k / max(1, len(sizes))
            axes.barh(at, row["p50_ms"], height, color=_colour(name), alpha=shade)
            text = f"{row['p50_ms']:.2f}  {size}"
            axes.annotate(
                *(text, (row["p50_ms"], at), (4, 0)),
                textcoords="offset points",
                va="center",
                size=6.5,
            )
    axes.set_xscale("log")
    axes.margins(x=0.2)
    axes.set_yticks(range(len(names)), names, size=8)
    axes.invert_yaxis()
    axes.set_xlabel("ms a pair of frames, median", size=8)
    axes.set_title(f"What a pair costs, {first} at a time", size=10)
    axes.spines[["top", "right"]].set_visible(False)


def _trade(axes: "Axes", document: dict[str, Any]) -> None:
    costs: dict[str, float] = {}
    for row in document["rows"]:
        costs.setdefault(row["way"], row["p50_ms"])
    network = next((name for name in costs if name.startswith("network")), "")
    for marker, (what, rows) in zip(MARKERS, document["difference"].items(), strict=False):
        for place, row in enumerate(rows):
            name = row["way"] if row["way"] in costs else network
            if name not in costs:
                continue
            x, y = costs[name], max(row["mean"], 1e-7)
            axes.plot([x, x], [y, max(row["p99"], 1e-7)], color=_colour(name), linewidth=0.8)
            axes.plot(x, y, marker, color=_colour(name))
            if marker == MARKERS[0]:
                is_right = x > RIGHT_MS  # of the picture: the name goes to the left
                axes.annotate(
                    *(row["way"], (x, y), (-6 if is_right else 6, -9 if place % 2 else 6)),
                    textcoords="offset points",
                    ha="right" if is_right else "left",
                    size=7,
                )
        axes.plot([], [], marker, color="#444444", label=what)
    axes.axhline(0.005, color="#aaaaaa", linewidth=0.8, linestyle="--", label="network's bound")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.margins(x=0.4)
    axes.legend(fontsize=8, loc="lower left")
    axes.set_xlabel("ms a pair of frames", size=8)
    axes.set_ylabel("end-point difference, px: mean, line to 99 %", size=8)
    axes.set_title("Difference to OpenCV's Farneback", size=10)
    axes.grid(alpha=0.3)


def _colour(name: str) -> str:
    return next((c for start, c in COLOURS.items() if name.startswith(start)), "#b9770e")
