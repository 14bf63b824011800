"""From the inputs of steps to their scores: networks, fusion, which and where.

Nothing here remembers anything of a source: `detector.py` follows files, `live_detector.py` live
sources, and both get the same scores from the same inputs.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..engines.engine import Engine
from ..engines.settings import MODALITIES, Decoding, ModalityName
from .detections import Region, peak, regions
from .events import Detection, Modalities, Modality, Point, Status, Step
from .flow import FlowStack
from .fusion import Geometry, ScoreMap, fuse, grid_shape, resample
from .media import Picture
from .timeline import step_time
from .windows import SoundWindow
from .zones import zone_mask

if TYPE_CHECKING:
    from .config import Zone

StepInput: TypeAlias = Picture | FlowStack | SoundWindow
Inputs: TypeAlias = Mapping[ModalityName, StepInput]
Maps: TypeAlias = dict[ModalityName, ScoreMap]  # (K, H, W) on the common grid; sound (K,)
Grid: TypeAlias = tuple[int, int]  # rows and columns of the playing map
Seen: TypeAlias = list[tuple[Region, Detection]]


@dataclass(frozen=True)
class View:
    """How a source is looked at.

    Attributes
    ----------
    decoding : Decoding
        How scores are fused and decoded.
    wanted : frozenset of str
        Labels to report; all when empty.
    zones : mapping of name to Zone
        What of the picture counts; all of it when empty.
    """

    decoding: Decoding
    wanted: frozenset[str] = frozenset()
    zones: "Mapping[str, Zone]" = field(default_factory=dict)
    _masks: dict[Grid, NDArray[np.float32] | None] = field(
        default_factory=dict, repr=False, compare=False
    )

    def masked(self, playing: ScoreMap) -> ScoreMap:
        """Return a playing map (K, H, W) with nothing outside the zones."""
        grid = (playing.shape[1], playing.shape[2])
        if grid not in self._masks:
            self._masks[grid] = zone_mask(self.zones, grid)
        mask = self._masks[grid]
        return playing if mask is None else playing * mask


HEAT_FROM = 0.2  # labels whose map stays below this are of no interest to who looks


@dataclass(frozen=True)
class Scored:
    """What the networks say of one step.

    Attributes
    ----------
    step : Step
        The record of `<stem>.steps.jsonl`.
    playing : float32, shape (K, H, W), or None
        The playing map; None when every modality was missing.
    seen : list of (Region, Detection)
        Every region that reaches its label's `off`, for a `Tracker`.
    """

    step: Step
    playing: ScoreMap | None
    seen: Seen

    def heat(self, wanted: Collection[str] = ()) -> tuple[list[str], NDArray[np.uint8] | None]:
        """Return the playing maps to look at, one byte a cell, 255 is 1.

        Parameters
        ----------
        wanted : collection of str
            Labels to choose from; all when empty.

        Returns
        -------
        labels : list of str
            Those with a cell of at least `HEAT_FROM`.
        maps : uint8, shape (K', H, W), or None
            None without any, or without a picture.

        Examples
        --------
        >>> record = Step(step=0, time=0.0, scores={"drum": 0.6, "piano": 0.1}, points={})
        >>> playing = np.float32([[[0.0, 0.6]], [[0.1, 0.0]]])
        >>> labels, maps = Scored(record, playing, []).heat()
        >>> labels, maps.tolist()
        (['drum'], [[[0, 153]]])
        """
        if self.playing is None or self.playing.shape[1:] == (1, 1):
            return [], None
        chosen = [
            k
            for k, label in enumerate(self.step.scores)
            if self.playing[k].max() >= HEAT_FROM and (not wanted or label in wanted)
        ]
        if not chosen:
            return [], None
        labels = list(self.step.scores)
        maps = np.rint(255 * np.clip(self.playing[chosen], 0, 1)).astype(np.uint8)
        return [labels[k] for k in chosen], maps


@dataclass(frozen=True)
class Scorer:
    """The networks.

    Parameters
    ----------
    engines : dict
        Modality to engine; a modality without one is missing in every step.
    labels : tuple of str
        The axis K of the engines.

    Raises
    ------
    ValueError
        If the engines do not share the labels.
    """

    engines: Mapping[ModalityName, Engine]
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        for name, engine in self.engines.items():
            if engine.header.labels != self.labels:
                raise ValueError(
                    f"the {name} model {engine.header.name!r} has the labels "
                    f"{', '.join(engine.header.labels)}; the others have {', '.join(self.labels)}"
                )

    def maps(
        self,
        batch: Sequence[tuple[Inputs, Grid | None]],
        between: Callable[[], None] = lambda: None,
    ) -> list[Maps]:
        """Run the networks on several steps, inputs of one shape together.

        Parameters
        ----------
        batch : sequence of (inputs, grid)
            Inputs of a step; the common grid of its source, None without a picture.
        between : callable
            Called before each run of a network.

        Returns
        -------
        maps : list of dict
            For each step what there is: action and object maps on its grid, sound scores.
        """
        found: list[Maps] = [{} for _ in batch]
        for name, engine in self.engines.items():
            groups: dict[tuple[int, ...], list[int]] = {}
            for n, (inputs, _) in enumerate(batch):
                if (item := inputs.get(name)) is not None:
                    groups.setdefault(_array(item).shape, []).append(n)
            for places in groups.values():
                between()
                items = [batch[n][0][name] for n in places]
                arrays = [_array(item) for item in items]
                scores = engine(arrays[0][None] if len(arrays) == 1 else np.stack(arrays))
                for n, item, score in zip(places, items, scores, strict=True):
                    scored = self._placed(item, score, engine, batch[n][1])
                    if scored is not None:
                        found[n][name] = scored
        return found

    def scored(
        self,
        step: int,
        maps: Maps,
        view: View,
        statuses: Mapping[ModalityName, Status] | None = None,
    ) -> Scored:
        """Fuse and decode the maps of one step.

        Parameters
        ----------
        step : int
            On the time line that its record is to have.
        maps : dict
        view : View
        statuses : mapping, optional
            Why a modality has no map; `missing` where nothing is said.
        """
        playing = fuse(dict(maps), self.labels, view.decoding)
        peaks: dict[str, tuple[float, Point | None]] = dict.fromkeys(self.labels, (0.0, None))
        seen: Seen = []
        if playing is not None:
            playing = view.masked(playing)
            peaks = {k: peak(m) for k, m in zip(self.labels, playing, strict=True)}
            seen = [
                (region, self._detection(region, maps, statuses or {}))
                for region in regions(playing, self.labels, view.decoding)
                if not view.wanted or region.label in view.wanted
            ]
        record = Step(
            step=step,
            time=step_time(step),
            scores={label: score for label, (score, _) in peaks.items()},
            points={label: point for label, (_, point) in peaks.items()},
            detections=tuple(d for r, d in seen if r.score >= view.decoding.on_of(r.label)),
        )
        return Scored(record, playing, seen)

    def _placed(
        self, item: StepInput, score: ScoreMap, engine: Engine, grid: Grid | None
    ) -> ScoreMap | None:
        """Return the scores of a step where they belong: on the grid, at its place in time."""
        if isinstance(item, SoundWindow):
            return score[:, item.output]
        if grid is None:
            return None
        height, width = _size(item)
        geometry = Geometry(width, height, engine.header.stride, engine.header.offset)
        return resample(score, geometry, grid)

    def _detection(
        self, region: Region, maps: Maps, statuses: Mapping[ModalityName, Status]
    ) -> Detection:
        k = self.labels.index(region.label)
        cell = None if region.point is None else region.cell
        modalities = {
            name: Modality(score=_score_at(maps[name][k], cell), status="ok")
            if name in maps
            else Modality(status=statuses.get(name, "missing"))
            for name in MODALITIES
        }
        return Detection(
            label=region.label,
            score=region.score,
            point=region.point,
            box=region.box,
            modalities=Modalities(**modalities),
        )


def grid_of(inputs: Inputs) -> Grid | None:
    """Return the common grid for a source with such a stack or picture, None without either."""
    # Flow keeps the aspect; a teacher's picture may round its sides.
    for item in (inputs.get("action"), inputs.get("object")):
        if isinstance(item, Picture | FlowStack):
            height, width = _size(item)
            return grid_shape(width, height)
    return None


def _array(item: StepInput) -> NDArray[Any]:
    if isinstance(item, Picture):
        return item.image
    return item.stack if isinstance(item, FlowStack) else item.window


def _size(item: Picture | FlowStack) -> tuple[int, int]:
    """Return height and width."""
    return item.image.shape[:2] if isinstance(item, Picture) else item.stack.shape[1:]


def _score_at(scores: ScoreMap | np.float32, cell: tuple[int, int] | None) -> float:
    """Return a map's score at a cell, its maximum where there is no cell; a number as it is."""
    score = np.max(scores) if np.ndim(scores) == 0 or cell is None else np.asarray(scores)[cell]
    return float(np.clip(score, 0, 1))
