"""A whole file through the same stages in one process: no sockets, no other processes.

The offline half of the law "a stream gives what the file gives": the pipeline must yield the same
steps. For evaluation, research and tests; `pipeline.py` is faster and what `detect` runs.
"""

from collections.abc import Iterator
from pathlib import Path

from ..engines.engine import Engine, Models
from ..engines.settings import MODALITIES, ModalityName
from .config import Latency
from .detector import Detector, StepResult
from .flow import FlowStream
from .flow_method import FARNEBACK, FlowMethod
from .latency import flow_stream, sound_windows
from .media import AudioChunk, End, GreyFrame, MediaItem, Picture
from .sources import FileSource
from .windows import WindowStream

SOURCE = 1


def steps_of(
    path: str | Path,
    models: Models,
    engines: dict[ModalityName, Engine] | None = None,
    *,
    latency: Latency = "normal",
    flow: FlowMethod = FARNEBACK,
) -> Iterator[StepResult]:
    """Yield what every step of a file gives.

    Parameters
    ----------
    path : str or Path
    models : Models
    engines : dict, optional
        The engines of `models`, if they are loaded already.
    latency : {"normal", "low"}
        `low` uses nothing that comes after a step, as a live run with low latency does.
    flow : FlowMethod
        How flow is computed, unless the action model does.

    Raises
    ------
    SourceError
        If the file cannot be read.
    ModelError
        If a model cannot be used.

    Examples
    --------
    >>> for result in steps_of("concert.mp4", find_models()):  # doctest: +SKIP
    ...     print(result.step.time, result.step.scores["violin"])
    """
    detector = Detector(engines or models.load(), models.decoding, models.labels)
    picture = models.headers["object"]
    with FileSource(
        path, picture_side=picture.picture_side, picture_multiple=picture.picture_multiple
    ) as source:
        detector.open(SOURCE, source.info)
        method = None if models.headers["action"].takes == "frames" else flow
        front_end = models.headers["sound"].front_end or "paper"
        streams = flow_stream(latency, method), sound_windows(front_end, latency)
        feed = _Feed(detector, *streams)
        for item in source:
            feed.put(item)
            yield from detector.results(SOURCE)


class _Feed:
    """Bring the items of a source to the detector, through flow and mel."""

    def __init__(self, detector: Detector, flow: FlowStream, windows: WindowStream) -> None:
        self._aligner = detector.sources[SOURCE].aligner
        self._flow = flow
        self._windows = windows

    def put(self, item: MediaItem) -> None:
        if isinstance(item, Picture):
            self._aligner.put("object", item.step, item)
        elif isinstance(item, GreyFrame):
            for stack in self._flow.push(item):
                self._aligner.put("action", stack.step, stack)
        elif isinstance(item, AudioChunk):
            for window in self._windows.push(item):
                self._aligner.put("sound", window.step, None if window.missing else window)
        else:
            self._end(item)

    def _end(self, item: End) -> None:
        for stack in self._flow.flush():
            self._aligner.put("action", stack.step, stack)
        for window in self._windows.flush(item.n_steps):
            self._aligner.put("sound", window.step, None if window.missing else window)
        for modality in MODALITIES:
            self._aligner.end(modality, item.n_steps)
