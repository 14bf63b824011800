"""Streams and cameras as live sources: real servers, real sockets, real faults."""

import functools
import gc
import http.server
import itertools
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from playspot.stream.config import SourceConfig
from playspot.stream.connect import connect, failure_of
from playspot.stream.failures import SourceFailure
from playspot.stream.live import IDLE, ClockReport, Opened
from playspot.stream.live_source import NetworkSource
from playspot.stream.locator import parse_locator
from playspot.stream.media import AudioChunk, End, GreyFrame, MediaItem, Picture
from playspot.stream.timeline import SAMPLE_RATE, tick_time
from playspot.training.rtp_player import Playback
from playspot.training.rtsp_connection import Authorisation
from playspot.training.rtsp_server import RtspServer

pytestmark = pytest.mark.live

MakeClip = Callable[..., Path]
Read = Callable[..., Any]
DEADLINE = 15.0  # s; of everything that is waited for
H264 = {"video_codec": "libx264", "video_options": {"bf": "0", "g": "5", "preset": "ultrafast"}}


@dataclass
class Heard:
    """What a live source gave, and when."""

    items: list[Opened | MediaItem] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)  # of grey frames, s
    gaps: list[float] = field(default_factory=list)  # between any two yields, s
    failure: SourceFailure | None = None
    failed_after: float = 0.0  # s since the last item
    clock: ClockReport | None = None
    dropped: Counter[str] = field(default_factory=Counter)

    def of(self, kind: type, session: int = 0) -> list[Any]:
        return [item for item in self.sessions[session] if isinstance(item, kind)]

    @property
    def sessions(self) -> list[list[Opened | MediaItem]]:
        starts = [n for n, item in enumerate(self.items) if isinstance(item, Opened)]
        ends = [*starts, len(self.items)][1:]
        return [self.items[a:b] for a, b in zip(starts, ends, strict=True)]

    def greys(self, session: int = 0) -> dict[int, NDArray[np.uint8]]:
        return {item.tick: item.image for item in self.of(GreyFrame, session)}

    def sound(self, session: int = 0) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the samples and whether they are missing; they must follow each other."""
        start = 0
        waves, flags = [], []
        for chunk in self.of(AudioChunk, session):
            assert chunk.start == start
            start += len(chunk.waveform)
            waves.append(chunk.waveform)
            flags.append(np.full(len(chunk.waveform), chunk.missing))
        return np.concatenate(waves), np.concatenate(flags)


def play(
    url: str,
    until: Callable[[Heard], bool] = lambda heard: False,
    *,
    picture_side: int = 256,
    **config: Any,
) -> Heard:
    """Iterate a source until it ends or enough was heard."""
    heard = Heard()
    source = NetworkSource(
        parse_locator(url),
        SourceConfig(url=url, **config),
        name="stage",
        picture_side=picture_side,
    )
    began = last = last_item = time.monotonic()
    try:
        for item in source:
            now = time.monotonic()
            heard.gaps.append(now - last)
            last = now
            assert now - began < DEADLINE
            if item is not None:
                heard.items.append(item)
                last_item = now
            if isinstance(item, GreyFrame):
                heard.ages.append(now - source.captured(tick_time(item.tick)))
            if until(heard):
                break
    except SourceFailure as failure:
        heard.failure = failure
        heard.failed_after = time.monotonic() - last_item
    finally:
        heard.clock = source.clock()
        heard.dropped = source.dropped
        source.close()
        source.close()
    return heard


def n_greys(number: int) -> Callable[[Heard], bool]:
    return lambda heard: sum(isinstance(item, GreyFrame) for item in heard.items) >= number


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, and what is wrong by name."""

    protocol_version = "HTTP/1.0"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        name = self.path.lstrip("/").partition("?")[0]
        if name.isdigit():
            self.send_error(int(name))
        elif name == "elsewhere":
            self.send_response(302)
            self.send_header("Location", f"file://{Path(self.directory) / 'clip.mp4'}")
            self.end_headers()
        elif name.startswith(("half-", "stall-")):
            how, _, rest = name.partition("-")
            data = (Path(self.directory) / rest).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            if how == "stall":
                self.server.stalled.wait(DEADLINE)  # type: ignore[attr-defined]
        elif name.startswith("unsized-"):
            self.send_response(200)
            self.end_headers()
            self.wfile.write((Path(self.directory) / name.partition("-")[2]).read_bytes())
        else:
            super().do_GET()


@pytest.fixture(scope="module")
def web(media: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Return the address of a web server, and its folder with clips of a second."""
    folder = tmp_path_factory.mktemp("web")
    options = {"movflags": "faststart"}
    media.make_clip(folder / "clip.mp4", duration=1.2, container_options=options, **H264)
    media.make_clip(folder / "clip.ts", duration=1.2, audio_codec="mp2", **H264)
    handler = functools.partial(Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.stalled = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.stalled.set()  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()


def assert_equal_to_file(heard: Heard, file: Any) -> None:
    """Check that a session holds exactly what `FileSource` gives of the same media."""
    greys, pictures = heard.greys(), {p.step: p.image for p in heard.of(Picture)}
    assert list(greys) == list(file.greys)
    assert all(np.array_equal(greys[tick], file.greys[tick]) for tick in greys)
    assert list(pictures) == list(file.pictures)
    assert all(np.array_equal(pictures[step], file.pictures[step]) for step in pictures)
    waveform, missing = heard.sound()
    np.testing.assert_array_equal(waveform, file.waveform)
    flags = np.concatenate([np.full(len(c.waveform), c.missing) for c in file.chunks])
    np.testing.assert_array_equal(missing, flags)
    assert heard.of(End) == [file.end]


# What a stream gives is what the file gives


def test_a_recording_on_a_web_server_is_the_file(web: tuple[str, Path], read: Read) -> None:
    heard = play(f"{web[0]}/clip.mp4")
    assert heard.failure is None
    assert_equal_to_file(heard, read(web[1] / "clip.mp4"))
    info = heard.of(Opened)[0].info
    assert info == read(web[1] / "clip.mp4", name="stage").source.info


def test_a_recording_comes_in_real_time(web: tuple[str, Path]) -> None:
    began = time.monotonic()
    heard = play(f"{web[0]}/clip.mp4")
    assert time.monotonic() - began > 1.15
    assert max(heard.ages) < 0.3
    assert max(heard.gaps) < IDLE + 0.3


def test_a_recording_can_be_looped(web: tuple[str, Path]) -> None:
    heard = play(f"{web[0]}/clip.mp4", lambda heard: len(heard.sessions) == 2, loop=True)
    assert isinstance(heard.sessions[0][-1], End)


def test_a_live_stream_is_the_file(web: tuple[str, Path], read: Read) -> None:
    # Without a length it has no end that is known; it is taken to be live, and comes at once.
    heard = play(f"{web[0]}/unsized-clip.ts")
    assert_equal_to_file(heard, read(web[1] / "clip.ts"))
    assert heard.failure is not None
    assert heard.failure.kind == "ended"
    assert max(heard.ages) < 0.3


def test_a_playlist_of_segments_is_the_file(
    web: tuple[str, Path], read: Read, make_clip: MakeClip
) -> None:
    segments = web[1] / "hls"
    segments.mkdir()
    clip = make_clip("long.ts", duration=1.6, audio_codec="mp2", **H264)
    _remux_to_hls(clip, segments / "vod.m3u8")
    parts = sorted(segments.glob("*.ts"))
    assert len(parts) == 4
    whole = segments / "whole.ts"
    whole.write_bytes(b"".join(part.read_bytes() for part in parts))
    heard = play(f"{web[0]}/hls/vod.m3u8")
    assert heard.failure is None
    assert_equal_to_file(heard, read(whole))


def _remux_to_hls(clip: Path, playlist: Path) -> None:
    options = {"hls_time": "0.4", "hls_playlist_type": "vod", "hls_list_size": "0"}
    with (
        av.open(str(clip)) as source,
        av.open(str(playlist), "w", format="hls", container_options=options) as target,
    ):
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                target.mux_one(packet)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_rtsp_is_the_file(make_clip: MakeClip, read: Read, transport: str) -> None:
    path = make_clip("clip.mkv", duration=1.2, audio_codec="pcm_s16be", **H264)
    with RtspServer(path, playback=Playback(is_live=False, is_looped=False)) as server:
        heard = play(server.url, transport=transport)
    file = read(path)
    assert heard.failure is not None
    assert heard.failure.kind in ("ended", "lost", "timeout")
    greys = heard.greys()
    assert len(greys) >= 8
    assert all(np.array_equal(image, file.greys[tick]) for tick, image in greys.items())
    waveform, missing = heard.sound()
    n = min(len(waveform), len(file.waveform)) - 400
    assert not missing[:n].any()
    np.testing.assert_allclose(waveform[:n], file.waveform[:n], atol=1e-3)


# Faults that are told apart


@pytest.mark.parametrize(
    ("path", "kind", "heals"),
    [
        ("401", "auth", False),
        ("403", "forbidden", True),
        ("404", "not_found", True),
        ("429", "forbidden", True),
        ("503", "lost", True),
        ("elsewhere", "unsupported", False),
        ("nowhere.mp4", "not_found", True),
    ],
)
def test_answers_of_a_web_server_are_told_apart(
    web: tuple[str, Path], path: str, kind: str, heals: bool
) -> None:
    heard = play(f"{web[0].replace('//', '//u:hunter2@')}/{path}?token=hunter2")
    assert heard.failure is not None
    assert (heard.failure.kind, heard.failure.may_heal) == (kind, heals)
    assert "hunter2" not in str(heard.failure)
    assert "***" in str(heard.failure)
    assert not heard.items


def test_a_playlist_does_not_lead_to_files(web: tuple[str, Path]) -> None:
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{web[1]}/clip.ts\n#EXT-X-ENDLIST"
    (web[1] / "evil.m3u8").write_text(text)
    heard = play(f"{web[0]}/evil.m3u8")
    assert heard.failure is not None
    assert heard.failure.kind == "damaged"


def test_what_is_no_video_is_damaged(web: tuple[str, Path]) -> None:
    (web[1] / "page.html").write_text("<html>" * 1000)
    heard = play(f"{web[0]}/page.html")
    assert heard.failure is not None
    assert heard.failure.kind == "damaged"


@pytest.mark.parametrize("scheme", ["http", "https", "rtsp", "rtsps", "rtmp"])
def test_a_port_without_a_server_refuses(scheme: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        heard = play(f"{scheme}://u:hunter2@127.0.0.1:{taken.getsockname()[1]}/1")
    assert heard.failure is not None
    assert heard.failure.kind == "refused"
    assert "hunter2" not in str(heard.failure)


@pytest.mark.parametrize("scheme", ["http", "https", "rtsp", "rtsps", "rtmp"])
def test_a_server_that_says_nothing_is_given_up_in_time(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        heard = play(f"{scheme}://127.0.0.1:{server.getsockname()[1]}/1", timeout=0.3)
        assert time.monotonic() - began < 1.3
    assert heard.failure is not None
    assert heard.failure.kind == "timeout"
    assert "0.3 s" in str(heard.failure)
    assert max(heard.gaps, default=0.0) < IDLE + 0.3


def test_an_unknown_host_is_told_from_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    heard = play("rtsp://u:hunter2@no.such.invalid/1")
    assert heard.failure is not None
    assert heard.failure.kind == "dns"
    assert "'no.such.invalid'" in str(heard.failure)


@pytest.fixture(scope="module")
def clip(media: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 2 s of video with AAC, for RTSP."""
    path: Path = media.make_clip(tmp_path_factory.mktemp("rtsp") / "clip.mp4", **H264)
    return path


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("user", "mount", "kind"),
    [("user:wrong@", "", "auth"), ("", "", "auth"), ("user:password@", "x", "not_found")],
)
def test_answers_of_an_rtsp_server_are_told_apart(
    clip: Path, transport: str, user: str, mount: str, kind: str
) -> None:
    with RtspServer(clip, authorisation=Authorisation("digest")) as server:
        heard = play(server.url.replace("//", f"//{user}") + mount, transport=transport)
    assert heard.failure is not None
    assert heard.failure.kind == kind
    assert "wrong@" not in str(heard.failure)


def test_the_right_password_opens_the_stream(clip: Path) -> None:
    with RtspServer(clip, authorisation=Authorisation("digest")) as server:
        heard = play(server.url.replace("//", "//user:password@"), n_greys(1))
    assert heard.failure is None


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_connection_that_falls_silent_times_out(clip: Path, transport: str) -> None:
    with RtspServer(clip) as server:

        def stall(heard: Heard) -> bool:
            if n_greys(4)(heard):
                server.stall()
            return False

        heard = play(server.url, stall, transport=transport, timeout=0.7)
    assert heard.failure is not None
    assert heard.failure.kind == "timeout"
    assert 0.4 < heard.failed_after < 1.7
    assert max(heard.gaps) < IDLE + 0.5


def test_a_connection_that_is_cut_is_lost_at_once(clip: Path) -> None:
    with RtspServer(clip) as server:

        def cut(heard: Heard) -> bool:
            if n_greys(4)(heard):
                server.cut()
            return False

        heard = play(server.url, cut)
    assert heard.failure is not None
    assert heard.failure.kind in ("lost", "ended")
    assert heard.failed_after < 1


@pytest.mark.parametrize(
    ("path", "kind"), [("half-clip.mp4", "lost"), ("stall-clip.mp4", "timeout")]
)
def test_a_recording_that_breaks_off_is_shown_so_far(
    web: tuple[str, Path], read: Read, path: str, kind: str
) -> None:
    heard = play(f"{web[0]}/{path}", timeout=1.5)
    assert heard.failure is not None
    assert heard.failure.kind == kind
    greys = heard.greys()
    file = read(web[1] / "clip.mp4")
    assert 2 <= len(greys) < len(file.greys)
    assert all(np.array_equal(image, file.greys[tick]) for tick, image in greys.items())


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FileNotFoundError(2, "x"), "unplugged"),
        (OSError(19, "No such device"), "unplugged"),
        (OSError(16, "Device or resource busy"), "busy"),
        (PermissionError(13, "x"), "forbidden"),
        (OSError(25, "Inappropriate ioctl"), "unsupported"),
    ],
)
def test_errors_of_a_camera_are_told_apart(error: OSError, kind: str) -> None:
    assert failure_of(error, parse_locator("/dev/video0"), 5.0).kind == kind


def test_a_camera_that_is_not_there_is_unplugged(tmp_path: Path) -> None:
    heard = play(f"v4l2://{tmp_path}/video0")
    assert heard.failure is not None
    assert heard.failure.kind == "unplugged"


# What happens on the way


def test_sound_that_vanishes_is_filled_as_missing(clip: Path) -> None:
    with RtspServer(clip) as server:

        def drop(heard: Heard) -> bool:
            if n_greys(4)(heard):
                server.drop_audio()
            return n_greys(18)(heard)

        heard = play(server.url, drop)
    waveform, missing = heard.sound()
    last_tick = max(heard.greys())
    # Closely, once it is clear that there is none: no step may be too late for waiting for it.
    assert len(waveform) / SAMPLE_RATE > tick_time(last_tick) - 0.5
    assert missing[-SAMPLE_RATE // 4 :].all()
    assert not missing[SAMPLE_RATE // 4 : SAMPLE_RATE // 2].any()
    ticks = list(heard.greys())
    assert ticks == list(range(ticks[0], ticks[-1] + 1))


def test_another_picture_size_begins_another_session(clip: Path, make_clip: MakeClip) -> None:
    larger = make_clip("larger.mp4", size=(160, 60), **H264)
    with RtspServer(clip) as server:
        changed = itertools.count()

        def change(heard: Heard) -> bool:
            if n_greys(4)(heard) and next(changed) == 0:
                server.change_to(larger)
            return len(heard.sessions) == 2 and len(heard.greys(1)) >= 4

        heard = play(server.url, change)
    first, second = heard.sessions
    assert isinstance(first[-1], End)
    assert [heard.of(Opened, n)[0].info.width for n in (0, 1)] == [80, 160]
    assert second[0] is heard.of(Opened, 1)[0]
    assert heard.greys(0)[0].shape != heard.greys(1)[min(heard.greys(1))].shape
    assert min(heard.greys(1)) == 0
    heard.sound(0)
    heard.sound(1)


def test_rtp_timestamps_that_wrap_leave_no_trace(clip: Path, media: ModuleType) -> None:
    playback = Playback(is_live=False, is_looped=False, wrap_after=0.6)
    with RtspServer(clip, playback=playback) as server:
        heard = play(server.url, n_greys(11))
    assert list(heard.greys()) == list(range(11))
    numbers = {tick: media.number(image) for tick, image in heard.greys().items()}
    assert numbers == {tick: int((tick_time(tick) + 0.0011) * 25) for tick in numbers}


def test_sender_reports_are_noticed(clip: Path) -> None:
    with RtspServer(clip) as server:
        with_reports = play(server.url, n_greys(6)).clock
    with RtspServer(clip, playback=Playback(report_every=float("inf"))) as server:
        without = play(server.url, n_greys(6)).clock
    assert with_reports is not None
    assert without is not None
    assert (with_reports.kind, without.kind) == ("rtcp", "arrival")
    assert without.uncertainty_ms is not None


def test_pictures_are_young_when_they_come(clip: Path) -> None:
    with RtspServer(clip) as server:
        heard = play(server.url, n_greys(14))
    # What came while FFmpeg looked into the stream is older.
    assert np.median(heard.ages) < 0.3


def test_the_sound_can_be_moved(web: tuple[str, Path]) -> None:
    begins = []
    for offset in (0.0, 0.25):
        _, missing = play(f"{web[0]}/unsized-clip.ts", n_greys(3), av_offset=offset).sound()
        begins.append(np.flatnonzero(~missing)[0] / SAMPLE_RATE)
    # The sound came some milliseconds before the picture; now the picture comes first.
    assert begins[1] - begins[0] == pytest.approx(0.25, abs=0.04)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg, which serves RTMP")
def test_rtmp_is_played(web: tuple[str, Path], media: ModuleType) -> None:
    port = _free_port()
    url = f"rtmp://127.0.0.1:{port}/live/stage"
    command = ["ffmpeg", "-v", "error", "-re", "-i", str(web[1] / "clip.mp4"), "-c", "copy"]
    command += ["-f", "flv", "-listen", "1", url]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + DEADLINE
            heard = play(url)
            while heard.failure is not None and heard.failure.kind == "refused":
                assert time.monotonic() < deadline
                heard = play(url)
        finally:
            server.kill()
    numbers = {tick: media.number(image) for tick, image in heard.greys().items()}
    assert len(numbers) >= 8
    # The sound begins before the picture, by what its encoder needs to get going.
    late = [tick_time(tick) * 25 - number for tick, number in numbers.items() if number]
    assert max(late) < 4
    assert max(late) - min(late) < 1.1


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def test_pictures_are_let_go_of_without_the_garbage_collector(clip: Path) -> None:
    gc.collect()
    gc.disable()
    try:
        with RtspServer(clip) as server:
            play(server.url, n_greys(16))
        n_kept = sum(type(kept) is VideoFrame for kept in gc.get_objects())
    finally:
        gc.enable()
    assert n_kept < 3


def test_a_late_reader_skips_pictures_and_counts_them(clip: Path, media: ModuleType) -> None:
    with RtspServer(clip, playback=Playback(is_live=False)) as server:
        late = itertools.count()

        def sleep(heard: Heard) -> bool:
            if n_greys(4)(heard) and next(late) == 0:
                time.sleep(1.7)  # as a machine that has too much to do
            return n_greys(13)(heard)

        heard = play(server.url, sleep)
    ticks = list(heard.greys())
    before, after = next(pair for pair in itertools.pairwise(ticks) if pair[1] - pair[0] > 1)
    assert after - before > 8
    steps = {tick // 4 for tick in range(before + 1, after) if tick % 4 == 0}
    assert heard.dropped == {"behind": len(steps)}
    assert [item.step for item in heard.of(Picture)] == [t // 4 for t in ticks if t % 4 == 0]
    for tick in ticks[:-1]:  # the clip of 50 pictures is played again and again
        expected = int((tick_time(tick) + 0.0011) * 25)
        assert abs(media.number(heard.greys()[tick]) - expected % 50) in (0, 1, 49)
    _, missing = heard.sound()
    assert not missing[SAMPLE_RATE // 4 :].any()
    assert max(heard.ages[-3:]) < 0.7


def test_a_pause_of_the_stream_is_no_standing_picture(clip: Path) -> None:
    with RtspServer(clip) as server:
        calls = itertools.count()

        def pause(heard: Heard) -> bool:
            if n_greys(4)(heard) and next(calls) == 0:
                server.stall()
                threading.Timer(2.3, server.resume).start()
            return n_greys(10)(heard)

        heard = play(server.url, pause)
    ticks = list(heard.greys())
    assert max(b - a for a, b in itertools.pairwise(ticks)) > 8
    assert heard.failure is None
    _, missing = heard.sound()
    assert missing[SAMPLE_RATE // 2 :].mean() > 0.4
    assert not heard.dropped


def test_a_growing_playlist_is_held_back_to_real_time(
    web: tuple[str, Path], read: Read, make_clip: MakeClip
) -> None:
    folder = web[1] / "live"
    folder.mkdir()
    clip = make_clip("clip.ts", duration=2.4, audio_codec="mp2", **H264)
    _remux_to_hls(clip, folder / "vod.m3u8")
    parts = sorted(folder.glob("vod*.ts"))
    began = time.monotonic()

    def grow(heard: Heard) -> bool:
        n_parts = 3 + int((time.monotonic() - began) / 0.4)
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1"]
        lines.append("#EXT-X-MEDIA-SEQUENCE:0")
        for part in parts[:n_parts]:
            lines += ["#EXTINF:0.4,", part.name]
        (folder / "next").write_text("\n".join([*lines, ""]))
        (folder / "next").replace(folder / "live.m3u8")
        return n_greys(13)(heard)

    grow(Heard())
    heard = play(f"{web[0]}/live/live.m3u8", grow)
    assert heard.failure is None
    assert heard.of(Opened)[0].info.duration is None
    whole = folder / "whole.ts"
    whole.write_bytes(b"".join(part.read_bytes() for part in parts))
    greys = read(whole).greys
    assert all(np.array_equal(image, greys[tick]) for tick, image in heard.greys().items())
    assert max(heard.ages) < 0.3


def test_a_certificate_that_nobody_vouches_for_is_refused_unless_told_otherwise(
    make_clip: Callable[..., Path], tmp_path: Path
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    key, pem = tmp_path / "key.pem", tmp_path / "both.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout"
    subprocess.run([*command.split(), key, "-out", pem], check=True, capture_output=True)
    pem.write_text(pem.read_text() + key.read_text())
    with RtspServer(make_clip(**H264), certificate=pem) as server:
        for verify in (True, False):
            config = SourceConfig(url=server.url, verify_certificate=verify)
            locator = parse_locator(server.url)
            if verify:
                with pytest.raises(SourceFailure, match=r"not trusted .*; give it one") as failure:
                    connect(locator, config)
                assert not failure.value.may_heal
            else:
                connect(locator, config).close()
