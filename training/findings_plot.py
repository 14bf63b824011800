"""The picture of the findings: time against space for each target, and what fusion adds."""

from pathlib import Path
from typing import Any

from .findings_paper import PAPER, WHEN, WHERE

COLOURS = {"VT": "#666666", "SOT": "#c0392b", "ST": "#2471a3", "OT": "#b9770e"}
FUSIONS = ("", "*object", "*sound", "*object*sound")


def draw(path: Path, document: dict[str, Any]) -> None:
    """Draw what `findings.json` holds into a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    models = document["models"]
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, when, where = figure.subplots(1, 3, width_ratios=(1.5, 1, 1))
    for name in (name for name in models if name.startswith(tuple(COLOURS)) and "*" not in name):
        colour = _colour(name)
        x, y = models[name][WHERE], models[name][WHEN]
        if x["mean"] is None or y["mean"] is None:
            continue
        left.errorbar(
            x["mean"], y["mean"], **_bars(x, y), fmt="o", color=colour, capsize=2, linewidth=1
        )
        left.annotate(name, (x["mean"], y["mean"]), (4, 4), textcoords="offset points", size=8)
        if name in PAPER:
            left.plot(PAPER[name][1], PAPER[name][0], "o", mfc="none", color=colour, alpha=0.6)
    left.invert_xaxis()
    left.set(xlabel="distance, px (better to the right)", ylabel="temporal AUC")
    left.set_title("Targets; hollow: the paper's, on its videos", size=10)
    for axes, metric, title in ((when, WHEN, "temporal AUC"), (where, WHERE, "distance, px")):
        names = [name for name in ("VT", "ST05", "OT03", "SOT0503") if name in models]
        for place, name in enumerate(names):
            found = [models.get(name + more, {}).get(metric) for more in FUSIONS]
            for k, figures in enumerate(found):
                if figures is None or figures["mean"] is None:
                    continue
                axes.errorbar(
                    k + 0.12 * (place - 1.5),
                    figures["mean"],
                    **_bars({}, figures),
                    fmt="o",
                    color=_colour(name),
                    capsize=2,
                    label=name if k == 0 else None,
                )
        axes.set_xticks(range(len(FUSIONS)), ["alone", "x object", "x sound", "x both"])
        axes.set_title(f"Fusion: {title}", size=10)
        axes.grid(axis="y", alpha=0.3)
    if when.get_legend_handles_labels()[0]:
        when.legend(fontsize=8)
    left.grid(alpha=0.3)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _colour(name: str) -> str:
    return next(colour for rule, colour in COLOURS.items() if name.startswith(rule))


def _bars(x: dict[str, Any], y: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{axis}err": [[of["mean"] - of["low"]], [of["high"] - of["mean"]]]
        for axis, of in (("x", x), ("y", y))
        if of.get("low") is not None
    }
