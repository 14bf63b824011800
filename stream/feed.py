r"""A source of a live run as the supervisor sees it: what state it is in, and what comes next.

off -> connecting -> live -> retrying -> connecting ...
                 \\-> failed (will not heal)   \\-> over (a file that has been played)
"""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .config import SourceConfig
from .live import ClockReport
from .schedule import Schedule
from .status import Failure, SourceState
from .watched import Watched

LOOK_INTERVAL = 1.0  # s


@dataclass
class Feed:
    """One source: its configuration, its reader, its state.

    Attributes
    ----------
    name : str
    config : SourceConfig
    timezone : str or None
        Of its schedule.
    reader : Watched
    state : SourceState
    failure : Failure or None
        The last failure; None while all is well.
    epoch : float or None
        `time.monotonic()` of media time 0 of the source; None before its first session.
    n_steps : int
        Steps that it has had.
    clock : ClockReport
        Of its sound against its picture.
    n_sessions : int
        Connections that opened.
    serial : int
        Number of its present reader.
    """

    name: str
    config: SourceConfig = field(repr=False)
    timezone: str | None
    reader: Watched
    state: SourceState = "off"
    since: float = field(default_factory=time.time)
    failure: Failure | None = None
    epoch: float | None = None
    n_steps: int = 0
    clock: ClockReport = field(default_factory=ClockReport)
    n_sessions: int = 0
    serial: int = 0
    _is_wanted: bool = False
    _n_opened: int = 0  # sessions of the present reader
    _look_at: float = 0.0  # `time.monotonic()` of the next look at the schedule

    def enter(self, state: SourceState) -> bool:
        """Change the state; return whether it is another one."""
        if state == "connecting":
            self._n_opened = 0
        if state == self.state:
            return False
        self.state, self.since = state, time.time()
        return True

    @property
    def is_wanted(self) -> bool:
        """Whether the source is to be watched now, by its schedule."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_INTERVAL
            schedule = Schedule(self.config.schedule, self.timezone)
            self._is_wanted = self.config.enabled and schedule.is_on(datetime.now(UTC))
        return self._is_wanted

    def configure(self, config: SourceConfig, timezone: str | None) -> None:
        """Take over another configuration."""
        self.config, self.timezone, self._look_at = config, timezone, 0.0

    def report(self, data: dict[str, Any]) -> bool:
        """Take in what the reader reports; return whether it has opened the source just now."""
        if not self.reader.report(data):
            return False
        self.n_steps = max(self.n_steps, int(data.get("n_steps", 0)))
        if clock := data.get("clock"):
            self.clock = ClockReport(**clock)
        n_opened = int(data.get("n_sessions", 0))
        self.n_sessions += n_opened - self._n_opened
        self._n_opened = n_opened
        if data.get("state") != "live" or self.state == "live":
            return False
        self.failure, self.epoch = None, self.epoch or float(data["epoch"])
        return True

    @property
    def is_final(self) -> bool:
        """Whether nothing more will come without a change by the user."""
        return self.state in ("failed", "over")
