"""FluidSynth, where it is installed: a MIDI file and a soundfont in, a waveform out.

The program is run as a process of its own, with a time limit and without a shell. Waveforms are
float32, mono, 16 kHz, in [-1, 1].
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from ..stream.timeline import SAMPLE_RATE
from .synth import Waveform

RATE = 2 * SAMPLE_RATE  # Hz that is asked for: its resampling folds what lies above the middle
TIME_LIMIT = 60.0  # seconds a file may take; it runs at more than 100 times real time


class FluidSynthError(ValueError):
    """FluidSynth that is missing or has failed; the message is one line for the user."""


def find_fluidsynth() -> str | None:
    """Return the path of the program, or None where it is not installed."""
    return shutil.which("fluidsynth")


@functools.cache
def fluidsynth_version() -> str:
    """Return the version of the installed program, such as "2.3.1"; empty where there is none."""
    program = find_fluidsynth()
    if program is None:
        return ""
    done = subprocess.run(
        [program, "--version"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )
    words = done.stdout.split()
    return words[words.index("version") + 1] if "version" in words[:-1] else "unknown"


def play(midi: bytes, soundfont: Path, duration: float, *, rate: int = RATE) -> Waveform:
    """Return the sound of a MIDI file.

    Parameters
    ----------
    midi : bytes
        See `midi.midi_file`.
    soundfont : Path
    duration : float
        Seconds that come back: what is longer is cut, what is shorter is silent at its end.
    rate : int
        Hz to render at, 8000 to 96000. The samples are then taken to be `RATE` apart, so that a
        rate of half of it doubles all speeds and frequencies.

    Returns
    -------
    waveform : float32, shape (round(duration * SAMPLE_RATE),)
        Dry: no reverberation, no chorus.

    Raises
    ------
    FluidSynthError
        If the program is not installed, fails, or takes longer than `TIME_LIMIT`.
    """
    program = find_fluidsynth()
    if program is None:
        raise FluidSynthError(
            "FluidSynth is not installed: apt install fluidsynth, or choose --synth builtin"
        )
    with tempfile.TemporaryDirectory(prefix="playspot-") as folder:
        notes, sound = Path(folder) / "notes.mid", Path(folder) / "sound.raw"
        notes.write_bytes(midi)
        command = [
            program, "-n", "-i", "-q", "-f", os.devnull, "-R", "0", "-C", "0", "-g", "0.4",
            "-r", str(rate), "-T", "raw", "-O", "s16", "-F", str(sound),
            "-o", "synth.dynamic-sample-loading=1", "-o", "synth.cpu-cores=1",
            "-o", "synth.default-soundfont=",  # else it takes that in place of a broken one
            str(soundfont), str(notes),
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIME_LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise FluidSynthError(f"FluidSynth took more than {TIME_LIMIT:g} s") from None
        said = done.stderr.decode(errors="replace").strip().splitlines()
        if done.returncode != 0 or not sound.is_file() or any("error" in line for line in said):
            reason = said[-1] if said else f"exit code {done.returncode}"
            raise FluidSynthError(f"FluidSynth failed with {soundfont.name}: {reason}")
        content = sound.read_bytes()
    stereo = np.frombuffer(content[: len(content) // 4 * 4], "<i2").reshape(-1, 2)
    mono = stereo.mean(axis=1, dtype=np.float32) / np.float32(32768)
    whole = np.zeros(2 * round(duration * SAMPLE_RATE), np.float32)
    n = min(whole.size, mono.size)
    whole[:n] = mono[:n]
    return _halved(whole)


def _halved(waveform: Waveform) -> Waveform:
    """Return a waveform with every other sample, without what those cannot carry."""
    n = waveform.size // 2
    spectrum = np.fft.rfft(waveform)[: n // 2 + 1]
    return np.fft.irfft(spectrum / 2, n).astype(np.float32)
