"""A media file -> sound, grey frames and pictures on the time line, in the order of media time.

In: a path. Out: `AudioChunk`s, a `GreyFrame` a tick, a `Picture` a step, and an `End`. One
container and one demuxer serve sound and picture, so that the two cannot drift apart. Media time 0
is the first moment of the source: the earlier of its first frame and its first sample.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from .clock import MAX_LEAP
from .decode import FrameReader
from .demux import PacketReader, SourceError, open_container
from .media import AudioChunk, End, GreyFrame, MediaItem, Picture, SourceInfo
from .one_line import reason_of, shown_path
from .resample import SoundPlacer
from .sampling import TOLERANCE, TickSampler
from .timeline import SAMPLE_RATE, TICK_SAMPLES, TICKS_PER_STEP, n_steps
from .upright import Upright

__all__ = ["FileSource", "SourceError"]

DEFAULT_RATE = 25.0  # frames per second, where a file says nothing usable
MAX_RATE = 1000.0  # frames per second
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 1000, 768_000  # Hz; others are damage
MAX_NOMINAL_LENGTH = 1.0  # s; of a frame whose own length is not stated
RUN_IN = 0.5  # s read before a part, in which decoders of sound settle


class FileSource:
    """The sound and the pictures of a media file.

    Parameters
    ----------
    path : str or Path
    name : str, optional
        In topics and tables; the file's name without its ending if not given.
    picture_side, picture_multiple : int
        Size of the pictures, as the object model's header asks for.
    threads : int
        Of the video decoder. One costs the least CPU in all; more (or 0: as many as there are
        cores) shorten the wall time of a single file.
    start, end : float
        Which part of the file, s; what lies before is passed over without decoding, as far as the
        file allows. The part begins at media time 0, and is as if it had been cut out.

    Attributes
    ----------
    info : SourceInfo
    origin : float
        Media time 0 in the clock of the file, s.
    notes : list of str
        What the user should know of the file, complete after the last item.
    preview_side : int
        Longer side (px) of the previews that grey frames bring; 0: none.

    Raises
    ------
    SourceError
        If the file cannot be read, has neither sound nor picture, or nothing of it can be decoded;
        or if the part is empty or lies beyond the end.

    Examples
    --------
    >>> with FileSource("concert.mp4") as source:  # doctest: +SKIP
    ...     for item in source:
    ...         print(type(item).__name__)
    """

    _fatal: tuple[type[Exception], ...] = ()  # errors that are no damage but the end
    _sound_delay = 0.0  # s, added to the times of the sound

    def __init__(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        picture_side: int = 256,
        picture_multiple: int = 1,
        threads: int = 1,
        start: float = 0.0,
        end: float | None = None,
    ) -> None:
        self._path = Path(path)
        self._shown = shown_path(self._path)
        self.notes: list[str] = []
        self.preview_side = 0
        self._is_used = False
        self._length = math.inf if end is None else end - start  # s of media time
        if not (0 <= start < math.inf and self._length > 0):
            raise SourceError(
                f"{self._shown}: a part from {start:g} s to {end} s is empty; "
                "give a start of at least 0 and an end after it."
            )
        self._container = self._open()
        try:
            video, audio = self._read_from(self._container, self._open, threads)
            if start:
                video, audio = self._read_part(start, threads)
            self._upright: Upright | None = None
            if video is not None and self._pictures.first is not None:
                frame, aspect = self._pictures.first.frame, video.sample_aspect_ratio
                self._upright = Upright(frame, aspect, picture_side, picture_multiple)
            elif video is not None:
                self.notes.append(f"the picture ({_codec(video)}) cannot be decoded")
            if audio is not None and self._sound.first is None:
                self.notes.append(f"the sound ({_codec(audio)}) cannot be decoded, or is empty")
            self.info = self._describe(name or self._path.stem, video)
        except BaseException:
            self.close()
            raise

    def _open(self) -> InputContainer:
        return open_container(self._path)

    def _read_from(
        self, container: InputContainer, reopen: Callable[[], InputContainer], threads: int
    ) -> tuple[VideoStream | None, AudioStream | None]:
        # Decode the first frames; media time 0 is where they are.
        video, audio = video_stream(container), audio_stream(container)
        streams = [stream for stream in (video, audio) if stream is not None]
        if not streams:
            raise SourceError(f"{self._shown}: has neither picture nor sound in it.")
        self._reader = PacketReader(
            self._path, container, streams, reopen=reopen, fatal=self._fatal
        )
        self._sound = FrameReader[AudioFrame](self._reader, audio, sound_length, 1)
        self._pictures = FrameReader[VideoFrame](
            self._reader, video, picture_length(video), threads
        )
        firsts = [f.time for f in (self._pictures.first, self._sound.first) if f is not None]
        if not firsts:
            raise SourceError(
                f"{self._shown}: nothing in it can be decoded; it is damaged or encrypted."
            )
        self.origin = min(firsts)
        return video, audio

    def _read_part(
        self, start: float, threads: int
    ) -> tuple[VideoStream | None, AudioStream | None]:
        # Read the file anew from the key frame before `start`; what still lies before it has
        # negative media times, and is left out where sound and pictures are placed.
        origin = self.origin + start

        def reopen() -> InputContainer:
            container = self._open()
            try:
                container.seek(int((origin - RUN_IN) * av.time_base))
            except (av.FFmpegError, OSError):  # no index, no order: read it all
                container.close()
                container = self._open()
            return container

        for part in (self._sound, self._pictures, self._reader, self._container):
            part.close()
        self._container = reopen()
        try:
            video, audio = self._read_from(self._container, reopen, threads)
        except SourceError:
            raise SourceError(f"{self._shown}: nothing in it from {start:g} s on.") from None
        self.origin = origin
        return video, audio

    def _describe(self, name: str, video: VideoStream | None) -> SourceInfo:
        upright, sound = self._upright, self._sound.first
        duration = self._container.duration
        return SourceInfo(
            name=name,
            has_video=upright is not None,
            has_audio=sound is not None,
            width=upright.width if upright else 0,
            height=upright.height if upright else 0,
            video_rate=video_rate(video) if upright else 0.0,
            # The first frame knows better than the header (HE-AAC doubles the rate).
            sample_rate=sound.frame.sample_rate if sound else 0,
            channels=sound.frame.layout.nb_channels if sound else 0,
            duration=duration / av.time_base if duration and duration > 0 else None,
        )

    @property
    def n_corrupt(self) -> int:
        """Packets, and spots of the file, left out so far because they cannot be decoded."""
        return self._sound.n_corrupt + self._pictures.n_corrupt + self._reader.n_bad_reads

    @property
    def n_dropped(self) -> int:
        """Frames left out so far because they came out of order."""
        return self._sound.n_dropped + self._pictures.n_dropped

    def __enter__(self) -> "FileSource":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; more calls do nothing."""
        self._is_used = True
        for part in ("_sound", "_pictures", "_reader", "_container"):
            if hasattr(self, part):  # the constructor may not have come so far
                getattr(self, part).close()

    def __iter__(self) -> Iterator[MediaItem]:
        """Yield the items in the order of media time; at the end the file is closed.

        Raises
        ------
        SourceError
            If the source was read or closed before, or its pictures cannot be converted.
        """
        if self._is_used:
            raise SourceError(f"{self._shown}: was read or closed already; open it again.")
        self._is_used = True
        try:
            yield from self._items()
        finally:
            self.close()

    def _items(self) -> Iterator[MediaItem]:
        placer, sampler = SoundPlacer(), TickSampler[VideoFrame]()
        chunks, ticks = self._chunks(placer), self._ticks(sampler)
        chunk, tick = next(chunks, None), next(ticks, None)
        while chunk is not None or tick is not None:
            if tick is None or (chunk is not None and chunk.start <= tick[0] * TICK_SAMPLES):
                if chunk is not None:
                    yield chunk
                chunk = next(chunks, None)
                continue
            place, frame = tick
            if chunk is None and self.info.has_audio:
                # The sound is over and the video is not.
                over = min(sampler.end, self._length)
                until = min(place * TICK_SAMPLES, math.ceil(over * SAMPLE_RATE))
                yield from placer.fill(until)
            # The frames just after the end of the video serve a step only if sound makes it exist.
            if place // TICKS_PER_STEP < n_steps(self._duration(placer, sampler)):
                yield from self._images(place, frame)
            tick = next(ticks, None)
        duration = self._duration(placer, sampler)
        if self.info.has_audio:
            yield from placer.fill(math.ceil(duration * SAMPLE_RATE - 1e-6))
        self._note()
        yield End(duration, n_steps(duration))

    def _duration(self, placer: SoundPlacer, sampler: TickSampler[VideoFrame]) -> float:
        return min(self._length, max(sampler.end, placer.n_samples / SAMPLE_RATE))

    def _images(self, tick: int, frame: VideoFrame) -> Iterator[MediaItem]:
        if self._upright is None:
            return
        try:
            preview = self._upright.preview(frame, self.preview_side)
            yield GreyFrame(tick, self._upright.grey(frame), preview)
            if tick % TICKS_PER_STEP == 0:
                yield Picture(tick // TICKS_PER_STEP, self._upright.picture(frame))
        except OSError as error:
            kind = frame.format.name
            raise SourceError(
                f"{self._shown}: pictures of format {kind} cannot be converted "
                f"({reason_of(error)}); convert the file to a common format such as yuv420p."
            ) from None

    def _chunks(self, placer: SoundPlacer) -> Iterator[AudioChunk]:
        for chunk in self._placed(placer):
            room = self._length * SAMPLE_RATE - chunk.start
            if len(chunk.waveform) <= room:
                yield chunk
            elif room > 0:
                yield replace(chunk, waveform=chunk.waveform[: math.ceil(room - 1e-6)])

    def _placed(self, placer: SoundPlacer) -> Iterator[AudioChunk]:
        for timed in self._sound.frames():
            time = timed.time - self.origin + self._sound_delay
            if time >= self._length:
                break
            try:
                yield from placer.push(time, timed.frame)
            except av.FFmpegError as error:
                raise SourceError(
                    f"{self._shown}: sound of {timed.frame.layout.name} cannot be mixed to one "
                    f"channel ({reason_of(error)}); convert it to stereo."
                ) from None
        yield from placer.flush()

    def _ticks(self, sampler: TickSampler[VideoFrame]) -> Iterator[tuple[int, VideoFrame]]:
        for timed in self._pictures.frames():
            time = timed.time - self.origin
            if time >= self._length - TOLERANCE:
                break
            yield from sampler.push(time, timed.length, timed.frame)
        yield from sampler.flush()

    def _note(self) -> None:
        if self.n_corrupt:
            self.notes.append(
                f"left out what could not be decoded: {_count(self.n_corrupt, 'packet')}"
            )
        if self.n_dropped:
            self.notes.append(f"left out what came out of order: {_count(self.n_dropped, 'frame')}")
        if self._reader.is_read_twice:
            self.notes.append(
                "sound and picture lie far apart, or one ends early: the file was read twice"
            )
        for time in self._reader.joints:
            self.notes.append(
                f"timestamps leapt at {time - self.origin:.1f} s: taken as joined there"
            )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def video_stream(container: InputContainer) -> VideoStream | None:
    """Return the video of a file; a cover picture is none."""
    best = container.streams.best("video")
    streams = [best, *container.streams.video] if best is not None else []
    for stream in streams:
        if isinstance(stream, VideoStream) and not stream.disposition & Disposition.attached_pic:
            return stream
    return None


def audio_stream(container: InputContainer) -> AudioStream | None:
    """Return the sound of a file, if it has any."""
    best = container.streams.best("audio")
    return best if isinstance(best, AudioStream) else None


def _codec(stream: VideoStream | AudioStream) -> str:
    # Without a decoder for it there is no context, whatever the annotation says.
    return stream.codec_context.name if stream.codec_context is not None else "unknown codec"


def video_rate(stream: VideoStream | None) -> float:
    """Return the nominal frames per second of a video; 0 where nothing usable is said."""
    if stream is None:
        return 0.0
    rates = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    return next((float(rate) for rate in rates if rate and rate <= MAX_RATE), 0.0)


def picture_length(stream: VideoStream | None) -> Callable[[VideoFrame], float]:
    """Return what says how long a frame of a video lasts, in seconds."""
    nominal = min(1 / (video_rate(stream) or DEFAULT_RATE), MAX_NOMINAL_LENGTH)
    unit = float(stream.time_base or 0) if stream is not None else 0.0
    return lambda frame: min(max(nominal, (frame.duration or 0) * unit), MAX_LEAP)


def sound_length(frame: AudioFrame) -> float:
    """Return how long a frame of sound lasts, in seconds; 0 if that cannot be."""
    is_sane = MIN_SAMPLE_RATE <= frame.sample_rate <= MAX_SAMPLE_RATE
    return frame.samples / frame.sample_rate if is_sane else 0.0
