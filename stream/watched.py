"""A worker process as the supervisor sees it: its reports, whether it hangs, when to restart it."""

import time
from dataclasses import dataclass, field
from typing import Any

from .measure import Measures
from .restarts import Restarts
from .worker import PATIENCE

START_PATIENCE = 15.0  # seconds until the first report: many may start at once, and import


@dataclass
class Watched:
    """The lives of one worker.

    Attributes
    ----------
    name : str
    restarts : Restarts
    retry_at : float or None
        `time.monotonic()` of the next start; None while it runs, or has nothing to do.
    rss_mb : float
        At the last report.
    handled : int
        Messages that this life has handled: progress.
    data : dict
        The last report, whole.
    pid : int
        Of this life, or of the last.
    is_gone : bool
        Whether its end has been seen.
    reason : str
        What this life has said of its own end; empty while it lives.
    last_reason : str
        Why the last life ended; empty if none has.
    """

    name: str
    restarts: Restarts = field(default_factory=Restarts)
    retry_at: float | None = None
    rss_mb: float = 0.0
    handled: int = 0
    reason: str = ""
    is_running: bool = False
    data: dict[str, Any] = field(default_factory=dict)
    pid: int = 0
    is_gone: bool = False
    last_reason: str = ""
    _started: float = 0.0
    _heard: float = 0.0
    _patience: float = START_PATIENCE
    _now: Measures = field(default_factory=Measures)  # of this life
    _before: Measures = field(default_factory=Measures)  # of earlier ones

    @property
    def measures(self) -> Measures:
        """What all lives have counted."""
        total = Measures()
        total.merge(self._before)
        total.merge(self._now)
        return total

    def started(self, pid: int) -> None:
        """Take note that the process was started."""
        now = time.monotonic()
        self.restarts.started(now)
        self.is_running, self.is_gone, self.retry_at, self.reason = True, False, None, ""
        self.pid = pid
        self._started = self._heard = now
        self._patience = START_PATIENCE

    def report(self, data: dict[str, Any]) -> bool:
        """Take in a report of `Worker.beat`; return whether it was of this life."""
        if not self.is_running or data.get("pid") != self.pid:
            return False
        self.heard()
        self._patience = float(data.get("patience", PATIENCE))
        self.rss_mb, self.handled = float(data["rss_mb"]), int(data["n"])
        self._now = Measures.from_json(data["measures"])
        self.data = data
        return True

    def heard(self) -> None:
        """Take note of a sign of life; also after a pause of the supervisor itself."""
        self._heard = time.monotonic()

    @property
    def lived(self) -> float:
        """Seconds since the start of this life."""
        return time.monotonic() - self._started

    @property
    def silence(self) -> float:
        """Seconds since the last sign of life."""
        return time.monotonic() - self._heard

    @property
    def is_hung(self) -> bool:
        """Whether a process that runs has been silent for too long."""
        return self.is_running and self.silence > self._patience

    def ended(self, reason: str, *, is_planned: bool = False, is_patient: bool = False) -> None:
        """Take note that the process is gone, and set the time of the next start.

        Parameters
        ----------
        reason : str
            One line.
        is_planned : bool
            Not a failure: the next start is at once.
        is_patient : bool
            See `Restarts.failed`.
        """
        self._before.merge(self._now)
        self._now = Measures()
        self.is_running, self.rss_mb, self.last_reason = False, 0.0, reason
        delay = 0.0 if is_planned else self.restarts.failed(is_patient=is_patient)
        self.retry_at = time.monotonic() + delay

    @property
    def is_due(self) -> bool:
        """Whether it is time to start it."""
        return self.retry_at is not None and time.monotonic() >= self.retry_at
