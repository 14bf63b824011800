"""The sound of a file, for another file: packets as they are, or encoded anew where they must be.

In: the packets of an audio stream. Out: packets of a stream of an MP4 file, at their media times.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, TypeAlias

from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from .clock import StreamClock
from .decode import FrameReader
from .demux import PacketReader

AnyPacket: TypeAlias = "Packet[Any]"

# What players take in an MP4 file. The rest (PCM, Vorbis, WMA, ...) becomes AAC.
COPIED = {"aac", "ac3", "alac", "eac3", "mp3", "opus"}
AAC_RATES = {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000}
BITS_PER_CHANNEL = 96_000  # a second, of encoded sound


class Soundtrack:
    """The sound of one file on its way into another.

    Parameters
    ----------
    output : OutputContainer
        Gets an audio stream.
    reader : PacketReader
    stream : AudioStream
        Of the reader.
    origin : float
        Media time 0 in the clock of the file, s.
    may_copy : bool
        False: encode anew in any case.
    """

    def __init__(
        self,
        output: OutputContainer,
        reader: PacketReader,
        stream: AudioStream,
        origin: float,
        *,
        may_copy: bool = True,
    ) -> None:
        self._reader, self._stream, self._origin = reader, stream, origin
        self._frames: FrameReader[AudioFrame] | None = None
        self._output: AudioStream | None = None
        if may_copy and stream.codec_context.codec.canonical_name in COPIED:
            self._output = output.add_stream_from_template(stream)
            return
        self._frames = FrameReader[AudioFrame](reader, stream, _frame_length, 1)
        if self._frames.first is not None:
            frame = self._frames.first.frame
            rate = frame.sample_rate if frame.sample_rate in AAC_RATES else 48_000
            layout = "stereo" if frame.layout.nb_channels > 1 else "mono"
            self._output = output.add_stream("aac", rate, layout=layout)
            self._output.bit_rate = BITS_PER_CHANNEL * (1 + (layout == "stereo"))

    def packets(self) -> Iterator[tuple[float, AnyPacket]]:
        """Yield the packets to be written, each with its media time in seconds."""
        if self._output is None:
            return
        if self._frames is None:
            packets = self._copied()
        else:
            packets = self._encoded(self._frames, self._output.codec_context)
        for packet in packets:
            packet.stream = self._output
            yield float((packet.pts or 0) * packet.time_base), packet

    def _copied(self) -> Iterator[AnyPacket]:
        unit = Fraction(self._stream.time_base or Fraction(1, 90_000))
        clock = StreamClock[AnyPacket](unit, lambda packet: float((packet.duration or 0) * unit))
        last = None
        for timed in clock.place(self._reader.packets(self._stream)):
            # An encoder's run-in lies before media time 0, and stays there.
            packet, pts = timed.frame, round((timed.time - self._origin) / unit)
            if last is not None and pts <= last:
                continue  # an MP4 file cannot hold two at one time
            packet.pts = packet.dts = last = pts
            yield packet

    def _encoded(
        self, frames: FrameReader[AudioFrame], encoder: AudioCodecContext
    ) -> Iterator[AnyPacket]:
        resampler: AudioResampler | None = None
        kind = None
        for timed in frames.frames():
            frame = timed.frame
            if resampler is not None and kind != _kind(frame):
                yield from _encode(encoder, resampler, None)
                resampler = None
            if resampler is None:
                # async: what is missing becomes silence, what comes twice is cut.
                layout, rate = encoder.layout, encoder.sample_rate
                resampler = AudioResampler("fltp", layout, rate, options={"async": "1"})
                kind = _kind(frame)
            frame.time_base = Fraction(1, frame.sample_rate)
            frame.pts = round((timed.time - self._origin) * frame.sample_rate)
            yield from _encode(encoder, resampler, frame)
        if resampler is not None:
            yield from _encode(encoder, resampler, None)
        yield from encoder.encode(None)


def _encode(
    encoder: AudioCodecContext, resampler: AudioResampler, frame: AudioFrame | None
) -> Iterator[AnyPacket]:
    for part in resampler.resample(frame):
        yield from encoder.encode(part)


def _kind(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _frame_length(frame: AudioFrame) -> float:
    return frame.samples / frame.sample_rate
