"""How a scene is filmed: camera, light, noise, blur, size, rate and compression.

What goes in: a generator, a level and the actors. What comes out: a `Film`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from .actors import Actor
from .camera import STAGE_HEIGHT, STAGE_WIDTH, Camera, Shot
from .canvas import Canvas
from .motion import PLAY, key_points

VIDEO_RATE = 30.0  # Hz
SIZE = (256, 144)  # (width, height)


@dataclass(frozen=True)
class Film:
    """What lies between the stage and the file.

    Attributes
    ----------
    camera : Camera
    light : float
        1 is full light.
    noise : float
        Standard deviation of the sensor noise, 0-255.
    shutter : float
        Seconds that a picture is exposed for; 0: no motion blur.
    texture : float
        Contrast of cloth, wood and skin, 0-1.
    soft : float
        Standard deviation of the blur of the lens, pixels.
    gamma : float
        1 leaves the tones as they are.
    is_photo : bool
        Whether the backdrop is like a photograph.
    size : (width, height)
        Of the pictures where nothing else is asked for.
    video_rate : float
        Pictures per second where nothing else is asked for.
    codec : str
        Of the pictures: "libx264" or "mpeg4".
    quality : int
        Of H.264, its `crf`; of MPEG-4, the quantiser. More is worse.
    """

    camera: Camera = field(default_factory=Camera)
    light: float = 1.0
    noise: float = 0.0
    shutter: float = 0.0
    texture: float = 0.0
    soft: float = 0.0
    gamma: float = 1.0
    is_photo: bool = False
    size: tuple[int, int] = SIZE
    video_rate: float = VIDEO_RATE
    codec: str = "libx264"
    quality: int = 20


def make_film(rng: Generator, level: str, actors: Sequence[Actor], duration: float) -> Film:
    """Return how a scene of a level is filmed."""
    if level == "wild":
        return _wild(rng, actors, duration)
    if level == "hard":
        camera = Camera()
        if rng.random() < 0.75:
            camera = Camera(
                pan=rng.uniform(2, 8), zoom=rng.uniform(0, 0.05), shake=rng.uniform(0, 0.6),
                rate=rng.uniform(0.04, 0.14), phase=rng.random(),
            )  # fmt: skip
        return Film(
            camera,
            light=rng.uniform(0.4, 1.0),
            noise=rng.uniform(2, 8),
            quality=int(rng.integers(20, 35)),
        )
    noise = rng.uniform(0, 2) if level == "normal" else 0.0
    return Film(light=rng.uniform(0.9, 1.0), noise=noise)


_SIZES = ((256, 144), (256, 192), (144, 256), (192, 192))
_RATES = (30.0, 25.0, 24.0, 15.0, 20.0)


def _wild(rng: Generator, actors: Sequence[Actor], duration: float) -> Film:
    size = _SIZES[rng.choice(4, p=(0.55, 0.2, 0.18, 0.07))]
    is_tripod = rng.random() < 0.35
    camera = Camera(
        pan=0.0 if is_tripod or rng.random() < 0.4 else rng.uniform(3, 25),
        zoom=0.0 if is_tripod or rng.random() < 0.6 else rng.uniform(0.02, 0.2),
        shake=0.0 if is_tripod else 3.0 * rng.random() ** 2,
        rate=rng.uniform(0.04, 0.25),
        phase=rng.random(),
        shots=_shots(rng, actors, duration, size),
    )
    light = rng.uniform(0.7, 1.15)
    noise = 6.0 * rng.random() ** 2
    if rng.random() < 0.15:  # night
        light, noise = rng.uniform(0.3, 0.6), rng.uniform(3, 10)
    is_mpeg4 = rng.random() < 0.25
    rate = _RATES[rng.choice(5, p=(0.35, 0.25, 0.15, 0.15, 0.1))]
    return Film(
        camera,
        light=min(1.0, light),
        noise=noise,
        shutter=rng.uniform(0.2, 0.9) / rate if rng.random() < 0.4 else 0.0,
        texture=rng.uniform(0.3, 1.0),
        soft=rng.uniform(0, 1.2),
        gamma=rng.uniform(0.65, 1.15),
        is_photo=bool(rng.random() < 0.7),
        size=size,
        video_rate=rate,
        codec="mpeg4" if is_mpeg4 else "libx264",
        quality=int(rng.integers(2, 12)) if is_mpeg4 else int(rng.integers(20, 37)),
    )


def _shots(
    rng: Generator, actors: Sequence[Actor], duration: float, size: tuple[int, int]
) -> tuple[Shot, ...]:
    starts = [0.0]
    if rng.random() < 0.3:  # cuts
        while starts[-1] + 4.0 < duration:
            starts.append(starts[-1] + rng.uniform(2.0, 5.0))
        starts = [start for start in starts if start < duration - 1.5]
    roll = rng.normal(0, 0.04) if rng.random() < 0.8 else rng.uniform(-0.3, 0.3)
    is_mirrored = bool(rng.random() < 0.3)
    shots = []
    for start in starts:
        actor = actors[int(rng.integers(len(actors)))]
        kind = rng.choice(("stage", "person", "hands"), p=(0.25, 0.5, 0.25))
        x, y, tall = _middle(actor, kind == "hands")
        # how much of the picture's height the person fills; hands: the person is cut off
        shown = {"stage": 0.7, "person": rng.uniform(0.65, 1.7), "hands": rng.uniform(1.7, 3.0)}
        scale = float(shown[str(kind)]) * size[1] / (tall * size[0] / STAGE_WIDTH)
        if kind == "stage":
            x, y, scale = STAGE_WIDTH / 2, STAGE_HEIGHT / 2, 1.0
            if size[0] < 1.6 * size[1]:  # narrow pictures do not show it all
                x, scale = 0.5 * x + 0.5 * actor.spot[0], rng.uniform(1.0, 1.4)
        loose = 10 / max(1.0, scale)
        shots.append(
            Shot(
                start,
                x + rng.normal(0, loose),
                y + rng.normal(0, 0.6 * loose),
                float(np.clip(scale, 1.0, 4.5)),
                roll,
                is_mirrored,
            )
        )
    return tuple(shots)


def _middle(actor: Actor, of_hands: bool) -> tuple[float, float, float]:
    """Return where a shot of a player looks, and how tall the player is, in stage units."""
    canvas = actor.canvas(Canvas(np.empty((1, 1, 3), np.uint8), np.eye(2, 3)), 0.0)
    tall = (115.0 if actor.seated else 127.0) * actor.size
    if actor.part is None or actor.style is None or actor.label is None:
        return (*actor.spot, tall)
    pose = PLAY[actor.label](actor.part.moment(0.0), actor.style)
    points = np.array(key_points(actor.label, pose))
    middle = points.mean(axis=0) if of_hands else 0.5 * points.mean(axis=0) + (0.0, -8.0)
    x, y = canvas.pixels(middle[None, :])[0]
    return actor.spot[0] if actor.walks else float(x), float(y), tall
