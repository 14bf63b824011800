"""A source as the publisher follows it: over all its sessions, from its first step to its last."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .account import Account
from .event_log import EventLog
from .tracks import EndReason, Tracker

if TYPE_CHECKING:
    from .config import Zone

SILENCE = 3.0  # seconds without a step after which the open events of a source end


@dataclass
class Followed:
    """What is remembered of a source.

    Attributes
    ----------
    tracker : Tracker
    log : EventLog
    account : Account
    zones : mapping
        By name.
    session : int
        Number of that of the last step; 0 before the first.
    heard : float
        When the last step came (`time.monotonic()`).
    reason : str
        Of the end of its events, if no more steps come.
    is_off : bool
        Whether no more steps will come, but for those on their way.
    """

    tracker: Tracker
    log: EventLog
    account: Account
    zones: "Mapping[str, Zone]" = field(default_factory=dict)
    session: int = 0
    heard: float = field(default_factory=time.monotonic)
    reason: EndReason = "timeout"
    is_off: bool = False

    @property
    def patience(self) -> float:
        """Seconds without a step after which open events end."""
        return SILENCE if self.is_off else max(SILENCE, self.tracker.decoding.gap_merge)

    def hear(self, session: int) -> EndReason:
        """Take note of a step of a session; return why steps before it are missing, if any are."""
        hole = self.reason
        if session != self.session:
            if self.session and hole == "timeout":
                hole = "source_lost"
            self.session, self.reason = session, "timeout"
        self.heard = time.monotonic()
        return hole
