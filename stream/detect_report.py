"""What `playspot detect` tells: the models, the progress of each file, and what came of it.

People get tables; programs (`--json`) get one JSON object a file on standard output, and everything
else goes to standard error.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from .detect import FileReport
from .one_line import shown_path
from .played import time_text
from .table import LiveView, print_line, print_summary


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
