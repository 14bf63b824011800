"""The examples run: against a real publisher, a real web process, and what they talk to."""

import base64
import csv
import hashlib
import json
import os
import queue
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import zmq

from playspot.stream.events import Event
from playspot.stream.publish import Publisher
from playspot.stream.topics import TOPIC_ROOT
from playspot.training.bandstand import render_clip

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
DEBIAN_MODULES = Path("/usr/share/nodejs")  # where Debian's packages of Node libraries are
DEADLINE = 20.0


def needs(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"needs the program {program}")
    return path


class Program:
    """A program that runs, and what it prints."""

    def __init__(self, *command: str, **environment: str) -> None:
        self._lines: queue.Queue[str] = queue.Queue()
        self._process = subprocess.Popen(
            command,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def line(self) -> str:
        return self._lines.get(timeout=DEADLINE)

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)  # a pipeline is several
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line.strip())


@contextmanager
def running(*command: object, **environment: object) -> Iterator[Program]:
    texts = {name: str(value) for name, value in environment.items()}
    program = Program(*map(str, command), **texts)
    try:
        yield program
    finally:
        program.stop()


class Publishing:
    """A publisher that goes on by itself in a thread."""

    def __init__(self, stage: Any) -> None:
        self.endpoint = f"ipc://@playspot-test-{os.getpid()}-{time.monotonic_ns()}"
        self._stage = stage
        self._tasks: queue.Queue[Event] = queue.Queue()
        self._is_over = threading.Event()
        self._is_wanted = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def event(self, kind: str, before: Event | None = None, **fields: Any) -> Event:
        event: Event = self._stage.event(kind, before, **fields)
        self._tasks.put(event)
        return event

    def wait_until_heard(self) -> None:
        assert self._is_wanted.wait(DEADLINE), "the example never subscribed"

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()

    def _serve(self) -> None:
        with zmq.Context() as context:
            publisher = Publisher(context, self.endpoint, system_id=self._stage.system_id)
            while not self._is_over.wait(0.002):
                publisher.turn()
                if publisher.is_wanted(TOPIC_ROOT, "stage"):
                    self._is_wanted.set()
                while not self._tasks.empty():
                    publisher.publish(self._tasks.get())
            publisher.close()


@pytest.fixture
def publishing(event_feed: ModuleType) -> Iterator[Publishing]:
    publishing = Publishing(event_feed.Stage())
    try:
        yield publishing
    finally:
        publishing.stop()


def wait_for(done: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + DEADLINE
    while not (found := done()):
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    return found


def test_the_examples_are_short() -> None:
    programs = [path for path in EXAMPLES.iterdir() if path.suffix in (".py", ".js", ".sh")]
    assert len(programs) == 6
    assert max(len(path.read_text().splitlines()) for path in programs) < 40


def test_the_csv_logger_goes_on_where_it_was(publishing: Publishing, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    command = sys.executable, EXAMPLES / "csv_logger.py", path, publishing.endpoint

    def rows() -> list[dict[str, str]]:
        if not path.exists():
            return []
        with path.open(newline="") as file:
            return list(csv.DictReader(file))

    with running(*command):
        publishing.wait_until_heard()
        publishing.event("end", publishing.event("new", label="violin"))
        wait_for(lambda: len(rows()) == 1)
    for _ in range(2):
        publishing.event("end", publishing.event("new", label="drum"))
    with running(*command):
        wait_for(lambda: len(rows()) == 3)
    assert [(row["label"], row["end_reason"], row["seq"]) for row in rows()] == [
        ("violin", "silence", "1"),
        ("drum", "silence", "3"),
        ("drum", "silence", "5"),
    ]


def test_the_lights_follow_who_plays(publishing: Publishing) -> None:
    pytest.importorskip("pythonosc")
    from pythonosc.dispatcher import Dispatcher
    from pythonosc.osc_server import ThreadingOSCUDPServer

    got: queue.Queue[tuple[Any, ...]] = queue.Queue()
    dispatcher = Dispatcher()
    dispatcher.set_default_handler(lambda address, *values: got.put((address, *values)))
    with ThreadingOSCUDPServer(("127.0.0.1", 0), dispatcher) as desk:
        desk.block_on_close = True
        thread = threading.Thread(target=desk.serve_forever, args=(0.01,))
        thread.start()
        host, port = desk.server_address[:2]
        try:
            with running(
                sys.executable, EXAMPLES / "osc_lights.py", host, port, publishing.endpoint
            ):
                publishing.wait_until_heard()
                violin = publishing.event("new", label="violin", point=(0.25, 0.5))
                publishing.event("end", violin, point=None)
                messages = [got.get(timeout=DEADLINE) for _ in range(3)]
        finally:
            desk.shutdown()
            thread.join()
    assert sorted(messages) == [
        ("/playspot/stage/violin/at", 0.25, 0.5),
        ("/playspot/stage/violin/level", 0.0),
        ("/playspot/stage/violin/level", 1.0),
    ]


def digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


class FakeObs:
    """The WebSocket server of OBS (protocol 5): says hello, wants the password, knows scenes."""

    def __init__(self, password: str) -> None:
        self.scenes: queue.Queue[str] = queue.Queue()
        self._password = password

    def serve(self, socket: Any) -> None:
        salt, challenge = secrets.token_urlsafe(), secrets.token_urlsafe()
        authentication = {"challenge": challenge, "salt": salt}
        hello = {
            "obsWebSocketVersion": "5.5.2",
            "rpcVersion": 1,
            "authentication": authentication,
        }
        socket.send(json.dumps({"op": 0, "d": hello}))
        identify = json.loads(socket.recv())
        right = digest(digest(self._password + salt) + challenge)
        if identify["op"] != 1 or identify["d"].get("authentication") != right:
            socket.close(4009, "Authentication failed.")
            return
        socket.send(json.dumps({"op": 2, "d": {"negotiatedRpcVersion": 1}}))
        for message in socket:
            self._answer(socket, json.loads(message))

    def _answer(self, socket: Any, message: dict[str, Any]) -> None:
        request = message["d"]
        is_known = message["op"] == 6 and request["requestType"] == "SetCurrentProgramScene"
        if is_known:
            self.scenes.put(request["requestData"]["sceneName"])
        answer = {
            "requestType": request["requestType"],
            "requestId": request["requestId"],
            "requestStatus": {"result": is_known, "code": 100 if is_known else 204},
        }
        socket.send(json.dumps({"op": 7, "d": answer}))


def test_the_scene_is_that_of_who_began_last(publishing: Publishing) -> None:
    pytest.importorskip("obsws_python")
    server = pytest.importorskip("websockets.sync.server")
    obs = FakeObs("sesame")
    with server.serve(obs.serve, "127.0.0.1", 0) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        port = listening.socket.getsockname()[1]
        command = sys.executable, EXAMPLES / "obs_scene.py", publishing.endpoint
        try:
            with running(*command, OBS_PORT=port, OBS_PASSWORD="sesame"):
                publishing.wait_until_heard()
                violin = publishing.event("new", label="violin")
                drum = publishing.event("new", label="drum")
                publishing.event("update", violin)
                publishing.event("end", drum)
                publishing.event("end", violin)
                scenes = [obs.scenes.get(timeout=DEADLINE) for _ in range(4)]
        finally:
            listening.shutdown()
            thread.join()
    assert scenes == ["violin", "drum", "violin", "wide"]


@pytest.fixture(scope="module")
def served(web: ModuleType) -> Iterator[Any]:
    """Return a real web process."""
    with web.ServedRun() as served:
        yield served


def play(served: Any, label: str, read: Callable[[], str]) -> list[str]:
    """Return what an example says of an instrument that begins before it listens, and ends."""
    event = served.event(label=label)
    lines = [read()]  # open: it comes first, and shows that somebody listens
    served.event(label=label, type="end", id=event.id, end_time=2.5, end_reason="silence")
    return [*lines, read()]


@pytest.fixture(scope="module")
def node() -> list[str]:
    """Return how Node runs its example, without the URL."""
    node = needs("node")
    paths = os.pathsep.join([str(DEBIAN_MODULES), os.environ.get("NODE_PATH", "")])
    command = ["env", f"NODE_PATH={paths}", node]
    probe = [*command, "-e", "globalThis.WebSocket ?? require('ws')"]
    if subprocess.run(probe, check=False, capture_output=True).returncode:
        pytest.skip("needs Node 22, or the package ws (Debian: node-ws)")
    return [*command, str(EXAMPLES / "listen.js")]


def test_node_prints_events(served: Any, node: list[str]) -> None:
    with running(*node, served.url.rstrip("/")) as program:
        lines = [line.split() for line in play(served, "violin", program.line)]
    assert [line[2:] for line in lines] == [["new", "violin", "1.00"], ["end", "violin", "1.00"]]
    assert int(lines[1][1]) == int(lines[0][1]) + 1


def test_curl_prints_events_of_an_instrument(served: Any) -> None:
    needs("curl")
    with running("sh", EXAMPLES / "listen.sh", served.url.rstrip("/")) as program:
        first, last = (json.loads(line) for line in play(served, "violin", program.line))
    assert (first["type"], last["type"], last["label"]) == ("new", "end", "violin")


def test_nc_prints_events(served: Any) -> None:
    needs("nc")
    host, _, port = served.url.strip("/").removeprefix("http://").partition(":")
    with running("sh", EXAMPLES / "listen_nc.sh", host, port) as program:
        first, last = (json.loads(line) for line in play(served, "drum", program.line))
    assert (first["type"], last["type"], last["label"]) == ("new", "end", "drum")


@pytest.mark.live
def test_nothing_is_missed_though_publisher_and_page_are_killed(
    live: ModuleType, node: list[str], tmp_path: Path
) -> None:
    """Of a real run: by `playspot listen`, and by Node over the WebSocket."""
    clip = tmp_path / "stage.mp4"
    render_clip(clip, seed=200_061, duration=8.0)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = {
        "sources": {"stage": {"url": str(clip), "loop": True}},
        "web": {"listen": f"127.0.0.1:{port}"},
    }
    with live.RunningProgram(config, tmp_path) as program:
        listen = [sys.executable, "-m", "playspot.stream", "listen", program.endpoint, "--json"]
        with running(*listen) as listener, running(*node, f"http://127.0.0.1:{port}") as page:
            program.wait_for_steps(["stage"])
            # The first ones may be open events, which do not follow each other.
            events = [[json.loads(listener.line()) for _ in range(5)][-1]]
            lines = [[page.line() for _ in range(5)][-1]]
            for worker in ("publisher", "web"):
                before = program.pid(worker)
                os.kill(before, signal.SIGKILL)
                program.wait(lambda: program.pid(worker) != before)  # noqa: B023
            program.wait_for_steps(["stage"], 6)
            kept = journalled(tmp_path / "journal")
            while events[-1]["seq"] < kept[-1]["seq"]:
                events.append(json.loads(listener.line()))
            told = [told_by_node(event) for event in kept]
            while lines[-1] != told[-1]:
                lines.append(page.line())
    assert events == kept[-len(events) :]
    assert lines == told[-len(lines) :]


def journalled(folder: Path) -> list[dict[str, Any]]:
    """Return the events of a journal, in order."""
    records = [
        json.loads(line)
        for path in sorted(folder.glob("events-*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    return [record for record in records if record["schema"] == "playspot/event/1"]


def told_by_node(event: dict[str, Any]) -> str:
    return f"stage {event['seq']} {event['type']} {event['label']} {event['start_time']:.2f}"
