"""Pictures of a scene at any time and size.

What comes out: uint8 (H, W, 3) RGB, the same for the same scene, size and time.
"""

from __future__ import annotations

import cv2
import numpy as np

from .actors import Actor, Mover
from .backdrop import MARGIN, draw_audience, make_backdrop, make_light
from .canvas import Canvas, Picture, Points
from .cloth import Weave, woven
from .instruments import INSTRUMENTS, draw_behind
from .players import Pose, draw_arm, draw_body
from .scene import Scene
from .shares import share_of

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
        film = scene.film
        kind = "plain" if plain else "photo" if film.is_photo else "drawn"
        self._backdrop = make_backdrop(rng, share_of(scene.seed), size, kind)
        self._light = make_light(rng, size, film.light, plain=plain)
        self._tones = _tones(film.gamma)
        self._weaves: dict[int, Weave] = {}
        if film.texture > 0:
            self._weaves = {id(actor): Weave(rng, film.texture) for actor in scene.actors}
        self._noise: list[Picture] = []
        if film.noise > 0:
            shape = (size[1] + 32, size[0] + 32)
            for _ in range(N_NOISE):
                grain = rng.normal(0, film.noise, shape) + 128
                grey = np.clip(grain, 0, 255).astype(np.uint8)
                self._noise.append(np.repeat(grey[:, :, None], 3, axis=2))

    def frame(self, time: float) -> Picture:
        """Return the picture at a time in seconds, uint8 (H, W, 3) RGB."""
        film = self.scene.film
        if film.shutter:
            times = (time + film.shutter * share for share in (-0.33, 0.0, 0.33))
            exposed = [self._sharp(max(0.0, moment)) for moment in times]
            mean = cv2.addWeighted(exposed[0], 0.5, exposed[2], 0.5, 0)
            picture = cv2.addWeighted(mean, 0.667, exposed[1], 0.333, 0)
        else:
            picture = self._sharp(time)
        if film.soft > 0.3:
            picture = cv2.GaussianBlur(picture, (0, 0), film.soft)
        picture = cv2.multiply(picture, self._light, scale=1 / 255)
        if film.gamma != 1:
            picture = cv2.LUT(picture, self._tones)
        return self._noisy(np.asarray(picture, np.uint8), time)

    def _sharp(self, time: float) -> Picture:
        scene = self.scene
        picture = self._ground(time)
        stage = scene.camera.stage(picture, time)
        for mover in scene.movers:
            if mover.is_light:
                _glow(stage, mover, time)
        for actor in scene.actors:
            draw_actor(stage, actor, time, self._weaves.get(id(actor)))
        for mover in scene.movers:
            if not mover.is_light:
                x, y = mover.position(time)
                stage.ellipse((x, y), mover.radius, mover.radius, mover.colour)
                stage.ellipse((x - mover.radius * 0.3, y - mover.radius * 0.3),
                              mover.radius * 0.3, mover.radius * 0.3, (255, 255, 255))  # fmt: skip
        if scene.has_audience:
            rest = scene.camera.at_rest(picture).matrix
            bottom = (self.size[1] - rest[1, 2]) / rest[1, 1]
            draw_audience(stage, np.random.default_rng([scene.seed, 3]), time, bottom)
        return picture

    def _ground(self, time: float) -> Picture:
        width, height = self.size
        left, top = round(MARGIN * width), round(MARGIN * height)
        if self.scene.camera.is_still:
            return self._backdrop[top : top + height, left : left + width].copy()
        blank = np.empty((height, width, 3), np.uint8)
        rest = self.scene.camera.at_rest(blank).matrix
        matrix = self.scene.camera.stage(blank, time).matrix
        matrix[:, :2] /= rest[0, 0]  # from pixels at rest, not from stage units
        matrix[:, 2] -= matrix[:, :2] @ (rest[:, 2] + (left, top))
        warped = cv2.warpAffine(
            self._backdrop, matrix, (width, height), flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
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


def _tones(gamma: float) -> Picture:
    """Return the table of tones 0-255 that a gamma makes of them."""
    return np.asarray(np.round(255 * (np.arange(256) / 255) ** gamma), np.uint8)


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


def draw_actor(stage: Canvas, actor: Actor, time: float, weave: Weave | None = None) -> None:
    """Draw one person, with the instrument, at a time; `weave` is what they are made of."""
    canvas = actor.canvas(stage, time)
    pose = actor.pose(time)
    body = canvas.placed(*pose.body)
    if actor.label is None or actor.finish is None:
        with woven(body, weave):
            draw_body(canvas, actor.look, pose, seated=False)
        for side in (-1, 1):
            draw_arm(canvas, actor.look, pose, side, held=True)
        return
    instrument = INSTRUMENTS[actor.label]
    holding = body if actor.held else canvas
    tool = holding.placed(*pose.tool)
    with woven(body, weave):
        draw_behind(canvas, actor.label, pose, actor.finish)
        draw_body(canvas, actor.look, pose, seated=actor.seated)
    hidden = actor.arms_hidden(time)
    if hidden:
        _draw_arms(canvas, actor, pose)
    with woven(tool, weave):
        instrument.before(tool, pose, actor.finish)
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
    if actor.label is None or actor.finish is None:
        return np.zeros(4)
    pose = actor.pose(time)
    canvas = actor.canvas(stage, time)
    holding = canvas.placed(*pose.body) if actor.held else canvas
    corners = holding.placed(*pose.tool).pixels(
        INSTRUMENTS[actor.label].outline(pose, actor.finish)
    )
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])
