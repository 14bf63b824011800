"""Packets of a live stream as they come -> its sessions: `Opened`, sound and pictures, `End`.

The items of a session are those that `FileSource` gives of the same media. What a file does not do
begins a new session: another picture size, or a picture that only turns up later. Where nothing was
received nothing is made up: sound that lags is filled as missing, pictures are left out.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from .clock import Timed
from .decode import FrameDecoder
from .failures import SourceFailure
from .live import Opened
from .media import AudioChunk, End, GreyFrame, MediaItem, Picture, SourceInfo
from .one_line import reason_of
from .resample import SoundPlacer
from .sampling import TickSampler
from .sources import picture_length, sound_length, video_rate
from .timeline import SAMPLE_RATE, TICK, TICK_SAMPLES, TICKS_PER_STEP, n_steps
from .upright import Upright, orientation

OPEN_WAIT = 2.0  # s for the second stream, once one is there
MAX_HOLD = 2.0  # s that a picture stands without a next one, as of a very slow camera
SOUND_LAG = 1.0  # s behind the pictures after which sound counts as missing
SILENT_LAG = 0.2  # s; the same once it does, until there is sound again
MAX_SOUND_LAG = 3.0  # s; a source whose sound is always late gets so much

SessionItem = Opened | MediaItem


class LiveSessions:
    """The sessions of one connection.

    Parameters
    ----------
    name, shown : str
        Of the source: in topics, and in messages.
    video : VideoStream or None
    audio : AudioStream or None
    picture_side, picture_multiple : int
        Size of the pictures.
    av_offset : float
        Seconds to add to the times of the sound.
    dropped : Counter
        Gets "behind": steps whose pictures were skipped.

    Attributes
    ----------
    origin : float
        Media time 0 of the session in the clock of the stream, s.
    n_frames : int
        Decoded so far, of sound and picture.
    preview_side : int
        Longer side (px) of the previews that grey frames bring; 0: none.
    """

    def __init__(
        self,
        name: str,
        shown: str,
        video: VideoStream | None,
        audio: AudioStream | None,
        *,
        picture_side: int,
        picture_multiple: int,
        av_offset: float,
        dropped: "Counter[str]",
    ) -> None:
        self._name, self._shown = name, shown
        self._video, self._audio = video, audio
        self._picture_size = (picture_side, picture_multiple)
        self._av_offset = av_offset
        self._pictures = FrameDecoder[VideoFrame](video, picture_length(video), 1)
        self._sound = FrameDecoder[AudioFrame](audio, sound_length, 1)
        self._early: list[Timed[VideoFrame] | Timed[AudioFrame]] = []
        self._began = math.inf
        self._is_open = self._is_skipping = False
        self._resume_at: Packet[Any] | None = None
        self._skipped_from: float | None = None  # time of the stream
        self._upright: Upright | None = None
        self._kind: tuple[Any, ...] = ()  # of the pictures; another one is another session
        self._placer, self._sampler = SoundPlacer(), TickSampler[VideoFrame]()
        self._lag = SOUND_LAG
        self._is_silent = False  # sound counts as missing at the moment
        self._shown_until = 0.0  # time of the newest picture of the session
        self._heard = (0, 0)  # sample rate and channels; a decoder may know better than a header
        self.origin = 0.0
        self._dropped = dropped
        self.n_frames = 0
        self.preview_side = 0

    @property
    def video_index(self) -> int | None:
        """Which stream the pictures are."""
        return self._video.index if self._video is not None else None

    def push(self, packet: "Packet[Any]", now: float) -> Iterator[SessionItem]:
        """Yield what is settled once a packet has come, `now` on the clock of the machine."""
        if packet.stream_index == self.video_index:
            if self._is_skipping:
                if packet is not self._resume_at and (self._resume_at or not packet.is_keyframe):
                    return
                self._is_skipping = False
            for picture in self._pictures.push(packet):
                yield from self._take(picture, now)
        elif self._audio is not None and packet.stream_index == self._audio.index:
            for sound in self._sound.push(packet):
                yield from self._take(sound, now)

    def skip(self, resume_at: "Packet[Any] | None") -> Iterator[SessionItem]:
        """Leave out pictures, because the reader is late.

        Parameters
        ----------
        resume_at : Packet or None
            Key frame to go on with; None: the next one.
        """
        if self._is_skipping:
            return
        self._is_skipping, self._resume_at = True, resume_at
        self._pictures.forget()
        if self._is_open and self._upright is not None:
            if self._skipped_from is None:
                self._skipped_from = self._sampler.end
            yield from self._images(self._sampler.interrupt())

    def look(self, now: float, *, is_drained: bool) -> Iterator[SessionItem]:
        """Yield the beginning of the first session, once it is known when and what it is.

        Parameters
        ----------
        now : float
        is_drained : bool
            Whether every packet that has come was pushed.
        """
        if self._is_open or not self._early:
            return
        kinds = {type(timed.frame) for timed in self._early}
        wanted = self._pictures.is_usable + self._sound.is_usable
        if now - self._began >= OPEN_WAIT or (len(kinds) >= wanted and is_drained):
            yield from self._open()

    def flush(self) -> Iterator[SessionItem]:
        """Yield all that is left, and the end."""
        for picture in self._pictures.push(None):
            yield from self._take(picture, math.inf)
        for sound in self._sound.push(None):
            yield from self._take(sound, math.inf)
        if not self._is_open and self._early:
            yield from self._open()
        if self._is_open:
            yield from self._end()

    def _take(
        self, timed: Timed[VideoFrame] | Timed[AudioFrame], now: float
    ) -> Iterator[SessionItem]:
        self.n_frames += 1
        if isinstance(timed.frame, AudioFrame):
            self._heard = timed.frame.sample_rate, timed.frame.layout.nb_channels
        if not self._is_open:
            self._began = min(self._began, now)
            self._early.append(timed)
        elif isinstance(timed.frame, VideoFrame):
            yield from self._place_picture(timed.time, timed.length, timed.frame)
        else:
            yield from self._place_sound(timed.time, timed.frame)

    def _open(self) -> Iterator[SessionItem]:
        frames, self._early = self._early, []
        self.origin = min(self._time(timed) for timed in frames)
        self._is_silent = not any(isinstance(timed.frame, AudioFrame) for timed in frames)
        first = next((t.frame for t in frames if isinstance(t.frame, VideoFrame)), None)
        yield self._begin(first)
        for timed in frames:
            yield from self._take(timed, 0.0)

    def _begin(self, first: VideoFrame | None) -> Opened:
        self._is_open, self._skipped_from, self._shown_until = True, None, 0.0
        self._placer, self._sampler = SoundPlacer(), TickSampler[VideoFrame]()
        self._upright = None
        if first is not None and self._video is not None:
            self._kind = self._kind_of(first)
            aspect = self._video.codec_context.sample_aspect_ratio
            self._upright = Upright(
                first, aspect or self._video.sample_aspect_ratio, *self._picture_size
            )
        upright, sound = self._upright, self._audio if self._sound.is_usable else None
        rate, channels = self._heard
        if sound is not None and not rate:
            rate, channels = sound.codec_context.sample_rate, sound.codec_context.channels
        info = SourceInfo(
            name=self._name,
            has_video=upright is not None,
            has_audio=sound is not None,
            width=upright.width if upright else 0,
            height=upright.height if upright else 0,
            video_rate=video_rate(self._video) if upright else 0.0,
            sample_rate=rate,
            channels=channels,
        )
        return Opened(info)

    def _kind_of(self, frame: VideoFrame) -> tuple[Any, ...]:
        aspect = self._video.codec_context.sample_aspect_ratio if self._video is not None else None
        return frame.width, frame.height, aspect or None, orientation(frame)

    def _time(self, timed: Timed[VideoFrame] | Timed[AudioFrame]) -> float:
        return timed.time + self._av_offset * isinstance(timed.frame, AudioFrame)

    def _place_picture(
        self, time: float, length: float, frame: VideoFrame
    ) -> Iterator[SessionItem]:
        if self._upright is None or self._kind_of(frame) != self._kind:
            heard = self.origin + self._placer.n_samples / SAMPLE_RATE
            yield from self._end()
            self.origin = max(time, heard)
            yield self._begin(frame)
        media_time = time - self.origin
        if media_time > self._sampler.end + MAX_HOLD:
            yield from self._images(self._sampler.interrupt())
        if self._skipped_from is not None:
            self._dropped["behind"] += max(0, n_steps(media_time) - n_steps(self._skipped_from))
            self._skipped_from = None
        yield from self._images(self._sampler.push(media_time, length, frame))
        self._shown_until = media_time
        if self._sound.is_usable:
            # Whole ticks, so that silence does not come in crumbs; and closely once there is none,
            # so that no step is too late for waiting for it.
            lag = SILENT_LAG if self._is_silent else self._lag
            yield from self._fill(math.floor((media_time - lag) / TICK) * TICK_SAMPLES)

    def _place_sound(self, time: float, frame: AudioFrame) -> Iterator[SessionItem]:
        media_time = time + self._av_offset - self.origin
        late = self._placer.n_samples / SAMPLE_RATE - media_time
        try:
            yield from self._placer.push(media_time, frame)
        except av.FFmpegError as error:
            raise SourceFailure(
                "unsupported",
                f"{self._shown}: sound of {frame.layout.name} cannot be mixed to one channel "
                f"({reason_of(error)}); let the source send stereo.",
            ) from None
        self._is_silent = False
        if late >= frame.samples / frame.sample_rate:  # it came after silence was put in its place
            self._lag = max(self._lag, min(self._shown_until - media_time, MAX_SOUND_LAG))

    def _fill(self, until: int) -> Iterator[AudioChunk]:
        if until > self._placer.n_samples:
            self._is_silent = True
            yield from self._placer.flush()
            yield from self._placer.fill(until)

    def _end(self) -> Iterator[SessionItem]:
        self._is_open = False
        yield from self._placer.flush()
        for tick in self._sampler.flush():
            if self._sound.is_usable:  # as in a file whose sound is over before the picture
                until = min(tick[0] * TICK_SAMPLES, math.ceil(self._sampler.end * SAMPLE_RATE))
                yield from self._placer.fill(until)
            if tick[0] // TICKS_PER_STEP < n_steps(self._reached):
                yield from self._images([tick])
        duration = self._reached
        if self._sound.is_usable:
            yield from self._placer.fill(math.ceil(duration * SAMPLE_RATE - 1e-6))
        yield End(duration, n_steps(duration))

    @property
    def _reached(self) -> float:
        return max(self._sampler.end, self._placer.n_samples / SAMPLE_RATE)

    def _images(self, ticks: "Iterable[tuple[int, VideoFrame]]") -> Iterator[GreyFrame | Picture]:
        if self._upright is None:
            return
        for tick, frame in ticks:
            try:
                preview = self._upright.preview(frame, self.preview_side)
                yield GreyFrame(tick, self._upright.grey(frame), preview)
                if tick % TICKS_PER_STEP == 0:
                    yield Picture(tick // TICKS_PER_STEP, self._upright.picture(frame))
            except OSError as error:
                raise SourceFailure(
                    "unsupported",
                    f"{self._shown}: pictures of format {frame.format.name} cannot be converted "
                    f"({reason_of(error)}); let the source send a common format such as yuv420p.",
                ) from None
