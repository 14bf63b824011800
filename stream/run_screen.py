"""The bottom of a terminal, drawn anew in place; lines that are told scroll away above it.

In: lines of text. Out: the bytes to write. Nothing is written here: whoever writes may have to wait
for the terminal. The cursor stays below the drawing, and nothing of the terminal is changed that
would have to be put back.
"""

import os
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

CLEAR_LINE, CLEAR_BELOW = "\x1b[K", "\x1b[J"


class RunScreen:
    """What a terminal shows of a run.

    Parameters
    ----------
    console : Console, optional
        For its size and colours; that of standard output when not given.
    is_ascii : bool
        Whether it has no blocks and dots.

    Attributes
    ----------
    is_able : bool
        Whether the terminal can draw in place.
    is_ascii : bool
    """

    def __init__(self, console: Console | None = None, *, is_ascii: bool = False) -> None:
        self._console = console or Console(highlight=False)
        self.is_able = not self._console.is_dumb_terminal
        self.is_ascii = is_ascii
        self._drawn: list[int] = []  # cells of each line that stands

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the terminal now, letters."""
        try:
            # Not by $COLUMNS, as Rich has it: that is not changed when the terminal is.
            return os.get_terminal_size(self._console.file.fileno())
        except (OSError, ValueError):
            return self._console.size

    def draw(self, lines: Sequence[Text], above: Iterable[str | Text] = ()) -> str:
        """Return what replaces the drawing by another, with lines above it that stay.

        Parameters
        ----------
        lines : sequence of Text
            No wider and together no higher than the terminal.
        above : iterable of str or Text
        """
        above = [*above]
        if not (lines or above or self._drawn):
            return ""
        width, height = self.size
        # A terminal that has become narrower has wrapped what stood there.
        rows = sum(max(1, -(-cells // max(width, 1))) for cells in self._drawn)
        start = f"\x1b[{min(rows, height - 1)}A\r" if rows else "\r"
        text = "".join(f"{self._encoded(line)}{CLEAR_LINE}\n" for line in (*above, *lines))
        self._drawn = [cell_len(line.plain) for line in lines]
        return f"{start}{text}{CLEAR_BELOW}"

    def _encoded(self, line: str | Text) -> str:
        if isinstance(line, str):
            return line
        with self._console.capture() as capture:
            self._console.print(line, soft_wrap=True, end="")
        return capture.get()
