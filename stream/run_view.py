"""A live run drawn as lines for a terminal of any size.

In: what is known of the run (`run_table.py`). Out: lines of text with colours, none wider and
together none higher than the terminal. Where there is room, each source has a line of figures and
below it the curves of its instruments; else it has one line. What comes from outside (names,
messages) is shown without control characters.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from .drawing import web_colour
from .one_line import printable
from .played import time_text
from .run_table import RunTable, SourceRow
from .status import SinkStatus

BLOCKS = "▁▂▃▄▅▆▇█"
LETTERS = ".:-=+*#@"  # where the terminal has no blocks
MAX_CURVES = 3  # of a source, unless more instruments are played
NAME_WIDTHS = (10, 24)  # cells, narrowest and widest
NOW_WIDTH = 12
FACTS = (  # heading, width, in the order of the line
    ("p50/p95 age", 11),
    ("steps", 6),
    ("dropped", 10),
    ("A/V offset", 11),
)
DROPPED = 2  # which of them takes the room that is left
MAX_DROPPED = 20
MAX_SUMMARY = 12  # sources

STATES = {
    "live": "green",
    "connecting": "yellow",
    "starting": "yellow",
    "retrying": "bold yellow",
    "failed": "bold red",
    "over": "dim",
    "off": "dim",
}


def view(
    table: RunTable, now: float, width: int, height: int, *, is_ascii: bool = False
) -> list[Text]:
    """Return the lines of a run.

    Parameters
    ----------
    table : RunTable
    now : float
        Seconds, monotonic, as `RunTable.take` gets it.
    width, height : int
        Letters of the terminal; one row stays free for the cursor.
    is_ascii : bool
        Whether to do without the blocks of curves.
    """
    width, height = max(width - 1, 1), max(height - 1, 1)
    drawing = _Drawing(table, now, width, is_ascii)
    head, foot = [drawing.title()], drawing.foot()
    foot = foot[: max(0, height - len(head) - 3)]
    lines = [*head, *drawing.sources(height - len(head) - len(foot)), *foot]
    for line in lines:
        line.truncate(width)
    return lines[:height]


def curve_text(scores: Iterable[float | None], *, is_ascii: bool = False) -> str:
    """Return scores as letters of different height; none where there is no score.

    Examples
    --------
    >>> curve_text([0.0, 0.5, None, 1.0])
    '▁▅ █'
    """
    letters = LETTERS if is_ascii else BLOCKS
    return "".join(
        " " if score is None else letters[min(len(letters) - 1, int(score * len(letters)))]
        for score in scores
    )


def summary(table: RunTable) -> list[Text]:
    """Return what came of a run, a line a source, once it is over."""
    lines = []
    rows = list(table.rows.values())
    for row in rows[:MAX_SUMMARY]:
        steps = 0 if row.status is None else row.status.steps
        line = Text()
        line.append(f"{printable(row.name)}: ", "bold")
        line.append(f"{steps} steps, dropped {_dropped(row, 60) or 'none'}; ", "dim")
        totals = sorted(row.totals.items(), key=lambda item: (-item[1].seconds, item[0]))
        for label, total in totals[:MAX_CURVES]:
            line.append(f"{printable(label)} ", web_colour(label))
            line.append(f"{time_text(total.seconds)} ({total.n}x, best {total.top_score:.2f})  ")
        more = len(totals) - MAX_CURVES
        line.append("nothing was played" if not totals else f"+ {more} more" if more > 0 else "")
        line.rstrip()
        lines.append(line)
    if len(rows) > MAX_SUMMARY:
        lines.append(Text(f"and {len(rows) - MAX_SUMMARY} more sources", "dim"))
    return lines


class _Drawing:
    """The parts of one view."""

    def __init__(self, table: RunTable, now: float, width: int, is_ascii: bool) -> None:
        self._table, self._now, self._width, self._is_ascii = table, now, width, is_ascii
        longest = max((cell_len(printable(row.name)) for row in table.sources), default=0)
        low, high = NAME_WIDTHS
        self._name_width = max(low, min(longest + 2, high, width // 4))
        self._facts = _fitting(width - self._name_width - NOW_WIDTH - 4)

    def title(self) -> Text:
        """Return the first line: how long, how many sources, and in which states."""
        line = Text()
        line.append("playspot", "bold")
        line.append(f"  up {time_text(self._table.uptime(self._now))}  ")
        line.append_text(_counted(self._table.sources))
        building = None if self._table.run is None else self._table.run.building
        if building is not None:
            line.append(f"  building plans {building:.0%}", "dim")
        return line

    def sources(self, room: int) -> list[Text]:
        """Return the lines of the sources, headings included."""
        rows, room = self._table.sources, room - 1
        heights = [1 + bool(self._problem(row)) + len(row.now_playing) for row in rows]
        if sum(heights) > room:
            return [self._short_heading(), *self._short(room)]
        curves = self._curves(rows, room - sum(heights))
        lines = [self._heading()]
        for row in rows:
            lines.append(self._row(row))
            lines += self._problem(row)
            lines += [self._curve(row, label) for label in curves[row.name]]
        return lines

    def foot(self) -> list[Text]:
        """Return what is wrong, and where to look."""
        run, lines = self._table.run, []
        if run is None:
            return []
        for worker in self._table.troubled_workers:
            reason = f": {printable(worker.reason)}" if worker.reason else ""
            times = f", restarted {worker.restarts}x" if worker.restarts else ""
            what = f"process {printable(worker.name)} is {worker.state}{times}{reason}"
            lines.append(Text(f"! {what}", "bold red"))
        if run.journal is not None and (run.journal.error or run.journal.lost):
            error = printable(run.journal.error or "was not")
            lost = f"; {run.journal.lost} events not kept" if run.journal.lost else ""
            lines.append(Text(f"! journal: {error}, {run.journal.unsaved} wait{lost}", "bold red"))
        for name, sink in run.sinks.items():
            if sink.state != "ok" or sink.behind or sink.lost:
                lines.append(_sink(name, sink))
        fine = [printable(name) for name, sink in run.sinks.items() if sink.state == "ok"]
        places = ["journal" if run.endpoint is None else run.endpoint, *fine]
        where = Text()
        where.append("events go to ", "dim")
        where.append(", ".join(places))
        if run.publisher is not None and run.publisher.overflows:
            where.append(f"  {run.publisher.overflows}x too fast for a subscriber", "yellow")
        lines.append(where)
        if run.web:
            line = Text()
            line.append("look at ", "dim")
            line.append(printable(run.web), "bold")
            lines.append(line)
        return lines

    def _heading(self) -> Text:
        cells = [set_cell_size("source", self._name_width), set_cell_size("now", NOW_WIDTH)]
        cells += [set_cell_size(FACTS[i][0], width) for i, width in self._facts]
        return Text("  ".join(cells), "dim")

    def _row(self, row: SourceRow) -> Text:
        line = self._name(row)
        line.append(set_cell_size(_state(row), NOW_WIDTH), _state_style(row))
        for i, width in self._facts:
            text, style = self._fact(row, i, width)
            line.append("  ")
            line.append(set_cell_size(text, width), style)
        return line

    def _name(self, row: SourceRow) -> Text:
        line = Text()
        line.append("* " if self._is_ascii else "● ", _state_style(row))
        line.append(_cut(printable(row.name), self._name_width - 2), "bold")
        line.append("  ")
        return line

    def _fact(self, row: SourceRow, which: int, width: int) -> tuple[str, str]:
        if which == 0:
            ages = row.latencies()
            return ("-", "dim") if ages is None else (f"{ages[0]:.2f}/{ages[1]:.2f} s", "")
        if which == 1:
            rate = row.rate(self._now)
            return (f"{rate:.2f}/s", "") if rate else ("-", "dim")
        if which == DROPPED:
            dropped = _dropped(row, width)
            return (dropped, "yellow") if dropped else ("none", "dim")
        return _offset(row)

    def _problem(self, row: SourceRow) -> list[Text]:
        status = row.status
        if status is None or status.error is None or row.state == "live":
            return []
        wait = "" if status.retry_in is None else f"; again in {status.retry_in:.0f} s"
        style = "red" if row.state == "failed" else "yellow"
        message = printable(status.error.message.removeprefix(f"{status.url}: "))
        room = self._width - 2 - len(wait)
        return [Text(f"  {_cut(message, room).rstrip()}{wait}", style)]

    def _curves(self, rows: list[SourceRow], spare: int) -> dict[str, list[str]]:
        # What is played comes first; the room that is left is given in turns.
        found = {row.name: row.strongest() for row in rows}
        shown_of = {row.name: len(row.now_playing) for row in rows}
        for turn in range(1, MAX_CURVES + 1):
            for row in rows:
                if spare and shown_of[row.name] < min(turn, len(found[row.name])):
                    shown_of[row.name] += 1
                    spare -= 1
        return {name: labels[: shown_of[name]] for name, labels in found.items()}

    def _curve(self, row: SourceRow, label: str) -> Text:
        playing = next((p for p in row.now_playing if p.label == label), None)
        style = web_colour(label) if playing else "dim"
        line = Text("  ")
        line.append(_cut(printable(label), self._name_width - 2), f"{style} bold")
        score = row.score(label) if playing is None else playing.score
        since = "" if playing is None else time_text(playing.seconds)
        line.append(f"  {score:.2f} {since:>{NOW_WIDTH - 5}}", "" if playing else "dim")
        room = self._width - cell_len(line.plain) - 2
        if room > 0:
            scores = row.curve(label, room)
            line.append(f"  {curve_text(scores, is_ascii=self._is_ascii)}", web_colour(label))
        return line

    def _short_heading(self) -> Text:
        name = set_cell_size("source", self._name_width)
        return Text(f"{name}  {'now':<10}  {'p95':>6}  {'dropped':>7}  played", "dim")

    def _short(self, room: int) -> list[Text]:
        # In the order of the configuration where all have a line; else what matters comes first.
        rows = self._table.sources
        if len(rows) <= room:
            return [self._short_row(row) for row in rows]
        rows = self._table.by_interest()
        n_shown = max(0, room - 1)
        more = Text(f"and {len(rows) - n_shown} more: ")
        more.append_text(_states(rows[n_shown:]))
        return [*(self._short_row(row) for row in rows[:n_shown]), more]

    def _short_row(self, row: SourceRow) -> Text:
        line = self._name(row)
        line.append(set_cell_size(row.state, 10), _state_style(row))
        ages = row.latencies()
        line.append(f"  {'-' if ages is None else f'{ages[1]:.2f} s':>6}", "" if ages else "dim")
        n_dropped = sum(row.dropped.values())
        line.append(f"  {n_dropped or '-':>7}  ", "yellow" if n_dropped else "dim")
        if problem := self._problem(row):
            problem[0].plain = problem[0].plain.strip()
            return line.append_text(problem[0])
        for playing in sorted(row.now_playing, key=lambda p: -p.score):
            line.append(f"{printable(playing.label)} ", f"{web_colour(playing.label)} bold")
            scores = row.curve(playing.label, 8)
            line.append(curve_text(scores, is_ascii=self._is_ascii), web_colour(playing.label))
            line.append(f" {playing.score:.2f}  ")
        return line


def _fitting(room: int) -> list[tuple[int, int]]:
    # Which facts a line has room for, and their widths.
    chosen: list[int] = []
    for i in (0, DROPPED, 1, 3):  # the most important first
        width = FACTS[i][1] + 2
        if room + 2 >= width:
            chosen.append(i)
            room -= width
    spare = max(0, min(room + 2, MAX_DROPPED - FACTS[DROPPED][1]))
    return [(i, FACTS[i][1] + (spare if i == DROPPED else 0)) for i in sorted(chosen)]


def _cut(text: str, width: int) -> str:
    # To so many cells; what does not fit ends in dots.
    if cell_len(text) > width > 2:
        text = set_cell_size(text, width - 2).rstrip() + ".."
    return set_cell_size(text, max(0, width))


def _state_style(row: SourceRow) -> str:
    return STATES.get(row.state, "")


def _state(row: SourceRow) -> str:
    status = row.status
    if row.state == "live" and status is not None and status.sessions > 1:
        return f"live ({status.sessions})"
    return row.state


def _dropped(row: SourceRow, width: int) -> str:
    # With causes as far as there is room; empty for none.
    dropped = row.dropped
    if not dropped:
        return ""
    full = ", ".join(f"{n} {cause}" for cause, n in dropped.items())
    total = str(sum(dropped.values()))
    cause = next(iter(dropped))
    texts = (full, f"{total} {cause}..." if len(dropped) > 1 else full, total)
    return next((text for text in texts if len(text) <= width), total)


def _offset(row: SourceRow) -> tuple[str, str]:
    clock = None if row.status is None or row.state != "live" else row.status.clock
    if clock is None or clock.av_offset_ms is None:
        return "-", "dim"
    text = f"{clock.av_offset_ms:+.0f}"
    if clock.uncertainty_ms is not None:
        text += f" ±{clock.uncertainty_ms:.0f}"
    return f"{text} ms", ""


def _sink(name: str, sink: SinkStatus) -> Text:
    words = [
        f"{printable(name)} is {sink.state}"
        if sink.state != "ok"
        else f"{printable(name)} is behind"
    ]
    if sink.error:
        words[0] += f": {printable(sink.error)}"
    if sink.behind:
        words.append(f"{sink.behind / 1000:.0f} KB wait")
    if sink.lost:
        words.append(f"{sink.lost} events lost")
    is_bad = sink.state == "stopped" or sink.lost
    return Text(f"! {'; '.join(words)}", "bold red" if is_bad else "yellow")


def _counted(rows: list[SourceRow]) -> Text:
    line = Text(f"{len(rows)} source{'' if len(rows) == 1 else 's'}: ")
    return line.append_text(_states(rows))


def _states(rows: list[SourceRow]) -> Text:
    counts = Counter(row.state for row in rows)
    line = Text()
    for state, part in _joined((state, f"{n} {state}") for state, n in counts.most_common()):
        line.append(part, STATES.get(state, ""))
    return line


def _joined(parts: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for i, (key, part) in enumerate(parts):
        if i:
            yield "", ", "
        yield key, part
