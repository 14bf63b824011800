"""What the benchmarks of engines feed: what the three networks see of a rendered scene.

Real activations matter to calibration; to speed as well, where denormal numbers would be slow.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..engines.engine import Header
from ..stream.timeline import FLOWS_PER_STACK, TICKS_PER_STEP

SEED: Final = 300_007  # of the scene; no model was trained on it
SECONDS: Final = 10.0
SIZE: Final = (640, 360)
FRAMES: Final = FLOWS_PER_STACK + 1  # of a stack


@contextmanager
def rendered_scene(*, seconds: float = SECONDS, seed: int = SEED) -> Iterator[Path]:
    """Yield a scene of the bandstand as a file, for as long as it is needed."""
    from .bandstand import render_clip

    with tempfile.TemporaryDirectory(prefix="playspot-benchmark-") as folder:
        path = Path(folder) / "scene.mp4"
        render_clip(path, seed=seed, duration=seconds, size=SIZE)
        yield path


def rendered_inputs(headers: Mapping[Any, Header], scene: Path) -> dict[str, NDArray[Any]]:
    """Return inputs of each network from a scene, or any video with sound.

    Parameters
    ----------
    headers : mapping of kind to Header
        What the networks say that they take.
    scene : Path

    Returns
    -------
    inputs : dict of kind to array
        One row a step: pictures, uint8 (N, H, W, 3); flow stacks, float32 (N, 10, H, W), or grey
        frames, uint8 (N, 6, H, W); sound windows, float32 (N, 384, 48) or (N, 96, 64).
    """
    from ..stream.features import features

    pictures, sound = headers.get("object"), headers.get("sound")
    front_end = (sound.front_end if sound is not None else None) or "paper"
    found = features(
        scene,
        picture_side=256 if pictures is None else pictures.picture_side,
        picture_multiple=1 if pictures is None else pictures.picture_multiple,
        front_end=front_end,
    )
    windows = [item.window for item in found.windows or []]
    widest = max(window.shape[-1] for window in windows)
    inputs = {
        "object": found.pictures,
        "action": found.stacks,
        "sound": np.stack([window for window in windows if window.shape[-1] == widest]),
    }
    action = headers.get("action")
    if action is not None and action.takes == "frames":
        grey = greys_of(scene)
        rows = np.arange(len(grey) - FRAMES + 1)[::TICKS_PER_STEP, None] + np.arange(FRAMES)
        inputs["action"] = grey[rows]  # (N, 6, H, W)
    return {kind: array for kind, array in inputs.items() if array is not None and kind in headers}


def greys_of(video: Path, seconds: float | None = None) -> NDArray[np.uint8]:
    """Return the grey frames of a video, one a tick.

    Parameters
    ----------
    video : Path
    seconds : float, optional
        How much of it; all without.

    Returns
    -------
    greys : uint8, shape (N, H, W)

    Raises
    ------
    ValueError
        If it cannot be read, or has fewer than two pictures.
    """
    from ..stream.media import GreyFrame
    from ..stream.sources import FileSource

    with FileSource(video, end=seconds) as source:
        greys = [item.image for item in source if isinstance(item, GreyFrame)]
    if len(greys) < 2:
        raise ValueError(f"{video}: no moving pictures")
    return np.stack(greys)


def batch_of(rows: NDArray[Any], n: int) -> NDArray[Any]:
    """Return n rows, from the start again where there are fewer.

    Examples
    --------
    >>> batch_of(np.arange(3), 5).tolist()
    [0, 1, 2, 0, 1]
    """
    return np.ascontiguousarray(rows[np.arange(n) % len(rows)])
