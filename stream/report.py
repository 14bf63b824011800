"""What `playspot detect` tells: the models, the progress of each file, and what came of it.

People get tables; programs (`--json`) get one JSON object a file on standard output, and everything
else goes to standard error.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from .detect import FileReport
from .events import Event
from .one_line import printable, shown_path
from .played import time_text
from .table import LiveView, place_text, print_line, print_summary


class Reporter:
    """Tell a person or a program about the files of one call.

    Parameters
    ----------
    as_json : bool
        For programs.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json
        self._people = Console(stderr=as_json, highlight=False)
        self._errors = Console(stderr=True, highlight=False)

    def begin(self, models: Sequence[str], endpoint: str | None) -> None:
        """Say which models are used and where events are published."""
        for line in models:
            print_line(self._people, line)
        if endpoint is not None:
            print_line(self._people, f"events on {endpoint} (playspot listen)")

    def file(self, path: Path) -> LiveView:
        """Return the view of a file that is being detected in; to be entered."""
        return LiveView(self._people, path)

    def done(self, report: FileReport) -> None:
        """Tell what came of a file."""
        if self._as_json:
            print(json.dumps(report.to_json()), flush=True)
        if report.error is not None:
            print_line(self._errors, f"playspot: {report.error}")
        if report.info is None:
            return
        if not self._as_json:
            print_summary(self._people, report.played)
        speed = report.played.duration / report.seconds if report.seconds else 0.0
        print_line(
            self._people,
            f"{time_text(report.played.duration, decimals=1)} detected in {report.seconds:.1f} s "
            f"({speed:.1f} x real time)",
        )
        for note in report.notes:
            print_line(self._people, f"note: {note}")
        for path in report.written.values():
            print_line(self._people, f"wrote {shown_path(path)}")


def event_line(event: Event) -> str:
    """Return an event as one plain line.

    Examples
    --------
    >>> event_line(Event(type="new", id="a", source="stage", label="drum", score=0.9,
    ...     top_score=0.9, start_time=1.0, time=1.5, wall_time=0, step=3, seq=0, system_id="b",
    ...     model={"name": "m", "hash": "h", "engine": "e", "precision": "fp32"}))
    'stage  0:01.5  new     drum        0.90  no picture'
    """
    return (
        f"{event.source}  {time_text(event.time, decimals=1)}  {event.type:<6}  "
        f"{event.label:<10}  {event.score:.2f}  {place_text(event.point)}"
    )


def heard_line(event: Event) -> str:
    """Return an event of any publisher as one plain line, with the local time in front.

    An end says how long was played and the best score, in place of where. Control characters are
    left out.
    """
    clock = time.strftime("%H:%M:%S", time.localtime(event.wall_time))
    line = event_line(event)
    if event.type == "end" and event.end_time is not None:
        seconds = event.end_time - event.start_time
        line = line.removesuffix(place_text(event.point))
        line += f"after {seconds:.1f} s, best {event.top_score:.2f}"
    return f"{clock}  {printable(line)}"
