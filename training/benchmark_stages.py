"""What each stage costs on one thread, and what the same work costs done the reference way.

In: a media file and models. Out: CPU milliseconds per second of media. The stages are the classes
that the pipeline runs, without its processes and sockets. The reference ways are measured in the
same run, on the same input, so that their ratios hold on a busy machine as well:

* flow: the authors compute five flows for every step from six frames (Liu, Yang and Jeng 2018, the
  public prediction script), so that each flow between two steps' stacks is computed twice;
* log-mel and sound network: a stateless detector runs the authors' unit, a fragment of 5 s, again
  for every step; and, the other way round, the whole sound at once, which no stream can do.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from ..engines.engine import Engine, Header, Models, Scores
from ..engines.settings import ModalityName
from ..stream.detector import Detector
from ..stream.flow import FlowStack, FlowStream, Stack
from ..stream.flow_method import FARNEBACK, FlowMethod, farneback
from ..stream.media import AudioChunk, Grey, GreyFrame, MediaItem, Picture, SourceInfo
from ..stream.mel import log_mel
from ..stream.scoring import StepInput
from ..stream.sources import FileSource
from ..stream.timeline import (
    COLUMNS_PER_STEP,
    FLOWS_PER_STACK,
    STACK_FIRST_TICK,
    STEP,
    STEP_SAMPLES,
    TICKS_PER_STEP,
    tick_time,
)
from ..stream.windows import SoundWindow, window_stream

FRAGMENT_STEPS: Final = 10  # the authors' fragment: 5.12 s
DECODE, FLOW, DECODING = "decode and scale", "flow", "fusion and decoding"
NO_PICTURES = Header(kind="object", name="none", labels=())
ResultT = TypeVar("ResultT")


@dataclass
class Costs:
    """CPU time of one measuring run.

    Attributes
    ----------
    media_seconds : float
        How much of the file was measured.
    stages : dict of stage to float
        CPU ms per second of media, in the order of the work.
    references : dict of (stage, reference way) to float
        The same for the reference ways of some stages.
    """

    media_seconds: float
    stages: dict[str, float] = field(default_factory=dict)
    references: dict[tuple[str, str], float] = field(default_factory=dict)

    def stage(self, name: str, work: Callable[[], ResultT]) -> ResultT:
        """Do the work of a stage and note what it cost."""
        result, self.stages[name] = self._timed(work)
        return result

    def reference(self, stage: str, way: str, work: Callable[[], ResultT]) -> ResultT:
        """Do the work of a stage in a reference way and note what it cost."""
        result, self.references[stage, way] = self._timed(work)
        return result

    def _timed(self, work: Callable[[], ResultT]) -> tuple[ResultT, float]:
        began = time.process_time()  # of all threads: nothing can hide in one
        result = work()
        return result, 1000 * (time.process_time() - began) / self.media_seconds


def measure(path: Path, models: Models, seconds: float) -> Costs:
    """Return what each stage costs for the beginning of a file.

    Call it in a process whose numerical libraries have one thread each.

    Parameters
    ----------
    path : Path
    models : Models
    seconds : float
        Of media at most.

    Returns
    -------
    costs : Costs

    Raises
    ------
    SourceError
        If the file cannot be read.
    ModelError
        If a model cannot be used.

    Examples
    --------
    >>> measure(Path("concert.mp4"), find_models(), 30.0).stages["flow"]  # doctest: +SKIP
    47.1
    """
    cv2.setNumThreads(1)
    engines = models.load()
    try:
        return _measure(path, models, engines, seconds)
    finally:
        for engine in engines.values():
            engine.close()


def _measure(
    path: Path, models: Models, engines: dict[ModalityName, Engine], seconds: float
) -> Costs:
    began = time.process_time()
    info, items = _read(path, models.headers.get("object", NO_PICTURES), seconds)
    spent = time.process_time() - began
    n_steps = 1 + max((_step_of(item) for item in items), default=0)
    costs = Costs(n_steps * STEP)
    costs.stages[DECODE] = 1000 * spent / costs.media_seconds
    inputs: dict[ModalityName, list[Any]] = {"object": [], "action": [], "sound": []}
    inputs["object"] = [item for item in items if isinstance(item, Picture)]
    greys = [item for item in items if isinstance(item, GreyFrame)]
    chunks = [item for item in items if isinstance(item, AudioChunk)]
    if greys:
        action = models.headers.get("action")
        takes_frames = action is not None and action.takes == "frames"  # its flow is in its network
        method = None if takes_frames else FARNEBACK
        inputs["action"] = costs.stage(FLOW, lambda: flow_once(greys, method))
        images = {frame.tick: frame.image for frame in greys}
        costs.reference(FLOW, "five a step", lambda: list(flow_each_step(images)))
    sound = models.headers.get("sound")
    front_end = (sound.front_end if sound is not None else None) or "paper"
    if chunks:
        name = f"sound windows ({front_end})"
        windows = costs.stage(name, lambda: _windows(front_end, chunks, n_steps))
        inputs["sound"] = [window for window in windows if not window.missing]
        if front_end == "paper":
            _sound_references(costs, name, chunks, engines.get("sound"), n_steps)
    outputs = {}
    for modality, engine in engines.items():
        if batches := [_batch(item) for item in inputs[modality]]:
            engine(batches[-1])  # the first run of a session allocates
            outputs[modality] = costs.stage(f"{modality} network", _run(engine, batches))
    costs.stage(DECODING, lambda: _decode(models, engines, info, inputs, outputs, n_steps))
    return costs


def _run(engine: Engine, batches: list[NDArray[Any]]) -> Callable[[], list[Scores]]:
    return lambda: [engine(batch) for batch in batches]


def flow_once(greys: list[GreyFrame], method: FlowMethod | None = FARNEBACK) -> list[FlowStack]:
    """Return the stack of every step; each flow is computed once, as the pipeline does."""
    stream = FlowStream(method)
    return [stack for frame in greys for stack in stream.push(frame)] + stream.flush()


def flow_each_step(images: dict[int, Grey]) -> Iterator[Stack]:
    """Yield the stack of every step, all of its five flows computed for it alone.

    Parameters
    ----------
    images : dict of tick to uint8, shape (H, W)
        Without gaps. Before the first and after the last, that one is repeated.
    """
    first, last = min(images), max(images)
    for tick in sorted(images):
        if tick % TICKS_PER_STEP == 0:
            ticks = range(tick + STACK_FIRST_TICK, tick + STACK_FIRST_TICK + FLOWS_PER_STACK + 1)
            six = [images[min(max(t, first), last)] for t in ticks]
            yield np.concatenate([farneback(a, b) for a, b in pairwise(six)])


def _sound_references(
    costs: Costs, stage: str, chunks: list[AudioChunk], engine: Engine | None, n_steps: int
) -> None:
    waveform = np.concatenate([chunk.waveform for chunk in chunks])
    columns = costs.reference(stage, "the whole at once", lambda: log_mel(waveform))
    fragments = [
        waveform[max(0, step + 1 - FRAGMENT_STEPS) * STEP_SAMPLES : (step + 1) * STEP_SAMPLES]
        for step in range(n_steps)
    ]
    fragments = [fragment for fragment in fragments if len(fragment)]
    again = costs.reference(
        stage, "5 s again each step", lambda: [log_mel(fragment) for fragment in fragments]
    )
    if engine is not None and columns.shape[1] >= COLUMNS_PER_STEP:
        batches = [mel[None] for mel in again if mel.shape[1] >= COLUMNS_PER_STEP]
        costs.reference("sound network", "the whole at once", _run(engine, [columns[None]]))
        costs.reference("sound network", "5 s again each step", _run(engine, batches))


def _read(path: Path, picture: Header, seconds: float) -> tuple[SourceInfo, list[MediaItem]]:
    items: list[MediaItem] = []
    with FileSource(
        path, picture_side=picture.picture_side, picture_multiple=picture.picture_multiple
    ) as source:
        for item in source:
            if _step_of(item) >= max(1, round(seconds / STEP)):
                break
            items.append(item)
    return source.info, items


def _step_of(item: MediaItem) -> int:
    if isinstance(item, Picture):
        return item.step
    if isinstance(item, GreyFrame):
        return int(tick_time(item.tick) / STEP)
    return item.start // STEP_SAMPLES if isinstance(item, AudioChunk) else 0


def _windows(front_end: Any, chunks: list[AudioChunk], n_steps: int) -> list[SoundWindow]:
    stream = window_stream(front_end)
    windows = [window for chunk in chunks for window in stream.push(chunk)]
    return (windows + stream.flush(n_steps))[:n_steps]


def _batch(item: StepInput) -> NDArray[Any]:
    if isinstance(item, Picture):
        return item.image[None]
    return (item.window if isinstance(item, SoundWindow) else item.stack)[None]


class _Recorded:
    """An engine that costs nothing: it gives what the real one gave, in order."""

    def __init__(self, engine: Engine, outputs: list[Scores]) -> None:
        self.header, self.hash = engine.header, engine.hash
        self.backend, self.precision = engine.backend, engine.precision
        self._outputs = iter(outputs)

    def __call__(self, batch: NDArray[Any]) -> Scores:
        return next(self._outputs)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def _decode(
    models: Models,
    engines: dict[ModalityName, Engine],
    info: SourceInfo,
    inputs: dict[ModalityName, list[Any]],
    outputs: dict[ModalityName, list[Scores]],
    n_steps: int,
) -> int:
    """Fuse and decode every step from the networks' outputs; return the number of steps."""
    recorded: dict[ModalityName, Engine] = {
        name: _Recorded(engines[name], scores) for name, scores in outputs.items()
    }
    detector = Detector(recorded, models.decoding, models.labels)
    detector.open(1, info)
    aligner = detector.sources[1].aligner
    for modality in sorted(aligner.expected):
        for item in inputs[modality]:
            aligner.put(modality, item.step, item)
        aligner.end(modality, n_steps)
    return sum(1 for _ in detector.results(1))
