"""How each of the nine instruments is held, played and put down.

What goes in: a `Moment` of a part. What comes out: the `Pose` of its player, and the key points of
Liu, Yang and Jeng 2018, section IV-C2, in the player's coordinates: mouth and pressing hands of
winds; fretting hand and the place where bow or pick meets the strings; both hands and the middle of
the bellows; where hands or sticks hit.

Each motion has a pattern of optical flow of its own and turns with the notes; `styles.py` holds the
ways in which players differ.
"""

from __future__ import annotations

import math
from dataclasses import replace

from .music import FAR, Moment, ease
from .players import SHOULDER_X, SHOULDER_Y, Pair, Pose
from .styles import Style, wander

Tool = tuple[float, float, float]

BOW_LENGTH = 44.0
VIOLIN_BOWED, CELLO_BOWED, GUITAR_STRUMMED = 13.0, 30.0, 17.0  # along the instrument
KIT: tuple[Pair, ...] = (  # where sticks hit: KICK, SNARE, HAT, TOM, FLOOR_TOM, CRASH
    (0, 14), (-19, -6), (-40, -15), (11, -15), (33, 1), (41, -37),
)  # fmt: skip
KEYBOARD_HALF = 46.0
STICK = 23.0


def on_tool(tool: Tool, along: float, across: float) -> Pair:
    """Return where a point of the instrument is, in the coordinates that `tool` is given in."""
    c, s = math.cos(tool[2]), math.sin(tool[2])
    return tool[0] + c * along - s * across, tool[1] + s * along + c * across


def _swaying(m: Moment, style: Style, amount: float, shift: float = 0.0) -> float:
    """Return a sway with the beat that wanders off it, as bodies do."""
    beat = math.sin(math.tau * (m.beats / style.period + shift))
    return style.sway * amount * (0.6 * beat + 0.6 * wander(m.time, style.phase + shift))


def _accent(m: Moment, fall: float = 0.16) -> float:
    return math.exp(-m.since / fall) * ease(m.since / 0.04) if m.since < FAR else 0.0


def _bow(m: Moment, style: Style) -> float:
    """Return where the bow is between its ends, -1 to 1."""
    way = -1.0 if m.index % 2 else 1.0
    if style.pattern == "tremolo":  # small and fast, wandering over the bow
        return 0.4 * m.swing + 0.3 * math.sin(math.tau * 3.6 * m.time + style.phase)
    if style.pattern == "stroke":  # fast, then it waits for the next note
        return way * (1 - 2 * ease(m.since / 0.22)) if m.index >= 0 else 1.0
    if style.pattern in ("slur2", "slur3"):
        group, k = divmod(max(0, m.index), int(style.pattern[-1]))
        u = (k + m.progress) / int(style.pattern[-1])
        return (-1.0 if group % 2 else 1.0) * (1 - u - ease(u))
    return m.swing


def play_violin(m: Moment, style: Style) -> Pose:
    """Return short strokes of the bow across a violin at the chin."""
    bow = _bow(m, style)
    tilt = 0.10 + style.tilt
    tool = (3.0, -47.0, tilt + 0.05 * bow + _swaying(m, style, 0.05))
    angle = -0.92 + 0.8 * style.tilt + 0.10 * math.sin(math.tau * m.beats / 3)
    along = VIOLIN_BOWED + style.spot
    reach = 21.0 + 14.0 * style.reach * bow
    x, y = on_tool(tool, along, 0)
    tremble = 0.6 * math.sin(math.tau * 5.5 * m.time) if m.since > 0.15 else 0.0  # vibrato
    return Pose(
        body=(1.2 * bow + _swaying(m, style, 1.5), 0.0, _swaying(m, style, 0.04) - 0.02 * bow),
        head=(0.2 - 0.05 * bow + _swaying(m, style, 0.03, 0.3), 0.6),
        left=(x - math.cos(angle) * reach, y - math.sin(angle) * reach),
        right=on_tool(tool, 38.0 - 9.0 * m.place + tremble, 4.5),
        grips=(angle - 0.4, -1.4 + tool[2]),
        tool=tool,
        part=(angle, along),
        fingers=m.fingers,
    )


def play_cello(m: Moment, style: Style) -> Pose:
    """Return wide, level strokes at the height of the knees; the other hand wanders on the neck."""
    bow = _bow(m, style)
    tool = (-4.0, 30.0, -1.37 - style.tilt - 0.03 * bow + _swaying(m, style, 0.015))
    angle = -0.05 - 0.7 * style.tilt + 0.07 * math.sin(math.tau * m.beats / 3)
    along = CELLO_BOWED + style.spot
    reach = 17.0 + 14.0 * style.reach * bow
    x, y = on_tool(tool, along, 0)
    tremble = 0.8 * math.sin(math.tau * 5.0 * m.time) if m.since > 0.15 else 0.0
    return Pose(
        body=(_swaying(m, style, 0.8), 1.5, _swaying(m, style, 0.04) - 0.035 * bow),
        head=(0.06 - 0.03 * bow + _swaying(m, style, 0.05, 0.3), -0.3),
        left=(x - math.cos(angle) * reach, y - math.sin(angle) * reach),
        right=on_tool(tool, 76.0 - 22.0 * m.place + tremble, 3.0),
        grips=(angle - 0.2, tool[2] - 1.5),
        tool=tool,
        part=(angle, along),
        fingers=m.fingers,
    )


def play_guitar(m: Moment, style: Style) -> Pose:
    """Return strokes up and down across the strings; the other hand is on the neck."""
    nod = _swaying(m, style, 1.0)
    along = GUITAR_STRUMMED + style.spot
    tool = (-20.0, -3.0 + 1.2 * nod, -0.36 - style.tilt + 0.04 * nod)
    way = -1.0 if m.index % 2 else 1.0
    swing = way * math.sin(math.pi * m.progress)  # one stroke a note
    if style.pattern == "swing":  # the wrist goes on between the notes
        swing = math.cos(math.tau * m.beats)
    elif style.pattern == "double":
        swing = (0.8 + 0.2 * nod) * math.cos(math.tau * 2 * m.beats)
    elif style.pattern == "down":
        swing = 1 - 2 * ease(m.since / 0.1) + 2 * ease((m.since - 0.12) / 0.2)
        swing = -swing if m.since < FAR else -1.0
    elif style.pattern == "pick":  # the hand hardly leaves the strings, fingers do
        swing = 0.22 * way * math.sin(math.pi * m.progress)
    across = 12.5 * style.reach * swing
    plucking = m.fingers[:4] if style.pattern == "pick" else (0.5, 0.5, 0.6, 0.6)
    return Pose(
        body=(_swaying(m, style, 1.8), 0.8 * abs(nod), _swaying(m, style, 0.025)),
        head=(0.04 + 0.04 * math.sin(math.tau * m.beats) * min(1.0, style.sway), 0.5),
        left=on_tool(tool, along + 1.5 * abs(swing), across - 2.0),
        right=on_tool(tool, 60.0 - 20.0 * m.place, 4.0),
        grips=(0.75 + 0.25 * swing, tool[2] - 1.5),
        tool=tool,
        part=(along,),
        fingers=(*plucking, *m.fingers[4:]),
    )


def play_piano(m: Moment, style: Style) -> Pose:
    """Return both hands wandering along a keyboard, with a dip at each chord."""
    hands = []
    for side, (last, following, since, until) in zip((-1, 1), m.hits, strict=True):
        total = since + until
        u = ease((since - 0.06) / max(0.1, total - 0.12)) if total < 2 * FAR else 0.0
        place = last + (following - last) * u
        x = side * 4.0 + (place - 0.5) * 2.6 * KEYBOARD_HALF * style.reach
        if style.pattern == "roll":  # runs up and down around the note
            x += 7.0 * style.reach * math.sin(math.tau * (m.beats / 2 + 0.25 * side))
        elif style.pattern == "stride" and side < 0:  # leaps between bass and chord
            x -= 16.0 * style.reach * (0.5 - ease(0.5 + 2 * math.sin(math.tau * m.beats / 2)))
        elif style.pattern == "wave":  # both go to and fro together
            x += 9.0 * style.reach * math.sin(math.tau * m.beats / style.period)
        elif style.pattern == "shake":
            x += 2.2 * style.reach * math.sin(math.tau * 4.3 * m.time + side)
        x = max(6.0, min(40.0, x)) if side > 0 else max(-40.0, min(-6.0, x + 8.0))
        raised = min(ease(since / 0.14), ease(until / 0.09)) * min(1.0, total / 0.35)
        hands.append((x, -8.0 - 10.0 * style.lift * raised))
    lean = 0.0015 * (hands[0][0] + hands[1][0]) + _swaying(m, style, 0.03)
    return Pose(
        body=(_swaying(m, style, 0.8, 0.2), 0.8 * _accent(m), lean),
        head=(0.5 * lean + _swaying(m, style, 0.05), 0.02 * hands[1][0]),
        left=hands[0],
        right=hands[1],
        grips=(1.57, 1.57),
        tool=(0.0, -6.0, 0.0),
        fingers=m.fingers,
    )


def _stick_hand(spot: Pair, side: int) -> Pair:
    """Return where the hand is whose stick hits a spot: towards the shoulder."""
    dx, dy = side * SHOULDER_X - spot[0], SHOULDER_Y + 24.0 - spot[1]
    length = math.hypot(dx, dy) or 1.0
    return spot[0] + dx / length * STICK, spot[1] + 0.55 * dy / length * STICK


_STICK_PATHS = {"outward": 8.0, "inward": -7.0, "high": 3.0}  # units sideways, at the top


def play_drum(m: Moment, style: Style) -> Pose:
    """Return sticks that rise and fall in turn on drums and cymbals."""
    hands: list[Pair] = []
    tips: list[float] = []
    spots: list[float] = []
    wobbles = [0.0, 0.0]
    for side, (last, following, since, until) in zip((-1, 1), m.hits, strict=True):
        total = since + until
        a, b = KIT[round(last) if since < FAR else round(following)], KIT[round(following)]
        u = ease((since - 0.02) / max(0.1, total - 0.05)) if total < FAR else 0.0
        x, y = a[0] + (b[0] - a[0]) * u, a[1] + (b[1] - a[1]) * u
        raised = min(ease(since / 0.2), ease(until / 0.11)) * min(1.0, 0.35 + total / 0.6)
        raised *= style.lift if total < FAR else 0.5
        out = side * _STICK_PATHS.get(style.pattern, 0.0) * raised
        (ax, ay), (bx, by) = _stick_hand(a, side), _stick_hand(b, side)
        wrist = 7.0 if style.pattern == "low" else 12.0
        hands.append((ax + (bx - ax) * u + 0.6 * out, ay + (by - ay) * u - wrist * raised))
        tips += [x + out, y - 27.0 * raised]
        spots += [x, y]
        for i, target in enumerate((2, 5)):
            if round(last) == target and since < FAR:
                wobbles[i] = math.exp(-since / 0.25) * math.sin(math.tau * 4 * since)
    nod = _swaying(m, style, 1.0)
    return Pose(
        body=(_swaying(m, style, 0.8, 0.2), 0.6 * nod, 0.0006 * (tips[0] + tips[2]) + 0.02 * nod),
        head=(0.04 * nod, 0.4 * wander(m.time, style.phase)),
        left=hands[0],
        right=hands[1],
        grips=(-1.0, -2.1),
        part=(*tips, *spots, *wobbles),
        fingers=(0.7,) * 8,
    )


def play_accordion(m: Moment, style: Style) -> Pose:
    """Return bellows that open and close sideways, and a hand that moves on the keys."""
    cycle = m.beats / (style.period / 2) % 2.0  # opens for half of the period, closes for half
    spread = ease(cycle if cycle < 1 else 2 - cycle)
    if style.pattern == "pulse":  # pushed on with each note
        spread = 0.75 * spread + 0.25 * _accent(m, 0.25)
    elif style.pattern == "push":  # opens slowly, is pushed shut
        spread = ease(cycle / 1.5 if cycle < 1.5 else (2 - cycle) * 2)
    width = 13.0 + 24.0 * style.reach * spread
    fan = {"fan": 0.016, "arc": 0.012, "level": 0.004}.get(style.pattern, 0.008)
    tool = (1.0 - 0.36 * width, -24.0, 0.6 * style.tilt + _swaying(m, style, 0.03))
    end = on_tool(tool, -9.0 + width + 6.0, -0.12 * width)
    return Pose(
        body=(_swaying(m, style, 1.0), 0.0, 0.002 * (width - 22) + _swaying(m, style, 0.02, 0.1)),
        head=(-0.05 + _swaying(m, style, 0.05, 0.3), -0.4),
        left=on_tool(tool, -18.0 + 3.0 * _accent(m), 10.0 - 20.0 * m.place),
        right=end,
        grips=(0.0, math.pi),
        tool=tool,
        part=(width, fan * (width - 13)),
        fingers=m.fingers,
    )


def _wind(m: Moment, style: Style, size: float) -> tuple[float, float, float, float]:
    """Return how a wind player moves: swing of the instrument, body dx, dy and lean.

    Most of it is slow: real players of winds are nearly still but for their fingers.
    """
    beat = math.sin(math.tau * m.beats / style.period)
    side = math.cos(math.tau * m.beats / style.period)
    lean = _swaying(m, style, 0.03)
    swing = style.reach * size * (0.7 * beat + 0.5 * wander(m.time, style.phase + 1))
    dx, dy = _swaying(m, style, 1.2), 0.0
    if style.pattern == "bob":
        dy = 2.2 * style.reach * abs(beat)
    elif style.pattern == "circle":
        swing, dx = swing + 0.03 * side, dx + 1.5 * style.reach * side
        dy = 1.2 * style.reach * beat
    elif style.pattern == "lean":
        lean += 0.05 * style.reach * beat
    elif style.pattern in ("swing", "sway", "sweep"):
        dx += 2.5 * style.reach * beat
    return swing, dx, dy, lean


def play_flute(m: Moment, style: Style) -> Pose:
    """Return fingers that lift on a tube held sideways, which dips and rises with the beat."""
    swing, dx, dy, lean = _wind(m, style, 0.13)
    head = (0.06 + _swaying(m, style, 0.03), -0.5)
    pose = Pose(body=(dx, dy, lean), head=head)
    dip = swing + 0.05 * style.reach * _accent(m)
    tool = (*pose.mouth(), math.pi - 0.12 - style.tilt + dip)
    return replace(
        pose,
        left=on_tool(tool, 34.0 + style.spot, -3.5),
        right=on_tool(tool, 17.0 + 0.6 * style.spot, -3.5),
        grips=(-1.45, -1.65),
        tool=tool,
        fingers=m.fingers,
    )


def play_saxophone(m: Moment, style: Style) -> Pose:
    """Return a horn that swings from the mouth, with a push at each note."""
    swing, dx, dy, lean = _wind(m, style, 0.13)
    pose = Pose(body=(dx, dy, lean), head=(_swaying(m, style, 0.04), 0.3))
    turn = -0.05 - style.tilt - swing - 0.09 * style.reach * _accent(m)
    tool = (*pose.mouth(), turn)
    return replace(
        pose,
        left=on_tool(tool, -1.0, 33.0 + 0.5 * style.spot),
        right=on_tool(tool, 11.0, 15.0 + 0.5 * style.spot),
        grips=(0.1, math.pi - 0.1),
        tool=tool,
        fingers=m.fingers,
    )


def play_trumpet(m: Moment, style: Style) -> Pose:
    """Return a bell that rises with the phrase, and fingers that pump the valves."""
    swing, dx, dy, lean = _wind(m, style, 0.13)
    push = _accent(m, 0.2) * style.reach * (1.0 if style.pattern == "accent" else 0.4)
    lift = swing + 0.16 * style.lift * push
    pose = Pose(body=(dx, dy - 0.8 * push, lean - 0.02 - 0.09 * lift), head=(-0.1 * lift, 0.8))
    tool = (*pose.mouth(), -0.02 - style.tilt - lift)
    pump = _accent(m, 0.1)
    return replace(
        pose,
        left=on_tool(tool, 18.0, -9.0 + 4.0 * pump),
        right=on_tool(tool, 23.0, 9.5),
        grips=(1.2 + tool[2], -1.7 + tool[2]),
        tool=tool,
        fingers=m.fingers,
    )


_VIOLIN_DOWN: Tool = (11.0, -28.0, 1.05)
_FLUTE_DOWN: Tool = (6.0, -36.0, 2.0)
_TRUMPET_DOWN: Tool = (9.0, -26.0, 1.0)
_ACCORDION_REST: Tool = (-4.0, -24.0, 0.0)
_DRUM_REST = Pose(
    left=(-16.0, -14.0), right=(16.0, -14.0), grips=(0.6, 2.5), fingers=(0.7,) * 8,
    part=(2.0, -9.0, -2.0, -11.0, -19.0, -6.0, 11.0, -15.0, 0.0, 0.0),
)  # fmt: skip

PLAY = {
    "accordion": play_accordion,
    "cello": play_cello,
    "drum": play_drum,
    "flute": play_flute,
    "guitar": play_guitar,
    "piano": play_piano,
    "saxophone": play_saxophone,
    "trumpet": play_trumpet,
    "violin": play_violin,
}

RESTS: dict[str, tuple[Pose, ...]] = {
    "accordion": (
        Pose(left=on_tool(_ACCORDION_REST, -17, 4), right=on_tool(_ACCORDION_REST, 9, 0),
             grips=(0.0, math.pi), tool=_ACCORDION_REST, part=(12.0, 0.0)),
        Pose(left=(-24.0, 2.0), right=on_tool(_ACCORDION_REST, 9, 0), grips=(1.6, math.pi),
             tool=_ACCORDION_REST, part=(12.0, 0.0)),
    ),
    "cello": (
        Pose(left=(-27.0, 7.0), right=on_tool((-4, 30, -1.37), 62, 3), grips=(0.9, -2.9),
             tool=(-4.0, 30.0, -1.37), part=(0.95, CELLO_BOWED)),
        Pose(left=(-24.0, 2.0), right=on_tool((-4, 30, -1.37), 50, 12), grips=(0.4, -2.9),
             tool=(-4.0, 30.0, -1.37), part=(0.6, CELLO_BOWED)),
    ),
    "drum": (_DRUM_REST, replace(_DRUM_REST, left=(-20.0, -10.0), part=(-6.0, -22.0,
             *_DRUM_REST.part[2:]))),
    "flute": (
        Pose(left=on_tool(_FLUTE_DOWN, 24, 3), right=on_tool(_FLUTE_DOWN, 8, -3),
             grips=(0.3, 2.9), tool=_FLUTE_DOWN),
        Pose(left=(-20.0, 2.0), right=(19.0, -14.0), grips=(1.6, 2.8), tool=(24.0, -30.0, 1.95)),
    ),
    "guitar": (
        Pose(left=on_tool((-20, -3, -0.36), 8, -13), right=on_tool((-20, -3, -0.36), 50, 4),
             grips=(1.0, -1.9), tool=(-20.0, -3.0, -0.36),
             part=(GUITAR_STRUMMED,)),
        Pose(left=(-21.0, 3.0), right=on_tool((-20, -3, -0.30), 46, 4), grips=(1.6, -1.9),
             tool=(-20.0, -3.0, -0.30),
             part=(GUITAR_STRUMMED,)),
    ),
    "piano": (Pose(left=(-9.0, -3.0), right=(9.0, -3.0), tool=(0.0, -6.0, 0.0)),),
    "saxophone": (
        Pose(left=(-20.0, 2.0), right=on_tool((4, -46, 0.12), 11, 17), grips=(1.6, 3.0),
             tool=(4.0, -46.0, 0.12)),
        Pose(left=on_tool((4, -46, 0.12), 0, 34), right=on_tool((4, -46, 0.12), 11, 17),
             grips=(0.1, 3.0), tool=(4.0, -46.0, 0.12)),
    ),
    "trumpet": (
        Pose(left=(-20.0, 2.0), right=on_tool(_TRUMPET_DOWN, 20, -4), grips=(1.6, 2.2),
             tool=_TRUMPET_DOWN),
        Pose(left=on_tool((-8, -22, 0.2), 16, 6), right=on_tool((-8, -22, 0.2), 25, 6),
             grips=(-0.9, -2.0), tool=(-8.0, -22.0, 0.2)),
    ),
    "violin": (
        Pose(left=(-20.0, 1.0), right=on_tool(_VIOLIN_DOWN, 30, 3), grips=(1.5, 2.4),
             tool=_VIOLIN_DOWN, part=(1.35, VIOLIN_BOWED)),
        Pose(left=(-21.0, -1.0), right=on_tool((3, -47, 0.1), 34, 4.5), grips=(1.5, -1.3),
             head=(0.18, 0.5), tool=(3.0, -47.0, 0.1), part=(1.3, VIOLIN_BOWED)),
    ),
}  # fmt: skip

FIXED = frozenset({"cello", "drum", "piano"})  # stands on the floor, does not lean with the player
SEATED = frozenset({"cello", "drum", "piano"})


def key_points(label: str, pose: Pose) -> list[Pair]:
    """Return the key points of a playing pose, in the player's coordinates.

    Examples
    --------
    >>> len(key_points("violin", RESTS["violin"][1]))
    2
    """
    if label in ("flute", "saxophone", "trumpet"):
        points = [pose.mouth(), pose.left, pose.right]
    elif label in ("violin", "cello", "guitar"):
        points = [pose.right, on_tool(pose.tool, pose.part[-1], 0.0)]
    elif label == "accordion":
        points = [pose.left, pose.right, on_tool(pose.tool, -9.0 + pose.part[0] / 2, 0.0)]
    elif label == "drum":
        points = [(pose.part[4], pose.part[5]), (pose.part[6], pose.part[7])]
    else:
        points = [(x, y + 4.0) for x, y in (pose.left, pose.right)]
    return points if label in FIXED else [pose.upright(point) for point in points]
