"""The pictures of an adaptation's report, as PNG and JPEG bytes."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..models.labels import LABELS
from ..stream.drawing import web_colour
from ..stream.timeline import STEP

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

SHADES = {"training": "#ffffff", "validation": "#eef3fb", "test": "#fdf3e3"}
NAMES = {"training": "training", "validation": "validation", "test": "held out"}


def figure(width: float, height: float) -> "Figure":
    """Return an empty figure of so many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def png(drawn: "Figure") -> bytes:
    """Return a figure as a PNG file."""
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def training_curve(history: Sequence[Sequence[float]], best: int) -> bytes:
    """Return loss and clip-level AUC over the steps of training."""
    drawn = figure(7.2, 2.8)
    axes = drawn.add_subplot()
    steps = [row[0] for row in history]
    axes.plot(steps, [row[1] for row in history], "o-", color="#666666", ms=3, label="loss")
    axes.set(xlabel="step", ylabel="training loss")
    other = axes.twinx()
    other.plot(steps, [row[2] for row in history], "s-", color="#0b57d0", ms=3)
    other.set_ylabel("AUC of validation", color="#0b57d0")
    other.set_ylim(0, 1.02)
    axes.axvline(best, color="#d08000", lw=1, ls="--")
    axes.set_title("Training; the dashed line is the state that was taken", fontsize=10)
    return png(drawn)


def targets_over_time(
    parts: Sequence[tuple[float, str, NDArray[Any], NDArray[Any], NDArray[np.bool_]]],
) -> bytes:
    """Return what the teachers say over the time of one recording.

    Parameters
    ----------
    parts : sequence of (start, split, sound, seen, verdict)
        Start in s; sound and seen (N, K), seen the maximum over the picture; verdict (N, K).
    """
    tops = np.max([np.maximum(s.max(axis=0), o.max(axis=0)) for _, _, s, o, _ in parts], axis=0)
    rows = [k for k in np.argsort(-tops, kind="stable") if tops[k] >= 0.3][:5] or [
        int(tops.argmax())
    ]
    drawn = figure(9.0, 0.7 + 0.62 * len(rows))
    panels = np.atleast_1d(drawn.subplots(len(rows), 1, sharex=True))
    for axes, k in zip(panels, rows, strict=True):
        colour = web_colour(LABELS[k])
        for start, split, sound, seen, verdict in parts:
            times = start + STEP * np.arange(len(sound))
            axes.axvspan(start, start + STEP * len(sound), color=SHADES[split], lw=0)
            axes.plot(times, sound[:, k], color="#333333", lw=1)
            axes.plot(times, seen[:, k], color="#333333", lw=1, ls=":")
            axes.fill_between(
                times, 0, 1, where=verdict[:, k], step="mid", color=colour, alpha=0.55, lw=0
            )
        axes.set(ylim=(0, 1.02), yticks=[0, 1])
        axes.tick_params(labelsize=7)
        axes.set_ylabel(LABELS[k], rotation=0, ha="right", va="center", fontsize=9)
    panels[-1].set_xlabel("s", fontsize=8)
    panels[-1].set_xlim(
        parts[0][0], max(start + STEP * len(sound) for start, _, sound, _, _ in parts)
    )
    return png(drawn)


def filters(shown: Array, columns: int = 12) -> bytes:
    """Return movements as paths, each on its own scale; the dot is where they begin (Fig. 7).

    Parameters
    ----------
    shown : float, shape (n, 6, 2)
    columns : int
    """
    rows = -(-len(shown) // columns)
    axes = _cells(rows, columns)
    for i, path in enumerate(shown):
        _draw_path(axes, path, *divmod(i, columns))
    return png(axes.figure)


def own_filters(
    shown: Array,
    own: Mapping[str, Sequence[int]],
    movements: Mapping[str, tuple[Array, float] | None],
) -> bytes:
    """Return a column a label: its own filters, and the flow where it scores highest (Fig. 8)."""
    n = max(len(numbers) for numbers in own.values())
    axes = _cells(n + 1, len(own), top=0.35, gap=0.2)
    for column, (label, numbers) in enumerate(own.items()):
        axes.text(column + 0.5, -0.1, label, ha="center", va="bottom", fontsize=9)
        for row, number in enumerate(numbers):
            _draw_path(axes, shown[number], row, column, web_colour(label))
        movement = movements.get(label)
        if movement is not None:
            _draw_path(axes, movement[0], n + 0.2, column, "#000000")
            told = f"score ≥ {movement[1]:.2f}"
            axes.text(column + 0.5, n + 1.22, told, ha="center", va="top", fontsize=7)
    return png(axes.figure)


def _cells(rows: int, columns: int, *, top: float = 0.0, gap: float = 0.0) -> Any:
    """Return axes in which a cell is 1 x 1: one for all, as many axes take seconds."""
    height = rows + gap + top + (0.2 if gap else 0)
    drawn = figure(0.8 * max(columns, 3), 0.8 * height)
    drawn.set_layout_engine("none")
    axes = drawn.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, max(columns, 3)), ylim=(height - top, -top))  # y goes down, as in pictures
    axes.set_axis_off()
    return axes


def _draw_path(axes: Any, path: Array, row: float, column: float, colour: str = "#222222") -> None:
    """Draw a movement into a cell."""
    middle = (path.max(axis=0) + path.min(axis=0)) / 2
    reach = max(float(np.abs(path - middle).max()) * 2.5, 1e-9)
    x, y = ((path - middle) / reach + [column + 0.5, row + 0.5]).T
    edge = np.array([0.06, 0.94])
    axes.fill_between(column + edge, *(row + edge), color="#f4f4f6", lw=0)
    axes.plot(x, y, "-", color=colour, lw=1.4)
    axes.plot(x[:1], y[:1], "o", color=colour, ms=3)


def overlaid(picture: NDArray[np.uint8], score: NDArray[Any] | None, most: float = 1.0) -> bytes:
    """Return a picture as JPEG, with a score map over it: nothing at 0, yellow to red at `most`.

    Parameters
    ----------
    picture : uint8, shape (H, W, 3)
    score : float, shape (h, w), or None
        Covers the picture evenly.
    most : float
        The score that is shown strongest.
    """
    image = picture.astype(np.float32)
    if score is not None:
        height, width = picture.shape[:2]
        large = cv2.resize(np.asarray(score, np.float32), (width, height))
        heat = np.clip(large / max(most, 1e-6), 0, 1)[..., None]
        hot = np.array([255, 210, 0], np.float32) * (1 - heat) + [255, 0, 0] * heat
        grey = image.mean(axis=2, keepdims=True) * 0.75
        image = grey * (1 - 0.6 * heat) + hot * 0.6 * heat
    bgr = np.ascontiguousarray(np.clip(image, 0, 255).astype(np.uint8)[..., ::-1])
    return bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])[1])
