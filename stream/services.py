"""The workers that serve all sources (flow, mel, detector, publisher), replaced when they fail."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .messages import Message
from .supervisor import Supervisor
from .watched import Watched

GROWN_AFTER = 60.0  # s; who is above the limit sooner would be above it again and again

logger = logging.getLogger(__name__)


@dataclass
class Service:
    """A worker, what it does, and what it is started with."""

    watched: Watched
    target: Callable[..., None]
    job: Any


class Services:
    """The services of a run.

    Parameters
    ----------
    supervisor : Supervisor
    memory_limit_mb : float
        A worker that takes more is replaced.
    """

    def __init__(self, supervisor: Supervisor, memory_limit_mb: float) -> None:
        self._supervisor = supervisor
        self.memory_limit_mb = memory_limit_mb
        self._services: dict[str, Service] = {}

    def add(self, name: str, target: Callable[..., None], job: Any) -> Service:
        """Start a service."""
        service = self._services[name] = Service(Watched(name), target, job)
        self._start(service)
        return service

    def __getitem__(self, name: str) -> Service:
        return self._services[name]

    @property
    def watched(self) -> list[Watched]:
        """What is known of each process."""
        return [service.watched for service in self._services.values()]

    def note(self, report: Message) -> bool:
        """Take in a report; return whether it was of one of these workers."""
        service = self._services.get(str(report.data.get("worker")))
        if service is None:
            return False
        if report.kind == "alive":
            service.watched.report(report.data)
        elif report.kind == "failed" and report.data.get("pid") == service.watched.pid:
            service.watched.reason = f"failed ({report.data['message']})"
        return True

    def see_to(self) -> None:
        """Replace what has died, hangs or has grown; start what is due."""
        for service in self._services.values():
            watched = service.watched
            if watched.is_running:
                trouble = trouble_of(watched, self._supervisor, self.memory_limit_mb)
                if trouble is not None:
                    reason, is_planned = trouble
                    self._supervisor.kill(watched.name)
                    watched.ended(reason, is_planned=is_planned)
                    logger.warning("the %s process %s; %s", watched.name, reason, _plan(watched))
            if watched.is_due:
                self._start_again(service)

    def _start(self, service: Service) -> None:
        name = service.watched.name
        service.watched.started(self._supervisor.start(name, service.target, service.job))

    def _start_again(self, service: Service) -> None:
        try:
            self._start(service)
        except OSError as error:  # no memory, no file descriptors
            service.watched.ended(f"cannot be started ({error.strerror})")


def trouble_of(
    watched: Watched, supervisor: Supervisor, memory_limit_mb: float
) -> tuple[str, bool] | None:
    """Return why a running worker must be replaced and whether that is no failure, or None."""
    code = supervisor.exit_code(watched.name)
    if code is not None:
        if not watched.is_gone:  # its last report may still be on its way: judge it next time
            watched.is_gone = True
            return None
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return watched.reason or how, False
    if watched.is_hung:
        return f"gave no sign of life for {watched.silence:.1f} s and was killed", False
    if watched.rss_mb > memory_limit_mb:
        grown = f"has grown to {watched.rss_mb:.0f} MB, above memory_limit_mb {memory_limit_mb:.0f}"
        return grown, watched.lived > GROWN_AFTER
    return None


def _plan(watched: Watched) -> str:
    delay = (watched.retry_at or 0.0) - time.monotonic()
    when = f"next try in {delay:.0f} s" if delay >= 1 else "it is started again"
    often = f", {watched.restarts.in_a_row} failures in a row" if watched.restarts.is_open else ""
    return when + often
