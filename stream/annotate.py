"""The video of a file with what is played drawn onto it, and its own sound.

In: the file, and what was played in it. Out: an MP4 file (H.264) with the frames of the video at
their own times and size, upright; of an odd width or height one row or column of pixels is added.
Frames are drawn on as they come from the decoder, in YUV: nothing is converted that need not be.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from .decode import FrameReader
from .demux import PacketReader, SourceError, open_container
from .jsonl import output_error
from .media import SourceInfo
from .one_line import shown_path
from .overlay import Overlay
from .planes import Planes
from .played import Played
from .soundtrack import AnyPacket, Soundtrack
from .sources import FileSource, audio_stream, picture_length, video_stream
from .spool import MapSpool
from .whole_file import whole_file

UNIT = Fraction(1, 90_000)  # s, of the timestamps: fine enough for every rate in use
ENCODERS = {  # the first one that this build of FFmpeg has
    "libx264": {"preset": "veryfast", "crf": "23"},
    "libopenh264": {"allow_skip_frames": "0"},
    "mpeg4": {"qscale": "4"},
}
SOUND_AHEAD = 0.5  # s that the sound is written ahead of the picture
DEFAULT_RATE = Fraction(25)

OnFraction = Callable[[float], None]


def annotate(
    source: Path,
    out: Path,
    played: Played,
    spool: MapSpool | None = None,
    *,
    progress: OnFraction = lambda fraction: None,
    threads: int = 0,
) -> Path | None:
    """Draw what is played onto the video of a file.

    Between the start and the end of a part its heat, box, point and tag are drawn, moving evenly
    from step to step; at the bottom a strip shows all parts over the whole length, and the time.

    Parameters
    ----------
    source : Path
        The file that was listened to and looked at.
    out : Path
        An MP4 file; what was there before is replaced when the new one is complete.
    played : Played
    spool : MapSpool, optional
        The playing maps, for the heat.
    progress : callable
        Called with the fraction done, 0 ... 1.
    threads : int
        Of the decoder; 0: as many as there are cores.

    Returns
    -------
    out : Path or None
        None if the file has no video to draw on.

    Raises
    ------
    SourceError
        If the file cannot be read.
    OutputError
        If the video cannot be written; what was written of it is removed.
    """
    with FileSource(source) as opened:
        info, origin = opened.info, opened.origin
    if not info.has_video:
        return None
    try:
        with whole_file(out) as partial:
            # Damaged sound may not go into another file as it is; decoded and encoded anew, it
            # does.
            for may_copy in (True, False):
                overlay = Overlay(played, spool)
                try:
                    made = _Pass(source, info, origin, partial, overlay, threads, may_copy)
                    with made as drawing:
                        drawing.run(progress, max(played.duration, 1e-3))
                    break
                except av.FFmpegError as error:
                    if isinstance(error, OSError) or not may_copy:
                        raise
    except SourceError:
        raise
    except (OSError, av.FFmpegError) as error:
        raise output_error(out, error) from None
    progress(1.0)
    return out


class _Pass:
    """One pass over a video, from the first frame to the last."""

    def __init__(
        self,
        source: Path,
        info: SourceInfo,
        origin: float,
        partial: Path,
        overlay: Overlay,
        threads: int,
        may_copy: bool,
    ) -> None:
        self._origin = origin
        self._overlay = overlay
        with ExitStack() as stack:
            container = stack.enter_context(open_container(source))
            video, sound = video_stream(container), audio_stream(container)
            if sound is not None and not info.has_audio:
                sound = None
            streams = [stream for stream in (video, sound) if stream is not None]
            reader = PacketReader(source, container, streams)
            stack.callback(reader.close)
            self._frames = FrameReader[VideoFrame](reader, video, picture_length(video), threads)
            if self._frames.first is None:
                raise SourceError(f"{shown_path(source)}: the picture cannot be decoded any more.")
            self._planes = Planes(self._frames.first.frame, shown_path(source))
            self._output: OutputContainer = stack.enter_context(
                av.open(f"file:{partial}", "w", format="mp4", options={"movflags": "+faststart"})
            )
            self._encoder = _encoder(self._output, self._planes, info, video)
            self._sound: Iterator[tuple[float, AnyPacket]] = iter(())
            if sound is not None:
                self._sound = Soundtrack(
                    self._output, reader, sound, origin, may_copy=may_copy
                ).packets()
            self._held = next(self._sound, None)
            self._stack = stack.pop_all()

    def __enter__(self) -> "_Pass":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def run(self, progress: OnFraction, duration: float) -> None:
        last = -1
        for timed in self._frames.frames():
            time = timed.time - self._origin
            frame, canvas = self._planes.copy(timed.frame)
            self._overlay.draw(canvas, time)
            last = max(round(time / UNIT), last + 1)
            frame.pts, frame.time_base = last, UNIT
            frame.duration = max(1, round(timed.length / UNIT))
            self._write_sound(time + SOUND_AHEAD)
            self._output.mux(self._encoder.encode(frame))
            progress(min(max(time / duration, 0.0), 1.0))
        self._output.mux(self._encoder.encode(None))
        self._write_sound(float("inf"))

    def _write_sound(self, until: float) -> None:
        while self._held is not None and self._held[0] <= until:
            self._output.mux_one(self._held[1])
            self._held = next(self._sound, None)


def _encoder(
    output: OutputContainer, planes: Planes, info: SourceInfo, video: VideoStream | None
) -> VideoStream:
    name = next(name for name in ENCODERS if name in av.codecs_available)
    rate = Fraction(info.video_rate).limit_denominator(1001) or DEFAULT_RATE
    stream = output.add_stream(name, rate, options=ENCODERS[name])
    if not isinstance(stream, VideoStream):
        raise TypeError(f"{name} is no encoder of video")
    stream.width, stream.height = planes.width, planes.height
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base = UNIT
    aspect = video.sample_aspect_ratio if video is not None else None
    if aspect:
        context.sample_aspect_ratio = 1 / aspect if planes.is_swapped else aspect
    context.color_range = planes.color_range
    context.colorspace = planes.colorspace
    context.color_primaries = planes.color_primaries
    context.color_trc = planes.color_trc
    return stream
