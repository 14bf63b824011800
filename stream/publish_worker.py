"""The publisher process of a live run: scored steps in; events, steps and statuses out.

It follows the players of each source over all its sessions. What happens to a step, in this order:

1. its place in the account of the source (`account.py`); a step that comes after a later one is
   not published, so the steps of a source only increase;
2. its events are in the journal, and how far the source is in the marks, before anybody hears of
   it: a publisher that takes the place of a killed one goes on from there, with the same open
   events and without a gap in `seq`;
3. subscribers. For ten seconds after a start they also get the last events from the journal, so
   that what was kept and not sent is not lost to them.

The steps of an unknown session wait until it is announced (once a second): how they are to be
decoded is part of that.

A source without a step for `SILENCE` seconds, or its `gap_merge` where that is longer, has its open
events ended: `end_of_stream` at once where it was over as planned, else `source_lost` or `timeout`.
The end of playing is that of the last step in which it was seen, never a later guess. What earlier
runs of the program had left open ends when this one begins.
"""

import logging
import math
import signal
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, get_args

import zmq

from ..engines.settings import Decoding
from .account import Account
from .config import decoding_of
from .detections import Region
from .event_log import EventLog
from .events import Detection, Event, LiveStep, ModelInfo
from .followed import Followed
from .heat_record import heat_of
from .journal import claim_journal
from .marks import Marks
from .messages import Message, MessageError, receive
from .publish import Publisher
from .session import Session
from .sockets import LIVE_QUEUE, pull
from .status import JournalStatus, PublisherStatus, RunStatus, SourceStatus
from .timeline import step_time
from .topics import HEAT_ROOT
from .tracks import Change, EndReason, Tracker
from .worker import Worker
from .zones import zones_of

LOOP_MS = 50  # how long a turn waits for steps
MAX_WAITING = 3.0  # seconds that steps wait for the announcement of their session
MAX_WAITING_STEPS = 64  # of a session
NOT_PLAYING = frozenset({"connecting", "retrying", "failed"})  # states of a source that broke off

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishJob:
    """What the publisher process is started with.

    Attributes
    ----------
    system_id : str
        Names this run of the program in events.
    endpoint : str or None
        Where subscribers connect; None to publish nothing (the journal is written all the same).
    may_move : bool
        Whether a free port may be taken when that of `endpoint` is taken.
    journal : Path or None
        Folder of the journal; the user's state folder when None.
    decoding : Decoding
        Of the models; sources change it by their configuration.
    model : ModelInfo
        What makes the detections, until a step says that it is something else.
    keys : Path or None
        Folder of keys: only the subscribers allowed in it are served.
    insecure : bool
        Whether `endpoint` may be on the network without keys.

    Notes
    -----
    A publisher that takes the place of another gets the endpoint and the journal that its `ready`
    report named, and may not move.
    """

    system_id: str
    endpoint: str | None
    may_move: bool
    journal: Path | None
    decoding: Decoding
    model: ModelInfo
    keys: Path | None = None
    insecure: bool = False


class LivePublisher:
    """The publisher of a run.

    Parameters
    ----------
    worker : Worker
    run : str
        Name of the run.
    job : PublishJob

    Raises
    ------
    EndpointError, KeysError, JournalTakenError
        If the endpoint, its keys or the folder of the journal cannot be used.
    """

    def __init__(self, worker: Worker, run: str, job: PublishJob) -> None:
        self._worker, self._job = worker, job
        self._sources: dict[str, Followed] = {}
        self._sessions: dict[int, Session] = {}
        self._waiting: dict[int, deque[tuple[float, Message]]] = {}
        self._is_stopped = False
        self._inlet = pull(worker.context, run, "scored", queue=LIVE_QUEUE)
        self._journal = claim_journal(job.journal, job.endpoint, job.system_id)
        self._marks = Marks(self._journal.folder / "steps", job.system_id)
        self._publisher = Publisher(
            worker.context,
            job.endpoint,
            may_move=job.may_move,
            system_id=job.system_id,
            run=run,
            keys=job.keys,
            is_open=job.insecure,
        )
        self._poller = zmq.Poller()
        for socket in (self._inlet, *self._publisher.sockets):
            self._poller.register(socket, zmq.POLLIN)
        self._resume()
        worker.tell(
            "ready",
            endpoint=self._publisher.endpoint or None,
            journal=str(self._journal.folder),
            journal_error=self._journal.error,
        )

    def serve(self) -> None:
        """Work until asked to stop by SIGTERM; then end the open events."""
        signal.signal(signal.SIGTERM, self._stop)
        while not self._is_stopped:
            self.turn(LOOP_MS)
        self._receive()
        for source in self._sources.values():
            self._flush(source, "shutdown")
        self.close()

    def turn(self, timeout_ms: int) -> int:
        """Take what has arrived, waiting for at most so long, and see to all that is due.

        Returns
        -------
        n : int
            Messages taken.
        """
        self._poller.poll(timeout_ms)
        n = self._receive()
        self._end_silent()
        self._journal.retry()
        self._publisher.turn()
        counts = {name: source.account.told for name, source in self._sources.items()}
        self._worker.beat(n=n, steps=counts)
        return n

    def close(self) -> None:
        """Close the sockets and the journal."""
        self._inlet.close()
        self._publisher.close()
        self._marks.close()
        self._journal.close()

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._is_stopped = True

    def _resume(self) -> None:
        """Go on with what a killed process of this run had open; end what earlier runs had."""
        found = self._journal.found
        for name in found.seq.keys() | self._marks.found.keys():
            source = self._followed(name)
            source.log.seq = max(source.log.seq, found.seq.get(name, 0))
        next_seq = {name: source.log.seq for name, source in self._sources.items()}
        self._publisher.resume(found.open.values(), found.recent, next_seq)
        found.recent.clear()  # the publisher has them now
        for event in found.open.values():
            source = self._followed(event.source)
            source.tracker.resume([event])
            source.account.step = max(source.account.step, event.step)  # where marks are missing
        for event in found.left.values():
            source = self._followed(event.source)
            self._send(source, [source.log.end_of(event)])

    def _followed(self, name: str) -> Followed:
        if name not in self._sources:
            mark = self._marks.found.get(name)
            log = EventLog(name, self._job.model, self._job.system_id, mark["seq"] if mark else 0)
            account = Account.from_json(mark) if mark else Account()
            self._sources[name] = Followed(Tracker(self._job.decoding), log, account)
        return self._sources[name]

    def _receive(self) -> int:
        """Take what has arrived; return how many messages that were."""
        n = 0
        while n < LIVE_QUEUE and self._inlet.poll(0):
            n += 1
            try:
                self._take(receive(self._inlet))
            except MessageError as error:
                logger.warning("skipped a message: %s", error)
            except (KeyError, TypeError, ValueError) as error:
                logger.warning("skipped a message that lacks something: %s", error)
        return n

    def _take(self, message: Message) -> None:
        number = message.source
        if message.kind == "open":
            if number not in self._sessions:  # it is announced again and again
                self._open(Session.from_json(number, message.data))
        elif message.kind == "scored":
            if number in self._sessions:
                self._step(message)
            else:
                self._hold(message)
        elif message.kind == "end":
            for _, waiting in self._waiting.pop(number, ()):
                self._step(waiting)
            self._end(message)
        elif message.kind == "status":
            self._status(str(message.data["source"]), message.data["record"])
        elif message.kind == "off":
            source = self._sources.get(str(message.data["name"]))
            if source is not None and message.data["reason"] in get_args(EndReason):
                source.reason, source.is_off = message.data["reason"], True

    def _open(self, session: Session) -> None:
        self._sessions[session.number] = session
        name = session.info.name
        own = sorted(n for n, known in self._sessions.items() if known.info.name == name)
        for number in own[:-2]:  # a session that broke off has no end
            del self._sessions[number]
        source = self._followed(name)
        source.tracker.decoding = decoding_of(session.config, self._job.decoding)
        source.zones, source.is_off = session.config.zones, False
        for _, message in self._waiting.pop(session.number, ()):
            self._step(message)

    def _hold(self, message: Message) -> None:
        """Keep a step until its session is announced."""
        waiting = self._waiting.setdefault(message.source, deque(maxlen=MAX_WAITING_STEPS))
        waiting.append((time.monotonic(), message))

    def _step(self, message: Message) -> None:
        """Publish a scored step."""
        data = message.data
        name, base = str(data["name"]), int(data["base"])
        age = time.monotonic() - float(data["captured"])
        seen = [_seen(region) for region in data["seen"]]
        source = self._followed(name)
        if not source.account.take(message.source, base, message.index, data.get("dropped")):
            self._keep(name, source)
            return
        if "model" in data:
            source.log.model = ModelInfo(**data["model"])
        step = base + message.index
        hole = source.hear(message.source)
        self._publish(source, source.tracker.update(step, seen, hole), 1000 * age)
        self._worker.measures.age(name, age)
        live_step = LiveStep(
            **data["record"],
            source=name,
            system_id=self._job.system_id,
            base=base,
            captured=time.time() - age,
            latency_ms=1000 * age,
            status=data.get("modalities", {}),
        )
        self._publisher.publish_step(live_step)
        if self._publisher.is_wanted(HEAT_ROOT, name):
            self._publisher.publish_heat(heat_of(message, name, self._job.system_id, step))

    def _end(self, message: Message) -> None:
        """Take note that a session is over."""
        number, data = message.source, message.data
        session = self._sessions.pop(number, None)
        name = session.info.name if session is not None else str(data["name"])
        if name not in self._sources:
            return
        source = self._sources[name]
        base = session.base if session is not None else source.account.base_of(number)
        if base is None:
            return
        source.account.end(number, base, message.index, data.get("dropped"))
        self._keep(name, source)
        if data["reason"] != "end_of_stream":
            source.reason = "source_lost"
        elif number >= source.session:  # else the next session has begun to play
            self._flush(source, "end_of_stream", step_time(base) + float(data["duration"]))

    def _end_silent(self) -> None:
        """End the open events of sources that have been silent for too long."""
        now = time.monotonic()
        for source in self._sources.values():
            if now - source.heard > source.patience and source.tracker.open_tracks():
                self._flush(source, source.reason)
        for number, waiting in list(self._waiting.items()):
            if now - waiting[0][0] > MAX_WAITING:
                del self._waiting[number]  # they are counted as lost by the next one

    def _flush(self, source: Followed, reason: EndReason, until: float = math.inf) -> None:
        self._publish(source, source.tracker.flush(max(0, source.account.step), reason, until))

    def _publish(
        self, source: Followed, changes: list[Change], latency_ms: float | None = None
    ) -> None:
        """Publish the events of changes."""
        events = [
            source.log.event(change, latency_ms, zones_of(change.detection.point, source.zones))
            for change in changes
        ]
        self._send(source, events)

    def _send(self, source: Followed, events: list[Event]) -> None:
        kept = self._journal.append(events)
        self._keep(source.log.source, source)
        for event in kept:
            self._publisher.publish_kept(event)

    def _keep(self, name: str, source: Followed) -> None:
        """Count what the account has found missing, and write down how far the source is."""
        for cause, n in source.account.take_found().items():
            self._worker.measures.drop(name, cause, n)
        self._marks.set(name, {"seq": source.log.seq, **source.account.to_json()})

    def _status(self, name: str, record: Mapping[str, Any]) -> None:
        """Publish a status of the supervisor's; only this process knows of the journal."""
        status: SourceStatus | RunStatus
        if name:
            status = SourceStatus(**record)
            source = self._sources.get(name)
            if source and source.reason == "timeout" and status.state in NOT_PLAYING:
                source.reason = "source_lost"
        else:
            journal = JournalStatus(
                folder=str(self._journal.folder),
                error=self._journal.error,
                unsaved=self._journal.n_unsaved,
                lost=self._journal.n_lost,
            )
            publisher = PublisherStatus(**self._publisher.counts())
            known = {"journal": journal, "publisher": publisher}
            status = RunStatus(**record).model_copy(update=known)
            self._publisher.forget_status_except(status.sources)
        self._publisher.publish_status(name, status.model_dump_json(by_alias=True))


def _seen(region: Mapping[str, Any]) -> tuple[Region, Detection]:
    detection = Detection(**region["detection"])
    return Region(
        detection.label, detection.score, detection.point, detection.box, (0, 0)
    ), detection


def publish_live(worker: Worker, run: str, job: PublishJob) -> None:
    """Be the publisher process of a live run."""
    LivePublisher(worker, run, job).serve()
