"""When a process or a source that failed is tried again: at once at first, then ever more rarely.

Delays double from `FIRST_DELAY` to `LAST_DELAY`, each with a random part so that many sources that
fail together do not come back together. Who has held out for `HEALTHY_AFTER` starts from nothing.
After `BREAKER` failures in a row the circuit is open: the trouble is reported as lasting, and each
further try is a single probe.
"""

import random
import time
from dataclasses import dataclass, field

FIRST_DELAY = 0.5  # s
LAST_DELAY = 30.0  # s
JITTER = 0.25  # of the delay
HEALTHY_AFTER = 8.0  # s
BREAKER = 5  # failures in a row


@dataclass
class Restarts:
    """The failures of one process or source, and when it may start again.

    Examples
    --------
    >>> restarts = Restarts(rng=random.Random(1))
    >>> [round(restarts.failed(now=0.0), 1) for _ in range(4)]
    [0.0, 0.5, 1.2, 2.4]
    >>> restarts.is_open, restarts.failed(now=0.0) > 3, restarts.is_open
    (False, True, True)
    """

    total: int = 0
    in_a_row: int = 0
    rng: random.Random = field(default_factory=random.Random)
    _started: float | None = None

    def started(self, now: float | None = None) -> None:
        """Take note of a start."""
        self._started = time.monotonic() if now is None else now

    def failed(self, now: float | None = None, *, is_patient: bool = False) -> float:
        """Take note of a failure; return the seconds to wait before the next start.

        Parameters
        ----------
        now : float, optional
            `time.monotonic()`.
        is_patient : bool
            Whether even the first failure waits: for peers outside, which did not just crash.
        """
        now = time.monotonic() if now is None else now
        if self._started is not None and now - self._started > HEALTHY_AFTER:
            self.in_a_row = 0
        self._started = None
        self.total += 1
        self.in_a_row += 1
        n_doublings = self.in_a_row - (1 if is_patient else 2)
        if n_doublings < 0:
            return 0.0
        delay = min(FIRST_DELAY * 2.0 ** min(n_doublings, 30), LAST_DELAY)
        return delay * (1 + JITTER * self.rng.random())

    @property
    def is_open(self) -> bool:
        """Whether it has failed so often in a row that it is reported as broken."""
        return self.in_a_row >= BREAKER
