"""A media file -> what RTP carries of it: payloads with their times, and their description in SDP.

In: a file with H.264 video, sound in AAC, Opus or PCM, or both. Out: `RtpMedia`, all of it in
memory; nothing is coded anew. Sources: RFC 3550 (RTP), 6184 (H.264), 3640 (AAC), 7587 (Opus),
3551 (PCM).
"""

import struct
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal

import av

Kind = Literal["video", "audio"]
MTU: Final = 1400  # bytes of payload in a packet
VIDEO_CLOCK, OPUS_CLOCK = 90_000, 48_000  # Hz
PAYLOAD_TYPE: Final = {"video": 96, "audio": 97}
SPS, PPS, DELIMITER, IDR = 7, 8, 9, 5  # types of H.264 units
STAP_A, FU_A = 24, 28
NTP_EPOCH = 2_208_988_800  # s from 1900 to 1970
CNAME = b"playspot"


class RtpError(ValueError):
    """A file that cannot be sent by RTP as it is; the message is one line for the user."""


@dataclass(frozen=True)
class Payload:
    """One picture, or one block of sound, cut into the payloads of packets.

    Attributes
    ----------
    due, time : float
        Seconds from the start of the file at which it is sent, and shown.
    parts : tuple of bytes
    is_key : bool
        Whether decoding can begin here.
    """

    due: float
    time: float
    parts: tuple[bytes, ...]
    is_key: bool = True


@dataclass(frozen=True)
class RtpTrack:
    """The payloads of one stream, in the order of sending; `sdp` describes them."""

    clock: int  # Hz, of the timestamps
    sdp: tuple[str, ...]
    payloads: tuple[Payload, ...]


@dataclass(frozen=True)
class RtpMedia:
    """The streams of a file and its length in seconds."""

    tracks: dict[Kind, RtpTrack]
    duration: float


def read_media(path: str | Path) -> RtpMedia:
    """Return what RTP carries of a file.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    media : RtpMedia

    Raises
    ------
    RtpError
        If the file cannot be read, or its codecs are none of those above.

    Examples
    --------
    >>> read_media("scene.mp4").tracks["video"].clock  # doctest: +SKIP
    90000
    """
    try:
        with av.open(str(path)) as container:
            return _read(container, Path(path).name)
    except (av.FFmpegError, OSError) as error:
        raise RtpError(f"{path}: cannot be read ({error}); give an MP4 of H.264 and AAC") from None


def _read(container: Any, name: str) -> RtpMedia:
    streams: dict[Kind, Any] = {}
    if container.streams.video:
        streams["video"] = container.streams.video[0]
    if container.streams.audio:
        streams["audio"] = container.streams.audio[0]
    cuts = {kind: _cutter(kind, stream, name) for kind, stream in streams.items()}
    found: dict[Kind, list[tuple[Fraction, Fraction, Fraction, bytes, bool]]] = {
        kind: [] for kind in streams
    }
    filters = {
        kind: av.BitStreamFilterContext("h264_mp4toannexb", stream)
        for kind, stream in streams.items()
        if kind == "video"
    }
    for packet in container.demux(*streams.values()):
        kind: Kind = packet.stream.type
        if packet.pts is None or (kind == "audio" and packet.pts < 0):
            continue  # the end; what the sound's coder puts in front
        times = [Fraction(t) * packet.time_base for t in (packet.dts, packet.pts, packet.duration)]
        is_key = packet.is_keyframe
        for part in filters[kind].filter(packet) if kind in filters else [packet]:
            found[kind].append((times[0], times[1], times[2], bytes(part), is_key))
    if not any(found.values()):
        raise RtpError(f"{name}: has neither picture nor sound; give an MP4 of H.264 and AAC")
    first = min(shown for packets in found.values() for _, shown, *_ in packets)
    last = max(shown + length for packets in found.values() for _, shown, length, *_ in packets)
    tracks = {}
    for kind, packets in found.items():
        clock, describe, cut = cuts[kind]
        payloads = [
            payload
            for due, shown, _, data, is_key in packets
            for payload in cut(float(due - first), float(shown - first), data, is_key)
        ]
        tracks[kind] = RtpTrack(clock, describe([data for *_, data, _ in packets]), tuple(payloads))
    return RtpMedia(tracks, float(last - first))


Cut = Callable[[float, float, bytes, bool], list[Payload]]
Cutter = tuple[int, Callable[[list[bytes]], tuple[str, ...]], Cut]


def _cutter(kind: Kind, stream: Any, name: str) -> Cutter:
    """Return clock, description and payloads of a stream, by its codec."""
    codec = stream.codec_context.name if stream.codec_context is not None else "unknown"
    n = PAYLOAD_TYPE[kind]
    if codec == "h264":
        return VIDEO_CLOCK, _describe_h264, _cut_h264
    if codec == "aac" and stream.codec_context.extradata:
        return _aac(stream, n)
    if codec in ("opus", "libopus"):
        return OPUS_CLOCK, lambda _: (f"rtpmap:{n} opus/{OPUS_CLOCK}/2",), _whole
    if codec in _PCM:
        return _pcm(stream, n, *_PCM[codec])
    raise RtpError(f"{name}: {kind} of codec {codec} is not sent by RTP; give H.264 and AAC")


def _whole(due: float, time: float, data: bytes, is_key: bool) -> list[Payload]:
    return [Payload(due, time, (data,))]


def _aac(stream: Any, n: int) -> Cutter:
    config = stream.codec_context.extradata.hex().upper()
    rate, channels = stream.sample_rate, stream.layout.nb_channels
    lines = (
        f"rtpmap:{n} mpeg4-generic/{rate}/{channels}",
        f"fmtp:{n} streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;"
        f"indexdeltalength=3;config={config}",
    )

    def cut(due: float, time: float, data: bytes, is_key: bool) -> list[Payload]:
        # One unit in a packet: 16 bits of headers follow, of which 13 say how long the unit is.
        return [Payload(due, time, (struct.pack(">HH", 16, len(data) << 3) + data,))]

    return rate, lambda _: lines, cut


_PCM = {  # codec: name in SDP, bytes of a sample, whether they have to be swapped
    "pcm_s16le": ("L16", 2, True),
    "pcm_s16be": ("L16", 2, False),
    "pcm_mulaw": ("PCMU", 1, False),
    "pcm_alaw": ("PCMA", 1, False),
}


def _pcm(stream: Any, n: int, label: str, width: int, is_swapped: bool) -> Cutter:
    rate, channels = stream.sample_rate, stream.layout.nb_channels
    frame = width * channels
    size = MTU // frame * frame

    def cut(due: float, time: float, data: bytes, is_key: bool) -> list[Payload]:
        if is_swapped:
            swapped = bytearray(data)
            swapped[::2], swapped[1::2] = data[1::2], data[::2]
            data = bytes(swapped)
        payloads = []
        for at in range(0, len(data), size):
            later = at / frame / rate
            payloads.append(Payload(due + later, time + later, (data[at : at + size],)))
        return payloads

    return rate, lambda _: (f"rtpmap:{n} {label}/{rate}/{channels}",), cut


def _describe_h264(packets: list[bytes]) -> tuple[str, ...]:
    n = PAYLOAD_TYPE["video"]
    sets = [unit for unit in _units(packets[0]) if unit[0] & 31 in (SPS, PPS)] if packets else []
    profile = sets[0][1:4].hex() if sets else "42e01f"
    sprop = ",".join(b64encode(unit).decode("ascii") for unit in sets)
    return (
        f"rtpmap:{n} H264/{VIDEO_CLOCK}",
        f"fmtp:{n} packetization-mode=1;profile-level-id={profile};sprop-parameter-sets={sprop}",
    )


def _units(data: bytes) -> list[bytes]:
    """Return the H.264 units of a picture, which start codes divide, without delimiters."""
    units = [unit.rstrip(b"\0") for unit in data.split(b"\0\0\1")]
    return [unit for unit in units if unit and unit[0] & 31 != DELIMITER]


def _cut_h264(due: float, time: float, data: bytes, is_key: bool) -> list[Payload]:
    units = _units(data)
    sets = [unit for unit in units if unit[0] & 31 in (SPS, PPS)]
    parts = []
    if sets:  # all in one packet, as cameras do
        joined = b"".join(struct.pack(">H", len(unit)) + unit for unit in sets)
        parts.append(bytes([max(unit[0] & 96 for unit in sets) | STAP_A]) + joined)
    for unit in units:
        if unit[0] & 31 in (SPS, PPS):
            continue
        if len(unit) <= MTU:
            parts.append(unit)
            continue
        pieces = [unit[at : at + MTU - 2] for at in range(1, len(unit), MTU - 2)]
        for k, piece in enumerate(pieces):
            edge = 128 * (k == 0) | 64 * (k == len(pieces) - 1)
            parts.append(bytes([unit[0] & 96 | FU_A, edge | unit[0] & 31]) + piece)
    has_idr = any(unit[0] & 31 == IDR for unit in units)
    return [Payload(due, time, tuple(parts), is_key and has_idr)]


class RtpStream:
    """Writes the packets of one stream.

    Parameters
    ----------
    kind : "video" or "audio"
    clock : int
        Hz.
    first_timestamp : int
        Of media time 0.
    """

    def __init__(self, kind: Kind, clock: int, first_timestamp: int) -> None:
        self._type = PAYLOAD_TYPE[kind]
        self._clock = clock
        self._first = first_timestamp
        self._ssrc = 0x50530000 + self._type
        self.sequence = 65_500  # so that 16 bits do not go on for ever unnoticed
        self._n_packets = self._n_bytes = 0

    def timestamp(self, time: float) -> int:
        """Return the timestamp of a media time, 32 bits that wrap."""
        return (self._first + round(time * self._clock)) % 2**32

    def packets(self, payload: Payload, time: float) -> list[bytes]:
        """Return the packets of a payload that is shown at a media time."""
        stamp = self.timestamp(time)
        packets = []
        for k, part in enumerate(payload.parts):
            mark = 128 * (k == len(payload.parts) - 1)
            header = struct.pack(">BBHII", 128, mark | self._type, self.sequence, stamp, self._ssrc)
            packets.append(header + part)
            self.sequence = (self.sequence + 1) % 2**16
            self._n_packets += 1
            self._n_bytes += len(part)
        return packets

    def sender_report(self, time: float, wall_time: float) -> bytes:
        """Return the RTCP packet that says which media time was at which time of day."""
        seconds = int(wall_time)
        words = (
            *(self._ssrc, (seconds + NTP_EPOCH) % 2**32, int((wall_time - seconds) * 2**32)),
            *(self.timestamp(time), self._n_packets % 2**32, self._n_bytes % 2**32),
        )
        name = struct.pack(">IBB", self._ssrc, 1, len(CNAME)) + CNAME
        name += bytes(4 - len(name) % 4)
        report = struct.pack(">BBHIIIIII", 128, 200, 6, *words)
        return report + struct.pack(">BBH", 129, 202, len(name) // 4) + name

    def goodbye(self, time: float, wall_time: float) -> bytes:
        """Return a sender report with the RTCP packet that says that the stream is over."""
        bye = struct.pack(">BBHI", 129, 203, 1, self._ssrc)
        return self.sender_report(time, wall_time) + bye
