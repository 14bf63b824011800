"""Sound whose clock is not the picture's -> sound on the time line of the picture.

In: waveforms, each with the media time at which its first sample belongs. Out: `AudioChunk`s that
follow each other from sample 0. A clock that runs fast or slow is followed by resampling, a clock
that jumped by silence flagged as missing, or by leaving out what is there already.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .media import AudioChunk, Waveform
from .timeline import SAMPLE_RATE, TICK_SAMPLES

MAX_ERROR = 0.030  # s; up to here sound is stretched until it is in place, beyond it is moved
MAX_STRETCH = 500e-6  # sound cards are within 300 ppm; a semitone is 60 000
TAPS = 32  # input samples that make an output sample
PHASES = 1024  # places between two input samples
ROUNDING = 1e-3  # samples; times of many seconds are no more exact

_EMPTY = np.zeros(0, np.float32)


def _interpolators() -> Waveform:
    # Row p holds the weights of the samples around a place p / PHASES after the middle one.
    places = np.arange(TAPS) - (TAPS // 2 - 1) - np.arange(PHASES + 1)[:, None] / PHASES
    window = np.i0(8.0 * np.sqrt(np.clip(1 - (places / (TAPS / 2)) ** 2, 0, 1)))
    weights = np.sinc(places) * window
    rows: Waveform = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return rows


class DriftCompensator:
    """Put sound where its capture times say, without clicks.

    Parameters
    ----------
    sample_rate : int
        Of the sound and of the time line.

    Attributes
    ----------
    n_samples : int
        On the time line so far.
    error : float
        Seconds by which the last sound lay too early; it is being stretched away.

    Examples
    --------
    >>> compensator = DriftCompensator()
    >>> chunks = [*compensator.push(np.ones(4096, np.float32), 0.256), *compensator.flush()]
    >>> [(chunk.start, len(chunk.waveform), chunk.missing) for chunk in chunks]
    [(0, 2048, True), (2048, 2048, True), (4096, 4080, False), (8176, 16, False)]
    """

    def __init__(self, sample_rate: int = SAMPLE_RATE) -> None:
        self._sample_rate = sample_rate
        self._weights = _interpolators()
        self._held = _EMPTY  # input that may still be needed
        self._place = 0.0  # in it, of the next output sample
        self._is_anchored = False
        self.n_samples = 0
        self.error = 0.0

    def push(self, waveform: Waveform, time: float) -> Iterator[AudioChunk]:
        """Yield the sound that is settled once `waveform` has come.

        Parameters
        ----------
        waveform : float32, shape (T,)
            Follows the one before it without gap, as its clock counts.
        time : float
            Media time of its first sample, s; what is before 0 is left out.

        Yields
        ------
        chunk : AudioChunk
        """
        if not len(waveform):
            return
        due = time * self._sample_rate
        error = due - (self.n_samples + len(self._held) - self._place)
        if not self._is_anchored or abs(error) > MAX_ERROR * self._sample_rate:
            yield from self._break_off()
            yield from self._fill(round(due))
            self._place = self.n_samples - due
            self._is_anchored, error = True, 0.0
        stretch = float(np.clip(error / len(waveform), -MAX_STRETCH, MAX_STRETCH))
        self.error = (error - stretch * len(waveform)) / self._sample_rate
        if not len(self._held):  # what was before the first sample is taken to be silence
            self._held = np.zeros(TAPS // 2, np.float32)
            self._place += TAPS // 2
        self._held = np.concatenate([self._held, waveform])
        yield from self._resample(1 / (1 + stretch))

    def skip(self, time: float) -> Iterator[AudioChunk]:
        """Yield what is left, and missing sound until media time `time`."""
        yield from self._break_off()
        yield from self._fill(round(time * self._sample_rate))

    def flush(self) -> Iterator[AudioChunk]:
        """Yield what is left at the end of the sound."""
        yield from self._break_off()

    def _resample(self, pace: float) -> Iterator[AudioChunk]:
        last = len(self._held) - TAPS // 2 - 1  # place that has all its neighbours
        n = max(0, math.floor((last - self._place) / pace + ROUNDING) + 1)
        if n:
            places = self._place + pace * np.arange(n)
            middles = np.floor(places).astype(np.intp)
            rows = self._weights[np.rint((places - middles) * PHASES).astype(np.intp)]
            around = sliding_window_view(self._held, TAPS)[middles - (TAPS // 2 - 1)]
            yield self._chunk(np.clip(np.einsum("nt,nt->n", around, rows), -1, 1), False)
            self._place += pace * n
        n_over = min(max(0, math.floor(self._place) - (TAPS // 2 - 1)), len(self._held))
        self._held = self._held[n_over:]
        self._place -= n_over

    def _break_off(self) -> Iterator[AudioChunk]:
        if self._is_anchored:
            n_real = len(self._held)
            self._held = np.concatenate([self._held, np.zeros(TAPS // 2, np.float32)])
            if self._place < n_real:
                yield from self._resample(1.0)
        self._held, self._place, self._is_anchored = _EMPTY, 0.0, False

    def _fill(self, until: int) -> Iterator[AudioChunk]:
        while (n := min(until - self.n_samples, TICK_SAMPLES)) > 0:
            yield self._chunk(np.zeros(n, np.float32), True)

    def _chunk(self, waveform: Waveform, missing: bool) -> AudioChunk:
        chunk = AudioChunk(self.n_samples, waveform, missing)
        self.n_samples += len(waveform)
        return chunk
