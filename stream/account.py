"""What became of every step of a source: published, or dropped, and why.

The publisher is the last process, so it can tell for all. The steps of a session are numbered
without gap, and arrive in order; the detector says with each message which steps before it it has
dropped, by cause. The rule, for every session:

    each step below the next one expected is published, or dropped by the detector's causes, or
    `late` (a later session was published before it), or else `lost`: it died with a process.

So captured = published + dropped holds for all that has passed, by construction, and `lost` is 0
unless a process was killed. What a killed publisher had counted is in its marks (`marks.py`); where
those could not be written, steps it had published count as lost again: too many, never too few.
Steps of the time line that are in no session are `away`: the source was not connected, or its
reader died before it passed them on.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

MAX_SESSIONS = 3  # the one that plays, and those whose last steps may still be on their way


@dataclass
class Account:
    """The account of one source.

    Attributes
    ----------
    step : int
        Last one published, on the source's time line; -1 before the first.
    counts : Counter
        "published" and causes to steps.

    Examples
    --------
    >>> account = Account()
    >>> [account.take(7, 0, index, {}) for index in (0, 1, 4, 3)]
    [True, True, True, False]
    >>> dict(account.counts)
    {'published': 3, 'lost': 2}
    """

    step: int = -1
    counts: "Counter[str]" = field(default_factory=Counter)
    _found: "Counter[str]" = field(default_factory=Counter)  # what nobody else has counted
    _next: dict[int, tuple[int, int]] = field(default_factory=dict)  # session -> base, next step

    def take(self, session: int, base: int, index: int, dropped: Mapping[str, int] | None) -> bool:
        """Count a step that has arrived; return whether it is to be published.

        Parameters
        ----------
        session, base : int
            Its session, and steps of the source before that.
        index : int
            Of the step in its session.
        dropped : mapping of cause to int, or None
            Steps dropped since the last message of the session; None: all that are missing, and
            whoever dropped them has counted them.
        """
        if not self._advance(session, base, index, dropped):
            return False
        self._next[session] = (base, index + 1)
        if base + index <= self.step:
            self._find("late", 1)
            return False
        self.step = base + index
        self.counts["published"] += 1
        return True

    def end(self, session: int, base: int, n_steps: int, dropped: Mapping[str, int] | None) -> None:
        """Count the end of a session of `n_steps` steps."""
        self._advance(session, base, n_steps, dropped)

    @property
    def told(self) -> dict[str, int]:
        """`counts`, and steps "away": the sum is how far the source's time line has come."""
        reached = max((base + index for base, index in self._next.values()), default=0)
        away = reached - self.counts.total()
        return {**self.counts, "away": away} if away > 0 else dict(self.counts)

    def take_found(self) -> "Counter[str]":
        """Return what was counted here, and by no process before, since the last call."""
        found, self._found = self._found, Counter()
        return found

    def _find(self, cause: str, n: int) -> None:
        self.counts[cause] += n
        self._found[cause] += n

    def base_of(self, session: int) -> int | None:
        """Return the base of a session; None for one that nothing has arrived of."""
        return self._next[session][0] if session in self._next else None

    def _advance(
        self, session: int, base: int, index: int, dropped: Mapping[str, int] | None
    ) -> bool:
        """Account for what is missing before `index`; return False if that step has been."""
        if session not in self._next:
            if self._next and session < min(self._next):
                return False  # of a session that is forgotten
            self._next[session] = (base, 0)
            if len(self._next) > MAX_SESSIONS:
                del self._next[min(self._next)]
        _, expected = self._next[session]
        if index < expected:
            return False
        missing = index - expected
        told = {} if dropped is None else dict(dropped)
        self.counts.update(told)
        if dropped is not None and missing > sum(told.values()):
            self._find("lost", missing - sum(told.values()))
        self._next[session] = (base, index)
        return True

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` needs."""
        sessions = [[number, *known] for number, known in self._next.items()]
        return {"step": self.step, "counts": dict(self.counts), "sessions": sessions}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the account of `to_json`."""
        counts = Counter({str(cause): int(n) for cause, n in data["counts"].items()})
        sessions = {int(s): (int(base), int(next_)) for s, base, next_ in data["sessions"]}
        return cls(int(data["step"]), counts, _next=sessions)
