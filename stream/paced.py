"""A media file as a live source: each item comes when a camera and a microphone would give it.

In: a path. Out: what `FileSource` gives, in sessions and in real time. A looped file begins a new
session each round, and the rounds follow each other without a pause.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from pathlib import Path

from .failures import FailureKind, SourceFailure
from .live import IDLE, ClockReport, LiveItem, Opened
from .media import AudioChunk, End, GreyFrame, MediaItem, Picture
from .sources import FileSource, SourceError
from .timeline import SAMPLE_RATE, STEP, step_time, tick_time

MAX_BEHIND = 5.0  # s; a looped file that is read later than this leaves out what it missed


class PacedFile:
    """A media file that plays in real time, as a `LiveSource`.

    A reader that is late gets the items as fast as it takes them, with their true times of
    capture, until it is in time again. Between two rounds it leaves out what it will not catch up.

    Parameters
    ----------
    path : str or Path
    name : str
        Of the source.
    loop : bool
        Begin again at the end, for ever.
    picture_side, picture_multiple : int
        Size of the pictures, as the object model's header asks for.

    Attributes
    ----------
    dropped : Counter
        "behind": steps left out because the reader was `MAX_BEHIND` late at the end of a round.
    notes : list of str
        What the user should know of the file, complete after the first round.
    preview_side : int
        See `Previewing`.

    Examples
    --------
    >>> for item in PacedFile("concert.mp4", name="stage", loop=True):  # doctest: +SKIP
    ...     print(type(item).__name__)
    """

    def __init__(
        self,
        path: str | Path,
        *,
        name: str,
        loop: bool = False,
        picture_side: int = 256,
        picture_multiple: int = 1,
    ) -> None:
        self._path = Path(path)
        self._name = name
        self._loop = loop
        self._picture = {"picture_side": picture_side, "picture_multiple": picture_multiple}
        self._anchor = time.monotonic()  # of media time 0 of the session
        self._round: FileSource | None = None
        self._is_closed = False
        self.dropped: Counter[str] = Counter()
        self.notes: list[str] = []
        self.preview_side = 0

    def __iter__(self) -> Iterator[LiveItem]:
        """Yield `Opened`, the items and `End` of each round, in real time.

        Raises
        ------
        SourceFailure
            If the file cannot be read: "not_found", "forbidden" or "damaged".
        """
        self._anchor = time.monotonic()
        while not self._is_closed:
            duration = 0.0
            try:
                with self._open() as self._round:
                    yield Opened(self._round.info)
                    self._round.preview_side = self.preview_side
                    for item in paced(self._round, self._anchor):
                        yield item
                        self._round.preview_side = self.preview_side
                        if self._is_closed:
                            return
                        if isinstance(item, End):  # whole steps: else the time line would gain
                            duration = step_time(max(1, item.n_steps))
                    self.notes = self._round.notes
            except SourceError as error:
                if self._is_closed:
                    return
                raise SourceFailure(self._kind(), str(error), may_heal=False) from None
            if not self._loop:
                return
            self._begin_after(duration)

    def captured(self, time: float) -> float:
        """Return when (`time.monotonic()`) media time `time` of the round was due."""
        return self._anchor + time

    def clock(self) -> ClockReport:
        """Return that sound and picture are as the file has them."""
        info = self._round.info if self._round is not None else None
        has_both = info is not None and info.has_video and info.has_audio
        return ClockReport("media", *((0.0, 0.0) if has_both else (None, None)))

    def close(self) -> None:
        """Close the file; more calls do nothing."""
        self._is_closed = True
        if self._round is not None:
            self._round.close()

    def _open(self) -> FileSource:
        return FileSource(self._path, name=self._name, **self._picture)

    def _begin_after(self, duration: float) -> None:
        """Let the next round follow the one that is over, or begin now if that is long past."""
        self._anchor += duration
        behind = time.monotonic() - self._anchor
        if behind > MAX_BEHIND:
            self._anchor += behind
            self.dropped["behind"] += round(behind / STEP)

    def _kind(self) -> FailureKind:
        try:
            with self._path.open("rb"):
                return "damaged"
        except FileNotFoundError:
            return "not_found"
        except OSError:  # of a folder as well
            return "forbidden" if not self._path.is_dir() else "unsupported"


def paced(items: Iterable[MediaItem], anchor: float) -> Iterator[MediaItem | None]:
    """Yield the items of a file when a live source would, in that order.

    Sound comes when its last sample was heard, a picture at its own time, so that a picture
    overtakes the sound that began with it.

    Parameters
    ----------
    items : iterable of MediaItem
        In the order of media time, as from `FileSource`.
    anchor : float
        `time.monotonic()` of media time 0.

    Yields
    ------
    item : MediaItem or None
        None every `IDLE` seconds of waiting.

    Examples
    --------
    >>> [item] = paced([End(0.0, 0)], anchor=0.0)
    """
    for due, item in _in_order_of_release(items):
        while (wait := anchor + due - time.monotonic()) > 0:
            time.sleep(min(wait, IDLE))
            if wait > IDLE:
                yield None
        yield item


def _in_order_of_release(items: Iterable[MediaItem]) -> Iterator[tuple[float, MediaItem]]:
    waiting: list[tuple[float, int, MediaItem]] = []
    for count, item in enumerate(items):
        begin, due = _times(item)
        # What is due before this begins is due before all that follows.
        while waiting and (isinstance(item, End) or waiting[0][0] <= begin):
            first, _, earlier = heappop(waiting)
            yield first, earlier
        heappush(waiting, (due, count, item))
    for due, _, item in sorted(waiting, key=lambda entry: entry[:2]):
        yield due, item


def _times(item: MediaItem) -> tuple[float, float]:
    """Return the media time of an item, and when it is complete."""
    if isinstance(item, AudioChunk):
        return item.start / SAMPLE_RATE, (item.start + len(item.waveform)) / SAMPLE_RATE
    if isinstance(item, GreyFrame):
        return tick_time(item.tick), tick_time(item.tick)
    if isinstance(item, Picture):
        return step_time(item.step), step_time(item.step)
    return item.duration, item.duration
