"""The half of an adaptation that learns: targets, training, export, calibration, report."""

import hashlib
import json
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..engines import load
from ..engines.engine import Engine
from ..engines.export import export, make_header
from ..engines.options import ORIGINAL
from ..engines.settings import Decoding
from ..models.labels import LABELS
from ..models.net import Net
from ..stream.fusion import resample
from .adapt import LEAST_POSITIVE, AdaptJob, say
from .adapt_agreement import Heard, agreement, on_grid, written
from .adapt_calibrate import calibrate
from .adapt_clips import counts, framed, tagged, verdict
from .adapt_models import Teachers, copy_file, copy_teachers, write_decoding
from .batches import TeacherScores
from .cache import CachedClip
from .clips import ClipError
from .config import TrainConfig
from .progress import counting, losses
from .run_data import target_of
from .scores import cached_inputs, score_clip
from .targets import Target, binarise
from .teacher_cache import stamp_of, teacher_scores
from .train import Result, load_network, train

Scores = Mapping[str, TeacherScores]
Verdicts = Mapping[str, NDArray[np.bool_]]

ONNX = "action.onnx"
UNDECIDED = 0.25  # a score below every threshold, and far from 0
PROBE_STEPS = 12  # of training, to see how long one takes


@dataclass(frozen=True)
class Adapted:
    """What an adaptation has made, for its report.

    Attributes
    ----------
    job : AdaptJob
    config : TrainConfig
    teachers : dict of modality to str
        Names of the models before: sound, object, and action.
    clips : list of CachedClip
        Of all splits.
    scores : mapping of clip name to TeacherScores
    verdicts : mapping of clip name to bool, shape (N, K)
    result : Result
    before, after : dict of clip name to Heard
        Of validation and held-out part, with the action model of before and the adapted one.
    figures : dict
        `before` and `after`: `adapt_agreement.agreement` on the held-out part.
    decoding : Decoding
    calibrated : str
        How the decoding was found.
    difference : float
        Largest between PyTorch and the ONNX file.
    learnt : list of str
        Labels with enough targets to learn from.
    """

    job: AdaptJob
    config: TrainConfig
    teachers: dict[str, str]
    clips: list[CachedClip]
    scores: Scores
    verdicts: Verdicts
    result: Result
    before: dict[str, Heard]
    after: dict[str, Heard]
    figures: dict[str, Any]
    decoding: Decoding
    calibrated: str
    difference: float
    learnt: list[str]

    def split(self, name: str) -> list[CachedClip]:
        """Return the clips of one split."""
        return [clip for clip in self.clips if clip.clip.split == name]


def adapt(
    job: AdaptJob,
    teachers: Teachers,
    engines: Mapping[str, Engine],
    clips: Sequence[CachedClip],
) -> list[str]:
    """Adapt an action model to clips with features, and return lines that say how it went."""
    target = target_of(job.config)
    assert target is not None  # `run_adapt` has looked
    n_steps = sum(clip.n_steps for clip in clips)
    with counting("asking the teachers", 2 * n_steps) as advance:
        scores = teacher_scores(clips, engines, job.work / "targets", progress=advance)
    found = {clip.clip.name: verdict(scores[clip.clip.name], target) for clip in clips}
    usable = [tagged(clip, found[clip.clip.name]) for clip in clips if len(found[clip.clip.name])]
    say(check_counts(job, usable, found))
    learnt = learnt_labels(usable, found)
    result, config = learn(job, usable, scores, engines)
    action, difference = exported(config, engines, usable, result, learnt)
    judged = [clip for clip in usable if clip.clip.split != "training"]
    before = heard(judged, scores, found, teachers.load("action")["action"], target, "before")
    after = heard(judged, scores, found, action, target, "after")
    by_split = {c.clip.name: c.clip.split for c in judged}
    decoding, how = calibrate(
        {name: part for name, part in before.items() if by_split[name] == "validation"},
        after,
        teachers.decoding,
        learnt,
    )
    write_decoding(decoding, how, job.out)
    copy_teachers(teachers, job.out)
    copy_file(result.best.parent / ONNX, job.out / ONNX)
    held_out = [name for name, split in by_split.items() if split == "test"]
    figures = {
        "before": agreement([before[name] for name in held_out], teachers.decoding, learnt),
        "after": agreement([after[name] for name in held_out], decoding, learnt),
    }
    adapted = Adapted(
        job,
        config,
        {kind: model.header.name for kind, model in teachers.models.items()},
        usable,
        scores,
        found,
        result,
        before,
        after,
        figures,
        decoding,
        how,
        difference,
        learnt,
    )
    from .adapt_report import write_report

    report = write_report(adapted)
    return [
        *summary(adapted),
        f"report: {report}",
        f"use it: playspot detect FILE --models {job.out}",
    ]


def exported(
    config: TrainConfig,
    engines: Mapping[str, Engine],
    clips: Sequence[CachedClip],
    result: Result,
    learnt: Sequence[str],
) -> tuple[Engine, float]:
    """Return the engine of a trained action model, and how far it is from PyTorch.

    Its file lies beside the checkpoint that it was made of.
    """
    path = result.best.parent / ONNX
    told = path.with_suffix(".json")
    stamp = [result.best.stat().st_mtime_ns, *learnt]
    try:
        known = json.loads(told.read_text(encoding="utf-8"))
        if known["stamp"] == stamp:
            return load(path, options=ORIGINAL), float(known["difference"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    net, _ = load_network(result.best)
    leave_undecided(net, [label for label in LABELS if label not in learnt])
    provenance = {
        "learnt": learnt,
        "supervision": f"{config.target}: {', '.join(e.header.name for e in engines.values())}",
        "config": config.to_dict(),
        "adapted_to": {"parts": len(clips), "steps": sum(clip.n_steps for clip in clips)},
        "best_step": result.step,
        "torch": torch.__version__.split("+")[0],
    }
    difference = export(net, path, make_header(net, "adapted-action", provenance=provenance))
    told.write_text(json.dumps({"stamp": stamp, "difference": difference}), encoding="utf-8")
    return load(path, options=ORIGINAL), difference


def leave_undecided(net: Net, labels: Sequence[str]) -> None:
    """Make an action model say the same, `UNDECIDED`, of labels that it had nothing to learn of.

    It has learnt that they are never played, of which it knows nothing: fused with its 0, what both
    teachers are sure of would be lost.
    """
    last = getattr(net, "conv8", None)
    if isinstance(last, torch.nn.Conv2d) and last.bias is not None:
        with torch.no_grad():
            for label in labels:
                last.weight[LABELS.index(label)] = 0
                last.bias[LABELS.index(label)] = math.log(UNDECIDED / (1 - UNDECIDED))


def learnt_labels(clips: Sequence[CachedClip], found: Verdicts) -> list[str]:
    """Return the labels with enough positive targets in the training part."""
    n = counts([found[clip.clip.name] for clip in clips if clip.clip.split == "training"])
    return [label for label, number in n.items() if number >= LEAST_POSITIVE]


def check_counts(job: AdaptJob, clips: Sequence[CachedClip], found: Verdicts) -> str:
    """Return a line that says how many positive targets each label has in the training part.

    Raises
    ------
    ClipError
        If no label has enough of them.
    """
    training = [found[clip.clip.name] for clip in clips if clip.clip.split == "training"]
    n = counts(training)
    listed = ", ".join(f"{label} {number}" for label, number in n.items() if number) or "none"
    if max(n.values(), default=0) < LEAST_POSITIVE:
        raise ClipError(
            f"{job.folder}: nothing of the nine is heard and seen often enough to learn from "
            f"(steps that reach {job.config.target}: {listed}; needed {LEAST_POSITIVE} of one); "
            "give more recordings, or lower thresholds such as --target SOT0302"
        )
    return f"targets {job.config.target}, steps in the training part: {listed}"


def run_folder(
    job: AdaptJob, config: TrainConfig, clips: Sequence[CachedClip], engines: Mapping[str, Engine]
) -> Path:
    """Return the folder of this very training; those of others in OUT/work are removed.

    A run goes on only where it has the same recordings, teachers and settings as before.
    """
    told = {
        "config": config.to_dict(),
        "clips": {clip.clip.name: stamp_of(clip) for clip in clips},
        "teachers": {kind: engine.hash for kind, engine in engines.items()},
    }
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]
    folder = job.work / f"run-{digest}"
    for other in job.work.glob("run-*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    return folder


def learn(
    job: AdaptJob,
    clips: Sequence[CachedClip],
    scores: Scores,
    engines: Mapping[str, Engine],
) -> tuple[Result, TrainConfig]:
    """Train the action model, or go on with it; return the result and the settings."""
    sizes = [clip.flows.shape[2:] for clip in clips]
    height, width = max(h for h, _ in sizes), max(w for _, w in sizes)
    of_one_size, targets = framed(clips, scores, height, width)
    training = [clip for clip in of_one_size if clip.clip.split == "training"]
    validation = [clip for clip in of_one_size if clip.clip.split == "validation"]
    config = job.config
    if job.minutes is not None:
        config = config.replace(steps=steps_for(job, config, training, validation, targets))
    with losses("training action", config.steps) as progress:
        result = train(
            config,
            training,
            validation,
            run_folder(job, config, clips, engines),
            teachers=dict(targets),
            resume=not job.fresh,
            progress=progress,
        )
    return result, config


def steps_for(
    job: AdaptJob,
    config: TrainConfig,
    training: Sequence[CachedClip],
    validation: Sequence[CachedClip],
    targets: Scores,
) -> int:
    """Return how many training steps fit into the minutes asked for; measured once, then kept."""
    place = job.work / "minutes.json"
    asked = {"minutes": job.minutes, "threads": job.threads, "config": config.to_dict()}
    try:
        kept = json.loads(place.read_text(encoding="utf-8"))
        if kept["asked"] == asked:
            return max(1, int(kept["steps"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    times: list[float] = []
    probe = config.replace(steps=PROBE_STEPS, validate_every=PROBE_STEPS)
    train(
        probe,
        training,
        validation,
        job.work / "probe",
        teachers=dict(targets),
        resume=False,
        progress=lambda _: times.append(time.perf_counter()),
    )
    seconds = float(np.median(np.diff(times[1:-1])))  # the last one holds a validation
    steps = max(1, int(60 * (job.minutes or 0) / seconds))
    place.write_text(json.dumps({"asked": asked, "steps": steps}), encoding="utf-8")
    return steps


def heard(
    clips: Sequence[CachedClip],
    scores: Scores,
    found: Verdicts,
    action: Engine,
    target: Target,
    when: str,
) -> dict[str, Heard]:
    """Return what an action model says of clips, beside what the teachers say."""
    parts: dict[str, Heard] = {}
    with counting(f"the action model {when}", len(clips)) as advance:
        for done, clip in enumerate(clips, 1):
            name = clip.clip.name
            said = score_clip({"action": action}, cached_inputs(clip))
            own = scores[name]
            assert said.action is not None
            assert said.action_geometry is not None
            seen = on_grid(own, clip.pictures.shape[1:3]) if own.object_map is not None else None
            shape = (said.height, said.width)
            grid = seen.shape[2:] if seen is not None else shape
            maps = np.stack([resample(row, said.action_geometry, grid) for row in said.action])
            assert own.sound is not None  # without it there is no verdict
            sound = own.sound
            parts[name] = Heard(
                str(clip.clip.path),
                sound,
                seen if seen is not None else np.ones_like(maps),
                maps,
                found[name],
                binarise(sound, target.sound_threshold or 0.5) > 0,
            )
            advance(done, len(clips))
    return parts


def summary(adapted: Adapted) -> list[str]:
    """Return lines with the figures of the held-out part."""
    rows = [
        ("AUC in time against the sound teacher", "temporal_auc", "average", "{:.3f}"),
        ("AUC over all steps", "auc_over_all", "average", "{:.3f}"),
        ("px to the object teacher's place", "spatial_px", "average", "{:.1f}"),
        ("top label is the teachers'", "top1", "average", "{:.2f}"),
    ]
    n_steps = sum(clip.n_steps for clip in adapted.split("test"))
    lines = [f"held-out part, {n_steps} steps: agreement with the teachers, before -> after"]
    for what, key, field, form in rows:
        old, new = adapted.figures["before"][key], adapted.figures["after"][key]
        lines.append(
            f"  {what}: {written(old[field], form)} -> {written(new[field], form)} (n {new['n']})"
        )
    return [*lines, f"fusion: {adapted.calibrated}"]
