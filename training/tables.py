"""Tables and texts of data sets, read line by line and believed in nothing.

A file that is no text, or whose lines have no end, is a `ClipError` of one line. A row that cannot
be used is the reader's to skip and count.
"""

import csv
import math
import re
from collections.abc import Iterator
from pathlib import Path

from ..stream.one_line import reason_of, shown_path
from .clips import ClipError

MAX_LINE = 1_000_000  # bytes
MAX_TEXT = 10_000_000  # bytes of a file that is read whole
MAX_SECONDS = 1e6  # later in a recording is damage
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")  # of a video on YouTube: 11 of these characters


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text that hold anything, with their numbers from 1.

    Raises
    ------
    ClipError
        If the file cannot be read, or is not UTF-8 text of lines.
    """
    shown = shown_path(path)
    if not path.is_file():
        raise ClipError(f"{shown}: no such file")
    try:
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(MAX_LINE + 1):
                number += 1
                if len(raw) > MAX_LINE:
                    raise ClipError(f"{shown}: line {number} is longer than {MAX_LINE} bytes")
                if b"\0" in raw:
                    raise ClipError(f"{shown}: line {number} is no text; save it as UTF-8")
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip("\r\n")
                if text.strip():
                    yield number, text
    except UnicodeDecodeError:
        raise ClipError(f"{shown}: line {number} is not UTF-8; save it as UTF-8") from None
    except OSError as error:
        raise ClipError(f"{shown}: cannot be read ({reason_of(error)})") from None


def rows(path: Path, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a table with the numbers of their lines; none for what is no row.

    Fields are without spaces around them, and out of their quotes. A line whose quotes make no
    sense is an empty row.

    Raises
    ------
    ClipError
        As of `lines`.
    """
    for number, text in lines(path):
        try:
            (row,) = csv.reader([text], delimiter=delimiter, skipinitialspace=True)
        except (csv.Error, ValueError):
            row = []
        yield number, [field.strip() for field in row]


def whole_text(path: Path) -> str:
    """Return a text of at most 10 MB.

    Raises
    ------
    ClipError
        If it is longer, cannot be read, or is not UTF-8.

    Examples
    --------
    >>> whole_text(Path("nowhere.xml"))
    Traceback (most recent call last):
    ...
    playspot.training.clips.ClipError: nowhere.xml: no such file
    """
    shown = shown_path(path)
    if not path.is_file():
        raise ClipError(f"{shown}: no such file")
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_TEXT + 1)
    except OSError as error:
        raise ClipError(f"{shown}: cannot be read ({reason_of(error)})") from None
    if len(raw) > MAX_TEXT:
        raise ClipError(f"{shown}: larger than {MAX_TEXT} bytes")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ClipError(f"{shown}: is not UTF-8 text") from None


def part_of(start: str, end: str) -> tuple[float, float] | None:
    """Return the seconds that a row names as a part of a recording; None if they cannot be.

    Examples
    --------
    >>> part_of("30.000", "40.000")
    (30.0, 40.0)
    >>> part_of("nan", "40"), part_of("-1", "9"), part_of("40", "30")
    (None, None, None)
    """
    try:
        times = float(start), float(end)
    except ValueError:
        return None
    is_sane = all(math.isfinite(time) for time in times) and 0 <= times[0] < times[1] < MAX_SECONDS
    return times if is_sane else None
