"""The report of `benchmark engines` for people: tables, and a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.box import SIMPLE
from rich.table import Table

from .benchmark_report import begun
from .benchmark_ways import WAYS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS: Final = dict(
    zip(
        WAYS,
        ("#1b7837", "#999999", "#2166ac", "#8e44ad", "#76b900", "#e08214", "#b35806"),
        strict=True,
    )
)
SHADES: Final = {"fp32": 1.0, "bf16": 0.75, "fp16": 0.6, "int8": 0.4}


def print_engines(document: dict[str, Any]) -> None:
    """Print the JSON document of `benchmark engines` as tables."""
    console = begun(document, f"{document['threads']} thread(s) an operator")
    for name, peak in document["peaks"].items():
        console.print(
            f"{name}: {peak['flops'] / 1e9:.0f} GFLOP/s, {peak['bandwidth'] / 1e9:.0f} GB/s "
            f"({peak['source']})"
        )
    for network in document["networks"]:
        console.print(_table_of(document, network))
    if document["load"] is not None:
        console.print(_load_table(document["load"]))
    by_reason: dict[str, list[str]] = {}
    for way, why in document["skipped"].items():
        by_reason.setdefault(why, []).append(way)
    for why, ways in by_reason.items():
        console.print(f"not measured: {'; '.join(ways)}: {why}", markup=False)


def _table_of(document: dict[str, Any], network: dict[str, Any]) -> Table:
    table = Table(
        title=f"{network['kind']}: {network['name']}, {network['gmac']:.3f} GMAC, "
        f"{network['megabytes']:.0f} MB moved ({network['flop_per_byte']:.1f} FLOP a byte)",
        title_justify="left",
        box=SIMPLE,
    )
    table.add_column("way", no_wrap=True)
    for heading in ("batch", "p50 ms", "p95 ms", "p99 ms", "inputs/s", "roofline", "n"):
        table.add_column(heading, justify="right")
    before = None
    for row in _rows(document, network["kind"]):
        if before not in (None, row["batch"]):
            table.add_section()
        before = row["batch"]
        share = row["roofline_share"]
        table.add_row(
            *(f"{row['way']}, {row['precision']}", str(row["batch"])),
            *(f"{row[key]:.2f}" for key in ("p50_ms", "p95_ms", "p99_ms")),
            f"{row['per_second']:.0f}",
            "-" if share is None else f"{100 * share:.0f} %",
            str(row["n"]),
        )
    return table


def _rows(document: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [row for row in document["rows"] if row["kind"] == kind]


def _load_table(load: dict[str, Any]) -> Table:
    table = Table(
        title=f"{load['n_streams']} streams, {load['n_busy']} other busy processes; a step is each "
        f"network once; {load['n_rounds']} rounds of {load['seconds']:g} s",
        title_justify="left",
        box=SIMPLE,
    )
    table.add_column("way", no_wrap=True)
    headings = ("steps/s, all", "step p50 ms", "p95 ms", "p99 ms", "times defaults", "rounds")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in load["rows"]:
        ratio = row["ratio"]
        table.add_row(
            *(f"{row['way']}, {row['precision']}", f"{row['steps_per_second']:.1f}"),
            *(f"{row[key]:.1f}" for key in ("p50_ms", "p95_ms", "p99_ms")),
            f"{ratio['median']:.2f}",
            f"{ratio['low']:.2f} to {ratio['high']:.2f}",
        )
    return table


def draw(path: Path, document: dict[str, Any]) -> None:
    """Draw the JSON document into a PNG: latency, throughput by batch, streams under load."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    networks = document["networks"]
    n_rows = len(networks) + (document["load"] is not None)
    figure = Figure(figsize=(12, 1.2 + 2.9 * n_rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(n_rows, 2, squeeze=False, width_ratios=(1.25, 1))
    for (left, right), network in zip(axes, networks, strict=False):
        _latency(left, network, _rows(document, network["kind"]))
        _throughput(right, network, _rows(document, network["kind"]))
    if document["load"] is not None:
        _load(axes[-1][0], axes[-1][1], document["load"])
    lines, names = axes[0][1].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=4, fontsize=8)
    host = document["machine"]
    figure.suptitle(
        f"{host['cpu']}, {host['cores']} cores; {document['threads']} thread(s) an operator; "
        f"{host['date']}",
        size=10,
        x=0.01,
        ha="left",
    )
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _latency(axes: "Axes", network: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    first = min((row["batch"] for row in rows), default=1)
    chosen = [row for row in rows if row["batch"] == first]
    _bars(axes, chosen, [row["p50_ms"] for row in chosen])
    top = max((row["p99_ms"] for row in chosen), default=1)
    for place, row in enumerate(chosen):
        axes.plot([row["p50_ms"], row["p99_ms"]], [place, place], color="black", linewidth=0.8)
        axes.plot(row["p95_ms"], place, "|", color="black")
        share = row["roofline_share"]
        text = f"{row['p50_ms']:.2f}" + ("" if share is None else f"  ({100 * share:.0f} %)")
        axes.annotate(
            *(text, (row["p99_ms"], place), (5, 0)),
            textcoords="offset points",
            va="center",
            size=8,
        )
    axes.set_xlim(0, 1.25 * top)
    axes.set_xlabel("ms a run: median, line to 95 and 99 % (roofline: of the fastest run)", size=8)
    axes.set_title(f"{network['kind']}, batch {first}, {network['gmac']:.3f} GMAC", size=10)


def _throughput(axes: "Axes", network: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    for name, precision in dict.fromkeys((row["way"], row["precision"]) for row in rows):
        chosen = [row for row in rows if (row["way"], row["precision"]) == (name, precision)]
        axes.plot(
            [row["batch"] for row in chosen],
            [row["per_second"] for row in chosen],
            marker="o",
            markersize=4,
            linestyle="-" if precision == "fp32" else "--",
            color=COLOURS[name],
            alpha=max(0.5, SHADES.get(precision, 1.0)),
            label=f"{name}, {precision}",
        )
    batches = sorted({row["batch"] for row in rows})
    axes.set_xscale("log", base=2)
    axes.set_xticks(batches, [str(batch) for batch in batches])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("batch", size=8)
    axes.set_title(f"{network['kind']}, inputs a second", size=10)
    axes.grid(alpha=0.3)


def _load(left: "Axes", right: "Axes", load: dict[str, Any]) -> None:
    rows = load["rows"]
    _bars(left, rows, [row["steps_per_second"] for row in rows])
    for place, row in enumerate(rows):
        left.plot(row["rounds"], [place] * len(row["rounds"]), ".", color="black", markersize=4)
        ratio = row["ratio"]["median"]
        end = max(row["rounds"])
        text = f"{row['steps_per_second']:.0f}  ({ratio:.2f} x defaults)"
        left.annotate(text, (end, place), (6, 0), textcoords="offset points", va="center", size=8)
    left.set_xlim(0, 1.35 * max(max(row["rounds"]) for row in rows))
    left.set_xlabel("steps a second, all streams; dots: rounds", size=8)
    left.set_title(f"{load['n_streams']} streams beside {load['n_busy']} busy processes", size=10)
    _bars(right, rows, [row["p50_ms"] for row in rows])
    for place, row in enumerate(rows):
        right.plot([row["p50_ms"], row["p99_ms"]], [place, place], color="black", linewidth=0.8)
        right.plot(row["p95_ms"], place, "|", color="black")
    right.set_xlabel("ms a step: median, line to 95 and 99 %", size=8)
    right.set_title("the same, how long a step takes", size=10)


def _bars(axes: "Axes", rows: list[dict[str, Any]], values: list[float]) -> None:
    for place, (row, value) in enumerate(zip(rows, values, strict=True)):
        shade = SHADES.get(row["precision"], 1.0)
        axes.barh(place, value, color=COLOURS[row["way"]], alpha=shade, height=0.65)
    names = [f"{row['way']}, {row['precision']}" for row in rows]
    axes.set_yticks(range(len(rows)), names, size=8)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
