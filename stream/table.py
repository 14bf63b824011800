"""What a terminal shows: progress and what is being played meanwhile, a table at the end.

In: what was played so far. Out: on a terminal a view that is drawn anew in place; elsewhere plain
lines, one when a part begins and one when it ends. Names of files are shown without control
characters, and never read as markup.
"""

import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .drawing import web_colour
from .events import Point
from .media import SourceInfo
from .one_line import shown_path
from .played import Part, Played, time_text

MAX_ROWS = 40  # of the table at the end; more parts than that are summed up by instrument
REFRESH = 0.1  # s
BAR_WIDTH = 20  # letters


def place_text(point: Point | None) -> str:
    """Return where in the picture a point lies, in words and in percent from left and top.

    Examples
    --------
    >>> place_text((0.2, 0.15)), place_text((0.5, 0.5)), place_text((0.9, 0.6))
    ('upper left (20 %, 15 %)', 'centre (50 %, 50 %)', 'right (90 %, 60 %)')
    """
    if point is None:
        return "no picture"
    across = ("left", "", "right")[min(2, int(point[0] * 3))]
    down = ("upper", "", "lower")[min(2, int(point[1] * 3))]
    alone = {"upper": "top", "lower": "bottom", "": "centre"}
    words = " ".join(word for word in (down, across) if word) if across else alone[down]
    return f"{words} ({point[0]:.0%}, {point[1]:.0%})".replace("%", " %")


def part_line(part: Part) -> str:
    """Return a part as one plain line: which, from, to, how long, best score, where.

    Examples
    --------
    >>> part_line(Part("a", "drum", 1.0, 62.5, 0.9))
    'drum        0:01.0 - 1:02.5     61.5 s  0.90  no picture'
    """
    start, end = (time_text(t, decimals=1) for t in (part.start, part.end))
    length = f"{part.end - part.start:.1f} s"
    return (
        f"{part.label:<10}  {start} - {end}  {length:>9}  {part.top_score:.2f}  "
        f"{place_text(part.place)}"
    )


def summary(played: Played) -> RenderableType:
    """Return the table of what was played, for a terminal: one row a part, in order of time."""
    parts = played.parts
    if not parts:
        return Text(_nothing(played))
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("instrument")
    if len(parts) > MAX_ROWS:
        for header in ("parts", "first", "last", "together", "top score"):
            table.add_column(header, justify="right")
        for label, own in _by_label(played).items():
            ends = (own[0].start, max(part.end for part in own))
            table.add_row(
                _name(label),
                str(len(own)),
                *(time_text(t, decimals=1) for t in ends),
                f"{sum(part.end - part.start for part in own):.1f} s",
                f"{max(part.top_score for part in own):.2f}",
            )
        return table
    for header in ("from", "to", "duration", "top score"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("where (from left, from top)")
    for part in parts:
        table.add_row(
            _name(part.label),
            time_text(part.start, decimals=1),
            time_text(part.end, decimals=1),
            f"{part.end - part.start:.1f} s",
            f"{part.top_score:.2f}",
            place_text(part.place),
        )
    return table


def print_summary(console: Console, played: Played) -> None:
    """Print what was played: a table on a terminal, else a plain line a part."""
    if console.is_terminal:
        console.print(Padding(summary(played), (0, 0, 0, 2)))
        return
    for line in [part_line(part) for part in played.parts] or [_nothing(played)]:
        print_line(console, line)


def print_line(console: Console, text: str) -> None:
    """Print a line of plain text; letters that the terminal's encoding lacks are escaped."""
    console.print(Text(_encodable(console, text)), soft_wrap=True)


class LiveView:
    """What is to be seen while a file is worked on.

    Parameters
    ----------
    console : Console
    path : Path
        Of the file.

    Examples
    --------
    >>> with LiveView(Console(), Path("concert.mp4")) as view:  # doctest: +SKIP
    ...     view.opened(info)
    ...     for step, events in pipeline:
    ...         played.add(step, events)
    ...         view.step(played)
    """

    def __init__(self, console: Console, path: Path) -> None:
        self._console = console
        self._name = _encodable(console, shown_path(Path(path.name)))
        self._duration: float | None = None
        self._began = time.monotonic()
        self._last_drawn = 0.0
        self._told: dict[str, bool] = {}  # parts by id: whether their end was told
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def opened(self, info: SourceInfo) -> None:
        """Take note of the file's length, and that work on it begins now."""
        self._duration = info.duration
        self._began = time.monotonic()

    def step(self, played: Played) -> None:
        """Show what is played in the step that was added last."""
        if self._live is None:
            self._tell(played)
            return
        if self._is_early():
            return
        media_time = float(played.times[-1]) if len(played.times) else 0.0
        fraction = media_time / self._duration if self._duration else None
        speed = media_time / max(time.monotonic() - self._began, 1e-3)
        end = f" / {time_text(self._duration)}" if self._duration else ""
        facts = f"{time_text(media_time)}{end}   {speed:.1f} x real time"
        parts = played.now_playing()
        self._draw(self._progress("detecting", fraction, facts), _now(parts, media_time))

    def drawn(self, fraction: float) -> None:
        """Show how far the drawing of the video has come, 0 ... 1."""
        if self._live is not None and not self._is_early(fraction >= 1):
            self._draw(self._progress("drawing", fraction, f"{fraction:.0%}"))

    def _is_early(self, is_last: bool = False) -> bool:
        now = time.monotonic()
        if now - self._last_drawn < REFRESH and not is_last:
            return True
        self._last_drawn = now
        return False

    def _progress(self, what: str, fraction: float | None, facts: str) -> RenderableType:
        line = Table.grid(padding=(0, 2))
        # A bar without a total moves to and fro.
        bar = ProgressBar(
            total=None if fraction is None else 1.0,
            completed=min(fraction or 0.0, 1.0),
            width=2 * BAR_WIDTH,
            pulse=fraction is None,
            complete_style="cyan",
            finished_style="cyan",
        )
        line.add_row(what, bar, facts)
        return Group(Text(self._name, style="bold", overflow="ellipsis", no_wrap=True), line)

    def _draw(self, *rows: RenderableType) -> None:
        if self._live is not None:
            self._live.update(Group(*rows), refresh=True)

    def _tell(self, played: Played) -> None:
        for part in played.parts:
            known = self._told.get(part.id)
            if known is None:
                start, where = time_text(part.start, decimals=1), place_text(part.place)
                print_line(self._console, f"{start}  {part.label} begins, {where}")
            if part.is_over and not known:
                start, end = (time_text(t, decimals=1) for t in (part.start, part.end))
                print_line(
                    self._console, f"{end}  {part.label} ends (since {start}, {part.top_score:.2f})"
                )
            self._told[part.id] = part.is_over


def _encodable(console: Console, text: str) -> str:
    return text.encode(console.encoding, "backslashreplace").decode(console.encoding)


def _now(parts: list[Part], media_time: float) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    for part in parts:
        mark = part.at(media_time)
        style = web_colour(part.label)
        bar = ProgressBar(
            total=1.0,
            completed=mark.score,
            width=BAR_WIDTH,
            complete_style=style,
            finished_style=style,
        )
        since = f"since {time_text(part.start, decimals=1)}"
        grid.add_row(_name(part.label), bar, f"{mark.score:.2f}", place_text(mark.point), since)
    return grid if parts else Text("nothing is played", style="dim")


def _name(label: str) -> Text:
    return Text.assemble(("  ", f"on {web_colour(label)}"), f" {label}")


def _by_label(played: Played) -> dict[str, list[Part]]:
    found: dict[str, list[Part]] = {}
    for part in played.parts:
        found.setdefault(part.label, []).append(part)
    return found


def _nothing(played: Played) -> str:
    scores = played.scores  # (N, K)
    if scores.size == 0:
        return "nothing detected: there is no step to look at"
    step, k = divmod(int(scores.argmax()), scores.shape[1])
    best, when = float(scores[step, k]), time_text(float(played.times[step]), decimals=1)
    return f"nothing detected (nearest to it: {played.labels[k]} {best:.2f} at {when})"
