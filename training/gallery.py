"""A sheet of pictures of the bandstand, so that people look at what they train on.

What comes out: one picture file. Without a split: a row an instrument, columns of the training,
validation and test share in turn, at the level normal. With one: a row an instrument and level.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ..stream.timeline import STEP
from .canvas import Picture
from .clips import FIRST_TEST_SEED, FIRST_VALIDATION_SEED
from .instruments import DRAWN
from .render import Renderer
from .scene import LEVELS, Scene, SceneError, make_scene
from .truth import make_truth

CELL = (256, 144)  # (width, height) of a picture on the sheet
FIRST_SEEDS = {"training": 0, "validation": FIRST_VALIDATION_SEED, "test": FIRST_TEST_SEED}
_DURATION = 4.0  # seconds of the scenes that are drawn
_GAP, _TITLE = 2, 18  # pixels


def write_gallery(
    out: Path, *, split: str | None = None, columns: int = 12, is_marked: bool = False
) -> None:
    """Write a sheet of what the bandstand looks like.

    Parameters
    ----------
    out : Path
        `.png` or `.jpg`.
    split : str or None
        One of `FIRST_SEEDS`, in all levels; None: all three, at the level normal.
    columns : int
        Pictures a row.
    is_marked : bool
        Whether boxes and key points of the truth are drawn.

    Raises
    ------
    SceneError
        If the split is unknown, or the file is neither PNG nor JPEG.
    """
    if out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise SceneError(f"{out}: give the name of a .png or .jpg")
    if split is not None and split not in FIRST_SEEDS:
        raise SceneError(f"--split {split}: one of {', '.join(FIRST_SEEDS)}")
    rows = []
    if split is None:
        each = max(1, columns // 3)
        titles = [name for name in FIRST_SEEDS for _ in range(each)]
        for i, label in enumerate(DRAWN):
            seeds = [
                first + len(DRAWN) * k + i for first in FIRST_SEEDS.values() for k in range(each)
            ]
            rows.append(_row([(seed, "normal") for seed in seeds], label, is_marked))
    else:
        each = max(1, columns // len(LEVELS))
        titles = [level for level in LEVELS for _ in range(each)]
        for i, label in enumerate(DRAWN):
            cells = [(FIRST_SEEDS[split] + len(DRAWN) * k + i, level) for level in LEVELS
                     for k in range(each)]  # fmt: skip
            rows.append(_row(cells, label, is_marked))
    sheet = np.vstack([_head(titles), *rows])
    done, data = cv2.imencode(out.suffix, cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    if not done:
        raise SceneError(f"{out}: the picture could not be encoded")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(data.tobytes())


def _head(titles: list[str]) -> Picture:
    head = np.full((_TITLE, len(titles) * (CELL[0] + _GAP), 3), 255, np.uint8)
    for k, title in enumerate(titles):
        place = (k * (CELL[0] + _GAP) + 4, _TITLE - 5)
        cv2.putText(head, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return head


def _row(cells: list[tuple[int, str]], label: str, is_marked: bool) -> Picture:
    return np.hstack([_cell(make_scene(seed, level, _DURATION, [label]), is_marked)
                      for seed, level in cells])  # fmt: skip


def _cell(scene: Scene, is_marked: bool) -> Picture:
    """Return a picture of a scene while its first player plays, on a light ground."""
    size = scene.film.size
    part = scene.players[0].part
    start = part.intervals[0][0] if part and part.intervals else 0.0
    step = min(int(_DURATION / STEP) - 1, int(start / STEP) + 2)
    picture = Renderer(scene, size).frame(step * STEP)
    if is_marked:
        for entry in make_truth(scene, size)["steps"][step]["players"]:
            if entry["box"]:
                x0, y0, x1, y1 = (round(v * side) for v, side in zip(entry["box"], size * 2,
                                                                     strict=True))  # fmt: skip
                cv2.rectangle(picture, (x0, y0), (x1, y1), (60, 255, 60), 1)
            for x, y in entry["points"]:
                cv2.circle(picture, (round(x * size[0]), round(y * size[1])), 3, (255, 40, 40), 1)
    scale = min(CELL[0] / size[0], CELL[1] / size[1])
    width, height = round(scale * size[0]), round(scale * size[1])
    cell = np.full((CELL[1] + _GAP, CELL[0] + _GAP, 3), 255, np.uint8)
    left = (CELL[0] - width) // 2
    cell[:height, left : left + width] = cv2.resize(
        picture, (width, height), interpolation=cv2.INTER_AREA
    )
    return cell
