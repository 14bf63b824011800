"""The people of the bandstand: how they look, how they hold themselves, and how they are drawn.

Coordinates are a person's own: origin between the hips, x to the right of the picture, y down,
1 unit = 1 pixel of a 256-pixel-wide picture at size 1. "Left" and "right" are as seen in the
picture. A standing person reaches from y = -76 to 52.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.random import Generator

from .canvas import Canvas, Colour, from_hsv, shade, smooth
from .shares import Share

Pair = tuple[float, float]

SHOULDER_X, SHOULDER_Y = 14.5, -41.0
NECK = (0.0, -46.0)
MOUTH = (0.0, -54.5)
UPPER_ARM, FOREARM = 24.0, 23.0
FEET_STANDING, FEET_SEATED = 51.0, 38.0

SKINS: tuple[Colour, ...] = (
    (244, 208, 177), (231, 184, 143), (206, 150, 108), (165, 110, 74), (118, 76, 51), (86, 56, 41),
)  # fmt: skip
HAIRS: tuple[Colour, ...] = (
    (34, 26, 24), (62, 42, 30), (104, 70, 42), (168, 122, 66), (214, 178, 110), (150, 62, 34),
    (190, 188, 186),
)  # fmt: skip


@dataclass(frozen=True)
class Look:
    """What a person looks like: colours, and numbers that choose between forms."""

    skin: Colour
    hair: Colour
    hair_form: int  # 0 short, 1 long, 2 bun, 3 curls, 4 bald with beard, 5 hat, 6 mane, 7 cap
    shirt: Colour
    second: Colour  # stripes, tie, hat
    shirt_form: int  # 0 plain, 1 stripes, 2 suit, 3 waistcoat, 4 dress, 5 band, 6 dots
    trousers: Colour
    shoes: Colour
    glasses: bool


def make_look(rng: Generator, share: Share) -> Look:
    """Return a random look out of what a split may have."""
    hue = share.uniform(rng, 0, 1)
    form = int(rng.choice(share.clothes))
    shirt = from_hsv(hue, share.uniform(rng, 0.3, 0.8), share.uniform(rng, 0.35, 0.95))
    if form == 2:
        shirt = from_hsv(hue, share.uniform(rng, 0.05, 0.4), share.uniform(rng, 0.12, 0.4))
    return Look(
        skin=_between(SKINS, share.uniform(rng, 0, 1)),
        hair=_between(HAIRS, share.uniform(rng, 0, 1)),
        hair_form=int(rng.choice(share.hairs)),
        shirt=shirt,
        second=from_hsv(
            hue + share.uniform(rng, 0.3, 0.7), rng.uniform(0.2, 0.9), share.uniform(rng, 0.4, 1.0)
        ),
        shirt_form=form,
        trousers=from_hsv(
            share.uniform(rng, 0, 1), rng.uniform(0.1, 0.5), share.uniform(rng, 0.12, 0.5)
        ),
        shoes=from_hsv(rng.random(), 0.3, share.uniform(rng, 0.05, 0.3)),
        glasses=bool(rng.random() < 0.2),
    )


def _between(colours: tuple[Colour, ...], place: float) -> Colour:
    """Return the colour at a place 0-1 of a row of colours."""
    at = place * (len(colours) - 1)
    one, two = colours[int(at)], colours[min(int(at) + 1, len(colours) - 1)]
    u = at - int(at)
    return tuple(a + (b - a) * u for a, b in zip(one, two, strict=True))  # type: ignore[return-value]


@dataclass(frozen=True)
class Pose:
    """How a person and the instrument are held at one time.

    Attributes
    ----------
    body : (dx, dy, lean)
        Hip offset; lean in radians about the hips, clockwise.
    head : (tilt, turn)
        Radians about the neck; -1 to 1, where the face looks.
    left, right : (x, y)
        Hands.
    grips : (left, right)
        Where fingers point, in radians.
    tool : (x, y, angle)
        Origin and angle of the instrument.
    part : tuple of float
        What moves on the instrument; its meaning is the instrument's.
    fingers : tuple of float
        Eight lifts 0-1, left hand first.
    legs : (phase, stride)
        Of the walk: turns; units.
    """

    body: tuple[float, float, float] = (0.0, 0.0, 0.0)
    head: Pair = (0.0, 0.0)
    left: Pair = (-20.0, 2.0)
    right: Pair = (20.0, 2.0)
    grips: Pair = (1.6, 1.54)
    tool: tuple[float, float, float] = (0.0, 0.0, 0.0)
    part: tuple[float, ...] = ()
    fingers: tuple[float, ...] = (0.0,) * 8
    legs: Pair = (0.0, 0.0)

    def blend(self, other: Pose, amount: float) -> Pose:
        """Return the pose `amount` (0-1) of the way from this one to another."""
        if amount <= 0:
            return self
        if amount >= 1:
            return other
        mixed = {}
        for f in fields(self):
            pairs = zip(getattr(self, f.name), getattr(other, f.name), strict=True)
            mixed[f.name] = tuple(a + (b - a) * amount for a, b in pairs)
        return Pose(**mixed)

    def upright(self, point: Pair) -> Pair:
        """Return where a point of the leaning upper body is in the person's coordinates."""
        dx, dy, lean = self.body
        c, s = math.cos(lean), math.sin(lean)
        return dx + c * point[0] - s * point[1], dy + s * point[0] + c * point[1]

    def mouth(self) -> Pair:
        """Return where the mouth is, in the coordinates of the leaning upper body."""
        tilt, turn = self.head
        x, y = MOUTH[0] + 3.0 * turn - NECK[0], MOUTH[1] - NECK[1]
        c, s = math.cos(tilt), math.sin(tilt)
        return NECK[0] + c * x - s * y, NECK[1] + s * x + c * y


_TORSO = smooth(
    [(-10, 4), (-11, -14), (-14, -30), (-16, -40), (-8, -46), (8, -46), (16, -40), (14, -30),
     (11, -14), (10, 4)]
)  # fmt: skip
_DRESS = smooth([(-11, -8), (-19, 34), (-10, 37), (10, 37), (19, 34), (11, -8)])
_SHADE = smooth([(4, 4), (8, -20), (9, -44), (16, -40), (13.5, -30), (10.5, -14), (9.5, 4)])
_LAPELS = np.array([[-6, -46], [0, -22], [6, -46]], np.float64)
_TIE = np.array([[0, -45], [2.2, -28], [0, -24], [-2.2, -28]], np.float64)
_HAIR_TOP = smooth(
    [(-10.8, -61), (-10.5, -70), (-5, -75.5), (4, -75.5), (10.5, -70), (10.8, -61), (8.2, -67),
     (1, -69.5), (-6, -68)]
)  # fmt: skip
_HAIR_LONG = smooth([(-11, -70), (0, -76), (11, -70), (13, -52), (11, -40), (-11, -40), (-13, -52)])
_BEARD = smooth([(-9, -57), (-6, -56), (0, -57), (6, -56), (9, -57), (6, -49), (0, -47), (-6, -49)])
_MOUTH_CURVE = np.array([[-2.6, -54.9], [-1, -53.9], [1, -53.9], [2.6, -54.9]])


def draw_body(canvas: Canvas, look: Look, pose: Pose, *, seated: bool) -> None:
    """Draw a person without arms (those may lie before the instrument)."""
    hips = canvas.placed(pose.body[0], pose.body[1])
    _draw_legs(canvas, hips, look, pose, seated=seated)
    upper = canvas.placed(*pose.body)
    if look.shirt_form == 4 and not seated:
        hips.fill(_DRESS, shade(look.shirt, 0.9))
    head = upper.placed(*NECK, pose.head[0]).placed(-NECK[0], -NECK[1])
    if look.hair_form == 1:
        head.fill(_HAIR_LONG, shade(look.hair, 0.8))
    if look.hair_form == 6:
        head.ellipse((0, -65), 15, 14, shade(look.hair, 0.85))
    upper.limb((0, -50), (0, -42), 4.2, 5.2, shade(look.skin, 0.85))
    upper.fill(_TORSO, look.shirt)
    if look.shirt_form == 1:
        for y in (-36, -27, -18, -9):
            half = 9.0 - 0.1 * (y + 9)
            upper.limb((-half, y), (half, y), 1.4, 1.4, look.second)
    if look.shirt_form == 5:
        upper.box(-12.5, -32, 12.5, -22, look.second)
    if look.shirt_form == 6:
        for i in range(12):
            upper.ellipse((-8 + 5.2 * (i % 4), -34 + 10 * (i // 4) + 4 * (i % 2)), 1.4, 1.4,
                          look.second)  # fmt: skip
    if look.shirt_form in (2, 3):
        upper.fill(_LAPELS, (236, 234, 228))
        upper.fill(_TIE, look.second)
    if look.shirt_form == 3:
        upper.ellipse((0, -15), 1.2, 1.2, (236, 234, 228))
        upper.ellipse((0, -8), 1.2, 1.2, (236, 234, 228))
    upper.fill(_SHADE, shade(look.shirt, 0.84))
    upper.limb((-4, -46), (4, -46), 1.6, 1.6, shade(look.skin, 0.9))
    _draw_head(head, look, pose.head[1])


def _draw_legs(canvas: Canvas, hips: Canvas, look: Look, pose: Pose, *, seated: bool) -> None:
    dark = shade(look.trousers, 0.8)
    if seated:
        canvas.box(-11, 5, 11, 9, (70, 52, 40))
        canvas.limb((-8, 9), (-10, 37), 1.3, 1.3, (52, 40, 32))
        canvas.limb((8, 9), (10, 37), 1.3, 1.3, (52, 40, 32))
        for side in (-1, 1):
            foot = (side * 15.0, FEET_SEATED - 2)
            canvas.limb((side * 16.0, 9), foot, 5.0, 3.8, dark)
            hips.limb((side * 6.0, 1), (side * 16.0, 8), 7.0, 6.0, look.trousers)
            canvas.ellipse((foot[0] + side * 2, foot[1] + 1), 6, 3, look.shoes)
        return
    phase, stride = pose.legs
    for side in (-1, 1):
        swing = stride * math.sin(math.tau * phase + (math.pi if side > 0 else 0.0))
        lift = 0.35 * stride * max(0.0, math.cos(math.tau * phase + (math.pi * (side > 0))))
        knee = (side * 7.0 + 0.5 * swing, 25.0 - lift)
        foot = (side * 8.0 + swing, FEET_STANDING - 3 - lift)
        colour = look.skin if look.shirt_form == 4 else (look.trousers if side < 0 else dark)
        canvas.limb(knee, foot, 5.0, 3.6, colour)
        hips.limb((side * 5.5, 0), knee, 6.6, 5.2, colour)
        canvas.ellipse((foot[0] + side * 1.5, foot[1] + 1.5), 6, 2.8, look.shoes)
    hips.limb((-5, 0), (5, 0), 6, 6, look.trousers)


def _draw_head(head: Canvas, look: Look, turn: float) -> None:
    x = 3.0 * turn
    head.ellipse((-10.2, -60), 2.2, 3, shade(look.skin, 0.85))
    head.ellipse((10.2, -60), 2.2, 3, shade(look.skin, 0.85))
    head.ellipse((0, -61.5), 10.3, 12.6, look.skin)
    head.ellipse((x - 4, -58), 2.4, 1.6, shade(look.skin, 0.93))
    head.ellipse((x + 4, -58), 2.4, 1.6, shade(look.skin, 0.93))
    if look.hair_form == 4:
        head.fill(_BEARD, look.hair)
    else:
        head.fill(_HAIR_TOP, look.hair)
    if look.hair_form == 2:
        head.ellipse((0, -77), 5, 4.5, look.hair)
    if look.hair_form == 3:
        for cx, cy in ((-9, -66), (-6, -72), (0, -75), (6, -72), (9, -66)):
            head.ellipse((cx, cy), 4.6, 4.6, look.hair)
    if look.hair_form == 5:
        head.box(-9.5, -80, 9.5, -70, look.second)
        head.box(-9.5, -73, 9.5, -70, shade(look.second, 0.5))
        head.limb((-14, -69.5), (14, -69.5), 1.7, 1.7, shade(look.second, 0.85))
    if look.hair_form == 7:
        head.placed(0, -1.5).fill(_HAIR_TOP, look.second)
        head.limb((x - 8, -67), (x + 8, -67), 1.4, 1.4, shade(look.second, 0.6))
    for side in (-1, 1):
        head.ellipse((x + side * 4, -62), 1.25, 1.6, (38, 30, 30))
        head.line(np.array([[x + side * 2.4, -65.6], [x + side * 5.8, -65.8]]), 1.0, look.hair)
    head.line(np.array([[x, -61.0], [x + 0.8, -58.2], [x - 0.6, -58]]), 0.9, shade(look.skin, 0.72))
    head.line(np.add(_MOUTH_CURVE, (x, 0)), 1.1, (164, 70, 66))
    if look.glasses:
        for side in (-1, 1):
            ring = np.array([[-2.6, -2], [2.6, -2], [2.6, 2], [-2.6, 2], [-2.6, -2]])
            head.line(np.add(ring, (x + side * 4, -62)), 0.8, (30, 30, 34))


def elbow(shoulder: Pair, hand: Pair, side: int) -> Pair:
    """Return where the elbow is in the picture, for arms of fixed length seen from the front.

    Elbows hang down and outwards. Where neither way of bending does so the elbow points at the
    viewer, so that it moves without a jump as the hand does.

    Parameters
    ----------
    shoulder, hand : (x, y)
    side : int
        -1 for the left arm, 1 for the right.
    """
    dx, dy = hand[0] - shoulder[0], hand[1] - shoulder[1]
    distance = math.hypot(dx, dy) or 1.0
    ux, uy = dx / distance, dy / distance
    reach = min(max(distance, 8.0), UPPER_ARM + FOREARM - 0.01)
    along = (UPPER_ARM**2 - FOREARM**2 + reach**2) / (2 * reach)
    off = math.sqrt(max(0.0, UPPER_ARM**2 - along**2)) * min(1.0, 0.4 + reach / 60)
    across = 0.5 - 0.5 * side * ux  # 1 where the hand lies on the other side of the body
    out, down = side * (0.95 - 0.65 * across), 0.3 + 0.7 * across  # where elbows like to be
    off *= min(1.0, max(-1.0, 2.2 * (ux * down - uy * out)))
    x, y = shoulder[0] + ux * along - uy * off, shoulder[1] + uy * along + ux * off
    near = max(0.0, 1 - distance / 18)  # a hand at the shoulder: the elbow just hangs
    return x + (shoulder[0] + 9 * side - x) * near, y + (shoulder[1] + 15 - y) * near


def draw_arm(
    canvas: Canvas, look: Look, pose: Pose, side: int, *, held: bool, behind: bool = False
) -> None:
    """Draw one arm with its hand.

    Parameters
    ----------
    canvas : Canvas
        In the person's coordinates.
    look : Look
    pose : Pose
    side : int
        -1 for the left arm, 1 for the right.
    held : bool
        Whether hands are given in the coordinates of the leaning upper body.
    behind : bool
        Whether fingers are left out: they are behind what the hand holds.
    """
    shoulder = pose.upright((side * SHOULDER_X, SHOULDER_Y))
    hand = pose.left if side < 0 else pose.right
    hand = pose.upright(hand) if held else hand
    bent = elbow(shoulder, hand, side)
    sleeve = shade(look.shirt, 0.92 if side < 0 else 0.78)
    canvas.limb(shoulder, bent, 5.6, 4.6, sleeve)
    reach = math.hypot(hand[0] - bent[0], hand[1] - bent[1]) or 1.0
    wrist = (
        bent[0] + (hand[0] - bent[0]) * max(0.0, 1 - 3 / reach),
        bent[1] + (hand[1] - bent[1]) * max(0.0, 1 - 3 / reach),
    )
    if look.shirt_form == 0:  # short sleeves
        canvas.limb(bent, wrist, 4.1, 2.9, shade(look.skin, 0.94))
        canvas.limb(
            (shoulder[0] * 0.3 + bent[0] * 0.7, shoulder[1] * 0.3 + bent[1] * 0.7), bent, 5.2, 4.7,
            sleeve,
        )  # fmt: skip
    else:
        canvas.limb(bent, wrist, 4.6, 3.6, shade(sleeve, 0.95))
        cuff = (236.0, 234.0, 228.0) if look.shirt_form in (2, 3) else shade(look.second, 0.9)
        back = (wrist[0] * 0.85 + bent[0] * 0.15, wrist[1] * 0.85 + bent[1] * 0.15)
        canvas.limb(back, wrist, 3.9, 3.8, cuff)
    angle = pose.grips[0 if side < 0 else 1] + (pose.body[2] if held else 0.0)
    palm = canvas.placed(hand[0], hand[1], angle)
    palm.ellipse((0, 0), 4.5, 4.6, shade(look.skin, 0.72))
    palm.ellipse((0, 0), 4.0, 4.1, look.skin)
    if behind:
        return
    lifts = pose.fingers[:4] if side < 0 else pose.fingers[4:]
    for i, lift in enumerate(lifts):
        y = (i - 1.5) * 2.4
        tone = shade(look.skin, 0.86 + 0.1 * (i % 2))
        palm.limb((1.5, y * 0.8), (7.6 - 4.4 * lift, y), 1.4, 1.2, tone)
