"""The built-in synthesiser: notes in, a waveform out, one timbre for each of the nine instruments.

What goes in: `Part`s (seconds, MIDI pitches). What comes out: float32 waveforms at 16 kHz in
[-1, 1]. Tones are sums of harmonics with an envelope, vibrato and a formant curve of their own;
breath, bow and drum noises are shaped in the frequency domain. NumPy only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..stream.timeline import SAMPLE_RATE
from .music import CRASH, FLOOR_TOM, HAT, KICK, SNARE, Note, Part

Waveform = NDArray[np.float32]

MAX_HARMONICS = 24
EDGE = 0.004  # seconds; every note fades out at its end in at least this time


@dataclass(frozen=True)
class Timbre:
    """How one instrument sounds.

    Attributes
    ----------
    tilt : float
        Power of 1/harmonic: large is dull.
    odd : float
        Gain of the even harmonics: 0 gives a hollow sound of odd ones only.
    formants : tuple of (float, float, float)
        Resonances: Hz, gain, width in octaves.
    attack, release : float
        Seconds.
    decay : float
        Seconds to fall to 1/e while held; 0 for a sound that is sustained.
    damping : float
        How much faster each higher harmonic decays.
    vibrato_hz, vibrato_cents : float
    tremolo : float
        Depth 0-1 of the loudness part of the vibrato.
    noise : float
        Level of the noise that goes with the tone.
    noise_band : (float, float)
        Hz, where the noise lies.
    onset_noise : float
        Level of the noise at the onset alone (hammer, pick, tongue).
    brightening : float
        How much the upper harmonics come in later and with loudness, as in brass.
    detune_cents : float
        A second reed or string, so far away; 0 for none.
    stretch : float
        Inharmonicity of stiff strings.
    """

    tilt: float
    odd: float = 1.0
    formants: tuple[tuple[float, float, float], ...] = ()
    attack: float = 0.02
    release: float = 0.06
    decay: float = 0.0
    damping: float = 0.0
    vibrato_hz: float = 5.0
    vibrato_cents: float = 0.0
    tremolo: float = 0.0
    noise: float = 0.0
    noise_band: tuple[float, float] = (1000.0, 6000.0)
    onset_noise: float = 0.0
    brightening: float = 0.0
    detune_cents: float = 0.0
    stretch: float = 0.0


TIMBRES = {
    "accordion": Timbre(
        tilt=0.45, formants=((900, 1.2, 0.8), (2600, 1.5, 0.6)), attack=0.05, release=0.05,
        vibrato_hz=3.0, tremolo=0.1, noise=0.01, detune_cents=16,
    ),
    "cello": Timbre(
        tilt=1.15, formants=((230, 1.5, 0.5), (600, 1.0, 0.5), (1400, 0.6, 0.4)), attack=0.09,
        release=0.1, vibrato_hz=4.8, vibrato_cents=22, tremolo=0.12, noise=0.035,
        noise_band=(300, 2500),
    ),
    "flute": Timbre(
        tilt=2.3, attack=0.06, release=0.07, vibrato_hz=5.2, vibrato_cents=12, tremolo=0.3,
        noise=0.09, noise_band=(700, 6500), onset_noise=0.06,
    ),
    "guitar": Timbre(
        tilt=1.1, formants=((120, 0.8, 0.5), (420, 0.8, 0.6)), attack=0.003, release=0.05,
        decay=0.55, damping=0.35, onset_noise=0.22, noise_band=(1500, 6000), stretch=0.00005,
    ),
    "piano": Timbre(
        tilt=1.5, attack=0.004, release=0.09, decay=0.9, damping=0.22, onset_noise=0.1,
        noise_band=(150, 1200), detune_cents=1.5, stretch=0.0004,
    ),
    "saxophone": Timbre(
        tilt=0.85, odd=0.75, formants=((520, 1.6, 0.5), (1250, 1.3, 0.4), (2400, 0.7, 0.4)),
        attack=0.035, release=0.06, vibrato_hz=4.6, vibrato_cents=20, tremolo=0.15, noise=0.04,
        noise_band=(1800, 6000), onset_noise=0.05,
    ),
    "trumpet": Timbre(
        tilt=0.35, formants=((1200, 1.6, 0.9), (2300, 0.8, 0.6)), attack=0.03, release=0.05,
        vibrato_hz=5.4, vibrato_cents=8, tremolo=0.06, noise=0.006, brightening=1.0,
    ),
    "violin": Timbre(
        tilt=0.9, formants=((480, 0.8, 0.4), (1000, 0.9, 0.4), (2900, 1.7, 0.5)), attack=0.06,
        release=0.08, vibrato_hz=6.0, vibrato_cents=28, tremolo=0.18, noise=0.045,
        noise_band=(2000, 7500),
    ),
}  # fmt: skip


def synthesise(part: Part, duration: float, rng: Generator) -> Waveform:
    """Return the sound of one part.

    Parameters
    ----------
    part : Part
    duration : float
        Seconds.
    rng : Generator
        Varies the timbre a little from clip to clip.

    Returns
    -------
    waveform : float32, shape (round(duration * SAMPLE_RATE),)
        Level about 0.1 RMS while it plays, exactly 0 outside its notes.

    Examples
    --------
    >>> synthesise(Part("flute", (), (), 0.5, ((0,) * 8,)), 1.0, np.random.default_rng(0)).shape
    (16000,)
    """
    n_samples = round(duration * SAMPLE_RATE)
    out = np.zeros(n_samples, np.float32)
    if not part.notes:
        return out
    if part.label == "drum":
        drums = _drum_sounds(rng)
        for note in part.notes:
            _add(out, note, drums[int(note.pitches[0])] * np.float32(note.velocity), 0.02)
    else:
        _play_tones(out, part, TIMBRES[part.label], rng)
    loud = out[np.abs(out) > 1e-5]
    level = math.sqrt(float(np.mean(loud * loud))) if loud.size else 1.0
    return out * np.float32(0.1 / max(level, 1e-6))


def _play_tones(out: Waveform, part: Part, timbre: Timbre, rng: Generator) -> None:
    noise = coloured_noise(rng, SAMPLE_RATE, timbre.noise_band)
    tilt = timbre.tilt * rng.uniform(0.92, 1.08)
    colour = rng.uniform(0.93, 1.07)  # moves all formants together: another body
    phase_start = rng.uniform(0, math.tau, MAX_HARMONICS)
    for note in part.notes:
        n = round((note.end - note.onset) * SAMPLE_RATE)
        seconds = np.asarray(np.arange(n) / SAMPLE_RATE, np.float32)
        sound = np.zeros(n, np.float32)
        for i, midi in enumerate(note.pitches):
            stagger = round(0.012 * i * SAMPLE_RATE) if part.label == "guitar" else 0
            if stagger < n:
                tone = _tone(timbre, midi, seconds[: n - stagger], note, tilt, colour, phase_start)
                sound[stagger:] += tone
        sound /= math.sqrt(len(note.pitches))
        if timbre.noise or timbre.onset_noise:
            at = int(rng.integers(0, SAMPLE_RATE))
            hiss = np.resize(np.roll(noise, -at), n)
            level = timbre.noise * np.minimum(1, seconds / timbre.attack)
            level += timbre.onset_noise * np.exp(-seconds / 0.02)
            sound += hiss * level * np.float32(note.velocity)
        _add(out, note, sound, timbre.release)


def _tone(
    timbre: Timbre,
    midi: float,
    seconds: Waveform,
    note: Note,
    tilt: float,
    colour: float,
    phases: NDArray[np.float64],
) -> Waveform:
    f0 = 440.0 * 2 ** ((midi - 69) / 12)
    swing = np.sin(math.tau * timbre.vibrato_hz * seconds) * np.minimum(1, seconds / 0.25)
    bend = 1 + math.log(2) / 1200 * timbre.vibrato_cents * swing
    turns = np.cumsum(bend) * np.float32(math.tau * f0 / SAMPLE_RATE)
    envelope = np.minimum(1, seconds / timbre.attack) * (1 + timbre.tremolo * swing)
    sound = np.zeros(seconds.size, np.float32)
    second = 2 ** (timbre.detune_cents / 1200)
    for k in range(1, MAX_HARMONICS + 1):
        ratio = k * math.sqrt(1 + timbre.stretch * k * k)
        frequency = f0 * ratio
        if frequency > 0.47 * SAMPLE_RATE:
            break
        gain = k**-tilt * (timbre.odd if k % 2 == 0 else 1.0)
        boost = 1.0 if timbre.formants else 0.0
        for centre, height, width in timbre.formants:
            octaves = math.log2(frequency / (centre * colour)) / width
            boost += 2.5 * height * math.exp(-0.5 * octaves * octaves)
        gain *= boost or 1.0
        if gain < 1e-3:
            continue
        part = np.sin(turns * np.float32(ratio) + np.float32(phases[k - 1]))
        if timbre.detune_cents:
            part += np.sin(turns * np.float32(ratio * second) + np.float32(phases[-k]))
        if timbre.decay:
            part *= np.exp(seconds * np.float32(-(1 + timbre.damping * (k - 1)) / timbre.decay))
        if timbre.brightening:
            rise = np.minimum(1, seconds / (timbre.attack * (1 + 0.35 * k)))
            part *= rise * np.float32(note.velocity ** (timbre.brightening * (k - 1) * 0.25))
        sound += part * np.float32(gain)
    return np.asarray(sound * envelope * (note.velocity / 3), np.float32)


def _add(out: Waveform, note: Note, sound: Waveform, release: float) -> None:
    """Add a sound at a note's onset, faded so that nothing is left after the note's end."""
    start = round(note.onset * SAMPLE_RATE)
    n = min(sound.size, round(note.end * SAMPLE_RATE) - start, out.size - start)
    if n <= 0:
        return
    fade = min(n, max(round(release * SAMPLE_RATE), round(EDGE * SAMPLE_RATE)))
    sound = sound[:n].copy()
    sound[n - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    out[start : start + n] += sound


def coloured_noise(rng: Generator, n_samples: int, band: tuple[float, float]) -> Waveform:
    """Return noise of RMS 1 within a band with soft edges, float32, shape (n_samples,).

    Examples
    --------
    >>> coloured_noise(np.random.default_rng(0), 1000, (500.0, 2000.0)).shape
    (1000,)
    """
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    hz = np.fft.rfftfreq(n_samples, 1 / SAMPLE_RATE)
    low, high = band
    spectrum *= 1 / (1 + (low / np.maximum(hz, 1)) ** 4) / (1 + (hz / high) ** 4)
    sound = np.fft.irfft(spectrum, n_samples)
    return (sound / math.sqrt(float(np.mean(sound**2)))).astype(np.float32)


def _drum_sounds(rng: Generator) -> list[Waveform]:
    """Return the sounds of KICK ... CRASH, each a second long."""
    seconds = np.arange(SAMPLE_RATE, dtype=np.float32) / SAMPLE_RATE
    tuning = rng.uniform(0.88, 1.14)

    def skin(hz: float, drop: float, decay: float) -> Waveform:
        sweep = hz * tuning * (seconds + drop * 0.03 * (1 - np.exp(-seconds / 0.03)))
        return np.asarray(np.sin(math.tau * sweep) * np.exp(-seconds / decay), np.float32)

    def burst(band: tuple[float, float], decay: float) -> Waveform:
        noise = coloured_noise(rng, SAMPLE_RATE, band)
        return np.asarray(noise * np.exp(-seconds / decay), np.float32)

    sounds = [np.zeros(0, np.float32)] * 6
    sounds[KICK] = 0.9 * skin(52, 2.0, 0.12) + 0.05 * burst((800, 3000), 0.008)
    sounds[SNARE] = 0.35 * skin(185, 0.4, 0.07) + 0.32 * burst((900, 6500), 0.09)
    sounds[HAT] = 0.16 * burst((5500, 7900), 0.035)
    sounds[3] = 0.7 * skin(140, 0.5, 0.16) + 0.06 * burst((300, 2000), 0.03)
    sounds[FLOOR_TOM] = 0.8 * skin(88, 0.5, 0.2) + 0.06 * burst((200, 1500), 0.03)
    sounds[CRASH] = 0.2 * burst((3000, 7800), 0.35)
    return [sound.astype(np.float32) for sound in sounds]


def clap(rng: Generator, times: list[float], duration: float) -> Waveform:
    """Return the sound of claps at `times`, float32, shape (round(duration * SAMPLE_RATE),)."""
    out = np.zeros(round(duration * SAMPLE_RATE), np.float32)
    seconds = np.arange(SAMPLE_RATE // 8, dtype=np.float32) / SAMPLE_RATE
    noise = coloured_noise(rng, seconds.size, (700.0, 3500.0)) * np.exp(-seconds / 0.012)
    for time in times:
        sound = (noise * np.float32(0.2 * rng.uniform(0.7, 1.0))).astype(np.float32)
        _add(out, Note(time, time + 0.12, (), 1.0), sound, 0.02)
    return out


def room(waveform: Waveform, rng: Generator, wet: float, decay: float = 0.12) -> Waveform:
    """Return a waveform with the reverberation of a small room, the same length.

    Parameters
    ----------
    waveform : float32, shape (T,)
    rng : Generator
    wet : float
        Level of the room, 0-1.
    decay : float
        Seconds to fall to 1/e.
    """
    n_tail = round(4 * decay * SAMPLE_RATE)
    seconds = np.arange(n_tail) / SAMPLE_RATE
    tail = rng.standard_normal(n_tail) * np.exp(-seconds / decay)
    tail *= wet / math.sqrt(float(np.sum(tail**2)))
    tail[0] += 1.0
    n_fft = 1 << (waveform.size + n_tail - 1).bit_length()
    mixed = np.fft.irfft(np.fft.rfft(waveform, n_fft) * np.fft.rfft(tail, n_fft), n_fft)
    return mixed[: waveform.size].astype(np.float32)
