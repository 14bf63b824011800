"""Ledgers of what a subscriber saw of a live run: was anything lost, doubled, left open.

In: events and steps of one source, in the order of their arrival. Out: counts, and histograms of
gaps and ages; nothing here grows with the length of the run, but `Copies` and `Rows`.
"""

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ..stream.events import Event, LiveStep
from ..stream.measure import Histogram

REMEMBERED = 500  # events and ended ids by source; what is repeated later than that is an error
DIGEST_BYTES = 8  # of an event that is to be compared
MAX_MISSING = 10_000  # numbers of events that did not come; beyond, they are only counted

Row: TypeAlias = tuple[str, str, int, int, float, float | None, str, float]


@dataclass
class EventLedger:
    """The events of one source.

    Attributes
    ----------
    n, n_new, n_end : int
        Events, each counted once; how many began and ended something.
    n_repeated : int
        Came again, the same: a new subscriber or publisher is told what is open. No error.
    n_conflicting : int
        Came again with another content, or too late to tell.
    n_reused : int
        `new` with an id that was there already.
    n_orphans : int
        `update` or `end` without a `new`, or after the `end`.
    n_backwards : int
        Earlier on the time line than the event before, or an end before its start.
    missing : set of int
        `seq` that never came.
    open : set of str
        Ids without an `end`.

    Examples
    --------
    >>> ledger = EventLedger()
    >>> ledger.n, ledger.missing, ledger.open
    (0, set(), set())
    """

    n: int = 0
    n_new: int = 0
    n_end: int = 0
    n_repeated: int = 0
    n_conflicting: int = 0
    n_reused: int = 0
    n_orphans: int = 0
    n_backwards: int = 0
    n_missing: int = 0
    missing: set[int] = field(default_factory=set)
    open: set[str] = field(default_factory=set)
    _next: int = 0
    _step: int = -1
    _recent: "OrderedDict[int, bytes]" = field(default_factory=OrderedDict)  # seq -> digest
    _ended: "OrderedDict[str, None]" = field(default_factory=OrderedDict)

    @property
    def next_seq(self) -> int:
        """The number after the highest that came."""
        return self._next

    def add(self, event: Event, body: bytes) -> None:
        """Take in an event and the bytes that it came as."""
        digest = hashlib.blake2b(body, digest_size=8).digest()
        if event.seq in self.missing:
            self.missing.discard(event.seq)
            self.n_missing -= 1
        elif event.seq < self._next:
            is_same = self._recent.get(event.seq) == digest
            self.n_repeated += is_same
            self.n_conflicting += not is_same
            return
        else:
            self.n_missing += event.seq - self._next
            room = max(0, MAX_MISSING - len(self.missing))
            self.missing.update(range(self._next, min(event.seq, self._next + room)))
            self._next = event.seq + 1
        self._recent[event.seq] = digest
        if len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)
        self.n += 1
        self._follow(event)

    def _follow(self, event: Event) -> None:
        if event.type == "new":
            self.n_new += 1
            self.n_reused += event.id in self.open or event.id in self._ended
            self.open.add(event.id)
        elif event.id not in self.open:
            self.n_orphans += 1
        if event.type == "end":
            self.n_end += 1
            self.open.discard(event.id)
            self._ended[event.id] = None
            if len(self._ended) > REMEMBERED:
                self._ended.popitem(last=False)
            is_backwards = event.end_time is None or event.end_time < event.start_time
        else:
            is_backwards = event.step < self._step  # an end may tell of an earlier step
            self._step = max(self._step, event.step)
        self.n_backwards += is_backwards


@dataclass
class StepLedger:
    """The steps of one source.

    Attributes
    ----------
    n : int
        Steps, each counted once.
    n_complete : int
        With all modalities `ok`.
    n_skipped : int
        Numbers between the first and the last that did not come.
    n_backwards : int
        Number or capture earlier than that of the step before, or the same.
    statuses : Counter
        (modality, status) to steps.
    gaps, ages : Histogram
        Seconds between two arrivals; from capture to arrival.
    longest : float
        The longest gap (s) since `restart_gap`.
    """

    n: int = 0
    n_complete: int = 0
    n_skipped: int = 0
    n_backwards: int = 0
    statuses: "Counter[tuple[str, str]]" = field(default_factory=Counter)
    gaps: Histogram = field(default_factory=Histogram)
    ages: Histogram = field(default_factory=Histogram)
    longest: float = 0.0
    last_arrival: float | None = None
    _step: int = -1
    _captured: float = 0.0

    def add(self, step: LiveStep, now: float) -> bool:
        """Take in a step that arrived `now` (monotonic s); return whether it is complete."""
        if step.step <= self._step or step.captured <= self._captured:
            self.n_backwards += 1
            return False
        self.n_skipped += step.step - self._step - 1 if self.n else 0
        self._step, self._captured = step.step, step.captured
        self.n += 1
        self.statuses.update(step.status.items())
        self.ages.add(step.latency_ms / 1000)
        if self.last_arrival is not None:
            self.gaps.add(now - self.last_arrival)
            self.longest = max(self.longest, now - self.last_arrival)
        self.last_arrival = now
        is_complete = is_whole(step)
        self.n_complete += is_complete
        return is_complete

    def restart_gap(self) -> None:
        """Begin to look for the longest gap anew."""
        self.longest = 0.0

    def gap(self, now: float) -> float:
        """Return the longest gap so far, the one that still lasts included."""
        lasting = 0.0 if self.last_arrival is None else now - self.last_arrival
        return max(self.longest, lasting)


def is_whole(step: LiveStep) -> bool:
    """Return whether every modality of a step was scored on its own complete input."""
    return bool(step.status) and set(step.status.values()) == {"ok"}


@dataclass
class Copies:
    """The events of all sources as one place has got them, to be compared with another's.

    Eight bytes an event are kept: a day of sixteen sources is about 30 MB.

    Attributes
    ----------
    n : int
        Events, each counted once.
    n_repeated : int
        Came again, the same.
    n_conflicting : int
        Came again with another content.
    n_late : int
        Came for the first time after one with a higher `seq`.
    n_foreign : int
        What is no event.

    Examples
    --------
    >>> copies = Copies()
    >>> copies.n, copies.n_repeated
    (0, 0)
    """

    n: int = 0
    n_repeated: int = 0
    n_conflicting: int = 0
    n_late: int = 0
    n_foreign: int = 0
    _digests: dict[str, bytearray] = field(default_factory=dict)  # source -> of each seq, or zeros

    def add(self, text: str | bytes) -> Event | None:
        """Take in the JSON of an event; return it, None if it is none."""
        try:
            event = Event.model_validate_json(text)
        except ValueError:
            self.n_foreign += 1
            return None
        body = event.model_dump_json(by_alias=True).encode()
        digest = hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest()
        known = self._digests.setdefault(event.source, bytearray())
        at = event.seq * DIGEST_BYTES
        before = bytes(known[at : at + DIGEST_BYTES])
        if any(before):
            self.n_repeated += before == digest
            self.n_conflicting += before != digest
            return event
        self.n += 1
        self.n_late += at < len(known)
        known.extend(bytes(max(0, at + DIGEST_BYTES - len(known))))
        known[at : at + DIGEST_BYTES] = digest
        return event

    def next_seq(self, source: str) -> int:
        """Return the number after the highest of a source."""
        return len(self._digests.get(source, b"")) // DIGEST_BYTES

    def differences(
        self, others: "Copies", until: dict[str, int] | None = None
    ) -> list[tuple[str, int]]:
        """Return source and `seq` of what is not the same in both.

        Parameters
        ----------
        others : Copies
        until : dict, optional
            Source to a `seq` from which on `others` may lack some.
        """
        found = []
        for source in sorted(self._digests.keys() | others._digests.keys()):
            ours, theirs = (x._digests.get(source, bytearray()) for x in (self, others))
            if ours == theirs:
                continue
            last = (until or {}).get(source, len(ours) + len(theirs))
            for seq in range(max(len(ours), len(theirs)) // DIGEST_BYTES):
                part = slice(seq * DIGEST_BYTES, (seq + 1) * DIGEST_BYTES)
                one, other = ours[part].ljust(DIGEST_BYTES, b"\0"), theirs[part]
                is_lacking_late = seq >= last and not any(other)
                if one != other.ljust(DIGEST_BYTES, b"\0") and not is_lacking_late:
                    found.append((source, seq))
        return found


@dataclass
class Rows:
    """What a database should know of each event, by the messages of a journal.

    Attributes
    ----------
    rows : dict
        Id to (source, label, first and last `seq`, start, end, state, best score).
    born : dict
        Id to the Unix time of its first message.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    born: dict[str, float] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """Take in a message, in the order of `seq`."""
        known = self.rows.get(event.id)
        first = event.seq if known is None else known[2]
        best = event.top_score if known is None else max(event.top_score, known[7])
        state = "ended" if event.type == "end" else "open"
        times = (event.start_time, event.end_time)
        self.rows[event.id] = (event.source, event.label, first, event.seq, *times, state, best)
        self.born.setdefault(event.id, event.wall_time)

    def differences(self, found: Mapping[str, Row], since: float = 0.0) -> list[str]:
        """Return the ids whose rows are not as they should be, of those born since a Unix time."""
        ids = {id_ for id_, born in self.born.items() if born >= since}
        wrong = {id_ for id_ in ids if self.rows[id_] != found.get(id_)}
        return sorted(wrong | (found.keys() - self.rows.keys()))
