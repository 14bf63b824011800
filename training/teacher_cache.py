"""What the teachers say of each clip, computed once and kept on disk for every target and epoch.

In: cached clips and the engines of a sound and an object model. Out: `TeacherScores` by clip name,
memory-mapped float16 arrays of `shards`. One set of files a model, named after the model's hash;
a clip's entry carries the stamp of its features. So another model or a changed clip is asked
again, nothing else. Thresholds are applied when a batch is made: one cache serves all targets.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engines.engine import Engine, ModelError
from ..models.labels import LABELS
from .alone import alone
from .cache import CachedClip, Progress
from .scores import fits_cache
from .shards import Array, Shards
from .teacher_run import BATCH, rows_of

if TYPE_CHECKING:
    from .batches import TeacherScores  # needs PyTorch

GEOMETRY = ("stride", "offset")  # of maps, as parts of the picture's longer side


def teacher_scores(
    clips: Sequence[CachedClip],
    engines: Mapping[str, Engine],
    folder: Path,
    *,
    progress: Progress | None = None,
) -> "Mapping[str, TeacherScores]":
    """Return what the teachers say of each clip, asking them only what is not on disk yet.

    Parameters
    ----------
    clips : sequence of CachedClip
    engines : mapping
        `sound`, `object` or both.
    folder : Path
        Made if it is not there; about 0.5 MB an hour for sound, and for maps 10 to 60 MB.
    progress : callable, optional
        Called with (done, total) steps while a model is asked.

    Returns
    -------
    scores : mapping of clip name to TeacherScores
        Of every clip, each step of `CachedClip.n_steps`: sound float16 (N, K), object_map float16
        (N, K, h, w), memory-mapped. None where a model was not given, or the clip has nothing for
        it (no sound track).

    Raises
    ------
    ModelError
        If a model has other labels than ours.
    ClipError
        If the disk is full.
    ValueError
        If a recording cannot be decoded.
    """
    from .batches import TeacherScores

    for engine in engines.values():
        if engine.header.labels != LABELS:
            raise ModelError(
                f"{engine.header.name}: has the labels {', '.join(engine.header.labels)}, "
                f"a teacher must have {', '.join(LABELS)}"
            )
    with alone(folder / ".lock"):
        stores = {kind: Shards(folder, f"{kind}-{engine.hash}") for kind, engine in engines.items()}
        stamps = {clip.clip.name: stamp_of(clip) for clip in clips}
        missing = {
            kind: [c for c in clips if not _knows(store, kind, c, stamps[c.clip.name])]
            for kind, store in stores.items()
        }
        total = sum(clip.n_steps for wanted in missing.values() for clip in wanted)
        done = 0
        for kind, name, array, geometry in _ask(missing, engines):
            stores[kind].put(name, stamps[name], array, geometry)
            done += len(array)
            if progress is not None:
                progress(min(done, total), total)
        found: dict[str, dict[str, Any]] = {name: {} for name in stamps}
        for kind, store in stores.items():
            store.flush()
            for name, stamp in stamps.items():
                array, note = store.get(name, stamp) or (np.empty(0, np.float16), {})
                if kind == "sound":
                    found[name]["sound"] = array if len(array) else None
                else:
                    found[name] |= {"object_map": array if len(array) else None}
                    found[name] |= {key: float(note[key]) for key in GEOMETRY if key in note}
    return {name: TeacherScores(**values) for name, values in found.items()}


def stamp_of(clip: CachedClip) -> str:
    """Return what changes when a clip's features do."""
    return (clip.folder / "source.json").read_text(encoding="utf-8")


def _knows(store: Shards, kind: str, clip: CachedClip, stamp: str) -> bool:
    """Return whether the scores of a clip are there, and look as they should."""
    array, note = store.get(clip.clip.name, stamp) or (None, {})
    if array is None or not all(isinstance(value, int | float) for value in note.values()):
        return False
    n_axes = 2 if kind == "sound" else 4
    return array.shape == (0,) or (
        array.ndim == n_axes and array.shape[:2] == (clip.n_steps, len(LABELS))
    )


def _ask(
    missing: Mapping[str, list[CachedClip]], engines: Mapping[str, Engine]
) -> Iterator[tuple[str, str, Array, dict[str, float]]]:
    """Yield kind, clip name, scores and geometry of all that is missing."""
    decoded: dict[str, dict[CachedClip, None]] = {}
    for kind, wanted in missing.items():
        if fits_cache({kind: engines[kind]}):
            for clip in wanted:
                yield kind, clip.clip.name, *_of_cache(kind, engines[kind], clip)
        else:
            decoded[kind] = dict.fromkeys(wanted)
    for clip in dict.fromkeys(clip for wanted in decoded.values() for clip in wanted):
        kinds = {kind: engines[kind] for kind, wanted in decoded.items() if clip in wanted}
        yield from _of_file(clip, kinds)


def _of_cache(kind: str, engine: Engine, clip: CachedClip) -> tuple[Array, dict[str, float]]:
    if kind == "sound":
        if not clip.has_sound:
            return np.empty(0, np.float16), {}
        output = engine(np.asarray(clip.log_mel, np.float32)[None])[0].T  # (N, K)
        return _of_length(output, clip.n_steps), {}
    if not clip.has_pictures:
        return np.empty(0, np.float16), {}
    starts = range(0, clip.n_steps, BATCH)
    maps = [engine(np.asarray(clip.pictures[first : first + BATCH])) for first in starts]
    longer, header = max(clip.pictures.shape[1:3]), engine.header
    geometry = {"stride": header.stride / longer, "offset": header.offset / longer}
    return _of_length(np.concatenate(maps), clip.n_steps), geometry


def _of_file(
    clip: CachedClip, engines: Mapping[str, Engine]
) -> Iterator[tuple[str, str, Array, dict[str, float]]]:
    """Yield the scores of a clip whose file is decoded once for all these engines."""
    rows: dict[str, list[Array]] = {kind: [] for kind in engines}
    notes: dict[str, dict[str, float]] = {kind: {} for kind in engines}
    for batch in rows_of(clip.clip.path, engines, clip.clip.start, clip.clip.end):
        rows[batch.kind].append(batch.scores.astype(np.float16))
        if batch.kind == "object":
            notes["object"] = {"stride": batch.stride, "offset": batch.offset}
    for kind, scores in rows.items():
        joined = np.concatenate(scores) if scores else np.empty(0, np.float16)
        name = clip.clip.name
        yield kind, name, _of_length(joined, clip.n_steps) if scores else joined, notes[kind]


def _of_length(scores: Any, n: int) -> Array:
    """Return n rows; the last is repeated where the scores end before the picture."""
    return np.asarray(scores, np.float16)[np.minimum(np.arange(n), len(scores) - 1)]
