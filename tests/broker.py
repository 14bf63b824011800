"""A real mosquitto, and somebody who listens to it, for tests (fixture `mqtt`)."""

import contextlib
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

PROGRAM = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
DEADLINE = 10.0  # seconds


class Received(NamedTuple):
    """A message as it came."""

    topic: str
    text: str
    is_retained: bool
    expiry: int | None


class Broker:
    """A mosquitto on a free port that forgets everything when it ends.

    Parameters
    ----------
    folder : Path
        For its files.
    lines : str
        Of its configuration.
    password : str, optional
        Of the user "stage"; without one, everybody may come.
    remembers : bool
        Whether it keeps sessions when it is stopped (not when it is killed).
    """

    def __init__(
        self, folder: Path, *lines: str, password: str | None = None, remembers: bool = False
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._config = folder / f"{self.port}.conf"
        access = [f"allow_anonymous {'false' if password else 'true'}"]
        if password:
            secrets = folder / f"{self.port}.passwords"
            subprocess.run(
                ["mosquitto_passwd", "-b", "-c", str(secrets), "stage", password], check=True
            )
            secrets.chmod(0o644)
            access.append(f"password_file {secrets}")
        if remembers:
            access += ["persistence true", f"persistence_location {folder}/"]
        listener = f"listener {self.port} 127.0.0.1"
        self._config.write_text("\n".join([listener, *access, "user root", *lines]) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        assert PROGRAM is not None
        self._process = subprocess.Popen(
            [PROGRAM, "-c", str(self._config)], stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            assert self._process.poll() is None, "mosquitto refuses its configuration"
        raise AssertionError("mosquitto does not start")

    def kill(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it as its operator would."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait()
        self._process = None

    def freeze(self, *, is_frozen: bool) -> None:
        """Let it hang, or go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if is_frozen else signal.SIGCONT)


class Listener:
    """A subscriber to some topics, from the moment it is made.

    With a `client_id` it keeps its session when the connection breaks.
    """

    def __init__(self, port: int, *topics: str, client_id: str = "") -> None:
        from paho.mqtt import client as mqtt
        from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

        self.received: list[Received] = []
        self._news = threading.Condition()
        self._topics, self._is_ready = topics, False
        # mosquitto 2.0.11 forgets sessions of MQTT 5 that are connected when it ends.
        version = MQTTProtocolVersion.MQTTv311 if client_id else MQTTProtocolVersion.MQTTv5
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=version,
            clean_session=False if client_id else None,
        )
        self._client.reconnect_delay_set(0.2, 0.2)  # type: ignore[arg-type]
        self._client.on_connect = lambda client, *_: client.subscribe([(t, 2) for t in topics])
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self.wait(lambda: self._is_ready)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, text: str, *, is_retained: bool = False) -> None:
        """Publish something; return once the broker has it."""
        self._client.publish(topic, text, 1, is_retained).wait_for_publish(DEADLINE)

    def texts(self, topic: str) -> list[str]:
        """Return all that came on a topic."""
        return [message.text for message in self.received if message.topic == topic]

    def last(self, topic: str) -> str | None:
        """Return the last that came on a topic."""
        return next(iter(self.texts(topic)[-1:]), None)

    def wait(self, is_done: Callable[[], bool]) -> None:
        """Wait until something is so."""
        with self._news:
            assert self._news.wait_for(is_done, DEADLINE), self.received[-5:]

    def wait_for(self, topic: str, text: str) -> None:
        """Wait until the last message on a topic is so."""
        self.wait(lambda: self.last(topic) == text)

    def _on_subscribe(self, *_: Any) -> None:
        with self._news:
            self._is_ready = True
            self._news.notify_all()

    def _on_message(self, _client: Any, _: Any, message: Any) -> None:
        expiry = getattr(message.properties, "MessageExpiryInterval", None)
        text = message.payload.decode()
        with self._news:
            self.received.append(Received(message.topic, text, message.retain, expiry))
            self._news.notify_all()
