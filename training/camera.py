"""The camera of a scene: where it looks, how it moves, when it cuts.

What comes out: the `Canvas` of stage coordinates (256 units wide, y down) on a picture of any size
and time, from which drawing and truth are both made, so that they agree to the bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .canvas import Canvas, Picture
from .styles import wander

STAGE_WIDTH, STAGE_HEIGHT = 256.0, 144.0
FLOOR = 0.76  # of the picture's height: where wall and floor meet


@dataclass(frozen=True)
class Shot:
    """A framing that holds from `start` (seconds) until the next one.

    Attributes
    ----------
    start : float
    x, y : float
        The place of the stage in the middle of the picture.
    size : float
        1 shows the whole width of the stage, 2 half of it.
    roll : float
        Radians.
    is_mirrored : bool
    """

    start: float = 0.0
    x: float = STAGE_WIDTH / 2
    y: float = STAGE_HEIGHT / 2
    size: float = 1.0
    roll: float = 0.0
    is_mirrored: bool = False


@dataclass(frozen=True)
class Camera:
    """How the camera moves; all zero for a camera on a stand.

    Attributes
    ----------
    pan, zoom : float
        Of a slow swing: units of the stage; share of the size.
    shake : float
        Of the hand that holds it, units of the picture at size 1.
    rate, phase : float
        Hz; turns.
    shots : tuple of Shot
        In order of time, cut hard; empty for the whole stage.
    """

    pan: float = 0.0
    zoom: float = 0.0
    shake: float = 0.0
    rate: float = 0.1
    phase: float = 0.0
    shots: tuple[Shot, ...] = ()

    @property
    def is_still(self) -> bool:
        """Whether it shows the whole stage from a stand."""
        return not (self.pan or self.zoom or self.shake or self.shots)

    def at_rest(self, picture: Picture) -> Canvas:
        """Return the canvas of the whole stage, which stands on the floor of the picture."""
        height, width = picture.shape[:2]
        unit = width / STAGE_WIDTH
        spare = FLOOR * (height - unit * STAGE_HEIGHT)
        return Canvas(picture, np.array([[unit, 0.0, 0.0], [0.0, unit, spare]]))

    def stage(self, picture: Picture, time: float) -> Canvas:
        """Return the canvas of stage coordinates on a picture at a time."""
        canvas = self.at_rest(picture)
        if self.is_still:
            return canvas
        swing = math.sin(math.tau * (self.rate * time + self.phase))
        seed = math.tau * self.phase
        x = self.pan * swing + self._shake(time, seed)
        y = 0.3 * self.pan * math.cos(math.tau * 0.7 * self.rate * time) + self._shake(
            time, seed + 5
        )
        size = 1 + self.zoom * math.sin(math.tau * (0.8 * self.rate * time + 2 * self.phase))
        height, width = picture.shape[:2]
        matrix = canvas.matrix
        middle = ((width / 2 - matrix[0, 2]) / matrix[0, 0],
                  (height / 2 - matrix[1, 2]) / matrix[1, 1])  # fmt: skip
        begun = [shot for shot in self.shots if shot.start <= time] or self.shots[:1]
        shot = begun[-1] if begun else Shot(x=middle[0], y=middle[1])
        turn = shot.roll + 0.004 * self._shake(time, seed + 11)
        return canvas.placed(
            middle[0] + x, middle[1] + y, turn, size * shot.size, mirror=shot.is_mirrored
        ).placed(-shot.x, -shot.y)

    def _shake(self, time: float, phase: float) -> float:
        if not self.shake:
            return 0.0
        fast = math.sin(math.tau * 2.9 * time + phase) * (0.6 + 0.4 * wander(time, phase))
        return self.shake * (1.6 * wander(time, phase) + 0.35 * fast)
