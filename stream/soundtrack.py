"""The sound of a file, for another file: packets as they are, or encoded anew where they must be.

In: the packets of an audio stream. Out: packets of a stream of an MP4 file, at their media times.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, TypeAlias

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from .clock import StreamClock, Timed
from .decode import FrameReader
from .demux import PacketReader

AnyPacket: TypeAlias = "Packet[Any]"

# What players take in an MP4 file. The rest (PCM, Vorbis, WMA, ...) becomes AAC.
COPIED = {"aac", "ac3", "alac", "eac3", "mp3", "opus"}
AAC_RATES = {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000}
BITS_PER_CHANNEL = 96_000  # a second, of encoded sound
SHORTEST_GAP = 0.05  # s; less than this is rounding of timestamps


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

    Attributes
    ----------
    is_copied : bool
        Whether the packets are taken over as they are.
    """

    def __init__(
        self, output: OutputContainer, reader: PacketReader, stream: AudioStream, origin: float
    ) -> None:
        self._reader, self._stream, self._origin = reader, stream, origin
        self.is_copied = stream.codec_context.codec.canonical_name in COPIED
        self._frames: FrameReader[AudioFrame] | None = None
        self._output: AudioStream | None = None
        if self.is_copied:
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
        packets = self._copied() if self._frames is None else self._encoded(self._frames)
        for packet in packets:
            packet.stream = self._output
            yield float((packet.pts or 0) * packet.time_base), packet

    def _copied(self) -> Iterator[AnyPacket]:
        unit = Fraction(self._stream.time_base or Fraction(1, 90_000))
        # An encoder's run-in lies before media time 0, and stays there.
        clock = StreamClock[AnyPacket](unit, lambda packet: float((packet.duration or 0) * unit))
        last = None
        for timed in clock.place(self._reader.packets(self._stream)):
            packet, pts = timed.frame, round((timed.time - self._origin) / unit)
            if last is not None and pts <= last:
                continue  # an MP4 file cannot hold two at one time
            packet.pts = packet.dts = last = pts
            yield packet

    def _encoded(self, frames: FrameReader[AudioFrame]) -> Iterator[AnyPacket]:
        encoder: AudioCodecContext = self._output.codec_context  # type: ignore[union-attr]
        resampler = AudioResampler(
            "fltp", encoder.layout, encoder.sample_rate, frame_size=encoder.frame_size or 1024
        )
        expected: float | None = None
        for timed in frames.frames():
            time = timed.time - self._origin
            if expected is not None and time - expected > SHORTEST_GAP:
                for part in resampler.resample(_silence(timed.frame, expected, time)):
                    yield from encoder.encode(part)
            frame = timed.frame
            yield from ()
            frame.pts, frame.time_base = _stamp(expected, time, frame)
            for part in resampler.resample(frame):
                yield from encoder.encode(part)
            expected = time + timed.length
        for part in resampler.resample(None):
            yield from encoder.encode(part)
        yield from encoder.encode(None)


def _frame_length(frame: AudioFrame) -> float:
    return frame.samples / frame.sample_rate
