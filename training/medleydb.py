"""MedleyDB: songs with the times at which each instrument sounds.

==================================  ================================================================
`<song>_SOURCEID.lab`               `start_time,end_time,instrument_label`, s
`<song>_ACTIVATION_CONF.lab`        `time,S01,S02,...`: how surely each stem sounds, 0 to 1
`<song>_METADATA.yaml`              `stems: {S01: {instrument: ...}}`; with the file before it,
                                    where a song has no `SOURCEID`
media, anywhere below the folder    `<song>_MIX.*`
==================================  ================================================================

All files may lie anywhere below one folder. The paper uses the set to test sound models alone, so
all songs are in the test split. `read` takes of the annotations which instruments a song has;
`activations` returns the times, for evaluation.

Source: Bittner et al. 2014; Liu, Yang and Jeng 2018, section IV-C4 and Table V.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..stream.marked_yaml import read_yaml
from .clips import Clip, ClipError, ClipIndex, make_index
from .media_files import MediaFiles
from .tables import part_of, rows, whole_text
from .vocabularies import by_word, in_order

Intervals = NDArray[np.float64]

SOURCE_ID, CONFIDENCE, METADATA = "_sourceid.lab", "_activation_conf.lab", "_metadata.yaml"
IS_ON = 0.5  # confidence from which a stem counts as sounding
MAX_STEMS = 200


def read(root: Path, annotations: Path | None = None) -> ClipIndex:
    """Return the songs that are there, `heard` filled in.

    Parameters
    ----------
    root : Path
    annotations : Path, optional
        Another folder than `root`, in which the annotations are.

    Raises
    ------
    ClipError
        If there is no annotation.
    """
    files = MediaFiles(root)
    found = songs(annotations or root)
    if not found:
        raise ClipError(f"{root}: no `<song>_SOURCEID.lab` or `<song>_METADATA.yaml` in it")
    skipped = list(files.skipped)
    clips = []
    for song, parts in found.items():
        try:
            heard = _instruments(parts)
        except ClipError as error:
            skipped.append((song, str(error)))
            continue
        path = files.find(f"{song}_MIX", song)
        if path is None:
            skipped.append((song, "no mix of this song below the folder"))
            continue
        truth = parts.get(SOURCE_ID) or parts.get(CONFIDENCE)
        clips.append(Clip(path, truth, (), (), heard, given_split="test", given_name=song))
    return make_index(clips, skipped, files.root)


def songs(root: Path) -> dict[str, dict[str, Path]]:
    """Return the annotation files of each song below a folder, by their endings."""
    return _songs(root.resolve())


@lru_cache(maxsize=1)
def _songs(root: Path) -> dict[str, dict[str, Path]]:
    found: dict[str, dict[str, Path]] = {}
    files = MediaFiles(root)
    for ending in (SOURCE_ID, CONFIDENCE, METADATA):
        for path in files.named(ending):
            found.setdefault(path.name[: -len(ending)], {})[ending] = path
    return dict(sorted(found.items()))


def activations(root: Path, song: str) -> dict[str, Intervals]:
    """Return when each instrument sounds in a song: ground truth, for evaluation only.

    Parameters
    ----------
    root : Path
        Folder in which the annotations are.
    song : str
        As in the names of the files, without `_MIX`.

    Returns
    -------
    activations : dict of label to float64, shape (n, 2)
        Seconds, in order, without overlap; only instruments that sound at all.

    Raises
    ------
    ClipError
        If there is no annotation of the song, or it cannot be read.

    Notes
    -----
    From the `SOURCEID` file; else from the rows in which a stem is at least 0.5 sure, the first to
    the last of them: that gives what the `SOURCEID` files say.
    """
    parts = songs(root).get(song, {})
    if SOURCE_ID in parts:
        found = _of_source_id(parts[SOURCE_ID])
    elif CONFIDENCE in parts and METADATA in parts:
        found = _of_confidence(parts[CONFIDENCE], _stems(parts[METADATA]))
    else:
        raise ClipError(f"{song}: no annotation of when its instruments sound below {root}")
    return {label: _merged(found[label]) for label in in_order(found)}


def _instruments(parts: dict[str, Path]) -> tuple[str, ...]:
    if SOURCE_ID in parts:
        return in_order(_of_source_id(parts[SOURCE_ID]))
    if METADATA in parts:
        labels = by_word("medleydb")
        words = (word.lower() for own in _stems(parts[METADATA]).values() for word in own)
        return in_order(labels[word] for word in words if word in labels)
    raise ClipError("no file says what its stems are")


def _of_source_id(path: Path) -> dict[str, list[tuple[float, float]]]:
    labels = by_word("medleydb")
    found: dict[str, list[tuple[float, float]]] = {}
    for number, row in rows(path):
        if row[:2] == ["start_time", "end_time"] or (len(row) == 3 and row[0] == row[1]):
            continue  # two rows of the published files last no time
        part = part_of(row[0], row[1]) if len(row) == 3 else None
        if part is None:
            raise ClipError(f"{path.name}: line {number} is not `start_time,end_time,instrument`")
        if row[2].lower() in labels:
            found.setdefault(labels[row[2].lower()], []).append(part)
    return found


def _stems(path: Path) -> dict[str, list[str]]:
    # The instruments of each stem.
    marked = read_yaml(whole_text(path))
    stems = marked.data.get("stems") if isinstance(marked.data, dict) else None
    if marked.problems or not isinstance(stems, dict) or len(stems) > MAX_STEMS:
        raise ClipError(
            f"{path.name}: not `stems: {{S01: {{instrument: ...}}}}`, as MedleyDB has it"
        )
    found: dict[str, list[str]] = {}
    for name, stem in stems.items():
        words: Any = stem.get("instrument") if isinstance(stem, dict) else None
        words = words if isinstance(words, list) else [words]
        found[name] = [word for word in words if isinstance(word, str)]
    return found


def _of_confidence(path: Path, stems: dict[str, list[str]]) -> dict[str, list[tuple[float, float]]]:
    labels = by_word("medleydb")
    lines = rows(path)
    _, header = next(lines, (1, []))
    times, values = [], []
    for number, row in lines:
        try:
            numbers = np.array(row, np.float64)
        except ValueError:
            numbers = np.full(1, np.nan)
        if len(numbers) != len(header) or not np.isfinite(numbers).all():
            raise ClipError(
                f"{path.name}: line {number} is not a time and {len(header) - 1} numbers"
            )
        times.append(numbers[0])
        values.append(numbers[1:] >= IS_ON)
    if header[:1] != ["time"] or len(times) < 2 or not np.all(np.diff(times) > 0) or times[0] < 0:
        raise ClipError(f"{path.name}: not `time,S01,...` with a row every 46 ms")
    found: dict[str, list[tuple[float, float]]] = {}
    for column, stem in enumerate(header[1:]):
        is_on = np.r_[False, [row[column] for row in values], False]
        changes = np.flatnonzero(np.diff(is_on)).reshape(-1, 2) - (0, 1)  # first and last row
        parts = [(times[first], times[last]) for first, last in changes if first < last]
        for word in stems.get(stem, []):
            if word.lower() in labels:
                found.setdefault(labels[word.lower()], []).extend(parts)
    return {label: own for label, own in found.items() if own}


def _merged(parts: list[tuple[float, float]]) -> Intervals:
    merged: list[list[float]] = []
    for start, end in sorted(parts):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return np.array(merged, np.float64).reshape(-1, 2)
