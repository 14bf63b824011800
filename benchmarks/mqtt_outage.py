"""A broker that is away for ten minutes: that no event is lost, and how many come twice.

    python benchmarks/mqtt_outage.py [MINUTES] [--rate EVENTS_A_SECOND] [--qos QOS]

Events are written to a real journal all the time, a process reads it and delivers to a real
mosquitto (which must be installed), which is killed after ten seconds, started again after MINUTES,
and again left alone until everything has arrived. Prints a row of the table in sinks.md.
"""

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from playspot.stream.events import Event, ModelInfo
from playspot.stream.journal import Journal
from playspot.stream.journal_reader import Position
from playspot.stream.mqtt_sink import MqttSink
from playspot.stream.output_config import MqttConfig
from playspot.stream.sink_cursor import WithCursor
from playspot.stream.sink_runner import SinkRunner
from playspot.stream.status import RunStatus
from playspot.stream.worker import rss_mb

MODEL = ModelInfo(name="benchmark", hash="0" * 12, engine="none", precision="fp32")
RUN = "outage"
BEFORE = 10.0  # s of events before the broker goes
CATCH_UP = 180.0  # s that may pass until all is there


def event(seq: int, source: str) -> Event:
    """Return the next event of a source on which somebody plays for 20 events at a time."""
    turn, place = divmod(seq, 20)
    kind: Any = "new" if place == 0 else "end" if place == 19 else "update"
    return Event(
        type=kind,
        id=f"{source}-{turn}",
        source=source,
        label="violin",
        score=0.9,
        top_score=0.9,
        start_time=turn * 10.0,
        end_time=turn * 10.0 + 9.5 if kind == "end" else None,
        time=seq / 2,
        wall_time=time.time(),
        step=seq,
        seq=seq,
        system_id=RUN,
        point=(0.5, 0.5),
        box=(0.4, 0.4, 0.6, 0.6),
        model=MODEL,
    )


def serve(folder: Path, config: MqttConfig, pipe: Connection) -> None:
    """Be the sinks process: read the journal, deliver, and tell how it goes until told to end."""
    cursor = folder / "cursors" / "mqtt.json"
    runner = SinkRunner("mqtt", lambda: WithCursor(MqttSink(config, RUN), cursor, Position), folder)
    run = RunStatus(
        system_id=RUN, wall_time=time.time(), uptime=0, model=MODEL, budget=2, latency="normal",
        look_ahead=0.7, sources={"a": "live", "b": "live"}, labels=("violin",),
    )  # fmt: skip
    runner.note(run)
    runner.start()
    while not pipe.poll(0.2):
        status = runner.status()
        pipe.send((rss_mb(), status.state, status.delivered, status.error))
    runner.finish()
    runner.join(10)
    pipe.send(None)


class Listener:
    """A subscriber that comes back by itself, and keeps what came in which order."""

    def __init__(self, port: int) -> None:
        self.got: list[tuple[str, int]] = []
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, "listener", protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.connect_async("127.0.0.1", port, keepalive=5)
        self._client.loop_start()

    def _on_connect(self, client: mqtt.Client, *_: Any) -> None:
        client.subscribe("playspot/events", qos=2)

    def _on_message(self, _client: mqtt.Client, _: Any, message: mqtt.MQTTMessage) -> None:
        body = json.loads(message.payload)
        self.got.append((body["source"], body["seq"]))


class Broker:
    """A mosquitto that can be killed and started again, and forgets all meanwhile."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._config = folder / "mosquitto.conf"
        self._config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        self.start()

    def start(self) -> None:
        """Start it."""
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self._process = subprocess.Popen(
            [program, "-c", str(self._config)], stderr=subprocess.DEVNULL
        )

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("minutes", nargs="?", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=20.0, help="events a second, 2 sources")
    parser.add_argument("--qos", type=int, default=1, choices=(0, 1, 2))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = Broker(folder)
        time.sleep(1)
        listener = Listener(broker.port)
        try:
            row = measure(folder / "journal", broker, listener, options)
        finally:
            broker.kill()
    print(row)


def measure(folder: Path, broker: Broker, listener: Listener, options: argparse.Namespace) -> str:
    """Return the row of the table."""
    written: Counter[str] = Counter()
    ends = threading.Event()

    def write() -> None:
        journal = Journal(folder, RUN)
        while not ends.wait(2 / options.rate):
            for source in ("a", "b"):
                journal.append([event(written[source], source)])
                written[source] += 1
        journal.close()

    here, there = multiprocessing.get_context("spawn").Pipe()
    config = MqttConfig(port=broker.port, qos=options.qos)
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(folder, config, there)
    )
    process.start()
    writer = threading.Thread(target=write)
    writer.start()
    watch(here, BEFORE, "before")
    before = watch(here, 0.5, "before")
    n_before = len(listener.got)
    broker.kill()
    away = watch(here, 60 * options.minutes, "away")
    n_waiting = written.total() - n_before
    broker.start()
    back = time.monotonic()
    while time.monotonic() - back < CATCH_UP and len(listener.got) < written.total() - 5:
        watch(here, 0.1, "")
    caught_up = time.monotonic() - back
    after = watch(here, 5, "after")
    ends.set()
    writer.join()
    here.send("end")
    process.join(20)
    time.sleep(1)
    counts = Counter(listener.got)
    wanted = {(source, seq) for source, n in written.items() for seq in range(n)}
    lost = len(wanted - counts.keys())
    doubled = sum(n - 1 for n in counts.values())
    first = list(dict.fromkeys(listener.got))
    ordered = all(
        seqs == sorted(seqs)
        for seqs in ([seq for name, seq in first if name == source] for source in written)
    )
    where = f"{platform.system()} {platform.release()}, {os.cpu_count()} cores"
    print(f"Python {platform.python_version()}, paho-mqtt {version('paho-mqtt')}, {where}")
    return (
        f"| {options.qos} | {options.minutes:g} | {written.total()} | {n_waiting} | {lost} | "
        f"{doubled} | {'yes' if ordered else 'NO'} | {caught_up:.1f} | "
        f"{before:.1f} | {away:.1f} | {after:.1f} |"
    )


def watch(pipe: Connection, seconds: float, what: str) -> float:
    """Take in what the sinks process tells for some seconds; return its largest memory, MB."""
    most, told, until = 0.0, None, time.monotonic() + seconds
    while time.monotonic() < until or (what and not most):
        if pipe.poll(0.1):
            memory, *now = pipe.recv()
            most = max(most, memory)
            if what and now[::2] != told:
                told = now[::2]
                print(f"{what}: {now[0]}, {now[1]} delivered, {now[2] or 'well'}", file=sys.stderr)
    return most


if __name__ == "__main__":
    main()
