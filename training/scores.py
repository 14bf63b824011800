"""What the three models say of a whole clip, offline: scores per step, from features or a cache.

Out: sound (N, K), object and action (N, K, h, w), float32 in [0, 1], with the geometry of the
maps. The same engines, features and windows as in the pipeline, without its processes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engines.engine import Engine, ModelError
from ..stream.config import Latency
from ..stream.fusion import Geometry
from .cache import CachedClip

Array = NDArray[np.float32]

BATCH = 10  # frames given to an engine at once


@dataclass(frozen=True)
class ClipScores:
    """Scores of one clip, step by step; None for a model that is not there.

    Attributes
    ----------
    n_steps : int
    width, height : int
        Of the pictures, in pixels.
    sound : float32, shape (N, K), or None
    object_map, action : float32, shape (N, K, h, w), or None
    object_geometry, action_geometry : Geometry or None
        Where their cells lie.
    """

    n_steps: int
    width: int
    height: int
    sound: Array | None = None
    object_map: Array | None = None
    action: Array | None = None
    object_geometry: Geometry | None = None
    action_geometry: Geometry | None = None


@dataclass(frozen=True)
class Inputs:
    """What the three networks see of a clip: `Features` of the stream, or a `CachedClip`."""

    pictures: Any  # uint8 (N, H, W, 3)
    stacks: Any  # indexable by step: (10, H, W)
    log_mel: Any  # (384, T), or None
    windows: Any  # front-end windows of each step, or None
    n_steps: int


def cached_inputs(clip: CachedClip) -> Inputs:
    """Return the inputs that a cached clip holds."""
    stacks = _Stacks(clip)
    return Inputs(clip.pictures, stacks, clip.log_mel, None, clip.n_steps)


def read_inputs(path: Path, engines: dict[str, Engine], latency: Latency = "normal") -> Inputs:
    """Return the inputs of a clip as these engines ask for them, decoded now.

    Raises
    ------
    ValueError
        If the clip cannot be decoded.
    """
    from ..stream.features import features

    side = engines["object"].header.picture_side if "object" in engines else 256
    front_end = engines["sound"].header.front_end if "sound" in engines else None
    found = features(path, picture_side=side, front_end=front_end or "paper", latency=latency)
    return Inputs(
        found.pictures,
        found.stacks,
        found.log_mel,
        getattr(found, "windows", None),
        found.n_steps,
    )


def fits_cache(engines: dict[str, Engine]) -> bool:
    """Return whether these engines take what a feature cache holds."""
    sound, pictures = engines.get("sound"), engines.get("object")
    return (sound is None or sound.header.front_end in (None, "paper")) and (
        pictures is None
        or (pictures.header.picture_side == 256 and pictures.header.picture_multiple == 1)
    )


def score_clip(engines: dict[str, Engine], inputs: Inputs) -> ClipScores:
    """Return what the engines say of a clip.

    Parameters
    ----------
    engines : dict
        Any of `sound`, `object`, `action`.
    inputs : Inputs

    Returns
    -------
    scores : ClipScores

    Raises
    ------
    ModelError
        If an engine has no input in this clip.
    """
    n = inputs.n_steps
    if inputs.pictures is None:
        raise ModelError("the clip has no picture; nothing to place")
    height, width = inputs.pictures.shape[1:3]
    sound = object_map = action = object_geometry = action_geometry = None
    if "sound" in engines:
        sound = _sound_scores(engines["sound"], inputs)
    if "object" in engines:
        engine = engines["object"]
        object_map = np.concatenate([engine(np.asarray(b)) for b in _batches(inputs.pictures, n)])
        object_geometry = _geometry(engine, width, height)
    if "action" in engines:
        engine = engines["action"]
        action = np.concatenate(
            [engine(np.asarray(b, np.float32)) for b in _batches(inputs.stacks, n)]
        )
        flow_height, flow_width = inputs.stacks[0].shape[1:]
        action_geometry = _geometry(engine, flow_width, flow_height)
    return ClipScores(n, width, height, sound, object_map, action, object_geometry, action_geometry)


class _Stacks:
    """Flow stacks of a cached clip, by step or by slice."""

    def __init__(self, clip: CachedClip) -> None:
        self.clip = clip

    def __getitem__(self, index: int | slice) -> NDArray[np.float16]:
        if isinstance(index, int):
            return self.clip.stack(index)
        return np.stack([self.clip.stack(k) for k in range(self.clip.n_steps)[index]])


def _batches(items: Any, n: int) -> Iterator[Any]:
    for first in range(0, n, BATCH):
        yield items[first : min(first + BATCH, n)]


def _geometry(engine: Engine, width: int, height: int) -> Geometry:
    return Geometry(width, height, engine.header.stride, engine.header.offset)


def _sound_scores(engine: Engine, inputs: Inputs) -> Array:
    """Return the sound scores of all steps, (N, K)."""
    if engine.header.front_end == "yamnet":
        if inputs.windows is None:
            raise ModelError(f"{engine.header.name}: wants the front end `yamnet`, not cached")
        outputs = engine(np.stack([item.window for item in inputs.windows]))  # (N, K, 1)
        scores = np.asarray(outputs[:, :, 0])
    else:
        if inputs.log_mel is None:
            raise ModelError(f"{engine.header.name}: the clip has no sound")
        output = engine(np.asarray(inputs.log_mel, np.float32)[None])  # (1, K, T)
        scores = np.asarray(output[0].T)
    return _of_length(scores, inputs.n_steps)


def _of_length(scores: Array, n: int) -> Array:
    """Return the first n rows; the last is repeated where the sound ends before the picture."""
    return scores[np.minimum(np.arange(n), len(scores) - 1)]
