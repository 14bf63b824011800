"""Sounds that are no instrument: speech, singing, a crowd, applause, noise, hum, birds.

What goes in: a seeded generator and a length in seconds. What comes out: float32 waveforms, 16 kHz,
of RMS 1 where they sound. They are what a microphone hears besides music; a sound network must stay
quiet for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..stream.timeline import SAMPLE_RATE
from .synth import Waveform, coloured_noise

_FRAME = 0.01  # seconds between the values that move a voice
_VOWELS = np.array(  # the three lowest resonances, Hz
    [
        (730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410),
        (440, 1020, 2240), (660, 1720, 2410), (490, 1350, 1690),
    ]
)  # fmt: skip

Curve = NDArray[np.float64]


def speech(rng: Generator, duration: float) -> Waveform:
    """Return something like speech: syllables with vowels, hisses and pauses.

    Examples
    --------
    >>> speech(np.random.default_rng(0), 0.5).shape
    (8000,)
    """
    n = max(2, round(duration / _FRAME))
    pitch, level, vowel = np.zeros(n), np.zeros(n), np.zeros((n, 3))
    hiss = np.zeros(n)
    base = rng.choice((110.0, 190.0, 260.0)) * rng.uniform(0.8, 1.25)
    at = 0
    while at < n:
        if rng.random() < 0.12:
            at += int(rng.integers(15, 70))
            continue
        length = int(rng.integers(9, 28))
        end = min(n, at + length)
        u = np.linspace(0, 1, length)[: end - at]
        pitch[at:end] = base * rng.uniform(0.85, 1.3) * (1 + rng.uniform(-0.15, 0.1) * u)
        level[at:end] = rng.uniform(0.4, 1) * np.sin(math.pi * u) ** 0.6
        first, last = _VOWELS[rng.integers(8)], _VOWELS[rng.integers(8)]
        vowel[at:end] = first + (last - first) * u[:, None]
        if rng.random() < 0.4:
            hiss[max(0, at - 8) : at] = rng.uniform(0.05, 0.25)
        at = end
    sound = _voice(rng, duration, pitch, level, vowel)
    noise = coloured_noise(rng, sound.size, (rng.uniform(2500, 4500), 7500.0))
    return _unit(sound + noise * _drawn_out(hiss, sound.size))


def singing(rng: Generator, duration: float) -> Waveform:
    """Return something like a voice that sings: long vowels at pitches, with vibrato."""
    n = max(2, round(duration / _FRAME))
    pitch, level, vowel = np.zeros(n), np.zeros(n), np.zeros((n, 3))
    key = int(rng.integers(43, 66))
    swing, rate = rng.uniform(0.1, 0.6), rng.uniform(4.5, 6.5)
    at, note = 0, key
    while at < n:
        length = int(rng.choice((20, 40, 80, 160)) * rng.uniform(0.8, 1.2))
        end = min(n, at + length)
        before, note = note, key + int(rng.choice((0, 2, 3, 4, 5, 7, 9, 12)))
        seconds = np.arange(end - at) * _FRAME
        glide = np.exp(-seconds / 0.06)
        bend = swing * np.sin(math.tau * rate * seconds) * np.minimum(1, seconds / 0.4)
        midi = note + (before - note) * glide + bend
        pitch[at:end] = 440 * 2 ** ((midi - 69) / 12)
        level[at:end] = np.minimum(1, seconds / 0.08) * rng.uniform(0.6, 1)
        vowel[at:end] = _VOWELS[rng.integers(8)]
        at = end + (int(rng.integers(10, 60)) if rng.random() < 0.2 else 0)
    return _unit(_voice(rng, duration, pitch, level, vowel))


def crowd(rng: Generator, duration: float) -> Waveform:
    """Return many who speak at once."""
    voices = [speech(rng, duration) * np.float32(rng.uniform(0.3, 1)) for _ in range(5)]
    return _unit(np.sum(voices, axis=0))


def applause(rng: Generator, duration: float) -> Waveform:
    """Return the claps of an audience."""
    n = round(duration * SAMPLE_RATE)
    claps = (rng.random(n) < rng.uniform(20, 400) / SAMPLE_RATE) * rng.uniform(0.2, 1, n)
    low = rng.uniform(500, 1200)
    burst = coloured_noise(rng, 1600, (low, rng.uniform(2500, 6000)))
    burst = burst * np.exp(-np.arange(1600, dtype=np.float32) / 16000 / rng.uniform(0.004, 0.015))
    n_fft = 1 << (n + 1600).bit_length()
    sound = np.fft.irfft(np.fft.rfft(claps, n_fft) * np.fft.rfft(burst, n_fft), n_fft)[:n]
    return _unit(sound)


def steady_noise(rng: Generator, duration: float) -> Waveform:
    """Return noise of any colour, as of water, wind, traffic or a bad microphone."""
    n = round(duration * SAMPLE_RATE)
    spectrum = np.fft.rfft(rng.standard_normal(n))
    hz = np.maximum(np.fft.rfftfreq(n, 1 / SAMPLE_RATE), 20)
    spectrum *= hz ** rng.uniform(-1.2, 0.2)
    if rng.random() < 0.4:
        spectrum /= 1 + (rng.uniform(100, 1000) / hz) ** 4
    sound = np.fft.irfft(spectrum, n)
    if rng.random() < 0.5:
        waves = rng.uniform(0.2, 1, max(2, int(duration * rng.uniform(0.5, 6))))
        sound *= _drawn_out(waves, n)
    return _unit(sound)


def hum(rng: Generator, duration: float) -> Waveform:
    """Return the hum of mains or of a motor."""
    seconds = np.arange(round(duration * SAMPLE_RATE)) / SAMPLE_RATE
    base = rng.choice((50.0, 60.0, rng.uniform(40, 200)))
    count = int(rng.integers(3, 15))
    gains = rng.uniform(0, 1, count) / np.arange(1, count + 1) ** rng.uniform(0, 1)
    turns = math.tau * base * seconds
    sound = sum(gain * np.sin((k + 1) * turns + k) for k, gain in enumerate(gains))
    return _unit(np.asarray(sound))


def birds(rng: Generator, duration: float) -> Waveform:
    """Return chirps."""
    sound = np.zeros(round(duration * SAMPLE_RATE))
    low = rng.uniform(1800, 3500)
    for _ in range(int(duration * rng.uniform(1, 6))):
        length = int(rng.uniform(0.04, 0.3) * SAMPLE_RATE)
        at = int(rng.integers(max(1, sound.size - length)))
        u = np.linspace(0, 1, length)
        hz = low * rng.uniform(1, 1.8) * (1 + rng.uniform(-0.4, 0.4) * u)
        hz = hz * (1 + 0.05 * np.sin(math.tau * rng.uniform(0, 12) * u))
        chirp = np.sin(math.tau * np.cumsum(hz) / SAMPLE_RATE) * np.sin(math.pi * u)
        n = min(length, sound.size - at)
        sound[at : at + n] += rng.uniform(0.3, 1) * chirp[:n]
    return _unit(sound)


NOISES: tuple[Callable[[Generator, float], Waveform], ...] = (
    speech, speech, singing, singing, crowd, applause, steady_noise, steady_noise, hum, birds,
)  # fmt: skip


def _voice(rng: Generator, duration: float, pitch: Curve, level: Curve, vowel: Curve) -> Curve:
    """Return a voice from its pitch, level and resonances every `_FRAME`."""
    n = round(duration * SAMPLE_RATE)
    size = rng.uniform(0.9, 1.2)  # of the head
    held = np.where(pitch > 0, pitch, np.nan)
    filled = np.interp(
        np.arange(pitch.size), *(np.flatnonzero(~np.isnan(held)), held[~np.isnan(held)])
    ) if (~np.isnan(held)).any() else np.full(pitch.size, 150.0)  # fmt: skip
    turns = np.cumsum(_drawn_out(filled, n)) * (math.tau / SAMPLE_RATE)
    sound = np.zeros(n)
    tilt = rng.uniform(0.9, 1.5)
    for k in range(1, 41):
        hz = k * filled
        if hz.min() > 7000:
            break
        gain = np.full(pitch.size, 0.02)
        for centre, width, height in zip(
            vowel.T * size, (90, 120, 180), (1, 0.6, 0.35), strict=True
        ):
            gain = gain + height / (1 + ((hz - centre) / width) ** 2)
        gain = gain * level * k**-tilt * (hz < 7500)
        sound += np.sin(k * turns) * _drawn_out(gain, n)
    return sound


def _drawn_out(curve: Curve, n: int) -> Curve:
    """Return a curve with as many values as there are samples."""
    return np.interp(np.linspace(0, curve.size - 1, n), np.arange(curve.size), curve)


def _unit(sound: NDArray[np.floating]) -> Waveform:
    loud = sound[np.abs(sound) > 1e-4 * np.max(np.abs(sound), initial=1e-9)]
    level = math.sqrt(float(np.mean(loud * loud))) if loud.size else 1.0
    return np.asarray(sound / max(level, 1e-9), np.float32)
