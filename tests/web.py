"""A real web process in a thread, and the run around it: a real hub, a supervisor that is told.

For tests (fixture `web`): the server listens on a free port of loopback.
"""

import asyncio
import itertools
import json
import os
import queue
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import websockets.sync.client
import zmq

from playspot.stream.database import open_database
from playspot.stream.database_rows import write_event
from playspot.stream.events import Event, LiveStep, ModelInfo
from playspot.stream.messages import Message, receive, send
from playspot.stream.output_config import WebConfig
from playspot.stream.previews import PreviewSender
from playspot.stream.publish import Publisher
from playspot.stream.recording_files import Kind, path_of
from playspot.stream.sockets import new_run, pull, push
from playspot.stream.status import RunStatus, SourceStatus
from playspot.stream.stored_event import StoredEvent
from playspot.stream.web_loop import WebLoop
from playspot.stream.web_worker import WebJob
from playspot.stream.wire import Heat
from playspot.stream.worker import Worker

SYSTEM_ID = "c0ffee00"
MODEL = ModelInfo(name="m", hash="h", engine="e", precision="fp32")
SECONDS = 10.0  # for anything to happen


class ServedRun:
    """A web process, and what a run does around it.

    `hub` is the publisher; it and all other sockets belong to one thread, which does what `do` is
    given. `answer` is what the supervisor says to a request: a message kind's data without `id`.
    """

    def __init__(
        self,
        *,
        database: Path | None = None,
        recordings: Path | None = None,
        sources: tuple[str, ...] = ("stage", "hall"),
        **config: Any,
    ) -> None:
        self._run = new_run()
        options = {"listen": "127.0.0.1:0", **config}
        self.job = WebJob(
            config=WebConfig(**options),
            database=database,
            recordings=recordings,
            system_id=SYSTEM_ID,
            labels=("violin", "drum"),
        )
        self.sources = sources
        self.building: float | None = None
        self.url = ""
        self.requests: list[dict[str, Any]] = []
        self.beats = 0
        self.answer: Callable[[dict[str, Any]], dict[str, Any] | None] = self.obey
        self.senders: dict[str, PreviewSender] = {}
        self.jpeg = b"\xff\xd8picture\xff\xd9"
        self.error: BaseException | None = None
        self._tasks: queue.Queue[Callable[[], None]] = queue.Queue()
        self._is_over = threading.Event()
        self._is_ready = threading.Event()
        self._stop: Callable[[], None] = lambda: None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._ticks = itertools.count()

    def __enter__(self) -> Self:
        self._around = threading.Thread(target=self._play, daemon=True)
        self._web = threading.Thread(target=self._serve, daemon=True)
        self._around.start()
        self._web.start()
        if not self._is_ready.wait(SECONDS) or self.error is not None:
            self.__exit__(None, None, None)
            raise AssertionError("the web process did not start") from self.error
        self.wait(lambda: len(self.get("/readiness").json().get("live", ())) == len(self.sources))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._is_over.set()
        self._around.join(SECONDS)
        if kind is None and self.error is not None:
            raise self.error

    def stop(self) -> float:
        """Stop the web process as SIGTERM does; return the seconds it took."""
        began = time.monotonic()
        self._stop()
        self._web.join(SECONDS)
        assert not self._web.is_alive()
        return time.monotonic() - began

    def wait(self, done: Callable[[], Any], seconds: float = SECONDS) -> Any:
        """Ask until there is an answer; fail after a deadline."""
        deadline = time.monotonic() + seconds
        while not (found := done()):
            assert time.monotonic() < deadline, f"not within {seconds} s"
            time.sleep(0.01)
        return found

    def do(self, task: Callable[[], Any]) -> Any:
        """Do something in the thread of the run; return what comes back."""
        answers: queue.Queue[Any] = queue.Queue()
        self._tasks.put(lambda: answers.put(task()))
        return answers.get(timeout=SECONDS)

    def client(self, **options: Any) -> httpx.Client:
        """Return an HTTP client; with a certificate it trusts any."""
        context = ssl._create_unverified_context() if self.url.startswith("https") else False
        return httpx.Client(
            base_url=self.url, verify=context, trust_env=False, timeout=SECONDS, **options
        )

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        with self.client() as client:
            return client.request(method, path, **options)

    @contextmanager
    def connect(self, path: str = "api/ws", **options: Any) -> "Iterator[Watcher]":
        """Open a WebSocket; it has had its first message."""
        address = self.url.replace("http", "ws", 1) + path
        if address.startswith("wss"):
            options["ssl"] = ssl._create_unverified_context()
        usual = {"proxy": None, "compression": None, "open_timeout": SECONDS, "max_queue": None}
        options = usual | options
        with websockets.sync.client.connect(address, **options) as socket:
            yield Watcher(socket)

    def event(self, source: str = "stage", label: str = "violin", **changes: Any) -> Event:
        """Publish an event as the publisher does; return it."""
        event: Event = self.do(lambda: self._publish(source, label, changes))
        return event

    def events(self, n: int) -> None:
        """Publish events at once."""
        self.do(lambda: [self._publish("stage", "violin", {}) for _ in range(n)])

    def step(self, source: str = "stage", number: int = 0) -> None:
        step = LiveStep(
            step=number,
            time=0.512 * number,
            scores={"violin": 0.5, "drum": 0.1},
            points={"violin": (0.5, 0.5), "drum": None},
            source=source,
            system_id=SYSTEM_ID,
            base=0,
            captured=time.time(),
            latency_ms=700.0,
        )
        self.do(lambda: self.hub.publish_step(step))

    def heat(self, source: str = "stage") -> bool:
        """Publish heat if somebody wants it; return whether."""
        heat = Heat(source=source, system_id=SYSTEM_ID, step=0, time=0.0, shape=(1, 1))

        def publish() -> bool:
            is_wanted = self.hub.is_wanted("playspot/heat/v1/", source)
            if is_wanted:
                self.hub.publish_heat(heat)
            return is_wanted

        return bool(self.do(publish))

    def _publish(self, source: str, label: str, changes: dict[str, Any]) -> Event:
        seq = self._next.get(source, 0)
        self._next[source] = seq + 1
        fields: dict[str, Any] = {
            "type": "new",
            "id": f"{source}.{SYSTEM_ID}.{seq}",
            "source": source,
            "label": label,
            "score": 0.8,
            "top_score": 0.9,
            "start_time": 1.0,
            "time": 1.0,
            "wall_time": time.time(),
            "step": 2,
            "seq": seq,
            "system_id": SYSTEM_ID,
            "model": MODEL,
        }
        event = Event(**(fields | changes))
        self.hub.publish(event)
        return event

    def _serve(self) -> None:
        worker = Worker(self._run, "web", os.getppid())

        async def serve() -> None:
            stopped = asyncio.Event()
            loop = asyncio.get_running_loop()

            def stop() -> None:
                loop.call_soon_threadsafe(stopped.set)

            self._stop = stop
            await WebLoop(worker, self._run, self.job).serve(stopped)
            self._stop = lambda: None

        try:
            asyncio.run(serve())
        except BaseException as error:
            self._stop = lambda: None
            self.error = error
            self._is_ready.set()
        finally:
            worker.close()

    def _play(self) -> None:
        context = self._context
        control = pull(context, self._run, "control", queue=100)
        answers = push(context, self._run, "answers", queue=100)
        self.hub = Publisher(context, None, run=self._run, system_id=SYSTEM_ID)
        self._next: dict[str, int] = {}
        self.senders = {name: PreviewSender(context, self._run, name) for name in self.sources}
        told = 0.0
        while not self._is_over.is_set():
            self.hub.turn()
            if time.monotonic() - told > 0.5:
                told = time.monotonic()
                self.tell_status()
            for sender in self.senders.values():
                sender.look()
                if sender.side:
                    sender.send_picture(1, next(self._ticks), 1.5, time.monotonic(), self.jpeg)
            while not self._tasks.empty():
                self._tasks.get()()
            while control.poll(1):
                self._note(receive(control), answers)
        for sender in self.senders.values():
            sender.close()
        self.hub.close()
        context.destroy(linger=0)

    def _note(self, report: Message, answers: "zmq.Socket[bytes]") -> None:
        if report.kind == "ready":
            self.url = report.data["url"]
            self._is_ready.set()
        elif report.kind == "alive":
            self.beats += 1
        elif report.kind == "request":
            self.requests.append(report.data)
            answer = self.answer(report.data)
            if answer is not None:
                send(answers, Message("answer", data={"id": report.data["id"], **answer}))

    def obey(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a request as the supervisor does."""
        name, is_known = request["name"], request["name"] in self.sources
        if request["op"] == "add":
            if is_known:
                return {"error": f"there is a source {name} already", "code": "exists"}
            self.sources = (*self.sources, name)
            self.senders[name] = PreviewSender(self._context, self._run, name)
        else:
            if not is_known:
                return {"error": f"no source {name}", "code": "unknown"}
            self.sources = tuple(source for source in self.sources if source != name)
            self.senders.pop(name).close()
        self.tell_status()
        return {"error": None, "code": "ok"}

    def tell_status(self) -> None:
        now = time.time()
        run = RunStatus(
            system_id=SYSTEM_ID,
            wall_time=now,
            uptime=5,
            model=MODEL,
            budget=2,
            latency="normal",
            look_ahead=0.7,
            building=self.building,
            sources=dict.fromkeys(self.sources, "live"),
        )
        self.hub.publish_status("", run.model_dump_json(by_alias=True))
        for name in self.sources:
            status = SourceStatus(
                source=name, wall_time=now, state="live", since=now, url="rtsp://***@camera/1"
            )
            self.hub.publish_status(name, status.model_dump_json(by_alias=True))


class Watcher:
    """A client of the WebSocket."""

    def __init__(self, socket: websockets.sync.client.ClientConnection) -> None:
        self.socket = socket
        self.hello = self.take()

    def watch(self, **wants: Any) -> None:
        self.socket.send(json.dumps({"type": "watch", **wants}))

    def take(self, seconds: float = SECONDS) -> dict[str, Any]:
        """Return the next message; a picture as {"type": "picture", "header", "jpeg"}."""
        message = self.socket.recv(seconds)
        if isinstance(message, str):
            told: dict[str, Any] = json.loads(message)
            return told
        length = int.from_bytes(message[:4], "big")
        header = json.loads(message[4 : 4 + length])
        return {"type": "picture", "header": header, "jpeg": message[4 + length :]}

    def wait(self, kind: str, seconds: float = SECONDS) -> dict[str, Any]:
        """Return the next message of a type."""
        deadline = time.monotonic() + seconds
        while (told := self.take(deadline - time.monotonic()))["type"] != kind:
            pass
        return told


def fill(database: Path, recordings: Path, n: int = 30) -> list[str]:
    """Write ended events, the last one open; the first has a picture and a clip. Return the ids."""
    ids = []
    connection = open_database(database)
    for number in range(n):
        source, label = ("stage", "hall")[number % 2], ("violin", "drum")[number % 3 == 0]
        began = 1_760_000_000.0 + 60 * number
        stored = StoredEvent(
            id=f"{source}.{SYSTEM_ID}.{number}",
            source=source,
            label=label,
            system_id=SYSTEM_ID,
            state="open" if number == n - 1 else "ended",
            began_at=began,
            ended_at=None if number == n - 1 else began + 5,
            start_time=1.0,
            end_time=6.0,
            score=0.5,
            top_score=round(0.5 + number / 100, 2),
            top_at=began + 1,
            model=MODEL,
            first_seq=number,
            last_seq=number,
        )
        write_event(connection, stored)
        ids.append(stored.id)
    connection.close()
    contents: dict[Kind, bytes] = {"snapshot": b"\xff\xd8jpeg\xff\xd9", "clip": bytes(range(256))}
    for kind, content in contents.items():
        path = path_of(recordings, ids[0], 1_760_000_000.0, kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return ids
