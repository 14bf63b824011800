"""Events as a run publishes them, for tests of what takes them."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playspot.stream.events import Event, ModelInfo
from playspot.stream.journal import Journal
from playspot.stream.journal_reader import Position
from playspot.stream.sink import Sink
from playspot.stream.sink_cursor import WithCursor
from playspot.stream.sink_runner import SinkRunner

MODEL = ModelInfo(name="test", hash="0" * 12, engine="replay", precision="fp32")
LABELS = ("violin", "drum", "cello")
NOW = time.time()


class Stage:
    """The events of one source of one run: `seq` has no gap, ids are unique."""

    def __init__(self, source: str = "stage", system_id: str = "run1", **fields: Any) -> None:
        self.source, self.system_id, self.fields = source, system_id, fields
        self.seq = 0
        self.open: list[Event] = []

    def event(self, type: str, before: Event | None = None, **fields: Any) -> Event:
        """Return the next event: of somebody new, or of who is playing already."""
        n, self.seq = self.seq, self.seq + 1
        known: dict[str, Any] = {
            "id": f"{self.source}.{self.system_id}.{n}",
            "label": LABELS[n % len(LABELS)],
            "start_time": 0.5 * n,
        }
        if before is not None:
            known = {name: getattr(before, name) for name in known}
        score = round(0.5 + (n * 37 % 50) / 100, 2)
        known |= {
            "type": type,
            "source": self.source,
            "score": score,
            "top_score": score,
            "time": 0.5 * n,
            "wall_time": NOW - 1000 + 0.5 * n,
            "step": n,
            "seq": n,
            "system_id": self.system_id,
            "point": (0.5, 0.25),
            "box": (0.4, 0.1, 0.6, 0.4),
            "model": MODEL,
        }
        if type == "end":
            known |= {"end_time": 0.5 * n, "end_reason": "silence"}
        return Event(**(known | self.fields | fields))

    def play(self, n: int, seed: int = 0) -> list[Event]:
        """Return some `n` events of players who come and go; all have gone at the end."""
        rng = random.Random(seed)
        events: list[Event] = []
        while len(events) < n or self.open:
            if len(events) < n and (not self.open or rng.random() < 0.4):
                event = self.event("new")
                self.open.append(event)
            else:
                player = self.open.pop(rng.randrange(len(self.open)))
                is_over = len(events) >= n or rng.random() < 0.5
                event = self.event("end" if is_over else "update", player)
                if not is_over:
                    self.open.append(event)
            events.append(event)
        return events


@contextmanager
def running(journal: Path) -> Iterator[Callable[..., SinkRunner]]:
    """Give what runs a sink over a journal; at the end all are stopped."""
    begun: list[SinkRunner] = []

    def run(name: str, sink: Sink, **options: Any) -> SinkRunner:
        cursor = journal / "cursors" / f"{name}.json"
        runner = SinkRunner(name, lambda: WithCursor(sink, cursor, Position, **options), journal)
        begun.append(runner)
        runner.start()
        return runner

    yield run
    for runner in begun:
        runner.stop()
        assert runner.join(5)


def wait_for(is_so: Callable[[], object], seconds: float = 10.0) -> None:
    """Return once something is so; fail if it does not become so."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError(f"was not so within {seconds} s")
        time.sleep(0.005)


def journal_with(folder: Path, *batches: list[Event], system_id: str = "run1") -> None:
    """Write a journal as a run does."""
    journal = Journal(folder, system_id)
    for events in batches:
        journal.append(events)
    journal.close()
