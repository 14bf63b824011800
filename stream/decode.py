"""Packets of one stream -> its decoded frames at their times; what cannot be decoded is counted."""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Generic, TypeVar, cast

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from .clock import StreamClock, Timed
from .demux import AnyPacket, PacketReader

FrameT = TypeVar("FrameT", VideoFrame, AudioFrame)


class FrameDecoder(Generic[FrameT]):
    """The frames of one stream, in the order of time, as its packets come.

    Parameters
    ----------
    stream : VideoStream, AudioStream or None
        None: no frames at all.
    length : callable
        Frame -> seconds that it lasts; 0 for one that is no use.
    threads : int
        Of the decoder; 0: as many as there are cores.

    Attributes
    ----------
    n_corrupt : int
        Packets so far that could not be decoded.
    """

    def __init__(
        self,
        stream: VideoStream | AudioStream | None,
        length: Callable[[FrameT], float],
        threads: int,
    ) -> None:
        self._stream = stream
        self._length: Callable[[FrameT], float] = length
        self._clock: StreamClock[FrameT] | None = None
        self.n_corrupt = 0
        # Without a decoder for its codec a stream has no context, whatever the annotation says.
        if stream is None or stream.codec_context is None or stream.time_base is None:
            return
        if isinstance(stream, AudioStream):
            _forget_odd_layout(stream.codec_context)
        stream.codec_context.thread_count = threads
        stream.codec_context.thread_type = "AUTO"  # says which kind, where there is more than one
        self._clock = StreamClock(stream.time_base, length)

    @property
    def is_usable(self) -> bool:
        """Whether there is a decoder for the stream."""
        return self._clock is not None

    @property
    def n_dropped(self) -> int:
        """Frames so far that came out of order."""
        return self._clock.n_dropped if self._clock is not None else 0

    def push(self, packet: "AnyPacket | None") -> Iterator[Timed[FrameT]]:
        """Yield the frames that are settled once `packet` has come; None: all that are left."""
        if self._stream is None or self._clock is None:
            return
        try:
            frames = cast(list[FrameT], self._stream.codec_context.decode(packet))
        except av.FFmpegError:
            self.n_corrupt += 1
            frames = []
        for frame in frames:
            if self._length(frame) > 0:
                yield from self._clock.push(frame)
            else:
                self.n_corrupt += 1
        if packet is None:
            yield from self._clock.flush()

    def forget(self) -> None:
        """Let the next packet, a key frame, follow packets that are left out."""
        if self._stream is not None and self._clock is not None:
            self._stream.codec_context.flush_buffers()


class FrameReader(Generic[FrameT]):
    """The frames of one stream of a file, in the order of time.

    The first frame is decoded at once: only then is it known that there is one, and when it is.

    Parameters
    ----------
    reader : PacketReader
    stream : VideoStream, AudioStream or None
        None: no frames at all.
    length, threads
        As of `FrameDecoder`.

    Attributes
    ----------
    first : Timed or None
        The first frame; None if nothing could be decoded.
    """

    def __init__(
        self,
        reader: PacketReader,
        stream: VideoStream | AudioStream | None,
        length: Callable[[FrameT], float],
        threads: int,
    ) -> None:
        self._decoder: FrameDecoder[FrameT] = FrameDecoder(stream, length, threads)
        self._frames: Iterator[Timed[FrameT]] = iter(())
        if stream is not None and self._decoder.is_usable:
            packets = chain(reader.packets(stream), [None])  # None: give what is left
            self._frames = chain.from_iterable(map(self._decoder.push, packets))
        self.first: Timed[FrameT] | None = next(self._frames, None)

    @property
    def n_corrupt(self) -> int:
        """Packets so far that could not be decoded."""
        return self._decoder.n_corrupt

    @property
    def n_dropped(self) -> int:
        """Frames so far that came out of order."""
        return self._decoder.n_dropped

    def close(self) -> None:
        """Let go of the decoder."""
        self._frames = iter(())

    def frames(self) -> Iterator[Timed[FrameT]]:
        """Yield all frames, the first one included; once."""
        return chain([self.first] if self.first is not None else [], self._frames)


def _forget_odd_layout(context: AudioCodecContext) -> None:
    # PyAV 18 frees a layout whose channels are out of order twice, which ends the process; only
    # their number is kept. Nothing may ask for the layout between these lines.
    name, separator, _ = context.layout.name.partition(" channels (")
    if separator:
        context.layout = av.AudioLayout(f"{name} channels")
