"""What a soak has seen, for `soak_checks.py` to judge: faults, ledgers, trends, the end."""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .soak_ledger import Copies, EventLedger, Rows, StepLedger
from .soak_slopes import Trend


@dataclass
class FaultSummary:
    """All faults of one kind and target.

    Attributes
    ----------
    n : int
    noticed, recovered, others : Worst
        See `FaultRecord`, s; `recovered` is of the last source to be back.
    over : Worst
        `recovered`, less the wait that was announced.
    """

    n: int = 0
    noticed: "Worst" = field(default_factory=lambda: Worst())
    recovered: "Worst" = field(default_factory=lambda: Worst())
    over: "Worst" = field(default_factory=lambda: Worst())
    others: "Worst" = field(default_factory=lambda: Worst())


@dataclass
class Worst:
    """The largest of some values, their mean and number.

    Examples
    --------
    >>> worst = Worst()
    >>> for value in (1.0, 3.0):
    ...     worst.add(value)
    >>> worst.most, worst.mean, worst.n
    (3.0, 2.0, 2)
    """

    n: int = 0
    most: float = -math.inf
    _sum: float = 0.0

    def add(self, value: float | None) -> None:
        """Take in a value; None is none."""
        if value is not None:
            self.n += 1
            self.most = max(self.most, value)
            self._sum += value

    @property
    def mean(self) -> float:
        """Mean; nan without values."""
        return self._sum / self.n if self.n else math.nan


@dataclass(frozen=True)
class FaultRecord:
    """What a fault did.

    Attributes
    ----------
    kind, target : str
    at : float
        Seconds since the start of the soak.
    noticed : float or None
        Seconds until the supervisor had cleared the process away; None if there was none, inf if
        it did not.
    recovered : dict
        Source concerned to the seconds until its next complete step (inf: none came): from the
        fault if it is of a process, else from its end.
    announced : float
        Seconds that the run had said it would wait for its next try, or for an answer to the one
        it was in, when the fault was over.
    others : float or None
        Longest gap (s) between steps of a source that is not concerned; None without one.
    load : float
        Of the machine, mean of the last minute.
    """

    kind: str
    target: str
    at: float
    noticed: float | None
    recovered: dict[str, float]
    announced: float
    others: float | None
    load: float = 0.0

    @property
    def worst(self) -> float | None:
        """Seconds until all sources concerned were back; None if there is none."""
        return max(self.recovered.values(), default=None)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; inf becomes null."""
        plain = {k: _finite(v) for k, v in vars(self).items() if k != "recovered"}
        return plain | {"recovered": {k: _finite(v) for k, v in self.recovered.items()}}


@dataclass
class OutputRecords:
    """What the checks look at.

    Attributes
    ----------
    journal : Copies
        What all places must have.
    rows : Rows
        What the database must have.
    copies : dict
        Place to what it has got.
    until : dict
        Source to the `seq` that it had reached when the run was told to stop: the live page ends
        with it, so it need not have told of what came after.
    database, history : list of str
        Ids of events that are wrong in the database, and, of sources that were off by then, over
        HTTP.
    n_pictures, n_broken_pictures : int
        Of the live picture.
    n_recordings : int
    broken_recordings : list of str
    n_replayed : int
        Events that subscribers had missed and got again.
    n_next_run : int
        Events that the broker and the webhook got from the next run only.
    """

    journal: Copies
    rows: Rows
    copies: dict[str, Copies]
    until: dict[str, int] = field(default_factory=dict)
    database: list[str] = field(default_factory=list)
    history: list[str] = field(default_factory=list)
    n_pictures: int = 0
    n_broken_pictures: int = 0
    n_recordings: int = 0
    broken_recordings: list[str] = field(default_factory=list)
    n_replayed: int = 0
    n_next_run: int = 0


@dataclass
class Records:
    """Everything that the checks look at.

    Attributes
    ----------
    seconds : float
        How long the soak took.
    sources : tuple of str
        That were there all the time.
    summaries : dict
        (kind, target) to what happened.
    wanted : tuple of str
        Kinds that should have happened.
    events, journalled, steps : dict
        Source to its ledger.
    n_torn : int
        Lines of the journal that cannot be read.
    quiet : Counter
        "complete" and "not" to steps.
    drained : dict
        Source that was turned off before the end to its steps without account.
    on_their_way : dict
        The same of sources that were not.
    memory, files : dict
        Role to its trend.
    stop_seconds : float
    exit_code : int or None
    leftovers : list of str
    n_tracebacks : int
        In the log of the run.
    outputs : OutputRecords or None
    """

    seconds: float
    sources: tuple[str, ...]
    wanted: tuple[str, ...] = ()
    summaries: dict[tuple[str, str], FaultSummary] = field(default_factory=dict)
    events: dict[str, EventLedger] = field(default_factory=dict)
    journalled: dict[str, EventLedger] = field(default_factory=dict)
    n_torn: int = 0
    steps: dict[str, StepLedger] = field(default_factory=dict)
    quiet: "Counter[str]" = field(default_factory=Counter)
    drained: dict[str, int] = field(default_factory=dict)
    on_their_way: dict[str, int] = field(default_factory=dict)
    memory: dict[str, Trend] = field(default_factory=dict)
    files: dict[str, Trend] = field(default_factory=dict)
    stop_seconds: float = math.inf
    exit_code: int | None = None
    leftovers: list[str] = field(default_factory=list)
    n_tracebacks: int = 0
    outputs: OutputRecords | None = None

    def add(self, fault: FaultRecord) -> None:
        """Take in what a fault did."""
        kind_of = fault.target.split()[0] if fault.kind in ("kill", "stop") else ""
        summary = self.summaries.setdefault((fault.kind, kind_of), FaultSummary())
        summary.n += 1
        summary.noticed.add(fault.noticed)
        summary.recovered.add(fault.worst)
        summary.over.add(None if fault.worst is None else fault.worst - fault.announced)
        summary.others.add(fault.others)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
