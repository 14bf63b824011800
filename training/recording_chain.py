"""What happens to a sound between the player and the file: room, microphone, noise, codec.

What goes in: a waveform (float32, mono, 16 kHz) and a seeded generator. What comes out: the same
length, as a phone or a cheap camera would have it.
"""

from __future__ import annotations

import io
import math
from fractions import Fraction

import av
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..stream.timeline import SAMPLE_RATE
from .noises import hum, steady_noise
from .synth import Waveform

SPEED_OF_SOUND = 343.0  # m/s
_CODECS = (("aac", "adts"), ("libmp3lame", "mp3"))
_BLOCK = 1024  # samples of a frame given to an encoder


def record(sound: Waveform, rng: Generator, harshness: float = 0.5) -> Waveform:
    """Return a sound as a recording of it.

    Parameters
    ----------
    sound : float32, shape (T,)
    rng : Generator
    harshness : float
        0 for a studio, 1 for a phone at the far end of a hall.

    Returns
    -------
    recorded : float32, shape (T,)
        Within [-1, 1].
    """
    n = sound.size
    duration = n / SAMPLE_RATE
    response = np.zeros(SAMPLE_RATE)
    response[0] = 1.0
    if rng.random() < 0.3 + 0.6 * harshness:
        response = room_response(rng, wet=rng.uniform(0.1, 0.4 + 1.6 * harshness))
    n_fft = 1 << (n + response.size - 1).bit_length()
    spectrum = np.fft.rfft(sound, n_fft) * np.fft.rfft(response, n_fft)
    hz = np.asarray(np.fft.rfftfreq(n_fft, 1 / SAMPLE_RATE), np.float64)
    spectrum *= microphone_gain(hz, rng, harshness)
    heard = np.fft.irfft(spectrum, n_fft)[:n]
    level = math.sqrt(float(np.mean(heard**2))) + 1e-6
    quiet = rng.uniform(20 - 12 * harshness, 70 - 20 * harshness)  # dB below the sound
    heard = heard + steady_noise(rng, duration) * (max(level, 0.01) * 10 ** (-quiet / 20))
    if rng.random() < 0.3 * harshness:
        heard = heard + hum(rng, duration) * (level * 10 ** (-rng.uniform(15, 45) / 20))
    if rng.random() < 0.5 * harshness:
        heard = levelled(heard, rng.uniform(0.2, 0.8))
    peak = float(np.max(np.abs(heard))) + 1e-9
    if rng.random() < 0.25 * harshness:
        drive = rng.uniform(1, 4)
        heard = np.clip(heard * (drive / peak), -1, 1)  # overloaded
        peak = 1.0
    heard = heard * (0.98 * 10 ** (-rng.uniform(0, 26) / 20) / peak)
    recorded = np.clip(heard, -1, 1).astype(np.float32)
    if rng.random() < 0.2 + 0.5 * harshness:
        codec, container = _CODECS[rng.integers(len(_CODECS))]
        recorded = compressed(recorded, codec, container, int(rng.choice((24, 32, 48, 64))) * 1000)
    return recorded


def room_response(rng: Generator, wet: float) -> NDArray[np.float64]:
    """Return the impulse response of a random room, one second and a half long.

    Parameters
    ----------
    rng : Generator
    wet : float
        Level of everything after the direct sound, relative to it.

    Notes
    -----
    Early reflections by images of the source in the six walls of a box up to the third order, the
    tail as noise that decays exponentially, its high part faster. Source: Allen and Berkley 1979.
    """
    size = np.array([rng.uniform(2.5, 20), rng.uniform(2.5, 15), rng.uniform(2.2, 8)])
    source, listener = rng.uniform(0.15, 0.85, (2, 3)) * size
    reflection = rng.uniform(0.5, 0.93)
    n = round(1.5 * SAMPLE_RATE)
    response = np.zeros(n)
    direct = max(0.3, float(np.linalg.norm(source - listener)))
    orders = range(-2, 3)
    for i in orders:
        for j in orders:
            for k in orders:
                bounces = abs(i) + abs(j) + abs(k)
                if not 0 < bounces <= 3:
                    continue
                cell = np.array([i, j, k])
                image = np.where(cell % 2 == 0, source, size - source) + cell * size
                far = float(np.linalg.norm(image - listener))
                at = round((far - direct) / SPEED_OF_SOUND * SAMPLE_RATE)
                if 0 < at < n:
                    response[at] += reflection**bounces * direct / far
    volume = float(np.prod(size))
    surface = 2 * (size[0] * size[1] + size[0] * size[2] + size[1] * size[2])
    absorbed = surface * (1 - reflection**2)
    decay = min(2.5, max(0.12, 0.161 * volume / absorbed)) / 6.9  # seconds to 1/e
    seconds = np.arange(n) / SAMPLE_RATE
    tail = rng.standard_normal(n) * np.exp(-seconds / decay)
    dull = np.convolve(rng.standard_normal(n), np.ones(6) / 6, "same") * np.exp(-seconds / decay)
    tail = 0.4 * tail * np.exp(-seconds / (0.5 * decay)) + dull
    tail[: round(0.01 * SAMPLE_RATE)] = 0
    energy = float(np.sum(response**2)) + 1e-9
    tail *= math.sqrt(energy / float(np.sum(tail**2))) * rng.uniform(0.3, 1.2)
    response = response + tail
    response *= wet / math.sqrt(float(np.sum(response**2)))
    response[0] = 1.0
    return np.asarray(response)


def microphone_gain(
    hz: NDArray[np.float64], rng: Generator, harshness: float
) -> NDArray[np.float64]:
    """Return the gain of a random microphone and its band limits at each frequency."""
    octaves = np.log2(np.maximum(hz, 20) / 1000)
    decibel = octaves * rng.uniform(-1, 1) * (1 + 2 * harshness)
    for _ in range(int(rng.integers(0, 5))):
        centre, width = rng.uniform(-3.5, 3), rng.uniform(0.15, 1.2)
        height = rng.uniform(-1, 1) * (3 + 9 * harshness)
        decibel = decibel + height * np.exp(-0.5 * ((octaves - centre) / width) ** 2)
    gain = 10 ** (decibel / 20)
    if rng.random() < 0.6:
        low = rng.uniform(30, 100 + 250 * harshness)
        gain = gain / np.sqrt(1 + (low / np.maximum(hz, 1)) ** rng.choice((2, 4, 8)))
    if rng.random() < 0.3 + 0.4 * harshness:
        high = rng.uniform(3200, 7800)
        gain = gain / np.sqrt(1 + (hz / high) ** rng.choice((8, 40, 200)))
    return np.asarray(gain)


def levelled(sound: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
    """Return a sound whose quiet parts are made louder, as by a camera's automatic gain."""
    n = sound.size
    block = SAMPLE_RATE // 20
    n_blocks = max(2, -(-n // block))
    padded = np.pad(sound, (0, n_blocks * block - n))
    level = np.sqrt(np.mean(padded.reshape(n_blocks, block) ** 2, axis=1))
    smooth = np.convolve(np.pad(level, 4, "edge"), np.ones(9) / 9, "valid")
    floor = 0.05 * float(smooth.max()) + 1e-6
    gain = (np.maximum(smooth, floor) / (smooth.max() + 1e-6)) ** -strength
    return np.asarray(sound * np.interp(np.arange(n) / block - 0.5, np.arange(n_blocks), gain))


def compressed(sound: Waveform, codec: str, container: str, bit_rate: int) -> Waveform:
    """Return what a lossy codec leaves of a sound, the same length and in time with it."""
    memory = io.BytesIO()
    with av.open(memory, "w", format=container) as out:
        stream = out.add_stream(codec, rate=SAMPLE_RATE, layout="mono")
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = bit_rate
        for at in range(0, sound.size, _BLOCK):
            frame = av.AudioFrame.from_ndarray(
                sound[None, at : at + _BLOCK], format="fltp", layout="mono"
            )
            frame.sample_rate = SAMPLE_RATE
            frame.pts = at
            frame.time_base = Fraction(1, SAMPLE_RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    memory.seek(0)
    with av.open(memory, "r") as back:
        blocks = [frame.to_ndarray()[0] for frame in back.decode(audio=0)]
    decoded = np.concatenate(blocks).astype(np.float32)
    return _in_time(decoded, sound)


def _in_time(decoded: Waveform, sound: Waveform) -> Waveform:
    """Return a decoded sound without the silence that encoders put first."""
    n = sound.size
    n_fft = 1 << (decoded.size + n).bit_length()
    product = np.fft.rfft(decoded, n_fft) * np.conj(np.fft.rfft(sound, n_fft))
    delay = int(np.argmax(np.fft.irfft(product, n_fft)[:4096]))
    moved = np.zeros(n, np.float32)
    part = decoded[delay : delay + n]
    moved[: part.size] = part
    return np.clip(moved, -1, 1)
