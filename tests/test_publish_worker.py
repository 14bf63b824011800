"""The publisher process: in this process with real sockets, and killed as a process of its own."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from playspot.engines.settings import Decoding
from playspot.stream import followed
from playspot.stream.config import SourceConfig, Zone
from playspot.stream.events import Detection, Event, ModelInfo, Step
from playspot.stream.journal import Journal
from playspot.stream.keys import ClientKeys, ServerKeys, make_server_keys
from playspot.stream.media import SourceInfo
from playspot.stream.messages import Message, receive, send
from playspot.stream.publish_worker import LivePublisher, PublishJob, publish_live
from playspot.stream.session import Session
from playspot.stream.sockets import new_run, pull, push
from playspot.stream.status import RunStatus, SourceStatus
from playspot.stream.subscriber import listen, statuses, steps
from playspot.stream.supervisor import Supervisor
from playspot.stream.timeline import STEP, step_time
from playspot.stream.wire import Heat, ReplayAnswer
from playspot.stream.worker import Worker

pytestmark = pytest.mark.live

MODEL = ModelInfo(name="test", hash="0" * 12, engine="replay", precision="fp32")
DECODING = Decoding(on=0.5, off=0.3, min_duration=0, gap_merge=1.1)
LEFT = {"left": Zone(polygon=((0, 0), (0.5, 0), (0.5, 1), (0, 1)))}


class Stage:
    """A publisher in this process, and the sockets of the processes around it."""

    def __init__(self, folder: Path, system_id: str = "run1", run: str | None = None) -> None:
        self.run = run or new_run()
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.control = pull(self.context, self.run, "control", queue=1000)
        self.worker = Worker(self.run, "publisher", os.getppid())
        endpoint = f"ipc://{self.run}-events"
        job = PublishJob(system_id, endpoint, False, folder, DECODING, MODEL)
        self.publisher = LivePublisher(self.worker, self.run, job)
        self.scored = push(self.context, self.run, "scored", queue=100)
        self.events = self.context.socket(zmq.SUB)
        self.events.setsockopt(zmq.LINGER, 0)
        self.events.subscribe("playspot/v1/")
        self.events.connect(endpoint)
        self.first = self.turn()

    def turn(self, *messages: Message) -> list[Event]:
        """Give the publisher messages; return what it has published by then."""
        for message in messages:
            send(self.scored, message)
        n_left, deadline = len(messages), time.monotonic() + 10.0
        while n_left and time.monotonic() < deadline:
            n_left -= self.publisher.turn(10)
        for _ in range(5):  # for subscriptions
            self.publisher.turn(10)
        received = []
        while self.events.poll(50):
            received.append(Event.model_validate_json(self.events.recv_multipart()[2]))
        return received

    def kill(self) -> None:
        """Leave as kill -9 would: no event is ended."""
        self.publisher.close()
        self.worker.close()
        self.context.destroy(linger=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def stage(folder: Path) -> Iterator[Stage]:
    stage = Stage(folder)
    yield stage
    stage.kill()


def opening(number: int = 1, base: int = 0, name: str = "stage", **config: Any) -> Message:
    info = SourceInfo(name, has_video=True, has_audio=True)
    session = Session(number, info, base, SourceConfig(url="x.mp4", **config))
    return Message("open", number, 0, session.to_json())


def scored(
    index: int, score: float = 0.9, *, number: int = 1, base: int = 0, **data: Any
) -> Message:
    """Return a step in which one violin is played with such a score."""
    step = base + index
    violin = Detection(label="violin", score=score, point=(0.2, 0.5), box=(0.1, 0.4, 0.3, 0.6))
    seen = [violin] if score >= DECODING.off else []
    record = Step(step=step, time=step_time(step), scores={"violin": score}, points={})
    fields = {
        "name": "stage",
        "base": base,
        "captured": time.monotonic() - 0.5,
        "record": record.model_dump(mode="json"),
        "seen": [
            {**d.model_dump(mode="json"), "detection": d.model_dump(mode="json")} for d in seen
        ],
        "modalities": {"action": "ok", "object": "stale", "sound": "missing"},
        "dropped": {},
    }
    return Message("scored", number, index, fields | data)


def ending(n_steps: int, reason: str, number: int = 1) -> Message:
    data = {"name": "stage", "duration": n_steps * STEP - 0.3, "reason": reason, "dropped": {}}
    return Message("end", number, n_steps, data)


def kinds(events: list[Event]) -> list[tuple[str, str | None]]:
    return [(event.type, event.end_reason) for event in events]


def test_playing_becomes_events_with_zones_and_the_latency_since_capture(stage: Stage) -> None:
    events = stage.turn(opening(zones=LEFT), scored(0), scored(1))
    assert kinds(events) == [("new", None), ("update", None)]
    assert [event.seq for event in events] == [0, 1]
    assert events[0].zones == ("left",)
    assert events[0].latency_ms == pytest.approx(500, abs=200)
    assert events[0].id == "stage.run1.0"


def test_an_event_stays_the_same_when_the_networks_run_on_something_else(stage: Stage) -> None:
    other = MODEL.model_copy(update={"engine": "tensorrt"})
    first, second, third = stage.turn(
        opening(),
        scored(0, model=MODEL.model_dump()),
        scored(1, model=other.model_dump()),
        scored(2, model=other.model_dump()),
    )
    assert first.id == second.id == third.id
    assert [event.model for event in (first, second, third)] == [MODEL, other, other]


def test_a_source_has_its_own_thresholds(stage: Stage) -> None:
    assert stage.turn(opening(threshold=0.95), scored(0)) == []


def test_a_file_that_is_over_ends_its_events_at_its_end(stage: Stage) -> None:
    stage.turn(opening(), scored(0))
    (end,) = stage.turn(ending(1, "end_of_stream"))
    assert (end.type, end.end_reason) == ("end", "end_of_stream")
    assert end.end_time == pytest.approx(STEP - 0.3)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (None, "timeout"),
        (ending(1, "source_lost"), "source_lost"),
        (Message("off", data={"name": "stage", "reason": "shutdown"}), "shutdown"),
        (
            Message(
                "status",
                data={
                    "source": "stage",
                    "record": {"source": "stage", "wall_time": 0, "state": "retrying", "since": 0},
                },
            ),
            "source_lost",
        ),
    ],
)
def test_the_events_of_a_silent_source_are_ended(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, message: Message | None, reason: str
) -> None:
    monkeypatch.setattr(followed, "SILENCE", 0.2)
    stage.turn(opening(gap_merge=0.1), scored(0), *([message] if message else []))
    deadline = time.monotonic() + 5
    events: list[Event] = []
    while not events and time.monotonic() < deadline:
        events = stage.turn()
    assert kinds(events) == [("end", reason)]
    assert events[0].end_time == step_time(0) + STEP / 2


def test_an_event_goes_on_in_the_next_session_if_it_comes_in_time(stage: Stage) -> None:
    first = stage.turn(opening(), scored(0), scored(1))
    later = stage.turn(ending(2, "source_lost"), opening(2, base=3), scored(0, number=2, base=3))
    assert kinds(later) == [("update", None)]
    assert later[0].id == first[0].id


def test_a_new_event_begins_in_a_session_that_comes_too_late(stage: Stage) -> None:
    first = stage.turn(opening(), scored(0), scored(1))
    # Not even `end`: the reader was killed.
    later = stage.turn(opening(2, base=5), scored(0, number=2, base=5))
    assert kinds(later) == [("end", "source_lost"), ("new", None)]
    assert later[0].end_time == first[-1].time + STEP / 2
    assert later[1].id != first[0].id


def test_a_hole_in_a_session_is_no_silence(stage: Stage) -> None:
    stage.turn(opening(), scored(0))
    events = stage.turn(scored(6))
    assert kinds(events) == [("end", "timeout"), ("new", None)]


def test_steps_only_increase(stage: Stage) -> None:
    stage.turn(opening(), opening(2, base=10), scored(0), scored(0, number=2, base=10))
    assert stage.turn(scored(1), scored(0)) == []
    assert stage.worker.measures.drops == {("stage", "late"): 1}


def test_what_a_killed_process_took_along_is_counted_as_lost(stage: Stage) -> None:
    stage.turn(opening(), scored(0), scored(4, dropped={"late": 1}), ending(7, "source_lost"))
    assert stage.worker.measures.drops == {("stage", "lost"): 4}
    assert stage.worker.measures.ages["stage"].n == 2


def test_steps_wait_for_the_announcement_of_their_session(stage: Stage) -> None:
    assert stage.turn(scored(0), scored(1)) == []
    assert kinds(stage.turn(opening())) == [("new", None), ("update", None)]


def test_another_publisher_of_the_run_goes_on_with_the_open_events(folder: Path) -> None:
    stage = Stage(folder)
    before = stage.turn(opening(), scored(0), scored(1))
    stage.kill()
    stage = Stage(folder, run=stage.run)
    try:
        assert stage.first == before
        after = stage.turn(opening(), scored(3), scored(4, 0.1), scored(5, 0.1), scored(6, 0.1))
        assert kinds(after) == [("update", None), ("end", "silence")]
        assert [event.seq for event in after] == [2, 3]
        assert {event.id for event in after} == {before[0].id}
        assert after[1].start_time == before[0].start_time
        assert stage.worker.measures.drops == {("stage", "lost"): 1}  # step 2
    finally:
        stage.kill()


@pytest.mark.skipif(os.name != "posix", reason="limits on the size of files are POSIX")
def test_a_full_disk_and_a_kill_do_not_double_a_seq(folder: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    stage = Stage(folder)
    sent = stage.turn(opening(), scored(0))
    try:
        size = (folder / "events-00000001.jsonl").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        sent += stage.turn(scored(1), scored(2))
        stage.kill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    stage = Stage(folder, run=stage.run)
    try:
        sent += stage.turn(opening(), scored(3))
    finally:
        stage.kill()
    assert [event.seq for event in sent] == [0, 1, 2, 3]
    assert len({event.id for event in sent}) == 1


def test_another_run_ends_what_a_killed_one_left_open(folder: Path) -> None:
    stage = Stage(folder)
    (new,) = stage.turn(opening(), scored(4))
    stage.kill()
    stage = Stage(folder, "run2")
    try:
        (end,) = stage.first
        assert (end.type, end.end_reason, end.id) == ("end", "shutdown", new.id)
        assert (end.system_id, end.seq) == ("run2", 0)
        assert end.end_time == new.time + STEP / 2
        assert stage.turn(opening(), scored(0))[0].seq == 1
    finally:
        stage.kill()
    journal = Journal(folder, "run3")
    assert set(journal.found.left) == {"stage.run2.1"}
    journal.close()


def test_steps_and_statuses_have_topics_of_their_own(stage: Stage) -> None:
    got: dict[str, list[Any]] = {"steps": [], "statuses": []}
    endpoint = f"ipc://{stage.run}-events"
    threads = [
        threading.Thread(target=lambda: got["steps"].extend(steps(endpoint, timeout=1.0))),
        threading.Thread(target=lambda: got["statuses"].extend(statuses(endpoint, timeout=1.0))),
    ]
    source = SourceStatus(source="stage", wall_time=0, state="live", since=0, steps=1)
    run = RunStatus(
        system_id="run1",
        wall_time=0,
        uptime=1,
        model=MODEL,
        budget=2,
        latency="normal",
        look_ahead=0.7,
        sources={"stage": "live"},
    )
    for name, status in (("stage", source), ("", run)):
        record = status.model_dump(mode="json", by_alias=True)
        stage.turn(Message("status", data={"source": name, "record": record}))
    for thread in threads:
        thread.start()
    wanted = stage.publisher._publisher
    deadline = time.monotonic() + 5
    while not wanted.is_wanted("playspot/steps/v1/", "stage") and time.monotonic() < deadline:
        stage.turn()
    stage.turn(opening(), scored(0))
    for thread in threads:
        thread.join(10)
    (step,) = got["steps"]
    assert (step.source, step.step, step.base) == ("stage", 0, 0)
    assert step.status == {"action": "ok", "object": "stale", "sound": "missing"}
    assert step.captured == pytest.approx(time.time(), abs=10)
    assert [type(status) for status in got["statuses"][:2]] == [SourceStatus, RunStatus]
    assert got["statuses"][1].journal.error is None
    assert got["statuses"][1].publisher.refused == 0
    deadline = time.monotonic() + 5
    while wanted.is_wanted("playspot/steps/v1/", "stage"):
        assert time.monotonic() < deadline, "a subscriber who left is still served"
        stage.turn()


def test_a_broken_message_does_not_stop_the_publisher(stage: Stage) -> None:
    broken = scored(0)
    del broken.data["base"]
    assert kinds(stage.turn(opening(), broken, scored(1))) == [("new", None)]


def asked(stage: Stage, since: int = 0) -> tuple[ReplayAnswer, list[Event]]:
    """Return what the replay socket of a publisher answers."""
    socket = stage.context.socket(zmq.DEALER)
    socket.connect(f"ipc://{stage.run}-events-replay")
    socket.send(json.dumps({"source": "stage", "from": since}).encode())
    while not socket.poll(5):
        stage.publisher.turn(5)
    head, *bodies = socket.recv_multipart()
    socket.close()
    answer = ReplayAnswer.model_validate_json(head)
    return answer, [Event.model_validate_json(body) for body in bodies]


def test_another_publisher_of_the_run_replays_what_the_first_one_sent(folder: Path) -> None:
    stage = Stage(folder)
    sent = stage.turn(opening(), *(scored(n) for n in range(8)))
    stage.kill()
    stage = Stage(folder, run=stage.run)
    try:
        sent += stage.turn(opening(), scored(8))
        answer, events = asked(stage)
        assert (answer.oldest, answer.next, answer.n) == (0, 9, 9)
        assert events == sent
        assert asked(stage, since=7)[1] == sent[7:]
    finally:
        stage.kill()


def test_another_run_replays_nothing_of_the_one_before(folder: Path) -> None:
    stage = Stage(folder)
    stage.turn(opening(), scored(0))
    stage.kill()
    stage = Stage(folder, "run2")
    try:
        answer, events = asked(stage)
        assert answer.system_id == "run2"
        assert [event.end_reason for event in events] == ["shutdown"]
    finally:
        stage.kill()


def test_the_hub_of_a_run_has_heat_only_when_it_is_wanted(stage: Stage) -> None:
    heat = np.full((1, 2, 2), 255, np.uint8)
    message = scored(0, heat_labels=["violin"])
    stage.turn(opening(), replace(message, arrays=(heat,)))
    hub = stage.context.socket(zmq.SUB)
    hub.subscribe("playspot/heat/v1/stage/")
    hub.connect(f"ipc://{stage.run}-hub")
    deadline = time.monotonic() + 5
    while not stage.publisher._publisher.is_wanted("playspot/heat/v1/", "stage"):
        assert time.monotonic() < deadline
        stage.turn()
    message = scored(1, heat_labels=["violin"])
    stage.turn(replace(message, arrays=(heat,)), scored(2))
    maps = [Heat.model_validate_json(hub.recv_multipart()[2]).maps for _ in range(2)]
    assert maps == [{"violin": "/////w=="}, {}]
    assert not hub.poll(0)
    hub.close()


class Killed:
    """A publisher process that is killed again and again, while steps go on coming."""

    def __init__(self, folder: Path, keys: Path | None = None) -> None:
        self.run = new_run()
        self.endpoint = f"ipc://{self.run}-events"
        self.job = PublishJob("run1", self.endpoint, False, folder, DECODING, MODEL, keys)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.control = pull(self.context, self.run, "control", queue=1000)
        self.scored = push(self.context, self.run, "scored", queue=100)
        self.supervisor = Supervisor(self.run)

    def start(self) -> dict[str, Any]:
        self.supervisor.start("publisher", publish_live, self.job)
        return self.wait("ready")

    def wait(self, kind: str) -> dict[str, Any]:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self.control.poll(100):
                report = receive(self.control)
                if report.kind == kind:
                    return report.data
                assert report.kind != "failed", report.data
        raise AssertionError(f"no {kind!r} from the publisher")

    def close(self) -> None:
        self.supervisor.stop()
        self.context.destroy(linger=0)


def test_a_listener_gets_each_event_once_though_the_publisher_is_killed(folder: Path) -> None:
    killed, got, gaps = Killed(folder), list[Event](), list[tuple[str, int, int]]()
    n_steps, kill_at = 120, (25, 50, 75, 100)

    def hear() -> None:
        for event in listen(killed.endpoint, timeout=20.0, on_gap=lambda *gap: gaps.append(gap)):
            got.append(event)
            if event.end_reason == "shutdown":
                return

    listener = threading.Thread(target=hear)
    try:
        killed.start()
        listener.start()
        for index in range(n_steps):
            if index % 10 == 0:
                send(killed.scored, opening())
            # Half of the time is played; each start and end makes events.
            send(killed.scored, scored(index, 0.9 if index % 12 < 6 else 0.1))
            time.sleep(0.01)  # not to wait for something: steps come one after the other
            if index in kill_at:
                os.kill(killed.supervisor.pids()["publisher"], signal.SIGKILL)
                killed.supervisor.kill("publisher")
                killed.start()
        send(killed.scored, scored(n_steps))
        deadline = time.monotonic() + 10
        while not (got and got[-1].step == n_steps) and time.monotonic() < deadline:
            send(killed.scored, opening())
            killed.wait("alive")
        counts = killed.wait("alive")["steps"]["stage"]
        killed.supervisor.reap("publisher")
        listener.join(10)
    finally:
        killed.close()
    assert [event.seq for event in got] == [*range(len(got))]
    assert gaps == []
    began = [event.id for event in got if event.type == "new"]
    ended = [event.id for event in got if event.type == "end"]
    assert sorted(began) == sorted(ended)
    assert len(set(began)) == len(began)
    times = [event.time for event in got]
    assert times == sorted(times)
    assert sum(counts.values()) == n_steps + 1
    assert got[-1].end_reason == "shutdown"


def test_a_publisher_says_where_it_is(folder: Path) -> None:
    killed = Killed(folder)
    try:
        ready = killed.start()
        assert ready["endpoint"] == killed.endpoint
        assert ready["journal"] == str(folder)
        assert json.dumps(killed.wait("alive")["steps"]) == "{}"
    finally:
        killed.close()


def test_a_publisher_with_keys_ends_in_time_though_strangers_knock(folder: Path) -> None:
    make_server_keys(folder / "keys")
    killed = Killed(folder, folder / "keys")
    strangers = []
    try:
        killed.start()
        for _ in range(10):
            stranger = killed.context.socket(zmq.SUB)
            keys = ClientKeys(*zmq.curve_keypair(), ServerKeys.load(folder / "keys").public)
            keys.use(stranger)
            stranger.setsockopt(zmq.RECONNECT_IVL, 1)
            stranger.connect(killed.endpoint)
            strangers.append(stranger)
        killed.wait("alive")
        began = time.monotonic()
        killed.supervisor.reap("publisher")
        assert time.monotonic() - began < 1.5
    finally:
        killed.close()
