"""The work behind `playspot evaluate`: which clips, what the models say of them, the figures.

Says what it skips on standard error and shows progress; `evaluate_command` parses and prints.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..engines.engine import Kind
from ..engines.metadata import parse_model, read_header, read_model, write_header
from ..engines.options import EngineOptions
from ..stream.config import Latency
from ..stream.whole_file import whole_file
from .clips import Clip, ClipError, ClipIndex, index_clips, load_truth
from .evaluate import FUSED, Evaluation, detected_maps, played_steps
from .jobs import report_skipped
from .model_scores import ModelScores
from .picture_hits import PictureHits
from .scores import ClipScores
from .sound_frames import SoundFrames
from .standard_metrics import StandardMetrics

Report = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What `playspot evaluate` was asked for.

    Attributes
    ----------
    root : Path
        Folder of the data set.
    dataset : {"bandstand", "ipa", "medleydb", "imagenet"}
    media : Path or None
        Folder of videos, sounds or pictures, where they are not below `root`.
    predictor : {"models", "center"}
    models : Path or None
        Folder of models; those of `detect` if None.
    split : str
        Of clips that are in splits; `all` takes all.
    cache : Path or None
        Folder for features; `.features` in `root` if None.
    processes : int
        That compute features.
    latency : {"normal", "low"}
        `low`: what the models say with the past alone.
    options : EngineOptions
        What runs the models.
    """

    root: Path
    dataset: str = "bandstand"
    media: Path | None = None
    predictor: str = "models"
    models: Path | None = None
    split: str = "test"
    cache: Path | None = None
    processes: int = 1
    latency: Latency = "normal"
    options: EngineOptions = field(default_factory=EngineOptions)

    def scorer(self) -> ModelScores:
        """Return the models, ready to score clips."""
        cache = self.cache or self.root / ".features"
        return ModelScores(self.models, cache, self.processes, self.latency, self.options)


def run(request: Request) -> tuple[Report, StandardMetrics | None]:
    """Return the figures that were asked for, and what curves are drawn of where there is any.

    Raises
    ------
    ValueError
        If the data or the models cannot be used: one line.
    """
    if request.dataset == "ipa":
        return run_ipa(request), None
    if request.dataset == "medleydb":
        return run_medleydb(request), None
    if request.dataset == "imagenet":
        return run_imagenet(request), None
    return run_clips(request)


def run_clips(request: Request) -> tuple[Report, StandardMetrics]:
    """Return the figures on clips with a truth beside them.

    Returns
    -------
    report : dict
        `Evaluation.report`, and `standard`: `StandardMetrics.report`.
    measured : StandardMetrics

    Raises
    ------
    ValueError
        If there is no such clip, or the models cannot be used: one line.
    """
    folder, split = request.root, request.split
    scorer = request.scorer()
    index = index_clips(folder)
    report_skipped(index.skipped)
    chosen = [clip for clip in index.clips if split in ("all", clip.split)]
    truths = {clip.name: clip.truth for clip in chosen if clip.truth is not None}
    if not truths:
        raise ClipError(f"{folder}: no clip with a truth in the split {split}; try --split all")
    labels, decoding = scorer.found.labels, scorer.found.decoding
    evaluation = Evaluation(labels, decoding)
    standard = StandardMetrics(labels, decoding)
    for clip, scores in scorer.of(clip for clip in chosen if clip.name in truths):
        try:
            truth = load_truth(truths[clip.name])
        except ClipError as error:
            scorer.skipped.append((clip.name, str(error)))
            continue
        evaluation.add(clip.name, truth, scores)
        maps = detected_maps(scores, labels, decoding)
        if maps is not None:
            standard.add(clip.name, truth, played_steps(truth, labels, scores.n_steps), maps)
    report_skipped(scorer.skipped)
    if not evaluation.clips:
        raise ClipError(f"{folder}: none of the {len(chosen)} clips could be scored")
    report = evaluation.report() | {
        "dataset": request.dataset,
        "standard": standard.report(),
        "split": split,
        "latency": request.latency,
        "n_skipped": len(index.skipped) + len(scorer.skipped),
    }
    return report | scorer.described(), standard


def run_ipa(request: Request) -> Report:
    """Return the figures on YT8M-IPA: of the middle of the picture, or of the models on videos.

    Raises
    ------
    ValueError
        If the annotations, the videos or the models cannot be used: one line.
    """
    from .ipa import center_baseline, read_annotations
    from .ipa_videos import find_videos, score_videos, with_sizes

    annotations = read_annotations(request.root)
    skipped = list(annotations.skipped)
    if request.media is not None:
        videos, missing = find_videos(request.media, annotations)
        skipped += [(name, "no video") for name in missing]
        annotations, unreadable = with_sizes(annotations, videos)
        skipped += unreadable
    if request.predictor == "center":
        report = center_baseline(annotations)
    elif request.media is None:
        raise ClipError(
            "YT8M-IPA comes without videos: name a folder of them, <id>.mp4, with --videos, "
            "or measure --predictor center"
        )
    else:
        scorer = request.scorer()
        report = score_videos(annotations, videos, scorer) | scorer.described()
        skipped += scorer.skipped
    report_skipped(skipped)
    names = {"dataset": "ipa", "predictor": request.predictor, "n_skipped": len(skipped)}
    return report | names


def run_medleydb(request: Request) -> Report:
    """Return the frame AUC of the sound model on the songs of MedleyDB that are there.

    Raises
    ------
    ValueError
        If there is no song, or the models cannot be used: one line.
    """
    from .medleydb import activations, read

    index = read(request.media or request.root, request.root)
    scorer = request.scorer()
    frames = SoundFrames(scorer.found.labels)

    def measure(clip: Clip, scores: ClipScores) -> bool:
        truth = activations(request.root, clip.name)
        if scores.sound is not None:
            frames.add(scores.sound, scores.n_columns, truth)
        return scores.sound is not None

    return _of_set(request, index, scorer, "sound", frames, measure)


def run_imagenet(request: Request) -> Report:
    """Return the hit rate of the object model on the pictures of ImageNet with boxes.

    Raises
    ------
    ValueError
        If there is no picture with boxes, or the models cannot be used: one line.
    """
    from .imagenet import boxes, read

    index = read(request.media or request.root, request.root)
    scorer = request.scorer()
    tally = PictureHits(scorer.found.labels)

    def measure(clip: Clip, scores: ClipScores) -> bool:
        truth = boxes(request.root, clip.path)
        if scores.object_map is not None:
            tally.add(clip.name, truth, scores)
        return scores.object_map is not None

    return _of_set(request, index, scorer, "object", tally, measure)


def _of_set(
    request: Request,
    index: ClipIndex,
    scorer: ModelScores,
    kind: Kind,
    tally: SoundFrames | PictureHits,
    measure: Callable[[Clip, ClipScores], bool],
) -> Report:
    """Return the figures of one model on clips; `measure` says whether there was something."""
    skipped = list(index.skipped)
    n = 0
    for clip, scores in scorer.of(index.clips, kinds=(kind,)):
        try:
            n += measure(clip, scores)
        except ClipError as error:
            skipped.append((clip.name, str(error)))
    skipped += scorer.skipped
    report_skipped(skipped)
    if not n:
        reason = f"; the first: {': '.join(skipped[0])}" if skipped else ""
        raise ClipError(f"{request.root}: nothing could be scored, {len(skipped)} skipped{reason}")
    report = {"dataset": request.dataset, "n_clips": n, "split": "test", "n_skipped": len(skipped)}
    return report | {"outputs": {kind: {"paper": tally.report()}}} | scorer.described()


def record(report: Mapping[str, Any], models: Path) -> list[Path]:
    """Write the figures of a report into the headers of a folder's models; return their paths.

    Raises
    ------
    ClipError
        If nothing was measured of all three models together.
    ModelError
        If a model cannot be read or written.
    """
    if FUSED not in report["outputs"]:
        raise ClipError("--record needs all three models, and clips with picture and sound")
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
        with whole_file(path) as partial:
            partial.write_bytes(proto.SerializeToString(deterministic=True))
        paths.append(path)
    return paths
