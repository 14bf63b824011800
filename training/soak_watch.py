"""The witness of a soak: a subscriber to everything a run publishes, its journal, its processes.

In: messages, files and /proc. Out: ledgers and trends (`soak_ledger.py`, `soak_slopes.py`) of
bounded size. One thread; `turn` takes what there is and never waits longer than asked.
"""

import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from pydantic import ValidationError

from ..stream.events import Event, LiveStep
from ..stream.status import PublisherStatus, RunStatus, SourceStatus
from .soak_faults import EXTRA
from .soak_ledger import Copies, EventLedger, Rows, StepLedger, is_whole
from .soak_records import Worst
from .soak_slopes import Curve, Trend, memory_mb, n_files

TOPICS = "playspot/"
STEPS, STATUS = "playspot/steps/", "playspot/status/"
STATE = b'{"schema":"playspot/journal/1"'  # what a line of state begins with, see `journal.py`
QUEUE = 100_000  # messages; a witness must not lose any by its own fault
TURN_MS = 50
SAMPLE_INTERVAL = 2.0  # s between two looks at /proc
JOURNAL_INTERVAL = 5.0  # s between two looks at the journal


@dataclass
class Accounts:
    """Steps captured that were neither published nor dropped: those on their way, no others.

    Attributes
    ----------
    open : dict
        Source to that number, at its last status.
    most, least : dict
        Source to the highest and lowest number ever.
    """

    open: dict[str, int] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)
    least: dict[str, int] = field(default_factory=dict)

    def add(self, status: SourceStatus) -> None:
        """Take in a status."""
        n = status.steps - status.published - sum(status.dropped.values())
        name = status.source
        self.open[name] = n
        self.most[name] = max(n, self.most.get(name, n))
        self.least[name] = min(n, self.least.get(name, n))


class Witness:
    """Everything that is seen of a run.

    Parameters
    ----------
    endpoint : str
    journal : Path
    pids : dict
        Further processes to watch by role, such as the supervisor.
    roles : dict
        Source to the role of its reader, such as "reader rtsp".

    Attributes
    ----------
    events, journalled : dict
        Source to its ledger: what a subscriber got, and what the journal holds.
    steps : dict
        Source to its ledger.
    status : dict
        Source to its last status.
    run : RunStatus or None
        The last one.
    arrived : dict
        Source to the arrival (monotonic s) of the first complete step captured since `since`.
    quiet : Counter
        "complete" and "not" to steps of times without a fault.
    memory, files : dict
        Role to the trend of its memory (MB) and of its open files.
    curves : dict
        (what, role) to a curve: "memory", "files", and "gap" of sources.
    n_foreign : int
        Messages that are of no schema we know.
    load : Worst
        Of the machine: processes that want to run, as it says itself (mean of a minute).
    """

    def __init__(
        self, endpoint: str, journal: Path, pids: dict[str, int], roles: dict[str, str]
    ) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.set_hwm(QUEUE)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 50)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
        self._socket.subscribe(TOPICS)
        self._socket.connect(endpoint)
        self._journal = JournalFollower(journal)
        self._pids, self._roles = pids, roles
        self._births: dict[int, tuple[str, float]] = {}  # pid -> role, first seen
        self._sampled = self._read = 0.0
        self._since: dict[str, float] = {}
        self._quiet_since: float | None = None
        self.began = time.monotonic()
        self.events: dict[str, EventLedger] = {}
        self.steps: dict[str, StepLedger] = {}
        self.status: dict[str, SourceStatus] = {}
        self.run: RunStatus | None = None
        self.accounts = Accounts()
        self.arrived: dict[str, float] = {}
        self.quiet: Counter[str] = Counter()
        self.memory: dict[str, Trend] = {}
        self.files: dict[str, Trend] = {}
        self.curves: dict[tuple[str, str], Curve] = {}
        self.n_foreign = 0
        self._served: dict[int, PublisherStatus] = {}  # publisher's pid -> its last words
        self.load = Worst()

    @property
    def journalled(self) -> dict[str, EventLedger]:
        """Source to the ledger of the journal."""
        return self._journal.ledgers

    @property
    def copies(self) -> Copies:
        """What the journal holds, to be compared."""
        return self._journal.copies

    @property
    def rows(self) -> Rows:
        """What a database should know, by the journal."""
        return self._journal.rows

    @property
    def n_replayed(self) -> int:
        """Events that the publishers had to tell again."""
        return sum(served.replayed for served in self._served.values())

    @property
    def n_overflows(self) -> int:
        """Times that the queue of a subscriber was full."""
        return sum(served.overflows for served in self._served.values())

    @property
    def n_torn(self) -> int:
        """Lines of the journal that cannot be read."""
        return self._journal.n_torn

    @property
    def pids(self) -> dict[str, int]:
        """Processes of the run by name, those that run, as of its last status."""
        workers = self.run.workers if self.run is not None else ()
        return {w.name: w.pid for w in workers if w.state == "running" and w.pid}

    def turn(self, wait_ms: int = TURN_MS) -> None:
        """Take in what has arrived, and look at processes and journal when it is time."""
        while self._socket.poll(wait_ms):
            wait_ms = 0
            self._take(self._socket.recv_multipart(), time.monotonic())
        now = time.monotonic()
        if now - self._sampled >= SAMPLE_INTERVAL:
            self._sampled = now
            self._sample(now)
        if now - self._read >= JOURNAL_INTERVAL:
            self._read = now
            self._journal.turn()

    def expect(self, sources: frozenset[str], since: float) -> None:
        """Look out for the first complete step of sources captured after `since` (Unix time)."""
        self._since = {}
        self.arrived = {}
        self._since = dict.fromkeys(sources, since)

    @property
    def expected(self) -> dict[str, float]:
        """Who is looked out for and has not arrived, and since when (Unix time)."""
        return {name: at for name, at in self._since.items() if name not in self.arrived}

    def hear(self, name: str, captured: float) -> None:
        """Take note of something captured at a Unix time; any thread may call."""
        if captured > self._since.get(name, float("inf")):
            self.arrived.setdefault(name, time.monotonic())

    def be_quiet(self, since: float | None) -> None:
        """From a Unix time on nothing is broken on purpose; None: something is."""
        self._quiet_since = since

    def restart_gaps(self) -> None:
        """Begin to look for the longest gaps of all sources anew."""
        for steps in self.steps.values():
            steps.restart_gap()

    def gaps(self) -> dict[str, float]:
        """Return the longest gap (s) by source since `restart_gaps`."""
        now = time.monotonic()
        return {name: steps.gap(now) for name, steps in self.steps.items()}

    def read_journal(self) -> None:
        """Read what is new in the journal."""
        self._journal.turn()

    def finish(self) -> None:
        """Take in the last of everything; the run has ended."""
        self.turn(500)
        self._journal.turn()

    def close(self) -> None:
        """Release the socket; more calls do nothing."""
        self._context.destroy(linger=0)

    def _take(self, parts: list[bytes], now: float) -> None:
        try:
            topic, body = parts[0].decode(), parts[2]
            if topic.startswith(STEPS):
                self._step(LiveStep.model_validate_json(body), now)
            elif topic == f"{STATUS}v1/":
                self.run = RunStatus.model_validate_json(body)
                pid = self.pids.get("publisher")
                if pid is not None and self.run.publisher is not None:
                    self._served[pid] = self.run.publisher
            elif topic.startswith(STATUS):
                status = SourceStatus.model_validate_json(body)
                self.status[status.source] = status
                self.accounts.add(status)
            else:
                event = Event.model_validate_json(body)
                self.events.setdefault(event.source, EventLedger()).add(event, body)
        except (IndexError, UnicodeDecodeError, ValidationError):
            self.n_foreign += 1

    def _step(self, step: LiveStep, now: float) -> None:
        ledger = self.steps.setdefault(step.source, StepLedger())
        before = ledger.last_arrival
        is_complete = ledger.add(step, now)
        if before is not None and step.source != EXTRA:
            self._draw("gap", step.source, now, now - before)
        if self._quiet_since is not None and step.captured > self._quiet_since:
            self.quiet["complete" if is_whole(step) else "not"] += 1
        if is_complete:
            self.hear(step.source, step.captured)

    def _sample(self, now: float) -> None:
        self.load.add(os.getloadavg()[0])
        alive = {pid: name for name, pid in (self.pids | self._pids).items()}
        for pid, name in alive.items():
            memory, files = memory_mb(pid), n_files(pid)
            role = self._roles.get(name.removeprefix("reader "), name)
            if memory is None or files is None or role == f"reader {EXTRA}":
                continue  # gone just now; or there for a moment only
            _, born = self._births.setdefault(pid, (role, now))
            for what, trends, value in (
                ("memory", self.memory, memory),
                ("files", self.files, float(files)),
            ):
                trends.setdefault(role, Trend()).add(life=pid, age=now - born, value=value)
                self._draw(what, role, now, value)
        for pid in [pid for pid in self._births if pid not in alive]:
            role, _ = self._births.pop(pid)
            self.memory[role].end(pid)
            self.files[role].end(pid)

    def _draw(self, what: str, role: str, now: float, value: float) -> None:
        self.curves.setdefault((what, role), Curve()).add(now - self.began, value)


@dataclass
class JournalFollower:
    """Reads what is added to a journal, file after file.

    Attributes
    ----------
    ledgers : dict
        Source to its events.
    copies : Copies
        The same events.
    rows : Rows
        What they say of each.
    n_torn : int
        Whole lines that are no JSON of ours.
    """

    folder: Path
    ledgers: dict[str, EventLedger] = field(default_factory=dict)
    copies: Copies = field(default_factory=Copies)
    rows: Rows = field(default_factory=Rows)
    n_torn: int = 0
    _places: dict[str, int] = field(default_factory=dict)  # file -> bytes read

    def turn(self) -> None:
        """Read what is new."""
        paths = sorted(self.folder.glob("events-*.jsonl"))
        for path in paths:
            place = self._places.get(path.name, 0)
            try:
                with path.open("rb") as file:
                    file.seek(place)
                    lines = file.read().split(b"\n")
            except OSError:
                continue  # removed just now
            self._places[path.name] = place + sum(len(line) + 1 for line in lines[:-1])
            for line in lines[:-1]:  # the last is not whole yet
                self._take(line)
        for name in self._places.keys() - {path.name for path in paths}:
            del self._places[name]

    def _take(self, line: bytes) -> None:
        if line.startswith(STATE):
            return
        event = self.copies.add(line)
        if event is None:
            self.n_torn += 1
            return
        self.rows.add(event)
        self.ledgers.setdefault(event.source, EventLedger()).add(event, line)
