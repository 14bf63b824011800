"""The timeline of a file as a picture: one row a label, time from left to right.

In: what was played. Out: a PNG. The score of each label is the colour of its row; what was detected
is a bar above it, in the colour of the label, with the best score.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .drawing import colour_of, text_colour
from .jsonl import output_error
from .one_line import printable
from .played import Part, Played, time_text
from .timeline import STEP
from .whole_file import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEXT_WIDTH = 0.032  # of the time axis: what a score takes as text
MAX_COLUMNS = 1600  # of the picture; more steps than that share columns, the best one shows
COLOURS = "BuPu"  # light to dark, safe for the colour-blind; nothing played is near white
MAX_TITLE = 80  # letters
DIM = "#9a9a9a"
INK = "#222222"
ROWS_OF_BAR = 0.4  # of the height of a row; below it lies the score
SPACINGS = (
    0.1,
    0.5,
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
)  # s between marks


def save_timeline(path: Path, played: Played, *, title: str = "", dpi: int = 120) -> Path:
    """Save the timeline of a file as a PNG.

    Parameters
    ----------
    path : Path
        What was there before is replaced when the new one is complete.
    played : Played
        Of one step or of many.
    title : str
        Such as the name of the file.
    dpi : int
        Pixels per inch of a picture that is 12 inches wide.

    Returns
    -------
    path : Path

    Raises
    ------
    OutputError
        If it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_timeline(Path(folder) / "timeline.png", Played(["drum"])).name
    'timeline.png'
    """
    # matplotlib takes half a second to import: only who saves a picture waits for it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = _figure(played, title)
    try:
        with whole_file(path) as partial, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from")  # in names of files
            FigureCanvasAgg(figure).print_figure(str(partial), dpi=dpi, format="png")
    except OSError as error:
        raise output_error(path, error) from None
    return path


def columns(scores: NDArray[np.float32], n_columns: int) -> NDArray[np.float32]:
    """Return scores (N, K) with at most `n_columns` rows, each the maximum of those it stands for.

    Examples
    --------
    >>> columns(np.array([[0.1], [0.5], [0.2]], np.float32), 2).tolist()
    [[0.5], [0.20000000298023224]]
    """
    n = len(scores)
    if n <= n_columns:
        return scores
    share = -(-n // n_columns)
    padded = np.pad(scores, ((0, -n % share), (0, 0)))
    shorter: NDArray[np.float32] = padded.reshape(-1, share, scores.shape[1]).max(axis=1)
    return shorter


def _figure(played: Played, title: str) -> "Figure":
    from matplotlib.figure import Figure

    n_labels = len(played.labels)
    figure = Figure(figsize=(12, 1.3 + 0.46 * n_labels), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    duration = max(played.duration, STEP / 2)
    image = _scores(axes, played)
    _parts(axes, played, duration)
    axes.set_xlim(0, duration)
    axes.set_ylim(n_labels, 0)
    axes.set_yticks(np.arange(n_labels) + 0.5, played.labels)
    has_part = {part.label for part in played.parts}
    for tick, label in zip(axes.get_yticklabels(), played.labels, strict=True):
        tick.set(color=INK if label in has_part else DIM, fontsize=11)
        tick.set_fontweight("bold" if label in has_part else "normal")
    _time_axis(axes, duration)
    axes.hlines(np.arange(1, n_labels), 0, duration, color="#dddddd", linewidth=0.6, zorder=1)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.set_title(_shown(title), loc="left", fontsize=12, color=INK, parse_math=False)
    axes.set_title(_summary(played), loc="right", fontsize=10, color=DIM)
    bar = figure.colorbar(image, ax=axes, fraction=0.025, pad=0.01, ticks=[0, 0.5, 1])
    bar.set_label("score", color=INK)
    bar.outline.set_visible(False)
    return figure


def _shown(title: str) -> str:
    text = printable(title)
    half = MAX_TITLE // 2
    return text if len(text) <= MAX_TITLE else f"{text[:half]} ... {text[-half:]}"


def _scores(axes: "Axes", played: Played) -> Any:
    shorter = columns(played.scores, MAX_COLUMNS)  # (N, K)
    n, n_labels = shorter.shape
    share = -(-len(played.times) // max(n, 1)) if n else 1
    first = float(played.times[0]) if len(played.times) else 0.0
    edges = first - STEP / 2 + np.arange(n + 1) * STEP * share
    edges[-1] = max(edges[-1], played.duration)
    # Two rows a label: above room for the bars of the parts, below the score.
    grid = np.full((2 * n_labels, n), np.nan, np.float32)
    grid[1::2] = shorter.T
    heights = np.empty(2 * n_labels + 1)
    heights[0::2] = np.arange(n_labels + 1)
    heights[1::2] = np.arange(n_labels) + ROWS_OF_BAR + 0.1
    if n == 0:
        grid, edges = np.full((2 * n_labels, 1), np.nan, np.float32), np.array([0.0, STEP])
    return axes.pcolormesh(
        edges, heights, np.ma.masked_invalid(grid), cmap=COLOURS, vmin=0, vmax=1, zorder=0
    )


def _parts(axes: "Axes", played: Played, duration: float) -> None:
    from matplotlib.patches import Rectangle

    for place in _lanes(played.parts):
        part, height = place.part, ROWS_OF_BAR / place.n_lanes
        low = played.labels.index(part.label) + 0.06 + place.lane * height
        width = max(part.end - part.start, duration / 500)
        colour = colour_of(part.label)
        axes.add_patch(
            Rectangle(
                (part.start, low),
                width,
                height * 0.94,
                facecolor=_rgb(colour),
                edgecolor=INK,
                linewidth=0.8,
                zorder=3,
            )
        )
        needed = TEXT_WIDTH * duration
        is_inside = width >= needed
        if place.n_lanes > 2 or not (is_inside or place.room_after >= needed):
            continue
        axes.text(
            part.start + (needed / 8 if is_inside else width + needed / 8),
            low + height * 0.5,
            f"{part.top_score:.2f}",
            color=_rgb(text_colour(colour)) if is_inside else INK,
            fontsize=8.5 if place.n_lanes == 1 else 6,
            verticalalignment="center",
            zorder=4,
        )


def _rgb(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    return colour[0] / 255, colour[1] / 255, colour[2] / 255


@dataclass
class _Place:
    # Where the bar of a part lies in the row of its label.
    part: Part
    lane: int
    n_lanes: int = 1
    room_after: float = float("inf")  # s to the next bar


def _lanes(parts: list[Part]) -> list[_Place]:
    # Parts of one label that overlap lie in lanes of their own, next to each other.
    places: list[_Place] = []
    for label in dict.fromkeys(part.label for part in parts):
        group: list[_Place] = []  # parts that overlap, each with some other
        for part in (part for part in parts if part.label == label):
            if group and part.start >= max(place.part.end for place in group):
                for place in group:
                    place.room_after = part.start - place.part.end
                group = []
            taken = {place.lane for place in group if place.part.end > part.start}
            lane = next(i for i in range(len(taken) + 1) if i not in taken)
            for place in group:
                if place.lane == lane:
                    place.room_after = min(place.room_after, part.start - place.part.end)
            group.append(_Place(part, lane))
            places.append(group[-1])
            n_lanes = max(place.lane for place in group) + 1
            for place in group:
                place.n_lanes = n_lanes
    return places


def _time_axis(axes: "Axes", duration: float) -> None:
    spacing = next((s for s in SPACINGS if duration / s <= 12), SPACINGS[-1] * 2)
    marks = np.arange(0, duration + 1e-6, spacing)
    decimals = 1 if spacing < 1 else 0
    axes.set_xticks(marks, [time_text(mark, decimals=decimals) for mark in marks])
    axes.tick_params(axis="x", colors=INK)
    axes.set_xlabel("time", color=INK)


def _summary(played: Played) -> str:
    n = len(played.parts)
    parts = "nothing detected" if n == 0 else f"{n} part" if n == 1 else f"{n} parts"
    return f"{time_text(played.duration, decimals=1)}   {parts}"
