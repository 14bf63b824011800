"""A scene of the bandstand: who stands where, who plays when, how it is filmed.

What goes in: a seed and a level. What comes out: a `Scene`, which holds no picture and no sound;
`render.py` draws it and `bandstand.py` lets it sound. Stage coordinates: the stage is 256 units
wide, origin top left, y down. Times in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from .actors import BYSTANDER, IDLE, READY, Actor, Mover
from .camera import STAGE_WIDTH, Camera
from .canvas import from_hsv
from .composer import make_part, make_piece
from .filming import Film, make_film
from .instruments import DRAWN, INSTRUMENTS
from .motion import SEATED
from .music import Interval, Part, Piece
from .players import make_look
from .shares import Share, share_of
from .styles import make_style

LEVELS = ("easy", "normal", "hard", "wild")
HALF_WIDTH = {"drum": 58.0, "piano": 52.0}  # of a player with the instrument, at size 1


class SceneError(ValueError):
    """A level, label or length that no scene can have; the message says what to do."""


@dataclass(frozen=True)
class Scene:
    """Everything that is decided before drawing: the same for the same seed."""

    seed: int
    level: str
    duration: float
    piece: Piece
    actors: tuple[Actor, ...]
    offscreen: tuple[Part, ...]
    movers: tuple[Mover, ...]
    film: Film
    has_audience: bool

    @property
    def camera(self) -> Camera:
        """Where it is seen from."""
        return self.film.camera

    @property
    def players(self) -> tuple[Actor, ...]:
        """Those with an instrument, in the order of the truth file."""
        return tuple(actor for actor in self.actors if actor.label is not None)


def make_scene(
    seed: int, level: str = "normal", duration: float = 10.0, labels: Sequence[str] | None = None
) -> Scene:
    """Return the scene of a seed.

    Parameters
    ----------
    seed : int
    level : str
        "easy": one player, plain background. "normal": one to three players, other people, things
        that move. "hard": also a moving camera, noise, low light, instruments that are heard only,
        players who hold their instrument as if they played. "wild": as near to real footage as
        drawing comes: any size and view, cuts, motion blur, textures, all kinds of motion.
    duration : float
        Seconds.
    labels : sequence of str, optional
        The instruments, one player each; each of them then plays. Without it the first one goes
        round the nine with the seed and the others are random.

    Returns
    -------
    Scene

    Raises
    ------
    SceneError
        If `level` or a label is unknown, the scene has more than three players, or `duration` is
        shorter than two seconds.

    Examples
    --------
    >>> make_scene(3, "easy").players[0].label
    'flute'
    """
    if level not in LEVELS:
        raise SceneError(f"level {level!r} is none of {', '.join(LEVELS)}")
    for label in labels or ():
        if label not in DRAWN:
            raise SceneError(f"label {label!r} is none of {', '.join(DRAWN)}")
    if labels is not None and not 1 <= len(labels) <= 3:
        raise SceneError(f"{len(labels)} labels were given, a scene has 1 to 3 players")
    if not duration >= 2.0:
        raise SceneError(f"duration {duration} s is too short, give at least 2 s")
    rng = np.random.default_rng([seed, 1])
    share = share_of(seed)
    piece = make_piece(rng)
    cast = list(labels) if labels else _cast(rng, seed, level)
    actors = _players(rng, share, piece, cast, duration, level, must_play=labels is not None)
    rate = {"easy": 0.0, "normal": 0.3, "hard": 0.6, "wild": 0.6}[level]
    taken = [actor.spot[0] for actor in actors]
    others = [
        _bystander(rng, share, duration, taken, level)
        for _ in range(2)
        if rng.random() < rate * 0.7
    ]
    offscreen = []
    if rng.random() < {"easy": 0.0, "normal": 0.08, "hard": 0.25, "wild": 0.2}[level]:
        unseen = [label for label in DRAWN if label not in cast]
        label = unseen[rng.integers(len(unseen))]
        offscreen.append(make_part(rng, piece, label, plan_intervals(rng, duration)))
    movers = [_mover(rng, share) for _ in range(2) if rng.random() < rate * 0.6]
    film = make_film(np.random.default_rng([seed, 6]), level, actors, duration)
    people = others + actors
    if level == "wild":  # those in front hide those behind
        people = sorted(people, key=lambda actor: actor.spot[1])
    return Scene(
        seed=seed,
        level=level,
        duration=duration,
        piece=piece,
        actors=tuple(people),
        offscreen=tuple(part for part in offscreen if part.notes),
        movers=tuple(movers),
        film=film,
        has_audience=bool(level != "easy" and rng.random() < 0.2),
    )


def plan_intervals(rng: Generator, duration: float, *, lively: bool = False) -> list[Interval]:
    """Return random playing intervals: phrases of 2-5 s, rests of 1.5-4 s.

    Parameters
    ----------
    rng : Generator
    duration : float
        Seconds; nothing lies beyond.
    lively : bool
        Whether to start early and so to have at least one phrase.
    """
    time = rng.uniform(0.2, 1.0) if lively or rng.random() < 0.35 else rng.uniform(1.5, 4.0)
    plan = []
    while time < duration - 1.2:
        end = min(duration, time + rng.uniform(2.0, 5.0))
        plan.append((time, end))
        time = end + rng.uniform(1.5, 4.0)
    return plan


def _cast(rng: Generator, seed: int, level: str) -> list[str]:
    shares = (0.6, 0.28, 0.12) if level == "wild" else (0.4, 0.38, 0.22)
    count = 1 if level == "easy" else int(rng.choice((1, 2, 3), p=shares))
    first = DRAWN[seed % len(DRAWN)]
    rest = [DRAWN[i] for i in rng.permutation(len(DRAWN)) if DRAWN[i] != first]
    cast = [first, *rest[: count - 1]]
    if count > 1 and rng.random() < 0.08:
        cast[1] = first  # two of a kind
    return cast


def _players(
    rng: Generator, share: Share, piece: Piece, cast: list[str], duration: float, level: str,
    *, must_play: bool,
) -> list[Actor]:  # fmt: skip
    count = len(cast)
    is_wild = level == "wild"
    order = rng.permutation(count)
    holds = {"hard": 0.2, "wild": 0.4}.get(level, 0.0)
    actors = []
    for i, label in enumerate(cast):
        size = rng.uniform(*((0.95, 1.3), (0.82, 1.04), (0.7, 0.84))[count - 1])
        place = (int(order[i]) + 0.5) / count
        if is_wild:
            size *= rng.choice((1.0, rng.uniform(0.4, 0.8)), p=(0.75, 0.25))
        x = STAGE_WIDTH * place + rng.uniform(-1, 1) * (34, 9, 4)[count - 1]
        edge = HALF_WIDTH.get(label, 44.0) * size  # nothing of it is cut off by the picture
        x = float(np.clip(x, edge, STAGE_WIDTH - edge))
        tall = 115 if label in SEATED else 127
        floor = max(rng.uniform(130, 141), tall * size + rng.uniform(2, 8))
        silent = not must_play and rng.random() < 0.18
        plan = [] if silent else plan_intervals(rng, duration, lively=must_play)
        part = make_part(rng, piece, label, plan)
        actors.append(
            Actor(
                label=label,
                part=part,
                look=make_look(rng, share),
                finish=INSTRUMENTS[label].finish(rng, share),
                size=size,
                mirrored=bool(rng.random() < 0.5),
                spot=(x, floor),
                style=make_style(rng, label, share),
                rest_form=READY if rng.random() < holds else int(rng.integers(2)),
                idle=_idle(rng, part.intervals, duration, level),
                walks=_walks(rng, label, part.intervals, x, duration, level),
                tempo=rng.uniform(0, 20),
                fidget=rng.uniform(
                    0, {"easy": 0.0, "normal": 0.3, "hard": 0.6, "wild": 1.6}[level]
                ),
            )
        )
    return sorted(actors, key=lambda actor: actor.spot[1])


# still, sway, look, scratch, wave, shift, bob, adjust, conduct
_IDLE_SHARES = {
    "easy": (0.4, 0.18, 0.16, 0.1, 0.08, 0.08, 0, 0, 0),
    "normal": (0.4, 0.18, 0.16, 0.1, 0.08, 0.08, 0, 0, 0),
    "hard": (0.32, 0.16, 0.14, 0.08, 0.08, 0.08, 0.06, 0.06, 0.02),
    "wild": (0.18, 0.14, 0.12, 0.08, 0.1, 0.08, 0.14, 0.1, 0.06),
}


def _idle(
    rng: Generator, intervals: Sequence[Interval], duration: float, level: str
) -> tuple[tuple[float, float, str], ...]:
    edges = [0.0, *(t for interval in intervals for t in interval), duration]
    idle = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        while end - start > 1.0:
            stop = min(end, start + rng.uniform(1.5, 4.0))
            idle.append((start, stop, str(rng.choice(IDLE, p=_IDLE_SHARES[level]))))
            start = stop
    return tuple(idle)


def _walks(
    rng: Generator, label: str, intervals: Sequence[Interval], x: float, duration: float, level: str
) -> tuple[tuple[float, float, float, float], ...]:
    if level == "wild" and label not in SEATED and rng.random() < 0.15:  # strolls, playing or not
        way = rng.uniform(20, 60) * rng.choice((-1, 1))
        middle = rng.uniform(0.35, 0.65) * duration
        return (0.0, middle, x, x + way), (middle + 0.5, duration, x + way, x)
    if label in SEATED or rng.random() > 0.25:
        return ()
    outside = -50.0 if x < STAGE_WIDTH / 2 else STAGE_WIDTH + 50.0
    pace = abs(x - outside) / rng.uniform(55, 90)
    first = intervals[0][0] if intervals else duration
    last = intervals[-1][1] if intervals else 0.0
    walks = []
    if first - pace - 0.7 > 0 and rng.random() < 0.6:
        start = rng.uniform(0, first - pace - 0.7)
        walks.append((start, start + pace, outside, x))
        last = max(last, start + pace)
    if duration - last - 1.5 > pace * 0.6:
        start = last + rng.uniform(0.7, 1.2)
        walks.append((start, start + pace, x, outside))
    return tuple(walks)


def _bystander(
    rng: Generator, share: Share, duration: float, taken: Sequence[float], level: str
) -> Actor:
    kind = str(rng.choice(BYSTANDER))
    size = rng.uniform(0.6, 0.85)
    places = rng.uniform(15, STAGE_WIDTH - 15, 6)  # the one farthest from all players
    x = float(max(places, key=lambda place: min(abs(place - other) for other in taken)))
    walks: tuple[tuple[float, float, float, float], ...] = ()
    if kind == "walk":
        start, pace = rng.uniform(0, duration * 0.5), rng.uniform(35, 70)
        ends = (-40.0, STAGE_WIDTH + 40) if rng.random() < 0.5 else (STAGE_WIDTH + 40, -40.0)
        walks = ((start, start + (STAGE_WIDTH + 80) / pace, *ends),)
    return Actor(
        label=None, part=None, look=make_look(rng, share), finish=None, size=size, mirrored=False,
        spot=(x, rng.uniform(120, 150 if level == "wild" else 128)), style=None, rest_form=0,
        idle=((0.0, duration, kind),), walks=walks, tempo=rng.uniform(0, 20),
    )  # fmt: skip


def _mover(rng: Generator, share: Share) -> Mover:
    is_light = bool(rng.random() < 0.5)
    return Mover(
        is_light=is_light,
        colour=from_hsv(share.uniform(rng, 0, 1), rng.uniform(0.3, 0.9), rng.uniform(0.5, 1.0)),
        radius=rng.uniform(22, 45) if is_light else rng.uniform(3, 8),
        centre=(rng.uniform(40, 216), rng.uniform(30, 90) if is_light else rng.uniform(110, 135)),
        travel=(rng.uniform(20, 90), rng.uniform(5, 30) if is_light else rng.uniform(15, 50)),
        rate=rng.uniform(0.05, 0.25),
    )
