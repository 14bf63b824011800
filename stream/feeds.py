"""The sources of a live run: a reader for each, started, replaced and stopped on its own."""

import logging
import time
from collections.abc import Callable, Iterator

from .config import SourceConfig
from .feed import Feed
from .live_reader import ReaderJob, read_live
from .messages import Message
from .services import trouble_of
from .status import Failure, SourceState
from .supervisor import Supervisor
from .tracks import EndReason
from .watched import Watched

logger = logging.getLogger(__name__)


class Feeds:
    """The sources and their readers.

    Parameters
    ----------
    supervisor : Supervisor
    picture_side, picture_multiple : int
        Of the pictures, see `fit_size`.
    memory_limit_mb : float
        A reader that takes more is replaced.
    when_off : callable
        Called with the name of a source that brings nothing more, and why.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        picture_side: int,
        picture_multiple: int,
        memory_limit_mb: float,
        when_off: Callable[[str, EndReason], None],
    ) -> None:
        self._supervisor = supervisor
        self._size = (picture_side, picture_multiple)
        self.memory_limit_mb = memory_limit_mb
        self._when_off = when_off
        self._feeds: dict[str, Feed] = {}
        self._removed: dict[str, tuple[float | None, int]] = {}  # their epoch and steps
        self._n_readers = 0

    def __iter__(self) -> Iterator[Feed]:
        return iter(list(self._feeds.values()))

    @property
    def watched(self) -> list[Watched]:
        """What is known of each reader."""
        return [feed.reader for feed in self]

    def configure(
        self,
        sources: dict[str, SourceConfig],
        timezone: str | None = None,
        *,
        tries_failed: bool = True,
    ) -> None:
        """Take over the configured sources; those that did not change go on undisturbed.

        With `tries_failed` also what had failed for good begins anew.
        """
        for feed in self:
            wanted = sources.get(feed.name)
            if wanted is None:
                logger.warning("%s: removed", feed.name)
                self._turn_off(feed)
                self._removed[feed.name] = (feed.epoch, feed.n_steps)
                del self._feeds[feed.name]
            else:
                if wanted != feed.config or (tries_failed and feed.state == "failed"):
                    logger.warning("%s: begins anew", feed.name)
                    self._turn_off(feed)
                feed.configure(wanted, timezone)
        for name, config in sources.items():
            if name not in self._feeds:
                feed = Feed(name, config, timezone, Watched(f"reader {name}"))
                # One that comes back goes on: the times of a source only grow.
                feed.epoch, feed.n_steps = self._removed.pop(name, (feed.epoch, feed.n_steps))
                self._feeds[name] = feed

    def see_to(self) -> None:
        """Start, replace and stop readers, as their state and the schedules ask for."""
        for feed in self:
            if not feed.is_wanted:
                if feed.state != "off":
                    self._turn_off(feed)
            elif feed.state == "off":
                self._start(feed)
            elif feed.reader.is_running:
                trouble = trouble_of(feed.reader, self._supervisor, self.memory_limit_mb)
                if trouble is not None:
                    reason, is_planned = trouble
                    failure = Failure(kind="crashed", message=f"the reader {reason}")
                    self._lose(feed, failure, is_planned=is_planned)
            if feed.state == "retrying" and feed.reader.is_due:
                self._start(feed)

    def note(self, report: Message) -> None:
        """Take in a report of a reader."""
        feed = next((f for f in self if f.reader.name == report.data.get("worker")), None)
        if feed is None or not feed.reader.is_running:
            return
        if report.kind == "alive":
            if feed.report(report.data):
                self._enter(feed, "live")
        elif report.kind == "failed" and report.data.get("pid") == feed.reader.pid:
            feed.reader.reason = f"failed ({report.data['message']})"
        elif report.source != feed.serial:
            return  # of the reader before this one
        else:
            feed.n_steps = max(feed.n_steps, int(report.data.get("n_steps", 0)))
            if report.kind == "closed":
                self._end(feed)
                self._enter(feed, "over")
            elif report.kind == "source_failed":
                failure = dict(report.data["failure"])
                may_heal = bool(failure.pop("may_heal"))
                self._lose(feed, Failure(**failure), may_heal=may_heal)

    def _start(self, feed: Feed) -> None:
        self._n_readers += 1
        job = ReaderJob(
            feed.name, feed.config, self._n_readers, feed.epoch, feed.n_steps, *self._size
        )
        feed.serial = self._n_readers
        try:
            feed.reader.started(self._supervisor.start(feed.reader.name, read_live, job))
        except OSError as error:  # no memory, no file descriptors
            message = f"a reader cannot be started ({error.strerror})"
            feed.failure = Failure(kind="crashed", message=message)
            feed.reader.ended(message)
            self._enter(feed, "retrying")
        else:
            self._enter(feed, "connecting")

    def _lose(
        self, feed: Feed, failure: Failure, *, may_heal: bool = True, is_planned: bool = False
    ) -> None:
        """End a reader that has nothing more to give, and decide what comes next."""
        is_crash = failure.kind == "crashed"
        (self._supervisor.kill if is_crash else self._supervisor.release)(feed.reader.name)
        # A peer outside did not fail by accident as our own process did: it gets some time.
        feed.reader.ended(failure.message, is_planned=is_planned, is_patient=not is_crash)
        if is_planned:
            logger.warning("%s: %s; it is started again", feed.name, failure.message)
        else:
            feed.failure = failure
        self._enter(feed, "retrying" if may_heal else "failed")
        if not may_heal:
            self._when_off(feed.name, "source_lost")

    def _turn_off(self, feed: Feed) -> None:
        if feed.reader.is_running:
            self._supervisor.dismiss(feed.reader.name)
            feed.reader.ended("turned off", is_planned=True)
        feed.failure = None
        self._enter(feed, "off")
        self._when_off(feed.name, "shutdown")

    def _end(self, feed: Feed) -> None:
        self._supervisor.release(feed.reader.name)
        feed.reader.ended("over", is_planned=True)

    def _enter(self, feed: Feed, state: SourceState) -> None:
        if not feed.enter(state):
            return
        if state in ("retrying", "failed") and feed.failure is not None:
            delay = max(0.0, (feed.reader.retry_at or 0.0) - time.monotonic())
            after = "not tried again" if state == "failed" else f"next try in {delay:.1f} s"
            logger.warning("%s: %s (%s)", feed.name, feed.failure.message, after)
        else:
            logger.info("%s: %s", feed.name, state)
