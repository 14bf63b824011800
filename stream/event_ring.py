"""The last events of a run in memory, as they were sent: for who has missed some."""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .events import Event

RING = 10_000  # events, of all sources together


@dataclass(frozen=True, slots=True)
class SentEvent:
    """An event as it goes out, and what must be known of it without reading it again."""

    source: str
    label: str
    id: str
    seq: int
    system_id: str
    wall_time: float
    is_end: bool
    body: bytes  # JSON

    @classmethod
    def of(cls, event: Event) -> "SentEvent":
        """Return what is sent of an event."""
        return cls(
            source=event.source,
            label=event.label,
            id=event.id,
            seq=event.seq,
            system_id=event.system_id,
            wall_time=event.wall_time,
            is_end=event.type == "end",
            body=event.model_dump_json(by_alias=True).encode(),
        )

    @classmethod
    def kept(cls, line: bytes, record: Mapping[str, Any]) -> "SentEvent":
        """Return what was sent of an event that stands in a journal.

        Parameters
        ----------
        line : bytes
        record : mapping
            What the line says.
        """
        return cls(
            source=str(record["source"]),
            label=str(record["label"]),
            id=str(record["id"]),
            seq=int(record["seq"]),
            system_id=str(record["system_id"]),
            wall_time=float(record["wall_time"]),
            is_end=record["type"] == "end",
            body=line.rstrip(b"\n"),
        )


class EventRing:
    """The last events, found by source and `seq`.

    Parameters
    ----------
    size : int
        Of all sources together.
    """

    def __init__(self, size: int = RING) -> None:
        self._size = size
        self._all: deque[SentEvent] = deque()
        self._of: dict[str, deque[SentEvent]] = {}

    def append(self, event: SentEvent) -> None:
        """Take in an event; one that is not above those of its source is left out."""
        events = self._of.setdefault(event.source, deque())
        if events and event.seq <= events[-1].seq:
            return
        events.append(event)
        self._all.append(event)
        if len(self._all) > self._size:
            source = self._all.popleft().source
            self._of[source].popleft()
            if not self._of[source]:
                del self._of[source]

    def oldest(self, source: str) -> int | None:
        """Return the lowest `seq` of a source that is still there."""
        return self._of[source][0].seq if source in self._of else None

    def find(self, source: str, since: int, until: int | None, most: int) -> list[SentEvent]:
        """Return the events of a source from `since` on, below `until`, at most so many."""
        events = self._of.get(source, deque())
        first = bisect_left(events, since, key=_seq)
        last = len(events) if until is None else bisect_left(events, until, key=_seq)
        return [events[n] for n in range(first, min(last, first + most))]

    def last(self, since: float, most: int) -> Iterator[SentEvent]:
        """Yield the events from a Unix time on, at most so many, the newest first."""
        for n, event in enumerate(reversed(self._all)):
            if n >= most or event.wall_time < since:
                return
            yield event


def _seq(event: SentEvent) -> int:
    return event.seq
