"""The detector process: pictures, flow stacks and sound windows in; steps and events out.

A modality that runs ahead of the others is left in its socket (the senders then wait: this is the
back-pressure), so memory is bounded whatever the order of arrival. Events go to subscribers on the
publisher's socket while it works, steps and events to the supervisor.
"""

import math
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType

import numpy as np
import zmq

from ..engines.engine import Models
from ..engines.settings import ModalityName
from .building import building
from .detector import Detector, StepResult, model_info
from .event_log import EventLog
from .events import Event
from .inputs import INPUTS, item_of
from .media import SourceInfo
from .messages import Message, MessageError, receive, send
from .publish import Publisher
from .sockets import QUEUE, pull, push
from .tracks import Change, EndReason
from .worker import POLL_MS, Worker

RESULTS_LINGER_MS = 1_000
_NOTHING: dict[str, object] = {"events": [], "duration": 0.0}
SHUTDOWN_SEND_MS = 1_000  # how long the last events may take to reach the supervisor


@dataclass(frozen=True)
class DetectorJob:
    """What the detector process is started with.

    Attributes
    ----------
    models : Models
    wanted : frozenset of str
        Labels to report; all when empty.
    system_id : str
        Names this run of the program in events.
    publish : str or None
        Endpoint for subscribers; None to publish nothing.
    may_move : bool
        Whether a free port may be taken when that of `publish` is taken.
    """

    models: Models
    wanted: frozenset[str]
    system_id: str
    publish: str | None
    may_move: bool


@dataclass
class _Served:
    """What the worker remembers of a source beside the detector."""

    log: EventLog
    duration: float = 0.0
    arrived: dict[int, float] = field(default_factory=dict)  # step -> newest input, monotonic


class DetectorWorker:
    """Connect a `Detector` to the sockets of a run."""

    def __init__(self, worker: Worker, run: str, job: DetectorJob) -> None:
        # Bound before the networks are loaded: who listens already has the time to connect.
        self._publisher = (
            None
            if job.publish is None
            else Publisher(
                worker.context, job.publish, may_move=job.may_move, system_id=job.system_id
            )
        )
        engines = job.models.load()
        self._worker = worker
        self._detector = Detector(engines, job.models.decoding, job.models.labels, job.wanted)
        self._model = model_info(engines)
        self._system_id = job.system_id
        self._served: dict[int, _Served] = {}
        self._closed: set[int] = set()  # numbers; what still comes of them is ignored
        self._inputs = {m: pull(worker.context, run, name) for m, name in INPUTS.items()}
        self._results = push(worker.context, run, "results", linger_ms=RESULTS_LINGER_MS)
        self._is_stopped = False
        signal.signal(signal.SIGTERM, self._stop)
        endpoint = None if self._publisher is None else self._publisher.endpoint
        worker.tell(
            "ready", endpoint=endpoint, model=self._model.model_dump(), building=building(engines)
        )

    def serve(self) -> None:
        """Work until asked to stop by SIGTERM."""
        while not self._is_stopped:
            self._receive()
            for source in list(self._served):
                self._advance(source)
            if self._publisher is not None:
                self._publisher.turn()
        self._results.setsockopt(zmq.SNDTIMEO, SHUTDOWN_SEND_MS)
        is_interrupted = bool(self._served)
        for source in list(self._served):
            self._close(source, "shutdown")
        if self._publisher is not None:
            self._publisher.close()
        if is_interrupted:
            self._worker.wait()

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._is_stopped = True

    def _receive(self) -> None:
        """Take what has arrived, except from a modality that is ahead of the others."""
        poller = zmq.Poller()
        aligners = [state.aligner for state in self._detector.sources.values()]
        for modality, socket in self._inputs.items():
            if not any(aligner.is_full(modality) for aligner in aligners):
                poller.register(socket, zmq.POLLIN)
        for socket in () if self._publisher is None else self._publisher.sockets:
            poller.register(socket, zmq.POLLIN)
        ready = dict(poller.poll(POLL_MS))
        if not ready:
            self._worker.check_parent()
        for modality, socket in self._inputs.items():
            if socket not in ready:
                continue
            for _ in range(QUEUE):  # not for ever: the other modalities wait
                if not socket.poll(0):
                    break
                with suppress(MessageError):
                    self._take(modality, receive(socket))
                self._worker.progress()

    def _take(self, modality: ModalityName, message: Message) -> None:
        served = self._served.get(message.source)
        if served is None:
            if message.source in self._closed:
                return
            if message.kind == "open":  # whichever of the three inputs is the first
                self._open(message.source, SourceInfo(**message.data["info"]))
            elif message.data.get("given_up"):
                self._closed.add(message.source)  # before anything of it arrived here
                send(self._results, Message("done", message.source, 0, _NOTHING))
            return
        aligner = self._detector.sources[message.source].aligner
        if message.kind == "end":
            served.duration = float(message.data["duration"])
            aligner.end(modality, message.index)
        elif message.kind in ("gap", "picture", "stack", "window"):
            aligner.put(modality, message.index, item_of(message))
            if message.index >= aligner.next_step:
                arrived = float(message.data.get("arrived", time.monotonic()))
                before = served.arrived.get(message.index, 0.0)
                served.arrived[message.index] = max(before, arrived)

    def _open(self, source: int, info: SourceInfo) -> None:
        self._detector.open(source, info)
        self._served[source] = _Served(EventLog(info.name, self._model, self._system_id))

    def _advance(self, source: int) -> None:
        for result in self._detector.results(source):
            self._emit(source, result)
            self._note_model()
            self._worker.progress()
        if self._detector.sources[source].aligner.is_done:
            self._close(source, "end_of_stream")

    def _note_model(self) -> None:
        """Take note of it when the networks run on something else from the next step on."""
        model = model_info(self._detector.engines)
        if model != self._model:
            self._model = model
            for served in self._served.values():
                served.log.model = model
            self._worker.tell("model", model=model.model_dump())

    def _emit(self, source: int, result: StepResult) -> None:
        arrived = self._served[source].arrived.pop(result.step.step, None)
        events = self._publish(source, result.changes, arrived)
        playing = () if result.playing is None else (result.playing.astype(np.float16),)
        data = {"step": result.step.model_dump(mode="json"), "events": events}
        send(self._results, Message("step", source, result.step.step, data, playing))

    def _publish(
        self, source: int, changes: list[Change], arrived: float | None = None
    ) -> list[dict[str, object]]:
        """Publish the events of changes, and return them as they stand in the JSON Lines."""
        latency_ms = None if arrived is None else 1000 * (time.monotonic() - arrived)
        events: list[Event] = [
            self._served[source].log.event(change, latency_ms) for change in changes
        ]
        if self._publisher is not None:
            for event in events:
                self._publisher.publish(event)
        return [event.model_dump(mode="json", by_alias=True) for event in events]

    def _close(self, source: int, reason: EndReason) -> None:
        n_steps = self._detector.sources[source].aligner.next_step
        duration = self._served[source].duration
        until = duration if reason == "end_of_stream" else math.inf
        events = self._publish(source, self._detector.close(source, reason, until))
        del self._served[source]
        data = {"events": events, "duration": duration}
        self._closed.add(source)
        try:
            send(self._results, Message("done", source, n_steps, data))
        except zmq.Again:
            self._is_stopped = True  # the supervisor no longer listens: it is being killed


def detect(worker: Worker, run: str, job: DetectorJob) -> None:
    """Be the detector process."""
    DetectorWorker(worker, run, job).serve()
