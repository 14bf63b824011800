"""What `playspot run` tells: on a terminal a table in place, elsewhere events and log lines.

It writes in a thread of its own: whoever reads slowly, or not at all, must not hold up the
supervisor. Written past the buffers of Python, which a thread that waits would keep locked.
"""

import logging
import os
import sys
import threading
import time
from collections import deque
from contextlib import closing
from types import TracebackType
from typing import Self

from .event_lines import EventLines
from .live_table import LiveTable, live_table
from .locator import redacted

LOOK = 0.1  # seconds between two looks
LAST_WORDS = 0.2  # seconds for the last events to arrive
CLOSE_WAIT = 1.0  # seconds that whoever reads may take for the last lines
MAX_LINES = 1_000  # of the log that wait; the oldest go first


class Teller(logging.Handler):
    """A log handler, and a printer of what a run publishes.

    Parameters
    ----------
    as_json : bool
        Events as JSON, for programs.
    is_plain : bool
        Lines also on a terminal.

    Attributes
    ----------
    is_alone : bool
        Whether whoever read the events has gone (a closed pipe).
    """

    def __init__(self, *, as_json: bool, is_plain: bool = False) -> None:
        super().__init__(logging.INFO)
        self.is_alone = False
        self._as_json = as_json
        self._log: deque[str] = deque(maxlen=MAX_LINES)
        self._endpoint: str | None = None
        self._is_closing = threading.Event()
        self._mute: set[int] = set()  # file descriptors that take no more
        self._table = None if as_json or is_plain else live_table()
        self._thread = threading.Thread(target=self._tell, daemon=True)

    def __enter__(self) -> Self:
        root = logging.getLogger("playspot")
        root.addHandler(self)
        root.propagate = False
        root.setLevel(logging.INFO)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        logging.getLogger("playspot").removeHandler(self)
        self._is_closing.set()
        self._thread.join(LAST_WORDS + CLOSE_WAIT)
        if self._thread.is_alive():
            # It waits for whoever reads. The last line of the program must not do so, too.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)

    def follow(self, endpoint: str | None) -> None:
        """Tell what an endpoint publishes from now on."""
        self._endpoint = endpoint

    def say(self, line: str) -> None:
        """Tell people a line."""
        self._log.append(line)

    def emit(self, record: logging.LogRecord) -> None:
        """Tell people what was logged, on one line, with the time."""
        clock = time.strftime("%X", time.localtime(record.created))
        self.say(f"{clock} {redacted(record.getMessage())}")

    def _tell(self) -> None:
        if self._table is not None:
            self._tell_table(self._table)
        else:
            self._tell_lines()

    def _tell_lines(self) -> None:
        events: EventLines | None = None
        while True:
            is_last = self._is_closing.is_set()
            for line in self._logged():
                self._write(2, f"{line}\n")
            if events is None and self._endpoint is not None:
                events = EventLines(self._endpoint, as_json=self._as_json)
            if events is not None:
                for line in events.take(LAST_WORDS if is_last else LOOK):
                    self._write(1, f"{line}\n")
            else:
                self._is_closing.wait(LOOK)
            if is_last:
                break
        if events is not None:
            events.close()

    def _tell_table(self, table: LiveTable) -> None:
        has_log = sys.stderr.isatty()  # log lines go to the same terminal, above the table
        with closing(table):
            while True:
                is_last = self._is_closing.is_set()
                if self._endpoint is not None:
                    table.take(self._endpoint, LAST_WORDS if is_last else LOOK)
                else:
                    self._is_closing.wait(LOOK)
                lines = self._logged()
                if not has_log:
                    self._write(2, "".join(f"{line}\n" for line in lines))
                    lines = []
                self._write(1, table.end(lines) if is_last else table.draw(lines))
                if is_last:
                    break

    def _logged(self) -> list[str]:
        lines = []
        while self._log:
            lines.append(self._log.popleft())
        return lines

    def _write(self, descriptor: int, text: str) -> None:
        if not text or descriptor in self._mute:
            return
        encoding = (sys.stdout if descriptor == 1 else sys.stderr).encoding
        rest = text.encode(encoding, "backslashreplace")
        try:
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except BrokenPipeError:
            self._mute.add(descriptor)
            self.is_alone = self.is_alone or descriptor == 1
        except OSError:  # a full disk, a closed terminal: detection goes on
            self._mute.add(descriptor)
