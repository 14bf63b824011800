"""Notes and a timbre -> the sound of one player, by FluidSynth.

What goes in: notes in seconds, a `Timbre` and a seeded generator that decides how they are played:
dynamics, vibrato, slides, tuning, and the size of the instrument's body. What comes out: waveforms,
float32, 16 kHz.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.random import Generator

from ..stream.timeline import SAMPLE_RATE
from .clips import Split
from .etudes import MANNERS, Manner
from .fluidsynth import RATE, find_fluidsynth, fluidsynth_version, play
from .midi import EXPRESSION, MODULATION, Control, midi_file
from .music import CRASH, FLOOR_TOM, HAT, KICK, SNARE, TOM, Note, Part
from .soundfonts import DRUM_BANK, Timbre, find_soundfonts, timbres
from .synth import Waveform

LOUDNESS = 0.1  # RMS of a player where there is sound, as of the built-in synthesiser
DRUM_KEYS = {KICK: 36, SNARE: 38, HAT: 42, TOM: 47, FLOOR_TOM: 43, CRASH: 49}  # General MIDI
RING = 0.25  # seconds a part may sound after its last note

Synth = Literal["auto", "fluidsynth", "builtin"]
Player = Literal["fluidsynth", "builtin"]
SYNTHS: tuple[Synth, ...] = ("auto", "fluidsynth", "builtin")

_SUSTAINED: tuple[Manner, ...] = ("wind", "bowed", "bellows")
_CONTROL_STEP = 0.03  # seconds


class SoundError(ValueError):
    """A sound that cannot be made; the message says what to do."""


def check_synth(name: str) -> Synth:
    """Return the name of a synthesiser, checked.

    Raises
    ------
    SoundError
        If it is none of `SYNTHS`.

    Examples
    --------
    >>> check_synth("auto")
    'auto'
    """
    for synth in SYNTHS:
        if name == synth:
            return synth
    raise SoundError(f"--synth {name}: one of {', '.join(SYNTHS)}")


def chosen_synth(synth: Synth) -> Player:
    """Return which synthesiser is used: with "auto", FluidSynth where it and a soundfont are.

    Raises
    ------
    SoundError
        If FluidSynth is asked for and cannot play.

    Examples
    --------
    >>> chosen_synth("builtin")
    'builtin'
    """
    if synth == "builtin" or (synth == "auto" and not can_play()):
        return "builtin"
    if not can_play():
        raise SoundError(
            "FluidSynth or a soundfont is missing: apt install fluidsynth timgm6mb-soundfont, "
            "or choose --synth builtin"
        )
    return "fluidsynth"


def synth_name(synth: Player) -> str:
    """Return what a clip's JSON says of its synthesiser, such as "fluidsynth 2.3.1"."""
    return f"fluidsynth {fluidsynth_version()}" if synth == "fluidsynth" else "builtin"


def can_play() -> bool:
    """Return whether FluidSynth and a soundfont are there."""
    return find_fluidsynth() is not None and bool(find_soundfonts())


def perform(
    notes: Sequence[Note], timbre: Timbre, manner: Manner, duration: float, rng: Generator
) -> Waveform:
    """Return how one player plays some notes.

    Parameters
    ----------
    notes : sequence of Note
        Pitches are MIDI keys, also of drums.
    timbre : Timbre
    manner : Manner
        How the instrument is played: decides dynamics and vibrato within notes.
    duration : float
        Seconds that come back.
    rng : Generator

    Returns
    -------
    waveform : float32, shape (round(duration * SAMPLE_RATE),)
        Dry, `LOUDNESS` where it sounds; 0 throughout if the soundfont has nothing at the pitches.

    Notes
    -----
    A body that is larger or smaller by k semitones is had by playing the notes k semitones higher
    or lower and too fast or slow, and turning the speed of the sound back: pitches and times are
    as written, but formants, attacks and noises are shifted.
    """
    is_drum = timbre.bank == DRUM_BANK
    body = int(rng.integers(-3, 4)) if rng.random() < 0.6 else 0
    speed = 2 ** (-body / 12)
    written = [
        Note(
            note.onset * speed,
            note.end * speed,
            note.pitches if is_drum else tuple(pitch + body for pitch in note.pitches),
            note.velocity,
        )
        for note in notes
    ]
    controls = [] if is_drum else _controls(written, manner, rng)
    midi = midi_file(
        written,
        bank=0 if is_drum else timbre.bank,
        program=timbre.program,
        is_drum=is_drum,
        controls=controls,
        duration=(duration + 0.5) * speed,
    )
    sound = play(midi, timbre.font, duration, rate=round(RATE / speed))
    loud = sound[np.abs(sound) > 1e-4]
    level = math.sqrt(float(np.mean(loud * loud))) if loud.size else 1.0
    return sound * np.float32(LOUDNESS / max(level, 1e-5))


def play_part(part: Part, duration: float, split: Split, rng: Generator) -> tuple[Waveform, str]:
    """Return the sound of a part of the bandstand, and the name of its timbre.

    Parameters
    ----------
    part : Part
    duration : float
        Seconds.
    split : Split
        Decides which timbres there are.
    rng : Generator

    Returns
    -------
    waveform : float32, shape (round(duration * SAMPLE_RATE),)
        0 outside the part's intervals, but for `RING` after each.
    timbre : str

    Raises
    ------
    SoundError
        If FluidSynth or soundfonts are missing, or it fails.
    """
    chosen = timbres(part.label, split, find_soundfonts())
    if not chosen:
        raise SoundError("no soundfont is installed: apt install timgm6mb-soundfont")
    timbre = chosen[rng.integers(len(chosen))]
    notes = list(part.notes)
    if part.label == "drum":
        keys = [DRUM_KEYS[int(note.pitches[0])] for note in notes]
        notes = [
            Note(note.onset, note.end, (float(key),), note.velocity)
            for note, key in zip(notes, keys, strict=True)
        ]
    sound = perform(notes, timbre, MANNERS[part.label], duration, rng)
    return sound * _opened(part.intervals, duration), timbre.name


def _opened(intervals: Sequence[tuple[float, float]], duration: float) -> Waveform:
    """Return 1 in the intervals, falling to 0 within `RING` after each."""
    seconds = np.arange(round(duration * SAMPLE_RATE), dtype=np.float32) / SAMPLE_RATE
    gate = np.zeros(seconds.size, np.float32)
    for start, end in intervals:
        after = 1 - np.clip((seconds - end) / RING, 0, 1)
        gate = np.maximum(gate, np.where(seconds >= start, after**2, 0))
    return gate.astype(np.float32)


def _controls(notes: Sequence[Note], manner: Manner, rng: Generator) -> list[Control]:
    """Return dynamics within notes, vibrato, slides and tuning."""
    tuning = float(rng.normal(0, 0.15))
    controls = [Control(0.0, None, tuning), Control(0.0, EXPRESSION, 1.0)]
    if not notes or manner not in _SUSTAINED:
        return controls
    if rng.random() < 0.5:
        controls.append(Control(0.0, MODULATION, float(rng.uniform(0, 0.6))))
    is_line = all(len(note.pitches) == 1 for note in notes) and manner != "bellows"
    vibrato = float(rng.uniform(0, 0.35)) if is_line and rng.random() < 0.6 else 0.0
    rate = rng.uniform(4.0, 7.0)
    slides = rng.choice((0.0, 0.15, 0.5)) if is_line else 0.0
    shapes = rng.random() < 0.75
    before = None
    for note in notes:
        length = note.end - note.onset
        lowest, peak = rng.uniform(0.3, 0.9), rng.uniform(0.05, 0.9)
        slide = 0.0
        if rng.random() < slides:
            step = 1.0 if before is None else float(np.clip(before - note.pitches[0], -1.8, 1.8))
            slide = step if before is not None else float(rng.uniform(-1.5, 0))
        before = note.pitches[0]
        glide = rng.uniform(0.04, 0.15)
        count = max(1, int(length / _CONTROL_STEP)) if shapes or vibrato or slide else 1
        for k in range(min(count, 400)):
            since = k * length / count
            if shapes:
                u = since / length
                swell = u / peak if u < peak else (1 - u) / (1 - peak)
                controls.append(
                    Control(note.onset + since, EXPRESSION, lowest + (1 - lowest) * swell)
                )
            if vibrato or slides:
                grown = min(1.0, since / 0.3)
                bend = vibrato * grown * math.sin(math.tau * rate * since)
                bend += slide * max(0.0, 1 - since / glide)
                controls.append(Control(note.onset + since, None, tuning + bend))
    return controls
