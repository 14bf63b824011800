"""What is known of a live run, for whoever looks at it: plain state, nothing drawn.

In: the records that a run publishes, each with the time at which it came. Out: of each source what
is played now, the scores of the last half minute, and how well it goes.
"""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from .events import Event, LiveStep
from .hub import Record
from .status import RunStatus, SourceStatus, WorkerStatus
from .timeline import STEP

WINDOW = 30.0  # seconds of scores that are kept
RATE_WINDOW = 10.0  # seconds over which steps are counted
LATE = 2.0  # seconds without a step after which the rate falls
FAINT = 0.15  # score that nothing in the window was above: not worth a curve
MAX_STEPS = int(WINDOW / STEP) + 1
TROUBLE = ("failed", "retrying")


@dataclass
class Playing:
    """One instrument that is being played now."""

    label: str
    start: float  # media seconds
    score: float
    time: float  # of the last step

    @property
    def seconds(self) -> float:
        """How long it has been played."""
        return max(0.0, self.time - self.start)


@dataclass
class Total:
    """What an instrument came to in one source."""

    n: int = 0
    seconds: float = 0.0
    top_score: float = 0.0


@dataclass
class SourceRow:
    """One source.

    Attributes
    ----------
    name : str
    status : SourceStatus or None
        None until the first one.
    playing : dict
        Open events by id.
    totals : dict
        Label to what has been played so far, parts that go on included once they end.
    """

    name: str
    status: SourceStatus | None = None
    playing: dict[str, Playing] = field(default_factory=dict)
    totals: dict[str, Total] = field(default_factory=dict)
    _steps: "deque[tuple[float, LiveStep]]" = field(
        default_factory=lambda: deque(maxlen=MAX_STEPS), repr=False
    )

    def take_step(self, step: LiveStep, now: float) -> None:
        """Take in the next step."""
        self._steps.append((now, step))

    def take_event(self, event: Event) -> None:
        """Take in the next event."""
        if event.type != "end":
            self.playing[event.id] = Playing(event.label, event.start_time, event.score, event.time)
            return
        self.playing.pop(event.id, None)
        total = self.totals.setdefault(event.label, Total())
        total.n += 1
        total.seconds += (event.end_time or event.time) - event.start_time
        total.top_score = max(total.top_score, event.top_score)

    def forget_before(self, now: float) -> None:
        """Drop the steps that are older than the window."""
        while self._steps and self._steps[0][0] < now - WINDOW:
            self._steps.popleft()

    @property
    def state(self) -> str:
        """The state of the source, as a word."""
        return "starting" if self.status is None else self.status.state

    @property
    def now_playing(self) -> list[Playing]:
        """What is played, one for each instrument, what began first first."""
        best: dict[str, Playing] = {}
        for playing in sorted(self.playing.values(), key=lambda p: p.start):
            known = best.setdefault(playing.label, playing)
            if playing.score > known.score:
                best[playing.label] = Playing(
                    playing.label, known.start, playing.score, playing.time
                )
        return list(best.values())

    def strongest(self) -> list[str]:
        """Return the labels worth a curve: those that are played, then by their best score."""
        played = [playing.label for playing in self.now_playing]
        tops: dict[str, float] = {}
        for _, step in self._steps:
            for label, score in step.scores.items():
                tops[label] = max(tops.get(label, 0.0), score)
        others = [label for label in tops if tops[label] >= FAINT and label not in played]
        return played + sorted(others, key=lambda label: (-tops[label], label))

    def curve(self, label: str, width: int) -> list[float | None]:
        """Return the scores of a label over the window, newest last; None where no step came.

        Parameters
        ----------
        label : str
        width : int
            Columns at most; each has the best score of one step or of some.

        Returns
        -------
        scores : list of float or None
            Where there is little room, of the last two thirds of the window.
        """
        share = max(1, -(-MAX_STEPS * 2 // (3 * width)))  # steps in a column
        width = min(width, -(-MAX_STEPS // share))
        columns: list[float | None] = [None] * width
        if not self._steps:
            return columns
        last = self._steps[-1][1]
        for _, step in self._steps:
            # Counted from a fixed step, so that a column keeps its steps while it moves left.
            column = width - 1 - (last.step // share - step.step // share)
            if 0 <= column < width:
                known = columns[column]
                score = step.scores.get(label, 0.0)
                columns[column] = score if known is None else max(known, score)
        return columns

    def score(self, label: str) -> float:
        """Return the last score of a label."""
        return self._steps[-1][1].scores.get(label, 0.0) if self._steps else 0.0

    def latencies(self) -> tuple[float, float] | None:
        """Return median and 95th percentile (s) from capture to publishing, of the window."""
        ages = [step.latency_ms for _, step in self._steps]
        if not ages:
            return None
        p50, p95 = np.percentile(ages, (50, 95)).tolist()
        return p50 / 1000, p95 / 1000

    def rate(self, now: float) -> float:
        """Return the steps per second of late."""
        recent = [at for at, _ in self._steps if at >= now - RATE_WINDOW]
        if len(recent) < 2:
            return 0.0
        until = now if now - recent[-1] > LATE else recent[-1]
        return (len(recent) - 1) / max(until - recent[0], STEP)

    @property
    def dropped(self) -> dict[str, int]:
        """Cause to steps that were dropped, the most first."""
        counts = {} if self.status is None else self.status.dropped
        return dict(sorted(((c, n) for c, n in counts.items() if n), key=lambda item: -item[1]))

    @property
    def interest(self) -> int:
        """0 for what people must see first, and so on."""
        if self.state in TROUBLE:
            return 0
        if self.playing:
            return 1
        if self.state == "live" and self.strongest():
            return 2
        return 3 if self.state in ("live", "connecting", "starting") else 4


class RunTable:
    """All that is known of a run.

    Attributes
    ----------
    run : RunStatus or None
        None until the first one.
    rows : dict
        Name to `SourceRow` of every source there has been.

    Examples
    --------
    >>> from .status import SourceStatus
    >>> table = RunTable()
    >>> table.take(SourceStatus(source="stage", wall_time=0, state="live", since=0), now=0.0)
    >>> [row.state for row in table.sources]
    ['live']
    """

    def __init__(self) -> None:
        self.run: RunStatus | None = None
        self.rows: dict[str, SourceRow] = {}
        self._run_at = 0.0

    def take(self, record: Record, now: float) -> None:
        """Take in the next record, which came at `now` (s, monotonic)."""
        if isinstance(record, RunStatus):
            self.run, self._run_at = record, now
            for name in record.sources:
                self.rows.setdefault(name, SourceRow(name))
            return
        row = self.rows.setdefault(record.source, SourceRow(record.source))
        if isinstance(record, SourceStatus):
            row.status = record
        elif isinstance(record, LiveStep):
            row.take_step(record, now)
        else:
            row.take_event(record)

    def forget_before(self, now: float) -> None:
        """Drop the steps that are older than the window."""
        for row in self.rows.values():
            row.forget_before(now)

    def uptime(self, now: float) -> float:
        """Return for how many seconds the run has been up."""
        return 0.0 if self.run is None else self.run.uptime + now - self._run_at

    @property
    def sources(self) -> list[SourceRow]:
        """The sources that there are, in the order of the configuration."""
        if self.run is None:
            return list(self.rows.values())
        return [self.rows[name] for name in self.run.sources]

    def by_interest(self) -> list[SourceRow]:
        """Return the sources that there are, what people must see first."""
        return sorted(self.sources, key=lambda row: row.interest)

    @property
    def troubled_workers(self) -> list[WorkerStatus]:
        """Processes that are not running, or have not recovered."""
        workers = () if self.run is None else self.run.workers
        return [w for w in workers if w.state != "running" or w.failures_in_a_row]
