"""The table of a run on a terminal: follows what the run publishes, gives what is to be written."""

import sys
import time
from collections.abc import Sequence

from rich.text import Text

from .hub import HubRecords
from .one_line import printable
from .run_screen import RunScreen
from .run_table import RunTable
from .run_view import summary, view

REFRESH = 0.5  # seconds between two drawings: a step takes as long


class LiveTable:
    """What a terminal shows of a run, drawn anew in place.

    Nothing is written here, and nothing waits longer than it is told.

    Parameters
    ----------
    screen : RunScreen

    Examples
    --------
    >>> table = LiveTable(RunScreen())
    >>> "starting" in table.draw(["starting"])
    True
    """

    def __init__(self, screen: RunScreen) -> None:
        self._screen = screen
        self._table = RunTable()
        self._records: HubRecords | None = None
        self._drawn = -REFRESH
        self._above: list[str] = []

    def take(self, endpoint: str, wait: float) -> None:
        """Take in what an endpoint publishes, waiting up to `wait` seconds for it."""
        if self._records is None:
            self._records = HubRecords(endpoint)
        for record in self._records.take(wait):
            self._table.take(record, time.monotonic())

    def draw(self, above: Sequence[str] = ()) -> str:
        """Return what is to be written now: nothing as long as no drawing is due.

        Parameters
        ----------
        above : sequence of str
            Lines that stay, above the drawing.
        """
        self._above += above
        now = time.monotonic()
        if now - self._drawn < REFRESH:
            return ""
        self._drawn = now
        self._table.forget_before(now)
        lines: list[Text] = []
        if self._table.run is not None:
            width, height = self._screen.size
            lines = view(self._table, now, width, height, is_ascii=self._screen.is_ascii)
        return self._screen.draw(lines, self._lines_above())

    def end(self, above: Sequence[str] = ()) -> str:
        """Return what takes the place of the drawing when the run is over."""
        self._above += above
        return self._screen.draw([], [*self._lines_above(), *summary(self._table)])

    def close(self) -> None:
        """Release the socket."""
        if self._records is not None:
            self._records.close()

    def _lines_above(self) -> list[str]:
        above, self._above = self._above, []
        return [printable(line) for line in above]


def live_table() -> LiveTable | None:
    """Return the table for standard output; None where that cannot be drawn on in place."""
    if not sys.stdout.isatty():
        return None
    is_ascii = not (sys.stdout.encoding or "").lower().startswith("utf")
    screen = RunScreen(is_ascii=is_ascii)
    return LiveTable(screen) if screen.is_able else None
