"""A network stream or camera -> its sessions, as they happen, until it breaks.

In: a locator of rtsp, http(s), rtmp, udp or v4l2. Out: a `LiveSource`. A thread reads packets with
deadlines; whoever iterates decodes and places them. What a server sends in bursts (HLS, HTTP) is
held back to real time, a recording too.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.video.stream import VideoStream

from .background import Background
from .clock import MAX_LEAP, MAX_STRIDE, Joints
from .clock_sync import ArrivalClock
from .config import SourceConfig
from .connect import connect, failure_of
from .demux import PACKET_OVERHEAD
from .failures import SourceFailure
from .live import IDLE, ClockReport, LiveItem, Opened
from .live_session import LiveSessions
from .locator import Locator
from .media import AudioChunk, End, GreyFrame, MediaItem, Picture, SourceInfo
from .pacer import Pacer
from .remote_file import read_remote
from .sources import audio_stream, video_stream
from .timeline import SAMPLE_RATE, tick_time

QUEUE_BYTES = 32 * 2**20  # of packets, or decoded items, that wait to be taken
MAX_BEHIND = 1.0  # s; packets that waited longer for the decoder are skipped to a key frame
LEAD = 1.0  # s that a paced source is decoded ahead
GRACE = 0.5  # s after its own deadline that the reading thread is given up
LIVE_STRIDE = 2.0  # s; timestamps of a live source that leap further are taken as joined
DEVICE_AGE = 1.0  # s; a camera that stamps its pictures with our clock is no further off


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
        self._picture = {"picture_side": picture_side, "picture_multiple": picture_multiple}
        self._read: Background[_Read] | None = None
        self._is_closed = False
        self._clocks: dict[int, ArrivalClock] = {}
        self._leading: int | None = None  # index of the stream whose packets tell the time
        self._reported: set[int] = set()  # streams with sender reports
        self._n_streams = 0
        self._is_device = False
        self._pacer: Pacer | None = None
        self._origin = 0.0  # of the session of the last item, in the clock of the stream
        self._joints = Joints(LIVE_STRIDE)
        self.dropped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[LiveItem]:
        """Yield `Opened`, items and `End` of one session after the other, as they happen.

        Raises
        ------
        SourceFailure
            When it cannot be opened, breaks, or is over. A recording just stops.
        """
        try:
            while not self._is_closed:
                yield from self._connection()
                if not self._config.loop:
                    return
        finally:
            self.close()

    def captured(self, time: float) -> float:
        """Return when (`time.monotonic()`) media time `time` of the session was captured.

        Of a source that comes in bursts, when it was let go: its age begins there.
        """
        at = self._origin + time
        if self._is_device:
            return at
        if self._pacer is not None and self._pacer.anchor is not None:
            return self._pacer.anchor + at
        clock = self._clocks.get(self._leading) if self._leading is not None else None
        return clock.at(at) if clock is not None and clock.is_known else _now()

    def clock(self) -> ClockReport:
        """Return how well sound and picture of the session are aligned.

        The timestamps of one container are its own word. Those of RTSP are, once there were sender
        reports for each stream; before that, streams are put together by their first packets.
        """
        leading = self._clocks.get(self._leading) if self._leading is not None else None
        others = [clock for index, clock in self._clocks.items() if index != self._leading]
        drift = leading.drift_ppm if leading is not None and others else 0.0
        drift = others[0].drift_ppm - drift if others else 0.0
        has_both = self._n_streams > 1
        n_steps = len(self._joints.times)
        if self._is_device:
            return ClockReport("device", None, None, 0.0, n_steps)
        if self._locator.scheme not in ("rtsp", "rtsps"):
            return ClockReport("media", *((0.0, 0.0) if has_both else (None, None)), 0.0, n_steps)
        if not has_both or leading is None or not others:
            return ClockReport("arrival", None, None, 0.0, n_steps)
        if len(self._reported) >= self._n_streams:
            return ClockReport("rtcp", 0.0, 1.0, drift, n_steps)
        # Without reports only the arrival says how the two lie to each other.
        offset = _distance(leading, others[0])
        sure = leading.uncertainty + others[0].uncertainty
        return ClockReport("arrival", 1000 * offset, 1000 * sure, drift, n_steps)

    def close(self) -> None:
        """Let go of the connection; more calls do nothing.

        A thread that still waits for the network ends by its own deadline, or with the process.
        """
        self._is_closed = True
        if self._read is not None:
            self._read.stop(wait=GRACE)

    def _connection(self) -> Iterator[LiveItem]:
        self._read = read = Background(self._produce(), _size, QUEUE_BYTES)
        self._pacer = None
        container: InputContainer | None = None
        while container is None:
            taken = read.take(IDLE)
            if taken is None:
                self._check(read, 2 * self._config.timeout + GRACE)
                yield None
            elif isinstance(taken[0], _Recording):
                yield from self._recording(read, taken[0].info)
                return
            else:
                container = cast(InputContainer, taken[0])
        yield from self._live(read, container)

    def _produce(self) -> "Iterator[_Read]":
        # Runs in the thread, which closes what it has opened: nobody else may, while it reads.
        container = connect(self._locator, self._config)
        try:
            if self._locator.scheme in ("http", "https") and (container.duration or 0) > 0:
                items = read_remote(
                    container, self._locator, self._config, name=self._name, **self._picture
                )
                for item in items:
                    yield _Recording(item) if isinstance(item, SourceInfo) else item
                return
            yield container
            streams = [s for s in (video_stream(container), audio_stream(container)) if s]
            for packet in container.demux(streams):
                if packet.size:
                    yield packet
        except (av.FFmpegError, OSError, IndexError) as error:
            raise failure_of(error, self._locator, self._config.timeout) from None
        finally:
            container.close()

    def _check(self, read: "Background[_Read]", limit: float) -> None:
        if _now() - read.last > limit and not read.is_over:
            raise failure_of(TimeoutError(), self._locator, self._config.timeout)

    def _recording(self, read: "Background[_Read]", info: SourceInfo) -> Iterator[LiveItem]:
        self._pacer = pacer = Pacer()
        self._origin, failure = 0.0, None
        pacer.push(Opened(info), 0.0, _now())
        has_both = info.has_audio and info.has_video
        self._n_streams = 2 if has_both else 1
        while True:
            yield from self._release(pacer)
            if self._is_closed:
                return
            waits = pacer.wait(_now())
            if (failure is not None or read.is_over) and waits is None:
                if failure is not None:
                    raise failure
                return
            is_ahead = pacer.lead(_now()) > LEAD or failure is not None or read.is_over
            taken = None
            if is_ahead:
                time.sleep(min(IDLE, waits if waits is not None else IDLE))
            else:
                try:
                    taken = read.take(min(IDLE, waits if waits is not None else IDLE))
                except SourceFailure as error:  # what has come is still shown
                    failure = error
            if taken is None:
                if not is_ahead:
                    self._check(read, self._config.timeout + GRACE)
                yield None
                continue
            item, came = cast(MediaItem, taken[0]), taken[1]
            pacer.stall(_begin(item), came)
            pacer.push(item, 0.0, _now())

    def _live(self, read: "Background[_Read]", container: InputContainer) -> Iterator[LiveItem]:
        video, audio = video_stream(container), audio_stream(container)
        if video is None and audio is None:
            raise SourceFailure(
                "damaged", f"{self._locator.shown}: has neither picture nor sound in it."
            )
        self._begin_clocks(video, audio, container)
        sessions = LiveSessions(
            self._name,
            self._locator.shown,
            video,
            audio,
            av_offset=self._config.av_offset,
            **self._picture,
        )
        sessions.dropped = self.dropped
        last_yield = last_frame = _now()
        n_frames, last_came = 0, dict[int, float]()
        while True:
            items: list[Opened | MediaItem] = []
            wait = IDLE
            if self._pacer is not None:
                wait = min(IDLE, self._pacer.wait(_now()) or IDLE)
            is_ahead = self._pacer is not None and self._pacer.lead(_now()) > LEAD
            taken = None
            if is_ahead:
                time.sleep(wait)
            else:
                taken = read.take(wait)
            now = _now()
            if taken is not None:
                packet, came = cast("Packet[Any]", taken[0]), taken[1]
                index = packet.stream_index
                self._joints.mend(packet, came - last_came.get(index, came))
                last_came[index] = came
                ready = self._time(packet, came)
                if video is not None and index == video.index and now - ready > MAX_BEHIND:
                    items += sessions.skip()
                items += sessions.push(packet, now)
            elif read.is_over:
                items += sessions.flush()
            elif not is_ahead:
                self._check(read, self._config.timeout + GRACE)
            items += sessions.look(now, is_drained=read.n_waiting == 0)
            for item in items:
                if self._pacer is not None:
                    self._pacer.push(item, _origin_of(item, sessions), now)
                    continue
                if isinstance(item, Opened):
                    self._origin = sessions.origin
                yield item
                last_yield = now
            if self._pacer is not None:
                for item in self._release(self._pacer):
                    yield item
                    last_yield = now
            if self._is_closed:
                return
            if read.is_over and taken is None:
                yield from self._rest()
                raise SourceFailure("ended", f"{self._locator.shown}: the stream is over.")
            if sessions.n_frames != n_frames:
                n_frames, last_frame = sessions.n_frames, now
            self._check_frames(now - last_frame)
            if now - last_yield >= IDLE:
                yield None
                last_yield = now
