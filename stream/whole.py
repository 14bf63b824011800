"""A whole file through the same stages in one process: no sockets, no other processes.

The offline half of the law "a stream gives what the file gives": the pipeline must yield the same
steps. For evaluation, research and tests; `pipeline.py` is faster and what `detect` runs.
"""

from collections.abc import Iterator
from pathlib import Path

from ..engines.engine import Engine, FrontEnd, Models
from ..engines.settings import MODALITIES, ModalityName
from .config import Latency
from .detector import Detector, StepResult
from .latency import flow_stream, sound_windows
from .media import AudioChunk, End, GreyFrame, MediaItem, Picture
from .sources import FileSource

SOURCE = 1


def steps_of(
    path: str | Path,
    models: Models,
    engines: dict[ModalityName, Engine] | None = None,
    *,
    latency: Latency = "normal",
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
        feed = _Feed(detector, models.headers["sound"].front_end or "paper", latency)
        for item in source:
            feed.put(item)
            yield from detector.results(SOURCE)


class _Feed:
    """Bring the items of a source to the detector, through flow and mel."""

    def __init__(self, detector: Detector, front_end: FrontEnd, latency: Latency) -> None:
        self._aligner = detector.sources[SOURCE].aligner
        self._flow = flow_stream(latency)
        self._windows = sound_windows(front_end, latency)

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
