"""The work behind the offline commands: features, training and export, evaluation.

Says what it skips on standard error and shows progress; `commands` parses and prints. PyTorch is
imported only to train.
"""

import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..engines import load
from ..engines.catalogue import find_models
from ..engines.engine import Engine, Kind, ModelError
from ..engines.metadata import parse_model, read_header, read_model, write_header
from ..stream.config import Latency
from .cache import CachedClip, cache_clips
from .clips import Clip, ClipError, index_clips, load_truth
from .config import RECIPES
from .evaluate import FUSED, Evaluation
from .progress import counting, losses
from .scores import cached_inputs, fits_cache, read_inputs, score_clip

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
        Fields of `TrainConfig` to take instead of the recipe's; None leaves the recipe's.
    threads, processes : int
        Of PyTorch; for features.
    cache : Path or None
        Folder for features; `.features` in the folder of clips if None.
    fresh : bool
        Do not go on from a checkpoint.
    name : str or None
        In the ONNX file's header.
    teachers : dict of kind to Path or None
        Trained models, for the action network.
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


def run_training(job: TrainJob) -> str:
    """Train a network, export its best state, and return a line that says how it went.

    Raises
    ------
    ValueError
        If something the user gave cannot be used: one line.
    """
    try:
        import torch
    except ImportError:
        raise ClipError(TORCH_IS_MISSING) from None
    from ..engines.export import export, make_header
    from .datasets import same_size
    from .targets import parse_target
    from .train import load_network, train

    if job.recipe not in RECIPES:
        raise ClipError(f"--recipe {job.recipe}: one of {', '.join(RECIPES)}")
    given = {key: value for key, value in job.settings.items() if value is not None}
    config = replace(RECIPES[job.recipe][job.kind], **given)
    engines: dict[str, Engine] = {}
    if job.kind == "action":
        target = parse_target(config.target)
        needed = {"sound": target.needs_sound, "object": target.needs_object}
        for which, path in job.teachers.items():
            if path is not None and needed[which]:
                engines[which] = load_teacher(path, which)
        missing = [
            which for which, is_needed in needed.items() if is_needed and which not in engines
        ]
        if missing:
            raise ClipError(f"target {config.target} needs --{missing[0]}, a trained model")
    torch.set_num_threads(job.threads)
    index = index_clips(job.data)
    report_skipped(index.skipped)
    wanted = [*index.split("training"), *index.split("validation")]
    cached, others = same_size(features_of(wanted, job.data, job.cache, job.processes))
    report_skipped(others)
    clips = [clip for clip in cached if clip.clip.split == "training"]
    validation = [clip for clip in cached if clip.clip.split == "validation"]
    teachers = teacher_scores(clips, engines) if engines else None
    with losses(f"training {job.kind}", config.steps) as progress:
        result = train(
            config,
            clips,
            validation,
            job.out,
            teachers=teachers,
            resume=not job.fresh,
            progress=progress,
        )
    net, _ = load_network(result.best)
    provenance = {
        "supervision": "tags of whole clips" if job.kind != "action" else config.target,
        "config": config.to_dict(),
        "data": describe(clips),
        "validation": describe(validation),
        "best_step": result.step,
        "validation_clip_auc": round(result.auc, 4),
        "torch": torch.__version__.split("+")[0],
        "teachers": {which: engine.header.name for which, engine in engines.items()},
    }
    path = job.out / f"{job.kind}.onnx"
    suffix = f"-{config.target}" if job.kind == "action" else ""
    name = job.name or f"{job.kind}-{config.width:g}{suffix}"
    export(net, path, make_header(net, name, provenance=provenance))
    return (
        f"{path}: clip AUC {result.auc:.3f} on {len(validation)} validation clips "
        f"(best of {len(result.history)} validations, step {result.step})"
    )


def run_evaluation(
    folder: Path,
    models: Path | None,
    split: str,
    cache: Path | None,
    processes: int,
    latency: Latency = "normal",
) -> dict[str, Any]:
    """Return the figures of the models that `detect` would use, on one split or on `all`.

    With `latency` "low", of what a live run with low latency would say; the cache holds nothing for
    that, so each clip is decoded.

    Raises
    ------
    ValueError
        If there is no such clip, or the models cannot be used: one line.
    """
    found_models = find_models(models)
    engines: dict[str, Engine] = {name: model for name, model in found_models.load().items()}
    index = index_clips(folder)
    report_skipped(index.skipped)
    chosen = [clip for clip in index.clips if split in ("all", clip.split)]
    if not chosen:
        raise ClipError(f"{folder}: no clip of the split {split}; try --split all")
    evaluation = Evaluation(found_models.labels, found_models.decoding)
    is_cached = latency == "normal" and fits_cache(engines)
    found = features_of(chosen, folder, cache, processes) if is_cached else []
    cached = {clip.clip.name: clip for clip in found}
    with counting("evaluating", len(chosen)) as advance:
        for done, clip in enumerate(chosen, 1):
            advance(done - 1, len(chosen))
            if is_cached and clip.name not in cached:
                continue  # reported already
            inputs = (
                cached_inputs(cached[clip.name])
                if is_cached
                else read_inputs(clip.path, engines, latency)
            )
            evaluation.add(clip.name, load_truth(clip.truth), score_clip(engines, inputs))
    report = evaluation.report()
    report["split"] = split
    report["latency"] = latency
    report["models"] = {
        kind: {"name": engine.header.name, "hash": engine.hash} for kind, engine in engines.items()
    }
    report["decoding"] = found_models.decoding.model_dump()
    return report


def record(report: dict[str, Any], models: Path) -> list[Path]:
    """Write the figures of a report into the headers of a folder's models; return their paths.

    Raises
    ------
    ModelError
        If a model cannot be read or written.
    """
    fused = report["outputs"][FUSED]
    figures = {
        "split": report["split"],
        "n_clips": report["n_clips"],
        "temporal_auc": round(fused["temporal_auc"]["mean"], 3),
        "spatial_px_median": round(fused["spatial_px"]["median"], 1),
    }
    own: dict[Kind, dict[str, float]] = {
        "sound": {"frame_auc": report["sound_frame_auc"]["mean"]},
        "object": {"hit_rate": report["object_hit_rate"]["mean"]},
        "action": {"temporal_auc": report["outputs"]["action"]["temporal_auc"]["mean"]},
    }
    paths = []
    for kind, alone in own.items():
        path = models / f"{kind}.onnx"
        proto = parse_model(read_model(path), str(path))
        header = read_header(path)
        rounded = {name: round(value, 3) for name, value in alone.items()}
        provenance = header.provenance | {"figures": {"alone": rounded, "fused": figures}}
        write_header(proto, header.model_copy(update={"provenance": provenance}))
        part = path.with_name(path.name + ".part")
        part.write_bytes(proto.SerializeToString(deterministic=True))
        part.replace(path)
        paths.append(path)
    return paths


def load_teacher(path: Path, kind: str) -> Engine:
    """Return a trained model as an engine: an ONNX file, or a checkpoint of `playspot train`.

    Raises
    ------
    ValueError
        If it cannot be used, or is of another kind.
    """
    if path.suffix != ".pt":
        engine = load(path)
    else:
        from ..engines.export import export, make_header
        from .train import load_network

        net, _ = load_network(path)
        with tempfile.TemporaryDirectory() as folder:
            exported = Path(folder) / f"{path.stem}.onnx"
            export(net, exported, make_header(net, path.stem))
            engine = load(exported)
    if engine.header.kind != kind:
        raise ModelError(f"{path}: is a {engine.header.kind} model, --{kind} needs a {kind} model")
    return engine


def teacher_scores(clips: list[CachedClip], engines: dict[str, Engine]) -> dict[str, Any]:
    """Return what the teachers say of each clip, `datasets.TeacherScores` by clip name."""
    from .datasets import TeacherScores

    found = {}
    is_cached = fits_cache(engines)
    with counting("asking the teachers", len(clips)) as advance:
        for done, clip in enumerate(clips, 1):
            inputs = cached_inputs(clip) if is_cached else read_inputs(clip.clip.path, engines)
            scores = score_clip(engines, inputs)
            longer = max(scores.width, scores.height)
            geometry = scores.object_geometry
            found[clip.clip.name] = TeacherScores(
                scores.sound,
                scores.object_map,
                geometry.stride / longer if geometry else 1.0,
                geometry.offset / longer if geometry else 0.0,
            )
            advance(done, len(clips))
    return found


def features_of(
    clips: list[Clip], data: Path, cache: Path | None, processes: int
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


def report_skipped(skipped: "tuple[tuple[str, str], ...] | list[tuple[str, str]]") -> None:
    """Say on standard error how many clips were left out, and why the first was."""
    if skipped:
        name, reason = skipped[0]
        reason = reason if name in reason else f"{name}: {reason}"
        print(f"skipped {len(skipped)} of the clips, the first: {reason}", file=sys.stderr)
