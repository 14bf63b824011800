"""A live run: what `playspot run` starts, watches and stops.

Flow, mel, detector and publisher serve all sources; each source has a reader. The supervisor's loop
never waits for a worker: each turn takes what has arrived and looks at the clock.
"""

import logging
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import zmq
from pydantic import BaseModel

from ..engines.catalogue import ModelSet
from ..engines.engine import Header
from .added_sources import AddedSources, SourceRefusedError
from .addresses import DEFAULT_ENDPOINT
from .building import building_line, switched_line
from .config import WITHOUT_RESTART, Config, changes
from .events import ModelInfo
from .feeds import Feeds
from .flow_choice import flow_settings
from .latency import look_ahead
from .live_detector import LiveDetectorJob, detect_live
from .live_flow import LiveFlowJob, flow_live
from .live_mel import LiveMelJob, mel_live
from .live_status import source_status, worker_status
from .measure import Measures
from .messages import Message, MessageError, receive, try_send
from .outputs import DISPENSABLE, Outputs, places_of
from .publish_worker import PublishJob, publish_live
from .services import Services
from .sockets import LIVE_QUEUE, close_run, endpoint, new_run, pull, push
from .status import RunStatus
from .supervisor import Supervisor, WorkerError
from .tracks import EndReason

LOOP_MS = 50  # how long a turn waits for reports
PAUSE = 1.0  # seconds between two turns: we were stopped ourselves, and so no worker is to blame
STATUS_INTERVAL = 1.0  # s
STATUSES = 8  # of sources, told in a turn
START_TIMEOUT = 60.0  # seconds for the first start of the services
MOST_SOURCES = 64  # with those that are added over HTTP
DRAIN_TIME = 4.0  # seconds for the last steps of sources that are over
NO_OBJECT_MODEL = Header(kind="object", name="none", labels=())

logger = logging.getLogger(__name__)


class LiveRun:
    """A live run: enter it to start the processes, call `turn` until `is_over`, leave it to stop.

    Parameters
    ----------
    config : Config
    models : ModelSet

    Attributes
    ----------
    endpoint : str or None
        Where events are published.
    hub : str
        Where the processes of this run get all that is published, also if nothing is.
    model : ModelInfo
        What makes the detections.
    flow : str
        How flow is computed and why so, for people.
    system_id : str
        Names this run in events.
    feeds : Feeds
        The sources.

    Raises
    ------
    ValueError
        If the budget leaves no time.
    WorkerError
        If the processes cannot be started at all.
    """

    endpoint: str | None
    model: ModelInfo
    flow: str

    def __init__(self, config: Config, models: ModelSet) -> None:
        self.system_id = secrets.token_hex(4)
        self._config = config
        self._models = models
        self._run = new_run()
        self.hub = endpoint(self._run, "hub")
        self._supervisor = Supervisor(self._run)
        self._services = Services(self._supervisor, config.memory_limit_mb)
        header = models.headers.get("object", NO_OBJECT_MODEL)
        self.feeds = Feeds(
            self._supervisor,
            header.picture_side,
            header.picture_multiple,
            config.memory_limit_mb,
            self._tell_off,
        )
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        sound = models.headers.get("sound")
        self._front_end = sound.front_end if sound is not None else None
        self._look_ahead = look_ahead(self._front_end, config.latency)
        if config.budget <= self._look_ahead:
            raise ValueError(
                f"budget is {config.budget:g} s, and the models look {self._look_ahead:g} s ahead: "
                "no step would be published; give more, or latency: low"
            )
        self._ready: dict[str, dict[str, Any]] = {}  # what workers said that nobody waited for yet
        self._began = self._turned = time.monotonic()
        self._told = 0.0
        self._to_tell: list[str] = []  # sources whose status is due
        self._final_since: float | None = None
        self._building: float | None = None

    def __enter__(self) -> Self:
        self._control = pull(self._context, self._run, "control", queue=LIVE_QUEUE)
        self._to_publisher = push(self._context, self._run, "scored", queue=LIVE_QUEUE)
        self._outputs = Outputs(self._services, self._context, self._run)
        try:
            self._start_services()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self._configure_feeds()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._supervisor.stop()  # the publisher ends the open events
        finally:
            self._context.destroy(linger=0)
            close_run(self._run)

    def turn(self) -> None:
        """Take the reports that have arrived, and see to every process and source once."""
        for report in self._reports():
            if report.kind == "request":
                self._answer(report)
            elif not self._services.note(report):
                self.feeds.note(report)
        now = time.monotonic()
        if now - self._turned > PAUSE:
            for watched in self._services.watched + self.feeds.watched:
                watched.heard()
        self._turned = now
        self._services.see_to()
        self.feeds.see_to()
        self._supervisor.sweep()
        self._tell_status()

    @property
    def is_over(self) -> bool:
        """Whether no source will bring anything more, and the last steps have had their time.

        Never with a live page: people still look at it, and may add sources.
        """
        if self._outputs.web is not None:
            return False
        states = [feed.is_final for feed in self.feeds if feed.config.enabled]
        if not states or not all(states):  # without any: a reload may bring some
            self._final_since = None
            return False
        self._final_since = self._final_since or time.monotonic()
        return time.monotonic() - self._final_since > DRAIN_TIME

    def describe(self) -> list[str]:
        """Return lines for people: what is watched, and where events go."""
        names = ", ".join(feed.name for feed in self.feeds)
        if self.endpoint is None:
            events = "events only in the journal: publish is off"
        else:
            events = f"events on {self.endpoint} (playspot listen {self.endpoint})"
        page = [] if self._outputs.web is None else [f"live page: {self._outputs.web}"]
        return [f"sources: {names}", self.flow, events, *page]

    def reload(self, config: Config) -> None:
        """Take over another configuration, as far as it can be without a restart."""
        for key in changes(self._config, config).needs_restart:
            logger.warning("%s has changed in the configuration; restart to take it over", key)
        update = {key: getattr(config, key) for key in WITHOUT_RESTART}
        self._config = self._config.model_copy(update=update)
        self._services.memory_limit_mb = self.feeds.memory_limit_mb = config.memory_limit_mb
        self._configure_feeds()

    def measures(self) -> dict[str, Measures]:
        """Return what each worker has counted in all its lives; a reader is `reader NAME`."""
        return {w.name: w.measures for w in self._services.watched + self.feeds.watched}

    @property
    def look_ahead(self) -> float:
        """Seconds of the future that a step needs."""
        return self._look_ahead

    def _start_services(self) -> None:
        config = self._config
        front_end = self._front_end or "paper"
        settings = flow_settings(self._models.headers, config.flow, config.engine_options)
        job_of_flow = LiveFlowJob(config.budget, config.latency, settings)
        self._services.add("flow", flow_live, job_of_flow)
        self._services.add("mel", mel_live, LiveMelJob(front_end, config.budget, config.latency))
        job = LiveDetectorJob(self._models, config.budget, config.latency)
        self._services.add("detector", detect_live, job)
        self.flow = str(self._wait_ready("flow")["flow"])
        self.model = ModelInfo(**self._wait_ready("detector")["model"])
        public = {"auto": DEFAULT_ENDPOINT, "off": None}.get(config.publish, config.publish)
        publish_job = PublishJob(
            system_id=self.system_id,
            endpoint=public,
            may_move=config.publish == "auto",
            journal=config.journal,
            decoding=self._models.decoding,
            model=self.model,
            keys=config.keys,
            insecure=config.insecure,
        )
        publisher = self._services.add("publisher", publish_live, publish_job)
        ready = self._wait_ready("publisher")
        self.endpoint = ready["endpoint"]
        # A publisher that takes its place must come to where subscribers and the journal are.
        publisher.job = replace(
            publish_job,
            endpoint=self.endpoint,
            may_move=False,
            journal=Path(ready["journal"]),
        )
        places = places_of(config, Path(ready["journal"]))
        self._added = AddedSources(places.journal) if config.web is not None else None
        labels = self._models.labels
        self._outputs.start(config, places, self.system_id, labels, self._wait_ready)

    def _configure_feeds(self, *, tries_failed: bool = True) -> None:
        sources = self._config.sources
        if self._added is not None:
            sources = self._added.over(sources)
        self.feeds.configure(sources, self._config.timezone, tries_failed=tries_failed)

    def _answer(self, request: Message) -> None:
        """Add or remove a source, as somebody asks over HTTP."""
        try:
            self._change(request)
        except SourceRefusedError as error:
            self._outputs.answer(request, str(error), error.code)
        else:
            self._outputs.answer(request)

    def _change(self, request: Message) -> None:
        data, added = request.data, self._added
        name = str(data["name"])
        is_known = name in {feed.name for feed in self.feeds}
        if added is None or data["op"] not in ("add", "remove"):
            raise SourceRefusedError("invalid", f"cannot {data['op']} sources")
        if data["op"] == "add":
            if is_known:
                raise SourceRefusedError("exists", f"{name}: is there already; remove it first")
            if len(list(self.feeds)) >= MOST_SOURCES:
                raise SourceRefusedError(
                    "invalid", f"there are {MOST_SOURCES} sources, each a process; remove one first"
                )
            added.add(name, data["config"])
        else:
            if not is_known:
                raise SourceRefusedError("unknown", f"{name}: there is no such source")
            added.remove(name)
            kept = {n: source for n, source in self._config.sources.items() if n != name}
            self._config = self._config.model_copy(update={"sources": kept})
        self._configure_feeds(tries_failed=False)  # a camera that refuses a password may lock

    def _wait_ready(self, name: str) -> dict[str, Any]:
        """Return what a worker says when it is ready; others may be ready before it."""
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if name in self._ready:
                return self._ready.pop(name)
            for report in self._reports():
                worker = str(report.data.get("worker"))
                if report.kind == "failed" and worker not in DISPENSABLE:
                    raise WorkerError(str(report.data["message"]))
                if report.kind == "ready":
                    self._ready[worker] = report.data
                else:
                    self._services.note(report)
            needed = {watched.name for watched in self._services.watched} - DISPENSABLE
            self._supervisor.check(sorted(needed))
        raise WorkerError(f"the {name} process did not start within {START_TIMEOUT:.0f} s")

    def _reports(self) -> Iterator[Message]:
        timeout_ms = LOOP_MS
        while self._control.poll(timeout_ms):
            timeout_ms = 0
            try:
                yield receive(self._control)
            except MessageError as error:
                logger.warning("skipped a report: %s", error)

    def _tell_status(self) -> None:
        """Tell of the run once a second, then of a few sources in each turn: queues are short."""
        now = time.monotonic()
        if not self._to_tell and now - self._told >= STATUS_INTERVAL:
            self._told = now
            self._tell_run()
            self._to_tell = [feed.name for feed in self.feeds]
        batch, self._to_tell = self._to_tell[:STATUSES], self._to_tell[STATUSES:]
        measures = {watched.name: watched.measures for watched in self._services.watched if batch}
        accounts = self._services["publisher"].watched.data.get("steps", {})
        for feed in self.feeds:
            if feed.name in batch:
                account = accounts.get(feed.name, {})
                self._tell_record(feed.name, source_status(feed, measures, account))

    def _note_model(self) -> None:
        """Take note of what the networks and the flow run on; it may have become another."""
        data, of_flow = (self._services[name].watched.data for name in ("detector", "flow"))
        parts = [of_flow.get("building"), data.get("building")]
        building = min((part for part in parts if part is not None), default=None)
        if building is not None and self._building is None:
            logger.info("%s", building_line(building))
        self._building = building
        if of_flow.get("flow", self.flow) != self.flow:
            self.flow = str(of_flow["flow"])
            logger.info("%s", self.flow)
        model = ModelInfo(**data["model"]) if "model" in data else self.model
        if model != self.model:
            self.model = model
            publisher = self._services["publisher"]
            publisher.job = replace(publisher.job, model=model)
            logger.info("%s", switched_line(model))

    def _tell_run(self) -> None:
        self._note_model()
        services = self._services.watched
        record = RunStatus(
            system_id=self.system_id,
            wall_time=time.time(),
            uptime=time.monotonic() - self._began,
            endpoint=self.endpoint,
            model=self.model,
            building=self._building,
            budget=self._config.budget,
            latency=self._config.latency,
            look_ahead=self.look_ahead,
            workers=tuple(worker_status(w) for w in services + self.feeds.watched),
            sources={feed.name: feed.state for feed in self.feeds},
            sinks=self._outputs.sinks(),
            recordings=self._outputs.recordings(),
            web=self._outputs.web,
            labels=self._models.labels,
        )
        self._tell_record("", record)
        counted = self.measures().items()
        self._outputs.tell_measures({name: measures.to_json() for name, measures in counted})

    def _tell_record(self, source: str, record: BaseModel) -> None:
        data = {"source": source, "record": record.model_dump(mode="json", by_alias=True)}
        try_send(self._to_publisher, Message("status", data=data))

    def _tell_off(self, source: str, reason: EndReason) -> None:
        try_send(self._to_publisher, Message("off", data={"name": source, "reason": reason}))
