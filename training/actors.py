"""What moves on the stage: people with and without instruments, the camera, balls and lights.

Each knows what it does at any time (seconds). Stage coordinates: the picture is 256 units wide,
origin top left, y down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from .canvas import Canvas, Colour
from .finish import Finish
from .motion import FIXED, PLAY, RESTS, SEATED, key_points
from .music import Part, ease
from .players import FEET_SEATED, FEET_STANDING, Look, Pair, Pose
from .styles import Style, wander

STAGE_WIDTH = 256.0
IDLE = ("still", "sway", "look", "scratch", "wave", "shift", "bob", "adjust", "conduct")
BYSTANDER = ("clap", "wave", "walk", "dance", "look", "still", "conduct")
READY = -1  # rests in the playing position
CLAP_HZ = 1.9


@dataclass(frozen=True)
class Actor:
    """A person on the stage, with an instrument or (`label` None) without.

    Attributes
    ----------
    label : str or None
    part : Part or None
        What is played; without notes where the instrument is only held.
    look, finish : Look, Finish or None
    size : float
        1 is about 127 units tall.
    mirrored : bool
    spot : (x, y)
        Where the feet stand, in stage coordinates.
    style : Style or None
        How the instrument is played.
    rest_form : int
        Which of the instrument's rest poses is taken; `READY`: that of playing.
    idle : tuple of (start, end, kind)
        What is done while not playing.
    walks : tuple of (start, end, from x, to x)
        In order of time.
    tempo : float
        Random phase of idle motions.
    fidget : float
        How much the body wanders by itself, playing or not; units.
    """

    label: str | None
    part: Part | None
    look: Look
    finish: Finish | None
    size: float
    mirrored: bool
    spot: Pair
    style: Style | None
    rest_form: int
    idle: tuple[tuple[float, float, str], ...]
    walks: tuple[tuple[float, float, float, float], ...]
    tempo: float
    fidget: float = 0.0

    @property
    def seated(self) -> bool:
        """Whether the person sits."""
        return self.label in SEATED

    @property
    def held(self) -> bool:
        """Whether the instrument leans with the player."""
        return self.label not in FIXED

    def pose(self, time: float) -> Pose:
        """Return how the person and the instrument are held at a time."""
        if self.label is None or self.part is None or self.style is None:
            return self._walking(self._idling(Pose(), time, 1.0), time)
        rests = RESTS[self.label]
        rest = rests[self.rest_form % len(rests)]
        if self.rest_form == READY:
            rest = PLAY[self.label](self.part.moment(0.0), self.style)
        moment = self.part.moment(time)
        pose = rest
        if moment.engaged < 1:
            pose = self._idling(rest, time, 1 - moment.engaged)
        if moment.engaged > 0:
            pose = pose.blend(PLAY[self.label](moment, self.style), moment.engaged)
        if self.label == "piano" and 0 < moment.engaged < 1:  # hands come up over the edge
            rise = 22 * math.sin(math.pi * moment.engaged)
            pose = replace(
                pose,
                left=(pose.left[0], pose.left[1] - rise),
                right=(pose.right[0], pose.right[1] - rise),
            )
        return self._walking(self._fidgeting(pose, time), time)

    def arms_hidden(self, time: float) -> bool:
        """Return whether the hands lie in the lap, behind the instrument."""
        return (
            self.label == "piano"
            and self.part is not None
            and (self.part.moment(time).engaged < 0.5)
        )

    def canvas(self, stage: Canvas, time: float) -> Canvas:
        """Return the canvas of the person's own coordinates at a time."""
        x, y = self.spot
        for start, end, from_x, to_x in self.walks:
            if time >= end:
                x = to_x
            elif time >= start:
                x = from_x + (to_x - from_x) * (time - start) / (end - start)
            elif (start, end, from_x, to_x) == self.walks[0]:
                x = from_x
        feet = FEET_SEATED if self.seated else FEET_STANDING
        return stage.placed(x, y - feet * self.size, 0.0, self.size, mirror=self.mirrored)

    def points(self, time: float) -> list[Pair]:
        """Return the key points in the person's coordinates; none while not playing."""
        if self.label is None or self.part is None or not self.part.is_playing(time):
            return []
        return key_points(self.label, self.pose(time))

    def _idling(self, pose: Pose, time: float, weight: float) -> Pose:
        pace = 0.75 + 0.5 * (self.tempo % 1)  # everybody has a pace of their own
        phase = math.tau * (pace * time + self.tempo)
        breath = 0.25 * math.sin(math.tau * 0.25 * (time + self.tempo))
        kind = next((kind for start, end, kind in self.idle if start <= time < end), "still")
        begin = next((start for start, end, _ in self.idle if start <= time < end), time)
        until = next((end for start, end, _ in self.idle if start <= time < end), time)
        weight *= ease((time - begin) / 0.5) * ease((until - time) / 0.5)
        dx, dy, lean = pose.body
        tilt, turn = pose.head
        left, right = pose.left, pose.right
        grips = pose.grips
        if kind == "sway":
            dx += weight * 1.5 * math.sin(phase * 0.3)
            lean += weight * 0.04 * math.sin(phase * 0.3)
        elif kind == "look":
            turn += weight * (math.sin(phase * 0.35) - turn)
            tilt += weight * 0.06 * math.sin(phase * 0.35)
        elif kind == "bob":  # dances with the instrument in the hands
            dx += weight * 3.5 * math.sin(phase * 0.9)
            dy += weight * 3.0 * abs(math.sin(phase * 0.9))
            lean += weight * 0.07 * math.sin(phase * 0.9 + 0.5)
        elif kind == "adjust" and self.held:  # lifts and turns it, as one does to look at it
            x, y = 3.0 * weight * math.sin(phase * 0.4), -5.0 * weight * abs(math.sin(phase * 0.5))
            pose = replace(pose, tool=(pose.tool[0] + x, pose.tool[1] + y, pose.tool[2]))
            left, right = (left[0] + x, left[1] + y), (right[0] + x, right[1] + y)
        elif kind == "shift" and not self.seated:
            dx += weight * 4.0
            lean += weight * 0.03
        elif kind in ("scratch", "wave", "conduct") and self.label != "drum":
            goal = (-9.0 + 1.2 * math.sin(phase * 2.6), -70.0 + 1.5 * math.cos(phase * 2.6))
            if kind == "wave":
                goal = (-31.0 + 6.0 * math.sin(phase * 1.6), -66.0)
            if kind == "conduct":
                goal = (-25.0 + 8.0 * math.sin(phase * 0.8), -42.0 + 9.0 * math.sin(phase * 1.6))
            bulge = 14.0 * math.sin(math.pi * weight)  # the hand goes round the shoulder
            left = (
                left[0] + (goal[0] - left[0]) * weight - bulge,
                left[1] + (goal[1] - left[1]) * weight,
            )
            grips = (grips[0] + (-1.4 - grips[0]) * weight, grips[1])
        elif kind == "clap":
            gap = 2.5 + 9.0 * weight * abs(math.sin(math.pi * CLAP_HZ * time))
            left, right, grips = (-gap, -24.0), (gap, -24.0), (-1.2, -1.9)
        elif kind == "dance":
            dx += weight * 5.0 * math.sin(phase * 0.8)
            dy += weight * 2.5 * abs(math.sin(phase * 0.8))
            lean += weight * 0.08 * math.sin(phase * 0.8)
            left = (-22 + 4 * math.sin(phase * 0.8), -22 + 12 * weight * math.sin(phase * 0.8))
            right = (22 + 4 * math.sin(phase * 0.8), -22 - 12 * weight * math.sin(phase * 0.8))
            grips = (-1.8, -1.3)
        return replace(
            pose, body=(dx, dy + breath, lean), head=(tilt, turn), left=left, right=right,
            grips=grips,
        )  # fmt: skip

    def _fidgeting(self, pose: Pose, time: float) -> Pose:
        if not self.fidget:
            return pose
        dx, dy, lean = pose.body
        tilt, turn = pose.head
        side = self.fidget * wander(time, self.tempo)
        nod = self.fidget * wander(1.3 * time, self.tempo + 9)
        return replace(
            pose, body=(dx + side, dy + 0.3 * nod, lean + 0.012 * side),
            head=(tilt + 0.02 * nod, turn),
        )  # fmt: skip

    def _walking(self, pose: Pose, time: float) -> Pose:
        for start, end, from_x, to_x in self.walks:
            if start <= time < end:
                steps = abs(to_x - from_x) * (time - start) / (end - start) / (44 * self.size)
                bounce = -1.5 * abs(math.sin(math.tau * steps))
                dx, dy, lean = pose.body
                return replace(pose, body=(dx, dy + bounce, lean), legs=(steps, 9.0))
        return pose


@dataclass(frozen=True)
class Mover:
    """A ball or a light that moves through the picture and has nothing to do with the music."""

    is_light: bool
    colour: Colour
    radius: float
    centre: Pair
    travel: Pair
    rate: float

    def position(self, time: float) -> Pair:
        """Return where it is at a time, in stage coordinates."""
        angle = math.tau * self.rate * time
        bounce = abs(math.sin(2.3 * angle)) if not self.is_light else math.sin(1.3 * angle)
        return (
            self.centre[0] + self.travel[0] * math.sin(angle),
            self.centre[1] - self.travel[1] * bounce,
        )
