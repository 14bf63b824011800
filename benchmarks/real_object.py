"""How well an object model names the instrument in real photographs.

    python benchmarks/real_object.py ../shared/data --models DIR [DIR ...]

The folder holds `manifest.json` (a JSON list: `file`, `instruments`) and photographs in `image/`;
each DIR an `object.onnx`. Prints Markdown; the figures in real_object.md are made with it.

A picture's score of a label is the maximum of the map. Top: the best of nine is right. Fires: the
model's own threshold of a label is reached, or 0.5. AUC: own label against pictures without it,
mean over the labels that some pictures have. Others: pictures with none of the nine.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from playspot.engines import Engine, load
from playspot.engines.options import ORIGINAL
from playspot.models.labels import LABELS
from playspot.stream.pictures import fit_size
from playspot.training.paper_metrics import auc

COLUMNS = ("pictures", "n", "top of nine", "right fires", "wrong fires", "AUC")


def main() -> None:
    """Parse, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", type=Path, nargs="+", required=True)
    given = parser.parse_args()
    manifest = json.loads((given.data / "manifest.json").read_text())
    entries = [one for one in manifest if one["file"].startswith("image/")]
    for folder in given.models:
        engine = load(folder / "object.onnx", "object", options=ORIGINAL)
        thresholds = np.array([engine.header.thresholds.get(label, 0.5) for label in LABELS])
        names, tags, scores = [], [], []
        for entry in entries:
            picture = cv2.imread(str(given.data / entry["file"]), cv2.IMREAD_COLOR)
            if picture is None or "avsbench" in entry["file"]:  # masks
                continue
            played = {name.lower() for name in entry.get("instruments", [])}
            names.append(entry["file"].split("/")[1])
            tags.append([label in played for label in LABELS])
            scores.append(score(engine, picture))
        print(f"## {folder}, {engine.header.name}\n")
        report(np.array(names), np.array(tags), np.array(scores), thresholds)


def score(engine: Engine, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the best score of each label, (K,), at the size that the model wants."""
    height, width = picture.shape[:2]
    sides = fit_size(width, height, engine.header.picture_side, engine.header.picture_multiple)
    small = cv2.resize(picture, sides, interpolation=cv2.INTER_AREA)
    return engine(np.ascontiguousarray(small[None, :, :, ::-1]))[0].max(axis=(1, 2))


def report(
    names: NDArray[np.str_],
    tags: NDArray[np.bool_],
    scores: NDArray[np.float32],
    thresholds: NDArray[np.float64],
) -> None:
    """Print the tables of one model: by source, and by label."""
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for name in [*dict.fromkeys(names.tolist()), "all"]:
        print(
            row(name, *(a[(names == name) | (name == "all")] for a in (tags, scores)), thresholds)
        )
    for k, label in enumerate(LABELS):
        chosen = tags[:, k]
        if chosen.any():
            print(row(label, tags[chosen], scores[chosen], thresholds))
    print()


def row(
    name: str,
    tags: NDArray[np.bool_],
    scores: NDArray[np.float32],
    thresholds: NDArray[np.float64],
) -> str:
    """Return a line of the table."""
    is_ours = tags.any(axis=1)
    fires = scores >= thresholds
    right = tags[np.arange(len(tags)), scores.argmax(axis=1)][is_ours]
    areas = [
        auc(tags[:, k], scores[:, k])
        for k in range(len(LABELS))
        if 0 < tags[:, k].sum() < len(tags)
    ]
    share = lambda values: f"{np.mean(values):.2f}" if len(values) else ""  # noqa: E731
    cells = [
        f"{len(tags)} ({int(is_ours.sum())} ours)",
        share(right),
        share((fires & tags).any(axis=1)[is_ours]),
        share((fires & ~tags).any(axis=1)),
        share(areas),
    ]
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
