"""Who listens during a soak: `playspot listen`, server-sent events, a WebSocket, and who is deaf.

Each has a thread and comes back by itself, with the place where it was, whatever breaks.
"""

import contextlib
import http.client
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

import zmq

from .soak_places import HOST

RETRY = 0.1  # s
SILENCE = 20.0  # s without a line, after which a stream is given up; it has a comment every 15
DEAF_TIME = 300.0  # s for which who does not read stays connected
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
SIDE = 320  # px of the pictures

Take = Callable[[str], None]
Hear = Callable[[float], None]


class Listen:
    """A `playspot listen --json` in a process of its own.

    Parameters
    ----------
    endpoint : str
    log : Path
        For what it says on standard error.
    take : callable
        Takes each line.
    """

    def __init__(self, endpoint: str, log: Path, take: Take) -> None:
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "playspot.stream", "listen", endpoint, "--json"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=file,
            )
        assert self._process.stdout is not None
        self._thread = _started(self._read, self._process.stdout, take)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def doze(self, *, is_dozing: bool) -> None:
        """Stop it, or let it go on."""
        self._process.send_signal(signal.SIGSTOP if is_dozing else signal.SIGCONT)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._thread.join()

    @staticmethod
    def _read(stream: IO[bytes], take: Take) -> None:
        with stream:
            for line in stream:
                take(line.decode())


class _Client:
    """Something that connects again and again until it is closed."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.n_connections = 0
        self._is_closed = threading.Event()
        self._thread = _started(self._run)

    def close(self) -> None:
        """End it; the server is gone already."""
        self._is_closed.set()
        self._thread.join(SILENCE)

    def _run(self) -> None:
        while not self._is_closed.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException, EOFError, ValueError):
                self._live()
            self._is_closed.wait(RETRY)

    def _live(self) -> None:
        raise NotImplementedError


class ServerSent(_Client):
    """A client of server-sent events that reads well, and resumes by `Last-Event-ID`.

    Parameters
    ----------
    port : int
    take : callable
        Takes the JSON of each event.
    hear : callable
        Takes the time of capture of each step.
    """

    def __init__(self, port: int, take: Take, hear: Hear) -> None:
        self._take, self._hear, self._last_id = take, hear, ""
        super().__init__(port)

    def _live(self) -> None:
        with contextlib.closing(http.client.HTTPConnection(HOST, self.port, SILENCE)) as http_:
            headers = {"Last-Event-ID": self._last_id} if self._last_id else {}
            http_.request("GET", "/api/stream?kinds=event,step", headers=headers)
            answer = http_.getresponse()
            if answer.status != http.client.OK:
                return
            self.n_connections += 1
            fields: dict[str, str] = {}
            while (line := answer.readline().decode()) and not self._is_closed.is_set():
                if line != "\n":
                    name, _, value = line.rstrip("\n").partition(": ")
                    fields[name] = value
                    continue
                if fields.get("event") == "event":
                    self._take(fields["data"])
                    self._last_id = fields["id"]
                elif fields.get("event") == "step":
                    self._hear(json.loads(fields["data"])["captured"])
                fields = {}


class PageSocket(_Client):
    """A client of the WebSocket that reads well and resumes by `since`: events, steps, a picture.

    Parameters
    ----------
    port : int
    sources : iterable of str
        Whose events are asked for from the first on.
    pictured : str
        The source whose pictures it watches.
    take, hear
        As of `ServerSent`.

    Attributes
    ----------
    n_pictures, n_broken : int
        Pictures; of these, those that are no JPEG.
    """

    def __init__(
        self, port: int, sources: Iterable[str], pictured: str, take: Take, hear: Hear
    ) -> None:
        self._take, self._hear, self._pictured = take, hear, pictured
        self._next = dict.fromkeys(sources, 0)
        self.n_pictures = self.n_broken = 0
        super().__init__(port)

    def _live(self) -> None:
        with _web_socket(self.port) as websocket:
            hello = json.loads(websocket.recv(timeout=SILENCE))
            since = {name: [hello["system_id"], seq] for name, seq in self._next.items()}
            watch = {"type": "watch", "events": True, "steps": True, "since": since}
            websocket.send(json.dumps(watch | {"pictures": {self._pictured: SIDE}}))
            self.n_connections += 1
            while not self._is_closed.is_set():
                self._receive(websocket.recv(timeout=SILENCE))

    def _receive(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            jpeg = message[4 + struct.unpack(">I", message[:4])[0] :]
            self.n_pictures += 1
            self.n_broken += not (jpeg.startswith(JPEG_START) and jpeg.endswith(JPEG_END))
            return
        told = json.loads(message)
        if told["type"] == "event":
            self._take(json.dumps(told["data"]))
            self._next[told["data"]["source"]] = told["data"]["seq"] + 1
        elif told["type"] == "step":
            self._hear(told["data"]["captured"])


class Deaf(_Client):
    """Who asks for everything and never reads: on ZeroMQ, by server-sent events, by WebSocket.

    Parameters
    ----------
    port : int
    endpoint : str
    pictured : iterable of str
    """

    def __init__(self, port: int, endpoint: str, pictured: Iterable[str]) -> None:
        self._endpoint, self._pictured = endpoint, dict.fromkeys(pictured, SIDE)
        super().__init__(port)

    def _live(self) -> None:
        with contextlib.ExitStack() as stack:
            context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
            stack.callback(context.destroy, linger=0)
            subscriber = context.socket(zmq.SUB)
            subscriber.set_hwm(1)
            subscriber.setsockopt(zmq.RCVBUF, 4096)
            subscriber.subscribe("")
            subscriber.connect(self._endpoint)
            stream = stack.enter_context(socket.socket())
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stream.connect((HOST, self.port))
            stream.sendall(
                b"GET /api/stream?kinds=event,step,status HTTP/1.1\r\n"
                + f"Host: {HOST}:{self.port}\r\n\r\n".encode()
            )
            websocket = stack.enter_context(
                _web_socket(self.port, close_timeout=0.1, ping_interval=None)
            )
            watch = {"events": True, "steps": True, "status": True, "heat": [*self._pictured]}
            websocket.send(json.dumps({"type": "watch", **watch, "pictures": self._pictured}))
            self.n_connections += 1
            self._is_closed.wait(DEAF_TIME)


def fetch(port: int, path: str, *, method: str = "GET", body: Any = None) -> tuple[int, Any]:
    """Return the status and the JSON that the HTTP API answers; (0, None) if it does not."""
    headers = {"Content-Type": "application/json"} if body is not None else {}
    text = json.dumps(body) if body is not None else None
    with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=10)) as connection:
        try:
            connection.request(method, path, text, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            return 0, None
    return answer.status, json.loads(content) if content else None


def fetch_until(port: int, path: str, *, seconds: float, **request: Any) -> int:
    """Ask until the answer is one of 2xx, for so many seconds; return its status."""
    deadline = time.monotonic() + seconds
    while True:
        status, _ = fetch(port, path, **request)
        if 200 <= status < 300 or time.monotonic() > deadline:
            return status
        time.sleep(RETRY)


def _web_socket(port: int, **options: Any) -> Any:
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    address = f"ws://{HOST}:{port}/api/ws"
    try:
        return _Told(connect(address, proxy=None, open_timeout=5, **options))
    except WebSocketException as error:
        raise OSError(str(error)) from None


class _Told:
    """A connection whose errors are those of a socket."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __enter__(self) -> "_Told":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def send(self, text: str) -> None:
        from websockets.exceptions import WebSocketException

        try:
            self._connection.send(text)
        except WebSocketException as error:
            raise OSError(str(error)) from None

    def recv(self, timeout: float) -> Any:
        from websockets.exceptions import WebSocketException

        try:
            return self._connection.recv(timeout=timeout)
        except WebSocketException as error:
            raise OSError(str(error)) from None


def _started(target: Callable[..., None], *args: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=args, daemon=True)
    thread.start()
    return thread
