"""`findings.json`, `findings.md` and `findings.png`, made of the figures a run left on disk."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..models.labels import LABELS
from .benchmark_report import machine, versions
from .evaluate_report import plain
from .findings import FUSED, TEACHERS, Settings
from .findings_paper import CLAIMS, PAPER, WHEN, WHERE, paper_difference
from .findings_verdicts import (
    MARGINS,
    Array,
    Estimate,
    Finding,
    Metric,
    by_label,
    estimate,
    judge_claims,
)

SCHEMA = "playspot/findings/1"
METRICS: tuple[Metric, ...] = (WHEN, WHERE)
MORE = tuple(name.removeprefix("action") for name in FUSED)  # what a target is multiplied with
DIGITS = {WHEN: 3, WHERE: 1}
ALONE = ("sound_frame_auc", "object_hit_rate", "played_share")
TITLES = {"center": "Center", "sound": "Sound model", "object": "Object model"}


@dataclass(frozen=True)
class Figures:
    """All figures of a run.

    Attributes
    ----------
    table : dict of (model, metric) to float (S, N, K)
        As in `findings_verdicts`.
    alone : dict
        On the test clips: `sound_frame_auc`, `object_hit_rate`, and `played_share`, the share of a
        tagged clip's steps in which the label is played.
    """

    table: dict[tuple[str, Metric], Array]
    alone: dict[str, float]


def read_figures(settings: Settings, work: Path) -> Figures:
    """Return the figures that `findings_run` left.

    Raises
    ------
    OSError, ValueError
        If one is missing or broken.
    """
    folder = work / "figures"
    alone = _read(folder / "alone.json")
    networks = {
        target: [_read(folder / str(seed) / f"{target}.json") for seed in range(settings.seeds)]
        for target in settings.targets
    }
    rows = {name: [outputs] for name, outputs in alone["outputs"].items()}
    for target, documents in networks.items():
        for fused in FUSED:
            name = fused.replace("action", target)
            rows[name] = [document["outputs"][fused] for document in documents]
    names = {str(row[0]) for outs in rows.values() for out in outs for m in out for row in out[m]}
    clips = {name: place for place, name in enumerate(sorted(names))}
    table: dict[tuple[str, Metric], Array] = {}
    for model, outputs in rows.items():
        for metric in METRICS:
            values = np.full((len(outputs), len(clips), len(LABELS)), np.nan)
            for seed, out in enumerate(outputs):
                for clip, label, value in out[metric]:
                    values[seed, clips[clip], LABELS.index(label)] = value
            if not np.isnan(values).all():
                table[model, metric] = values
    return Figures(table, {key: alone[key] for key in ALONE})


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or "outputs" not in found:
        raise ValueError(f"{path}: broken; remove it and its mark in `done`, and run again")
    return found


def document_of(settings: Settings, figures: Figures, took: dict[str, float]) -> dict[str, Any]:
    """Return what `findings.json` holds.

    `low` and `high` of a model are over seeds; `clips_low` and `clips_high` over test clips. Models
    without seeds have only the second pair, and stand in `low` and `high` with it.
    """
    models = ["center", *TEACHERS, *(f"{name}{more}" for name in settings.targets for more in MORE)]
    return {
        "schema": SCHEMA,
        "seeds": list(range(settings.seeds)),
        "models": {
            model: {metric: _figure(figures, model, metric) for metric in METRICS}
            for model in models
        },
        "findings": [_line(finding) for finding in judge_claims(CLAIMS, figures.table)],
        "alone": figures.alone,
        "settings": settings.model_dump(mode="json"),
        "took": took,
        "machine": machine(),
        "versions": versions() | {"torch": _torch()},
    }


def _torch() -> str | None:
    import importlib.metadata

    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None


def _figure(figures: Figures, model: str, metric: Metric) -> dict[str, Any]:
    paper = PAPER.get(model, (None, None))[METRICS.index(metric)]
    values = figures.table.get((model, metric))
    if values is None:
        return {"mean": None, "low": None, "high": None, "paper": paper, "n": 0}
    found = estimate(values)
    low, high = found.clips if np.isnan(found.seeds[0]) else found.seeds
    return {
        "mean": found.mean,
        "low": low,
        "high": high,
        "clips_low": found.clips[0],
        "clips_high": found.clips[1],
        "n": int((~np.isnan(values[0])).sum()),
        "paper": paper,
        "labels": dict(zip(LABELS, by_label(values).tolist(), strict=True)),
    }


def _line(finding: Finding) -> dict[str, Any]:
    found = finding.difference
    return {
        "finding": finding.claim.says,
        "metric": finding.claim.metric,
        "models": list(finding.pair),
        "difference": found.mean,
        "low": found.seeds[0],
        "high": found.seeds[1],
        "clips_low": found.clips[0],
        "clips_high": found.clips[1],
        "paper": paper_difference(finding.claim),
        "verdict": finding.verdict,
    }


def write_report(
    settings: Settings, work: Path, out: Path, took: dict[str, float]
) -> dict[str, Any]:
    """Write the three files into a folder, and return what the JSON holds."""
    from .findings_plot import draw

    figures = read_figures(settings, work)
    document = plain(document_of(settings, figures, took))
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    (out / "findings.json").write_text(text, encoding="utf-8")
    draw(out / "findings.png", document)
    (out / "findings.md").write_text(markdown(settings, figures, document), encoding="utf-8")
    return dict(document)


def markdown(settings: Settings, figures: Figures, document: dict[str, Any]) -> str:
    """Return the report for people."""
    host = document["machine"]
    numbers = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    fused = [f"{name}{more}" for name in settings.targets for more in MORE]
    lines = [
        "# The paper's findings, on the bandstand",
        "",
        "Made by `playspot benchmark findings` from nothing: clips are rendered, two teachers and "
        f"{len(settings.targets) * settings.seeds} action networks are trained, all is measured "
        "by the paper's metrics (Liu, Yang and Jeng 2018, tables VIII, IX and XI). Nothing is "
        "left out: what does not hold stands here as well.",
        "",
        f"**Machine**: {host['cpu']}, {host['cores']} cores, {host['system']}; {host['date']}"
        f"; {_took(document['took'])}. **Versions**: {numbers}.",
        "",
        _made(settings, figures),
        "",
        "![Time against space, and fusion](findings.png)",
        "",
        "## Findings",
        "",
        "A difference above 0 is as in the paper. Two intervals of 95 %, both of paired "
        "differences: over seeds (Student's t) and over test clips (bootstrap). A finding *holds* "
        "if both are above 0, *does not hold* if both are below; *much the same* means: less apart "
        f"than the paper's SOT and VT ({MARGINS[WHEN]} AUC, {MARGINS[WHERE]} px).",
        "",
        "| finding | compared | paper | here | over seeds | over clips | |",
        "|---|---|---|---|---|---|---|",
        *(_finding_row(finding) for finding in judge_claims(CLAIMS, figures.table)),
        "",
        "## Targets (table VIII)",
        "",
        *_table(figures, ["center", "sound", "object", *settings.targets]),
        "",
        "## Fusion (table XI)",
        "",
        "Maps are multiplied before enlarging. The sound model has one number a step, so it cannot "
        "move a maximum: what it is multiplied with keeps its distance.",
        "",
        *_table(figures, fused),
        "",
        "## By instrument (table IX)",
        "",
        *_by_instrument(figures),
        "",
    ]
    return "\n".join(lines)


def _took(took: dict[str, float]) -> str:
    """Return how long it took, in words; the time of the tasks alone where a run went on."""
    tasks = f"{took['task_seconds'] / 60:.0f} minutes of tasks in one thread each"
    if took["before"]:
        return f"in several runs, {tasks}"
    return f"{took['seconds'] / 60:.0f} minutes, {took['processes']:.0f} at a time ({tasks})"


def _made(settings: Settings, figures: Figures) -> str:
    s = settings
    return (
        f"Level {s.level}, {s.duration:g} s a clip: {s.teacher_clips} clips for the teachers, "
        f"{s.clips} others for the action networks, {s.validation_clips} to choose the epoch, "
        f"{s.test_clips} to measure. Networks at {s.width:g} of the paper's width; AdamW, cosine, "
        f"{s.batch} clips a batch with mirroring and zoom; {s.sound_steps} steps for the sound, "
        f"{s.object_steps} for the object model. Each seed trains one action network on tags for "
        f"{s.start_steps} steps; from it each target goes on for {s.steps} (as the paper's IV-D), "
        "with the paper's loss. The teachers are one pair for all seeds, so intervals over seeds "
        "do not hold what another pair would change. The networks learn from tags of whole clips "
        "alone; a label that a clip is tagged with is played in "
        f"{100 * figures.alone['played_share']:.0f} % of its steps. On the test clips the sound "
        f"model has a frame AUC of {figures.alone['sound_frame_auc']:.3f}, the object model a "
        f"hit rate of {figures.alone['object_hit_rate']:.2f}."
    )


def _finding_row(finding: Finding) -> str:
    metric = finding.claim.metric
    found, paper = finding.difference, paper_difference(finding.claim)
    unit = "" if metric == WHEN else " px"
    better, worse = (TITLES.get(name, name) for name in finding.pair)
    return (
        (
            f"| {finding.claim.says} | {better} - {worse} | {_number(paper, metric)}{unit} | "
            f"{_number(found.mean, metric, '+')}{unit} | {_ends(found.seeds, metric)} | "
            f"{_ends(found.clips, metric)} | **{finding.verdict}** |"
        )
        .replace("*object", r"\*object")
        .replace("*sound", r"\*sound")
    )


def _table(figures: Figures, models: list[str]) -> list[str]:
    rows = [
        "| model | AUC | seeds | clips | n | paper | px | seeds | clips | n | paper |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for model in models:
        cells = [TITLES.get(model, model.replace("*", r"\*"))]
        for metric in METRICS:
            paper = PAPER.get(model, (None, None))[METRICS.index(metric)]
            values = figures.table.get((model, metric))
            if values is None:
                cells += ["-", "-", "-", "-", _number(paper, metric)]
                continue
            found: Estimate = estimate(values)
            cells += [
                f"**{_number(found.mean, metric)}**",
                _ends(found.seeds, metric),
                _ends(found.clips, metric),
                str(int((~np.isnan(values[0])).sum())),
                _number(paper, metric),
            ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _by_instrument(figures: Figures) -> list[str]:
    names = ("object", "VT", "ST05", "OT03", "SOT0503", "SOT0503*object*sound")
    rows = []
    for metric, title in ((WHEN, "AUC"), (WHERE, "px")):
        rows += [f"| {title} | {' | '.join(LABELS)} |", "|---" * (len(LABELS) + 1) + "|"]
        for name in names:
            if (name, metric) in figures.table:
                cells = [_number(v, metric) for v in by_label(figures.table[name, metric])]
                title_of = TITLES.get(name, name.replace("*", r"\*"))
                rows.append(f"| {title_of} | {' | '.join(cells)} |")
        rows.append("")
    return rows[:-1]


def _number(value: float | None, metric: Metric, sign: str = "") -> str:
    return "-" if value is None or np.isnan(value) else f"{value:{sign}.{DIGITS[metric]}f}"


def _ends(ends: tuple[float, float], metric: Metric) -> str:
    return "-" if np.isnan(ends[0]) else f"{_number(ends[0], metric)} to {_number(ends[1], metric)}"
