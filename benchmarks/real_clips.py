"""How well `playspot detect` does on real clips, through the real processes.

    python benchmarks/real_clips.py MANIFEST --models DIR

The manifest is a JSON list of clips, the folder of clips is that of the manifest:
`file`, `instruments` (names of ours that are played, empty for none), `playing_s` (intervals in
seconds), and optionally `vggss.bbox` (boxes x0, y0, x1, y1 of what sounds, 0 to 1).
Prints a Markdown table; the figures in real_clips.md are made with it.

A playing step lies inside `playing_s` shrunk by 0.3 s at both ends, a quiet one outside of it grown
by 0.3 s. Top label: the best of nine scores, whatever its height. Recall, precision: labels whose
score reaches the models' own `on` threshold, over playing steps. Where several instruments play
and are named, any of them counts.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

MARGIN = 0.3  # s, at the ends of playing


@dataclass
class Tally:
    """Counts over the steps of a clip, or of all."""

    playing: int = 0
    top: int = 0
    hit: int = 0
    wrong: int = 0
    outside: int = 0
    outside_fired: int = 0
    none: int = 0
    none_fired: int = 0
    quiet: int = 0
    quiet_fired: int = 0
    boxed: int = 0
    inside: int = 0
    in_playing: list[float] = field(default_factory=list)
    in_quiet: list[float] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Add another tally to this one."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def cells(self) -> list[str]:
        """Return the cells of a row of the table."""
        share = lambda n, m: f"{n / m:.2f} ({n}/{m})" if m else ""  # noqa: E731
        return [
            share(self.top, self.playing),
            share(self.hit, self.playing),
            share(self.hit, self.hit + self.wrong),
            share(self.outside_fired, self.outside),
            share(self.none_fired, self.none),
            share(self.quiet_fired, self.quiet),
            f"{np.mean(self.in_playing):.2f}" if self.in_playing else "",
            f"{np.mean(self.in_quiet):.2f}" if self.in_quiet else "",
            share(self.inside, self.boxed),
        ]


COLUMNS = (
    "clip, played",
    "top label right",
    "recall",
    "precision",
    "fires on others",
    "fires on none",
    "fires in quiet",
    "score playing",
    "score quiet",
    "point in box",
)


def main() -> None:
    """Parse, detect, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--folder", default="video", help="part of the manifest that is used")
    given = parser.parse_args()
    clips = [
        clip
        for clip in json.loads(given.manifest.read_text())
        if clip["file"].startswith(f"{given.folder}/") and "playing_s" in clip
    ]
    command = [sys.executable, "-m", "playspot.stream"]
    models = ["--models", str(given.models)] if given.models else []
    listed = subprocess.run(
        [*command, "models", "list", "--json", *models], check=True, capture_output=True, text=True
    )
    found = json.loads(listed.stdout)
    decoding = found["decoding"]
    print("Models: " + ", ".join(f"{m['kind']} {m['name']}" for m in found["models"]))
    print(f"Threshold: {decoding['on']}. Clips: {len(clips)}.\n")
    with tempfile.TemporaryDirectory() as folder:
        files = [str(given.manifest.parent / clip["file"]) for clip in clips]
        flags = ["--no-timeline", "--no-video", "--publish", "off", "--json"]
        flags += ["--engine", "onnx", "--precision", "fp32"]  # not what is compiled on one machine
        subprocess.run(
            [*command, "detect", *files, *models, "--out", folder, *flags],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        report(clips, Path(folder), decoding)


def report(clips: list[dict[str, Any]], folder: Path, decoding: dict[str, Any]) -> None:
    """Print the table of what lies in `folder`."""
    print(f"| {' | '.join(COLUMNS)} |")
    print("|" + "---|" * len(COLUMNS))
    total, shares = Tally(), []
    for clip in clips:
        path = folder / f"{Path(clip['file']).stem}.steps.jsonl"
        steps = [json.loads(line) for line in path.read_text().splitlines()]
        tally = count(clip, steps, decoding)
        total.add(tally)
        if tally.playing:
            shares.append(tally.top / tally.playing)
        played = ", ".join(clip["instruments"]).lower() or ("others" if tally.outside else "none")
        print(f"| {Path(clip['file']).stem}, {played} | {' | '.join(tally.cells())} |")
    print(f"| **all** | {' | '.join(total.cells())} |")
    if shares:
        print(f"\nMean over {len(shares)} clips of the share of steps with the right top label: ")
        print(f"{np.mean(shares):.3f}.")


def count(clip: dict[str, Any], steps: list[dict[str, Any]], decoding: dict[str, Any]) -> Tally:
    """Return the counts of one clip."""
    played = {name.lower() for name in clip["instruments"]}
    boxes = clip.get("vggss", {}).get("bbox", [])
    tally = Tally()
    for step in steps:
        scores: dict[str, float] = step["scores"]
        fired = {k for k, s in scores.items() if s >= decoding["label_on"].get(k, decoding["on"])}
        time = step["time"]
        is_playing = any(
            a + MARGIN <= time + 1e-9 and time - 1e-9 <= b - MARGIN for a, b in clip["playing_s"]
        )
        is_quiet = all(time < a - MARGIN or time > b + MARGIN for a, b in clip["playing_s"])
        if not played and clip["playing_s"]:
            tally.outside += 1
            tally.outside_fired += bool(fired)
        elif not played:
            tally.none += 1
            tally.none_fired += bool(fired)
        elif is_playing:
            best = max(scores, key=lambda label: scores[label])
            tally.playing += 1
            tally.top += best in played
            tally.hit += bool(fired & played)
            tally.wrong += len(fired - played)
            tally.in_playing.append(max(scores[label] for label in played))
            if boxes and best in played and step["points"][best]:
                tally.boxed += 1
                x, y = step["points"][best]
                tally.inside += any(a <= x <= c and b <= y <= d for a, b, c, d in boxes)
        elif is_quiet:
            tally.quiet += 1
            tally.quiet_fired += bool(fired)
            tally.in_quiet.append(max(scores[label] for label in played))
    return tally


if __name__ == "__main__":
    main()
