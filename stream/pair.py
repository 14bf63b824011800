"""A camera and a microphone, two devices with two clocks -> one session on one time line.

In: two live sources, one of pictures and one of sound. Out: the pictures as they are, and the
sound stretched, filled or cut so that what was captured at the same moment has the same media
time. Media time is the camera's: 0 is its first moment; earlier sound is left out, and where the
microphone starts later sound is missing.
"""

import math
import queue
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import replace

from .drift import DriftCompensator
from .live import IDLE, ClockReport, LiveItem, LiveSource, Opened, Previewing
from .media import AudioChunk, End, GreyFrame, Picture, SourceInfo
from .timeline import SAMPLE_RATE, n_steps, step_time, tick_time

QUEUE = 64  # items on their way from the two sources
EARLY = 128  # chunks of sound, some 10 s, that wait for the camera to open
UNKNOWN_MS = 20.0  # half the width of the interval of a source that does not know its own
JOIN_TIMEOUT = 1.0  # s


class PlacedSound:
    """The sound of one source on the time line of another's pictures.

    Parameters
    ----------
    picture_captured, sound_captured : callable
        Media time of either -> `time.monotonic()` of its capture, as `LiveSource.captured`.
    av_offset : float
        Seconds to add to the times of the sound.
    sample_rate : int
        Of the sound and of the time line.

    Attributes
    ----------
    reached : float
        Media time of the latest picture, s; whoever holds the pictures sets it.
    """

    def __init__(
        self,
        picture_captured: Callable[[float], float],
        sound_captured: Callable[[float], float],
        av_offset: float = 0.0,
        sample_rate: int = SAMPLE_RATE,
    ) -> None:
        self._picture_captured, self._sound_captured = picture_captured, sound_captured
        self._av_offset, self._sample_rate = av_offset, sample_rate
        self._compensator = DriftCompensator(sample_rate)
        self.reached = 0.0

    @property
    def end(self) -> float:
        """Media time at which the sound so far ends."""
        return self._compensator.n_samples / self._sample_rate

    @property
    def error(self) -> float:
        """Seconds by which the sound lies too early at the moment."""
        return self._compensator.error

    def push(self, chunk: AudioChunk) -> Iterator[AudioChunk]:
        """Yield what is settled once a chunk of the sound's own time line has come."""
        start = chunk.start / self._sample_rate
        if chunk.missing:
            length = len(chunk.waveform) / self._sample_rate
            yield from self._compensator.skip(self._time(start) + length)
        else:
            yield from self._compensator.push(chunk.waveform, self._time(start))

    def flush(self, until: float) -> Iterator[AudioChunk]:
        """Yield what is left, and missing sound until media time `until`."""
        yield from self._compensator.skip(until)

    def _time(self, sound_time: float) -> float:
        # The two clocks are read at the same moment, or nearly: their drift does not count here.
        ahead = self._sound_captured(sound_time) - self._picture_captured(self.reached)
        return self.reached + ahead + self._av_offset


class PairSource:
    """A camera and a microphone as one `LiveSource`; if either fails, the pair does.

    Parameters
    ----------
    video, sound : LiveSource
        Their own sound and pictures, if any, are left out.
    name : str
        Of the source.
    av_offset : float
        Seconds to add to the times of the sound.

    Attributes
    ----------
    dropped : Counter
        Of both.

    Examples
    --------
    >>> from .microphone import MicrophoneSource
    >>> from .paced import PacedFile
    >>> camera, microphone = PacedFile("a.mp4", name="a"), MicrophoneSource(name="m")
    >>> for item in PairSource(camera, microphone, name="stage"):  # doctest: +SKIP
    ...     print(type(item).__name__)
    """

    def __init__(
        self, video: LiveSource, sound: LiveSource, *, name: str, av_offset: float = 0.0
    ) -> None:
        self._video, self._sound = video, sound
        self._name, self._av_offset = name, av_offset
        self._items: queue.Queue[tuple[LiveSource, _Word]] = queue.Queue(QUEUE)
        self._threads: list[threading.Thread] = []
        self._is_closed = threading.Event()
        self._placed: PlacedSound | None = None
        self.dropped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[LiveItem]:
        """Yield the sessions of the camera, with the sound of the microphone.

        Raises
        ------
        SourceFailure
            That of the half which failed.
        """
        try:
            # With the sound there first, no picture has to wait.
            self._start(self._sound)
            yield from self._joined()
        finally:
            self.close()

    @property
    def preview_side(self) -> int:
        """That of the camera, see `Previewing`; 0 if it makes no previews."""
        return self._video.preview_side if isinstance(self._video, Previewing) else 0

    @preview_side.setter
    def preview_side(self, side: int) -> None:
        if isinstance(self._video, Previewing):
            self._video.preview_side = side

    def captured(self, time: float) -> float:
        """Return when (`time.monotonic()`) media time `time` was captured by the camera."""
        return self._video.captured(time)

    def clock(self) -> ClockReport:
        """Return how well the sound is aligned, and the drift of its clock against the camera's."""
        video, sound = self._video.clock(), self._sound.clock()
        offset = -self._placed.error * 1000 if self._placed is not None else None
        known = [UNKNOWN_MS if ms is None else ms for ms in _uncertainties(video, sound)]
        return ClockReport(
            "device",
            offset,
            math.hypot(*known) if offset is not None else None,
            sound.drift_ppm - video.drift_ppm,
            sound.n_steps_of_clock + video.n_steps_of_clock,
        )

    def close(self) -> None:
        """Let go of both; more calls do nothing."""
        self._is_closed.set()
        for thread in self._threads:
            thread.join(JOIN_TIMEOUT)

    def _start(self, half: LiveSource) -> None:
        thread = threading.Thread(target=self._feed, args=(half,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _feed(self, half: LiveSource) -> None:
        word: _Word = None
        try:
            for item in half:
                if self._is_closed.is_set() or (item is not None and not self._put(half, item)):
                    return
        except Exception as error:
            word = error
        finally:
            half.close()  # here, as FFmpeg crashes if closed while another thread reads
        self._put(half, word)

    def _put(self, half: LiveSource, word: "_Word") -> bool:
        while not self._is_closed.is_set():
            try:
                self._items.put((half, word), timeout=IDLE)
                return True
            except queue.Full:
                continue
        return False

    def _joined(self) -> Iterator[LiveItem]:
        sound_info: SourceInfo | None = None
        early: deque[AudioChunk] = deque(maxlen=EARLY)
        while True:
            try:
                half, item = self._items.get(timeout=IDLE)
            except queue.Empty:
                yield None
                continue
            self.dropped = self._video.dropped + self._sound.dropped
            if isinstance(item, Exception):
                raise item
            if item is None or (half is self._sound and isinstance(item, End)):
                yield from self._end(None)
                return
            if half is self._sound:
                if isinstance(item, Opened):
                    sound_info = item.info
                    self._start(self._video)
                elif isinstance(item, AudioChunk):
                    if self._placed is None:
                        early.append(item)
                        yield None  # whoever reads is not to wait for the camera
                    else:
                        yield from self._placed.push(item)
            elif isinstance(item, Opened) and sound_info is not None:
                yield from self._end(None)
                video, sound = self._video.captured, self._sound.captured
                self._placed = PlacedSound(video, sound, self._av_offset)
                yield Opened(_joint(self._name, item.info, sound_info))
                while early:
                    yield from self._placed.push(early.popleft())
            elif self._placed is not None:
                if isinstance(item, GreyFrame):
                    self._placed.reached = tick_time(item.tick)
                    yield item
                elif isinstance(item, Picture):
                    self._placed.reached = step_time(item.step)
                    yield item
                elif isinstance(item, End):
                    yield from self._end(item)

    def _end(self, end: End | None) -> Iterator[LiveItem]:
        if self._placed is None:
            return
        until = end.duration if end is not None else self._placed.reached
        yield from self._placed.flush(until)
        duration = max(until, self._placed.end)
        self._placed = None
        yield End(duration, n_steps(duration))


_Word = LiveItem | Exception  # None: this half is over


def _uncertainties(*reports: ClockReport) -> list[float | None]:
    return [report.uncertainty_ms for report in reports]


def _joint(name: str, video: SourceInfo, sound: SourceInfo) -> SourceInfo:
    return replace(
        video,
        name=name,
        has_audio=True,
        sample_rate=sound.sample_rate,
        channels=sound.channels,
        duration=None,
    )
