"""Detecting in files: what `playspot detect` does with each file, and what it leaves in a folder.

<stem>.events.jsonl   who plays what, when and where (schema `playspot/event/1`)
<stem>.steps.jsonl    every label's score and point, twice a second
<stem>.timeline.png   labels over time
<stem>.annotated.mp4  the video with boxes, points and heat, and its sound
"""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .annotate import annotate
from .events import Event
from .jsonl import JsonLines, OutputError, check_writable
from .media import SourceInfo
from .pipeline import FileRun, Pipeline, StepOutput, unique_name
from .played import Played
from .plot import save_timeline
from .sources import SourceError
from .spool import MapSpool

OnStep = Callable[[Played], None]
OnFraction = Callable[[float], None]


@dataclass(frozen=True)
class Outputs:
    """Which files are written for each input."""

    events: bool = True
    steps: bool = True
    timeline: bool = True
    video: bool = True


@dataclass
class FileReport:
    """What came of one file.

    Attributes
    ----------
    file : Path
    info : SourceInfo or None
        None if it could not be opened.
    played : Played
        Steps and parts.
    written : dict
        Kind of output to its path.
    notes : list of str
        What the user should know.
    seconds : float
        It took to detect (without drawing).
    error : str or None
        One line, if the file could not be read or broke off.
    """

    file: Path
    played: Played
    info: SourceInfo | None = None
    written: dict[str, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the report as `playspot detect --json` prints it."""
        return {
            "file": str(self.file),
            "duration": self.played.duration,
            "detected": [
                {
                    "id": part.id,
                    "label": part.label,
                    "start_time": part.start,
                    "end_time": part.end,
                    "top_score": part.top_score,
                    "point": part.place,
                }
                for part in self.played.parts
            ],
            "written": {kind: str(path) for kind, path in self.written.items()},
            "notes": self.notes,
            "seconds": round(self.seconds, 3),
            "error": self.error,
        }


class FileDetection:
    """Detect in one file after the other, and write what is wanted.

    Parameters
    ----------
    pipeline : Pipeline
        Running.
    labels : sequence of str
        Of the models.
    outputs : Outputs
    folder : Path or None
        Where outputs go; None: beside each file.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        labels: Sequence[str],
        outputs: Outputs,
        folder: Path | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._labels = tuple(labels)
        self._outputs = outputs
        self._folder = folder
        self._taken: set[str] = set()  # stems, so that no two files write to one

    def detect(
        self,
        path: Path,
        *,
        on_open: Callable[[SourceInfo], None] = lambda info: None,
        on_step: OnStep = lambda played: None,
        on_drawn: OnFraction = lambda fraction: None,
    ) -> FileReport:
        """Return what came of a file; what went wrong with it is in the report, not raised.

        Parameters
        ----------
        path : Path
        on_open, on_step, on_drawn : callable
            Called when the file is open, after each step, and while the video is drawn.

        Raises
        ------
        WorkerError
            If the pipeline breaks down.
        """
        report = FileReport(path, Played(self._labels))
        began = time.monotonic()
        try:
            run = self._pipeline.open(path)
        except SourceError as error:
            report.error = str(error)
            return report
        report.info = run.info
        on_open(run.info)
        folder = self._folder or path.parent
        with ExitStack() as stack:
            try:
                check_writable(folder)
                stem = Path(unique_name(str(folder / path.stem), self._taken))
                spool = stack.enter_context(MapSpool(self._labels, folder=folder))
                self._follow(run, report, stem, spool, on_step)
            except SourceError as error:
                report.error = str(error)
            except OutputError as error:
                run.abandon()
                report.error = str(error)
                return report
            report.seconds = time.monotonic() - began
            report.notes += run.notes
            try:
                self._draw(report, stem, spool, on_drawn)
            except (OutputError, SourceError) as error:
                report.error = str(error)
        return report

    def _follow(
        self, run: FileRun, report: FileReport, stem: Path, spool: MapSpool, on_step: OnStep
    ) -> None:
        """Write steps and events as they come; also those of a file that breaks off."""
        with ExitStack() as stack:

            def lines(kind: str, is_wanted: bool) -> JsonLines | None:
                if not is_wanted:
                    return None
                report.written[kind] = stem.with_name(f"{stem.name}.{kind}.jsonl")
                return stack.enter_context(JsonLines(report.written[kind]))

            events = lines("events", self._outputs.events)
            steps = lines("steps", self._outputs.steps)

            def write_events(records: Iterable[Event]) -> None:
                if events is not None:
                    for event in records:
                        events.write(event)

            def write(output: StepOutput) -> None:
                report.played.add(output.step, output.events)
                spool.append(output.step.step, output.playing)
                if steps is not None:
                    steps.write(output.step)
                write_events(output.events)
                on_step(report.played)

            try:
                for output in run:
                    write(output)
            except (KeyboardInterrupt, SystemExit):
                for output in run.interrupt():
                    write(output)
                raise
            finally:
                report.played.add_events(run.final_events)
                write_events(run.final_events)
                report.played.duration = run.duration or report.played.duration

    def _draw(self, report: FileReport, stem: Path, spool: MapSpool, on_drawn: OnFraction) -> None:
        if len(report.played.times) == 0:
            return
        if self._outputs.timeline:
            path = stem.with_name(f"{stem.name}.timeline.png")
            save_timeline(path, report.played, title=report.file.name)
            report.written["timeline"] = path
        if self._outputs.video and report.info is not None and report.info.has_video:
            path = stem.with_name(f"{stem.name}.annotated.mp4")
            if annotate(report.file, path, report.played, spool, progress=on_drawn):
                report.written["video"] = path
