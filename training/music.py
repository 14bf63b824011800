"""What a player of the bandstand plays: notes, parts, and where in them a part is at one time.

The notes of a `Part` (seconds, MIDI pitch) drive the sound and the motion alike; a `Moment` says
where in its notes a part is. Intervals are (start, end) in seconds of media time: the first onset
and the end of the last note. `composer.py` writes the notes.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

Interval = tuple[float, float]

LEFT, RIGHT, FEET = 0, 1, 2  # which limb makes a note, as seen in the picture
KICK, SNARE, HAT, TOM, FLOOR_TOM, CRASH = range(6)  # what a drum note hits

RANGES = {  # lowest and highest MIDI pitch
    "accordion": (55, 79),
    "cello": (38, 60),
    "drum": (0, 5),
    "flute": (72, 93),
    "guitar": (43, 67),
    "piano": (40, 80),
    "saxophone": (50, 72),
    "trumpet": (60, 80),
    "violin": (62, 88),
}


@dataclass(frozen=True)
class Note:
    """One note, chord or hit.

    Attributes
    ----------
    onset, end : float
        In seconds; nothing of it sounds outside.
    pitches : tuple of float
        MIDI numbers; a drum note holds its target (`KICK` ... `CRASH`) instead.
    velocity : float
        Loudness, 0-1.
    limb : int
        `LEFT`, `RIGHT` or `FEET`.
    """

    onset: float
    end: float
    pitches: tuple[float, ...]
    velocity: float
    limb: int = RIGHT


@dataclass(frozen=True)
class Piece:
    """What all players of a clip share.

    Attributes
    ----------
    beat : float
        Seconds.
    key : int
        MIDI pitch class of the tonic, 0-11.
    scale, chords : tuple of int
        Semitones of the seven degrees; the degree of each bar's chord.
    """

    beat: float
    key: int
    scale: tuple[int, ...]
    chords: tuple[int, ...]

    def pitch(self, degree: int) -> int:
        """Return the MIDI pitch of a scale degree counted from the tonic near MIDI 0."""
        return self.key + 12 * (degree // 7) + self.scale[degree % 7]

    def chord(self, time: float) -> int:
        """Return the degree of the chord that sounds at a time."""
        return self.chords[int(time / (4 * self.beat)) % len(self.chords)]


@dataclass(frozen=True)
class Moment:
    """Where in its notes a part is at one time.

    Attributes
    ----------
    time : float
        Seconds.
    engaged : float
        0 at rest, 1 in playing position; ramps before and after each interval.
    beats : float
        Beats since the clip began.
    index : int
        Number of the current note (-1 before the first).
    progress : float
        0-1 from this onset to the next.
    since, until : float
        Seconds since this onset, and to the next; large where there is none.
    swing : float
        -1 to 1; turns round at every onset, as a bow does.
    place : float
        0-1, the pitch within the instrument's range, gliding from note to note.
    fingers : tuple of float
        Eight finger lifts 0-1, left hand first.
    hits : tuple of (float, float, float, float)
        For the left and the right hand: last place, next place, seconds since and until.
    """

    time: float
    engaged: float
    beats: float
    index: int
    progress: float
    since: float
    until: float
    swing: float
    place: float
    fingers: tuple[float, ...]
    hits: tuple[tuple[float, float, float, float], tuple[float, float, float, float]]


FAR = 9.0  # seconds; stands for "no note there"
LEAD_IN, LEAD_OUT = 0.5, 0.6  # seconds to take up the playing position and to leave it


def ease(u: float) -> float:
    """Return a smooth step from 0 to 1 as `u` goes from 0 to 1, clipped outside.

    Examples
    --------
    >>> ease(-1.0), ease(0.5), ease(2.0)
    (0.0, 0.5, 1.0)
    """
    u = min(1.0, max(0.0, u))
    return u * u * (3 - 2 * u)


@dataclass(frozen=True)
class Part:
    """The notes of one player.

    Attributes
    ----------
    label : str
    notes : tuple of Note
        In order of onset.
    intervals : tuple of (float, float)
        Where it plays, in seconds: first onset to last end of each phrase.
    beat : float
        Seconds.
    fingerings : tuple of tuple of int
        Which of the eight fingers are up, for note index modulo their number.
    """

    label: str
    notes: tuple[Note, ...]
    intervals: tuple[Interval, ...]
    beat: float
    fingerings: tuple[tuple[int, ...], ...]
    _onsets: list[float] = field(init=False, repr=False)
    _by_hand: tuple[list[Note], list[Note]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        moved = [note for note in self.notes if note.limb != FEET]
        object.__setattr__(self, "_onsets", sorted({note.onset for note in moved}))
        hands = tuple([n for n in moved if n.limb == hand] for hand in (LEFT, RIGHT))
        object.__setattr__(self, "_by_hand", hands)

    def is_playing(self, time: float) -> bool:
        """Return whether a time lies in one of the intervals."""
        return any(start <= time < end for start, end in self.intervals)

    def moment(self, time: float) -> Moment:
        """Return where in its notes this part is at a time."""
        onsets = self._onsets
        i = bisect.bisect_right(onsets, time + 1e-9) - 1
        engaged = 0.0
        for start, end in self.intervals:
            engaged = max(
                engaged,
                min(ease((time - start) / LEAD_IN + 1), ease((end - time) / LEAD_OUT + 1)),
            )
        since = time - onsets[i] if i >= 0 else FAR
        until = onsets[i + 1] - time if i + 1 < len(onsets) else FAR
        length = min(since + until, 1.2)
        progress = min(1.0, since / length)
        turn = self._turn(i) + (self._turn(i + 1) - self._turn(i)) * (
            0.5 * progress + 0.5 * ease(progress)
        )
        glide = ease(since / 0.12)
        place = self._place(i - 1) + (self._place(i) - self._place(i - 1)) * glide
        before, now = self._fingering(i - 1), self._fingering(i)
        quick = ease(since / 0.1)
        return Moment(
            time=time,
            engaged=engaged,
            beats=time / self.beat,
            index=i,
            progress=progress,
            since=since,
            until=until,
            swing=turn,
            place=place,
            fingers=tuple(a + (b - a) * quick for a, b in zip(before, now, strict=True)),
            hits=(self._hit(LEFT, time), self._hit(RIGHT, time)),
        )

    def _turn(self, i: int) -> float:
        if not 0 < i < len(self._onsets):
            return -1.0 if i % 2 else 1.0
        length = min(self._onsets[i] - self._onsets[i - 1], 1.0)
        return (-1.0 if i % 2 else 1.0) * min(1.0, 0.35 + length)

    def _place(self, i: int) -> float:
        if self.label == "drum" or not self.notes:
            return 0.5
        low, high = RANGES[self.label]
        note = self.notes[min(max(i, 0), len(self.notes) - 1)]
        return min(1.0, max(0.0, (note.pitches[-1] - low) / (high - low)))

    def _fingering(self, i: int) -> tuple[int, ...]:
        return self.fingerings[i % len(self.fingerings)]

    def _hit(self, hand: int, time: float) -> tuple[float, float, float, float]:
        notes = self._by_hand[hand]
        if not notes:
            return 0.5, 0.5, FAR, FAR
        i = bisect.bisect_right(notes, time + 1e-9, key=lambda n: n.onset)
        last, following = notes[max(0, i - 1)], notes[min(i, len(notes) - 1)]
        since = time - last.onset if i > 0 else FAR
        until = following.onset - time if i < len(notes) else FAR
        low, high = RANGES[self.label] if self.label != "drum" else (0, 1)
        return (
            (last.pitches[-1] - low) / (high - low),
            (following.pitches[-1] - low) / (high - low),
            since,
            until,
        )
