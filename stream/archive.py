"""What was played in an archive: parts, by file or by live source and day.

Times of a section of a file are media seconds; of a live source, seconds since local midnight.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .events import Box, Point
from .timeline import STEP

HOUR, DAY = 3600.0, 86_400.0  # s


@dataclass(slots=True)
class PlayedPart:
    """One instrument played at one place for some time.

    Attributes
    ----------
    id, label : str
        As in the event.
    start, end : float
        Seconds of the section.
    top_score, top_time : float
        The best, and when it was.
    point, box
        Of that moment; None without a picture.
    is_over : bool
        Whether its end is in the archive.
    """

    id: str
    label: str
    start: float
    end: float
    top_score: float
    top_time: float
    point: Point | None
    box: Box | None
    is_over: bool = False


@dataclass
class Section:
    """What was played in one file, or in one live source on one day.

    Attributes
    ----------
    name : str
        Of the file without its ending, or of the source.
    day : str or None
        Of a live source, such as 2026-05-03; None for a file.
    parts : list of PlayedPart
        In the order of time.
    length : float
        Seconds: of the file as far as it is known, of a day from the first start to the last end.
    events : Path or None
        Where the events of a file come from.
    media : Path or None
        The file itself, where it was found.
    """

    name: str
    day: str | None = None
    parts: list[PlayedPart] = field(default_factory=list)
    length: float = 0.0
    events: Path | None = None
    media: Path | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """The first and the last moment (s) that its timeline shows."""
        if self.day is None:
            return 0.0, max(self.length, STEP)
        first = min(part.start for part in self.parts)
        last = max(part.end for part in self.parts)
        whole = HOUR if last - first > HOUR else HOUR / 6
        return first // whole * whole, min(-(-last // whole) * whole, DAY)


@dataclass
class Total:
    """What an instrument comes to."""

    n: int = 0
    seconds: float = 0.0
    top_score: float = 0.0


@dataclass
class Archive:
    """All sections, and what could not be read.

    Attributes
    ----------
    sections : list of Section
        Files by name, then live sources by name and day.
    n_inputs, n_events, n_broken : int
        Files of events, events in them, and lines that are none.
    notes : list of str
        What the user should know, one line each.
    """

    sections: list[Section] = field(default_factory=list)
    n_inputs: int = 0
    n_events: int = 0
    n_broken: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def length(self) -> float:
        """Seconds of all sections."""
        return sum(section.length for section in self.sections)

    @property
    def n_parts(self) -> int:
        """Parts of all sections."""
        return sum(len(section.parts) for section in self.sections)

    def totals(self) -> dict[str, Total]:
        """Return what each instrument comes to, the longest first.

        Where two play the same instrument at once, the time counts once.
        """
        totals: dict[str, Total] = {}
        for section in self.sections:
            for label in {part.label for part in section.parts}:
                own = [part for part in section.parts if part.label == label]
                total = totals.setdefault(label, Total())
                total.n += len(own)
                total.seconds += covered(own)
                total.top_score = max(total.top_score, *(part.top_score for part in own))
        return dict(sorted(totals.items(), key=lambda item: (-item[1].seconds, item[0])))


def covered(parts: Iterable[PlayedPart]) -> float:
    """Return the seconds in which at least one of some parts is played.

    Examples
    --------
    >>> ends = [(0, 2), (1, 3), (5, 6)]
    >>> covered(PlayedPart("a", "drum", start, end, 1, 0, None, None) for start, end in ends)
    4.0
    """
    seconds, until = 0.0, float("-inf")
    for part in sorted(parts, key=lambda part: part.start):
        seconds += max(0.0, part.end - max(part.start, until))
        until = max(until, part.end)
    return seconds
