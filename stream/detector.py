"""The detector of files: pictures, flow stacks and sound windows become scores and events.

No sockets here: `detector_worker.py` feeds it from the other processes, tests and evaluation feed
it directly, and both get the same, since all state of a source lies in its `SourceState`.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ..engines.engine import Engine
from ..engines.settings import Decoding, ModalityName
from .align import Aligner, StepInputs
from .events import ModelInfo, Step
from .fusion import ScoreMap
from .media import SourceInfo
from .scoring import Grid, Scorer, View, grid_of
from .tracks import Change, EndReason, Tracker


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
    grid: Grid | None = None


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
        self._scorer = Scorer(self.engines, self.labels)
        self._view = View(self.decoding, self.wanted)

    def open(self, source: int, info: SourceInfo) -> None:
        """Begin a source; its number must be new."""
        self.sources[source] = SourceState(
            info, Aligner(modalities_of(info)), Tracker(self.decoding)
        )

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
        state.grid = state.grid or grid_of(inputs.inputs)
        (maps,) = self._scorer.maps([(inputs.inputs, state.grid)])
        scored = self._scorer.scored(inputs.step, maps, self._view)
        changes = state.tracker.update(inputs.step, scored.seen)
        return StepResult(scored.step, scored.playing, changes)


def modalities_of(info: SourceInfo) -> set[ModalityName]:
    """Return the modalities that a source can have.

    Examples
    --------
    >>> sorted(modalities_of(SourceInfo("camera", has_video=True, has_audio=False)))
    ['action', 'object']
    """
    found: set[ModalityName] = set()
    if info.has_video:
        found |= {"object", "action"}
    if info.has_audio:
        found.add("sound")
    return found


def model_info(engines: Mapping[ModalityName, Engine]) -> ModelInfo:
    """Return the `model` field of events: what all engines are, in one record."""
    parts = [engines[name] for name in sorted(engines)]
    return ModelInfo(
        name="+".join(dict.fromkeys(engine.header.name for engine in parts)),
        hash=hashlib.sha256("".join(engine.hash for engine in parts).encode()).hexdigest()[:12],
        engine="+".join(dict.fromkeys(engine.backend for engine in parts)),
        precision="+".join(dict.fromkeys(engine.precision for engine in parts)),
    )
