"""The notes of the bandstand: one piece for the whole band, one part for each player.

What goes in: a seeded generator, a label and planned intervals in seconds. What comes out: `Part`s
whose phrases fill the plan, in the tempo, key and chords of the piece.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from numpy.random import Generator

from .music import (
    CRASH,
    FEET,
    FLOOR_TOM,
    HAT,
    KICK,
    LEFT,
    RANGES,
    RIGHT,
    SNARE,
    TOM,
    Interval,
    Note,
    Part,
    Piece,
)

_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 9, 10))
_PROGRESSIONS = ((0, 5, 3, 4), (0, 3, 4, 0), (0, 4, 5, 3), (0, 3, 0, 4), (5, 3, 0, 4))
_CELLS = {  # lengths of notes in beats, chosen bar by bar
    "slow": ((1, 1, 1, 1), (1, 1, 2), (1.5, 0.5, 1, 1), (2, 1, 1)),
    "medium": ((1, 0.5, 0.5, 1, 1), (0.5, 0.5, 1, 0.5, 0.5, 1), (1, 1, 0.5, 0.5, 0.5, 0.5)),
    "fast": ((0.5,) * 8, (0.5, 0.5, 0.5, 0.5, 1, 0.5, 0.5), (1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5)),
}
_PACE = {"cello": ("slow", "medium"), "violin": ("medium", "fast"), "flute": ("medium", "fast")}


def make_piece(rng: Generator) -> Piece:
    """Return a piece with random tempo (84-140 beats a minute), key, scale and chords."""
    return Piece(
        beat=60 / rng.uniform(84, 140),
        key=int(rng.integers(12)),
        scale=_SCALES[rng.integers(len(_SCALES))],
        chords=_PROGRESSIONS[rng.integers(len(_PROGRESSIONS))],
    )


def make_part(rng: Generator, piece: Piece, label: str, plan: Sequence[Interval]) -> Part:
    """Return a part whose phrases fill the planned intervals.

    Parameters
    ----------
    rng : Generator
    piece : Piece
    label : str
        One of the nine.
    plan : sequence of (float, float)
        Seconds; each phrase starts on the first half beat in it and ends before its end. An
        interval too short for three half beats gives none.

    Returns
    -------
    Part

    Examples
    --------
    >>> from numpy.random import default_rng
    >>> rng = default_rng(0)
    >>> part = make_part(rng, make_piece(rng), "violin", [(1.0, 3.0)])
    >>> 1.0 <= part.intervals[0][0] and part.intervals[0][1] <= 3.0
    True
    """
    notes: list[Note] = []
    intervals: list[Interval] = []
    half = piece.beat / 2
    for start, end in plan:
        first = math.ceil(start / half - 1e-9)
        last = math.floor(end / half + 1e-9)
        if last - first < 3:
            continue
        phrase = _phrase(rng, piece, label, first * half, last * half)
        notes += phrase
        intervals.append((phrase[0].onset, max(note.end for note in phrase)))
    fingerings = tuple(tuple(map(int, row)) for row in rng.integers(0, 2, (16, 8)))
    return Part(label, tuple(notes), tuple(intervals), piece.beat, fingerings)


def _phrase(rng: Generator, piece: Piece, label: str, start: float, end: float) -> list[Note]:
    makers = {"drum": _drum_phrase, "guitar": _strummed_phrase, "piano": _piano_phrase}
    if label in makers:
        return sorted(makers[label](rng, piece, start, end), key=lambda note: note.onset)
    low, high = RANGES[label]
    cells = _CELLS[_PACE.get(label, ("medium", "slow"))[rng.integers(2)]]
    # degree 35 is five octaves above degree 0; the walk starts mid-range
    degree = next(d for d in range(0, 90) if piece.pitch(d) >= (low + high) / 2)
    notes: list[Note] = []
    time = start
    while time < end - 1e-6:
        for beats in cells[rng.integers(len(cells))]:
            stop = min(time + beats * piece.beat, end)
            if stop - time < 0.12:
                break
            degree += int(rng.choice((-2, -1, -1, 1, 1, 2, 3)))
            if len(notes) % 2 == 0 and (degree - piece.chord(time)) % 7 not in (0, 2, 4):
                degree += 1
            while piece.pitch(degree) > high:
                degree -= 5
            while piece.pitch(degree) < low:
                degree += 5
            pitches: tuple[float, ...] = (piece.pitch(degree),)
            if label == "accordion":
                pitches = (piece.pitch(degree - 4), piece.pitch(degree - 2), piece.pitch(degree))
            notes.append(Note(time, stop, pitches, float(rng.uniform(0.6, 1.0))))
            time = stop
            if time >= end - 1e-6:
                break
        else:
            continue
        break
    return notes


def _strummed_phrase(rng: Generator, piece: Piece, start: float, end: float) -> list[Note]:
    notes = []
    step = piece.beat / 2
    skip = rng.random(8) < 0.2  # a rhythm of its own, the same in every bar
    skip[0] = False
    k = 0
    while start + k * step < end - 1e-6:
        onset = start + k * step
        gap = 2 if skip[(k + 1) % 8] else 1
        root = 21 + piece.chord(onset)
        pitches = tuple(float(piece.pitch(root + d)) for d in (0, 4, 7, 9, 11))
        stop = min(onset + gap * step, end)
        notes.append(Note(onset, stop, pitches, float(rng.uniform(0.6, 1.0))))
        k += gap
    return notes


def _piano_phrase(rng: Generator, piece: Piece, start: float, end: float) -> list[Note]:
    notes = []
    step = piece.beat / 2
    degree = 42
    for k in range(round((end - start) / step)):
        onset = start + k * step
        chord = piece.chord(onset)
        if k % 2 == 0:
            bass = piece.pitch(21 + chord + int(rng.choice((0, 0, 4, 7))))
            left = (float(bass), float(bass + 12)) if k % 4 == 0 else (float(bass),)
            stop = min(onset + 2 * step, end)
            notes.append(Note(onset, stop, left, float(rng.uniform(0.5, 0.8)), LEFT))
        if k % 2 == 0 or rng.random() < 0.6:
            degree = min(46, max(35, degree + int(rng.choice((-3, -2, -1, 1, 2, 3)))))
            top = float(piece.pitch(degree))
            right = (float(piece.pitch(degree - 2)), top) if k % 4 == 0 else (top,)
            stop = min(onset + step, end)
            notes.append(Note(onset, stop, right, float(rng.uniform(0.6, 1.0)), RIGHT))
    return notes


def _drum_phrase(rng: Generator, piece: Piece, start: float, end: float) -> list[Note]:
    notes = []
    step = piece.beat / 2
    fill_bar = int(rng.integers(2, 4))
    for k in range(round((end - start) / step)):
        onset = start + k * step
        stop = min(onset + 2 * step, end)
        bar, place = divmod(k, 8)

        def hit(target: int, velocity: float, limb: int) -> None:
            value = velocity * float(rng.uniform(0.85, 1.0))
            notes.append(Note(onset, stop, (float(target),), value, limb))  # noqa: B023

        if place in (0, 4) or (place == 5 and rng.random() < 0.4):
            hit(KICK, 1.0, FEET)
        hit(HAT, 0.6 if place % 2 else 0.8, LEFT)
        if bar % 4 == fill_bar and place >= 4:
            hit((SNARE, TOM, TOM, FLOOR_TOM)[place - 4], 0.9, RIGHT)
        elif place in (2, 6):
            hit(SNARE, 1.0, RIGHT)
        elif place == 0:
            hit(CRASH if bar % 2 == 0 else FLOOR_TOM, 0.8, RIGHT)
        elif place == 4 or rng.random() < 0.25:
            hit((TOM, FLOOR_TOM, SNARE)[rng.integers(3)], 0.6, RIGHT)
    return notes
