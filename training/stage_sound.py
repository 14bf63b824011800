"""The sound of a scene of the bandstand: its players, what is off the stage, the room.

What goes in: a `Scene`. What comes out: a waveform, float32, mono, 16 kHz, and which synthesiser
and timbres it is made of. The scene's notes decide when it sounds, whoever plays them: the same
seed gives the same sound by the same synthesiser.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator

from ..stream.timeline import SAMPLE_RATE
from .actors import CLAP_HZ
from .clips import split_of_seed
from .music import Part
from .noises import NOISES
from .orchestra import LOUDNESS, Synth, chosen_synth, play_part, synth_name
from .recording_chain import record
from .scene import Scene
from .synth import Waveform, clap, coloured_noise, room, synthesise

HARSHNESS = {"easy": 0.05, "normal": 0.25, "hard": 0.7, "wild": 1.0}  # of the recording


def stage_sound(scene: Scene, synth: Synth = "builtin") -> tuple[Waveform, dict[str, Any]]:
    """Return the sound of a scene, and what it is made of.

    Players, instruments off the stage, claps of bystanders, a room and a quiet background. With
    FluidSynth also noises and voices, and the microphones and codecs of `recording`.

    Parameters
    ----------
    scene : Scene
    synth : {"builtin", "auto", "fluidsynth"}
        "auto" is FluidSynth where it and a soundfont are installed.

    Returns
    -------
    waveform : float32, shape (round(duration * SAMPLE_RATE),)
        Within [-1, 1].
    source : dict
        For the JSON: `synth`, and `timbres` with "label: timbre" of each part.

    Raises
    ------
    SoundError
        If FluidSynth is asked for and is not there.
    FluidSynthError
        If it fails.
    """
    by = chosen_synth(synth)
    rng = np.random.default_rng([scene.seed, 4])
    sound = np.zeros(round(scene.duration * SAMPLE_RATE), np.float32)
    names: list[str] = []
    split = split_of_seed(scene.seed)

    def played(part: Part) -> Waveform:
        if by == "builtin":
            names.append(f"{part.label}: builtin")
            return synthesise(part, scene.duration, rng)
        waveform, timbre = play_part(part, scene.duration, split, rng)
        names.append(f"{part.label}: {timbre}")
        return waveform

    for actor in scene.players:
        if actor.part is not None and actor.part.notes:
            gain = rng.uniform(0.55, 1.0)
            sound += np.float32(gain) * played(actor.part)
    for part in scene.offscreen:
        gain = rng.uniform(0.4, 0.9)
        sound += np.float32(gain) * played(part)
    for actor in scene.actors:
        if actor.idle and actor.idle[0][2] == "clap":
            times = [k / CLAP_HZ for k in range(1, int(scene.duration * CLAP_HZ))]
            sound += np.float32(rng.uniform(0.0, 0.8)) * clap(rng, times, scene.duration)
    sound = _recorded(scene, sound, rng) if by == "fluidsynth" else _in_room(scene, sound, rng)
    return sound, {"synth": synth_name(by), "timbres": names}


def _recorded(scene: Scene, sound: Waveform, rng: Generator) -> Waveform:
    harshness = HARSHNESS.get(scene.level, 0.5)
    if rng.random() < 0.4 * harshness:
        noise = NOISES[rng.integers(len(NOISES))](rng, scene.duration)
        sound = sound + noise * np.float32(LOUDNESS * 10 ** (rng.uniform(-30, -10) / 20))
    return record(sound, rng, harshness)


def _in_room(scene: Scene, sound: Waveform, rng: Generator) -> Waveform:
    hard = scene.level == "hard"
    sound = room(sound, rng, rng.uniform(0.02, 0.2), rng.uniform(0.05, 0.14))
    hiss = coloured_noise(rng, sound.size, (80.0, rng.uniform(500, 4000)))
    sound += hiss * np.float32(10 ** (rng.uniform(-68, -40 if hard else -54) / 20))
    sound *= np.float32(10 ** (rng.uniform(-8, 4) / 20))
    peak = float(np.max(np.abs(sound), initial=1e-9))
    return sound * np.float32(min(1.0, 0.9 / peak))
