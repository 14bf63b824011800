"""A source by its locator -> what it is made of: streams, first timestamps, rates, a picture.

It is opened as `playspot run` would open it and looked at for some seconds. Nothing is written but
the thumbnail that was asked for.
"""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import av
import typer
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from .config import SourceConfig
from .connect import connect, failure_of
from .demux import open_container
from .failures import SourceFailure
from .live import Opened
from .live_clock import LiveClock, is_recording
from .locator import NETWORK_SCHEMES, Locator, parse_locator
from .media import AudioChunk, Frame, GreyFrame, Picture, SourceInfo
from .open_source import open_source
from .sources import audio_stream, video_rate, video_stream
from .timeline import SAMPLE_RATE, step_time, tick_time
from .upright import Upright, orientation

MARGIN = 5.0  # s; beyond the seconds to be looked at, until there is a picture


@dataclass(frozen=True)
class StreamReport:
    """One stream of a source; what is not known is None.

    Attributes
    ----------
    kind : str
        "video" or "audio".
    codec : str
    rate : float or None
        Frames or samples per second.
    width, height : int or None
        Of the stored picture, px.
    pixel_aspect : str or None
        Width by height of a pixel, such as "1:1".
    is_turned : bool
        Whether rows and columns change places, or are flipped, to show the picture upright.
    channels : int or None
    first_time : float or None
        First timestamp, s in the clock of the source.
    bit_rate : float or None
        Bits per second over the time that was looked at.
    """

    kind: Literal["video", "audio"]
    codec: str
    rate: float | None = None
    width: int | None = None
    height: int | None = None
    pixel_aspect: str | None = None
    is_turned: bool = False
    channels: int | None = None
    first_time: float | None = None
    bit_rate: float | None = None


@dataclass(frozen=True)
class Probe:
    """What a source is made of.

    Attributes
    ----------
    source : str
        Without credentials.
    format : str
    is_live : bool
        Whether it has no end that is known.
    duration : float or None
        Seconds, of a recording.
    streams : tuple of StreamReport
    av_offset : float or None
        Seconds by which the first timestamp of the sound is later than that of the picture.
    seconds_to_picture : float or None
        From the beginning of connecting to the first decoded picture.
    clock : str
        Where times come from, see `ClockReport`.
    seconds : float
        That were looked at.
    thumbnail : Frame or None
        The first picture, upright, RGB (H, W, 3), longer side 256.
    """

    source: str
    format: str
    is_live: bool
    duration: float | None
    streams: tuple[StreamReport, ...]
    av_offset: float | None
    seconds_to_picture: float | None
    clock: str
    seconds: float
    thumbnail: Frame | None = field(default=None, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the thumbnail as plain values."""
        values = asdict(self)
        del values["thumbnail"]
        return values


def examine(
    text: str,
    *,
    seconds: float = 3.0,
    transport: Literal["tcp", "udp"] = "tcp",
    timeout: float = 5.0,
) -> Probe:
    """Return what a source is made of.

    Parameters
    ----------
    text : str
        Path, URL or device, as for `playspot run`.
    seconds : float
        How long to look at it.
    transport, timeout
        As of `SourceConfig`.

    Raises
    ------
    SourceError
        If it cannot be opened, or gives nothing; a `SourceFailure` says of what kind that is.

    Examples
    --------
    >>> examine("nowhere.mp4")
    Traceback (most recent call last):
    playspot.stream.demux.SourceError: nowhere.mp4: no such file; check the path.
    """
    locator = parse_locator(text)
    config = SourceConfig(url=text, transport=transport, timeout=timeout)
    began = time.monotonic()
    if locator.microphone is None and locator.scheme == "file":
        container = open_container(Path(locator.address))
    elif locator.microphone is None and locator.scheme in (*NETWORK_SCHEMES, "v4l2"):
        container = connect(locator, config)
    else:
        return _examine_items(locator, config, seconds, began)
    with container:
        try:
            return _examine_container(locator, container, seconds, began)
        except (av.FFmpegError, OSError) as error:
            raise failure_of(error, locator, timeout) from None


class _Seen:
    # What the packets of one stream say, and its first frame.

    def __init__(self, stream: VideoStream | AudioStream) -> None:
        self.stream = stream
        self.frame: VideoFrame | AudioFrame | None = None
        self.first: float | None = None  # of the packets; a decoder may leave some of them out
        self.last = 0.0
        self.n_bytes = 0

    def add(self, packet: "Packet[Any]") -> None:
        stamp = packet.pts if packet.pts is not None else packet.dts
        self.n_bytes += packet.size
        if stamp is not None:
            at = float(stamp * packet.time_base)
            self.first = at if self.first is None else min(self.first, at)
            self.last = max(self.last, at + float((packet.duration or 0) * packet.time_base))
        if self.frame is None and self.stream.codec_context is not None:
            try:
                frames = self.stream.codec_context.decode(packet if packet.size else None)
            except av.FFmpegError:  # before the first key frame
                frames = []
            self.frame = cast("VideoFrame | AudioFrame | None", next(iter(frames), None))

    @property
    def begins(self) -> float | None:
        if self.frame is None or self.frame.pts is None or self.stream.time_base is None:
            return self.first
        return float(self.frame.pts * self.stream.time_base)

    @property
    def span(self) -> float:
        return self.last - self.first if self.first is not None else 0.0

    def report(self) -> StreamReport:
        stream = self.stream
        # Without a decoder for it there is no context, whatever the annotation says.
        codec = stream.codec_context.name if stream.codec_context is not None else "unknown"
        bit_rate = 8 * self.n_bytes / self.span if self.span > 0 else None
        if isinstance(stream, AudioStream):
            sound = self.frame if isinstance(self.frame, AudioFrame) else None
            return StreamReport(
                "audio",
                codec,
                rate=sound.sample_rate if sound is not None else None,
                channels=sound.layout.nb_channels if sound is not None else None,
                first_time=self.begins,
                bit_rate=bit_rate,
            )
        picture = self.frame if isinstance(self.frame, VideoFrame) else None
        aspect = stream.sample_aspect_ratio
        return StreamReport(
            "video",
            codec,
            rate=video_rate(stream) or None,
            width=picture.width if picture is not None else None,
            height=picture.height if picture is not None else None,
            pixel_aspect=f"{aspect.numerator}:{aspect.denominator}" if aspect else None,
            is_turned=picture is not None and orientation(picture) != (False, ()),
            first_time=self.begins,
            bit_rate=bit_rate,
        )


def _examine_container(
    locator: Locator, container: InputContainer, seconds: float, began: float
) -> Probe:
    video, audio = video_stream(container), audio_stream(container)
    streams = [stream for stream in (video, audio) if stream is not None]
    if not streams:
        raise SourceFailure("damaged", f"{locator.shown}: has neither picture nor sound in it.")
    is_live = locator.scheme != "file" and not is_recording(container, locator.scheme)
    clock = LiveClock(locator.scheme, *(stream.index for stream in streams)) if is_live else None
    seen = {stream.index: _Seen(stream) for stream in streams}
    pictures = seen[video.index] if video is not None else None
    to_picture: float | None = None
    opened = time.monotonic()
    for packet in container.demux(*streams):
        now = time.monotonic()
        if packet.size and clock is not None:
            clock.take(packet, now)
        seen[packet.stream_index].add(packet)
        if to_picture is None and pictures is not None and pictures.frame is not None:
            to_picture = time.monotonic() - began
        is_enough = max(one.span for one in seen.values()) >= seconds
        is_late = is_live and now - opened >= seconds
        has_all = all(one.frame is not None for one in seen.values())
        if (is_enough or is_late) and (has_all or now - opened >= seconds + MARGIN):
            break
    thumbnail = None
    if video is not None and pictures is not None and isinstance(pictures.frame, VideoFrame):
        picture = pictures.frame
        thumbnail = Upright(picture, video.sample_aspect_ratio, 256, 1).picture(picture)
    begins = [seen[stream.index].begins for stream in streams]
    offset = None
    if len(begins) == 2 and begins[0] is not None and begins[1] is not None:
        offset = begins[1] - begins[0]
    return Probe(
        source=locator.shown,
        format=container.format.name,
        is_live=is_live,
        duration=container.duration / av.time_base if container.duration and not is_live else None,
        streams=tuple(one.report() for one in seen.values()),
        av_offset=offset,
        seconds_to_picture=to_picture,
        clock=clock.report().kind if clock is not None else "media",
        seconds=max(one.span for one in seen.values()),
        thumbnail=thumbnail,
    )


def _examine_items(locator: Locator, config: SourceConfig, seconds: float, began: float) -> Probe:
    source = open_source("probe", config)
    info: SourceInfo | None = None
    thumbnail: Frame | None = None
    to_picture = first_sound = first_picture = None
    reached = 0.0
    with closing(source):
        for item in source:
            now = time.monotonic()
            if isinstance(item, Opened):
                info = item.info
            elif isinstance(item, AudioChunk):
                reached = max(reached, (item.start + len(item.waveform)) / SAMPLE_RATE)
                if first_sound is None and not item.missing:
                    first_sound = item.start / SAMPLE_RATE
            elif isinstance(item, GreyFrame) and first_picture is None:
                to_picture, first_picture = now - began, tick_time(item.tick)
            elif isinstance(item, Picture):
                thumbnail = item.image if thumbnail is None else thumbnail
                reached = max(reached, step_time(item.step))
            if reached >= seconds or now - began >= seconds + MARGIN:
                break
        clock = source.clock()
    if info is None:
        raise SourceFailure("timeout", f"{locator.shown}: gave nothing for {seconds:g} s.")
    offset = None
    if first_sound is not None and first_picture is not None:
        offset = first_sound - first_picture
    return Probe(
        source=locator.shown,
        format=locator.scheme,
        is_live=info.duration is None,
        duration=info.duration,
        streams=tuple(_streams_of(info, first_picture, first_sound)),
        av_offset=offset,
        seconds_to_picture=to_picture,
        clock=clock.kind,
        seconds=reached,
        thumbnail=thumbnail,
    )


def _streams_of(
    info: SourceInfo, first_picture: float | None, first_sound: float | None
) -> Iterator[StreamReport]:
    if info.has_video:
        rate = info.video_rate or None
        yield StreamReport("video", "raw", rate, info.width, info.height, first_time=first_picture)
    if info.has_audio:
        yield StreamReport(
            "audio",
            "raw",
            rate=info.sample_rate,
            channels=info.channels,
            first_time=first_sound,
        )


def probe(
    source: Annotated[str, typer.Argument(help="File, URL or device, as for `playspot run`.")],
    seconds: Annotated[float, typer.Option(min=0.1, max=60, help="How long to look at it.")] = 3.0,
    transport: Annotated[str, typer.Option(help="Of RTSP: tcp or udp.")] = "tcp",
    timeout: Annotated[
        float, typer.Option(min=0.1, max=60, help="Seconds without data before giving up.")
    ] = 5.0,
    thumbnail: Annotated[
        Path | None, typer.Option(help="Write the first picture into this PNG file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Look at a source: its streams, rates, first timestamps and a picture.

    Example: playspot probe rtsp://camera/stream1 --thumbnail camera.png
    """
    from .probe_report import print_probe, write_thumbnail

    if transport not in ("tcp", "udp"):
        raise typer.BadParameter(f"transport {transport!r} is not one of tcp, udp")
    chosen: Literal["tcp", "udp"] = "udp" if transport == "udp" else "tcp"
    found = examine(source, seconds=seconds, transport=chosen, timeout=timeout)
    if thumbnail is not None:
        write_thumbnail(found, thumbnail)
    print_probe(found, as_json=as_json)
