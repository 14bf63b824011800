"""The built-in synthesiser: notes sound when they should, each instrument like itself."""

import itertools

import numpy as np
import pytest

from playspot.models.labels import LABELS
from playspot.stream.timeline import SAMPLE_RATE
from playspot.training.composer import make_part, make_piece
from playspot.training.music import Note, Part
from playspot.training.synth import Waveform, clap, coloured_noise, room, synthesise

FINGERS = ((0,) * 8,)


def part_of(label: str, seed: int, duration: float = 4.0) -> Part:
    rng = np.random.default_rng(seed)
    return make_part(rng, make_piece(rng), label, [(0.5, duration - 0.5)])


def spectrum(waveform: Waveform) -> np.ndarray:
    """Return mean log energy in 40 bands of equal width on a log axis."""
    n = 2048
    columns = [waveform[i : i + n] for i in range(0, waveform.size - n, n // 2)]
    loud = [c for c in columns if np.sqrt(np.mean(c * c)) > 0.01]
    power = np.abs(np.fft.rfft(np.array(loud) * np.hanning(n), axis=1)) ** 2
    hz = np.fft.rfftfreq(n, 1 / SAMPLE_RATE)
    edges = np.geomspace(60, 8000, 41)
    bands = [power[:, (hz >= a) & (hz < b)].sum(axis=1) for a, b in itertools.pairwise(edges)]
    logs = np.log(np.array(bands) + 1e-4)
    return np.concatenate([logs.mean(axis=1), logs.std(axis=1)])


@pytest.mark.parametrize("label", LABELS)
def test_a_part_is_loud_inside_its_intervals_and_silent_outside(label: str) -> None:
    part = part_of(label, 1)
    sound = synthesise(part, 4.0, np.random.default_rng(0))
    (start, end), *_ = part.intervals
    first, last = round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)
    assert not sound[: first - 1].any()
    assert not sound[last + 1 :].any()
    assert np.sqrt(np.mean(sound[first:last] ** 2)) > 0.03
    # no hole of half a second within the interval: it counts as playing all through
    blocks = sound[first : last - (last - first) % 4000].reshape(-1, 4000)
    quiet = np.sqrt(np.mean(blocks**2, axis=1)) < 1e-3
    assert not np.any(quiet[1:] & quiet[:-1])


@pytest.mark.parametrize("label", [label for label in LABELS if label != "drum"])
def test_a_note_has_its_pitch(label: str) -> None:
    part = Part(label, (Note(0.0, 1.0, (69.0,), 1.0),), ((0.0, 1.0),), 0.5, FINGERS)
    sound = synthesise(part, 1.0, np.random.default_rng(0))
    power = np.abs(np.fft.rfft(sound[:16000])) ** 2
    harmonics = sum(power[440 * k - 30 : 440 * k + 31].sum() for k in range(1, 18))
    assert harmonics > 0.8 * power.sum()


def test_the_same_seed_sounds_the_same() -> None:
    one = synthesise(part_of("drum", 5), 4.0, np.random.default_rng(7))
    two = synthesise(part_of("drum", 5), 4.0, np.random.default_rng(7))
    np.testing.assert_array_equal(one, two)


def test_timbres_can_be_told_apart_by_the_nearest_mean_spectrum() -> None:
    def feature(label: str, seed: int) -> np.ndarray:
        return spectrum(synthesise(part_of(label, seed), 4.0, np.random.default_rng(seed)))

    means = np.array([np.mean([feature(x, s) for s in range(6)], axis=0) for x in LABELS])
    right = 0
    for i, label in enumerate(LABELS):
        for seed in range(100, 103):
            distance = np.linalg.norm(means - feature(label, seed), axis=1)
            right += int(np.argmin(distance)) == i
    assert right >= 0.9 * 3 * len(LABELS)


def test_noise_lies_in_its_band(rng: np.random.Generator) -> None:
    noise = coloured_noise(rng, 16000, (1000.0, 3000.0))
    power = np.abs(np.fft.rfft(noise)) ** 2
    assert power[700:4300].sum() > 0.9 * power.sum()
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(1.0, rel=1e-3)


def test_a_room_keeps_length_and_onset(rng: np.random.Generator) -> None:
    click = np.zeros(8000, np.float32)
    click[1000] = 1.0
    wet = room(click, rng, 0.2)
    assert wet.shape == click.shape
    assert np.abs(wet[:1000]).max() < 1e-6
    assert np.abs(wet[1001:3000]).max() > 1e-4


def test_claps_sound_at_their_times(rng: np.random.Generator) -> None:
    sound = clap(rng, [0.5], 1.0)
    assert not sound[:8000].any()
    assert np.abs(sound[8000:9000]).max() > 0.05
