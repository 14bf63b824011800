"""The report of `playspot compile`: tables on the terminal, JSON, markdown and a picture."""

import json
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from ..engines.machine import processor
from ..stream.whole_file import whole_file
from .compile_run import Outcome, Request
from .evaluate_report import plain
from .parity import Parity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AGREEMENT = ("network", "candidate", "largest", "mean", "n", "")
SPEED = ("network", "candidate", "fp32, ms", "ms", "times", "quartiles", "n")
CHANGE = ("output", "candidate", "AUC", "change", "n", "px", "change", "n", "")
COLOURS = {"sound": "#b9770e", "object": "#2471a3", "action": "#c0392b"}
_Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
SPEED_TITLE = "speed, times that of ONNX Runtime fp32; a step at a time, one thread"
SMALLEST = 1e-9  # differences below are drawn here


def as_json(request: Request, outcome: Outcome) -> dict[str, Any]:
    """Return the report as numbers, text, lists and dictionaries only."""
    report = {
        "backend": request.backend,
        "precision": request.precision,
        "passed": not outcome.faults,
        "reference": "ONNX Runtime fp32 on the CPU",
        "clips": outcome.clips,
        "compiled": [
            one.model_dump(mode="json", exclude={"report"}) for one in outcome.compiled.values()
        ],
        "parities": [parity.report() for parity in outcome.parities],
        "speeds": [asdict(speed) for speed in outcome.speeds.values()],
        "notes": outcome.notes,
        "machine": {"processor": processor(), "system": platform.platform(),
                    "cores": os.cpu_count()},
        "versions": _versions(),
    }  # fmt: skip
    return dict(plain(report))


def print_outcome(outcome: Outcome) -> None:
    """Print the tables, what is beyond the bounds, and what was kept."""
    console = Console()
    for title, headings, found in _tables(outcome):
        table = Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
        for k, heading in enumerate(headings):
            table.add_column(heading, justify="left" if k < 2 or not heading else "right")
        for row in found:
            table.add_row(*row)
        console.print(table)
    for line in (*outcome.notes, *_ending(outcome)):
        console.print(line, highlight=False, soft_wrap=True)


def write_report(request: Request, outcome: Outcome, folder: Path) -> list[Path]:
    """Write `parity.json`, `parity.md` and `parity.png` into a folder that exists."""
    report = as_json(request, outcome)
    texts = {
        "parity.json": json.dumps(report, indent=2) + "\n",
        "parity.md": _markdown(request, outcome, report),
    }
    paths = []
    for name, text in texts.items():
        with whole_file(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
        paths.append(folder / name)
    draw(folder / "parity.png", outcome.parities)
    return [*paths, folder / "parity.png"]


def _tables(outcome: Outcome) -> list[_Table]:
    """Return title, headings and rows of each table."""
    clips = ", ".join(f"{n} of {what}" for what, n in outcome.clips.items() if n)
    agreements: list[tuple[str, ...]] = []
    changes: list[tuple[str, ...]] = []
    for parity in outcome.parities:
        agreements += [
            (
                one.kind,
                parity.candidate,
                f"{one.largest:.1e}",
                f"{one.mean:.1e}",
                str(one.n),
                "above" if one.faults else "ok",
            )
            for one in parity.agreements()
        ]
        changes += [
            (
                one.output,
                parity.candidate,
                _number(one.auc, ".3f"),
                _number(one.auc_change, "+.4f"),
                str(one.n_videos),
                _number(one.px, ".2f"),
                _number(one.px_change, "+.3f"),
                str(one.n_frames),
                "beyond" if one.faults else "ok",
            )
            for one in parity.changes()
        ]
    tables: list[_Table] = [(f"scores, absolute difference; {clips}", AGREEMENT, agreements)]
    if changes:
        tables.append(("when and where; held-out clips of the bandstand", CHANGE, changes))
    if outcome.speeds:
        tables.append((SPEED_TITLE, SPEED, _speeds(outcome)))
    return tables


def _speeds(outcome: Outcome) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for kind, speed in outcome.speeds.items():
        one = outcome.compiled[kind]
        low, high = speed.quartiles
        cells = (f"{speed.original_ms:.2f}", f"{speed.compiled_ms:.2f}", f"{speed.speed_up:.2f}")
        spread = f"{low:.2f}-{high:.2f}"
        found.append((kind, f"{one.backend} {one.precision}", *cells, spread, str(speed.n)))
    return found


def _accepted(parity: Parity) -> str:
    """Return the bounds of a candidate in a line."""
    bounds = parity.bounds_of("action")
    parts = [("largest", bounds.largest, ""), ("mean", bounds.mean, ""),
             ("AUC", bounds.auc, "-"), ("px", bounds.px, "+")]  # fmt: skip
    told = (f"{what} {sign}{value:g}" for what, value, sign in parts if value is not None)
    return f"accepted of {parity.candidate}: {', '.join(told)}"


def _ending(outcome: Outcome) -> list[str]:
    lines = [
        f"{one.kind}, {one.model_name} ({one.model_hash}): {one.backend} {one.precision} "
        + (f"passed, {outcome.standings[kind]}" if one.passed else "is kept, but not used")
        for kind, one in outcome.compiled.items()
    ]
    if outcome.fused is not None:
        lines.append(f"use the fused set: playspot detect FILE --models {outcome.fused}")
    return [*(_accepted(parity) for parity in outcome.parities), *outcome.faults, *lines]


def _markdown(request: Request, outcome: Outcome, report: dict[str, Any]) -> str:
    verdict = "passed" if report["passed"] else "NOT passed"
    lines = [
        f"# Parity: {request.backend} {request.precision}, {verdict}",
        "",
        "Compared with ONNX Runtime at fp32 on the CPU, on the same inputs. A difference is of a "
        "score, 0 to 1; AUC and px are those of `playspot evaluate`, mean over labels; n counts "
        "scores, videos (a label in a clip) and steps.",
    ]
    for title, headings, found in _tables(outcome):
        lines += ["", f"## {title[0].upper() + title[1:]}", "", "| " + " | ".join(headings) + " |"]
        lines += ["|" + "---|" * len(headings)]
        lines += ["| " + " | ".join(row).replace("*", r"\*") + " |" for row in found]
    lines += ["", *(f"* {line}" for line in (*outcome.notes, *_ending(outcome)))]
    lines += ["", f"Machine: {report['machine']['processor']}, {report['machine']['cores']} cores, "
              f"{report['machine']['system']}; "
              + ", ".join(f"{name} {version}" for name, version in report["versions"].items())
              + "."]  # fmt: skip
    return "\n".join(lines) + "\n"


def _versions() -> dict[str, str]:
    from importlib import metadata

    found = {}
    for name in ("playspot", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "torch"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def draw(path: Path, parities: Sequence[Parity]) -> None:
    """Draw scores against the reference's, and how large the differences are, into a PNG."""
    from matplotlib.figure import Figure

    n_rows = len(parities)
    figure = Figure(figsize=(9.5, 0.6 + 3.6 * n_rows), layout="constrained", dpi=110)
    panels = figure.subplots(n_rows, 2, squeeze=False)
    for (scatter, histogram), parity in zip(panels, parities, strict=True):
        _scatter(scatter, parity)
        _histogram(histogram, parity)
    with whole_file(path) as partial:
        figure.savefig(partial, format="png")


def _scatter(axes: "Axes", parity: Parity) -> None:
    for kind in parity.names:
        ours, theirs = parity.pairs(kind)
        every = max(1, len(ours) // 4000)  # more points are not seen
        axes.scatter(ours[::every], theirs[::every], s=5, alpha=0.4, linewidths=0,
                     color=COLOURS[kind], label=kind)  # fmt: skip
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, zorder=0)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set(xlabel="score of the reference", ylabel=f"score of {parity.candidate}")
    axes.set_title(parity.candidate, size=10)
    axes.legend(fontsize=8, markerscale=2, loc="upper left")
    axes.grid(alpha=0.3)


def _histogram(axes: "Axes", parity: Parity) -> None:
    bins = np.logspace(math.log10(SMALLEST), 0, 55)
    for kind in parity.names:
        ours, theirs = parity.pairs(kind)
        sizes = np.clip(np.abs(theirs - ours), SMALLEST, 1)
        weights = np.full(len(sizes), 1 / max(len(sizes), 1))
        axes.hist(sizes, bins=list(bins), weights=weights, histtype="step", linewidth=1.4,
                  color=COLOURS[kind], label=kind)  # fmt: skip
    bounds = parity.bounds_of("action")
    marks = ((bounds.largest, "-", "largest"), (bounds.mean, ":", "mean"))
    for bound, style, what in marks:
        if bound is not None:
            axes.axvline(bound, color="#444444", linestyle=style, label=f"accepted: {what}")
    axes.set_xscale("log")
    axes.set(xlabel=f"absolute difference (below {SMALLEST:g}: at the left)",
             ylabel="share of scores")  # fmt: skip
    axes.set_title(parity.candidate, size=10)
    axes.legend(fontsize=8, loc="best")
    axes.grid(alpha=0.3)


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else f"{value:{form}}"
