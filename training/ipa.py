"""YT8M-IPA, the paper's test set of playing actions: key points of frames of 135 listed videos.

In: a folder as the authors publish it. Out: videos with the key points of each of their 40 frames;
and, for `data_sets`, the four annotated parts of each video that is there as clips.

===============================  ================================================================
`tag_list.instrument.csv`        `Name,index,count`; the order of the labels
`video_id.te.json`               tag -> list of 15 video ids
`action_annotations/te/<Tag>/    frame k of the seconds a to b: (P, 2) as (y, x) in pixels of the
<id>/<a>_<b>.<k>.npy`            picture whose longer side is 256; shape (0,) where nobody plays
`frame_sizes_inferred.json`      `<Tag>/<id>` -> `{"size": [H, W]}`: not part of what is published,
                                 and not needed where the videos are there
videos, anywhere below           `<id>.*`; not published, not needed for the annotations alone
===============================  ================================================================

Frame k of a fragment stands at its first second plus k times 0.512 s: the time line begins anew in
each fragment. One id is listed twice (guitar): the authors' spatial figure counts it twice, as they
walk the list, their temporal figure once, as they key by id; so do `Video.n_listed` and its users.

Source: Liu, Yang and Jeng 2018, sections IV-C2 and V-C, and the files themselves.
"""

import io
import json
import tokenize
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models.labels import LABELS
from ..stream.one_line import reason_of, shown_path
from .clips import Clip, ClipError, ClipIndex, in_one_line, make_index, shown
from .media_files import MediaFiles
from .paper_metrics import SIDE, PaperTally, Size
from .tables import ID, rows, whole_text
from .vocabularies import in_order

Array = NDArray[np.float64]

FRAGMENTS = ((0, 5), (5, 10), (30, 35), (35, 40))  # seconds
FRAMES = 10  # a fragment
POINTS_MAX = 64  # key points of a frame; the published ones have 8 at most
NPY_BYTES_MAX = 128 + 16 * POINTS_MAX + 10_000  # header and points
TAGS = {label.capitalize(): label for label in LABELS} | {"Drummer": "drum"}


@dataclass(frozen=True)
class Video:
    """One tag of one video.

    Attributes
    ----------
    label, id : str
    size : (H, W) or None
        Of the pictures in which the points were set; None where only the video can tell.
    frames : tuple of float arrays (n, 2), or None
        Key points (y, x) of the frames of all fragments, in order; None for a frame whose file is
        missing or broken.
    n_listed : int
        How often the id is in the list.
    """

    label: str
    id: str
    size: Size | None
    frames: tuple[Array | None, ...]
    n_listed: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        """One name for each time the video is listed."""
        return tuple(f"{self.id}#{copy}" if copy else self.id for copy in range(self.n_listed))


@dataclass(frozen=True)
class Annotations:
    """What a folder holds.

    Attributes
    ----------
    labels : tuple of str
        In the order of the tag list.
    videos : tuple of Video
    skipped : tuple of (str, str)
        File and reason of what was left out.
    """

    labels: tuple[str, ...]
    videos: tuple[Video, ...]
    skipped: tuple[tuple[str, str], ...]


def read_annotations(root: Path) -> Annotations:
    """Return the annotations below a folder, and what was skipped.

    Parameters
    ----------
    root : Path
        Holds `tag_list.instrument.csv`, `video_id.te.json` and `action_annotations`.

    Raises
    ------
    ClipError
        If the tag list or the list of ids cannot be used, or no video is left.

    Examples
    --------
    >>> read_annotations(Path("nowhere"))
    Traceback (most recent call last):
    ...
    playspot.training.clips.ClipError: nowhere/tag_list.instrument.csv: no such file
    """
    tags = _read_tags(root / "tag_list.instrument.csv")
    ids = _read_json(root / "video_id.te.json")
    sizes = root / "frame_sizes_inferred.json"
    known = _read_json(sizes) if sizes.exists() else {}
    skipped: list[tuple[str, str]] = []
    videos = []
    for tag in tags:
        listed = ids.get(tag, [])
        names = [str(name) for name in listed] if isinstance(listed, list) else []
        if not names:
            skipped.append((f"video_id.te.json: {tag}", "no list of video ids"))
        for name, n in Counter(names).items():
            if not ID.fullmatch(name):
                skipped.append((f"video_id.te.json: {tag}", f"{shown(name)} is no video id"))
                continue
            folder = root / "action_annotations" / "te" / tag / name
            if not folder.is_dir():
                skipped.append((f"{tag}/{name}", "no annotations"))
                continue
            frames = _read_frames(folder, f"{tag}/{name}", skipped)
            size = _size(known.get(f"{tag}/{name}"))
            videos.append(Video(TAGS[tag], name, size, frames, n))
    if not videos:
        reason = ": ".join(skipped[0])
        raise ClipError(f"{root}: no annotated video; {len(skipped)} skipped, the first: {reason}")
    return Annotations(tuple(TAGS[tag] for tag in tags), tuple(videos), tuple(skipped))


def read(root: Path, annotations: Path | None = None) -> ClipIndex:
    """Return the annotated parts of the videos that are there, all for the test.

    Parameters
    ----------
    root : Path
    annotations : Path, optional
        Another folder than `root`, in which the annotations are.

    Raises
    ------
    ClipError
        If the annotations cannot be used.
    """
    files = MediaFiles(root)
    found = read_annotations(annotations or root)
    skipped = [*files.skipped, *found.skipped]
    labels: dict[str, list[str]] = {}
    for video in found.videos:
        labels.setdefault(video.id, []).append(video.label)
    clips: list[Clip] = []
    for name, own in labels.items():
        path = files.find(name)
        if path is None:
            skipped.append((name, "no video of this name below the folder"))
        else:
            clips += fragments(path, in_order(own))
    return make_index(clips, skipped, files.root)


def fragments(path: Path, tags: tuple[str, ...] = ()) -> list[Clip]:
    """Return the annotated parts of a video as clips.

    Examples
    --------
    >>> [clip.name for clip in fragments(Path("x.mp4"))]
    ['x_0-5', 'x_5-10', 'x_30-35', 'x_35-40']
    """
    return [
        Clip(path, None, tags, tags, tags, start=first, end=last, given_split="test")
        for first, last in FRAGMENTS
    ]


def center_baseline(annotations: Annotations) -> dict[str, Any]:
    """Return the distances from the middle of the picture to the nearest key point.

    Returns
    -------
    report : dict
        `spatial_px` in pixels and its `intervals`, with `average` and every label; `n` videos in
        all; `videos` and `frames`, with `all` and every label.

    Raises
    ------
    ClipError
        If no size of a picture is known.

    Notes
    -----
    The row "Center" of Table VIII of the paper: 37.2 px.
    """
    tally = PaperTally()
    for video in annotations.videos:
        if video.size is None:
            continue
        middle = (video.size[0] / 2, video.size[1] / 2)
        positive = [points for points in video.frames if points is not None and len(points)]
        for name in video.names:
            tally.add_places(name, video.label, [(middle, points) for points in positive])
    if not tally.distances:
        raise ClipError(
            "the sizes of the pictures are not known: put frame_sizes_inferred.json beside the tag "
            "list, or name the folder of the videos with --videos"
        )
    report = tally.report(annotations.labels)
    return {
        "spatial_px": report["spatial_px"],
        "n": report["n"]["spatial_px"]["all"],
        "videos": report["n"]["spatial_px"],
        "frames": report["n"]["frames"],
        "intervals": report["intervals"]["spatial_px"],
    }


def read_points(path: Path) -> Array:
    """Return the key points of one frame, float (P, 2) as (y, x) px; never runs what a file says.

    Raises
    ------
    ValueError
        If the file is not a small array of that form.

    Examples
    --------
    >>> read_points(Path("nothing.npy"))
    Traceback (most recent call last):
    ...
    ValueError: not a file, or larger than 11152 bytes
    """
    if not path.is_file() or path.stat().st_size > NPY_BYTES_MAX:
        raise ValueError(f"not a file, or larger than {NPY_BYTES_MAX} bytes")
    # The shape is looked at before numpy makes an array of it: a header may claim any size.
    file = io.BytesIO(path.read_bytes())
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    version = np.lib.format.read_magic(file)
    if version not in readers:
        raise ValueError(f"npy version {version}; 1.0 or 2.0 is read")
    try:  # it is read as Python text: what is nested deep has no end
        shape, _, dtype = readers[version](file)
    except (SyntaxError, tokenize.TokenError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"no header of an array ({reason_of(error)})") from None
    if dtype.kind not in "fiu":
        raise ValueError(f"holds {dtype}, not numbers")
    if shape != (0,) and shape not in {(n, 2) for n in range(POINTS_MAX + 1)}:
        raise ValueError(f"shape {shape}; expected (P, 2) with P up to {POINTS_MAX}, or (0,)")
    file.seek(0)
    points = np.asarray(np.load(file, allow_pickle=False), np.float64).reshape(-1, 2)
    if not ((points >= -1) & (points <= SIDE)).all():
        raise ValueError(f"a key point outside of the picture, 0 to {SIDE} px")
    return points


def _read_frames(
    folder: Path, name: str, skipped: list[tuple[str, str]]
) -> tuple[Array | None, ...]:
    frames: list[Array | None] = []
    for first, last in FRAGMENTS:
        for k in range(FRAMES):
            file = f"{first}_{last}.{k}.npy"
            try:
                frames.append(read_points(folder / file))
            except (ValueError, OSError) as error:
                frames.append(None)
                skipped.append((f"{name}/{file}", reason_of(error)))
    return tuple(frames)


def _read_tags(path: Path) -> tuple[str, ...]:
    tags = [row[0] for _, row in rows(path) if row and row[0] != "Name"]
    for tag in tags:
        if tag not in TAGS:
            raise ClipError(
                f"{shown_path(path)}: unknown tag {shown(tag)}; one of {', '.join(TAGS)}"
            )
    if not tags or len(set(tags)) < len(tags):
        raise ClipError(f"{path}: expected one row a tag, found {len(tags)}")
    return tuple(tags)


def _read_json(path: Path) -> dict[str, Any]:
    place, text = shown_path(path), whole_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = in_one_line(str(error))
        raise ClipError(f"{place}: cannot be read as JSON ({reason})") from None
    if not isinstance(content, dict):
        raise ClipError(f"{place}: expected a JSON object, got {type(content).__name__}")
    return content


def _size(entry: Any) -> Size | None:
    size = entry.get("size") if isinstance(entry, dict) else None
    if not isinstance(size, list) or len(size) != 2:
        return None
    is_good = all(isinstance(side, int) and 1 <= side <= SIDE for side in size)
    return (size[0], size[1]) if is_good else None
