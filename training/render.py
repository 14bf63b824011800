"""Pictures of a scene at any time and size.

What comes out: uint8 (H, W, 3) RGB, the same for the same scene, size and time.
"""

from __future__ import annotations

import cv2
import numpy as np

from .actors import Actor, Mover
from .backdrop import MARGIN, draw_audience, make_backdrop, make_light
from .canvas import Canvas, Picture, Points
from .instruments import INSTRUMENTS, draw_behind
from .players import Pose, draw_arm, draw_body
from .scene import Scene

N_NOISE = 7  # noise pictures that are taken in turn, each shifted


class Renderer:
    """Draws the frames of one scene.

    Parameters
    ----------
    scene : Scene
    size : (width, height)
        Of the pictures, in pixels.

    Examples
    --------
    >>> from playspot.training.scene import make_scene
    >>> Renderer(make_scene(0), (256, 144)).frame(0.5).shape
    (144, 256, 3)
    """

    def __init__(self, scene: Scene, size: tuple[int, int]) -> None:
        self.scene = scene
        self.size = size
        rng = np.random.default_rng([scene.seed, 2])
        plain = scene.level == "easy"
        self._backdrop = make_backdrop(rng, size, plain=plain)
        self._light = make_light(rng, size, scene.light, plain=plain)
        self._noise: list[Picture] = []
        if scene.noise > 0:
            shape = (size[1] + 32, size[0] + 32)
            for _ in range(N_NOISE):
                grain = rng.normal(0, scene.noise, shape) + 128
                grey = np.clip(grain, 0, 255).astype(np.uint8)
                self._noise.append(np.repeat(grey[:, :, None], 3, axis=2))

    def frame(self, time: float) -> Picture:
        """Return the picture at a time in seconds, uint8 (H, W, 3) RGB."""
        scene = self.scene
        picture = self._ground(time)
        stage = scene.camera.stage(picture, time)
        for mover in scene.movers:
            if mover.is_light:
                _glow(stage, mover, time)
        for actor in scene.actors:
            draw_actor(stage, actor, time)
        for mover in scene.movers:
            if not mover.is_light:
                x, y = mover.position(time)
                stage.ellipse((x, y), mover.radius, mover.radius, mover.colour)
                stage.ellipse((x - mover.radius * 0.3, y - mover.radius * 0.3),
                              mover.radius * 0.3, mover.radius * 0.3, (255, 255, 255))  # fmt: skip
        if scene.has_audience:
            draw_audience(stage, np.random.default_rng([scene.seed, 3]), time)
        picture = np.asarray(cv2.multiply(picture, self._light, scale=1 / 255), np.uint8)
        return self._noisy(picture, time)

    def _ground(self, time: float) -> Picture:
        width, height = self.size
        left, top = round(MARGIN * width), round(MARGIN * height)
        stage = self.scene.camera.stage(np.empty((height, width, 3), np.uint8), time)
        unit = width / 256
        if stage.scale == unit and not stage.matrix[:, 2].any():
            return self._backdrop[top : top + height, left : left + width].copy()
        matrix = stage.matrix.copy()
        matrix[:, :2] /= unit
        matrix[:, 2] -= matrix[:, :2] @ (left, top)
        warped = cv2.warpAffine(
            self._backdrop, matrix, (width, height), flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        return np.asarray(warped, np.uint8)

    def _noisy(self, picture: Picture, time: float) -> Picture:
        if not self._noise:
            return picture
        k = round(time * 1000)
        height, width = picture.shape[:2]
        x, y = (k * 7) % 32, (k * 13) % 32
        noise = self._noise[k % N_NOISE][y : y + height, x : x + width]
        return np.asarray(cv2.addWeighted(picture, 1.0, noise, 1.0, -128.0), np.uint8)


def _glow(stage: Canvas, mover: Mover, time: float) -> None:
    """Add a soft round light around the mover's position."""
    x, y = stage.pixels(np.array([mover.position(time)]))[0]
    radius = mover.radius * stage.scale
    height, width = stage.picture.shape[:2]
    x0, x1 = max(0, int(x - radius)), min(width, int(x + radius))
    y0, y1 = max(0, int(y - radius)), min(height, int(y + radius))
    if x0 >= x1 or y0 >= y1:
        return
    u = (np.arange(x0, x1) - x) / radius
    v = (np.arange(y0, y1) - y) / radius
    level = np.clip(1 - u[None, :] ** 2 - v[:, None] ** 2, 0, 1) ** 2  # (h, w)
    glow = (level[:, :, None] * (np.asarray(mover.colour) * 0.5)).astype(np.uint8)
    part = stage.picture[y0:y1, x0:x1]
    part[:] = cv2.add(part, glow)


def draw_actor(stage: Canvas, actor: Actor, time: float) -> None:
    """Draw one person, with the instrument, at a time."""
    canvas = actor.canvas(stage, time)
    pose = actor.pose(time)
    if actor.label is None or actor.finish is None:
        draw_body(canvas, actor.look, pose, seated=False)
        for side in (-1, 1):
            draw_arm(canvas, actor.look, pose, side, held=True)
        return
    instrument = INSTRUMENTS[actor.label]
    holding = canvas.placed(*pose.body) if actor.held else canvas
    draw_behind(canvas, actor.label, pose, actor.finish)
    draw_body(canvas, actor.look, pose, seated=actor.seated)
    hidden = actor.arms_hidden(time)
    if hidden:
        _draw_arms(canvas, actor, pose)
    instrument.before(holding.placed(*pose.tool), pose, actor.finish)
    if not hidden:
        _draw_arms(canvas, actor, pose)
    if instrument.after is not None:
        instrument.after(holding, pose, actor.finish)


def _draw_arms(canvas: Canvas, actor: Actor, pose: Pose) -> None:
    for side in (1, -1):
        draw_arm(canvas, actor.look, pose, side, held=actor.held)


def instrument_box(stage: Canvas, actor: Actor, time: float) -> Points:
    """Return the box of an actor's instrument on the picture, in pixels: (x0, y0, x1, y1).

    It is not clipped to the picture.
    """
    if actor.label is None:
        return np.zeros(4)
    pose = actor.pose(time)
    canvas = actor.canvas(stage, time)
    holding = canvas.placed(*pose.body) if actor.held else canvas
    corners = holding.placed(*pose.tool).pixels(INSTRUMENTS[actor.label].outline(pose))
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])
