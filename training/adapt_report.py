"""What an adaptation learnt, as one HTML page that needs nothing else, and its pictures as PNG.

Everything that comes from outside (names of files and models) is escaped; the page loads nothing
and runs no script.
"""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..models.labels import LABELS
from ..stream.played import time_text
from ..stream.report_timeline import escaped
from ..stream.timeline import STEP
from ..stream.whole_file import whole_file
from . import adapt_plots as plots
from .adapt_agreement import written
from .adapt_clips import counts
from .adapt_filters import first_layer, mean_movement, own_filters, paths
from .cache import CachedClip
from .train import load_network

if TYPE_CHECKING:
    from .adapt_train import Adapted

MAX_RECORDINGS = 12
MAX_EXAMPLES = 10
STYLE = """
:root { color-scheme: light dark; --ink: #1d1f23; --dim: #62666e; --line: #dcdfe4; --paper: #fff;
  --panel: #f5f6f8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e9eaee; --dim: #a0a5ae; --line: #33363c;
  --paper: #131417; --panel: #1c1e22; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1040px; padding: 24px 20px 64px; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  overflow-wrap: anywhere; }
h1 { font-size: 27px; line-height: 1.2; margin: 0 0 6px; }
h2 { font-size: 19px; margin: 36px 0 6px; }
h3 { font-size: 15px; margin: 18px 0 4px; font-weight: 600; }
p { margin: 4px 0 8px; max-width: 76ch; }
.dim { color: var(--dim); }
img { max-width: 100%; height: auto; display: block; background: #fff; border-radius: 4px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 8px 0; }
th { text-align: left; font-weight: 600; color: var(--dim); font-size: 13px; }
th, td { padding: 5px 18px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.number { text-align: right; white-space: nowrap; }
.four { display: grid; grid-template-columns: repeat(4, 1fr); gap: 8px; }
.four figure, .own { margin: 0; }
figcaption { font-size: 12.5px; color: var(--dim); }
.warn { padding: 10px 14px; background: var(--panel); border-left: 4px solid #d08000; }
pre { background: var(--panel); padding: 10px 14px; white-space: pre-wrap; font-size: 12.5px; }
@media (max-width: 640px) { .four { grid-template-columns: repeat(2, 1fr); }
  body { padding: 16px 12px 48px; } th, td { padding-right: 10px; } }
"""
FIGURES = (  # what, key, field, how it is written, which is better
    ("AUC in time against the sound teacher", "temporal_auc", "average", "{:.3f}"),
    ("AUC over all steps against the sound teacher", "auc_over_all", "average", "{:.3f}"),
    ("px from its place to the object teacher's", "spatial_px", "average", "{:.1f}"),
    ("top label is one of the teachers'", "top1", "average", "{:.2f}"),
    ("fused score fires on the teachers' verdict", "fires", "on_verdict", "{:.2f}"),
    ("fused score fires on what is not heard", "fires_else", "unheard", "{:.3f}"),
)


def write_report(adapted: "Adapted") -> Path:
    """Write `report.html`, and its plots as PNG files into `report`; return the page's path."""
    out = adapted.job.out
    folder = out / "report"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()

    def plot(name: str, content: bytes, text: str) -> str:
        (folder / f"{name}.png").write_bytes(content)
        return _image(content, "png", text)

    page = out / "report.html"
    with whole_file(page) as part, part.open("w", encoding="utf-8") as file:
        file.writelines(_page(adapted, plot))
    return page


def _page(adapted: "Adapted", plot: Any) -> Iterator[str]:
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'"
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>What playspot learnt</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
    )
    yield from _head(adapted)
    yield from _before_and_after(adapted)
    yield from _examples(adapted)
    yield from _targets(adapted, plot)
    yield from _training(adapted, plot)
    yield from _filters(adapted, plot)
    yield from _settings(adapted)
    yield "</body>\n</html>\n"


def _head(adapted: "Adapted") -> Iterator[str]:
    n_files = len({clip.clip.path for clip in adapted.clips})
    seconds = STEP * sum(clip.n_steps for clip in adapted.clips)
    names = {kind: escaped(name) for kind, name in adapted.teachers.items()}
    yield (
        f"<h1>What playspot learnt</h1>\n<p class=dim>from {n_files} recordings, "
        f"{time_text(seconds)} in all, without labels. Teachers: {names['sound']} (sound) and "
        f"{names['object']} (pictures). Target {escaped(adapted.config.target)}.</p>\n"
    )
    others = [label for label in LABELS if label not in adapted.learnt]
    if others:
        yield (
            f"<p>Learnt: {', '.join(adapted.learnt)}. Of {', '.join(others)} the teachers found "
            "too little to learn from: there the new model is undecided (0.25), and what is "
            "detected is up to the teachers.</p>\n"
        )
    weak = adapted.figures["after"]["auc_over_all"]["average"]
    if not weak > 0.6:
        yield (
            "<p class=warn>On the held-out part the new action model tells hardly better than "
            "chance what the sound teacher hears. The teachers carry the detections; more "
            "recordings of each instrument would help most.</p>\n"
        )


def _before_and_after(adapted: "Adapted") -> Iterator[str]:
    before, after = adapted.figures["before"], adapted.figures["after"]
    n = sum(clip.n_steps for clip in adapted.split("test"))
    yield (
        f"<h2>Before and after</h2>\n<p>On the held-out part: {n} steps of 0.512 s, of which "
        "neither training nor calibration has seen anything. There are no labels, so what is "
        "measured is agreement with the teachers. The first four rows are of the action model "
        "alone, which sees motion and neither picture nor sound.</p>\n<div class=scroll><table>"
        f"<tr><th><th class=number>before<br>{escaped(adapted.teachers['action'])}"
        "<th class=number>after<br>adapted<th class=number>n</tr>\n"
    )
    for what, key, field, form in FIGURES:
        old, new = before[key], after[key]
        yield (
            f"<tr><td>{what}<td class=number>{written(old[field], form)}"
            f"<td class=number>{written(new[field], form)}<td class=number>{new['n']}</tr>\n"
        )
    centre = written(after["spatial_px"]["centre"], "{:.1f}")
    yield (
        f"</table></div>\n<p class=dim>Always the centre of the picture: {centre} px. Guessing "
        "one of nine labels: 0.11. AUC 0.5 is chance. AUC in time needs recordings in which a "
        "label begins or ends.</p>\n"
        f"<p>Fusion: {escaped(adapted.calibrated)}.</p>\n"
    )


def _examples(adapted: "Adapted") -> Iterator[str]:
    chosen = _best_steps(adapted)
    yield (
        "<h2>Examples</h2>\n<p>Of recordings it has not learnt from, the steps with the surest "
        "verdict of the teachers. Maps are from 0 (nothing) over yellow to red (highest of the "
        "map, at least 0.2).</p>\n"
    )
    if not chosen:
        yield "<p>The teachers give no verdict in the validation and the held-out part.</p>\n"
    clips = {clip.clip.name: clip for clip in adapted.clips}
    for name, k, step in chosen:
        clip, old, new = clips[name], adapted.before[name], adapted.after[name]
        time = time_text(clip.clip.start + STEP * step)
        split = plots.NAMES[clip.clip.split]
        yield (
            f"<h3>{LABELS[k]} <span class=dim>{escaped(clip.clip.path.name)}, {time}, "
            f"{split}</span></h3>\n<div class=four>"
        )
        picture = np.asarray(clip.pictures[step])
        target = new.seen[step, k] * new.verdicts[step, k]
        maps = (
            ("picture", None, ""),
            ("target", target, f"sound {new.sound[step, k]:.2f}, place {target.max():.2f}"),
            ("before", old.action[step, k], f"{old.action[step, k].max():.2f}"),
            ("after", new.action[step, k], _rank(new.action[step], k)),
        )
        for what, score, told in maps:
            most = 1.0 if score is None else max(0.2, float(score.max()))
            text = f"{what}: {LABELS[k]}"
            image = _image(plots.overlaid(picture, score, most), "jpeg", text)
            yield f"<figure>{image}<figcaption>{what} {told}</figcaption></figure>"
        yield "</div>\n"


def _rank(maps: Any, k: int) -> str:
    tops = maps.max(axis=(1, 2))
    rank = int((tops > tops[k]).sum()) + 1
    return f"{tops[k]:.2f}, rank {rank} of {len(tops)}"


def _best_steps(adapted: "Adapted") -> list[tuple[str, int, int]]:
    """Return (clip, label, step): of each label and recording the surest, held-out ones first."""
    splits = {clip.clip.name: clip.clip.split for clip in adapted.clips}
    taken: dict[tuple[str, int], tuple[bool, float, str, int, int]] = {}
    for name, part in adapted.after.items():
        sure = part.sound * part.seen.max(axis=(2, 3)) * part.verdicts
        for k in np.flatnonzero(part.verdicts.any(axis=0)):
            step = int(sure[:, k].argmax())
            item = (splits[name] != "test", -float(sure[step, k]), name, int(k), step)
            key = (part.recording, int(k))
            taken[key] = min(taken.get(key, item), item)
    found = sorted(taken.values())
    return [(name, k, step) for _, _, name, k, step in found[:MAX_EXAMPLES]]


def _targets(adapted: "Adapted", plot: Any) -> Iterator[str]:
    splits = ("training", "validation", "test")
    table = {
        split: counts([adapted.verdicts[clip.clip.name] for clip in adapted.split(split)])
        for split in splits
    }
    yield (
        "<h2>Targets</h2>\n<p>In how many steps both teachers reach their thresholds.</p>\n"
        "<div class=scroll><table><tr><th>"
    )
    yield "".join(f"<th class=number>{plots.NAMES[split]}" for split in splits) + "</tr>\n"
    for label in LABELS:
        cells = "".join(f"<td class=number>{table[split][label]}" for split in splits)
        yield f"<tr><td>{label}{cells}</tr>\n"
    yield (
        "</table></div>\n<p>Over time: the line is the sound teacher, the dotted line the object "
        "teacher's highest place, coloured where both reach their thresholds. White ground: "
        "training, blue: validation, orange: held out.</p>\n"
    )
    by_file: dict[Path, list[CachedClip]] = {}
    for clip in adapted.clips:
        by_file.setdefault(clip.clip.path, []).append(clip)
    order = sorted(
        by_file,
        key=lambda path: -sum(int(adapted.verdicts[c.clip.name].sum()) for c in by_file[path]),
    )
    for number, path in enumerate(order[:MAX_RECORDINGS], 1):
        parts = []
        for clip in sorted(by_file[path], key=lambda item: item.clip.start):
            scores = adapted.scores[clip.clip.name]
            none = np.zeros((clip.n_steps, len(LABELS)))
            sound = none if scores.sound is None else np.asarray(scores.sound, float)
            seen = none if scores.object_map is None else scores.object_map.max(axis=(2, 3))
            parts.append(
                (clip.clip.start, clip.clip.split, sound, seen, adapted.verdicts[clip.clip.name])
            )
        text = f"targets over time of {path.name}"
        content = plots.targets_over_time(parts)
        yield f"<h3>{escaped(path.name)}</h3>\n{plot(f'targets-{number:02d}', content, text)}\n"
    if len(order) > MAX_RECORDINGS:
        yield f"<p class=dim>and {len(order) - MAX_RECORDINGS} more recordings.</p>\n"


def _training(adapted: "Adapted", plot: Any) -> Iterator[str]:
    result = adapted.result
    yield (
        f"<h2>Training</h2>\n<p>{adapted.config.steps} mini-batches; the state of step "
        f"{result.step} was taken (clip-level AUC against the teachers' tags "
        f"{written(result.auc, '{:.3f}')}). The ONNX file differs from PyTorch by "
        f"{adapted.difference:.1e} at most.</p>\n"
    )
    if result.history:
        curve = plots.training_curve(result.history, result.step)
        yield plot("training", curve, "training loss and validation AUC")


def _filters(adapted: "Adapted", plot: Any) -> Iterator[str]:
    net, _ = load_network(adapted.result.best)
    layer = first_layer(net)
    if layer is None:
        return
    shown = paths(net)
    yield (
        f"<h2>Filters</h2>\n<p>The {len(shown)} filters of the first layer as movements: the five "
        "flow vectors of each, one after the other, averaged over its 7x7 places; the dot is where "
        "it begins (paper, Fig. 7).</p>\n<div class=scroll>"
    )
    yield plot("filters", plots.filters(shown), "all filters of the first layer as paths")
    judged = [clip for clip in adapted.clips if clip.clip.name in adapted.after]
    own = own_filters(net, adapted.clips, [adapted.verdicts[c.clip.name] for c in adapted.clips])
    if own:
        maps = [adapted.after[clip.clip.name].action for clip in judged]
        movements = {label: mean_movement(judged, maps, LABELS.index(label)) for label in own}
        yield (
            "</div>\n<p>The filters that answer more to one label than to others (paper, Fig. 8); "
            "in the last row, in black, the mean flow of the patches of the validation and "
            "held-out parts that the model scores highest for the label.</p>\n<div class=scroll>"
        )
        yield plot("own-filters", plots.own_filters(shown, own, movements), "filters of each label")
    yield "</div>\n"


def _settings(adapted: "Adapted") -> Iterator[str]:
    settings = adapted.config.model_dump(exclude_defaults=True)
    decoding = adapted.decoding.model_dump(exclude_defaults=True)
    for key in ("slope", "bias"):  # one number for all labels
        decoding |= {key: next(iter(decoding[key].values()))} if decoding.get(key) else {}
    lines = ["# training, where it is not the default"]
    lines += [f"{key}: {value}" for key, value in settings.items()]
    lines += ["", "# fusion and decoding", *(f"{key}: {value}" for key, value in decoding.items())]
    text = "\n".join(escaped(line) for line in lines)
    yield f"<h2>Settings</h2>\n<pre>{text}</pre>\n"


def _image(content: bytes, kind: str, text: str) -> str:
    data = base64.b64encode(content).decode()
    return f'<img alt="{escaped(text)}" src="data:image/{kind};base64,{data}">'
