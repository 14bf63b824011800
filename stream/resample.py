"""Decoded sound of any kind -> mono at 16 kHz, without gap, from media time 0.

In: PyAV audio frames with their media times. Out: `AudioChunk`s that follow each other, cut on the
tick grid; where the source had no sound, zeros flagged as missing.
"""

from collections.abc import Iterator
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.filter import Graph

from .media import AudioChunk, Waveform
from .timeline import SAMPLE_RATE, TICK_SAMPLES

MAX_JITTER = 0.020  # s; timestamps may be off by this much before they are believed

_EMPTY = np.zeros(0, np.float32)


class MonoResampler:
    """Frames of any rate, layout and format -> one waveform, mono at 16 kHz.

    The mix of the channels is FFmpeg's, scaled so that it cannot clip: stereo is the mean of both
    channels; of 5.1 the centre counts most, the effects channel not at all; where FFmpeg knows no
    mix, it is the mean of all. Samples that are no numbers become zero. A change of rate, layout or
    format on the way is allowed.
    """

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._kind: tuple[str, str, int] | None = None
        self._is_averaged = False  # FFmpeg knows no mix for these channels

    def push(self, frame: AudioFrame) -> Waveform:
        """Return the sound that is ready once `frame` has come.

        Parameters
        ----------
        frame : AudioFrame
            Its `pts` is cleared.

        Returns
        -------
        waveform : float32, shape (T,)
            In [-1, 1]; some milliseconds stay behind in the filter until `flush`.
        """
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        rest = _EMPTY
        if kind != self._kind:
            rest = self.flush()
            self._kind, self._is_averaged = kind, False
        frame.pts = None
        try:
            frames = self._resample(frame)
        except av.FFmpegError:
            if self._is_averaged:
                raise
            self._graph, self._is_averaged = None, True
            frames = self._resample(frame)
        return np.concatenate([rest, _waveform(frames)])

    def flush(self) -> Waveform:
        """Return the sound still in the filter, and start afresh."""
        if self._graph is None:
            return _EMPTY
        rest = _through(self._graph, None)
        self._graph = self._kind = None
        return _waveform(rest)

    def _resample(self, frame: AudioFrame) -> list[AudioFrame]:
        if self._graph is None:
            self._graph = _mono_graph(frame, self._is_averaged)
        return _through(self._graph, frame)


def _mono_graph(frame: AudioFrame, is_averaged: bool) -> Graph:
    # As av.AudioResampler, but that starts a thread for each core.
    graph = Graph()
    graph.threads = 1
    rate, layout = frame.sample_rate, frame.layout
    nodes = [graph.add_abuffer(sample_rate=rate, format=frame.format, layout=layout.name)]
    if is_averaged:
        n = layout.nb_channels
        nodes.append(graph.add("pan", "mono|c0=" + "+".join(f"{1 / n}*c{k}" for k in range(n))))
    # Without the limit the mix to floats adds up channels beyond 1.
    nodes.append(graph.add("aresample", rematrix_maxval="1"))
    goal = {"sample_rates": str(SAMPLE_RATE), "sample_fmts": "flt", "channel_layouts": "mono"}
    graph.link_nodes(*nodes, graph.add("aformat", **goal), graph.add("abuffersink"))
    graph.configure()
    return graph


def _through(graph: Graph, frame: AudioFrame | None) -> list[AudioFrame]:
    graph.push(frame)
    frames = []
    while True:
        try:
            frames.append(cast(AudioFrame, graph.pull()))
        except (av.error.BlockingIOError, av.error.EOFError):  # it wants more, or there is no more
            return frames


def _waveform(frames: list[AudioFrame]) -> Waveform:
    if not frames:
        return _EMPTY
    waveform: Waveform = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    return np.clip(np.nan_to_num(waveform, posinf=0, neginf=0), -1, 1)


class SoundPlacer:
    """Sound put where its timestamps say, as chunks from sample 0 without gap.

    Samples are counted; timestamps only overrule the count when they differ from it by more than
    20 ms: what is missing is filled with zeros, what is there twice is left out the second time.
    """

    def __init__(self) -> None:
        self._resampler = MonoResampler()
        self._cutter = _Cutter()
        self._due: float | None = None  # media time at which the next frame should start
        self._n_double = 0  # samples to come that are there already

    @property
    def n_samples(self) -> int:
        """Samples on the time line so far, at 16 kHz."""
        return self._cutter.n_samples

    def push(self, time: float, frame: AudioFrame) -> Iterator[AudioChunk]:
        """Yield the chunks that are complete once `frame` has come.

        Parameters
        ----------
        time : float
            Media time of the frame's first sample, s.
        frame : AudioFrame

        Yields
        ------
        chunk : AudioChunk
            At most 2048 samples.
        """
        if self._due is None or abs(time - self._due) > MAX_JITTER:
            yield from self._add(self._resampler.flush())
            start = round(time * SAMPLE_RATE)
            yield from self._cutter.add_missing(start)
            self._n_double = self.n_samples - start
            self._due = time
        self._due += frame.samples / frame.sample_rate
        yield from self._add(self._resampler.push(frame))

    def flush(self) -> Iterator[AudioChunk]:
        """Yield what is left at the end of the sound."""
        yield from self._add(self._resampler.flush())
        yield from self._cutter.flush()

    def fill(self, until: int) -> Iterator[AudioChunk]:
        """Yield missing chunks up to a sample, after `flush`; sound from before it is left out."""
        self._due = None
        yield from self._cutter.add_missing(until)
        yield from self._cutter.flush()

    def _add(self, waveform: Waveform) -> Iterator[AudioChunk]:
        n_cut = min(self._n_double, len(waveform))
        self._n_double -= n_cut
        yield from self._cutter.add(waveform[n_cut:])


class _Cutter:
    # Waveforms of any length -> chunks that end on the tick grid, or where the flag changes.

    def __init__(self) -> None:
        self._start = 0
        self._parts: list[Waveform] = []
        self._is_missing = False
        self.n_samples = 0

    def add(self, waveform: Waveform) -> Iterator[AudioChunk]:
        if len(waveform):
            yield from self._add(waveform, False)

    def add_missing(self, until: int) -> Iterator[AudioChunk]:
        while (n_missing := min(until - self.n_samples, TICK_SAMPLES)) > 0:
            yield from self._add(np.zeros(n_missing, np.float32), True)

    def flush(self) -> Iterator[AudioChunk]:
        if self._parts:
            waveform = np.concatenate(self._parts)
            yield AudioChunk(self._start, waveform, self._is_missing)
            self._start += len(waveform)
            self._parts = []

    def _add(self, waveform: Waveform, is_missing: bool) -> Iterator[AudioChunk]:
        if is_missing != self._is_missing:
            yield from self.flush()
            self._is_missing = is_missing
        while len(waveform):
            room = TICK_SAMPLES - self.n_samples % TICK_SAMPLES
            self._parts.append(waveform[:room])
            self.n_samples += len(waveform[:room])
            waveform = waveform[room:]
            if self.n_samples % TICK_SAMPLES == 0:
                yield from self.flush()
