"""The report of `evaluate`, for people and for programs."""

from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table


def print_report(report: dict[str, Any]) -> None:
    """Print the figures of `evaluate.Evaluation.report` as two tables."""
    title = f"{report['n_clips']} clips, split {report['split']}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    for heading in ("output", "AUC", "95 %", "n", "median px", "95 %", "n", "top-1"):
        table.add_column(heading, justify="left" if heading == "output" else "right", no_wrap=True)
    for name, figures in report["outputs"].items():
        when, where = figures["temporal_auc"], figures["spatial_px"]
        table.add_row(
            name,
            f"{when['mean']:.3f}",
            f"{when['interval'][0]:.3f}-{when['interval'][1]:.3f}",
            str(when["n"]),
            *(
                (
                    f"{where['median']:.1f}",
                    f"{where['interval'][0]:.1f}-{where['interval'][1]:.1f}",
                    str(where["n"]),
                )
                if where["n"]
                else ("-", "-", "-")
            ),
            f"{figures['top1']['mean']:.3f}",
        )
    fused = list(report["outputs"])[-1]
    title = f"{fused}, by label; sound and object models alone"
    labels = Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    for heading in ("label", "AUC", "n", "median px", "n", "sound AUC", "object hits"):
        labels.add_column(heading, justify="left" if heading == "label" else "right")
    of_fused = report["outputs"][fused]
    for label, when in of_fused["temporal_auc"]["labels"].items():
        where = of_fused["spatial_px"]["labels"][label]
        labels.add_row(
            label,
            f"{when['mean']:.3f}",
            str(when["n"]),
            f"{where['median']:.1f}",
            str(where["n"]),
            f"{report['sound_frame_auc']['labels'].get(label, np.nan):.3f}",
            f"{report['object_hit_rate']['labels'].get(label, np.nan):.3f}",
        )
    console = Console()
    for kind, model in report.get("models", {}).items():
        console.print(f"{kind}: {model['name']} ({model['hash']})", highlight=False)
    console.print(table, labels)
    console.print(
        f"sound frame AUC {report['sound_frame_auc']['mean']:.3f}, "
        f"object hit rate {report['object_hit_rate']['mean']:.3f}"
    )


def plain(value: Any) -> Any:
    """Return figures as JSON can hold them: NaN becomes null."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value
