"""The pipeline: all processes of `playspot detect` as one object that yields steps.

    file -> reader -> flow, mel -> detector -> here

Lossless: when whoever iterates is slow, the queues fill and the reader waits.
"""

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import zmq

from ..engines.engine import Header, Models
from ..engines.options import FlowWish
from .building import switched_line
from .detector_worker import DetectorJob, detect
from .events import Event, ModelInfo, Step
from .flow_choice import flow_settings
from .flow_worker import flow
from .fusion import ScoreMap
from .media import SourceInfo
from .mel_worker import mel
from .messages import Message, receive, send
from .reader import DATA_SOCKETS, read
from .sockets import close_run, new_run, pull, push
from .sources import SourceError
from .supervisor import GRACE, Supervisor, WorkerError
from .timeline import step_time
from .worker import POLL_MS

START_TIMEOUT = 60.0  # seconds for the processes to start and the networks to load
STALL_TIMEOUT = 60.0  # seconds without progress in any process
PAUSE = 5.0  # seconds between two looks: the program was stopped (Ctrl-Z), or its user is slow
LAST_REPORT_MS = 500  # how long the last report of a process that has ended may take to arrive
NO_OBJECT_MODEL = Header(kind="object", name="none", labels=())
SERVING = ["flow", "mel", "detector"]


@dataclass(frozen=True)
class StepOutput:
    """One step of a file: its record, its events, its playing map (K, H, W) float16 or None."""

    step: Step
    events: tuple[Event, ...]
    playing: ScoreMap | None


class Pipeline:
    """Start the processes on entering, stop them on leaving, and detect in files meanwhile.

    Parameters
    ----------
    models : Models
        Networks and their decoding.
    wanted : frozenset of str
        Labels to report; all when empty.
    flow : {"auto", "farneback", "dis", "network"}
        How optical flow is computed.
    publish : str or None
        Endpoint on which subscribers get the events; None to publish nothing.
    may_move : bool
        Whether a free port may be taken when that of `publish` is taken.

    Attributes
    ----------
    endpoint : str or None
        Where events are published.
    model : ModelInfo
        What makes the detections; it may become something else while the pipeline works.
    building : float or None
        How much of the plans of another engine was built at the start, 0 to 1; None: none is built.
    flow : str
        How flow is computed and why so, for people.

    Raises
    ------
    WorkerError
        If a process ends, hangs or cannot start.
    """

    endpoint: str | None
    model: ModelInfo
    building: float | None
    flow: str

    def __init__(
        self,
        models: Models,
        *,
        wanted: frozenset[str] = frozenset(),
        flow: FlowWish = "auto",
        publish: str | None = None,
        may_move: bool = False,
    ) -> None:
        self.system_id = secrets.token_hex(4)
        self._models = models
        self._flow = flow_settings(models.headers, flow, models.options)
        self._job = DetectorJob(models, wanted, self.system_id, publish, may_move)
        self._n_sources = 0
        self._names: set[str] = set()
        self._run = new_run()
        self._supervisor = Supervisor(self._run)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()

    def __enter__(self) -> Self:
        self._control = pull(self._context, self._run, "control")
        self._results = pull(self._context, self._run, "results")
        try:
            self._supervisor.start("flow", flow, self._flow)
            sound = self._models.headers.get("sound")
            front_end = sound.front_end if sound is not None else None
            self._supervisor.start("mel", mel, front_end or "paper")
            self._supervisor.start("detector", detect, self._job)
            ready = self._wait_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.endpoint = ready["detector"]["endpoint"]
        self.model = ModelInfo(**ready["detector"]["model"])
        self.building = ready["detector"].get("building")
        self.flow = ready["flow"]["flow"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._supervisor.stop()
        finally:
            self._context.destroy(linger=0)
            close_run(self._run)

    def pids(self) -> dict[str, int]:
        """Return the process ids of the workers by name."""
        return self._supervisor.pids()

    def open(self, path: Path, *, name: str | None = None) -> "FileRun":
        """Return a file on its way through the pipeline, opened and ready to be iterated.

        Raises
        ------
        SourceError
            If the file cannot be read.
        """
        self._n_sources += 1
        text = (name or path.stem).encode("utf-8", "backslashreplace").decode()
        name = unique_name(text, self._names)
        header = self._models.headers.get("object", NO_OBJECT_MODEL)
        reader = f"reader-{self._n_sources}"
        self._supervisor.start(
            reader,
            read,
            self._n_sources,
            path,
            name,
            header.picture_side,
            header.picture_multiple,
        )
        return FileRun(self, self._n_sources, reader, path)

    def _wait_ready(self) -> dict[str, dict[str, Any]]:
        """Return what flow and detector say when both are ready."""
        ready: dict[str, dict[str, Any]] = {}
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            for message in self.reports(POLL_MS):
                if message.kind == "ready":
                    ready[str(message.data["worker"])] = message.data
            if {"flow", "detector"} <= ready.keys():
                return ready
            self.check()
        raise WorkerError(f"the pipeline did not start within {START_TIMEOUT:.0f} s")

    def results(self, timeout_ms: int) -> Message | None:
        """Return the next result of the detector, None if there is none in time."""
        return receive(self._results) if self._results.poll(timeout_ms) else None

    def check(self) -> None:
        """Raise `WorkerError` if a process that serves all sources has ended."""
        try:
            self._supervisor.check(SERVING)
        except WorkerError:
            list(self.reports(LAST_REPORT_MS))  # raises with the reason, if one was given
            raise

    def has_ended(self, worker: str) -> bool:
        """Return whether a worker process has ended."""
        return self._supervisor.exit_code(worker) is not None

    def interrupt(self) -> None:
        """Ask the detector to finish what it has, and to stop."""
        self._supervisor.terminate("detector")

    def reap(self, worker: str) -> None:
        """End a worker; returns when it is gone."""
        self._supervisor.reap(worker)

    def give_up(self, source: int, n_steps: int) -> None:
        """Tell every process that no more of a source will come."""
        for name in (*DATA_SOCKETS, "stacks", "windows"):
            socket = push(self._context, self._run, name, linger_ms=1000)
            data = {"duration": step_time(n_steps), "given_up": True}
            send(socket, Message("end", source, n_steps, data))
            socket.close()

    def reports(self, timeout_ms: int) -> Iterator[Message]:
        """Yield the workers' reports that have arrived.

        Raises
        ------
        WorkerError
            If a process that serves all sources reports that it failed.
        """
        while self._control.poll(timeout_ms):
            message = receive(self._control)
            timeout_ms = 0
            if message.kind == "failed" and message.data["worker"] in SERVING:
                raise WorkerError(str(message.data["message"]))
            yield message


class FileRun:
    """A file on its way through the pipeline; iterate it for its steps.

    Attributes
    ----------
    info : SourceInfo
        Known once the file is open.
    duration : float
        Seconds; 0 until the iteration is over.
    notes : list of str
        What the user should know of the file, once the iteration is over.
    final_events : tuple of Event
        Ends of the events that were open when the file ended.
    """

    def __init__(self, pipeline: Pipeline, source: int, reader: str, path: Path) -> None:
        self.duration = 0.0
        self.notes: list[str] = []
        self.final_events: tuple[Event, ...] = ()
        self._pipeline = pipeline
        self._source = source
        self._reader = reader
        self._path = path
        self._n_steps = 0
        self._failure: str | None = None
        self._is_read = False
        self._is_given_up = False
        self._is_done = False
        self._progress = self._looked = time.monotonic()
        self.info = self._wait_open()

    def __iter__(self) -> Iterator[StepOutput]:
        """Yield the steps in order; raise `SourceError` at the end if the file broke off."""
        while (message := self._next()) is not None:
            yield from self._outputs(message)
        self._pipeline.reap(self._reader)
        for report in self._pipeline.reports(0):
            self._note(report)
        if self._failure is not None:
            raise SourceError(self._failure)

    def interrupt(self) -> Iterator[StepOutput]:
        """Stop the detector and yield the steps it had finished; open events end by `shutdown`.

        The pipeline cannot be used for another file after this.
        """
        self._pipeline.interrupt()
        deadline = time.monotonic() + GRACE
        while not self._is_done and time.monotonic() < deadline:
            message = self._pipeline.results(POLL_MS)
            if message is not None and message.source == self._source:
                yield from self._outputs(message)

    def abandon(self) -> None:
        """Give the file up and wait until the pipeline has forgotten it."""
        if not self._is_given_up:
            self._give_up()
        while (message := self._next()) is not None:
            list(self._outputs(message))
        self._pipeline.reap(self._reader)

    def _outputs(self, message: Message) -> Iterator[StepOutput]:
        """Take note of a result; yield the step it brings, if it brings one."""
        if message.kind == "done":
            self._is_done = True
            self.duration = float(message.data["duration"])
            self.final_events = _events(message)
            return
        self._n_steps = message.index + 1
        playing = message.arrays[0] if message.arrays else None
        yield StepOutput(Step(**message.data["step"]), _events(message), playing)

    def _wait_open(self) -> SourceInfo:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            has_ended = self._pipeline.has_ended(self._reader)
            for report in self._pipeline.reports(POLL_MS):
                self._note(report)
                if report.kind == "opened" and report.source == self._source:
                    return SourceInfo(**report.data["info"])
            if self._failure is not None or has_ended:
                break
            self._pipeline.check()
        self._pipeline.reap(self._reader)
        raise SourceError(self._failure or f"{self._path}: the reader process ended while opening")

    def _next(self) -> Message | None:
        """Return the next result of this file, None after its last one."""
        while not self._is_done:
            has_ended = self._pipeline.has_ended(self._reader)
            for report in self._pipeline.reports(0):
                self._note(report)
            message = self._pipeline.results(POLL_MS)
            if message is not None and message.source == self._source:
                self._progress = time.monotonic()
                return message
            self._pipeline.check()
            if has_ended and not self._is_read and not self._is_given_up:
                for report in self._pipeline.reports(LAST_REPORT_MS):
                    self._note(report)
            if has_ended and not self._is_read and not self._is_given_up:
                self._failure = self._failure or f"{self._path}: the reader process broke off"
                self._give_up()
            if self._is_stalled():
                raise WorkerError(
                    f"{self._path}: no progress in any process for {STALL_TIMEOUT:.0f} s"
                )
        return None

    def _is_stalled(self) -> bool:
        """Return whether nothing has moved for long; time in which we slept too does not count."""
        now = time.monotonic()
        if now - self._looked > PAUSE:
            self._progress = now
        self._looked = now
        return now - self._progress > STALL_TIMEOUT

    def _note(self, report: Message) -> None:
        self._progress = time.monotonic()
        if report.kind == "model":
            self._pipeline.model = ModelInfo(**report.data["model"])
            self.notes.append(switched_line(self._pipeline.model, f"step {self._n_steps}"))
        if report.kind == "failed" and report.data["worker"] == self._reader:
            self._failure = f"{self._path}: {report.data['message']}"
        if report.source != self._source:
            return
        if report.kind == "closed":
            self._is_read = True
            self.notes += report.data["notes"]
        elif report.kind == "source_failed":
            self._is_read = True
            self._failure = str(report.data["message"])

    def _give_up(self) -> None:
        self._is_given_up = True
        self._pipeline.give_up(self._source, self._n_steps)


def unique_name(name: str, taken: set[str]) -> str:
    """Return `name`, or with a number after it if it is taken; it is taken from then on.

    Examples
    --------
    >>> taken = {"stage"}
    >>> unique_name("stage", taken), unique_name("stage", taken)
    ('stage-2', 'stage-3')
    """
    unique, n = name, 1
    while unique in taken:
        n += 1
        unique = f"{name}-{n}"
    taken.add(unique)
    return unique


def _events(message: Message) -> tuple[Event, ...]:
    return tuple(Event(**event) for event in message.data["events"])
