"""Clips of sound alone: players that are not drawn, in rooms, before microphones, among noises.

What goes in: a seed and a level. What comes out: `<name>.flac` (mono, 16 kHz) and `<name>.json`:
the weak tags (`heard`) and, for evaluation, when each label sounds. The same seed gives the same
clip with the same synthesiser. Some clips have none of the nine in them. Needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.random import Generator

from ..models.labels import LABELS
from ..stream.timeline import SAMPLE_RATE, n_steps, step_time
from .clips import Split, split_of_seed
from .composer import make_part, make_piece
from .etudes import COMPASS, MANNERS, SOLOISTS, etude
from .music import Interval, Note
from .noises import NOISES
from .orchestra import LOUDNESS, Player, SoundError, Synth, chosen_synth, perform, synth_name
from .processes import all_in_processes
from .recording_chain import record
from .soundfonts import Timbre, competitors, find_soundfonts, timbres
from .synth import Waveform, synthesise

SCHEMA = "playspot/sounds/1"
SUFFIX = ".flac"

HARSHNESS = {"easy": 0.1, "normal": 0.5, "hard": 1.0}
BUILTIN_SHARE = 0.08  # of the players, also where FluidSynth is: one more timbre for each label
NOTHING_SHARE = 0.22  # of the clips have none of the nine
_BLOCK = 4096  # samples of a frame given to the encoder


@dataclass(frozen=True)
class Sounding:
    """One player that is heard and not seen.

    Attributes
    ----------
    label : str or None
        None for an instrument that is none of the nine.
    timbre : str
        What it sounded like.
    intervals : tuple of (float, float)
        Seconds in which it plays.
    waveform : float32, shape (T,)
    """

    label: str | None
    timbre: str
    intervals: tuple[Interval, ...]
    waveform: Waveform


def make_sounds(
    seed: int, level: str = "normal", duration: float = 10.0, synth: Synth = "auto"
) -> tuple[Waveform, dict[str, Any]]:
    """Return the sound of a seed, and what is true of it.

    Parameters
    ----------
    seed : int
        The split follows from it, and with it the timbres.
    level : {"easy", "normal", "hard"}
        How far from a solo in a studio: more players, noises and competitors, worse microphones.
    duration : float
        Seconds, at least 2.
    synth : {"auto", "fluidsynth", "builtin"}

    Returns
    -------
    waveform : float32, shape (round(duration * SAMPLE_RATE),)
    truth : dict
        `heard`, and the rest of the JSON.

    Raises
    ------
    SoundError
        If an argument is outside of what a clip can be.

    Examples
    --------
    >>> sound, truth = make_sounds(3, duration=2.0, synth="builtin")
    >>> sound.shape, truth["heard"]
    ((32000,), ['flute'])
    """
    if level not in HARSHNESS:
        raise SoundError(f"level {level!r} is none of {', '.join(HARSHNESS)}")
    if not duration >= 2.0:
        raise SoundError(f"duration {duration} s is too short, give at least 2 s")
    by = chosen_synth(synth)
    split = split_of_seed(seed)
    rng = np.random.default_rng([seed, 6])
    harshness = HARSHNESS[level] * rng.uniform(0.3, 1.0)
    n_samples = round(duration * SAMPLE_RATE)
    players: list[Sounding] = []
    mixed = np.zeros(n_samples, np.float32)
    for label in _cast(rng, seed, harshness):
        player = _player(rng, label, duration, split, by)
        players.append(player)
        mixed += player.waveform * np.float32(10 ** (rng.uniform(-7, 3) / 20))
    is_nothing = not players
    if by == "fluidsynth" and rng.random() < (0.6 if is_nothing else 0.3 * harshness):
        player = _competitor(rng, duration, split)
        players.append(player)
        mixed += player.waveform * np.float32(10 ** (rng.uniform(-16, 0) / 20))
    for _ in range(2):
        if rng.random() < (0.45 if is_nothing else 0.3 * harshness):
            noise = NOISES[rng.integers(len(NOISES))](rng, duration)
            quiet = rng.uniform(-6, 0) if is_nothing else rng.uniform(-28, -4)
            mixed += noise * np.float32(LOUDNESS * 10 ** (quiet / 20))
    sound = record(mixed, rng, harshness)
    return sound, _truth(seed, level, duration, players, synth_name(by))


def render_sounds(
    folder: Path,
    n_clips: int,
    *,
    first_seed: int = 0,
    level: str = "mixed",
    duration: float = 10.0,
    synth: Synth = "auto",
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Render clips of sound of the seeds `first_seed` ... into a folder and return their paths.

    Clips are named `sound_<level>_<seed>.flac`; those that are there with their JSON are kept, so
    that an interrupted run goes on where it stopped.

    Parameters
    ----------
    folder : Path
        Made where it does not exist.
    n_clips, first_seed : int
    level : str
        "easy", "normal", "hard", or "mixed": one, two and one of four.
    duration : float
        Seconds of each clip.
    synth : {"auto", "fluidsynth", "builtin"}
    processes : int
        How many work at once.
    progress : callable, optional
        Called with (clips done, clips in all) after each.

    Returns
    -------
    paths : list of Path

    Raises
    ------
    SoundError
        If an argument is outside of what a clip can be.

    Examples
    --------
    >>> render_sounds(Path("nowhere"), 0)
    []
    """
    chosen_synth(synth)
    jobs, paths = [], []
    for seed in range(first_seed, first_seed + n_clips):
        mixed = ("easy", "normal", "normal", "hard")[seed // len(SOLOISTS) % 4]
        path = folder / f"sound_{mixed if level == 'mixed' else level}_{seed:06d}{SUFFIX}"
        paths.append(path)
        if not (path.is_file() and path.with_suffix(".json").is_file()):
            jobs.append((path, seed, mixed if level == "mixed" else level, duration, synth))
    if jobs:
        folder.mkdir(parents=True, exist_ok=True)
    done = all_in_processes(render_sound, jobs, processes=processes)
    for number, _ in enumerate(done, 1):
        if progress is not None:
            progress(number, len(jobs))
    return paths


def render_sound(path: Path, seed: int, level: str, duration: float, synth: Synth) -> None:
    """Write one clip and its JSON; the JSON last, so that a clip with it is whole."""
    sound, truth = make_sounds(seed, level, duration, synth)
    write_flac(path, sound)
    path.with_suffix(".json").write_text(json.dumps(truth, separators=(",", ":")), "utf-8")


def write_flac(path: Path, sound: Waveform) -> None:
    """Write a waveform, float32 in [-1, 1] at 16 kHz, as FLAC of 16 bits."""
    samples = np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=SAMPLE_RATE, layout="mono")
        assert isinstance(stream, av.AudioStream)
        stream.format = "s16"
        for at in range(0, samples.size, _BLOCK):
            block = samples[None, at : at + _BLOCK]
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.sample_rate = SAMPLE_RATE
            frame.pts = at
            frame.time_base = Fraction(1, SAMPLE_RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _cast(rng: Generator, seed: int, harshness: float) -> list[str]:
    """Return the labels of a clip: the first goes round the nine with the seed."""
    if rng.random() < NOTHING_SHARE:
        return []
    count = int(rng.choice((1, 2, 3), p=(0.8 - 0.2 * harshness, 0.15 + 0.1 * harshness,
                                         0.05 + 0.1 * harshness)))  # fmt: skip
    first = SOLOISTS[seed % len(SOLOISTS)]
    others = [SOLOISTS[i] for i in rng.permutation(len(SOLOISTS)) if SOLOISTS[i] != first]
    return [first, *others[: count - 1]]


def _plan(rng: Generator, duration: float) -> list[Interval]:
    """Return when someone plays: all through, or in phrases with rests."""
    if rng.random() < 0.6:
        return [(rng.uniform(0, 0.3), duration)]
    plan = []
    time = rng.uniform(0.2, 1.0)
    while time < duration - 1.0:
        end = min(duration, time + rng.uniform(1.5, 5.0))
        plan.append((time, end))
        time = end + rng.uniform(0.8, 4.0)
    return plan


def _player(
    rng: Generator,
    label: str,
    duration: float,
    split: Split,
    synth: Player,
) -> Sounding:
    plan = _plan(rng, duration)
    if synth == "builtin" or rng.random() < BUILTIN_SHARE:
        part = make_part(rng, make_piece(rng), label, plan)
        sound = synthesise(part, duration, rng)
        return Sounding(label, "builtin", part.intervals, sound)
    among = timbres(label, split, find_soundfonts())
    timbre = among[rng.integers(len(among))]
    notes = [note for span in plan for note in etude(rng, MANNERS[label], COMPASS[label], *span)]
    if label == "drum" and timbre.bank == 0:  # one drum that is tuned, not a kit
        notes = [
            Note(note.onset, note.end, (40 + note.pitches[0] % 24,), note.velocity)
            for note in notes
        ]
    sound = perform(notes, timbre, MANNERS[label], duration, rng)
    return Sounding(label, timbre.name, _spans(notes, duration), sound)


def _competitor(rng: Generator, duration: float, split: Split) -> Sounding:
    kinds = competitors(split, find_soundfonts())
    kind, among = kinds[rng.integers(len(kinds))]
    timbre: Timbre = among[rng.integers(len(among))]
    plan = _plan(rng, duration)
    notes = [note for span in plan for note in etude(rng, kind.manner, kind.compass, *span)]
    sound = perform(notes, timbre, kind.manner, duration, rng)
    return Sounding(None, timbre.name, _spans(notes, duration), sound)


def _spans(notes: Sequence[Note], duration: float, rest: float = 0.6) -> tuple[Interval, ...]:
    """Return where there are notes, rests of up to `rest` seconds passed over."""
    spans: list[list[float]] = []
    for note in notes:
        if spans and note.onset <= spans[-1][1] + rest:
            spans[-1][1] = max(spans[-1][1], note.end)
        else:
            spans.append([note.onset, note.end])
    return tuple((start, min(end, duration)) for start, end in spans)


def _truth(
    seed: int, level: str, duration: float, players: Sequence[Sounding], synth: str
) -> dict[str, Any]:
    heard = {player.label for player in players if player.intervals}
    named = [player for player in players if player.label is not None]
    steps = [
        {
            "step": k,
            "time": step_time(k),
            "players": [
                {
                    "label": player.label,
                    "playing": any(a <= step_time(k) < b for a, b in player.intervals),
                    "points": [],
                    "box": None,
                }
                for player in named
            ],
        }
        for k in range(n_steps(duration))
    ]
    return {
        "schema": SCHEMA,
        "seed": seed,
        "level": level,
        "duration": duration,
        "synth": synth,
        "timbres": [player.timbre for player in players],
        "played": [],
        "visible": [],
        "heard": [label for label in LABELS if label in heard],
        "players": [
            {
                "label": player.label,
                "playing": [[round(a, 4), round(b, 4)] for a, b in player.intervals],
                "visible": [],
            }
            for player in named
        ],
        "steps": steps,
    }
