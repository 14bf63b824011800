"""The RTSP server: what FFmpeg gets of it is the file, and its faults are real."""

import math
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

import av
import numpy as np
import pytest

from playspot.training.rtp import RtpError, read_media
from playspot.training.rtp_player import Playback
from playspot.training.rtsp_connection import Authorisation
from playspot.training.rtsp_server import RtspServer

pytestmark = pytest.mark.live

MakeClip = Callable[..., Path]
DEADLINE = 10.0  # s; of everything that is waited for
H264 = {"video_codec": "libx264", "video_options": {"bf": "0", "g": "5", "preset": "ultrafast"}}


@pytest.fixture(scope="module")
def clip(media: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 0.64 s of video and AAC, both of whole frames."""
    folder = tmp_path_factory.mktemp("rtsp")
    path: Path = media.make_clip(folder / "clip.mp4", duration=0.64, **H264)
    return path


class Raw:
    """A client that shows what is on the wire: answers, and packets by channel."""

    def __init__(self, server: RtspServer) -> None:
        self._socket = socket.create_connection((server.host, server.port), timeout=DEADLINE)
        self._file = self._socket.makefile("rb")
        self._url = server.url
        self._n = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._socket.close()

    def say(self, method: str, stream: str = "", *headers: str) -> None:
        self._n += 1
        lines = [f"{method} {self._url}{stream} RTSP/1.0", f"CSeq: {self._n}", *headers]
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())

    def hear(self) -> tuple[int, dict[str, str], str]:
        """Return status, headers and body of the next answer."""
        while (first := self._file.read(1)) == b"$":
            self._rest_of_packet()
        lines = [(first + self._file.readline()).decode()]
        while (line := self._file.readline().decode().strip()) != "":
            lines.append(line)
        headers = dict(line.split(": ", 1) for line in lines[1:])
        body = self._file.read(int(headers.get("Content-Length", "0"))).decode()
        return int(lines[0].split()[1]), headers, body

    def ask(self, *words: str) -> tuple[int, dict[str, str], str]:
        self.say(*words)
        return self.hear()

    def play(self, *streams: str) -> None:
        for k, stream in enumerate(streams):
            channels = f"interleaved={2 * k}-{2 * k + 1}"
            status, *_ = self.ask("SETUP", f"/{stream}", f"Transport: RTP/AVP/TCP;{channels}")
            assert status == 200
        assert self.ask("PLAY")[0] == 200

    def packets(self) -> Iterator[tuple[int, bytes]]:
        """Yield channel and packet until the server closes the connection."""
        try:
            while self._file.read(1) == b"$":
                yield self._rest_of_packet()
        except ConnectionError:
            return

    def is_silent(self, seconds: float) -> bool:
        """Whether nothing comes for a while, once what was on its way is read."""
        self._socket.settimeout(seconds)
        ends = time.monotonic() + DEADLINE
        try:
            while self._socket.recv(65536) and time.monotonic() < ends:
                pass
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(DEADLINE)
        return False

    def _rest_of_packet(self) -> tuple[int, bytes]:
        channel, length = struct.unpack(">BH", self._file.read(3))
        return channel, self._file.read(length)


def stamp(packet: bytes) -> int:
    return int(struct.unpack_from(">I", packet, 4)[0])


def watch(server: RtspServer, transport: str = "tcp", url: str | None = None) -> Any:
    """Return an FFmpeg container of the server; it says what it can without a long look."""
    options = {"rtsp_transport": transport, "analyzeduration": "100000"}
    return av.open(url or server.url, options=options, timeout=DEADLINE)


def frames(container: Any, n: int, kind: str = "video") -> list[tuple[float, Any]]:
    """Return the times and the first frames of a stream."""
    found: list[tuple[float, Any]] = []
    for frame in container.decode(**{kind: 0}):
        if frame.time is not None:
            found.append((frame.time, frame))
        if len(found) == n:
            break
    return found


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_ffmpeg_gets_the_pictures_in_order(clip: Path, media: ModuleType, transport: str) -> None:
    with RtspServer(clip) as server, watch(server, transport) as container:
        seen = frames(container, 12)
    numbers = [media.number(frame.to_ndarray(format="rgb24")) for _, frame in seen]
    assert numbers == [(numbers[0] + k) % 16 for k in range(12)]
    steps = np.diff([at for at, _ in seen])
    # The last frame before the file begins again is as long as the others.
    np.testing.assert_allclose(steps, 0.04, atol=0.001)


@pytest.mark.parametrize(
    ("name", "codec", "rate", "layout"),
    [
        ("a.mp4", "aac", 16_000, "mono"),
        ("a.mp4", "aac", 44_100, "stereo"),
        ("a.mov", "pcm_s16le", 16_000, "mono"),
        ("a.mov", "pcm_s16be", 48_000, "stereo"),
        ("a.mov", "pcm_mulaw", 8000, "mono"),
        ("a.mkv", "libopus", 48_000, "mono"),
    ],
)
def test_ffmpeg_gets_the_tone(
    make_clip: MakeClip, name: str, codec: str, rate: int, layout: str
) -> None:
    path = make_clip(
        name, duration=1.0, size=None, audio_codec=codec, sample_rate=rate, layout=layout
    )
    with RtspServer(path) as server, watch(server) as container:
        seen = [f for _, f in frames(container, 6, "audio")][2:]
        assert container.streams.audio[0].layout.nb_channels in (1, 2)
    resampler = av.AudioResampler("flt", "mono", seen[0].sample_rate)
    sound = np.concatenate([f.to_ndarray()[0] for s in seen for f in resampler.resample(s)])
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    assert spectrum.argmax() * seen[0].sample_rate / len(sound) == pytest.approx(440, abs=15)


def test_pcm_is_not_changed_by_a_bit(make_clip: MakeClip) -> None:
    path = make_clip("a.mov", duration=0.5, size=None, audio_codec="pcm_s16le")
    with av.open(str(path)) as container:
        theirs = b"".join(bytes(packet) for packet in container.demux() if packet.size)
    track = read_media(path).tracks["audio"]
    ours = b"".join(part for payload in track.payloads for part in payload.parts)
    assert np.array_equal(np.frombuffer(ours, ">i2"), np.frombuffer(theirs, "<i2"))
    assert all(len(part) <= 1400 for payload in track.payloads for part in payload.parts)


def test_large_pictures_are_cut_into_packets_and_put_together(
    make_clip: MakeClip, rng: np.random.Generator
) -> None:
    noise = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    path = make_clip(
        duration=0.4, size=(320, 240), sample_rate=None, image=lambda *_: noise, **H264
    )
    parts = [len(payload.parts) for payload in read_media(path).tracks["video"].payloads]
    assert max(parts) > 10
    with RtspServer(path) as server, watch(server, "udp") as container:
        seen = frames(container, 6)
    with av.open(str(path)) as container:
        theirs = next(container.decode(video=0)).to_ndarray(format="gray")
    best = min(np.abs(f.to_ndarray(format="gray").astype(int) - theirs).mean() for _, f in seen)
    assert best == 0


def test_a_flash_and_a_click_come_out_together(make_clip: MakeClip) -> None:
    def image(index: int, width: int, height: int) -> Any:
        return np.full((height, width, 3), 235 if index >= 10 else 16, np.uint8)  # from 0.4 s

    def sound(times: Any) -> Any:
        return np.where(times >= 0.4, 0.8, 0.0) * np.sin(2 * np.pi * 1000 * times)

    path = make_clip("a.mov", duration=0.64, image=image, sound=sound, audio_codec="pcm_s16le",
                     **H264)  # fmt: skip
    flash = click = None
    with RtspServer(path) as server, watch(server) as container:
        dark = silent = False
        for frame in container.decode():
            level = np.abs(frame.to_ndarray().astype(float)).max() if frame.time else 0
            if isinstance(frame, av.VideoFrame):
                is_bright = frame.time is not None and frame.to_ndarray(format="gray").mean() > 127
                flash = frame.time if is_bright and dark and flash is None else flash
                dark = dark or not is_bright
            elif frame.time is not None:
                loud = np.flatnonzero(np.abs(frame.to_ndarray()[0].astype(float)) > 8000)
                if len(loud) and silent and click is None:
                    click = frame.time + loud[0] / frame.sample_rate
                silent = silent or level == 0
            if flash is not None and click is not None:
                break
    assert flash == pytest.approx(click, abs=0.01)


def test_timestamps_go_on_over_the_end_of_the_file_and_of_32_bits(clip: Path) -> None:
    playback = Playback(is_live=False, wrap_after=0.3)
    times: dict[int, list[int]] = {0: [], 2: []}
    with RtspServer(clip, playback=playback) as server, Raw(server) as client:
        client.play("video", "audio")
        for channel, packet in client.packets():
            if channel in times:
                times[channel].append(stamp(packet))
            if len(times[0]) > 30:
                break
    video, audio = (np.unique(np.diff(stamps) % 2**32) for stamps in times.values())
    assert set(video) <= {0, 3600}
    assert set(audio) == {1024}
    assert times[0][0] == pytest.approx(2**32 - 27_000, abs=90)
    assert min(times[0]) < 90_000


def test_a_client_joins_a_live_stream_at_a_key_picture(clip: Path) -> None:
    with RtspServer(clip) as server, Raw(server) as one, Raw(server) as two:
        one.play("video")
        first = next(packet for channel, packet in one.packets() if channel == 0)
        two.play("video")
        later = next(packet for channel, packet in two.packets() if channel == 0)
        assert first[12] & 31 == later[12] & 31 == 24  # the parameters, which come first
        assert stamp(later) > stamp(first)
        assert any(
            packet == later for _, (_, packet) in zip(range(60), one.packets(), strict=False)
        )


def test_sender_reports_align_the_streams(clip: Path) -> None:
    reports = {}
    with RtspServer(clip, playback=Playback(wrap_after=100.0)) as server, Raw(server) as client:
        client.play("video", "audio")
        for channel, packet in client.packets():
            if channel in (1, 3) and packet[1] == 200:
                _, seconds, fraction, at = struct.unpack_from(">IIII", packet, 4)
                clock = 90_000 if channel == 1 else 16_000
                media_time = ((at + 100 * clock) % 2**32) / clock
                reports[channel] = seconds + fraction / 2**32 - media_time
            if len(reports) == 2:
                break
    assert reports[1] == pytest.approx(reports[3], abs=0.005)
    assert reports[1] - 2_208_988_800 == pytest.approx(time.time(), abs=DEADLINE)


def test_a_fast_clock_of_the_sound_delivers_more_of_it(clip: Path) -> None:
    playback = Playback(is_live=False, skew_ppm=200_000, report_every=0.2)
    clocks: dict[int, list[tuple[float, float]]] = {1: [], 3: []}
    with RtspServer(clip, playback=playback) as server, Raw(server) as client:
        client.play("video", "audio")
        for channel, packet in client.packets():
            if channel in clocks and packet[1] == 200:
                _, seconds, fraction, at = struct.unpack_from(">IIII", packet, 4)
                clocks[channel].append((seconds + fraction / 2**32, at))
            if len(clocks[3]) == 4:
                break
    for channel, hz in ((1, 90_000), (3, 16_000 * 1.2)):
        (t0, first), (t1, last) = clocks[channel][0], clocks[channel][-1]
        assert (last - first) / (t1 - t0) == pytest.approx(hz, rel=0.01)


@pytest.mark.parametrize("playback", [Playback(report_every=math.inf, is_live=False)])
def test_without_reports_there_are_none(clip: Path, playback: Playback) -> None:
    with RtspServer(clip, playback=playback) as server, Raw(server) as client:
        client.play("video", "audio")
        channels = [channel for (channel, _), _ in zip(client.packets(), range(30), strict=False)]
    assert set(channels) == {0, 2}


def test_sound_begins_late_with_its_true_times(clip: Path) -> None:
    playback = Playback(is_live=False, audio_start=0.5, wrap_after=100.0)
    with RtspServer(clip, playback=playback) as server, Raw(server) as client:
        client.play("video", "audio")
        first = next(packet for channel, packet in client.packets() if channel == 2)
    assert (stamp(first) + 100 * 16_000) % 2**32 / 16_000 == pytest.approx(0.512, abs=0.001)


def test_the_sound_can_be_stamped_wrongly(clip: Path) -> None:
    playback = Playback(is_live=False, audio_offset=0.3)
    with RtspServer(clip, playback=playback) as server, watch(server) as container:
        first = frames(container, 1, "audio")[0][0]
    assert first == pytest.approx(0.3, abs=0.07)


def test_the_sound_vanishes_and_comes_back(clip: Path) -> None:
    with RtspServer(clip) as server, Raw(server) as client:
        client.play("video", "audio")
        packets = client.packets()
        next(channel for channel, _ in packets if channel == 2)
        server.drop_audio()
        after = [next(packets)[0] for _ in range(15)]
        assert set(after[5:]) <= {0, 1}
        server.restore_audio()
        assert next(channel for channel, _ in packets if channel == 2) == 2


def test_a_stalled_server_is_silent_and_goes_on_later(clip: Path) -> None:
    with RtspServer(clip) as server, Raw(server) as client:
        client.play("video")
        next(client.packets())
        server.stall()
        assert client.is_silent(0.3)
        client.say("GET_PARAMETER")
        assert client.is_silent(0.2)
        server.resume()
        assert next(client.packets())


def test_a_cut_connection_ends_and_the_next_one_plays(clip: Path) -> None:
    with RtspServer(clip) as server:
        with Raw(server) as client:
            client.play("video")
            next(client.packets())
            server.cut()
            assert len(list(client.packets())) < 100
            assert server.n_clients == 0
        with Raw(server) as client:
            client.play("video")
            assert next(client.packets())
        assert server.n_connections == 2


def test_a_server_that_refuses_accepts_again_later(clip: Path) -> None:
    with RtspServer(clip) as server, Raw(server) as client:
        client.play("video")
        server.refuse()
        with pytest.raises(av.error.ConnectionRefusedError):
            watch(server)
        assert next(client.packets())
        server.accept()
        with watch(server) as container:
            assert frames(container, 1)


def test_a_goodbye_ends_the_stream_for_ffmpeg(clip: Path) -> None:
    with RtspServer(clip) as server, watch(server) as container:
        packets = container.demux()
        next(packets)
        server.end()
        assert sum(1 for _ in packets) < 100
        with Raw(server) as client:
            client.play("video")
            assert next(client.packets())


def test_a_file_that_is_not_looped_ends(clip: Path) -> None:
    playback = Playback(is_live=False, is_looped=False)
    with RtspServer(clip, playback=playback) as server, watch(server) as container:
        assert sum(packet.stream.type == "video" for packet in container.demux()) >= 16


def test_another_size_comes_in_mid_stream(clip: Path, make_clip: MakeClip) -> None:
    larger = make_clip(duration=0.64, size=(160, 90), **H264)
    with RtspServer(clip) as server, watch(server) as container:
        times, sizes = [], []
        for frame in container.decode(video=0):
            if frame.time is not None:
                sizes.append((frame.width, frame.height))
                times.append(frame.time)
            if len(sizes) == 5:
                server.change_to(larger)
            if (160, 90) in sizes[-3:-2]:
                break
    assert sizes[0] == (80, 60)
    assert all(0 < step < 0.3 for step in np.diff(times))


@pytest.mark.parametrize("scheme", ["basic", "digest"])
def test_the_right_password_opens_and_a_wrong_one_does_not(clip: Path, scheme: Any) -> None:
    with RtspServer(clip, authorisation=Authorisation(scheme, "ann", "secret")) as server:
        for secret in ("", "ann:wrong@", "bob:secret@"):
            with pytest.raises(av.error.HTTPUnauthorizedError):
                watch(server, url=server.url.replace("//", f"//{secret}"))
        with watch(server, url=server.url.replace("//", "//ann:secret@")) as container:
            assert frames(container, 1)


def test_rtsps_is_rtsp_over_tls(clip: Path, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout"
    subprocess.run([*command.split(), key, "-out", certificate], check=True, capture_output=True)
    certificate.write_text(certificate.read_text() + key.read_text())
    with RtspServer(clip, certificate=certificate) as server, watch(server) as container:
        assert server.url.startswith("rtsps://")
        assert frames(container, 3)


def test_what_is_not_there_is_not_found(clip: Path) -> None:
    with RtspServer(clip) as server, pytest.raises(av.error.HTTPNotFoundError):
        watch(server, url=server.url + "2")


def test_requests_can_be_refused_with_any_status(clip: Path) -> None:
    with RtspServer(clip) as server, Raw(server) as client:
        server.status = 503
        assert client.ask("DESCRIBE")[0] == 503
        server.status = None
        assert client.ask("DESCRIBE")[0] == 200


def test_the_order_of_requests_is_kept(clip: Path) -> None:
    with RtspServer(clip) as server, Raw(server) as client:
        assert client.ask("OPTIONS")[1]["Public"].startswith("OPTIONS")
        assert client.ask("PLAY")[0] == 455
        assert client.ask("SETUP", "/video", "Transport: RTP/AVP;multicast")[0] == 461
        assert client.ask("SETUP", "/text", "Transport: RTP/AVP/TCP")[0] == 404
        assert client.ask("RECORD")[0] == 501
        client.play("audio")
        assert client.ask("SETUP", "/video", "Transport: RTP/AVP/TCP")[0] == 455
        assert client.ask("TEARDOWN")[0] == 200
        assert client.is_silent(0.2)


def test_what_is_no_request_ends_the_connection(clip: Path) -> None:
    with RtspServer(clip) as server, socket.create_connection((server.host, server.port)) as other:
        other.settimeout(DEADLINE)
        other.sendall(b"hello\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            raise ConnectionResetError if not other.recv(1) else AssertionError
        with Raw(server) as client:
            assert client.ask("OPTIONS")[0] == 200


def test_a_client_that_does_not_read_does_not_hold_up_the_others(
    make_clip: MakeClip, rng: np.random.Generator
) -> None:
    def image(index: int, width: int, height: int) -> Any:
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)

    path = make_clip(duration=0.2, size=(1280, 720), sample_rate=None, image=image, **H264)
    with RtspServer(path) as server, Raw(server) as slow, Raw(server) as quick:
        slow.play("video")
        quick.play("video")
        n_bytes = 0
        for _, packet in quick.packets():
            n_bytes += len(packet)
            if n_bytes > 12 * 2**20:  # more than the system keeps for the slow one
                break
        assert server.n_clients == 2


def test_nothing_is_left_of_a_closed_server(clip: Path) -> None:
    before = set(threading.enumerate())
    folder = Path("/proc/self/fd")
    n_open = len(list(folder.iterdir())) if folder.exists() else 0
    server = RtspServer(clip)
    server.start()
    with Raw(server) as client:
        client.play("video", "audio")
        server.close()
        server.close()
        list(client.packets())
    assert set(threading.enumerate()) == before
    if folder.exists():
        assert len(list(folder.iterdir())) == n_open
    with pytest.raises(RuntimeError, match="start it"):
        server.cut()


def test_a_taken_port_is_an_error(clip: Path) -> None:
    with RtspServer(clip) as server, pytest.raises(OSError, match="in use"):
        RtspServer(clip, port=server.port).start()


@pytest.mark.parametrize(
    "options", [{}, {"size": None, "audio_codec": "libmp3lame"}, {"name": "a.txt"}]
)
def test_a_file_that_rtp_cannot_carry_is_an_error(
    make_clip: MakeClip, tmp_path: Path, options: dict[str, Any]
) -> None:
    path = tmp_path / "a.txt"
    if options.get("name"):
        path.write_text("no film")
    else:
        path = make_clip(**options)  # video is MPEG-4
    with pytest.raises(RtpError, match=path.name):
        RtspServer(path)


def test_it_runs_as_a_program_until_it_is_interrupted(clip: Path) -> None:
    command = [sys.executable, "-m", "playspot.training.rtsp_server", str(clip), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        url = program.stdout.readline().strip()
        with av.open(url, options={"rtsp_transport": "tcp"}, timeout=DEADLINE) as container:
            assert container.streams.video
        os.kill(program.pid, signal.SIGINT)
        assert program.wait(DEADLINE) == 0
