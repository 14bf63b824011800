"""Where the outputs of a soak go: a real mosquitto, a webhook, and a disk of their own.

Each can be broken and mended by the soak, and hands every event that it gets to a callable.
"""

import contextlib
import hmac
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from .soak_run import SoakError, free_port

DEADLINE = 10.0  # s for a server to start
SECRET = "of the soak only"
HOST = "127.0.0.1"

Take = Callable[[str], None]


def mosquitto() -> str | None:
    """Return the program, None if it is not installed."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


class Broker:
    """A mosquitto that keeps sessions over kill -9, and a subscriber that has one.

    Parameters
    ----------
    folder : Path
        For its files.
    take : callable
        Takes the JSON of each event that comes.
    """

    def __init__(self, folder: Path, take: Take) -> None:
        self.port = free_port()
        self._take = take
        self._config = folder / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        lines = (
            *(f"listener {self.port} {HOST}", "allow_anonymous true", "user root"),
            *("persistence true", f"persistence_location {folder}/", "autosave_on_changes true"),
            *("autosave_interval 1", "max_queued_messages 100000"),
        )
        self._config.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def __enter__(self) -> "Broker":
        from paho.mqtt import client as mqtt
        from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

        self.start()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            "soak",
            clean_session=False,
            protocol=MQTTProtocolVersion.MQTTv311,
        )
        self._client.reconnect_delay_set(1, 1)
        is_ready = threading.Event()
        self._client.on_connect = lambda client, *_: client.subscribe("playspot/events", 1)
        self._client.on_subscribe = lambda *_: is_ready.set()
        self._client.on_message = self._receive
        self._client.connect(HOST, self.port)
        self._client.loop_start()
        if not is_ready.wait(DEADLINE):
            raise SoakError("mosquitto takes no subscription")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self.kill()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        program = mosquitto()
        assert program is not None
        self._process = subprocess.Popen(
            [program, "-c", str(self._config)], stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection((HOST, self.port)).close()
                return
            time.sleep(0.02)
        raise SoakError("mosquitto does not start")

    def kill(self) -> None:
        """Kill it by SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _receive(self, _client: Any, _data: Any, message: Any) -> None:
        self._take(message.payload.decode())


class Hook:
    """An HTTP server that takes webhooks.

    Parameters
    ----------
    take : callable
        Takes the JSON of each event whose signature is right; of others an empty text.

    Attributes
    ----------
    port : int
    is_busy : bool
        Answer 503.
    """

    def __init__(self, take: Take) -> None:
        self.port = free_port()
        self.is_busy = False
        self._take, self._lock = take, threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> "Hook":
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Listen."""
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                if len(body) == length and not hook.is_busy:
                    hook.receive(body, dict(self.headers))
                self.send_response(503 if hook.is_busy else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((HOST, self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Be gone: connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def receive(self, body: bytes, headers: dict[str, str]) -> None:
        """Take in a request."""
        named = {name.lower(): value for name, value in headers.items()}
        signed = f"{named.get('webhook-id')}.{named.get('webhook-timestamp')}.".encode() + body
        digest = b64encode(hmac.digest(SECRET.encode(), signed, "sha256")).decode()
        is_signed = hmac.compare_digest(named.get("webhook-signature", ""), f"v1,{digest}")
        with self._lock:
            self._take(body.decode() if is_signed else "")


def has_row_since(database: Path, since: float) -> bool:
    """Return whether a database has an event that began after a Unix time."""
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(
            sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=0.1)
        ) as connection,
    ):
        rows = connection.execute("SELECT 1 FROM events WHERE began_at > ? LIMIT 1", (since,))
        return rows.fetchone() is not None
    return False


def last_line(path: Path, most: int = 1 << 16) -> str:
    """Return the last whole line of a file, empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - most))
            lines = file.read().split(b"\n")
    except OSError:
        return ""
    return lines[-2].decode("utf-8", "replace") if len(lines) > 1 else ""
