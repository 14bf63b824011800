"""How well sound models name the instrument of real recordings.

    python benchmarks/real_sound.py DATA --models DIR [DIR ...]

DATA holds `manifest.json`, a list of recordings: `file` and `instruments` (names of ours that play,
empty for none); the folder of `music` files, named by label, and everything else that has sound is
read. A model is a folder with a `sound.onnx`, or an ONNX file. Prints Markdown; the tables in
real_sound.md are made with it.

A step counts if it is loud: within 30 dB of the recording's loudest and above -60 dB of full scale.
The score of a recording is the mean over those steps; its top label the best of nine, whatever its
height. Where several labels are named, any of them counts. Of long files the first 30 s are read.
"""

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from playspot.engines import load
from playspot.engines.engine import Engine
from playspot.engines.options import ORIGINAL
from playspot.models.labels import LABELS
from playspot.stream.timeline import SAMPLE_RATE, STEP
from playspot.training.scores import read_inputs, score_clip

SECONDS = 30.0  # of each file
BELOW_LOUDEST, FULL_SCALE = 30.0, -60.0  # dB
ON = 0.5  # a label is named where its score reaches this
GROUPS = {
    "solo": "recordings of one instrument",
    "notes": "single notes and studies",
    "several": "several instruments",
    "none": "none of the nine",
}


@dataclass(frozen=True)
class Recording:
    """One file: what it is, who plays."""

    path: Path
    group: str
    labels: tuple[str, ...]

    @property
    def kind(self) -> str:
        """What it is of, for a table: a label, or the word its name begins with."""
        if self.labels and self.group != "notes":
            return "+".join(self.labels)
        return self.path.stem.split("_")[0].lower()


def recordings(data: Path) -> list[Recording]:
    """Return the recordings of a manifest that have real sound."""
    found = []
    for entry in json.loads((data / "manifest.json").read_text()):
        path = data / entry["file"]
        is_video = entry["file"].startswith("video/")
        if not entry["file"].startswith(("audio/", "video/")) or path.suffix in (".npy", ".h5"):
            continue
        sound = str(entry.get("audio"))
        if is_video and ("GENERATED" in sound or "no audio" in sound or "not said" in sound):
            continue
        labels = tuple(label for label in LABELS if label.title() in entry["instruments"])
        if not labels:
            group = "none"
        elif "philharmonia" in entry["file"] or "tinysol" in entry["file"]:
            group = "notes"
        else:
            group = "solo" if len(labels) == 1 else "several"
        found.append(Recording(path, group, labels))
    return found


def loud_steps(path: Path) -> NDArray[np.bool_]:
    """Return which steps of a file are loud, bool (N,)."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
        blocks = []
        total = 0
        for frame in container.decode(audio=0):
            for out in resampler.resample(frame):
                blocks.append(out.to_ndarray()[0])
                total += out.samples
            if total > SECONDS * SAMPLE_RATE:
                break
    sound = np.concatenate(blocks)
    half = round(STEP * SAMPLE_RATE / 2)
    n = max(1, math.ceil(sound.size / (2 * half)))
    level = np.array(
        [np.mean(sound[max(0, 2 * k * half - half) : (2 * k + 1) * half] ** 2) for k in range(n)]
    )
    decibel = 10 * np.log10(level + 1e-12)
    return decibel > max(FULL_SCALE, float(decibel.max()) - BELOW_LOUDEST)


def score(engine: Engine, path: Path) -> tuple[NDArray[np.float32], float]:
    """Return the mean score of each label, (K,), and the share of steps that name one."""
    scores = score_clip({"sound": engine}, read_inputs(path, {"sound": engine}, end=SECONDS)).sound
    assert scores is not None
    loud = loud_steps(path)
    n = min(len(loud), len(scores))
    chosen = scores[:n][loud[:n]] if loud[:n].any() else scores[:n]
    return chosen.mean(axis=0), float((chosen.max(axis=1) >= ON).mean())


def main() -> int:
    """Score all recordings with all models and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", type=Path, nargs="+", required=True)
    parser.add_argument("--files", action="store_true", help="also a table of all files")
    options = parser.parse_args()
    paths = [path / "sound.onnx" if path.is_dir() else path for path in options.models]
    engines = [load(path, options=ORIGINAL) for path in paths]
    names = [engine.header.name for engine in engines]
    names = [f"{name} ({path.parent.name})" for name, path in zip(names, paths, strict=True)]
    scored = []
    for recording in recordings(options.data):
        try:
            scored.append((recording, [score(engine, recording.path) for engine in engines]))
        except (ValueError, IndexError, av.FFmpegError) as error:
            print(f"skipped {recording.path.name}: {error}", file=sys.stderr)
    summary(scored, names)
    per_class(scored, names)
    confusion(scored, names)
    nothing(scored, names)
    if options.files:
        files(scored, names)
    return 0


Scored = list[tuple[Recording, list[tuple[NDArray[np.float32], float]]]]


def row(*cells: object) -> None:
    """Print a row of a table."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |")


def is_right(recording: Recording, scores: NDArray[np.float32]) -> bool:
    """Return whether the top label is one that plays."""
    return LABELS[int(scores.argmax())] in recording.labels


def summary(scored: Scored, names: list[str]) -> None:
    """Print the share of recordings with the right label on top."""
    print("\n### Right label on top\n")
    row("recordings", *names)
    row("---", *["---"] * len(names))
    for group, title in GROUPS.items():
        chosen = [(r, s) for r, s in scored if r.group == group]
        if not chosen or group == "none":
            continue
        cells = []
        for k in range(len(names)):
            right = [is_right(r, s[k][0]) for r, s in chosen]
            own = [max(s[k][0][LABELS.index(label)] for label in r.labels) for r, s in chosen]
            cells.append(f"{sum(right)}/{len(right)}, own score {np.mean(own):.2f}")
        row(title, *cells)
    nine = [(r, s) for r, s in scored if r.labels]
    for k_label in ("mean over the nine classes, one instrument",):
        cells = []
        for k in range(len(names)):
            shares = []
            for label in LABELS:
                of_label = [is_right(r, s[k][0]) for r, s in nine if r.labels == (label,)]
                if of_label:
                    shares.append(np.mean(of_label))
            cells.append(f"{np.mean(shares):.2f}; {sum(x > 0.5 for x in shares)}/{len(shares)} "
                         "classes above half")  # fmt: skip
        row(k_label, *cells)
    areas = []
    for k in range(len(names)):
        each = []
        for i, label in enumerate(LABELS):
            own = [s[k][0][i] for r, s in scored if label in r.labels]
            other = [s[k][0][i] for r, s in scored if label not in r.labels]
            if own and other:
                higher = np.greater.outer(own, other) + 0.5 * np.equal.outer(own, other)
                each.append(higher.mean())
        areas.append(f"{np.mean(each):.3f}")
    row("AUC of a label over all recordings, mean", *areas)


def per_class(scored: Scored, names: list[str]) -> None:
    """Print, class by class, how many recordings have the right label on top."""
    print("\n### By class: right label on top, mean score of the label\n")
    row("label", "of", *names)
    row(*["---"] * (2 + len(names)))
    for label in LABELS:
        for group in ("solo", "notes"):
            chosen = [(r, s) for r, s in scored if r.group == group and r.labels == (label,)]
            if chosen:
                cells = []
                for k in range(len(names)):
                    right = sum(is_right(r, s[k][0]) for r, s in chosen)
                    own = np.mean([s[k][0][LABELS.index(label)] for _, s in chosen])
                    cells.append(f"{right}/{len(chosen)}, {own:.2f}")
                row(label, group, *cells)


def confusion(scored: Scored, names: list[str]) -> None:
    """Print which label is on top for each, with the last of the models."""
    print(f"\n### On top instead, {names[-1]}\n")
    row("played", *LABELS)
    row(*["---"] * (1 + len(LABELS)))
    for label in LABELS:
        tops = [int(s[-1][0].argmax()) for r, s in scored if r.labels == (label,)]
        row(label, *[tops.count(k) or "" for k in range(len(LABELS))])


def nothing(scored: Scored, names: list[str]) -> None:
    """Print what recordings of none of the nine score."""
    print(f"\n### None of the nine: highest mean score, label, steps that reach {ON:g}\n")
    row("recordings", "n", *names)
    row(*["---"] * (2 + len(names)))
    chosen = [(r, s) for r, s in scored if r.group == "none"]
    for kind in sorted({r.kind for r, _ in chosen}):
        of_kind = [s for r, s in chosen if r.kind == kind]
        cells = []
        for k in range(len(names)):
            mean = np.mean([s[k][0] for s in of_kind], axis=0)
            fired = np.mean([s[k][1] for s in of_kind])
            cells.append(f"{mean.max():.2f} {LABELS[int(mean.argmax())]}, {fired:.2f}")
        row(kind, len(of_kind), *cells)
    cells = []
    for k in range(len(names)):
        tops = [s[k][0].max() for _, s in chosen]
        cells.append(f"{np.mean(tops):.2f}, {np.mean([s[k][1] for _, s in chosen]):.2f}")
    row("**all**", len(chosen), *cells)


def files(scored: Scored, names: list[str]) -> None:
    """Print all recordings."""
    print("\n### Files\n")
    row("file", "label", *names)
    row(*["---"] * (2 + len(names)))
    for recording, found in scored:
        cells = [f"{LABELS[int(s.argmax())]} {s.max():.2f}" for s, _ in found]
        row(recording.path.name[:44], "+".join(recording.labels) or "none", *cells)


if __name__ == "__main__":
    sys.exit(main())
