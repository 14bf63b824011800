"""FluidSynth as a player: notes sound when they should, at their pitch."""

from pathlib import Path

import numpy as np
import pytest

from playspot.models.labels import LABELS
from playspot.stream.timeline import SAMPLE_RATE
from playspot.training.composer import make_part, make_piece
from playspot.training.fluidsynth import FluidSynthError, find_fluidsynth, play
from playspot.training.midi import midi_file
from playspot.training.music import Note
from playspot.training.orchestra import (
    RING,
    SoundError,
    can_play,
    check_synth,
    chosen_synth,
    perform,
    play_part,
)
from playspot.training.soundfonts import find_soundfonts, timbres

needs_fluidsynth = pytest.mark.skipif(not can_play(), reason="FluidSynth or a soundfont is missing")


@needs_fluidsynth
@pytest.mark.parametrize("label", LABELS)
def test_a_part_is_loud_inside_its_intervals_and_silent_outside(label: str) -> None:
    rng = np.random.default_rng(2)
    part = make_part(rng, make_piece(rng), label, [(0.5, 2.5)])
    sound, timbre = play_part(part, 4.0, "training", rng)
    ((start, end),) = part.intervals
    first, last = round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)
    assert timbre
    assert sound.shape == (4 * SAMPLE_RATE,)
    assert not sound[: first - 1].any()
    assert not sound[last + round(RING * SAMPLE_RATE) + 1 :].any()
    assert np.sqrt(np.mean(sound[first:last] ** 2)) > 0.02


@needs_fluidsynth
def test_a_note_has_its_pitch_and_time_whatever_the_body() -> None:
    timbre = timbres("flute", "training", find_soundfonts())[0]
    for seed in range(4):
        note = Note(1.0, 2.0, (81.0,), 0.9)
        sound = perform([note], timbre, "keys", 3.0, np.random.default_rng(seed))
        assert np.abs(sound[: round(0.95 * SAMPLE_RATE)]).max() < 1e-3
        power = np.abs(np.fft.rfft(sound[SAMPLE_RATE : 2 * SAMPLE_RATE])) ** 2
        assert abs(float(np.argmax(power)) - 880) < 45  # detuned by less than a semitone


@needs_fluidsynth
def test_the_same_seed_sounds_the_same() -> None:
    timbre = timbres("violin", "training", find_soundfonts())[0]
    notes = [Note(0.1, 0.8, (70.0,), 0.9)]
    one, two = (perform(notes, timbre, "bowed", 1.0, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.skipif(find_fluidsynth() is None, reason="FluidSynth is not installed")
def test_a_broken_soundfont_is_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.sf2"
    broken.write_bytes(b"RIFF")
    midi = midi_file([Note(0, 0.1, (60.0,), 1.0)])
    with pytest.raises(FluidSynthError, match=r"broken\.sf2") as caught:
        play(midi, broken, 0.5)
    assert "\n" not in str(caught.value)


def test_without_fluidsynth_auto_is_builtin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert chosen_synth("auto") == "builtin"
    with pytest.raises(SoundError, match="apt install"):
        chosen_synth("fluidsynth")


def test_an_unknown_synthesiser_is_refused() -> None:
    with pytest.raises(SoundError, match="one of auto"):
        check_synth("organ")
