"""A real `playspot run` whose sources fail in all ways that sources fail; the others do not notice.

Two runs: one of RTSP cameras that break and come back, one of other protocols and of servers that
send too much. Each fault falls upon a source of its own.
"""

import functools
import http.server
import itertools
import json
import os
import re
import signal
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import psutil
import pytest

from playspot.stream.timeline import STEP
from playspot.training.bandstand import render_clip
from playspot.training.repeat import repeat
from playspot.training.rtp_player import Playback
from playspot.training.rtsp_connection import Authorisation
from playspot.training.rtsp_server import RtspServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.live,
    pytest.mark.clock,
]

TIMEOUT = 2.0  # s; of every source
NOTICE = TIMEOUT + 2.0  # s until a dead connection is told
BACK = 20.0  # s until a source that can be reached again is there: the longest delay, and a start
BUDGET = 8.0  # s; a busy machine does not drop steps that have nothing to do with the fault
SECRET = "hunter2"
PEAK_MB = 250  # that no process takes, whatever it is sent
LARGE = (7680, 4320)  # pictures whose reader takes more memory than any other process
LIMIT_MB = 220
SEGMENT = 1.0  # s
MAX_LOAD = 2.0  # processes that want to run, a core
DEBIAN_PYTHON = Path("/usr/bin/python3")  # which has Debian's gi
GSTREAMER_SERVER = """
import sys, gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer(); server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(f"( filesrc location={sys.argv[2]} ! qtdemux name=d"
    " d. ! queue ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1"
    " d. ! queue ! aacparse ! rtpmp4gpay name=pay1 pt=97 )")
server.get_mount_points().add_factory("/stage", factory)
assert server.attach(None)
GLib.timeout_add_seconds(240, sys.exit)
print("ready", flush=True)
GLib.MainLoop().run()
"""


@pytest.fixture(scope="module")
def folder(media: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with clips: a violin, the same larger, and a long one as MP4 and TS."""
    folder = tmp_path_factory.mktemp("faults")
    for name, size in (("clip", (256, 144)), ("larger", (320, 180))):
        options: Any = {"level": "easy", "duration": 8.0, "labels": ["violin"], "size": size}
        render_clip(folder / f"{name}.mp4", seed=4, key_interval=1.0, **options)
    repeat(folder / "clip.mp4", folder / "long.mp4", 120.0)
    options = {"video_codec": "libx264", "video_options": {"preset": "ultrafast"}}
    media.make_clip(folder / "large.mp4", duration=2.0, size=LARGE, video_rate=1, **options)
    return folder


class Watching:
    """A run, and what can be said of its sources."""

    def __init__(self, live: ModuleType, folder: Path, sources: dict[str, Any]) -> None:
        folder.mkdir()
        self.sources = sources
        self.journal = folder / "journal"
        config = {"sources": sources, "budget": BUDGET}
        self.program = live.RunningProgram(config, folder)
        self.peaks: dict[int, float] = {}  # MB that each process took at most

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Look at the memory of all processes, those that live for half a second as well."""
        is_over = threading.Event()

        def look() -> None:
            while not is_over.wait(0.1):
                with suppress(psutil.NoSuchProcess, OSError):
                    for process in psutil.Process(self.program.process.pid).children():
                        status = Path(f"/proc/{process.pid}/status").read_text()
                        if peak := re.search(r"VmHWM:\s+(\d+) kB", status):
                            self.peaks[process.pid] = int(peak[1]) / 1024

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    @contextmanager
    def also(self, **sources: dict[str, Any]) -> Iterator[None]:
        """Let the run watch more sources for a while, as its user does."""
        self.reload(sources=self.sources | sources)
        yield
        self.reload(sources=self.sources)
        self.program.wait(lambda: not sources.keys() & self.program.statuses[""]["sources"].keys())

    def reload(self, **changes: Any) -> None:
        self.program.write_config(**changes)
        self.program.process.send_signal(signal.SIGHUP)

    def steps(self, source: str, first: int = 0) -> list[dict[str, Any]]:
        return [step for step in self.program.steps[first:] if step["source"] == source]

    def lines(self, source: str) -> list[str]:
        """Return what the log says of a source, but for its states."""
        found = re.findall(rf"^\S+ {source}: (.*)$", self.program.log.read_text(), re.MULTILINE)
        return [line for line in found if " " in line]

    def delays(self, source: str) -> list[float]:
        tries = (re.search(r"next try in ([\d.]+) s", line) for line in self.lines(source))
        return [float(found[1]) for found in tries if found]

    def state(self, source: str) -> tuple[str, str | None]:
        """Return the state of a source and the kind of its failure, as was published last."""
        status = self.program.statuses.get(source, {"state": "off", "error": None})
        return status["state"], status["error"] and status["error"]["kind"]

    def wait_for_failure(self, source: str, kind: str) -> None:
        # Between two messages it may have been tried again already.
        failed = (("retrying", kind), ("connecting", kind))
        self.program.wait(lambda: self.state(source) in failed, NOTICE)

    def base(self, source: str) -> int:
        """Return which session the newest step of a source is of."""
        return int(self.steps(source)[-1]["base"])

    def wait_for_life(self, source: str, after: int) -> None:
        """Wait for steps of a later session than that of a base."""

        def lives() -> bool:
            later = [step["status"] for step in self.steps(source) if step["base"] > after]
            return sum([*status.values()] == ["ok"] * 3 for status in later) >= 2

        self.program.wait(lives, BACK)
        self.program.wait(lambda: self.state(source) == ("live", None), 2.0)

    def check_undisturbed(self, source: str, first: int = 0) -> None:
        """Check that a source had every step, each complete."""
        skip_if_busy()
        steps = self.steps(source, first)
        numbers = [step["step"] for step in steps]
        assert numbers == [*range(numbers[0], numbers[0] + len(numbers))]
        assert [s["step"] for s in steps if [*s["status"].values()] != ["ok"] * 3] == []
        assert self.program.statuses[source]["dropped"] == {}

    def check_forward(self, source: str) -> None:
        """Check that step numbers only grow."""
        numbers = [step["step"] for step in self.steps(source)]
        assert all(later > earlier for earlier, later in itertools.pairwise(numbers)), source

    def finish(self) -> None:
        """End the run; check what is true of it whatever its sources did."""
        for source in self.sources:
            self.check_forward(source)
            status = self.program.statuses[source]
            under_way = status["steps"] - status["published"] - sum(status["dropped"].values())
            assert -1 <= under_way <= BUDGET / STEP, source
        assert self.program.stop() == 130
        told = json.dumps([self.program.statuses, self.program.steps, self.program.events])
        kept = b"".join(p.read_bytes() for p in self.journal.rglob("*") if p.is_file())
        assert SECRET not in self.program.log.read_text() + told
        assert kept
        assert SECRET.encode() not in kept
        self.check_undisturbed("steady")


def skip_if_busy() -> None:
    """Skip what says that nothing is too late, on a machine that has too much else to do."""
    if os.getloadavg()[0] > MAX_LOAD * (os.cpu_count() or 1):
        pytest.skip("the machine has too much else to do")


# Cameras that break

CAMERAS = ("cut", "refuse", "stall", "sound", "locked")


@pytest.fixture(scope="module")
def servers(folder: Path) -> Iterator[dict[str, RtspServer]]:
    """Return a camera for each fault."""
    with ExitStack() as stack:
        servers = {}
        for name in CAMERAS:
            only = Authorisation("digest" if name == "locked" else "none", "user", "right")
            server = RtspServer(folder / "clip.mp4", authorisation=only)
            servers[name] = stack.enter_context(server)
        yield servers


@pytest.fixture(scope="module")
def cameras(live: ModuleType, folder: Path, servers: dict[str, RtspServer]) -> Iterator[Watching]:
    """Return a run of all cameras, of some that are not there, and of a file."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        urls = {name: server.url for name, server in servers.items()}
        urls["absent"] = urls["cut"] + "x"
        urls["closed"] = f"rtsp://127.0.0.1:{taken.getsockname()[1]}/stage"
        urls["unknown"] = "rtsp://stage.invalid/1"
        sources: dict[str, Any] = {
            name: {"url": url.replace("//", f"//user:{SECRET}@"), "timeout": TIMEOUT}
            for name, url in urls.items()
        }
        sources["steady"] = {"url": str(folder / "clip.mp4"), "loop": True}
        sources["skew"] = {"url": "bandstand://?seed=3&skew_ppm=200&step_ms=300&step_at=10"}
        sources["large"] = {"url": str(folder / "large.mp4"), "loop": True}
        watching = Watching(live, folder / "cameras", sources)
        with watching.program as program:
            program.wait_for_steps(["steady", "cut", "refuse", "stall", "sound"])
            program.wait(lambda: program.statuses.keys() >= {"", *sources})
            yield watching


def test_a_wrong_password_is_said_once_and_left(
    cameras: Watching, servers: dict[str, RtspServer]
) -> None:
    cameras.program.wait(lambda: cameras.delays("absent")[2:])  # in that time nothing more is tried
    assert cameras.state("locked") == ("failed", "auth")
    (line,) = cameras.lines("locked")
    assert "password" in line
    assert line.endswith("(not tried again)")
    assert servers["locked"].n_connections <= 2  # one is left for the question of digest
    processes = [cameras.program.process.pid]
    processes += [c.pid for c in psutil.Process(processes[0]).children(recursive=True)]
    assert len(processes) > 9
    for pid in processes:
        try:
            assert SECRET not in " ".join(psutil.Process(pid).cmdline())
        except psutil.NoSuchProcess:  # a reader that was tried
            continue


def test_a_cable_that_is_pulled_out_is_noticed_and_comes_back(
    cameras: Watching, folder: Path, netns: ModuleType
) -> None:
    program = cameras.program
    with netns.Namespace() as there, there.serve(folder / "clip.mp4") as url, ExitStack() as stack:
        stack.enter_context(cameras.also(far={"url": url, "timeout": TIMEOUT}))
        is_open = functools.partial(_open_event, program, "far")
        opened = program.wait(is_open)
        base = cameras.base("far")
        there.pull_out()
        cameras.wait_for_failure("far", "timeout")
        program.wait(lambda: not is_open(), NOTICE)
        of_it = [event for event in program.events if event["id"] == opened["id"]]
        assert of_it[-1]["end_reason"] == "source_lost"
        positive = [event for event in of_it if event["type"] != "end"][-1]
        assert of_it[-1]["end_time"] == pytest.approx(positive["time"] + STEP / 2)
        program.wait(lambda: len(cameras.delays("far")) >= 2)
        there.plug_in()
        cameras.wait_for_life("far", base)
    cameras.check_forward("far")


def _open_event(program: Any, source: str) -> dict[str, Any] | None:
    """Return the newest event of a source if that has not ended."""
    own = [event for event in program.events if event["source"] == source]
    return own[-1] if own and own[-1]["type"] != "end" else None


def test_a_connection_that_is_cut_is_made_again_at_once(
    cameras: Watching, servers: dict[str, RtspServer]
) -> None:
    base = cameras.base("cut")
    servers["cut"].cut()
    cameras.program.wait(lambda: cameras.lines("cut"), NOTICE)
    assert cameras.delays("cut")[0] < 1.0
    cameras.wait_for_life("cut", base)


def test_a_camera_that_refuses_is_tried_ever_more_seldom_until_it_is_back(
    cameras: Watching, servers: dict[str, RtspServer]
) -> None:
    base = cameras.base("refuse")
    servers["refuse"].refuse()
    servers["refuse"].cut()
    cameras.program.wait(lambda: len(cameras.delays("refuse")) >= 3)
    assert cameras.state("refuse")[1] == "refused"
    servers["refuse"].accept()
    cameras.wait_for_life("refuse", base)
    assert_growing(cameras.delays("refuse"))


def assert_growing(delays: list[float]) -> None:
    """Check that delays double, each with a random part of up to a quarter."""
    for n, delay in enumerate(delays):
        assert 0.9 * 0.5 * 2**n < delay < 1.35 * 0.5 * 2**n


def test_a_camera_that_says_nothing_more_times_out_and_comes_back(
    cameras: Watching, servers: dict[str, RtspServer]
) -> None:
    base = cameras.base("stall")
    servers["stall"].stall()
    cameras.wait_for_failure("stall", "timeout")
    servers["stall"].resume()
    cameras.wait_for_life("stall", base)


def test_sound_that_vanishes_is_missing_and_comes_back(
    cameras: Watching, servers: dict[str, RtspServer]
) -> None:
    first = len(cameras.program.steps)
    servers["sound"].drop_audio()
    cameras.program.wait(lambda: cameras.steps("sound", first)[6:], NOTICE)
    servers["sound"].restore_audio()
    cameras.program.wait_for_steps(["sound"], 3, seconds=NOTICE)
    steps = cameras.steps("sound", first)
    assert {s["status"][name] for s in steps for name in ("action", "object")} == {"ok"}
    heard = [step["status"]["sound"] for step in steps]
    assert re.fullmatch("o*s{0,3}m{3,}s{0,2}o{3,}", "".join(word[0] for word in heard))
    numbers = [step["step"] for step in steps]
    assert numbers == [*range(numbers[0], numbers[0] + len(numbers))]


def test_another_picture_size_is_another_session(
    cameras: Watching, servers: dict[str, RtspServer], folder: Path
) -> None:
    base = cameras.base("sound")
    pid = cameras.program.pid("reader sound")
    servers["sound"].change_to(folder / "larger.mp4")
    cameras.wait_for_life("sound", base)
    assert cameras.program.pid("reader sound") == pid
    assert cameras.lines("sound") == []


@pytest.mark.parametrize(
    ("source", "kind"), [("absent", "not_found"), ("closed", "refused"), ("unknown", "dns")]
)
def test_what_is_not_there_is_told_apart_and_tried_again(
    cameras: Watching, source: str, kind: str
) -> None:
    cameras.program.wait(lambda: len(cameras.delays(source)) >= 4)
    assert cameras.state(source) in (("retrying", kind), ("connecting", kind))
    assert_growing(cameras.delays(source))
    assert cameras.steps(source) == []


def test_a_sound_card_that_is_fast_and_jumps_is_found_and_corrected(cameras: Watching) -> None:
    def clock() -> dict[str, Any]:
        report: dict[str, Any] = cameras.program.statuses["skew"]["clock"]
        return report

    cameras.program.wait(lambda: clock()["n_steps_of_clock"])
    cameras.program.wait(lambda: clock()["drift_ppm"] == pytest.approx(200, abs=100))
    assert clock()["kind"] == "device"
    assert clock()["n_steps_of_clock"] == 1
    assert abs(clock()["av_offset_ms"]) < 40
    assert cameras.lines("skew") == []


def test_a_reader_that_is_above_the_memory_limit_is_replaced(cameras: Watching) -> None:
    program = cameras.program

    def reader() -> dict[str, Any]:
        workers = program.statuses[""]["workers"]
        return next(worker for worker in workers if worker["name"] == "reader large")

    program.wait(lambda: reader()["rss_mb"] > LIMIT_MB)
    before, others, base = reader()["pid"], program.pid("detector"), cameras.base("large")
    cameras.reload(memory_limit_mb=LIMIT_MB)
    program.wait(lambda: reader()["pid"] != before, NOTICE)
    cameras.reload(memory_limit_mb=1024)
    assert "memory_limit_mb" in reader()["reason"]
    program.wait(lambda: cameras.lines("large"))
    assert cameras.lines("large")[0].startswith("the reader has grown to")
    assert program.pid("detector") == others
    cameras.wait_for_life("large", base)


def test_nobody_else_noticed_and_no_password_was_told(cameras: Watching) -> None:
    cameras.finish()


# Other protocols, odd timestamps, and servers that send too much


class Web(http.server.SimpleHTTPRequestHandler):
    """A playlist that grows, and answers that never end."""

    began = 0.0
    protocol_version = "HTTP/1.0"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        answers = {
            "/live.m3u8": self._playlist,
            "/noise": self._noise,
            "/header": self._header,
            "/fast.ts": self._fast,
        }
        try:
            answers.get(self.path, super().do_GET)()
        except OSError:  # the reader has had enough
            self.close_connection = True

    def _playlist(self) -> None:
        last = int((time.monotonic() - Web.began) / SEGMENT) + 3
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-TARGETDURATION:{SEGMENT:.0f}"]
        lines.append(f"#EXT-X-MEDIA-SEQUENCE:{last - 3}")
        for number in range(last - 3, last):
            lines += [f"#EXTINF:{SEGMENT},", f"part{number}.ts"]
        self._say("application/vnd.apple.mpegurl")
        self.wfile.write("\n".join([*lines, ""]).encode())

    def _noise(self) -> None:
        self._say("video/mp2t")
        while True:
            self.wfile.write(os.urandom(2**16))

    def _header(self) -> None:
        self.send_response(200)
        self.flush_headers()
        while True:
            self.wfile.write(b"X-More: and more\r\n" * 1000)

    def _fast(self) -> None:
        self._say("video/mp2t")
        content = (Path(self.directory) / "fast.ts").read_bytes()
        while True:
            self.wfile.write(content)

    def _say(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()


class Noise(socketserver.BaseRequestHandler):
    """Noise to whoever connects, whatever is asked."""

    def handle(self) -> None:
        with suppress(OSError):
            while True:
                self.request.sendall(os.urandom(2**16))


class NoHeaderEnd(socketserver.BaseRequestHandler):
    """An RTSP answer whose header does not end."""

    def handle(self) -> None:
        with suppress(OSError):
            self.request.recv(2**16)
            self.request.sendall(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n")
            while True:
                self.request.sendall(b"X-More: and more\r\n" * 1000)


@contextmanager
def serving(server: socketserver.TCPServer) -> Iterator[int]:
    """Let a server serve in a thread; give its port."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


FLOODS = ("noise", "header", "rtsp-noise", "rtsp-header")


@pytest.fixture(scope="module")
def floods(live: ModuleType, folder: Path) -> Iterator[Watching]:
    """Return a run of sources of all kinds."""
    web = folder / "web"
    web.mkdir()
    with av.open(str(folder / "long.mp4")) as source:
        options = {"hls_time": f"{SEGMENT}", "hls_list_size": "0"}
        options["hls_segment_filename"] = str(web / "part%d.ts")
        _copy(source, web / "whole.m3u8", "hls", options)
    with av.open(str(folder / "clip.mp4")) as source:
        _copy(source, web / "fast.ts", "mpegts", {})
    with ExitStack() as stack:
        handler = functools.partial(Web, directory=str(web))
        port = stack.enter_context(
            serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
        )
        base = f"http://user:{SECRET}@127.0.0.1:{port}"
        urls = {name: f"{base}/{name}" for name in ("noise", "header")}
        for name, kind in (("rtsp-noise", Noise), ("rtsp-header", NoHeaderEnd)):
            server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), kind)
            urls[name] = f"rtsp://127.0.0.1:{stack.enter_context(serving(server))}/stage"
        urls |= {"hls": f"{base}/live.m3u8", "fast": f"{base}/fast.ts"}
        playback = Playback(is_live=False, wrap_after=6.0, audio_start=4.0)
        camera = stack.enter_context(RtspServer(folder / "clip.mp4", playback=playback))
        urls["wrap"] = camera.url
        sources: dict[str, Any] = {n: {"url": u, "timeout": TIMEOUT} for n, u in urls.items()}
        sources["steady"] = {"url": str(folder / "clip.mp4"), "loop": True}
        watching = Watching(live, folder / "floods", sources)
        Web.began = time.monotonic()
        with watching.program as program, watching.measured():
            program.wait_for_steps(["steady", "hls", "fast", "wrap"])
            program.wait(lambda: program.statuses.keys() >= {"", *sources})
            yield watching


def _copy(source: Any, path: Path, format_: str, options: dict[str, str]) -> None:
    with av.open(str(path), "w", format=format_, container_options=options) as target:
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)


@pytest.mark.parametrize("source", FLOODS)
def test_a_flood_of_nonsense_fails_with_a_line(floods: Watching, source: str) -> None:
    floods.program.wait(lambda: floods.state(source)[1])
    assert floods.state(source)[1] in ("damaged", "timeout")
    assert re.match(r"(http|rtsp)://[^ ]+: .*\. \(next try in 0\.\d s\)$", floods.lines(source)[0])
    assert floods.steps(source) == []


def test_a_server_that_sends_faster_than_time_is_held_back(floods: Watching) -> None:
    skip_if_busy()
    first = len(floods.program.steps)
    began = time.monotonic()
    floods.program.wait_for_steps(["fast"], 8)
    seconds = time.monotonic() - began
    assert len(floods.steps("fast", first)) == pytest.approx(seconds / STEP, abs=4)
    assert floods.lines("fast") == []


def test_a_playlist_that_grows_is_played_without_a_gap(floods: Watching) -> None:
    floods.program.wait(lambda: len(floods.steps("hls")) >= 16)
    floods.check_undisturbed("hls")
    assert floods.lines("hls") == []


def test_timestamps_that_wrap_and_sound_that_is_late_cost_nothing_more(floods: Watching) -> None:
    floods.program.wait(lambda: len(floods.steps("wrap")) >= 24)
    heard = "".join(step["status"]["sound"][0] for step in floods.steps("wrap"))
    assert re.fullmatch("s{0,3}m{2,}o{10,}", heard)
    assert floods.lines("wrap") == []
    assert floods.program.statuses["wrap"]["sessions"] == 1


def test_gstreamer_serves_and_is_killed_and_serves_again(floods: Watching, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"rtsp://127.0.0.1:{port}/stage"
    sources = {
        f"gst-{how}": {"url": url, "timeout": TIMEOUT, "transport": how} for how in ("tcp", "udp")
    }
    with gstreamer(port, folder / "long.mp4") as server, floods.also(**sources):
        floods.program.wait_for_steps([*sources], 6)
        for source in sources:
            floods.check_undisturbed(source)
        bases = {source: floods.base(source) for source in sources}
        server.kill()
        for source in sources:
            floods.program.wait(lambda name=source: floods.lines(name), NOTICE)
        with gstreamer(port, folder / "long.mp4"):
            for source, base in bases.items():
                floods.wait_for_life(source, base)
    for source in sources:
        floods.check_forward(source)


@contextmanager
def gstreamer(port: int, path: Path) -> "Iterator[subprocess.Popen[str]]":
    """Serve a file by GStreamer's RTSP server; skip where there is none."""
    command = [str(DEBIAN_PYTHON), "-c", GSTREAMER_SERVER, str(port), str(path)]
    if not DEBIAN_PYTHON.exists():
        pytest.skip("needs Debian's Python with GStreamer's RTSP server")
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as server:
        try:
            assert server.stdout is not None
            if server.stdout.readline() != "ready\n":
                assert server.stderr is not None
                reason = server.stderr.read().strip().splitlines()[-1]
                pytest.skip(f"needs GStreamer's RTSP server: {reason}")
            yield server
        finally:
            server.kill()


def test_nobody_else_noticed_the_floods_and_they_took_no_memory(floods: Watching) -> None:
    assert len(floods.peaks) > 16
    assert max(floods.peaks.values()) < PEAK_MB
    floods.finish()
