"""Test media, made on the spot and read back: known pictures, sound and timestamps.

Tests take these through the fixtures `make_clip` (a file in the test's own folder), `read` (a file
through `FileSource`, with the checks that hold for every file) or `media` (this module). A picture
shows its number as bars, black and white, so that `number` can read it back after coding and
scaling; the sound is a tone unless another is given.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from playspot.stream.media import AudioChunk, End, GreyFrame, MediaItem, Picture
from playspot.stream.sources import FileSource
from playspot.stream.timeline import SAMPLE_RATE, STEP_SAMPLES, TICK_SAMPLES, n_steps

N_BARS = 10
TIME_BASE = Fraction(1, 60_000)  # where frames come at any times; MPEG-4 has 16 bits for it

PIXEL_FORMATS = {"mjpeg": "yuvj420p", "ffv1": "yuv444p", "gif": "rgb8"}

Image = NDArray[np.uint8]
Sound = NDArray[np.float64]


def bars(index: int, width: int, height: int) -> Image:
    """Return a picture that shows a number below 1024, RGB (H, W, 3)."""
    bits = (index >> np.arange(N_BARS)) & 1
    row = bits[np.arange(width) * N_BARS // width] * 219 + 16
    return np.broadcast_to(row[None, :, None], (height, width, 3)).astype(np.uint8)


def number(image: Image) -> int:
    """Return the number that a picture shows, RGB or grey."""
    grey = image if image.ndim == 2 else image.mean(axis=2)
    middles = (np.arange(N_BARS) * 2 + 1) * grey.shape[1] // (2 * N_BARS)
    bits = grey[grey.shape[0] // 2, middles] > 127
    return int((bits << np.arange(N_BARS)).sum())


def tone(times: Sound, hz: float = 440.0, level: float = 0.5) -> Sound:
    """Return a sine tone at given times."""
    return level * np.sin(2 * np.pi * hz * times)


def make_clip(
    path: Path,
    *,
    duration: float = 2.0,
    size: tuple[int, int] | None = (80, 60),
    video_rate: float = 25.0,
    video_codec: str = "mpeg4",
    pixel_format: str | None = None,
    video_options: dict[str, str] | None = None,
    times: Sequence[float] | None = None,
    image: Callable[[int, int, int], Image] = bars,
    rotation: int = 0,
    pixel_aspect: Fraction | None = None,
    sample_rate: int | None = 16_000,
    layout: str = "mono",
    audio_codec: str = "aac",
    sample_format: str | None = None,
    sound: Callable[[Sound], Sound] = tone,
    audio_start: float = 0.0,
    audio_duration: float | None = None,
    gaps: Iterable[tuple[float, float]] = (),
    start: float = 0.0,
    is_interleaved: bool = True,
    audio_first: bool = False,
    container_options: dict[str, str] | None = None,
    edit_packet: Callable[[Any], Any] | None = None,
) -> Path:
    """Write a media file and return its path.

    Parameters
    ----------
    path : Path
        Its ending chooses the container.
    duration : float
        Of the video, in seconds, and of the sound unless `audio_duration` says otherwise.
    size : (width, height) or None
        None: no video. Pictures come from `image(index, width, height)`.
    times : sequence of float, optional
        When each frame is shown, instead of every 1 / `video_rate`; in any order, if the codec
        keeps the order of the frames.
    rotation : int
        Degrees counter-clockwise that a player turns the picture.
    sample_rate : int or None
        None: no sound. Samples come from `sound(times)`, (T,) or (channels, T).
    gaps : pairs of float
        Times between which the sound leaves out its packets.
    start : float
        Added to all timestamps.
    is_interleaved : bool
        False: all packets of one stream, then all of the other.
    edit_packet : callable
        Packet -> packet or None (left out), just before it is written; `packet.stream.type` says
        which stream it is of.
    """
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        packets = []
        if size is not None:
            rate = Fraction(video_rate).limit_denominator(1001)
            stream: Any = container.add_stream(video_codec, rate)
            stream.width, stream.height = size
            stream.pix_fmt = pixel_format or PIXEL_FORMATS.get(video_codec, "yuv420p")
            stream.codec_context.time_base = 1 / rate if times is None else TIME_BASE
            stream.options = video_options or {}
            if pixel_aspect is not None:
                stream.codec_context.sample_aspect_ratio = pixel_aspect
            if rotation:
                stream.set_display_rotation(rotation)
            packets.append(_video_packets(stream, size, duration, video_rate, times, image, start))
        if sample_rate is not None:
            stream = container.add_stream(audio_codec, sample_rate, layout=layout)
            if sample_format:
                stream.format = sample_format
            length = duration if audio_duration is None else audio_duration
            packets.append(
                _audio_packets(stream, length, sound, layout, audio_start, list(gaps), start)
            )
        if audio_first:
            packets.reverse()
        everything = [packet for stream_packets in packets for packet in stream_packets]
        if is_interleaved:
            everything.sort(key=lambda packet: packet.dts * packet.time_base)
        for packet in everything:
            edited = edit_packet(packet) if edit_packet else packet
            if edited is not None:
                container.mux_one(edited)
    return path


def _video_packets(
    stream: Any,
    size: tuple[int, int],
    duration: float,
    video_rate: float,
    times: Sequence[float] | None,
    image: Callable[[int, int, int], Image],
    start: float,
) -> list[Any]:
    if times is None:
        times = [i / video_rate for i in range(max(1, round(duration * video_rate)))]
    is_in_order = all(one < two for one, two in itertools.pairwise(times))
    packets: list[Any] = []
    for index, time in enumerate(times):
        frame = av.VideoFrame.from_ndarray(image(index, *size), "rgb24")
        frame.pts = round((time + start) / TIME_BASE) if is_in_order else index
        frame.time_base = TIME_BASE
        packets += stream.encode(frame)
    packets += stream.encode()
    if not is_in_order:  # which no encoder takes: the packets get their times afterwards
        for index, packet in enumerate(packets):
            packet.pts = round((times[index] + start) / TIME_BASE)
            packet.dts = index - round(1 / TIME_BASE)  # writers want it in order, and before pts
    return packets


def _audio_packets(
    stream: Any,
    duration: float,
    sound: Callable[[Sound], Sound],
    layout: str,
    audio_start: float,
    gaps: list[tuple[float, float]],
    start: float,
) -> list[Any]:
    rate = stream.sample_rate
    samples = np.atleast_2d(sound(np.arange(round(duration * rate)) / rate))
    n_channels = av.AudioLayout(layout).nb_channels
    samples = np.broadcast_to(samples, (n_channels, samples.shape[1])).astype(np.float32)
    packets: list[Any] = []
    size = stream.codec_context.frame_size or 1024
    for first in range(0, samples.shape[1], size):
        # One channel after the other: PyAV counts the planes of eight and more wrongly.
        part = samples[:, first : first + size].T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(part, "flt", layout)
        frame.sample_rate = rate
        frame.pts = first
        frame.time_base = Fraction(1, rate)
        packets += stream.encode(frame)
    packets += stream.encode()
    kept = []
    for packet in packets:
        time = float(packet.pts * packet.time_base)
        if any(begin <= time < end for begin, end in gaps):
            continue
        shift = round((start + audio_start) / packet.time_base)
        packet.pts += shift
        packet.dts += shift
        kept.append(packet)
    return kept


@dataclass
class Reading:
    """All that a source gave, by kind."""

    source: FileSource
    items: list[MediaItem]

    def __post_init__(self) -> None:
        self.chunks = [item for item in self.items if isinstance(item, AudioChunk)]
        self.greys = {item.tick: item.image for item in self.items if isinstance(item, GreyFrame)}
        self.pictures = {item.step: item.image for item in self.items if isinstance(item, Picture)}
        end = self.items[-1]
        assert isinstance(end, End)
        self.end = end

    @property
    def numbers(self) -> dict[int, int]:
        """The number that the frame of each tick shows."""
        return {tick: number(image) for tick, image in self.greys.items()}

    @property
    def waveform(self) -> NDArray[np.float32]:
        return np.concatenate([chunk.waveform for chunk in self.chunks])

    @property
    def missing(self) -> list[tuple[float, float]]:
        """Seconds from and to which there was no sound."""
        flags = np.concatenate([np.full(len(c.waveform), c.missing) for c in self.chunks])
        edges = np.flatnonzero(np.diff(np.r_[False, flags, False]))
        return [(a / SAMPLE_RATE, b / SAMPLE_RATE) for a, b in edges.reshape(-1, 2)]


def place(item: MediaItem) -> int:
    """Return the sample of the time line at which an item is."""
    if isinstance(item, AudioChunk):
        return item.start
    if isinstance(item, GreyFrame):
        return item.tick * TICK_SAMPLES
    return item.step * STEP_SAMPLES if isinstance(item, Picture) else 2**63


def read(path: str | Path, **options: Any) -> Reading:
    """Read a whole file, and check what holds for every file."""
    with FileSource(path, **options) as source:
        items = list(source)
    reading = Reading(source, items)
    places = [place(item) for item in items]
    assert places == sorted(places)
    assert sum(isinstance(item, End) for item in items) == 1
    end = reading.end
    assert end.n_steps == n_steps(end.duration)
    assert max(reading.greys, default=-1) < 4 * end.n_steps
    assert [tick // 4 for tick in reading.greys if tick % 4 == 0] == list(reading.pictures)
    start = 0
    for chunk in reading.chunks:
        assert chunk.start == start
        assert 0 < len(chunk.waveform) <= TICK_SAMPLES
        assert chunk.waveform.dtype == np.float32
        assert np.abs(chunk.waveform).max() <= 1
        start += len(chunk.waveform)
    if source.info.has_audio:
        assert start == pytest.approx(end.duration * SAMPLE_RATE, abs=1)
    assert all(image.dtype == np.uint8 and image.ndim == 2 for image in reading.greys.values())
    assert all(image.shape[2] == 3 for image in reading.pictures.values())
    return reading
