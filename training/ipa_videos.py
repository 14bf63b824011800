"""YT8M-IPA with its videos: what the models say of the annotated frames, by the paper's metrics.

In: annotations (`ipa.read_annotations`) and a folder of videos named by their ids. The four
fragments of a video are read as clips of their own, as the authors did: the time line begins anew
in each, and neither flow nor sound reaches over its ends.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..stream.sources import FileSource
from .clips import ClipError
from .evaluate import OUTPUTS, paper_maps
from .ipa import FRAGMENTS, FRAMES, Annotations, Video, fragments
from .media_files import VIDEO_SUFFIXES, MediaFiles
from .model_scores import ModelScores
from .paper_metrics import PaperTally, Size, picture_size, places
from .scores import ClipScores


def find_videos(folder: Path, annotations: Annotations) -> tuple[dict[str, Path], list[str]]:
    """Return the video file of each id that has one below a folder, and the ids without.

    Raises
    ------
    ClipError
        If the folder holds none of them.
    """
    files = MediaFiles(folder)
    wanted = {video.id for video in annotations.videos}
    found = {
        name: path
        for name in sorted(wanted)
        if (path := files.find(name)) is not None and path.suffix.lower() in VIDEO_SUFFIXES
    }
    if not found:
        raise ClipError(f"{folder}: none of the {len(wanted)} videos is here, expected <id>.mp4")
    return found, sorted(wanted - found.keys())


def with_sizes(
    annotations: Annotations, videos: Mapping[str, Path]
) -> tuple[Annotations, list[tuple[str, str]]]:
    """Return the annotations with the sizes of the videos that are there, and those unreadable."""
    sizes: dict[str, Size] = {}
    skipped = []
    for name, path in videos.items():
        try:
            with FileSource(path) as source:
                if not source.info.has_video:
                    raise ClipError("no picture in it")
                sizes[name] = picture_size(source.info.width, source.info.height)
        except ValueError as error:
            skipped.append((name, str(error)))
    sized = tuple(replace(v, size=sizes.get(v.id, v.size)) for v in annotations.videos)
    return replace(annotations, videos=sized), skipped


def score_videos(
    annotations: Annotations, videos: Mapping[str, Path], scorer: ModelScores
) -> dict[str, Any]:
    """Return the figures of the models on the videos that are there.

    Returns
    -------
    report : dict
        `outputs`: for each output `{"paper": ...}`, as `Evaluation.report` has it; `n_videos`.

    Raises
    ------
    ClipError
        If no video could be scored.
    """
    labels = scorer.found.labels
    clips = {name: fragments(path) for name, path in videos.items()}
    wanted = [clip for parts in clips.values() for clip in parts]
    names = {clip.name: (name, n) for name, parts in clips.items() for n, clip in enumerate(parts)}
    found: dict[str, dict[int, ClipScores]] = {}
    tallies = {output: PaperTally() for output in OUTPUTS}
    n_videos = 0
    for clip, scores in scorer.of(wanted):
        name, number = names[clip.name]
        found.setdefault(name, {})[number] = scores
    for video in annotations.videos:
        if video.id in found and video.label in labels and video.size is not None:
            n_videos += 1
            for output, tally in tallies.items():
                _measure(tally, video, found[video.id], output, labels.index(video.label))
    if not n_videos:
        reason = f", the first: {': '.join(scorer.skipped[0])}" if scorer.skipped else ""
        raise ClipError(f"none of the {len(videos)} videos could be scored{reason}")
    reports = {
        output: {"paper": tally.report(annotations.labels)}
        for output, tally in tallies.items()
        if tally.aucs or tally.distances
    }
    return {"n_videos": n_videos, "outputs": reports}


def _measure(
    tally: PaperTally, video: Video, scores: Mapping[int, ClipScores], output: str, k: int
) -> None:
    """Add the frames of a video that are annotated and have scores."""
    kept: list[NDArray[np.float32]] = []
    points = []
    for number in range(len(FRAGMENTS)):
        maps = paper_maps(scores[number], output) if number in scores else None
        if maps is None:
            continue
        frames = video.frames[number * FRAMES : (number + 1) * FRAMES]
        for score_map, some in zip(maps[:, k], frames, strict=False):  # a video may end early
            if some is not None:
                kept.append(score_map)
                points.append(some)
    if kept and video.size is not None:
        maps = np.stack(kept)
        tally.add_times(video.id, video.label, maps, points)
        where = places(maps, points, video.size)
        for name in video.names:
            tally.add_places(name, video.label, where)
