"""A real `playspot run` whose sources fail in all ways that sources fail; the others do not notice.

Two runs: one of RTSP cameras that break and come back, one of other protocols and of servers that
send too much. Each fault falls upon a source of its own.
"""

import functools
import itertools
import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from playspot.stream.timeline import STEP
from playspot.training.bandstand import render_clip
from playspot.training.repeat import repeat
from playspot.training.rtp_player import Playback
from playspot.training.rtsp_connection import Authorisation
from playspot.training.rtsp_server import RtspServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

TIMEOUT = 2.0  # s; of every source
NOTICE = TIMEOUT + 2.0  # s until a dead connection is told
BACK = 12.0  # s until a source that can be reached again is there: the longest delay, and a start
SECRET = "hunter2"
READER_MB = 250  # that no reader takes, whatever it is sent
SEGMENT = 1.0  # s
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
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with clips: a violin, the same larger, and a long one as MP4 and TS."""
    folder = tmp_path_factory.mktemp("faults")
    for name, size in (("clip", (256, 144)), ("larger", (320, 180))):
        options: Any = {"level": "easy", "duration": 8.0, "labels": ["violin"], "size": size}
        render_clip(folder / f"{name}.mp4", seed=4, key_interval=1.0, **options)
    repeat(folder / "clip.mp4", folder / "long.mp4", 120.0)
    return folder


class Watching:
    """A run, and what can be said of its sources."""

    def __init__(self, live: ModuleType, folder: Path, sources: dict[str, Any]) -> None:
        folder.mkdir()
        self.sources = sources
        self.journal = folder / "journal"
        self.program = live.RunningProgram({"sources": sources}, folder)

    def add(self, source: str, **config: Any) -> None:
        """Let the run watch one more source, as its user does."""
        self.sources[source] = {"timeout": TIMEOUT, **config}
        self.program.write_config(sources=self.sources)
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

    def wait_for_state(self, source: str, *states: tuple[str, str | None], seconds: float) -> float:
        """Return the seconds that it took."""
        began = time.monotonic()
        self.program.wait(lambda: self.state(source) in states, seconds)
        return time.monotonic() - began

    def rss_mb(self, source: str) -> float:
        return psutil.Process(self.program.pid(f"reader {source}")).memory_info().rss / 2**20

    def check_undisturbed(self, source: str, first: int = 0) -> None:
        """Check that a source had every step, each complete."""
        steps = self.steps(source, first)
        numbers = [step["step"] for step in steps]
        assert numbers == [*range(numbers[0], numbers[0] + len(numbers))]
        assert [s["step"] for s in steps if [*s["status"].values()] != ["ok"] * 3] == []
        assert self.program.statuses[source]["dropped"] == {}

    def finish(self) -> None:
        """End the run; check what is true of it whatever its sources did."""
        self.check_undisturbed("steady")
        for source in self.sources:
            numbers = [step["step"] for step in self.steps(source)]
            assert all(later > earlier for earlier, later in itertools.pairwise(numbers)), source
            status = self.program.statuses[source]
            under_way = status["steps"] - status["published"] - sum(status["dropped"].values())
            assert -1 <= under_way <= 8, source
        assert self.program.stop() == 130
        told = json.dumps([self.program.statuses, self.program.steps, self.program.events])
        kept = b"".join(p.read_bytes() for p in self.journal.rglob("*") if p.is_file())
        assert SECRET not in self.program.log.read_text() + told
        assert kept
        assert SECRET.encode() not in kept


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
def cameras(
    live: ModuleType, folder: Path, servers: dict[str, RtspServer]
) -> Iterator[Watching]:
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
        watching = Watching(live, folder / "cameras", sources)
        with watching.program as program:
            program.wait_for_steps(["steady", "cut", "refuse", "stall", "sound"])
            program.wait(lambda: program.statuses.keys() >= {"", *sources})
            yield watching


def test_a_cable_that_is_pulled_out_is_noticed_and_comes_back(
    cameras: Watching, folder: Path, netns: ModuleType
) -> None:
    program = cameras.program
    with netns.Namespace() as there:
        arguments = ("-m", "playspot.training.rtsp_server", str(folder / "clip.mp4"))
        with there.run(*arguments, "--host", there.address, "--port", "8554") as server:
            try:
                assert server.stdout is not None
                cameras.add("far", url=server.stdout.readline().strip())
                is_open = functools.partial(_open_event, program, "far")
                opened = program.wait(is_open)
                there.pull_out()
                last = cameras.wait_for_state("far", ("retrying", "timeout"), seconds=NOTICE)
                assert last < NOTICE
                program.wait(lambda: not is_open(), NOTICE)
                of_it = [e for e in program.events if e["id"] == opened["id"]]
                assert of_it[-1]["end_reason"] == "source_lost"
                positive = [e for e in of_it if e["type"] != "end"][-1]
                assert of_it[-1]["end_time"] == pytest.approx(positive["time"] + STEP / 2)
                program.wait(lambda: len(cameras.delays("far")) >= 2)
                there.plug_in()
                program.wait_for_steps(["far"], seconds=BACK)
                cameras.wait_for_state("far", ("live", None), seconds=2.0)
                del cameras.sources["far"]
                program.write_config(sources=cameras.sources)
                program.process.send_signal(signal.SIGHUP)
                program.wait(lambda: "far" not in program.statuses[""]["sources"])
            finally:
                server.kill()


def _open_event(program: Any, source: str) -> dict[str, Any] | None:
    """Return the newest event of a source if that has not ended."""
    own = [event for event in program.events if event["source"] == source]
    return own[-1] if own and own[-1]["type"] != "end" else None


def test_a_connection_that_is_cut_is_made_again_at_once(
    cameras: Watching, servers: dict[str, RtspServer]
) -> None:
    servers["cut"].cut()
    cameras.program.wait(lambda: cameras.lines("cut"), NOTICE)
    assert cameras.delays("cut")[0] < 1.0
    assert cameras.program.wait_for_steps(["cut"], seconds=BACK) < BACK


def test_a_camera_that_refuses_is_tried_ever_more_seldom_until_it_is_back(
    cameras: Watching, servers: dict[str, RtspServer]
) -> None:
    servers["refuse"].refuse()
    servers["refuse"].cut()
    cameras.program.wait(lambda: len(cameras.delays("refuse")) >= 4)
    assert cameras.state("refuse")[1] == "refused"
    servers["refuse"].accept()
    cameras.program.wait_for_steps(["refuse"], seconds=BACK)
    cameras.wait_for_state("refuse", ("live", None), seconds=2.0)
    assert_growing(cameras.delays("refuse"))


def assert_growing(delays: list[float]) -> None:
    """Check that delays double, each with a random part of up to a quarter."""
    for n, delay in enumerate(delays):
        assert 0.9 * 0.5 * 2**n < delay < 1.35 * 0.5 * 2**n


def test_a_camera_that_says_nothing_more_times_out_and_comes_back(
    cameras: Watching, servers: dict[str, RtspServer]
) -> None:
    servers["stall"].stall()
    cameras.wait_for_state("stall", ("retrying", "timeout"), seconds=NOTICE)
    servers["stall"].resume()
    cameras.program.wait_for_steps(["stall"], seconds=BACK)


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
    before = cameras.steps("sound")[-1]["base"]
    pid = cameras.program.pid("reader sound")
    servers["sound"].change_to(folder / "larger.mp4")
    cameras.program.wait(lambda: cameras.steps("sound")[-1]["base"] > before, NOTICE)
    cameras.program.wait_for_steps(["sound"], seconds=BACK)
    assert cameras.program.pid("reader sound") == pid
    assert cameras.lines("sound") == []


def test_a_wrong_password_is_said_once_and_left(
    cameras: Watching, servers: dict[str, RtspServer]
) -> None:
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


def test_nobody_else_noticed_and_no_password_was_told(cameras: Watching) -> None:
    cameras.finish()
