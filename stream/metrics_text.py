"""Prometheus' text format: families of samples, with their labels escaped."""

import math
from collections.abc import Iterable, Mapping
from typing import Literal

from .measure import BOUNDS, Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "playspot_"

# Buckets of `BOUNDS` that ages are told in: 10, 50, 100, 200, 400, 630, 790 ms, 1, 1.3 ... 100 s.
BUCKETS = (20, 34, 40, 46, 52, 56, 58, 60, 62, 64, 66, 70, 74, 80, 90, 100)

Labels = Mapping[str, str]
Value = int | float | None
Sample = tuple[Labels, Value]
Kind = Literal["counter", "gauge", "histogram"]


class MetricsText:
    """The text so far; families without a sample, and samples without a value, are left out.

    Examples
    --------
    >>> text = MetricsText()
    >>> text.put("fps", "gauge", "Pictures per second.", [({"source": "stage"}, 25)])
    >>> print(text.text(), end="")
    # HELP playspot_fps Pictures per second.
    # TYPE playspot_fps gauge
    playspot_fps{source="stage"} 25
    """

    def __init__(self) -> None:
        self._lines: list[str] = []

    def put(self, name: str, kind: Kind, told: str, samples: Iterable[Sample]) -> None:
        """Add a family; `told` says in a sentence what it is."""
        lines = [_line(name, labels, value) for labels, value in samples if value is not None]
        self._put_family(name, kind, told, lines)

    def put_one(self, name: str, kind: Kind, told: str, value: Value) -> None:
        """Add a family of one sample without labels."""
        self.put(name, kind, told, [({}, value)])

    def put_histograms(
        self, name: str, told: str, histograms: Iterable[tuple[Labels, Histogram]]
    ) -> None:
        """Add a family of histograms; their sums are those of the buckets, within 6 %."""
        lines: list[str] = []
        for labels, histogram in histograms:
            n, bucket = 0, 0
            for bound in BUCKETS:
                n += sum(histogram.counts[k] for k in range(bucket, bound + 1))
                bucket = bound + 1
                lines.append(_line(f"{name}_bucket", {**labels, "le": f"{BOUNDS[bound]:.4g}"}, n))
            lines.append(_line(f"{name}_bucket", {**labels, "le": "+Inf"}, histogram.n))
            lines.append(_line(f"{name}_sum", labels, _sum(histogram)))
            lines.append(_line(f"{name}_count", labels, histogram.n))
        self._put_family(name, "histogram", told, lines)

    def _put_family(self, name: str, kind: Kind, told: str, lines: list[str]) -> None:
        if lines:
            head = [f"# HELP {PREFIX}{name} {told}", f"# TYPE {PREFIX}{name} {kind}"]
            self._lines += head + lines

    def text(self) -> str:
        """Return what a scraper reads."""
        return "\n".join(self._lines) + "\n"


def _sum(histogram: Histogram) -> float:
    """Return the sum of all values, each taken as the middle of its bucket."""
    last = len(BOUNDS) - 1
    middles = (
        n * math.sqrt((BOUNDS[k - 1] if k else BOUNDS[0] / 2) * BOUNDS[min(k, last)])
        for k, n in histogram.counts.items()
    )
    return round(math.fsum(middles), 6)


def _line(name: str, labels: Labels, value: Value) -> str:
    told = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{PREFIX}{name}{'{' + told + '}' if told else ''} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
