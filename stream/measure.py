"""What a worker counts: steps that were dropped, by source and cause, and ages, as histograms.

Counts only grow while a worker lives; the supervisor adds up what restarted workers had counted.
"""

import math
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

# Upper bounds of the buckets, s: 1 ms to 2 min, 20 a decade, so that a quantile is within 6 %.
BOUNDS = tuple(10 ** (k / 20 - 3) for k in range(102))


@dataclass
class Histogram:
    """A histogram of seconds on a logarithmic scale; two add up to one.

    Examples
    --------
    >>> ages = Histogram()
    >>> for age in (0.1, 0.2, 0.3):
    ...     ages.add(age)
    >>> ages.n, round(ages.quantile(0.5), 2)
    (3, 0.21)
    """

    counts: "Counter[int]" = field(default_factory=Counter)

    def add(self, seconds: float) -> None:
        """Count one value."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1

    def merge(self, other: "Histogram") -> None:
        """Add the counts of another histogram."""
        self.counts.update(other.counts)

    @property
    def n(self) -> int:
        """How many values were counted."""
        return self.counts.total()

    def quantile(self, q: float) -> float:
        """Return the value (s) that a share `q` of all lies below; 0 if there is none."""
        rank, seen = q * self.n, 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= rank:
                low = BOUNDS[bucket - 1] if bucket else 0.0
                high = BOUNDS[min(bucket, len(BOUNDS) - 1)]
                return math.sqrt(low * high)
        return 0.0

    def to_json(self) -> list[list[int]]:
        """Return [bucket, count] pairs."""
        return [[bucket, count] for bucket, count in sorted(self.counts.items())]

    @classmethod
    def from_json(cls, pairs: list[list[int]]) -> Self:
        """Return the histogram of `to_json`."""
        return cls(Counter({int(bucket): int(count) for bucket, count in pairs}))


@dataclass
class Measures:
    """Everything one worker has counted, by the name of the source.

    Attributes
    ----------
    drops : dict
        (source, cause) to steps dropped. Causes: "late" (older than the budget allows), "full" (the
        next process did not take it), "lost" (never arrived: a process before was restarted),
        "behind" (the reader could not keep up), "overflow" (of a sound card), "failed" (a network
        refused its input).
    ages : dict
        Source to the age (s since capture) of what left this worker.
    """

    drops: "Counter[tuple[str, str]]" = field(default_factory=Counter)
    ages: dict[str, Histogram] = field(default_factory=dict)

    def drop(self, source: str, cause: str, n: int = 1) -> None:
        """Count steps of a source that go no further."""
        if n > 0:
            self.drops[source, cause] += n

    def age(self, source: str, seconds: float) -> None:
        """Count the age of a step that leaves this worker."""
        self.ages.setdefault(source, Histogram()).add(seconds)

    def merge(self, other: "Measures") -> None:
        """Add what another worker has counted."""
        self.drops.update(other.drops)
        for source, ages in other.ages.items():
            self.ages.setdefault(source, Histogram()).merge(ages)

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and dicts."""
        return {
            "drops": [[source, cause, n] for (source, cause), n in self.drops.items()],
            "ages": {source: ages.to_json() for source, ages in self.ages.items()},
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the measures of `to_json`."""
        return cls(
            Counter({(str(s), str(c)): int(n) for s, c, n in data["drops"]}),
            {str(s): Histogram.from_json(pairs) for s, pairs in data["ages"].items()},
        )
