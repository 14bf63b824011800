"""The pipeline of processes, measured: speed, CPU time and memory of each process, latency.

In: a media file and models. Out: `Run`. Memory and CPU time are read from /proc, so they are known
on Linux only.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..engines.engine import Models
from ..stream import reader
from ..stream.media import MediaItem
from ..stream.paced import paced
from ..stream.pipeline import Pipeline
from ..stream.sources import FileSource
from ..stream.supervisor import Supervisor
from ..stream.timeline import STEP, step_time
from ..stream.worker import Worker

SAMPLE_STEPS = 4  # steps between two looks at the processes
MB = 1e6
OnStep = Callable[[int], None]


@dataclass
class ProcessFigures:
    """One process of the pipeline: resident memory (MB) and CPU time (s) as they were read."""

    memory: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def to_json(self, media_seconds: float) -> dict[str, float | None]:
        """Return the figures: medians of the first and of the last quarter, peak, CPU."""
        if not self.memory:
            return dict.fromkeys(("first_mb", "last_mb", "peak_mb", "cpu_ms_per_s"))
        quarter = max(1, len(self.memory) // 4)
        return {
            "first_mb": float(np.median(self.memory[:quarter])),
            "last_mb": float(np.median(self.memory[-quarter:])),
            "peak_mb": max(self.memory),
            "cpu_ms_per_s": 1000 * (self.cpu[-1] - self.cpu[0]) / media_seconds,
        }


@dataclass
class Run:
    """What one run of the pipeline gave.

    Attributes
    ----------
    media_seconds, seconds, start_seconds : float
        Of media; of wall time from the opening to the last step; of wall time to start.
    processes : dict of name to ProcessFigures
        `parent` is the process that starts the others and takes the steps.
    latencies_ms : list of float
        Of every step with an event: from the arrival of its newest input in the reader to
        publishing.
    """

    media_seconds: float = 0.0
    seconds: float = 0.0
    start_seconds: float = 0.0
    processes: dict[str, ProcessFigures] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)

    def speed_json(self) -> dict[str, Any]:
        """Return speed and processes as they are in the JSON document."""
        return {
            "media_seconds": self.media_seconds,
            "seconds": self.seconds,
            "start_seconds": self.start_seconds,
            "times_real_time": self.media_seconds / self.seconds if self.seconds else None,
            "processes": {
                name: figures.to_json(self.media_seconds)
                for name, figures in self.processes.items()
            },
        }

    def latency_json(self) -> dict[str, Any]:
        """Return the latency as it is in the JSON document; None without any event."""
        n = len(self.latencies_ms)
        p50, p95, top = np.percentile(self.latencies_ms, (50, 95, 100)) if n else (None,) * 3
        figures = {"n": n, "p50_ms": p50, "p95_ms": p95, "max_ms": top}
        return {"media_seconds": self.media_seconds} | {
            key: value if value is None or key == "n" else float(value)
            for key, value in figures.items()
        }


def run_pipeline(
    path: Path,
    models: Models,
    *,
    is_paced: bool = False,
    seconds: float | None = None,
    on_step: OnStep = lambda step: None,
) -> Run:
    """Return what a run of the whole pipeline over a file gives.

    Parameters
    ----------
    path : Path
    models : Models
    is_paced : bool
        Read no faster than a live source delivers. Without it the queues are full, and the
        latency says how long they are.
    seconds : float, optional
        Stop after so much media.
    on_step : callable
        Called with each step.

    Raises
    ------
    SourceError
        If the file cannot be read.
    WorkerError
        If a process breaks down.

    Examples
    --------
    >>> run_pipeline(Path("concert.mp4"), find_models()).seconds  # doctest: +SKIP
    2.5
    """
    run = Run()
    began = time.monotonic()
    with (PacedPipeline if is_paced else Pipeline)(models) as pipeline:
        run.start_seconds = time.monotonic() - began
        began = time.monotonic()
        steps = pipeline.open(path)
        for output in steps:
            if output.step.step % SAMPLE_STEPS == 0:
                _look(run.processes, {"parent": os.getpid(), **pipeline.pids()})
            run.latencies_ms += [e.latency_ms for e in output.events[:1] if e.latency_ms]
            run.media_seconds = step_time(output.step.step) + STEP
            run.seconds = time.monotonic() - began
            on_step(output.step.step)
            if seconds is not None and run.media_seconds >= seconds:
                break
    return run


def _look(processes: dict[str, ProcessFigures], pids: dict[str, int]) -> None:
    """Read memory and CPU time of the processes; nothing where there is no /proc."""
    for name, pid in pids.items():
        kind = "reader" if name.startswith("reader") else name
        try:
            pages = Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]
            times = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
        except OSError:  # another system, or a process that has ended
            continue
        figures = processes.setdefault(kind, ProcessFigures())
        figures.memory.append(int(pages) * os.sysconf("SC_PAGE_SIZE") / MB)
        # Fields 14 and 15 of the line: clock ticks in user and in kernel mode.
        ticks = int(times[11]) + int(times[12])
        figures.cpu.append(ticks / os.sysconf("SC_CLK_TCK"))


class PacedSource(FileSource):
    """A file that delivers each item when a live source would: not before its time has come."""

    def __iter__(self) -> Iterator[MediaItem]:
        """Yield the items; sound comes when its last sample has been heard."""
        return filter(None, paced(super().__iter__(), time.monotonic()))


def read_paced(worker: Worker, run: str, *args: Any) -> None:
    """Be the reader process of one file that is delivered in real time."""
    reader.FileSource = PacedSource  # type: ignore[attr-defined]  # this process reads nothing else
    reader.read(worker, run, *args)


class PacedSupervisor(Supervisor):
    """A supervisor whose readers deliver in real time."""

    def start(self, name: str, target: Callable[..., None], *args: Any) -> int:
        """Start a worker process; return its process id."""
        return super().start(name, read_paced if target is reader.read else target, *args)


class PacedPipeline(Pipeline):
    """The pipeline of a file that is delivered in real time."""

    def __init__(self, models: Models) -> None:
        super().__init__(models)
        self._supervisor = PacedSupervisor(self._run)
