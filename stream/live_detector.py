"""The detector process of a live run: inputs of all sources in, scored steps out, in time.

A step is scored as soon as it is complete, or with what is there once its time for waiting is over.
Each step that this process knows of leaves it as `scored`, or is counted as dropped with a cause;
the next message of its session says how many were, so that whoever comes after can tell them from
steps that nobody counted (`dropped`). Steps of a source leave in order.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..engines.engine import Models
from ..engines.settings import MODALITIES, Decoding, ModalityName
from .building import building, is_slow_next
from .config import Latency, decoding_of
from .deadlines import Deadlines, Pace, most_steps
from .detector import modalities_of, model_info
from .fair_queue import Turns
from .inputs import INPUTS, item_of
from .latency import look_ahead
from .live_align import LiveAligner, LiveInputs
from .measure import Measures
from .messages import Message
from .roster import FORGET_AFTER, Heard, Roster
from .scoring import Grid, Maps, Scored, Scorer, View, grid_of
from .session import Session
from .sockets import LIVE_QUEUE, pull, push
from .stage import Clock, Outlet, outlet, serve
from .timeline import TICKS_PER_STEP, step_time
from .worker import Worker

SCORED = "scored"
ANNOUNCE_INTERVAL = 0.9  # s; an opening arrives by three ways, once a second by each

logger = logging.getLogger(__name__)
LOAD_PATIENCE = 60.0  # seconds for large networks to load


@dataclass(frozen=True)
class LiveDetectorJob:
    """What the detector process of a live run is started with.

    Attributes
    ----------
    models : Models
    budget : float
        Seconds from capture to publishing.
    latency : {"normal", "low"}
    """

    models: Models
    budget: float
    latency: Latency = "normal"


@dataclass
class _Watched(Heard):
    """A session on its way through the detector."""

    aligner: LiveAligner = field(default_factory=lambda: LiveAligner(set()))
    view: View = field(default_factory=lambda: View(Decoding()))
    grid: Grid | None = None
    told: float = float("-inf")  # when its opening was forwarded
    end: Message | None = None
    counts: bool = True  # False until the first step, where it was joined in the middle
    dropped: "Counter[str]" = field(default_factory=Counter)  # since the last message that left
    is_refused: bool = False  # by a network; said once


@dataclass(frozen=True)
class _Due:
    """A step whose turn has come."""

    watched: _Watched
    inputs: LiveInputs

    @property
    def time(self) -> float:
        return step_time(self.inputs.step)


class DetectorStage:
    """Scores for the steps of all sources: fair, in time, or not at all.

    Parameters
    ----------
    scorer : Scorer
    decoding : Decoding
        Of the models; a source may change it.
    deadlines : Deadlines
    out : Outlet
    measures : Measures
        Drops: "late", "lost" (nothing of the step arrived), "full", "failed" (a network refused
        the inputs).
    clock : callable
        `time.monotonic`, or what a test has in its place.
    between : callable
        Called between two runs of a network.
    """

    def __init__(
        self,
        scorer: Scorer,
        decoding: Decoding,
        deadlines: Deadlines,
        out: Outlet,
        measures: Measures,
        clock: Clock = time.monotonic,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self._scorer, self._decoding, self._deadlines = scorer, decoding, deadlines
        self._out, self._measures = out, measures
        self._clock, self._between = clock, between
        self._most = most_steps(deadlines.budget)
        self._pace = Pace()
        self._model: dict[str, Any] = {}
        self._turns = Turns()
        self._roster: Roster[_Watched] = Roster(self._watch)

    def take(self, socket: str, message: Message) -> None:
        """Take in a message of a reader, of flow or mel; `socket` is the modality."""
        modality = next(name for name in MODALITIES if name == socket)
        now = self._clock()
        if message.kind == "open":
            self._open(message, now)
            return
        watched = self._roster.get(message.source)
        if watched is None:
            return
        if message.kind in ("picture", "stack", "window", "gap"):
            watched.note(message, step_time(message.index), now)
            self._put(watched, modality, message)
        elif message.kind == "end":
            watched.heard = now
            watched.end = message
            watched.aligner.end(modality, message.index, _n_delivered(modality, message))

    def work(self) -> bool:
        """Score a few steps; return whether there may be more to do."""
        self._roster.look(self._clock())
        for watched in self._roster:
            if watched.is_broken:
                watched.aligner.stop()
        batch = self._batch()
        if batch:
            self._score(batch)
        # Only now: the last step may have been in the batch.
        closed = [watched for watched in self._roster if self._is_through(watched)]
        return any([self._close(watched) for watched in closed]) or bool(batch)

    def _watch(self, session: Session, joined: int, now: float) -> _Watched:
        expected = modalities_of(session.info) & set(self._scorer.engines)
        config = session.config
        return _Watched(
            session,
            joined,
            now,
            aligner=LiveAligner(expected, first=joined),
            view=View(decoding_of(config, self._decoding), frozenset(config.labels), config.zones),
            counts=joined == 0,
        )

    def _open(self, message: Message, now: float) -> None:
        watched = self._roster.open(message, now)
        if watched is None:
            return
        aligner = watched.aligner
        aligner.n_known = max(aligner.n_known, message.index)
        if now - watched.told >= ANNOUNCE_INTERVAL:
            watched.told = now
            self._out.tell(message)

    def _put(self, watched: _Watched, modality: ModalityName, message: Message) -> None:
        aligner, step = watched.aligner, message.index
        if step - aligner.next_step >= self._most:  # faster than time passes: no live source
            self._skip(watched, step + 1 - self._most)
        if message.data.get("first"):
            aligner.begin(modality, step)
        is_stale = bool(message.data.get("stale"))
        aligner.put(modality, step, item_of(message), "stale" if is_stale else "missing")

    def _batch(self) -> list[_Due]:
        """Take the steps whose turn it is, one of each source and then the next of each."""
        batch: list[_Due] = []
        is_more, most = True, self._pace.batch
        while is_more and len(batch) < most:
            is_more = False
            now = self._clock()
            for name in self._turns.order(self._roster.first()):
                if len(batch) == most:
                    break
                due = self._next(self._roster.first()[name], now)
                if due is not None:
                    self._turns.take(name)
                    batch.append(due)
                    is_more = True
        return batch

    def _next(self, watched: _Watched, now: float) -> _Due | None:
        """Return the next step of a session if it is time for it; drop those that are too late."""
        aligner = watched.aligner
        while aligner.has_next and (watched.lag is not None or aligner.n_steps is not None):
            age = now - watched.captured(step_time(aligner.next_step))
            if age > self._deadlines.start(self._pace):
                self._skip(watched, aligner.next_step + 1)
            elif not aligner.is_complete and age < self._deadlines.wait(self._pace):
                return None
            elif not aligner.has_input:
                self._skip(watched, aligner.next_step + 1)
            else:
                watched.counts = True
                return _Due(watched, aligner.take_now())
        return None

    def _skip(self, watched: _Watched, until: int) -> None:
        n_late, n_lost = watched.aligner.skip(until)
        self._drop(watched, "late", n_late)
        self._drop(watched, "lost", n_lost)

    def _drop(self, watched: _Watched, cause: str, n: int = 1) -> None:
        if watched.counts and n > 0:
            self._measures.drop(watched.name, cause, n)
            watched.dropped[cause] += n

    def _score(self, batch: list[_Due]) -> None:
        begun = self._clock()
        self._model = model_info(self._scorer.engines).model_dump()  # before one may switch over
        for due in batch:
            due.watched.grid = due.watched.grid or grid_of(due.inputs.inputs)
        for due, maps in zip(batch, self._maps(batch), strict=True):
            if maps is None:
                self._drop(due.watched, "failed")
            else:
                self._give(due, maps)
        self._pace.add(self._clock() - begun, len(batch))

    def _maps(self, batch: list[_Due]) -> list[Maps | None]:
        """Return the maps of steps; None for one whose inputs a network refuses."""
        try:
            items = [(due.inputs.inputs, due.watched.grid) for due in batch]
            return [*self._scorer.maps(items, self._between)]
        except ValueError as error:
            if len(batch) > 1:  # one source must not end the steps of the others
                return [maps for due in batch for maps in self._maps([due])]
            watched = batch[0].watched
            if not watched.is_refused:
                watched.is_refused = True
                logger.warning("%s: cannot be scored: %s", watched.name, error)
            return [None]

    def _give(self, due: _Due, maps: Maps) -> None:
        watched, inputs = due.watched, due.inputs
        session = watched.session
        if self._clock() - watched.captured(due.time) > self._deadlines.budget:
            self._drop(watched, "late")
            return
        statuses = {
            name: "missing" if status == "ok" and name not in maps else status
            for name, status in inputs.statuses.items()
        }
        step = session.base + inputs.step
        scored = self._scorer.scored(step, maps, watched.view, statuses)
        labels, heat = scored.heat(watched.view.wanted)
        arrays = () if heat is None else (heat,)
        data = watched.labelled(
            due.time,
            base=session.base,
            dropped=dict(watched.dropped),
            modalities=statuses,
            record=scored.step.model_dump(mode="json"),
            model=self._model,
            seen=_seen(scored),
            **({"heat_labels": labels} if labels else {}),
        )
        if self._out.give(Message(SCORED, session.number, inputs.step, data, arrays)):
            watched.dropped.clear()
        else:
            watched.dropped["full"] += 1  # counted by the outlet

    def _is_through(self, watched: _Watched) -> bool:
        return watched.aligner.n_steps is not None and not watched.aligner.has_next

    def _close(self, watched: _Watched) -> bool:
        """Forget a session of which all steps are through, once that could be told."""
        reason = "timeout" if self._clock() - watched.heard > FORGET_AFTER else "source_lost"
        end = watched.end or Message("end", watched.session.number, watched.aligner.next_step)
        data = {
            "name": watched.name,
            "duration": step_time(end.index),
            "reason": reason,
            **end.data,
            "dropped": dict(watched.dropped),
        }
        is_told = self._out.tell(Message("end", end.source, end.index, data))
        if is_told or watched.is_broken:
            self._roster.remove(watched)
        return is_told or watched.is_broken


def _n_delivered(modality: ModalityName, end: Message) -> int | None:
    """Return below which step a modality was delivered, as the reader says."""
    if modality == "object" and "pictures" in end.data:
        return int(end.data["pictures"])
    if modality == "action" and "ticks" in end.data:
        return -(-int(end.data["ticks"]) // TICKS_PER_STEP)
    return None


def _seen(scored: Scored) -> list[dict[str, Any]]:
    return [
        {
            "label": region.label,
            "score": region.score,
            "point": region.point,
            "box": region.box,
            "detection": detection.model_dump(mode="json"),
        }
        for region, detection in scored.seen
    ]


def detect_live(worker: Worker, run: str, job: LiveDetectorJob) -> None:
    """Be the detector process of a live run."""
    inputs = {
        str(modality): pull(worker.context, run, name, queue=LIVE_QUEUE)
        for modality, name in INPUTS.items()
    }
    out = outlet(worker, push(worker.context, run, SCORED, queue=LIVE_QUEUE))
    worker.beat(patience=LOAD_PATIENCE)
    engines = job.models.load()
    sound = job.models.headers.get("sound")
    front_end = None if sound is None else sound.front_end or "paper"
    stage = DetectorStage(
        Scorer(engines, job.models.labels),
        job.models.decoding,
        Deadlines(job.budget, look_ahead(front_end, job.latency)),
        out,
        worker.measures,
        between=lambda: worker.beat(patience=LOAD_PATIENCE if is_slow_next(engines) else None),
    )
    worker.also = lambda: {
        "model": model_info(engines).model_dump(),
        "building": building(engines),
    }
    worker.tell("ready", model=model_info(engines).model_dump())
    serve(worker, inputs, stage)
