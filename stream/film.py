"""The last seconds of a source: its previews and its sound, kept until nobody can want them."""

from collections import deque
from collections.abc import Iterable, Iterator

from .previews import Heard, Preview
from .timeline import SAMPLE_RATE

MAX_BYTES = 64 << 20  # of one source: some minutes at 640 px


class Film:
    """Pictures and sound of one source, in the order of its time line.

    Parameters
    ----------
    max_bytes : int
        What is more than that goes, oldest first, wanted or not.

    Attributes
    ----------
    n_bytes : int

    Examples
    --------
    >>> film = Film()
    >>> film.add([Preview("stage", k, 0.128 * k, 50.0 + 0.128 * k, 1, b"...") for k in range(8)])
    >>> film.nearest(0.5, within=0.3).tick, [p.tick for p in film.pictures(0.6, 0.8)]
    (4, [5, 6])
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._pictures: deque[Preview] = deque()
        self._sound: deque[Heard] = deque()
        self._max_bytes = max_bytes
        self.n_bytes = 0

    @property
    def has_sound(self) -> bool:
        """Whether there is sound."""
        return bool(self._sound)

    @property
    def newest(self) -> float:
        """Media time of the newest picture; minus infinity without any."""
        return self._pictures[-1].time if self._pictures else float("-inf")

    def captured(self, time: float) -> float | None:
        """Return when (`time.monotonic()`) a media time was or will be; None if nobody knows."""
        if not self._pictures:
            return None
        last = self._pictures[-1]
        return last.captured + time - last.time

    def add(self, pictures: Iterable[Preview]) -> None:
        """Take in pictures; what is not later than the newest is left out."""
        for picture in pictures:
            if picture.time > self.newest:
                self._pictures.append(picture)
                self.n_bytes += len(picture.jpeg)
        self._fit()

    def add_sound(self, sound: Iterable[Heard]) -> None:
        """Take in sound."""
        for heard in sound:
            self._sound.append(heard)
            self.n_bytes += heard.waveform.nbytes
        self._fit()

    def nearest(self, time: float, within: float) -> Preview | None:
        """Return the picture nearest to a media time, if there is one so near."""
        best = min(self._pictures, key=lambda picture: abs(picture.time - time), default=None)
        return best if best is not None and abs(best.time - time) <= within else None

    def pictures(self, after: float, until: float) -> Iterator[Preview]:
        """Yield the pictures after a media time, up to and with another."""
        return (picture for picture in self._pictures if after < picture.time <= until)

    def sound(self, first: int, until: float) -> list[Heard]:
        """Return the sound from a sample on that begins before a media time."""
        end = until * SAMPLE_RATE
        return [heard for heard in self._sound if first <= heard.start < end]

    def trim(self, before: float) -> None:
        """Let go of what is before a media time, but for the newest picture."""
        while len(self._pictures) > 1 and self._pictures[0].time < before:
            self._drop_picture()
        while self._sound and self._sound[0].start < before * SAMPLE_RATE:
            self._drop_sound()

    def _fit(self) -> None:
        while self.n_bytes > self._max_bytes:
            if len(self._pictures) > 1:
                self._drop_picture()
                self.trim(self._pictures[0].time)
            elif self._sound:
                self._drop_sound()
            else:
                return

    def _drop_picture(self) -> None:
        self.n_bytes -= len(self._pictures.popleft().jpeg)

    def _drop_sound(self) -> None:
        self.n_bytes -= self._sound.popleft().waveform.nbytes
