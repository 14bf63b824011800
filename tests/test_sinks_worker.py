"""The sinks process: killed, stopped, with sinks that fail; events arrive all the same, once."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import zmq

from playspot.stream import sink_runner
from playspot.stream.events import Event, ModelInfo
from playspot.stream.history import History
from playspot.stream.journal import Journal
from playspot.stream.messages import receive
from playspot.stream.output_config import JsonLinesConfig, MqttConfig
from playspot.stream.sink import SinkError
from playspot.stream.sink_runner import SinkRunner
from playspot.stream.sinks_worker import GRACE, SinksJob, makers
from playspot.stream.sockets import endpoint, new_run, pull
from playspot.stream.status import RunStatus, SourceStatus, Status
from playspot.stream.stored_event import StoredEvent, follow

RUN = "run1"

# A process that makes a sinks process, by fork, for each line it reads: starts are quick.
ZYGOTE = """
import os, signal, sys
from pathlib import Path
import playspot.stream.jsonl_sink, playspot.stream.database_sink
from playspot.stream.output_config import DatabaseConfig, JsonLinesConfig
from playspot.stream.sinks_worker import GRACE, SinksJob, serve_sinks
from playspot.stream.worker import main
run, folder = sys.argv[1], Path(sys.argv[2])
job = SinksJob(
    folder / "journal", "run1",
    jsonl=JsonLinesConfig(path=folder / "events.jsonl", rotate_mb=0.03, keep=1000),
    database=DatabaseConfig(path=folder / "events.sqlite"),
)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        main(serve_sinks, run, "sinks", parent, job)
        os._exit(0)
    print(pid, flush=True)
"""


class Zygote:
    """Sinks processes over a real journal, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.run = new_run()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.control = pull(self._context, self.run, "control", queue=10_000)
        self._process = subprocess.Popen(
            [sys.executable, "-c", ZYGOTE, self.run, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self) -> int:
        """Start a sinks process; return its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def report(self, kind: str, pid: int) -> dict[str, Any]:
        """Return the next report of a kind of a process."""
        deadline = time.monotonic() + 10
        while self.control.poll(max(0, int(1000 * (deadline - time.monotonic())))):
            message = receive(self.control)
            if message.kind == kind and message.data["pid"] == pid:
                return message.data
        raise AssertionError(f"no {kind}")

    def bind_hub(self) -> "zmq.Socket[bytes]":
        """Return the publisher's socket."""
        socket = self._context.socket(zmq.XPUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.bind(endpoint(self.run, "hub"))
        return socket

    def close(self) -> None:
        with self._process as process:
            process.kill()
        self._context.destroy(linger=0)


@pytest.fixture
def zygote(tmp_path: Path) -> Iterator[Zygote]:
    zygote = Zygote(tmp_path)
    yield zygote
    zygote.close()


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def merged(events: list[Event]) -> list[StoredEvent]:
    found: dict[str, StoredEvent] = {}
    for event in events:
        found[event.id] = follow(found.get(event.id), event)
    return sorted(found.values(), key=lambda event: (event.began_at, event.id), reverse=True)


def stored(path: Path) -> list[StoredEvent]:
    store, found, cursor = History(path), [], None
    while True:
        page, cursor = store.search(limit=500, cursor=cursor)
        found += page
        if cursor is None:
            return found


def written(folder: Path) -> list[Event]:
    """Return the events of all files of JSON Lines, in order."""
    names = [*sorted(folder.glob("events-*.jsonl")), *folder.glob("events.jsonl")]
    lines = [line for path in names for line in path.read_bytes().splitlines()]
    return [Event.model_validate_json(line) for line in lines]


def test_every_event_is_there_once_after_many_kills(
    tmp_path: Path, zygote: Zygote, event_feed: ModuleType
) -> None:
    sent = event_feed.Stage().play(2000)
    journal = Journal(tmp_path / "journal", RUN, max_bytes=16 << 20)
    rng, is_written = random.Random(5), threading.Event()

    def write() -> None:
        for k in range(0, len(sent), 3):
            journal.append(sent[k : k + 3])
            time.sleep(0.003)
        is_written.set()

    writer = threading.Thread(target=write)
    writer.start()
    n_kills = 0
    while not is_written.is_set() or n_kills < 12:
        pid = zygote.start()
        time.sleep(rng.uniform(0.02, 0.3))
        os.kill(pid, signal.SIGKILL)
        event_feed.wait_for(lambda pid=pid: is_gone(pid))
        n_kills += 1
    writer.join()
    journal.close()
    pid = zygote.start()
    event_feed.wait_for(lambda: len(written(tmp_path)) >= len(sent), 20)
    os.kill(pid, signal.SIGTERM)
    event_feed.wait_for(lambda: is_gone(pid))
    assert written(tmp_path) == sent
    assert stored(tmp_path / "events.sqlite") == merged(sent)
    assert len([*tmp_path.glob("events-*.jsonl")]) > 10


def test_what_the_publisher_ends_on_sigterm_is_delivered(
    tmp_path: Path, zygote: Zygote, event_feed: ModuleType
) -> None:
    hub, stage = zygote.bind_hub(), event_feed.Stage()
    journal = Journal(tmp_path / "journal", RUN)
    journal.append([stage.event("new")])
    pid = zygote.start()
    assert zygote.report("ready", pid)["sinks"] == ["jsonl", "database"]
    assert hub.poll(5000)  # it has subscribed
    os.kill(pid, signal.SIGTERM)
    last = stage.event("end", journal_events(tmp_path / "journal")[0])
    journal.append([last])
    hub.close()
    began = time.monotonic()
    event_feed.wait_for(lambda: is_gone(pid))
    assert time.monotonic() - began < GRACE  # it does not wait for nothing
    assert stored(tmp_path / "events.sqlite")[0].state == "ended"
    assert [event.type for event in written(tmp_path)] == ["new", "end"]
    journal.close()


def journal_events(folder: Path) -> list[Event]:
    lines = [line for path in folder.glob("events-*") for line in path.read_bytes().splitlines()]
    return [Event.model_validate_json(line) for line in lines if b'"id"' in line]


def test_what_comes_too_late_is_delivered_by_the_next_run(
    tmp_path: Path, zygote: Zygote, event_feed: ModuleType
) -> None:
    stage = event_feed.Stage()
    journal = Journal(tmp_path / "journal", RUN)
    sent = [stage.event("new")]
    journal.append(sent)
    pid = zygote.start()
    event_feed.wait_for(lambda: written(tmp_path) == sent)
    os.kill(pid, signal.SIGTERM)
    event_feed.wait_for(lambda: is_gone(pid))
    sent.append(stage.event("end", sent[0]))
    journal.append(sent[1:])
    journal.close()
    pid = zygote.start()
    event_feed.wait_for(lambda: written(tmp_path) == sent)
    event_feed.wait_for(lambda: stored(tmp_path / "events.sqlite")[0].state == "ended")


def test_a_publisher_that_does_not_go_is_not_waited_for_long(
    tmp_path: Path, zygote: Zygote, event_feed: ModuleType
) -> None:
    hub = zygote.bind_hub()
    event_feed.journal_with(tmp_path / "journal", sent := event_feed.Stage().play(10))
    pid = zygote.start()
    assert hub.poll(5000)
    began = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    event_feed.wait_for(lambda: is_gone(pid))
    assert GRACE - 0.2 < time.monotonic() - began < 5.0
    assert written(tmp_path) == sent
    hub.close()


def test_it_reports_how_its_sinks_are(
    tmp_path: Path, zygote: Zygote, event_feed: ModuleType
) -> None:
    event_feed.journal_with(tmp_path / "journal", sent := event_feed.Stage().play(10))
    (tmp_path / "events.jsonl").mkdir()
    pid = zygote.start()
    deadline = time.monotonic() + 10
    sinks: dict[str, Any] = {}
    while not (sinks and sinks["jsonl"]["error"] and sinks["database"]["delivered"]):
        assert time.monotonic() < deadline
        sinks = zygote.report("alive", pid)["sinks"]
    assert sinks["database"] == {
        "state": "ok",
        "error": None,
        "delivered": len(sent),
        "behind": 0,
        "lost": 0,
    }
    assert sinks["jsonl"]["state"] == "retrying"
    assert sinks["jsonl"]["error"] == f"{tmp_path}/events.jsonl: Is a directory"
    assert sinks["jsonl"]["behind"] > 1000


def test_statuses_reach_the_sinks(tmp_path: Path, zygote: Zygote, event_feed: ModuleType) -> None:
    hub = zygote.bind_hub()
    zygote.start()
    assert hub.poll(5000)
    fields: Any = {"source": "stage", "url": "x", "state": "live"}
    body = SourceStatus(**fields, since=1, wall_time=2).model_dump_json(by_alias=True)
    hub.send_multipart([b"playspot/status/v1/stage/", b"{}", b"no status"])
    hub.send_multipart([b"playspot/status/v1/stage/", b"{}", body.encode()])
    path = tmp_path / "events.sqlite"

    def is_known() -> bool:
        with History(path)._opened() as connection:
            return connection is not None and bool(
                connection.execute("SELECT * FROM sources WHERE name = 'stage'").fetchall()
            )

    event_feed.wait_for(is_known)
    hub.close()


class Place:
    """A sink that does what it is told."""

    name = "place"

    def __init__(self) -> None:
        self.got: list[Event] = []
        self.noted: list[Status] = []
        self.errors: list[Exception] = []  # of the next deliveries
        self.turn_error: Exception | None = None
        self.n_closed = 0

    def deliver(self, events: Sequence[Event]) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.got += events

    def note(self, status: Status) -> None:
        self.noted.append(status)

    def turn(self) -> None:
        if self.turn_error is not None:
            raise self.turn_error

    def close(self) -> None:
        self.n_closed += 1


Run = Callable[..., SinkRunner]


@pytest.fixture
def run_sink(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event_feed: ModuleType
) -> Iterator[Run]:
    """Return what runs a sink over the journal in the folder of the test."""
    monkeypatch.setattr(sink_runner, "MEASURE_INTERVAL", 0.0)
    monkeypatch.setattr("playspot.stream.restarts.FIRST_DELAY", 0.02)
    with event_feed.running(tmp_path / "journal") as run:
        yield lambda place, **options: run(place.name, place, **options)


def test_what_is_refused_comes_again(
    tmp_path: Path, run_sink: Run, event_feed: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    event_feed.journal_with(tmp_path / "journal", sent := event_feed.Stage().play(20))
    place = Place()
    place.errors = [SinkError("http://me:secret@host is down") for _ in range(3)]
    runner = run_sink(place)
    event_feed.wait_for(lambda: runner.status().delivered == len(sent))
    assert place.got == sent
    assert caplog.messages == [
        "sink place: http://***@host is down",
        "sink place: works again",
    ]


def test_a_place_that_wants_to_be_left_alone_is_left_alone(
    tmp_path: Path, run_sink: Run, event_feed: ModuleType
) -> None:
    event_feed.journal_with(tmp_path / "journal", event_feed.Stage().play(20))
    place = Place()
    place.errors = [SinkError("busy", after=0.4)]
    began = time.monotonic()
    run_sink(place)
    event_feed.wait_for(lambda: place.got)
    assert time.monotonic() - began >= 0.4


def test_what_is_given_up_is_counted_and_the_next_comes(
    tmp_path: Path, run_sink: Run, event_feed: ModuleType
) -> None:
    event_feed.journal_with(tmp_path / "journal", sent := event_feed.Stage().play(20))
    place = Place()
    place.errors = [SinkError("never", gives_up=True) for _ in range(2)]
    runner = run_sink(place, most=1)
    event_feed.wait_for(lambda: runner.status().delivered == len(sent) - 2)
    assert place.got == sent[2:]
    assert runner.status().lost == 2


def test_a_place_that_is_over_is_left_for_good(
    tmp_path: Path, run_sink: Run, event_feed: ModuleType
) -> None:
    event_feed.journal_with(tmp_path / "journal", event_feed.Stage().play(20))
    place = Place()
    place.errors = [SinkError("gone", is_over=True)]
    runner = run_sink(place)
    assert runner.join(5)
    status = runner.status()
    assert (status.state, status.error, place.n_closed) == ("stopped", "gone", 1)
    assert status.behind > 0


def test_an_error_nobody_expected_stops_the_sink_for_a_while_only(
    tmp_path: Path, run_sink: Run, event_feed: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    event_feed.journal_with(tmp_path / "journal", sent := event_feed.Stage().play(20))
    place = Place()
    place.errors = [ZeroDivisionError("of ours")]
    runner = run_sink(place)
    event_feed.wait_for(lambda: runner.status().delivered == len(sent))
    assert place.got == sent
    assert runner.status().error is None
    assert caplog.messages[0] == "sink place: failed (ZeroDivisionError: of ours)"


def test_what_is_wrong_in_between_is_said(
    tmp_path: Path, run_sink: Run, event_feed: ModuleType
) -> None:
    place = Place()
    place.turn_error = SinkError("no connection")
    runner = run_sink(place)
    event_feed.wait_for(lambda: runner.status().error == "no connection")
    assert runner.status().state == "retrying"
    place.turn_error = None
    event_feed.wait_for(lambda: runner.status().state == "ok")


def test_what_waits_for_a_place_goes_there_as_soon_as_it_is_back(
    tmp_path: Path, run_sink: Run, event_feed: ModuleType
) -> None:
    place = Place()
    place.errors = [SinkError("no connection", after=60.0)]
    place.turn_error = SinkError("no connection")
    event_feed.journal_with(tmp_path / "journal", sent := event_feed.Stage().play(20))
    runner = run_sink(place)
    event_feed.wait_for(lambda: not place.errors and runner.status().error)
    assert place.got == []
    place.turn_error = None
    event_feed.wait_for(lambda: place.got == sent)


def test_a_cursor_that_is_damaged_begins_anew(
    tmp_path: Path, run_sink: Run, event_feed: ModuleType
) -> None:
    event_feed.journal_with(tmp_path / "journal", sent := event_feed.Stage().play(20))
    cursor = tmp_path / "journal" / "cursors" / "place.json"
    cursor.parent.mkdir()
    cursor.write_text('{"file": -1')
    place = Place()
    runner = run_sink(place)
    event_feed.wait_for(lambda: runner.status().delivered == len(sent))
    assert json.loads(cursor.read_text())["seen"] == {"run1": {"stage": len(sent)}}
    assert cursor.stat().st_mode & 0o077 == 0


def test_a_sink_that_is_made_again_hears_the_last_statuses(
    tmp_path: Path, run_sink: Run, event_feed: ModuleType
) -> None:
    place = Place()
    runner = run_sink(place)
    model = ModelInfo(name="m", hash="h", engine="e", precision="p")
    fields: Any = {"wall_time": 1, "since": 1, "state": "live"}
    for source in ("stage", "hall"):
        runner.note(SourceStatus(source=source, **fields))
    event_feed.wait_for(lambda: len(place.noted) == 2)
    run = RunStatus(
        system_id=RUN,
        wall_time=1,
        uptime=1,
        model=model,
        budget=2,
        latency="normal",
        look_ahead=1,
        sources={"stage": "live"},
    )
    runner.note(run)
    event_feed.wait_for(lambda: len(place.noted) == 3)
    place.errors = [ZeroDivisionError("of ours")]
    event_feed.journal_with(tmp_path / "journal", event_feed.Stage().play(4))
    event_feed.wait_for(lambda: place.n_closed == 1 and len(place.noted) == 5)
    assert place.noted[3:] == [run, place.noted[1]]


def test_a_sink_that_takes_long_is_said(
    tmp_path: Path, run_sink: Run, event_feed: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_runner, "SLOW", 0.0)
    event_feed.journal_with(tmp_path / "journal", event_feed.Stage().play(4))
    place, is_free = Place(), threading.Event()
    monkeypatch.setattr(place, "deliver", lambda _: is_free.wait(10))
    runner = run_sink(place)
    event_feed.wait_for(lambda: "busy with the same events" in (runner.status().error or ""))
    is_free.set()
    event_feed.wait_for(
        lambda: runner.status() == runner.status().model_copy(update={"error": None})
    )


def test_mqtt_without_its_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "paho", None)
    monkeypatch.setitem(sys.modules, "paho.mqtt", None)
    for name in [name for name in sys.modules if name.startswith("playspot.stream.mqtt")]:
        monkeypatch.delitem(sys.modules, name)
    make = makers(SinksJob(tmp_path, RUN, mqtt=MqttConfig()))["mqtt"]
    with pytest.raises(SinkError, match=r"pip install 'playspot\[mqtt\]'"):
        make()


def test_only_what_is_configured_is_made(tmp_path: Path) -> None:
    assert makers(SinksJob(tmp_path, RUN)) == {}
    job = SinksJob(tmp_path, RUN, jsonl=JsonLinesConfig(path=tmp_path / "a.jsonl"))
    assert [*makers(job)] == ["jsonl"]
