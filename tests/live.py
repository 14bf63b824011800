"""A real `playspot run`, and what it publishes, for tests (fixture `live_run`)."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import zmq

ROOTS = {"event": b"playspot/v1/", "step": b"playspot/steps/v1/", "status": b"playspot/status/v1/"}
READY = 40.0  # seconds for the processes to start, on a busy machine


class RunningProgram:
    """A `playspot run` process and a subscriber to all that it publishes."""

    def __init__(self, config: dict[str, Any], folder: Path) -> None:
        self._folder = folder
        self.endpoint = f"ipc://@playspot-test-{os.getpid()}-{time.monotonic_ns()}"
        self._config = {"publish": self.endpoint, "journal": str(folder / "journal"), **config}
        self.events: list[dict[str, Any]] = []
        self.steps: list[dict[str, Any]] = []
        self.statuses: dict[str, dict[str, Any]] = {}
        self.log = folder / "run.log"

    def write_config(self, **changes: Any) -> Path:
        self._config |= changes
        path = self._folder / "playspot.yaml"
        path.write_text(json.dumps(self._config))  # JSON is YAML
        return path

    def __enter__(self) -> Self:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
        for root in ROOTS.values():
            self._socket.subscribe(root)
        self._socket.connect(self.endpoint)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "playspot.stream", "run", str(self.write_config())],
                stdout=subprocess.DEVNULL,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            children = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            children = []
        for process in [self.process, *children]:
            try:
                process.kill()
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        self.process.wait()
        self._socket.close()
        self._context.term()
        if error is not None:
            print(self.log.read_text())

    def take(self, timeout: float = 0.1) -> list[tuple[str, dict[str, Any]]]:
        """Return what has arrived as (kind, record), and keep it."""
        taken = []
        while self._socket.poll(int(1000 * timeout)):
            timeout = 0.0
            topic, _, body = self._socket.recv_multipart()
            kind = next(name for name, root in ROOTS.items() if topic.startswith(root))
            record = json.loads(body)
            taken.append((kind, record))
            if kind == "event":
                self.events.append(record)
            elif kind == "step":
                self.steps.append(record)
            else:
                self.statuses[record.get("source", "")] = record
        return taken

    def wait(self, done: Callable[[], Any], seconds: float = READY) -> Any:
        """Take what arrives until `done` returns something true; fail after a deadline."""
        deadline = time.monotonic() + seconds
        while not (found := done()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s; log:\n{self.log.read_text()}")
            if self.process.poll() is not None:
                self.take()
                if found := done():
                    return found
                raise AssertionError(f"it ended: {self.log.read_text()}")
            self.take()
        return found

    def wait_for_steps(self, sources: list[str], n: int = 2, seconds: float = READY) -> float:
        """Wait for `n` further complete steps of each source; return the seconds it took."""
        began, first = time.monotonic(), len(self.steps)

        def done() -> bool:
            complete = [s["source"] for s in self.steps[first:] if is_complete(s)]
            return all(complete.count(source) >= n for source in sources)

        self.wait(done, seconds)
        return time.monotonic() - began

    def pid(self, worker: str) -> int:
        """Return the process id of a worker."""
        workers = self.statuses[""]["workers"]
        return int(next(w["pid"] for w in workers if w["name"] == worker))

    def stop(self, seconds: float = 5.0) -> int:
        """End it by Ctrl-C; return its exit code."""
        self.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            self.take()
        self.take(0.3)
        return self.process.wait(0.1)


def is_complete(step: dict[str, Any]) -> bool:
    """Return whether all three models had their own input of a step."""
    return [*step["status"].values()] == ["ok"] * 3
