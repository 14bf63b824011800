"""The detector: pictures, flow stacks and sound windows of a step become scores and detections.

No sockets here: `detector_worker.py` feeds it from the other processes, tests and evaluation feed
it directly, and both get the same, since all state of a source lies in its `SourceState`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ..engines.engine import Engine
from ..engines.settings import MODALITIES, Decoding, ModalityName
from .align import Aligner, StepInputs
from .detections import Region, peak, regions
from .events import Detection, Modalities, Modality, Point, Step
from .flow import FlowStack
from .fusion import Geometry, ScoreMap, fuse, grid_shape, resample
from .media import Picture, SourceInfo
from .timeline import step_time
from .tracks import Change, EndReason, Tracker
from .windows import SoundWindow

StepInput = Picture | FlowStack | SoundWindow


@dataclass(frozen=True)
class StepResult:
    """What one step gave.

    Attributes
    ----------
    step : Step
        The record of `<stem>.steps.jsonl`.
    playing : float32, shape (K, H, W), or None
        The playing map; None when every modality was missing.
    changes : list of Change
        Events that began, went on or ended.
    """

    step: Step
    playing: ScoreMap | None
    changes: list[Change]


@dataclass
class SourceState:
    """Everything the detector remembers of one source."""

    info: SourceInfo
    aligner: Aligner
    tracker: Tracker
    grid: tuple[int, int] | None = None  # rows and columns of the playing map


@dataclass
class Detector:
    """The three engines, the fusion and the decoding, for any number of sources.

    Parameters
    ----------
    engines : dict
        Modality to engine; a modality without one is missing in every step.
    decoding : Decoding
        How scores are fused and decoded.
    labels : tuple of str
        The axis K of the engines.
    wanted : frozenset of str
        Labels to report; all when empty.

    Raises
    ------
    ValueError
        If the engines do not share the labels.
    """

    engines: dict[ModalityName, Engine]
    decoding: Decoding
    labels: tuple[str, ...]
    wanted: frozenset[str] = frozenset()
    sources: dict[int, SourceState] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, engine in self.engines.items():
            if engine.header.labels != self.labels:
                raise ValueError(
                    f"the {name} model {engine.header.name!r} has the labels "
                    f"{', '.join(engine.header.labels)}; the others have {', '.join(self.labels)}"
                )

    def open(self, source: int, info: SourceInfo) -> None:
        """Begin a source; its number must be new."""
        expected: set[ModalityName] = set()
        if info.has_video:
            expected |= {"object", "action"}
        if info.has_audio:
            expected.add("sound")
        self.sources[source] = SourceState(info, Aligner(expected), Tracker(self.decoding))

    def results(self, source: int) -> Iterator[StepResult]:
        """Yield the result of every step that is complete by now, in order."""
        state = self.sources[source]
        while (inputs := state.aligner.take()) is not None:
            yield self._step(state, inputs)

    def close(self, source: int, reason: EndReason, until: float = math.inf) -> list[Change]:
        """Forget a source that was over at media time `until`; return the ends of its events."""
        state = self.sources.pop(source)
        return state.tracker.flush(max(0, state.aligner.next_step - 1), reason, until)

    def _step(self, state: SourceState, inputs: StepInputs) -> StepResult:
        maps = self._maps(state, inputs.inputs)
        playing = fuse(maps, self.labels, self.decoding)
        peaks: dict[str, tuple[float, Point | None]] = dict.fromkeys(self.labels, (0.0, None))
        if playing is not None:
            peaks = {k: peak(m) for k, m in zip(self.labels, playing, strict=True)}
        seen = [] if playing is None else self._seen(playing, maps)
        step = Step(
            step=inputs.step,
            time=step_time(inputs.step),
            scores={label: score for label, (score, _) in peaks.items()},
            points={label: point for label, (_, point) in peaks.items()},
            detections=tuple(d for r, d in seen if r.score >= self.decoding.on_of(r.label)),
        )
        return StepResult(step, playing, state.tracker.update(inputs.step, seen))

    def _maps(
        self, state: SourceState, inputs: dict[ModalityName, StepInput]
    ) -> dict[ModalityName, ScoreMap | None]:
        """Run the engines; action and object maps come out on the common grid of the source."""
        if state.grid is None:  # flow keeps the aspect; a teacher's picture may round its sides
            for item in (inputs.get("action"), inputs.get("object")):
                if not isinstance(item, SoundWindow | None):
                    height, width = _size(item)
                    state.grid = state.grid or grid_shape(width, height)
        maps: dict[ModalityName, ScoreMap | None] = {}
        for name, engine in self.engines.items():
            item = inputs.get(name)
            if isinstance(item, SoundWindow):
                maps[name] = engine(item.window[None])[0, :, item.output]
            elif item is not None and state.grid is not None:
                height, width = _size(item)
                array = item.image if isinstance(item, Picture) else item.stack
                geometry = Geometry(width, height, engine.header.stride, engine.header.offset)
                maps[name] = resample(engine(array[None])[0], geometry, state.grid)
        return maps

    def _seen(
        self, playing: ScoreMap, maps: dict[ModalityName, ScoreMap | None]
    ) -> list[tuple[Region, Detection]]:
        return [
            (region, self._detection(region, maps))
            for region in regions(playing, self.labels, self.decoding)
            if not self.wanted or region.label in self.wanted
        ]

    def _detection(self, region: Region, maps: dict[ModalityName, ScoreMap | None]) -> Detection:
        k = self.labels.index(region.label)
        cell = None if region.point is None else region.cell
        modalities = {
            name: Modality(score=_score_at(scores[k], cell), status="ok")
            for name in MODALITIES
            if (scores := maps.get(name)) is not None
        }
        return Detection(
            label=region.label,
            score=region.score,
            point=region.point,
            box=region.box,
            modalities=Modalities(**modalities),
        )


def _size(item: Picture | FlowStack) -> tuple[int, int]:
    """Return height and width."""
    return item.image.shape[:2] if isinstance(item, Picture) else item.stack.shape[1:]


def _score_at(scores: ScoreMap | np.float32, cell: tuple[int, int] | None) -> float:
    """Return a map's score at a cell, its maximum where there is no cell; a number as it is."""
    score = np.max(scores) if np.ndim(scores) == 0 or cell is None else np.asarray(scores)[cell]
    return float(np.clip(score, 0, 1))
