"""Notes -> a MIDI file for one instrument: what a synthesiser of soundfonts reads.

What goes in: notes (seconds, MIDI pitches) and how they are played. What comes out: the bytes of a
file of format 0 in which a tick is a millisecond, so that times need no tempo.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from .music import Note

DRUM_CHANNEL = 9  # of General MIDI
BEND_RANGE = 2.0  # semitones that a full pitch bend is, as General MIDI has it
BANK, MODULATION, EXPRESSION = 0, 1, 11  # numbers of controllers

_TICKS = 1000  # of a second


@dataclass(frozen=True)
class Control:
    """A change of a controller, or of pitch, between notes.

    Attributes
    ----------
    time : float
        Seconds.
    number : int or None
        Of the controller; None bends the pitch.
    value : float
        0-1 for a controller, semitones for a bend.
    """

    time: float
    number: int | None
    value: float


def midi_file(
    notes: Iterable[Note],
    *,
    bank: int = 0,
    program: int = 0,
    is_drum: bool = False,
    controls: Iterable[Control] = (),
    duration: float = 0.0,
) -> bytes:
    """Return a MIDI file of one instrument.

    Parameters
    ----------
    notes : iterable of Note
        Pitches are rounded to whole semitones and those outside of 0-127 left out.
    bank, program : int
        Of the instrument, from 0.
    is_drum : bool
        Whether `program` is a drum kit and pitches are its drums.
    controls : iterable of Control
    duration : float
        Seconds at which the file ends, or with its last note if that is later.

    Returns
    -------
    content : bytes

    Notes
    -----
    Standard MIDI Files 1.0 (MIDI Manufacturers Association, RP-001).

    Examples
    --------
    >>> midi_file([Note(0.0, 0.5, (60.0,), 0.8)])[:4]
    b'MThd'
    """
    channel = DRUM_CHANNEL if is_drum else 0
    # (tick, order within it, message): notes end before others of the same time begin
    events: list[tuple[int, int, bytes]] = []
    for control in controls:
        tick = max(0, round(control.time * _TICKS))
        if control.number is None:
            bend = round(8192 * (1 + control.value / BEND_RANGE))
            bend = min(16383, max(0, bend))
            message = bytes([0xE0 | channel, bend & 127, bend >> 7])
        else:
            message = bytes([0xB0 | channel, control.number, _seven_bits(control.value)])
        events.append((tick, 1, message))
    for note in notes:
        start, end = round(note.onset * _TICKS), round(note.end * _TICKS)
        for pitch in note.pitches:
            key = round(pitch)
            if 0 <= key <= 127 and end > start >= 0:
                strength = max(1, _seven_bits(note.velocity))
                events.append((start, 2, bytes([0x90 | channel, key, strength])))
                events.append((end, 0, bytes([0x80 | channel, key, 0])))
    events.sort(key=lambda event: event[:2])
    track = _delta(0) + b"\xff\x51\x03" + (1_000_000).to_bytes(3, "big")  # a quarter is a second
    track += _delta(0) + bytes([0xB0 | channel, BANK, bank])
    track += _delta(0) + bytes([0xC0 | channel, program])
    now = 0
    for tick, _, message in events:
        track += _delta(tick - now) + message
        now = tick
    track += _delta(max(0, round(duration * _TICKS) - now)) + b"\xff\x2f\x00"
    header = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, _TICKS)
    return header + struct.pack(">4sI", b"MTrk", len(track)) + track


def _seven_bits(value: float) -> int:
    return min(127, max(0, round(127 * value)))


def _delta(ticks: int) -> bytes:
    """Return a time difference, seven bits a byte, the highest first."""
    groups = [ticks & 127]
    while ticks := ticks >> 7:
        groups.append(128 | ticks & 127)
    return bytes(reversed(groups))
