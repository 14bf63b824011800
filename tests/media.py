"""Test media, made on the spot: small files with known pictures, sound and timestamps.

Tests take these through the fixture `make_clip` (a file in the test's own folder) or `media` (this
module). A picture shows its number as bars, black and white, so that `number` can read it back
after coding and scaling; the sound is a tone unless another is given.
"""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

N_BARS = 10
TIME_BASE = Fraction(1, 60_000)  # where frames come at any times; MPEG-4 has 16 bits for it

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
        When each frame is shown, instead of every 1 / `video_rate`.
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
            if pixel_format or video_codec in ("mpeg4", "libx264"):
                stream.pix_fmt = pixel_format or "yuv420p"
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
    packets: list[Any] = []
    for index, time in enumerate(times):
        frame = av.VideoFrame.from_ndarray(image(index, *size), "rgb24")
        frame.pts = round((time + start) / TIME_BASE)
        frame.time_base = TIME_BASE
        packets += stream.encode(frame)
    packets += stream.encode()
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
        part = np.ascontiguousarray(samples[:, first : first + size])
        frame = av.AudioFrame.from_ndarray(part, "fltp", layout)
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
