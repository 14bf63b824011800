"""Sound stretched, filled and cut onto a time line: no clicks, nothing invented, nothing lost."""

import itertools
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playspot.stream.drift import MAX_STRETCH, DriftCompensator
from playspot.stream.media import AudioChunk, Waveform
from playspot.stream.timeline import SAMPLE_RATE, TICK_SAMPLES


def tone(n: int, hz: float = 1000.0) -> Waveform:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(n) / SAMPLE_RATE)).astype(np.float32)


def joined(chunks: Iterable[AudioChunk]) -> tuple[Waveform, Waveform]:
    """Return the sound and what is missing of it, checked to be without gap."""
    waveforms, missing, end = [np.zeros(0, np.float32)], [np.zeros(0, bool)], 0
    for chunk in chunks:
        assert chunk.start == end
        assert len(chunk.waveform) > 0
        assert not chunk.missing or (
            len(chunk.waveform) <= TICK_SAMPLES and not chunk.waveform.any()
        )
        end += len(chunk.waveform)
        waveforms.append(chunk.waveform)
        missing.append(np.full(len(chunk.waveform), chunk.missing))
    return np.concatenate(waveforms), np.concatenate(missing)


def run(parts: Iterable[tuple[float, Waveform]]) -> tuple[Waveform, Waveform]:
    compensator = DriftCompensator()
    chunks: list[AudioChunk] = []
    for time, part in parts:
        chunks += compensator.push(part, time)
    chunks += compensator.flush()
    return joined(chunks)


def cut(
    waveform: Waveform, cuts: Iterable[int], pace: float = 1.0, start: float = 0.0
) -> list[tuple[float, Waveform]]:
    edges = sorted({0, *cuts, len(waveform)})
    return [(start + pace * a / SAMPLE_RATE, waveform[a:b]) for a, b in itertools.pairwise(edges)]


@given(st.lists(st.integers(1, 15_999), max_size=40))
def test_sound_that_is_in_place_comes_out_as_it_went_in_however_it_is_cut(cuts: list[int]) -> None:
    sound = tone(16_000)
    out, missing = run(cut(sound, cuts))
    np.testing.assert_allclose(out, sound, atol=1e-6)
    assert not missing.any()


@pytest.mark.parametrize("ppm", [-300, -100, 100, 300])
def test_a_tone_of_a_card_that_runs_off_comes_out_at_its_true_pitch(ppm: float) -> None:
    n, pace = 20 * SAMPLE_RATE, 1 / (1 + ppm * 1e-6)
    out, missing = run(cut(tone(n, 1000 * pace), range(512, n, 512), pace))
    assert not missing.any()
    assert len(out) == pytest.approx(n * pace, abs=2)
    inner = slice(TICK_SAMPLES, len(out) - TICK_SAMPLES)
    # What 512 samples run off before it is seen is all that it is off; no click anywhere.
    lag = abs(ppm) * 1e-6 * 512 / SAMPLE_RATE
    tolerance = 0.5 * 2 * np.pi * 1000 * lag + 0.001
    np.testing.assert_allclose(out[inner], tone(len(out))[inner], atol=tolerance)


@settings(max_examples=30)
@given(st.lists(st.integers(1, 47_999), min_size=20, max_size=60))
def test_how_sound_is_cut_hardly_matters_while_it_is_stretched(cuts: list[int]) -> None:
    pace = 1 - 100e-6
    whole, _ = run(cut(tone(48_000), range(512, 48_000, 512), pace))
    out, _ = run(cut(tone(48_000), [*cuts, *range(4096, 48_000, 4096)], pace))
    n = min(len(out), len(whole))
    assert abs(len(out) - len(whole)) <= 1
    # 4096 samples run 26 us off, 0.16 of a radian of the tone.
    np.testing.assert_allclose(out[:n], whole[:n], atol=0.09)


def test_a_high_tone_keeps_its_strength_between_the_samples() -> None:
    n, pace = 10 * SAMPLE_RATE, 1 - 100e-6
    out, _ = run(cut(tone(n, 6000), range(512, n, 512), pace))
    strengths = [np.sqrt(np.mean(part**2)) for part in np.array_split(out[1000:-1000], 50)]
    assert np.ptp(strengths) < 0.002


def test_a_late_start_is_missing_and_what_is_before_the_start_is_left_out() -> None:
    out, missing = run(cut(tone(16_000), [], start=0.3))
    assert missing.sum() == 4800
    assert not missing[4800:].any()
    np.testing.assert_allclose(out[4800:], tone(16_000), atol=1e-6)
    out, missing = run(cut(tone(16_000), range(500, 16_000, 500), start=-0.3))
    assert not missing.any()
    np.testing.assert_allclose(out[20:], tone(16_000)[4820:], atol=1e-6)


def test_lost_sound_is_missing_and_double_sound_is_left_out() -> None:
    sound = tone(32_000)
    jump = [
        (0.0, sound[:16_000]),
        (1.3, sound[:3000]),
        (1.3 + 3000 / SAMPLE_RATE, sound[3000:8000]),
    ]
    out, missing = run(jump)
    assert len(out) == 20_800 + 8000
    np.testing.assert_array_equal(np.flatnonzero(missing), np.arange(16_000, 20_800))
    twice = [(0.0, sound[:16_000]), (0.7, sound[11_200:20_000]), (1.25, sound[20_000:])]
    out, missing = run(twice)
    assert not missing.any()
    np.testing.assert_allclose(out[:-20], sound[:-20], atol=1e-4)


def test_a_small_error_is_stretched_away_without_a_break() -> None:
    n = 40 * SAMPLE_RATE
    parts = [(time + 0.015 * (time > 0.1), part) for time, part in cut(tone(n), range(512, n, 512))]
    out, missing = run(parts)
    assert not missing.any()
    assert len(out) == n + round(0.015 * SAMPLE_RATE)
    steepest = 0.5 * 2 * np.pi * 1000 / SAMPLE_RATE * (1 + MAX_STRETCH)
    assert np.abs(np.diff(out)).max() <= steepest * 1.01


def test_sound_said_to_be_missing_is_not_made_up() -> None:
    compensator = DriftCompensator()
    chunks = [*compensator.push(tone(4000), 0.0), *compensator.skip(0.26)]
    chunks += [*compensator.push(tone(4000), 0.26), *compensator.flush()]
    out, missing = joined(chunks)
    np.testing.assert_array_equal(np.flatnonzero(missing), np.arange(4000, 4160))
    assert len(out) == 8160
