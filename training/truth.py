"""What is true of a scene: who plays what, when, and where; written beside each rendered clip.

Times in seconds, points and boxes normalised 0-1, origin top left.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models.labels import LABELS
from ..stream.timeline import n_steps, step_time
from .actors import Actor
from .canvas import Picture, Points
from .filming import VIDEO_RATE
from .music import Interval
from .render import instrument_box
from .scene import Scene

SCHEMA = "playspot/bandstand/2"
VISIBLE_SHARE = 0.35  # an instrument is seen where so much of its box is in the picture
FILLING_SHARE = 0.2  # or where what is inside fills so much of the picture: a close-up
VISIBLE_GRID = 0.1  # seconds between looks at what is visible

Truth = dict[str, Any]


def make_truth(scene: Scene, size: tuple[int, int], video_rate: float = VIDEO_RATE) -> Truth:
    """Return what is true of a scene, ready for JSON.

    Parameters
    ----------
    scene : Scene
    size : (width, height)
        Of the pictures, in pixels.
    video_rate : float

    Returns
    -------
    truth : dict
        `played`, `visible`, `heard`: labels of the clip. `players`, of those who are in the picture
        at some time: when they play, when they are visible.
        `steps`: at the time of each step, for each player, whether it plays, the key points that
        lie in the picture, the box.
    """
    width, height = size
    blank = np.empty((height, width, 3), np.uint8)
    scale = (1.0 / width, 1.0 / height)
    seen = {id(actor): _visible(scene, actor, blank) for actor in scene.players}
    on_stage = [actor for actor in scene.players if seen[id(actor)]]  # others are heard only
    players = [
        {
            "label": actor.label,
            "playing": _rounded(actor.part.intervals if actor.part else ()),
            "visible": _rounded(seen[id(actor)]),
        }
        for actor in on_stage
    ]
    steps = []
    for k in range(n_steps(scene.duration)):
        time = step_time(k)
        stage = scene.camera.stage(blank, time)
        entries = []
        for actor in on_stage:
            points = actor.points(time)
            where: Points = np.zeros((0, 2))
            if points:
                where = actor.canvas(stage, time).pixels(np.array(points)) * scale
                where = where[((where >= 0) & (where <= 1)).all(axis=1)]
            entries.append(
                {
                    "label": actor.label,
                    "playing": bool(points),
                    "points": np.round(where, 4).tolist(),
                    "box": _box(instrument_box(stage, actor, time), size),
                }
            )
        steps.append({"step": k, "time": time, "players": entries})
    played = {actor.label for actor in on_stage if actor.part and actor.part.notes}
    sounding = {actor.label for actor in scene.players if actor.part and actor.part.notes}
    heard = sounding | {part.label for part in scene.offscreen}
    visible = {actor.label for actor in on_stage}
    return {
        "schema": SCHEMA,
        "seed": scene.seed,
        "level": scene.level,
        "width": width,
        "height": height,
        "video_rate": video_rate,
        "duration": scene.duration,
        "played": [label for label in LABELS if label in played],
        "visible": [label for label in LABELS if label in visible],
        "heard": [label for label in LABELS if label in heard],
        "players": players,
        "steps": steps,
    }


def _rounded(intervals: Iterable[Interval]) -> list[list[float]]:
    return [[round(start, 4), round(end, 4)] for start, end in intervals]


def _box(corners: NDArray[np.float64], size: tuple[int, int]) -> list[float] | None:
    """Return a box clipped to the picture, normalised; None where too little of it is inside."""
    scale = np.array([*size, *size])
    clipped = np.clip(corners, 0, scale)
    whole = float(np.prod(corners[2:] - corners[:2]))
    inside = float(np.prod(clipped[2:] - clipped[:2]))
    if inside < VISIBLE_SHARE * whole and inside < FILLING_SHARE * size[0] * size[1]:
        return None
    return [round(float(value), 4) for value in clipped / scale]


def _visible(scene: Scene, actor: Actor, blank: Picture) -> list[Interval]:
    """Return when the instrument of an actor is in the picture."""
    size = (blank.shape[1], blank.shape[0])
    if not actor.walks and scene.camera.is_still:
        stage = scene.camera.stage(blank, 0.0)
        return [(0.0, scene.duration)] if _box(instrument_box(stage, actor, 0.0), size) else []
    intervals: list[Interval] = []
    for k in range(int(np.ceil(scene.duration / VISIBLE_GRID))):
        time = k * VISIBLE_GRID
        if _box(instrument_box(scene.camera.stage(blank, time), actor, time), size) is None:
            continue
        end = min(scene.duration, time + VISIBLE_GRID)
        if intervals and abs(intervals[-1][1] - time) < 1e-6:
            intervals[-1] = (intervals[-1][0], end)
        else:
            intervals.append((time, end))
    return intervals
