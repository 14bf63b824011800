"""When is too late: the budget of a live run, shared out among its processes.

A step is to be published within `budget` seconds of its capture. The models look ahead for the
first part of that; the rest is divided so that whoever comes later still has its time.
"""

from collections import deque
from dataclasses import dataclass, field
from math import ceil

from .timeline import STEP

STAGE_SHARE = 0.5  # of the time after the look-ahead: flow and mel begin no step later
WAIT_SHARE = 0.75  # and the detector waits no longer for what is missing
LEAST_RESERVE = 0.1  # s, from the start of the last work on a step to its publishing
N_RECENT = 16  # batches
MAX_BATCH = 4  # steps
BATCH_TIME = 0.2  # s; a process that works for longer looks as if it hung


def stage_limit(budget: float, look_ahead: float) -> float:
    """Return how many seconds after its capture a step may be begun by flow or mel.

    Examples
    --------
    >>> round(stage_limit(2.0, 0.736), 3)
    1.368
    """
    return look_ahead + STAGE_SHARE * max(0.0, budget - look_ahead)


def most_steps(budget: float) -> int:
    """Return how many steps of a source can wait at all: more of them come too fast to be live.

    Examples
    --------
    >>> most_steps(2.0)
    6
    """
    return ceil(budget / STEP) + 2


@dataclass
class Pace:
    """How long the work of a process takes of late, and what follows from it.

    Attributes
    ----------
    most : int
        How many steps are done at once at most.

    Examples
    --------
    >>> pace = Pace()
    >>> pace.reserve, pace.batch
    (0.1, 4)
    >>> pace.add(0.16, 2)
    >>> pace.reserve, pace.batch
    (0.32, 2)
    """

    most: int = MAX_BATCH
    _recent: "deque[tuple[float, int]]" = field(default_factory=lambda: deque(maxlen=N_RECENT))

    def add(self, seconds: float, n_steps: int) -> None:
        """Take note of how long a batch took."""
        self._recent.append((seconds, n_steps))

    @property
    def slowest(self) -> float:
        """Seconds of the slowest of the recent batches."""
        return max((seconds for seconds, _ in self._recent), default=0.0)

    @property
    def reserve(self) -> float:
        """Seconds to keep for the work on a step: twice the slowest of the recent batches."""
        return max(LEAST_RESERVE, 2 * self.slowest)

    @property
    def batch(self) -> int:
        """How many steps to do at once, so that a batch takes `BATCH_TIME` at most."""
        slowest = max((seconds / n for seconds, n in self._recent), default=0.0)
        if not slowest:
            return min(self.most, MAX_BATCH)
        return min(self.most, max(1, int(BATCH_TIME / slowest)))


@dataclass(frozen=True)
class Deadlines:
    """When the detector acts on a step, in seconds since its capture.

    Attributes
    ----------
    budget, look_ahead : float
    """

    budget: float
    look_ahead: float

    def start(self, pace: Pace) -> float:
        """Return until when it begins a step.

        Where twice the slowest batch would leave too little time after the look-ahead, once must
        do; and where not even that fits, it still tries the newest steps: it may have been a fit.
        """
        middle = (self.look_ahead + self.budget) / 2
        return max(
            self.look_ahead + LEAST_RESERVE,
            self.budget - pace.reserve,
            min(middle, self.budget - pace.slowest),
        )

    def wait(self, pace: Pace) -> float:
        """Return until when it waits for what is missing; the step can then still be begun."""
        share = self.look_ahead + WAIT_SHARE * max(0.0, self.budget - self.look_ahead)
        return min(share, self.start(pace) - LEAST_RESERVE / 2)
