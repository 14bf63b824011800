"""`playspot benchmark flow`: the ways to compute optical flow, what they cost and what they change.

In: a rendered scene, and recordings if wanted. Out: one JSON document of schema
`playspot/benchmark-flow/1`: ms a pair by size and batch, the end-point difference to OpenCV's
Farneback (px), and, on clips with truth, temporal AUC and distance of the action model.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ..engines.engine import ModelError
from ..engines.flow_net import flow_model
from ..engines.metadata import one_line
from ..engines.options import ORIGINAL, EngineOptions
from ..stream.flow import stack_flow
from ..stream.flow_method import Dis, Farneback, FlowMethod
from ..stream.flow_network import NetworkFlow
from ..stream.fusion import Geometry
from .benchmark import one_thread
from .benchmark_engines import more_versions
from .benchmark_inputs import greys_of, rendered_scene
from .benchmark_report import machine, versions
from .benchmark_rounds import figures, time_rounds
from .benchmark_ways import BACKENDS, Subject, open_ways
from .evaluate import Evaluation
from .progress import counting
from .scores import BATCH, ClipScores

SCHEMA: Final = "playspot/benchmark-flow/1"
SIZES: Final = ((144, 256), (192, 256), (256, 192), (96, 128))  # height, width
REFERENCE: Final = "OpenCV Farneback"
PRESETS: Final = {
    "DIS ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "DIS fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "DIS medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
NETWORK: Final = "network"
LONGEST: Final = 10.0  # s of each recording that are looked at


@dataclass(frozen=True)
class FlowJob:
    """What `playspot benchmark flow` was asked for.

    Attributes
    ----------
    batches : tuple of int
        Pairs of frames that follow each other.
    seconds : float
        For each size and batch, all ways together.
    clips : Path or None
        Folder of recordings, for the difference.
    n_quality : int
        Clips of the bandstand on which the action model is tried with each way; 0: none.
    models : Path or None
        Folder of that model; that of `detect` if None.
    device : int
    """

    batches: tuple[int, ...] = (1, 4, 16)
    seconds: float = 5.0
    clips: Path | None = None
    n_quality: int = 0
    models: Path | None = None
    device: int = 0


def run(job: FlowJob) -> dict[str, Any]:
    """Return the JSON document.

    Raises
    ------
    ValueError
        If recordings or models cannot be used: one line.
    """
    scenes = [] if job.clips is None else _recorded(job.clips)
    with rendered_scene() as scene:
        greys = greys_of(scene)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "machine": machine(),
        "versions": versions() | more_versions(),
        "rows": [],
        "skipped": {},
    }
    with one_thread() as pool, counting("flow", len(SIZES)) as advance:
        for done, size in enumerate(SIZES, 1):
            rows, skipped = pool.submit(measure, resized(greys, size), job).result()
            document["rows"] += rows
            document["skipped"] |= skipped
            advance(done, len(SIZES))
    document["difference"] = {
        "rendered": difference([resized(greys, size) for size in SIZES], job.device)
    }
    if job.clips is not None:
        document["difference"]["recordings"] = difference(scenes, job.device)
    document["quality"] = quality(job) if job.n_quality else None
    return document


def measure(greys: NDArray[np.uint8], job: FlowJob) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return what a pair costs each way, by batch, and what could not be tried.

    Parameters
    ----------
    greys : uint8, shape (N, H, W)
        At least one more than the largest batch.
    job : FlowJob
    """
    cv2.setNumThreads(1)
    size = f"{greys.shape[2]}x{greys.shape[1]}"
    subject = Subject("flow", "the flow network", {"fp32": flow_model()}, greys[None])
    networks, skipped = open_ways(subject, tuple(BACKENDS), device=job.device)
    opencv: dict[str, FlowMethod] = {REFERENCE: Farneback()}
    opencv |= {name: Dis(preset) for name, preset in PRESETS.items()}
    rows = []
    try:
        for n in job.batches:
            frames = greys[np.arange(n + 1) % len(greys)]
            pairs = list(pairwise(frames))
            calls: dict[str, Any] = {
                name: partial(method.flows, pairs) for name, method in opencv.items()
            }
            batch = np.ascontiguousarray(frames[None])
            calls |= {f"{NETWORK}, {way.name}": partial(way.run, batch) for way in networks}
            for name, taken in time_rounds(calls, job.seconds, skipped).items():
                found = figures(taken, n)
                row = {"size": size, "batch": n, "way": name, "n": found["n"]}
                row |= {key: found[key] / n for key in ("p50_ms", "p95_ms", "p99_ms")}
                rows.append(row)
    finally:
        for way in networks:
            way.close()
    return rows, skipped


def resized(greys: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return grey frames of another size, height and width; the picture is stretched."""
    height, width = size
    return np.stack(
        [cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA) for grey in greys]
    )


def difference(scenes: Iterable[NDArray[np.uint8]], device: int = 0) -> list[dict[str, Any]]:
    """Return the end-point difference of each way to OpenCV's Farneback, over all pairs.

    Parameters
    ----------
    scenes : iterable of uint8, shape (N, H, W)
        Frames that follow each other.
    device : int

    Returns
    -------
    rows : list of dict
        `mean`, `p99` and `largest`, px; the worst scene's mean and p99; `n_pairs`.
    """
    found: dict[str, list[NDArray[np.float32]]] = {}
    for greys in scenes:
        pairs = list(pairwise(greys))
        expected = np.stack(Farneback().flows(pairs))
        for name, method in _methods(device).items():
            flows = np.stack(method.flows(pairs))  # (N - 1, 2, H, W)
            found.setdefault(name, []).append(np.hypot(*(flows - expected).transpose(1, 0, 2, 3)))
            method.close()
    rows = []
    for name, scene in found.items():
        every = np.concatenate([distance.ravel() for distance in scene])
        rows.append(
            {
                "way": name,
                "mean": float(every.mean()),
                "p99": float(np.percentile(every, 99)),
                "largest": float(every.max()),
                "worst_mean": max(float(distance.mean()) for distance in scene),
                "worst_p99": max(float(np.percentile(distance, 99)) for distance in scene),
                "n_pairs": sum(len(distance) for distance in scene),
                "n_scenes": len(scene),
            }
        )
    return rows


def quality(job: FlowJob) -> list[dict[str, Any]]:
    """Return what the action model makes of each way on clips that no model was trained on.

    Raises
    ------
    ModelError
        If the action model does not take flow.
    """
    from ..engines.catalogue import find_models
    from .calibration import rendered
    from .clips import load_truth

    found = find_models(job.models)
    model = found.models["action"]
    if model.path is None or model.header.takes != "stacks":
        raise ModelError(f"the action model {model.header.name} takes no flow; give another")
    engine = model.load(ORIGINAL)
    header = model.header
    methods: dict[str, FlowMethod] = {REFERENCE: Farneback(), **_methods(job.device)}
    evaluations = {name: Evaluation(header.labels, found.decoding) for name in methods}
    clips = [clip for clip in rendered("test", job.n_quality) if clip.truth is not None]
    with counting("action model", len(clips)) as advance:
        for done, clip in enumerate(clips, 1):
            greys = greys_of(clip.path)
            truth = load_truth(clip.truth) if clip.truth is not None else {}
            height, width = greys.shape[1:]
            for name, method in methods.items():
                stacks = stack_flow(greys, method)
                maps = [engine(stacks[k : k + BATCH]) for k in range(0, len(stacks), BATCH)]
                scores = ClipScores(
                    len(stacks),
                    width,
                    height,
                    action=np.concatenate(maps),
                    action_geometry=Geometry(width, height, header.stride, header.offset),
                )
                evaluations[name].add(clip.name, truth, scores)
            advance(done, len(clips))
    for method in methods.values():
        method.close()
    engine.close()
    return [_of_action(name, done) for name, done in evaluations.items()]


def _of_action(name: str, evaluation: Evaluation) -> dict[str, Any]:
    report = evaluation.report()
    action = report["outputs"]["action"]
    auc, px = action["temporal_auc"], action["spatial_px"]
    return {
        "way": name,
        "n_clips": report["n_clips"],
        "auc": _known(auc["mean"]),
        "auc_interval": [_known(end) for end in auc["interval"]],
        "n_auc": auc["n"],
        "px": _known(px["median"]),
        "px_interval": [_known(end) for end in px["interval"]],
        "n_px": px["n"],
    }


def _known(number: float) -> float | None:
    """Return a number, or None for what is not known, which JSON has no number for."""
    return number if isfinite(number) else None


def _methods(device: int) -> dict[str, FlowMethod]:
    """Return the ways that may differ from OpenCV's Farneback, the network on what is best."""
    from ..engines.availability import availability

    methods: dict[str, FlowMethod] = {name: Dis(preset) for name, preset in PRESETS.items()}
    backend: Any = "cuda" if availability("cuda", device).is_there else "onnx"
    try:
        network = NetworkFlow(EngineOptions(engine=backend, device=device))
    except ModelError:
        return methods
    return {**methods, f"{NETWORK}, {network.backend}": network}


def _recorded(folder: Path) -> list[NDArray[np.uint8]]:
    from .calibration import recordings

    scenes: list[NDArray[np.uint8]] = []
    reasons: list[str] = []
    clips = recordings(folder)
    with counting("recordings", len(clips)) as advance:
        for done, clip in enumerate(clips, 1):
            try:
                scenes.append(greys_of(clip.path, LONGEST))
            except ValueError as error:
                reasons.append(one_line(error))
            advance(done, len(clips))
    if not scenes:
        raise ValueError(f"{folder}: no recording with pictures ({reasons[0]})")
    return scenes
