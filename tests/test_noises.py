"""Sounds that are no instrument, and what recording does to a sound."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.random import Generator

from playspot.stream.timeline import SAMPLE_RATE
from playspot.training.noises import NOISES
from playspot.training.recording_chain import compressed, levelled, record, room_response
from playspot.training.synth import Waveform


@pytest.fixture(scope="module")
def tone() -> Waveform:
    seconds = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    sweep = np.sin(2 * np.pi * (300 + 400 * seconds) * seconds)
    return (0.3 * sweep).astype(np.float32)


@pytest.mark.parametrize("noise", dict.fromkeys(NOISES))
def test_noises_have_their_length_and_level(noise: Callable[[Generator, float], Waveform]) -> None:
    sound = noise(np.random.default_rng(1), 2.0)
    assert sound.shape == (2 * SAMPLE_RATE,)
    assert sound.dtype == np.float32
    assert np.isfinite(sound).all()
    assert 0.05 < np.sqrt(np.mean(sound**2)) < 1.5


@pytest.mark.parametrize("harshness", [0.0, 0.5, 1.0])
def test_a_recording_keeps_length_and_bounds(tone: Waveform, harshness: float) -> None:
    for seed in range(4):
        recorded = record(tone, np.random.default_rng(seed), harshness)
        assert recorded.shape == tone.shape
        assert np.abs(recorded).max() <= 1.0
        assert np.abs(recorded).max() > 0.01


def test_silence_is_recorded_as_quiet_noise(rng: Generator) -> None:
    recorded = record(np.zeros(SAMPLE_RATE, np.float32), rng, 0.5)
    assert np.isfinite(recorded).all()


@pytest.mark.parametrize(("codec", "container"), [("aac", "adts"), ("libmp3lame", "mp3")])
def test_a_codec_keeps_a_sound_in_time(tone: Waveform, codec: str, container: str) -> None:
    back = compressed(tone, codec, container, 48_000)
    assert back.shape == tone.shape
    assert np.corrcoef(back, tone)[0, 1] > 0.95


def test_a_room_begins_with_the_direct_sound(rng: Generator) -> None:
    response = room_response(rng, wet=0.5)
    assert response[0] == 1.0
    assert np.sum(response[1:] ** 2) == pytest.approx(0.25, rel=0.3)


def test_automatic_gain_brings_loud_and_quiet_together(tone: Waveform) -> None:
    sound = tone.astype(np.float64)
    sound[SAMPLE_RATE:] *= 0.1
    even = levelled(sound, 0.8)
    before = np.std(sound[:SAMPLE_RATE]) / np.std(sound[SAMPLE_RATE:])
    after = np.std(even[:SAMPLE_RATE]) / np.std(even[SAMPLE_RATE:])
    assert after < 0.5 * before
