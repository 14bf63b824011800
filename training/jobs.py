"""The work behind the offline commands: features, training and export.

Says what it skips on standard error and shows progress; the commands parse and print. PyTorch is
imported only to train.
"""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engines.engine import Engine, Kind
from .alone import alone
from .cache import CachedClip, cache_clips
from .clips import Clip, ClipError, ClipIndex
from .config import RECIPES, TrainConfig
from .config_file import read_settings
from .data_sets import guess, read
from .progress import counting, losses

if TYPE_CHECKING:
    from .train import Result  # needs PyTorch

TORCH_IS_MISSING = 'training needs PyTorch: pip install "playspot[train]"'


@dataclass(frozen=True)
class TrainJob:
    """What `playspot train` was asked for.

    Attributes
    ----------
    kind : {"sound", "object", "action"}
    data, out : Path
        Clips; folder for checkpoints and the ONNX file.
    recipe : {"small", "paper"}
    settings : dict
        Fields of `TrainConfig` to take instead of the recipe's and the file's; None leaves them.
    threads, processes : int
        Of PyTorch; for features.
    cache : Path or None
        Folder for features and what teachers say; `.features` in the folder of clips if None.
    fresh : bool
        Do not go on from a checkpoint.
    name : str or None
        In the ONNX file's header.
    teachers : dict of kind to Path or None
        Trained models, for the action network.
    config : Path or None
        YAML file with fields to take instead of the recipe's.
    dataset : str or None
        What lies in `data`, a name of `data_sets`; told by the files if None.
    annotations : Path or None
        Table or folder of annotations that is not in `data`.
    """

    kind: Kind
    data: Path
    out: Path
    recipe: str = "small"
    settings: dict[str, Any] = field(default_factory=dict)
    threads: int = 2
    processes: int = 2
    cache: Path | None = None
    fresh: bool = False
    name: str | None = None
    teachers: dict[str, Path | None] = field(default_factory=dict)
    config: Path | None = None
    dataset: str | None = None
    annotations: Path | None = None

    @property
    def features(self) -> Path:
        """Folder for features."""
        return self.cache or self.data / ".features"


def config_of(job: TrainJob) -> TrainConfig:
    """Return the configuration of a job: its settings over its file over its recipe.

    Raises
    ------
    ValueError
        If there is no such recipe, or a value cannot be used.
    """
    if job.recipe not in RECIPES:
        raise ClipError(f"--recipe {job.recipe}: one of {', '.join(RECIPES)}")
    config = RECIPES[job.recipe][job.kind]
    if job.config is not None:
        config = config.replace(**read_settings(job.config, config))
    return config.replace(
        **{key: value for key, value in job.settings.items() if value is not None}
    )


def run_training(job: TrainJob) -> str:
    """Train a network, export its best state, and return a line that says how it went.

    Of several processes all train, and the first prints, exports and returns the line; the others
    return an empty one.

    Raises
    ------
    ValueError
        If something the user gave cannot be used: one line.
    """
    config = config_of(job)
    try:
        import torch
    except ImportError:
        raise ClipError(TORCH_IS_MISSING) from None
    from .run_data import target_of, usable
    from .teacher_cache import teacher_scores
    from .teachers import load_teachers
    from .train import make_fabric, train

    engines = load_teachers(config, job.teachers)
    target = target_of(config)
    torch.set_num_threads(job.threads)
    fabric = make_fabric(config)
    is_first = fabric.is_global_zero
    busy = f"{job.out}: another run trains the {job.kind} network there; give another --out"
    with alone(job.out / f".{job.kind}.lock", busy) if is_first else nullcontext():
        with fabric.rank_zero_first():  # the others find its features
            index = read_clips(job)
            wanted = [*index.split("training"), *index.split("validation")]
            cached = usable(features_of(wanted, job.data, job.cache, job.processes), config, target)
        clips = [clip for clip in cached if clip.clip.split == "training"]
        validation = [clip for clip in cached if clip.clip.split == "validation"]
        teachers = None
        if engines:
            with (
                fabric.rank_zero_first(),
                counting("asking the teachers", sum(clip.n_steps for clip in clips)) as advance,
            ):
                place = job.features / "teachers"
                teachers = teacher_scores(clips, engines, place, progress=advance)
        bar = losses(f"training {job.kind}", config.steps) if is_first else nullcontext()
        with bar as progress:
            result = train(
                config,
                clips,
                validation,
                job.out,
                teachers=teachers,
                resume=not job.fresh,
                progress=progress,
                fabric=fabric,
            )
        if not is_first:
            return ""
        path = export_best(job, config, result, clips, validation, engines)
    return (
        f"{path}: clip AUC {result.auc:.3f} on {len(validation)} validation clips "
        f"(best of {len(result.history)} validations, step {result.step})"
    )


def export_best(
    job: TrainJob,
    config: TrainConfig,
    result: "Result",
    clips: list[CachedClip],
    validation: list[CachedClip],
    teachers: dict[str, Engine],
) -> Path:
    """Write the best state of a run as ONNX, with where it comes from, and return the path."""
    import torch

    from ..engines.export import export, make_header
    from .train import load_network

    net, _ = load_network(result.best)
    provenance = {
        "supervision": "tags of whole clips" if job.kind != "action" else config.target,
        "config": config.to_dict() | {"init_from": Path(config.init_from).name},
        "data": describe(clips),
        "validation": describe(validation),
        "best_step": result.step,
        "validation_clip_auc": round(result.auc, 4),
        "torch": torch.__version__.split("+")[0],
        "teachers": {which: engine.header.name for which, engine in teachers.items()},
    }
    path = job.out / f"{job.kind}.onnx"
    suffix = f"-{config.target}" if job.kind == "action" else ""
    name = job.name or f"{job.kind}-{config.width:g}{suffix}"
    export(net, path, make_header(net, name, provenance=provenance))
    return path


def read_clips(job: TrainJob) -> ClipIndex:
    """Return the clips of a job, and say which were skipped.

    Raises
    ------
    ValueError
        If there are none: one line.
    """
    paths = {} if job.annotations is None else {"annotations": job.annotations}
    index = read(job.dataset or guess(job.data), job.data, **paths)
    report_skipped(index.skipped)
    return index


def features_of(
    clips: Sequence[Clip], data: Path, cache: Path | None, processes: int
) -> list[CachedClip]:
    """Return the clips with their features, computing those that are not in the cache."""
    with counting("features", len(clips)) as advance:
        cached, skipped = cache_clips(
            clips, cache or data / ".features", processes=processes, progress=advance
        )
    report_skipped(skipped)
    return cached


def describe(clips: list[CachedClip]) -> dict[str, Any]:
    """Return which clips were used, for a model's header."""
    seeds = [clip.clip.seed for clip in clips if clip.clip.seed is not None]
    described: dict[str, Any] = {"clips": len(clips), "steps": sum(c.n_steps for c in clips)}
    if seeds:
        described |= {"source": "bandstand", "seeds": f"{min(seeds)} to {max(seeds)}"}
    return described


def report_skipped(skipped: Sequence[tuple[str, str]]) -> None:
    """Say on standard error how many clips were left out, and why the first was."""
    if skipped:
        name, reason = skipped[0]
        reason = reason if name in reason else f"{name}: {reason}"
        print(f"skipped {len(skipped)} of the clips, the first: {reason}", file=sys.stderr)
