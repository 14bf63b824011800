"""MIDI files: what is written is what a reader of the format finds."""

import struct

from playspot.training.midi import BEND_RANGE, EXPRESSION, Control, midi_file
from playspot.training.music import Note


def events(content: bytes) -> list[tuple[int, bytes]]:
    """Return (millisecond, message) of a file with one track, read by the letter of the format."""
    assert content[:14] == struct.pack(">4sIHHH", b"MThd", 6, 0, 1, 1000)
    assert content[14:18] == b"MTrk"
    track = content[22:]
    assert len(track) == int.from_bytes(content[18:22], "big")
    at, now, found = 0, 0, []
    while at < len(track):
        wait = 0
        while True:
            byte = track[at]
            at += 1
            wait = wait << 7 | byte & 127
            if not byte & 128:
                break
        now += wait
        status = track[at]
        size = 3 + track[at + 2] if status == 0xFF else 2 if status >> 4 == 0xC else 3
        found.append((now, track[at : at + size]))
        at += size
    return found


def test_a_note_begins_and_ends_at_its_times() -> None:
    found = events(midi_file([Note(0.25, 1.5, (60.0, 64.0), 1.0)]))
    assert (250, bytes([0x90, 60, 127])) in found
    assert (1500, bytes([0x80, 64, 0])) in found


def test_a_note_ends_before_the_next_of_its_pitch_begins() -> None:
    found = events(midi_file([Note(0, 1, (60.0,), 1.0), Note(1, 2, (60.0,), 1.0)]))
    kinds = [message[0] for time, message in found if time == 1000]
    assert kinds == [0x80, 0x90]


def test_drums_are_on_their_channel() -> None:
    found = events(midi_file([Note(0, 1, (36.0,), 1.0)], program=8, is_drum=True))
    assert (0, bytes([0xC9, 8])) in found
    assert (0, bytes([0x99, 36, 127])) in found


def test_a_bend_of_the_whole_range_is_the_highest_value() -> None:
    found = events(midi_file([], controls=[Control(0.5, None, BEND_RANGE)]))
    assert (500, bytes([0xE0, 127, 127])) in found


def test_controls_and_pitches_outside_of_midi_do_no_harm() -> None:
    notes = [Note(0, 1, (-3.0, 200.0), 9.0)]
    found = events(midi_file(notes, controls=[Control(0.0, EXPRESSION, 7.0)], duration=20.0))
    assert found[-1] == (20_000, b"\xff\x2f\x00")
    assert not [message for _, message in found if message[0] == 0x90]
