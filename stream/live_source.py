"""A network stream or camera -> its sessions, as they happen, until it breaks.

In: a locator of rtsp, http(s), rtmp, udp or v4l2. Out: a `LiveSource`. A thread reads packets with
deadlines; whoever iterates decodes and places them. What a server sends in bursts (HLS, HTTP) is
held back to real time, a recording too.
"""

import errno
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import av
from av.container import InputContainer
from av.packet import Packet

from .background import Background
from .config import SourceConfig
from .connect import connect, failure_of
from .demux import PACKET_OVERHEAD
from .failures import SourceFailure
from .live import IDLE, ClockReport, LiveItem, Opened
from .live_clock import LiveClock, is_recording
from .live_session import LiveSessions
from .locator import Locator
from .media import AudioChunk, GreyFrame, MediaItem, Picture, SourceInfo
from .pacer import Pacer, due_time
from .remote_file import read_remote
from .sources import audio_stream, video_stream

QUEUE_BYTES = 32 * 2**20  # of packets, or items of a recording, that wait to be taken
MAX_BEHIND = 1.0  # s; pictures that wait longer for the decoder are skipped to a key frame
LEAD = 1.0  # s that a source which is held back is decoded ahead
GRACE = 0.5  # s after its own deadline that the reading thread is given up
NO_PICTURE = 10.0  # s of packets of which nothing can be decoded


@dataclass(frozen=True)
class _Recording:
    info: SourceInfo


_Read: TypeAlias = "InputContainer | Packet[Any] | _Recording | MediaItem"


class NetworkSource:
    """A stream or camera, as a `LiveSource`.

    Parameters
    ----------
    locator : Locator
    config : SourceConfig
        Of which `transport`, `timeout`, `loop` and `av_offset` matter.
    name : str
        Of the source.
    picture_side, picture_multiple : int
        Size of the pictures, as the object model's header asks for.

    Attributes
    ----------
    dropped : Counter
        "behind": steps whose pictures were skipped because decoding was late.
    preview_side : int
        See `Previewing`. A recording is decoded ahead, so that its previews begin later.

    Examples
    --------
    >>> from .locator import parse_locator
    >>> config = SourceConfig(url="rtsp://10.0.0.7/stream1")
    >>> source = NetworkSource(parse_locator(config.url), config, name="stage")
    >>> for item in source:  # doctest: +SKIP
    ...     print(type(item).__name__)
    """

    def __init__(
        self,
        locator: Locator,
        config: SourceConfig,
        *,
        name: str,
        picture_side: int = 256,
        picture_multiple: int = 1,
    ) -> None:
        self._locator, self._config, self._name = locator, config, name
        self._picture_side, self._picture_multiple = picture_side, picture_multiple
        self._read: Background[_Read] | None = None
        self._container: InputContainer | None = None
        self._is_closed = False
        self._clock: LiveClock | None = None
        self._recorded: SourceInfo | None = None
        self._pacer: Pacer | None = None
        self._origin = 0.0  # of the session of the last item, in the clock of the stream
        self._last_origin = 0.0  # of the last session; the pacer may hold its items back
        self.dropped: Counter[str] = Counter()
        self.preview_side = 0

    def __iter__(self) -> Iterator[LiveItem]:
        """Yield `Opened`, items and `End` of one session after the other, as they happen.

        Raises
        ------
        SourceFailure
            When it cannot be opened, breaks, or is over. A recording just stops.
        """
        yielded = time.monotonic()
        try:
            for item in self._connections():
                now = time.monotonic()
                if item is not None or now - yielded >= IDLE:
                    yielded = now
                    yield item
                if self._is_closed:
                    return
        finally:
            self.close()

    def captured(self, time_: float) -> float:
        """Return when (`time.monotonic()`) media time `time_` of the session was captured.

        Of a source that comes in bursts, when it was let go: its age begins there.
        """
        at = self._origin + time_
        if self._pacer is not None:
            return at + (self._pacer.anchor or 0.0)
        captured = self._clock.captured(at) if self._clock is not None else None
        return captured if captured is not None else time.monotonic()

    def clock(self) -> ClockReport:
        """Return how well sound and picture of the session are aligned."""
        if self._clock is not None:
            return self._clock.report()
        info = self._recorded
        has_both = info is not None and info.has_audio and info.has_video
        return ClockReport("media", *((0.0, 0.0) if has_both else (None, None)))

    def close(self) -> None:
        """Let go of the connection; more calls do nothing.

        A thread that still waits for the network ends by its own deadline, or with the process.
        """
        self._is_closed = True
        self._disconnect()

    def _connections(self) -> Iterator[LiveItem]:
        """Yield the items, and None whenever there is none: more often than need be."""
        while True:
            self._read = read = Background(self._produce(), _size, QUEUE_BYTES)
            self._clock = self._pacer = self._recorded = None
            while (taken := read.take(IDLE)) is None:
                # FFmpeg has the time once to connect and once to look into the streams.
                self._check(read, 2 * self._config.timeout + GRACE)
                yield None
            if isinstance(taken[0], _Recording):
                yield from self._recording(read, taken[0].info)
            else:
                self._container = cast(InputContainer, taken[0])
                yield from self._live(read, self._container)
            if not self._config.loop:
                return
            self._disconnect()

    def _disconnect(self) -> None:
        # While the thread may still read, nobody may close what it reads from.
        if self._read is not None and self._read.stop(wait=GRACE) and self._container is not None:
            self._container.close()
            self._container = None

    def _produce(self) -> "Iterator[_Read]":
        # Runs in the thread. The container stays open for the decoders that hang on its streams.
        container = connect(self._locator, self._config)
        if is_recording(container, self._locator.scheme):
            for item in read_remote(
                container,
                self._locator,
                self._config,
                name=self._name,
                picture_side=self._picture_side,
                picture_multiple=self._picture_multiple,
                preview_side=lambda: self.preview_side,
            ):
                yield _Recording(item) if isinstance(item, SourceInfo) else item
            return
        yield container
        try:
            streams = [s for s in (video_stream(container), audio_stream(container)) if s]
            began = time.monotonic()
            for packet in container.demux(*streams):
                # At its deadline FFmpeg first gives what is left, and would wait once more.
                if time.monotonic() - began >= self._config.timeout:
                    raise TimeoutError
                if packet.size:
                    yield packet
                began = time.monotonic()
        except (av.FFmpegError, OSError, IndexError) as error:
            # What has no length and is over, is broken to FFmpeg's HTTP.
            if self._is_web and getattr(error, "errno", None) == errno.EIO:
                return
            raise failure_of(error, self._locator, self._config.timeout) from None

    @property
    def _is_web(self) -> bool:
        return self._locator.scheme in ("http", "https")

    def _check(self, read: "Background[_Read]", limit: float) -> None:
        if time.monotonic() - read.last > limit and not read.is_over:
            raise failure_of(TimeoutError(), self._locator, self._config.timeout)

    # A recording: its items come from the thread, far ahead of their time.

    def _recording(self, read: "Background[_Read]", info: SourceInfo) -> Iterator[LiveItem]:
        self._recorded, self._pacer = info, Pacer()
        failure: SourceFailure | None = None
        self._pacer.push(Opened(info), 0.0, time.monotonic())
        while True:
            yield from self._due()
            is_over = failure is not None or read.is_over
            if is_over and self._pacer.wait(0.0) is None:
                break
            try:
                taken = self._take(read, is_over)
            except SourceFailure as error:  # what has come until then is still shown
                failure, taken = error, None
            if taken is not None:
                item = cast(MediaItem, taken[0])
                self._pacer.stall(due_time(item), taken[1])
                self._pacer.push(item, 0.0, taken[1])
        if failure is not None:
            raise failure

    # A live stream.

    def _live(self, read: "Background[_Read]", container: InputContainer) -> Iterator[LiveItem]:
        sessions = self._sessions(container)
        if self._is_web:
            self._pacer = Pacer()
        n_frames, decoded = 0, time.monotonic()
        failure: SourceFailure | None = None
        while failure is None:
            sessions.preview_side = self.preview_side
            items: list[Opened | MediaItem] = []
            try:
                taken = self._take(read, is_over=False)
            except SourceFailure as error:  # what was held back until then is still shown
                failure, taken = error, None
            if taken is not None:
                items += self._placed(sessions, cast("Packet[Any]", taken[0]), taken[1])
            if failure is None and taken is None and read.is_over:
                items += sessions.flush()
                failure = SourceFailure("ended", f"{self._locator.shown}: the stream is over.")
            items += sessions.look(time.monotonic(), is_drained=not read.waiting())
            yield from self._out(items, sessions)
            if sessions.n_frames != n_frames:
                n_frames, decoded = sessions.n_frames, time.monotonic()
            elif taken is not None and taken[1] - decoded > max(NO_PICTURE, self._config.timeout):
                raise SourceFailure("damaged", f"{self._locator.shown}: cannot be decoded.")
            yield None
        while self._pacer is not None and self._pacer.wait(0.0) is not None:
            self._take(read, is_over=True)
            yield from self._due()
        raise failure

    def _sessions(self, container: InputContainer) -> LiveSessions:
        video, audio = video_stream(container), audio_stream(container)
        indices = [stream.index for stream in (video, audio) if stream is not None]
        if not indices:
            raise SourceFailure(
                "damaged", f"{self._locator.shown}: has neither picture nor sound in it."
            )
        self._clock = LiveClock(self._locator.scheme, *indices)
        return LiveSessions(
            self._name,
            self._locator.shown,
            video,
            audio,
            picture_side=self._picture_side,
            picture_multiple=self._picture_multiple,
            av_offset=self._config.av_offset,
            dropped=self.dropped,
        )

    def _placed(
        self, sessions: LiveSessions, packet: "Packet[Any]", came: float
    ) -> Iterator[Opened | MediaItem]:
        assert self._clock is not None
        at, now = self._clock.take(packet, came), time.monotonic()
        ready = came
        if self._pacer is not None and self._pacer.anchor is not None and at is not None:
            self._pacer.stall(at, came)
            ready = max(came, self._pacer.anchor + at)
        if now - ready > MAX_BEHIND and packet.stream_index == sessions.video_index:
            key = self._newest_key(packet.stream_index)
            if key is not None or now - ready > 2 * MAX_BEHIND:
                yield from sessions.skip(key)
        yield from sessions.push(packet, now)

    def _newest_key(self, index: int) -> "Packet[Any] | None":
        waiting = self._read.waiting() if self._read is not None else []
        for item in reversed(waiting):
            if isinstance(item, Packet) and item.stream_index == index and item.is_keyframe:
                return item
        return None

    def _out(self, items: list[Opened | MediaItem], sessions: LiveSessions) -> Iterator[LiveItem]:
        for item in items:
            if isinstance(item, Opened):
                self._last_origin = sessions.origin
            if self._pacer is not None:
                self._pacer.push(item, self._last_origin, time.monotonic())
            else:
                self._origin = self._last_origin
                yield item
        yield from self._due()

    # Both: what is held back.

    def _take(self, read: "Background[_Read]", is_over: bool) -> "tuple[_Read, float] | None":
        now, wait, is_ahead = time.monotonic(), IDLE, is_over
        if self._pacer is not None:
            due = self._pacer.wait(now)
            wait = min(IDLE, due) if due is not None else IDLE
            is_ahead = is_ahead or self._pacer.lead(now) > LEAD
        if is_ahead:
            time.sleep(wait)
            return None
        taken = read.take(wait)
        if taken is None:
            self._check(read, self._config.timeout + GRACE)
        return taken

    def _due(self) -> Iterator[LiveItem]:
        while self._pacer is not None and (due := self._pacer.take(time.monotonic())) is not None:
            item, self._origin = due
            yield item
        yield None


def _size(item: "_Read") -> int:
    if isinstance(item, Packet):
        return item.size + PACKET_OVERHEAD
    if isinstance(item, AudioChunk):
        return item.waveform.nbytes + PACKET_OVERHEAD
    if isinstance(item, GreyFrame):
        return item.image.nbytes + len(item.preview or b"") + PACKET_OVERHEAD
    if isinstance(item, Picture):
        return item.image.nbytes + PACKET_OVERHEAD
    return PACKET_OVERHEAD
