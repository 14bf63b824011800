"""What the findings are made of: clips, two teachers, and one action network a target and seed.

Liu, Yang and Jeng 2018 compare action networks that differ in nothing but their targets (tables
VIII and XI). Here the same is done on the bandstand. Each function below makes one piece below a
folder and is one task of `findings_run`; all of them take `Settings` and that folder first.

====================================  =========================================================
below the folder                      what
====================================  =========================================================
`clips/<split>`                       rendered clips, their tags and their truth, and features
`teachers/<kind>`                     the sound and the object network, from tags of whole clips
`scores`                              what the teachers say of each clip
`networks/<seed>/start`               an action network, from tags of whole clips
`networks/<seed>/<target>`            the action networks that are compared
`figures/<seed>/<target>.json`        what each says of the test clips, by the paper's metrics
`figures/alone.json`                  the same of the teachers and of the middle of the picture
====================================  =========================================================

As in the paper the teachers are trained on clips of their own, all networks of a seed begin with
one that was trained before (IV-D: "as a pre-trained model and train for another 30 epochs"), the
epoch with the best clip-level AUC is kept, and nothing but tags of whole clips is ever trained on.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..engines.engine import Engine, Kind
from ..engines.metadata import model_hash
from ..engines.replay import ReplayEngine
from ..models.labels import LABELS
from ..stream.whole_file import whole_file
from .cache import CachedClip, cache_clips
from .clips import ClipError, index_clips, load_truth
from .evaluate import Evaluation, step_truths
from .paper_metrics import PaperTally, distance_px, picture_size
from .scores import cached_inputs, score_clip

Split = Literal["teachers", "training", "validation", "test"]
Tell = Callable[[float], None]  # takes the part that is done, 0 to 1

FIRST_SEEDS: dict[Split, int] = {
    "teachers": 0,
    "training": 50_000,
    "validation": 100_000,
    "test": 250_000,
}
CHUNK = 9  # clips in a task: one of each instrument
TARGETS = (
    *("VT", "ST03", "ST05", "ST07", "OT03", "OT05", "OT07"),
    *("SOT0503", "SOT0505", "SOT0507"),
)
FUSED = ("action", "action*object", "action*sound", "action*object*sound")
TEACHERS: tuple[Kind, ...] = ("object", "sound")
# Of action networks: the paper's loss, the optimiser that learns in minutes from scratch.
ACTION: dict[str, Any] = {
    "frames_per_clip": 1,
    "optimiser": "adamw",
    "lr": 0.001,
    "weight_decay": 0.01,
    "schedule": "cosine",
    "init": "he",
    "flip": True,
    "zoom": 0.25,
    "dropout": 0.2,
}
STAMP = "settings.json"


class Settings(BaseModel):
    """Everything that decides the figures, besides the versions of what computes them.

    Attributes
    ----------
    seeds : int
        Action networks of each target; seeds 0, 1, ...
    targets : tuple of str
    clips : int
        That action networks are trained on.
    teacher_clips, validation_clips, test_clips : int
        That the teachers are trained on; that choose the epoch; that are measured.
    level, duration : str, float
        Of the bandstand; seconds a clip.
    width : float
        Filters of all networks, as a part of the paper's.
    batch : int
        Clips in a mini-batch of action networks, one frame of each.
    sound_steps, object_steps, start_steps, steps : int
        Mini-batches: of the teachers, of the network that a seed begins with, of each target.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seeds: int = Field(default=3, ge=1)
    targets: tuple[str, ...] = TARGETS
    clips: int = Field(default=180, ge=1)
    teacher_clips: int = Field(default=144, ge=1)
    validation_clips: int = Field(default=36, ge=1)
    test_clips: int = Field(default=72, ge=2)
    level: str = "mixed"
    duration: float = Field(default=10.0, ge=1)
    width: float = Field(default=0.25, gt=0)
    batch: int = Field(default=10, ge=1)
    sound_steps: int = Field(default=1200, ge=1)
    object_steps: int = Field(default=2000, ge=1)
    start_steps: int = Field(default=1000, ge=1)
    steps: int = Field(default=600, ge=1)

    @classmethod
    def of_minutes(cls, minutes: float, **given: Any) -> Self:
        """Return settings that take about so long on 4 quiet cores, three seeds.

        Clips and steps go with the square root of the time; what is `given` stays, unless None.

        Examples
        --------
        >>> Settings.of_minutes(40).clips, Settings.of_minutes(10, steps=50).steps
        (180, 50)
        """
        share = math.sqrt(minutes / 40)
        names = ("clips", "teacher_clips", "validation_clips", "test_clips")
        sizes = {
            name: CHUNK * max(1, round(cls.model_fields[name].default * share / CHUNK))
            for name in names
        }
        names = ("sound_steps", "object_steps", "start_steps", "steps")
        sizes |= {name: max(2, round(cls.model_fields[name].default * share)) for name in names}
        return cls(**sizes | {key: value for key, value in given.items() if value is not None})

    def n_clips(self, split: Split) -> int:
        """Return how many clips a split has."""
        return {
            "teachers": self.teacher_clips,
            "training": self.clips,
            "validation": self.validation_clips,
            "test": self.test_clips,
        }[split]


def prepare(settings: Settings, work: Path) -> None:
    """Make the folder, or see that it is of the same settings.

    Raises
    ------
    ClipError
        If it was made with others.
    """
    work.mkdir(parents=True, exist_ok=True)
    now = settings.model_dump(mode="json")
    try:
        before = json.loads((work / STAMP).read_text(encoding="utf-8"))
    except FileNotFoundError:
        write_json(work / STAMP, now)
        return
    except (ValueError, RecursionError):
        before = None
    if not isinstance(before, dict):
        raise ClipError(f"{work / STAMP}: broken; take another --work")
    changed = [key for key in now if before.get(key) != now[key]]
    if changed:
        key = changed[0]
        raise ClipError(
            f"{work}: holds what was made with {key} = {before.get(key)!r}, now {now[key]!r}; "
            "take another --work, or remove it"
        )


def make_clips(settings: Settings, work: Path, tell: Tell, split: Split, first: int) -> None:
    """Render the clips `first`, ... of a split, and compute their features."""
    from .bandstand import render_set

    folder = work / "clips" / split
    n = min(CHUNK, settings.n_clips(split) - first)
    paths = render_set(
        folder,
        n,
        first_seed=FIRST_SEEDS[split] + first,
        level=settings.level,
        duration=settings.duration,
        progress=lambda done, total: tell(0.7 * done / total),
    )
    names = {path.stem for path in paths}
    mine = [clip for clip in index_clips(folder).clips if clip.path.stem in names]
    cache_clips(
        mine, folder / ".features", progress=lambda done, total: tell(0.7 + 0.3 * done / total)
    )


def clips_of(work: Path, split: Split) -> list[CachedClip]:
    """Return the clips of a split with their features.

    Raises
    ------
    ClipError
        If there is none.
    """
    folder = work / "clips" / split
    cached, skipped = cache_clips(index_clips(folder).clips, folder / ".features")
    if not cached:
        raise ClipError(f"{folder}: no clip can be used; the first: {skipped[0]}")
    return cached


def train_teacher(settings: Settings, work: Path, tell: Tell, kind: Kind) -> None:
    """Train the sound or the object network from tags of whole clips."""
    steps = settings.sound_steps if kind == "sound" else settings.object_steps
    changes = {"steps": steps, "validate_every": max(1, steps // 8)}
    _train(settings, work, tell, kind, work / "teachers" / kind, "teachers", changes)


def train_start(settings: Settings, work: Path, tell: Tell, seed: int) -> None:
    """Train the network that all targets of a seed begin with, from tags of whole clips."""
    out = work / "networks" / str(seed) / "start"
    steps = settings.start_steps
    changes = {"seed": seed, "target": "VT", "steps": steps, "validate_every": max(1, steps // 5)}
    _train(settings, work, tell, "action", out, "training", changes)


def train_target(settings: Settings, work: Path, tell: Tell, seed: int, target: str) -> None:
    """Train the network of a target, from the one its seed begins with."""
    steps = settings.steps
    changes = {
        "seed": seed,
        "target": target,
        "steps": steps,
        "validate_every": max(1, steps // 5),
        "init_from": str(work / "networks" / str(seed) / "start" / "action.best.pt"),
    }
    _train(settings, work, tell, "action", _network(work, seed, target), "training", changes)


def _network(work: Path, seed: int, target: str) -> Path:
    return work / "networks" / str(seed) / target


def _train(
    settings: Settings,
    work: Path,
    tell: Tell,
    kind: Kind,
    out: Path,
    split: Split,
    changes: dict[str, Any],
) -> None:
    """Train a network into a folder; its best state is `<kind>.best.pt` there."""
    from .config import RECIPES, TrainConfig
    from .train import train

    recipe = ACTION if kind == "action" else RECIPES["small"][kind].to_dict()
    config = TrainConfig.from_dict({**recipe, "kind": kind, "width": settings.width, **changes})
    clips = clips_of(work, split)
    scores = None
    if kind == "action":
        config = config.replace(clips_per_batch=settings.batch)
        needed = needed_teachers(config.target)
        if needed:
            scores = teacher_scores_of(work, clips, needed)
    train(
        config,
        clips,
        clips_of(work, "validation"),
        out,
        teachers=scores,
        progress=lambda report: tell(report.step / report.steps),
    )


def needed_teachers(target: str) -> tuple[Kind, ...]:
    """Return the teachers that a target needs.

    Examples
    --------
    >>> needed_teachers("ST05"), needed_teachers("SOT0503")
    (('sound',), ('object', 'sound'))
    """
    rule = target.rstrip("0123456789")
    return tuple(kind for kind in TEACHERS if kind[0].upper() in rule)


def engine_of(path: Path) -> Engine:
    """Return the network of a checkpoint, to be asked as one that was exported.

    Writing an ONNX file and checking it takes longer than a few clips do in PyTorch.
    """
    import torch

    from ..engines.export import make_header
    from .train import load_network

    net, _ = load_network(path)

    @torch.no_grad()
    def scores(batch: NDArray[Any]) -> NDArray[np.float32]:
        inputs = torch.from_numpy(np.array(batch))  # a copy: what is read from disk is read-only
        if net.config.kind == "object":
            inputs = inputs.permute(0, 3, 1, 2)  # (n, 3, H, W)
        return np.asarray(net.scores(inputs.float()))

    engine = ReplayEngine(make_header(net, path.parent.name), scores)
    engine.hash = model_hash(path.read_bytes())  # what is on disk of its scores goes by it
    return engine


def teacher_of(work: Path, kind: Kind) -> Engine:
    """Return a trained teacher."""
    return engine_of(work / "teachers" / kind / f"{kind}.best.pt")


def teacher_scores_of(work: Path, clips: list[CachedClip], kinds: tuple[Kind, ...]) -> Any:
    """Return what teachers say of clips, by name; what was asked before is on disk."""
    from .teacher_cache import teacher_scores

    engines: dict[str, Engine] = {kind: teacher_of(work, kind) for kind in kinds}
    return teacher_scores(clips, engines, work / "scores")


def ask_teacher(settings: Settings, work: Path, tell: Tell, kind: Kind) -> None:
    """Put on disk what a teacher says of the clips that action networks are trained on."""
    teacher_scores_of(work, clips_of(work, "training"), (kind,))


def measure_target(settings: Settings, work: Path, tell: Tell, seed: int, target: str) -> None:
    """Measure the network of a target, alone and multiplied with its teachers."""
    action = _network(work, seed, target) / "action.best.pt"
    evaluation, _ = _evaluated(work, action, tell)
    outputs = {name: _values(evaluation.papers[name]) for name in FUSED}
    write_json(work / "figures" / str(seed) / f"{target}.json", {"outputs": outputs})


def measure_alone(settings: Settings, work: Path, tell: Tell) -> None:
    """Measure what has no seed: the two teachers, the middle of the picture, and the tags."""
    evaluation, center = _evaluated(work, None, tell)
    report = evaluation.report()
    outputs = {"center": _values(center)}
    outputs |= {name: _values(evaluation.papers[name]) for name in TEACHERS}
    document = {
        "outputs": outputs,
        "sound_frame_auc": report["sound_frame_auc"]["mean"],
        "object_hit_rate": report["object_hit_rate"]["mean"],
        "played_share": played_share(clips_of(work, "test")),
    }
    write_json(work / "figures" / "alone.json", document)


def _evaluated(work: Path, action: Path | None, tell: Tell) -> tuple[Evaluation, PaperTally]:
    """Return what models say of the test clips, and what the middle of the picture does."""
    engines: dict[str, Engine] = {kind: teacher_of(work, kind) for kind in TEACHERS}
    if action is not None:
        engines["action"] = engine_of(action)
    evaluation, center = Evaluation(LABELS), PaperTally()
    clips = clips_of(work, "test")
    for done, clip in enumerate(clips, 1):
        scores = score_clip(engines, cached_inputs(clip))
        assert clip.clip.truth is not None  # the bandstand writes one for each clip
        truth = load_truth(clip.clip.truth)
        evaluation.add(clip.clip.name, truth, scores)
        size = np.array(picture_size(scores.width, scores.height))  # rows, columns
        for label in LABELS:
            steps = step_truths(truth, label, scores.n_steps)
            places = [step.points[:, ::-1] * size for step in steps if len(step.points)]
            found = [distance_px(tuple(size / 2), points) for points in places]
            if found:
                center.distances[clip.clip.name, label] = float(np.mean(found))
        tell(done / len(clips))
    return evaluation, center


def _values(tally: PaperTally) -> dict[str, list[tuple[str, str, float]]]:
    """Return the figures of each clip and label, as JSON can hold them."""
    found = {"temporal_auc": tally.aucs, "spatial_px": tally.distances}
    return {
        metric: [(clip, label, value) for (clip, label), value in values.items()]
        for metric, values in found.items()
    }


def played_share(clips: list[CachedClip]) -> float:
    """Return how weak tags are: the share of a clip's steps in which a label it has is played."""
    shares = []
    for clip in clips:
        assert clip.clip.truth is not None  # the bandstand writes one for each clip
        truth = load_truth(clip.clip.truth)
        for label in clip.clip.played:
            steps = step_truths(truth, label, clip.n_steps)
            shares.append(np.mean([len(step.points) > 0 for step in steps]))
    return float(np.mean(shares)) if shares else math.nan


def write_json(path: Path, document: Any) -> None:
    """Write a document, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text(json.dumps(document, indent=1), encoding="utf-8")
