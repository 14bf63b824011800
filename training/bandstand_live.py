"""The bandstand as a live source: rendered scenes with sound in real time, without end or file.

In: `bandstand://?seed=300000&level=normal&length=30`. Out: the scenes of `band.py` in one session
without a break; the same items for the same options, whatever the timing.
"""

import math
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count

import numpy as np
from numpy.typing import NDArray

from ..stream.clock_sync import SampleClock
from ..stream.config import SourceConfig
from ..stream.drift import DriftCompensator
from ..stream.live import ClockReport, LiveItem, Opened
from ..stream.locator import Locator
from ..stream.media import AudioChunk, End, GreyFrame, MediaItem, Picture, SourceInfo
from ..stream.paced import MAX_BEHIND, paced
from ..stream.timeline import (
    SAMPLE_RATE,
    TICK,
    TICK_SAMPLES,
    TICKS_PER_STEP,
    n_steps,
    step_time,
    tick_time,
)
from ..stream.upright import Upright
from .band import Band, BandstandOptions, parse_options
from .bandstand import video_frame


class BandstandLive:
    """The band as a `LiveSource`: one session, as long as its reader keeps up.

    Parameters
    ----------
    options : BandstandOptions
    name : str
        Of the source.
    picture_side, picture_multiple : int
        Size of the pictures, as the object model's header asks for.

    Attributes
    ----------
    dropped : Counter
        "behind": steps left out because the reader was `MAX_BEHIND` late; then a new session
        begins, as of now.
    preview_side : int
        See `playspot.stream.live.Previewing`.

    Examples
    --------
    >>> source = BandstandLive(parse_options("bandstand://?seed=4"), name="stage")
    >>> for item in source:  # doctest: +SKIP
    ...     print(type(item).__name__)
    """

    def __init__(
        self,
        options: BandstandOptions,
        *,
        name: str,
        picture_side: int = 256,
        picture_multiple: int = 1,
    ) -> None:
        self._options = options
        self._name = name
        self._picture_size = (picture_side, picture_multiple)
        self._band = Band(options)
        self._card: SoundCard | None = None
        self._anchor = time.monotonic()
        self._is_closed = False
        self.dropped: Counter[str] = Counter()
        self.preview_side = 0

    def __iter__(self) -> Iterator[LiveItem]:
        """Yield `Opened`, and the items in real time, for ever."""
        epoch, first = self._options.epoch, 0
        if epoch is None:
            self._band.prepare(0)
            epoch = time.monotonic()
        else:
            self._band.prepare(max(0, round((time.monotonic() - epoch) * SAMPLE_RATE)))
            first = n_steps(time.monotonic() - epoch)
        while not self._is_closed:
            self._anchor = epoch + step_time(first)
            yield Opened(self._info())
            reached = 0
            for item in paced(self.items(first), self._anchor):
                yield item
                if self._is_closed:
                    return
                if isinstance(item, GreyFrame):
                    reached = item.tick + 1
                    if time.monotonic() - self.captured(tick_time(item.tick)) > MAX_BEHIND:
                        break
            end = End(tick_time(reached), n_steps(tick_time(reached)))
            yield end
            after, first = first + end.n_steps, n_steps(time.monotonic() - epoch)
            self.dropped["behind"] += first - after

    def items(self, first_step: int = 0) -> Iterator[MediaItem]:
        """Yield all items of a session that begins with a step of the band, as fast as it goes.

        They come in the order of media time, without end.
        """
        origin = first_step * TICKS_PER_STEP * TICK_SAMPLES
        upright: Upright | None = None
        card = SoundCard(self._options, self._band, origin) if self._options.is_skewed else None
        self._card = card
        for tick in count():
            start = tick * TICK_SAMPLES
            if card is not None:
                yield from card.listen(tick_time(tick + 1))
            else:
                yield AudioChunk(start, self._band.sound(origin + start, TICK_SAMPLES))
            frame = video_frame(self._band.frame(origin + start))
            upright = upright or Upright(frame, None, *self._picture_size)
            preview = upright.preview(frame, self.preview_side)
            yield GreyFrame(tick, upright.grey(frame), preview)
            if tick % TICKS_PER_STEP == 0:
                yield Picture(tick // TICKS_PER_STEP, upright.picture(frame))

    def captured(self, time: float) -> float:
        """Return when (`time.monotonic()`) media time `time` of the session was due."""
        return self._anchor + time

    def clock(self) -> ClockReport:
        """Return that sound and picture are aligned, or what the sound card's clock does."""
        return self._card.clock() if self._card is not None else ClockReport("media", 0.0, 0.0)

    def close(self) -> None:
        """End the thread; more calls do nothing."""
        self._is_closed = True
        self._band.close()

    def _info(self) -> SourceInfo:
        width, height = self._options.size
        return SourceInfo(self._name, True, True, width, height, 1 / TICK, SAMPLE_RATE, 1)


class SoundCard:
    """A sound card whose clock is wrong, and what a live source makes of its sound.

    Parameters
    ----------
    options : BandstandOptions
    band : Band
    origin : int
        Sample of the band at media time 0.
    """

    def __init__(self, options: BandstandOptions, band: Band, origin: int) -> None:
        self._options, self._band, self._origin = options, band, origin
        self._n_samples = 0  # that the card has counted
        self._clock = SampleClock(SAMPLE_RATE)
        self._compensator = DriftCompensator()

    def listen(self, until: float) -> Iterator[AudioChunk]:
        """Yield what becomes of the sound until a media time, in true seconds."""
        while (seconds := self._seconds())[0] < until:
            places = seconds * SAMPLE_RATE
            first = math.floor(places.min())
            sound = self._band.sound(self._origin + first, math.ceil(places.max()) + 1 - first)
            heard = np.interp(places - first, np.arange(len(sound)), sound).astype(np.float32)
            self._clock.add(self._n_samples, float(seconds[0]))
            yield from self._compensator.push(heard, self._clock.at(self._n_samples))
            self._n_samples += len(heard)

    def _seconds(self) -> NDArray[np.float64]:
        """Return when the next samples are captured."""
        counted = self._n_samples + np.arange(TICK_SAMPLES)
        seconds = counted / (SAMPLE_RATE * (1 + self._options.skew_ppm / 1e6))
        return seconds + (seconds >= self._options.step_at) * (self._options.step_ms / 1000)

    def clock(self) -> ClockReport:
        """Return drift and steps of the card's clock, and how far off its sound is."""
        uncertainty = 1000 * self._clock.uncertainty if self._clock.is_known else None
        error = -1000 * self._compensator.error
        drift, n_jumps = self._clock.drift_ppm, self._clock.n_steps
        return ClockReport("device", error, uncertainty, drift, n_jumps)


def open_bandstand(
    locator: Locator,
    config: SourceConfig,
    *,
    picture_side: int = 256,
    picture_multiple: int = 1,
    name: str,
) -> BandstandLive:
    """Return the live source of a `bandstand://` URL.

    Parameters
    ----------
    locator : Locator
    config : SourceConfig
        Nothing of it concerns this source.
    picture_side, picture_multiple : int
        Size of the pictures.
    name : str
        Of the source.

    Raises
    ------
    SourceFailure
        "unsupported", if an option is unknown or out of bounds.
    """
    options = parse_options(locator.text)
    return BandstandLive(
        options, name=name, picture_side=picture_side, picture_multiple=picture_multiple
    )
