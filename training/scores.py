"""What the three models say of a whole clip, offline: scores per step, from features or a cache.

Out: sound (N, K), object and action (N, K, h, w), float32 in [0, 1], with the geometry of the
maps. The same engines, features and windows as in the pipeline, without its processes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engines.engine import Engine, ModelError
from ..stream.config import Latency
from ..stream.fusion import Geometry
from .cache import CachedClip
from .media_files import is_picture
from .stills import read_still

Array = NDArray[np.float32]

BATCH = 10  # frames given to an engine at once


@dataclass(frozen=True)
class ClipScores:
    """Scores of one clip, step by step; None for a model that is not there.

    Attributes
    ----------
    n_steps : int
    width, height : int
        Of the pictures, in pixels; 0 without.
    sound : float32, shape (N, K), or None
    object_map, action : float32, shape (N, K, h, w), or None
    object_geometry, action_geometry : Geometry or None
        Where their cells lie.
    n_columns : int
        Of the log-mel; 0 where the sound model saw windows, or nothing.
    """

    n_steps: int
    width: int
    height: int
    sound: Array | None = None
    object_map: Array | None = None
    action: Array | None = None
    object_geometry: Geometry | None = None
    action_geometry: Geometry | None = None
    n_columns: int = 0


@dataclass(frozen=True)
class Inputs:
    """What the three networks see of a clip: `Features` of the stream, or a `CachedClip`."""

    pictures: Any  # uint8 (N, H, W, 3), or None
    stacks: Any  # indexable by step: (10, H, W), or frames (6, H, W); or None
    log_mel: Any  # (384, T), or None
    windows: Any  # front-end windows of each step, or None
    n_steps: int


def cached_inputs(clip: CachedClip) -> Inputs:
    """Return the inputs that a cached clip holds."""
    return Inputs(
        clip.pictures if clip.has_pictures else None,
        _Stacks(clip) if clip.has_flows else None,
        clip.log_mel if clip.has_sound else None,
        None,
        clip.n_steps,
    )


def read_inputs(
    path: Path,
    engines: dict[str, Engine],
    latency: Latency = "normal",
    *,
    start: float = 0.0,
    end: float | None = None,
) -> Inputs:
    """Return the inputs of a clip, or of a part of it (s), as these engines ask for them.

    Raises
    ------
    ValueError
        If the clip cannot be decoded.
    """
    from ..stream.features import features
    from ..stream.flow_method import FARNEBACK

    side = engines["object"].header.picture_side if "object" in engines else 256
    multiple = engines["object"].header.picture_multiple if "object" in engines else 1
    front_end = engines["sound"].header.front_end if "sound" in engines else None
    if is_picture(path):
        return Inputs(read_still(path, side, multiple)[None], None, None, None, 1)
    found = features(
        path,
        start=start,
        end=end,
        picture_side=side,
        picture_multiple=multiple,
        front_end=front_end or "paper",
        latency=latency,
        has_windows=front_end == "yamnet",
        flow=None if takes_frames(engines) else FARNEBACK,
    )
    return Inputs(found.pictures, found.stacks, found.log_mel, found.windows, found.n_steps)


def fits_cache(engines: dict[str, Engine]) -> bool:
    """Return whether these engines take what a feature cache holds."""
    sound, pictures = engines.get("sound"), engines.get("object")
    if takes_frames(engines):
        return False
    return (sound is None or sound.header.front_end in (None, "paper")) and (
        pictures is None
        or (pictures.header.picture_side == 256 and pictures.header.picture_multiple == 1)
    )


def takes_frames(engines: Mapping[str, Engine]) -> bool:
    """Return whether the action model computes the optical flow itself."""
    return "action" in engines and engines["action"].header.takes == "frames"


def score_clip(engines: dict[str, Engine], inputs: Inputs) -> ClipScores:
    """Return what the engines say of a clip; nothing of a model that it has no input for.

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
        If the clip has nothing for any engine.
    """
    n = inputs.n_steps
    ears, eyes, motion = (engines.get(kind) for kind in ("sound", "object", "action"))
    sound = object_map = action = object_geometry = action_geometry = None
    width = height = 0
    if ears is not None and _has_sound(ears, inputs):
        sound = _sound_scores(ears, inputs)
    if inputs.pictures is not None:
        height, width = inputs.pictures.shape[1:3]
        if eyes is not None:
            maps = [eyes(np.asarray(batch)) for batch in _batches(inputs.pictures, n)]
            object_map = np.concatenate(maps)
            object_geometry = _geometry(eyes, width, height)
    if inputs.stacks is not None:
        height, width = inputs.stacks[0].shape[1:]  # a teacher's picture may round its sides
        if motion is not None:
            element = np.uint8 if motion.header.takes == "frames" else np.float32
            maps = [motion(np.asarray(b, element)) for b in _batches(inputs.stacks, n)]
            action = np.concatenate(maps)
            action_geometry = _geometry(motion, width, height)
    if sound is None and object_map is None and action is None:
        raise ModelError("the clip has neither sound nor picture that these models take")
    n_columns = 0 if inputs.log_mel is None else inputs.log_mel.shape[1]
    geometries = (object_geometry, action_geometry)
    return ClipScores(n, width, height, sound, object_map, action, *geometries, n_columns)


def _has_sound(engine: Engine, inputs: Inputs) -> bool:
    return (inputs.windows if engine.header.front_end == "yamnet" else inputs.log_mel) is not None


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
        outputs = engine(np.stack([item.window for item in inputs.windows]))  # (N, K, 1)
        scores = np.asarray(outputs[:, :, 0])
    else:
        output = engine(np.asarray(inputs.log_mel, np.float32)[None])  # (1, K, T)
        scores = np.asarray(output[0].T)
    return _of_length(scores, inputs.n_steps)


def _of_length(scores: Array, n: int) -> Array:
    """Return the first n rows; the last is repeated where the sound ends before the picture."""
    return scores[np.minimum(np.arange(n), len(scores) - 1)]
