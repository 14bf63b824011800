"""Clips as training finds them in its cache, made up: a label tints, moves and sounds."""

from pathlib import Path
from typing import Any

import numpy as np

from playspot.models.labels import LABELS
from playspot.training.cache import CachedClip
from playspot.training.clips import Clip
from playspot.training.config import SMALL, TrainConfig

HEIGHT, WIDTH, N_STEPS = 48, 64, 4


def tags_of(number: int) -> tuple[str, ...]:
    """Return the tags of a clip."""
    return (LABELS[number % 3],)


def make_clip(folder: Path, number: int, seed: int | None = None) -> CachedClip:
    """Return a clip with one of three labels."""
    rng = np.random.default_rng(number)
    k = number % 3
    place = folder / f"clip{number}"
    place.mkdir(parents=True)
    pictures = rng.integers(0, 40, (N_STEPS, HEIGHT, WIDTH, 3), dtype=np.uint8)
    pictures[:, 16:40, 16:40, k] += 200
    flows = rng.normal(0, 0.1, (4 * N_STEPS + 1, 2, HEIGHT, WIDTH)).astype(np.float16)
    flows[:, k % 2, 16:40, 16:40] += 3 - 2 * k
    log_mel = rng.random((384, 16 * N_STEPS)).astype(np.float16)
    log_mel[40 * k : 40 * k + 40] += 4
    for name, array in (("pictures", pictures), ("flows", flows), ("log_mel", log_mel)):
        np.save(place / f"{name}.npy", array)
    tags = tags_of(number)
    path = folder / f"clip{number}.mp4"
    return CachedClip(Clip(path, path.with_suffix(".json"), tags, tags, tags, seed), place)


def make_clips(folder: Path, n: int = 12) -> list[CachedClip]:
    """Return clips of all three labels."""
    return [make_clip(folder, number) for number in range(n)]


def tiny(kind: Any, **changes: Any) -> TrainConfig:
    """Return a configuration that trains in a second, on nothing that is drawn over or blurred."""
    flows = ("camera", "speed", "flow_noise", "still", "blobs", "crop")
    pictures = ("grey", "blur", "cut", "grain")
    sounds = ("background", "colour", "band_limit", "noise", "mask", "label_smoothing")
    settings = {
        **dict.fromkeys((*flows, *pictures, *sounds), 0.0),
        "width": 0.05,
        "steps": 6,
        "clips_per_batch": 4,
        "validate_every": 3,
        "validation_frames": 2,
        "seconds": 2.0,
        **changes,
    }
    return SMALL[kind].replace(**settings)
