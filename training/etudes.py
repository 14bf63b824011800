"""What soloists play when nobody looks: notes of many kinds, for clips of sound alone.

What goes in: a seeded generator and a manner of playing. What comes out: notes in seconds with MIDI
pitches; a drum note holds the key of General MIDI's drums. Phrases, scales, broken chords, long
notes, single notes with silence, chords, strumming, grooves, rolls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from numpy.random import Generator

from .music import Note

Manner = Literal["wind", "bowed", "keys", "bellows", "plucked", "drum"]

MANNERS: dict[str, Manner] = {
    "accordion": "bellows",
    "cello": "bowed",
    "drum": "drum",
    "flute": "wind",
    "guitar": "plucked",
    "piano": "keys",
    "saxophone": "wind",
    "trumpet": "wind",
    "violin": "bowed",
}
SOLOISTS = tuple(MANNERS)  # labels that clips of sound alone are made of
COMPASS = {  # lowest and highest MIDI pitch that players use
    "accordion": (48, 88),
    "cello": (36, 76),
    "drum": (35, 81),
    "flute": (60, 96),
    "guitar": (40, 83),
    "piano": (28, 96),
    "saxophone": (46, 82),
    "trumpet": (50, 84),
    "violin": (55, 96),
}

_SCALES = (
    (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 9, 10), (0, 2, 4, 7, 9),
    (0, 3, 5, 6, 7, 10), tuple(range(12)), (0, 2, 3, 5, 7, 8, 11),
)  # fmt: skip
_CHORDS: tuple[tuple[int, ...], ...] = (
    (0, 4, 7),
    (0, 3, 7),
    (0, 4, 7, 10),
    (0, 3, 7, 10),
    (0, 4, 7, 11),
    (0, 5, 7),
    (0, 7),
)

KICKS, SNARES, HATS = (35, 36), (38, 40, 37), (42, 44, 46)
TOMS, CYMBALS = (41, 43, 45, 47, 48, 50), (49, 51, 57, 59)
HANDS = ((60, 61), (62, 63, 64), (65, 66), (63, 64))  # bongos, congas, timbales


def etude(
    rng: Generator, manner: Manner, compass: tuple[int, int], start: float, end: float
) -> list[Note]:
    """Return the notes of one phrase.

    Parameters
    ----------
    rng : Generator
    manner : {"wind", "bowed", "keys", "bellows", "plucked", "drum"}
    compass : (int, int)
        Lowest and highest pitch.
    start, end : float
        Seconds; the notes lie between.

    Returns
    -------
    notes : list of Note
        By onset.

    Examples
    --------
    >>> from numpy.random import default_rng
    >>> notes = etude(default_rng(0), "wind", (60, 84), 1.0, 5.0)
    >>> all(1.0 <= note.onset < note.end <= 5.0 for note in notes)
    True
    """
    beat = 60 / rng.uniform(50, 180)
    loudness = rng.uniform(0.35, 1.0)
    if manner == "drum":
        notes = _drums(rng, beat, start, end)
    else:
        # a window of the compass: nobody uses all of it in one phrase
        low, high = compass
        width = min(high - low, int(rng.integers(12, 29)))
        bottom = int(rng.integers(low, high - width + 1))
        styles = _STYLES[manner]
        style = styles[rng.integers(len(styles))]
        notes = style(rng, bottom, bottom + width, beat, start, end)
    accent = rng.uniform(0.05, 0.35)
    return sorted(
        (
            Note(
                note.onset,
                min(note.end, end),
                note.pitches,
                float(min(1.0, note.velocity * loudness * (1 - accent * rng.random()))),
            )
            for note in notes
            if note.onset < min(note.end, end) - 0.02
        ),
        key=lambda note: note.onset,
    )


def _steps(rng: Generator, low: int, high: int) -> list[int]:
    """Return the pitches of a random key from `low` to `high`."""
    scale = _SCALES[rng.integers(len(_SCALES))]
    key = int(rng.integers(12))
    return [pitch for pitch in range(low, high + 1) if (pitch - key) % 12 in scale]


def _melody(
    rng: Generator, low: int, high: int, beat: float, start: float, end: float
) -> list[Note]:
    steps = _steps(rng, low, high)
    at = int(rng.integers(len(steps)))
    lengths = ((0.5, 1, 1, 2), (0.25, 0.5, 0.5, 1), (1, 2, 3), (1 / 3, 2 / 3, 1), (0.25,), (0.5,))
    chosen = lengths[rng.integers(len(lengths))]
    held = rng.choice((0.3, 0.6, 0.9, 1.02), p=(0.15, 0.2, 0.35, 0.3))
    rests = rng.choice((0.0, 0.05, 0.2))
    notes, time = [], start
    while time < end:
        length = max(0.09, beat * chosen[rng.integers(len(chosen))])
        if rng.random() >= rests:
            notes.append(Note(time, time + length * held, (float(steps[at]),), 1.0))
        move = int(rng.choice((-4, -2, -1, -1, 0, 1, 1, 2, 4)))
        at = at + move if 0 <= at + move < len(steps) else at - move
        at = min(len(steps) - 1, max(0, at))
        time += length
    return notes


def _run(rng: Generator, low: int, high: int, beat: float, start: float, end: float) -> list[Note]:
    """Return a scale or a broken chord, up and down."""
    steps = _steps(rng, low, high)
    if rng.random() < 0.5:
        chord = _CHORDS[rng.integers(len(_CHORDS) - 1)]
        steps = [p for p in range(low, high + 1) if (p - low) % 12 in chord] or steps
    length = max(0.09, beat / rng.choice((1, 2, 3, 4)))
    held = rng.uniform(0.4, 1.05)
    there_and_back = steps + steps[-2:0:-1]
    shift = int(rng.integers(len(there_and_back)))
    count = int((end - start) / length) + 1
    return [
        Note(
            start + k * length,
            start + (k + held) * length,
            (float(there_and_back[(k + shift) % len(there_and_back)]),),
            1.0,
        )
        for k in range(count)
    ]


def _long_notes(
    rng: Generator, low: int, high: int, beat: float, start: float, end: float
) -> list[Note]:
    steps = _steps(rng, low, high)
    notes, time = [], start
    while time < end:
        length = rng.uniform(1.2, 5.0)
        notes.append(Note(time, time + length, (float(steps[rng.integers(len(steps))]),), 1.0))
        time += length + rng.choice((0.0, 0.05, 0.6))
    return notes


def _single_notes(
    rng: Generator, low: int, high: int, beat: float, start: float, end: float
) -> list[Note]:
    steps = _steps(rng, low, high)
    notes, time = [], start
    while time < end:
        length = rng.choice((0.15, 0.4, 0.8, 1.5))
        notes.append(Note(time, time + length, (float(steps[rng.integers(len(steps))]),), 1.0))
        time += length + rng.uniform(0.1, 1.2)
    return notes


def _trill(
    rng: Generator, low: int, high: int, beat: float, start: float, end: float
) -> list[Note]:
    notes, time = [], start
    while time < end:
        base, by = int(rng.integers(low, high - 2)), int(rng.integers(1, 3))
        length = rng.uniform(0.07, 0.12)
        count = int(rng.uniform(0.6, 2.5) / length)
        for k in range(count):
            pitch = float(base + by * (k % 2))
            notes.append(Note(time, time + length, (pitch,), 1.0))
            time += length
        notes.append(Note(time, time + 0.5, (float(base),), 1.0))
        time += 0.5
    return notes


def _double_stops(
    rng: Generator, low: int, high: int, beat: float, start: float, end: float
) -> list[Note]:
    single = _melody(rng, low, max(low + 8, high - 9), beat, start, end)
    gap = int(rng.choice((3, 4, 5, 7, 8, 9, 12)))
    return [Note(n.onset, n.end, (n.pitches[0], n.pitches[0] + gap), n.velocity) for n in single]


def _chords(
    rng: Generator, low: int, high: int, beat: float, start: float, end: float
) -> list[Note]:
    """Return chords, held or repeated."""
    length = beat * rng.choice((0.5, 1, 1, 2, 4))
    held = rng.choice((0.4, 0.9, 1.0))
    notes, time = [], start
    while time < end:
        root = int(rng.integers(low, max(low + 1, high - 11)))
        chord = _CHORDS[rng.integers(len(_CHORDS))]
        pitches = tuple(float(root + step) for step in chord)
        if rng.random() < 0.4:
            pitches += (float(root + 12),)
        for _ in range(int(rng.choice((1, 2, 4)))):
            notes.append(Note(time, time + length * held, pitches, 1.0))
            time += length
    return notes


def _two_hands(
    rng: Generator, low: int, high: int, beat: float, start: float, end: float
) -> list[Note]:
    """Return a melody over basses, chords or broken chords."""
    middle = (low + high) // 2
    top = _melody(rng, middle, max(high, middle + 12), beat, start, end)
    below = (_chords, _run, _long_notes)[rng.integers(3)]
    bottom = below(rng, max(28, low - 12), middle, beat, start, end)
    soft = rng.uniform(0.5, 0.9)
    return [*top, *(Note(n.onset, n.end, n.pitches, n.velocity * soft) for n in bottom)]


def _bass_and_chord(
    rng: Generator, low: int, high: int, beat: float, start: float, end: float
) -> list[Note]:
    """Return the left hand of dances: a bass, then chords, with a melody above."""
    notes = _melody(rng, (low + high) // 2, max(high, low + 24), beat, start, end)
    in_bar = int(rng.choice((2, 3)))
    k, time = 0, start
    while time < end:
        root = 48 + int(rng.integers(7))
        if k % in_bar == 0:
            notes.append(Note(time, time + beat * 0.5, (float(root - 12),), 0.9))
        else:
            chord = tuple(float(root + step) for step in _CHORDS[rng.integers(2)])
            notes.append(Note(time, time + beat * 0.4, chord, 0.7))
        k, time = k + 1, time + beat
    return notes


def _strummed(
    rng: Generator, low: int, high: int, beat: float, start: float, end: float
) -> list[Note]:
    """Return chords over the strings, each string a little later than the one before."""
    notes: list[Note] = []
    length = max(0.14, beat / 2)
    missing = rng.uniform(0, 0.4)
    chord = [40, 47, 52, 55, 59, 64]
    for k in range(int((end - start) / length) + 1):
        if k % 8 == 0:
            root = int(rng.integers(0, 8))
            third = int(rng.integers(2))
            chord = [root + p for p in (40, 47, 52, 55 + third, 59, 64)]
        if rng.random() < missing and k:
            continue
        time = start + k * length
        spread = rng.uniform(0.004, 0.022)
        strings = chord if k % 2 == 0 else chord[:2:-1]
        last = rng.uniform(0.5, 2.5) * length
        notes += [
            Note(time + i * spread, time + i * spread + last, (float(p),), 1.0 - 0.3 * (k % 2))
            for i, p in enumerate(strings)
        ]
    return notes


def _picked(
    rng: Generator, low: int, high: int, beat: float, start: float, end: float
) -> list[Note]:
    """Return broken chords whose strings ring on."""
    length = max(0.1, beat / rng.choice((2, 3, 4)))
    pattern = [int(i) for i in rng.integers(1, 5, size=8)]
    notes: list[Note] = []
    root, chord = low, _CHORDS[0]
    for k in range(int((end - start) / length) + 1):
        if k % 8 == 0:
            root = int(rng.integers(40, 53))
            chord = _CHORDS[rng.integers(len(_CHORDS) - 1)]
        voices = [root, root + 12, *(root + 12 + step for step in chord[1:]), root + 24]
        pitch = voices[0 if k % 4 == 0 else pattern[k % 8] % len(voices)]
        time = start + k * length
        notes.append(Note(time, time + rng.uniform(1, 5) * length, (float(pitch),), 1.0))
    return notes


def _drums(rng: Generator, beat: float, start: float, end: float) -> list[Note]:
    style = rng.random()
    if style < 0.5:
        return _groove(rng, beat, start, end)
    if style < 0.62:
        return _roll(rng, start, end)
    if style < 0.72:
        return _single_notes(rng, 35, 50, beat, start, end)
    hands = HANDS[rng.integers(len(HANDS))]
    sets: Sequence[Sequence[int]] = (hands, hands, TOMS, (*TOMS, *SNARES), (*KICKS, *TOMS))
    keys = sets[int(rng.integers(len(sets)))]
    length = max(0.09, beat / rng.choice((2, 3, 4)))
    pattern = [(int(rng.choice(keys)), rng.uniform(0.3, 1.0), rng.random()) for _ in range(8)]
    notes = []
    for k in range(int((end - start) / length) + 1):
        key, strength, chance = pattern[k % 8]
        if chance < 0.75 or rng.random() < 0.2:
            time = start + k * length
            notes.append(Note(time, time + 0.3, (float(key),), strength))
    return notes


def _groove(rng: Generator, beat: float, start: float, end: float) -> list[Note]:
    kick, snare = int(rng.choice(KICKS)), int(rng.choice(SNARES))
    ride = int(rng.choice((*HATS, 51, 59)))
    length = beat / rng.choice((2, 4))
    kicks, ghosts = rng.random(16) < 0.3, rng.random(16) < 0.12
    kicks[0] = True
    rides = rng.random(16) < rng.choice((0.5, 1.0))
    notes = []

    def hit(time: float, key: int, strength: float) -> None:
        notes.append(Note(time, time + 0.3, (float(key),), strength * rng.uniform(0.8, 1)))

    filling = False
    for k in range(int((end - start) / length) + 1):
        time, place = start + k * length, k % 16
        if place == 0:
            filling = bool(rng.random() < 0.2)
            if rng.random() < 0.3:
                hit(time, int(rng.choice(CYMBALS)), 0.9)
        if filling and place >= 8:
            hit(time, int(rng.choice((*TOMS, snare))), 0.9)
            continue
        if kicks[place]:
            hit(time, kick, 1.0)
        if place % 8 == 4 or ghosts[place]:
            hit(time, snare, 1.0 if place % 8 == 4 else 0.4)
        if rides[place]:
            hit(time, ride, 0.8 if place % 2 == 0 else 0.5)
    return notes


def _roll(rng: Generator, start: float, end: float) -> list[Note]:
    key = int(rng.choice((*SNARES[:2], *TOMS, *KICKS, 51)))
    length = rng.uniform(0.05, 0.11)
    slope = rng.choice((-1, 0, 1))
    notes = []
    for k in range(int((end - start) / length)):
        along = k * length / max(end - start, 1e-6)
        strength = rng.uniform(0.5, 0.7) + 0.4 * slope * (along - 0.5)
        notes.append(Note(start + k * length, start + k * length + 0.2, (float(key),), strength))
    return notes


Style = Callable[[Generator, int, int, float, float, float], list[Note]]
_LINES: tuple[Style, ...] = (_melody, _melody, _melody, _run, _long_notes, _single_notes, _trill)
_STYLES: dict[Manner, tuple[Style, ...]] = {
    "wind": _LINES,
    "bowed": (*_LINES, _double_stops),
    "keys": (_two_hands, _two_hands, _two_hands, _melody, _run, _chords, _single_notes),
    "bellows": (_bass_and_chord, _bass_and_chord, _two_hands, _melody, _chords, _double_stops),
    "plucked": (_strummed, _strummed, _picked, _picked, _melody, _run, _single_notes, _chords),
}
