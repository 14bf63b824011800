"""What the networks are fed on real inputs: to choose the scales of int8, and to compare engines.

In: recordings that the user names, or clips of the bandstand, rendered once into the user's cache.
Out: the inputs of each clip, and what reaches a network after its engine has prepared it.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engines.engine import Engine
from ..engines.network import Arrays, Network
from .bandstand import render_set
from .cache import cache_clips
from .clips import FIRST_TEST_SEED, Clip, ClipError, load_clip
from .jobs import report_skipped
from .media_files import PICTURE_SUFFIXES, MediaFiles
from .processes import n_cores
from .progress import counting
from .scores import Inputs, cached_inputs, fits_cache, read_inputs, score_clip

FIRST_SEEDS = {"training": 0, "test": FIRST_TEST_SEED}  # calibration never sees what is compared
DURATION = 10.0  # s of a rendered clip
LONGEST = 12.0  # s of a recording that are looked at
MOST_RECORDINGS = 24
STEPS_A_CLIP = 6  # that calibrate; neighbours are alike


def clips_folder() -> Path:
    """Return where rendered clips are kept: in the user's cache.

    Examples
    --------
    >>> clips_folder().name
    'bandstand'
    """
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "playspot" / "bandstand"


def rendered(
    split: str, n_clips: int, duration: float = DURATION, size: tuple[int, int] = (256, 144)
) -> list[Clip]:
    """Return clips of the bandstand, rendering those that the cache has not; with progress.

    Parameters
    ----------
    split : {"training", "test"}
    n_clips : int
        Nine have all instruments.
    duration : float
        Seconds of each.
    size : (width, height)
        In pixels, both even.
    """
    place = clips_folder() / f"{duration:g}s-{size[0]}x{size[1]}"
    processes = min(n_cores(), max(n_clips, 1))
    with counting(f"rendering, {split}", n_clips) as advance:
        paths = render_set(
            place,
            n_clips,
            first_seed=FIRST_SEEDS[split],
            duration=duration,
            size=size,
            processes=processes,
            progress=advance,
        )
    return [load_clip(path) for path in paths]


def recordings(folder: Path) -> list[Clip]:
    """Return the beginnings of recordings below a folder: sounds and videos, evenly chosen.

    Raises
    ------
    ClipError
        If there is none.
    """
    found = [
        path for path in MediaFiles(folder).media if path.suffix.lower() not in PICTURE_SUFFIXES
    ]
    if not found:
        raise ClipError(f"{folder}: no recording in it; give a folder of videos")
    chosen = np.unique(np.linspace(0, len(found) - 1, MOST_RECORDINGS).round().astype(int))
    clips = [Clip(found[k], None, (), (), (), end=LONGEST) for k in chosen]
    return [replace(clip, given_name=f"{k}_{clip.path.stem}") for k, clip in enumerate(clips)]


def inputs_of(
    clips: Iterable[Clip], engines: Mapping[str, Engine], what: str
) -> Iterator[tuple[Clip, Inputs]]:
    """Yield what the engines see of each clip that can be read, with progress; say what cannot.

    Rendered clips come from the cache of features, if it holds what these engines take.

    Raises
    ------
    ClipError
        If none could be read.
    """
    wanted = list(clips)
    asked = dict(engines)
    is_cached = fits_cache(asked) and all(clip.seed is not None for clip in wanted)
    skipped: list[tuple[str, str]] = []
    with counting(what, len(wanted)) as advance:
        for done, clip in enumerate(wanted, 1):
            try:
                inputs = _cached(clip) if is_cached else read(clip, asked)
            except ValueError as error:
                skipped.append((clip.name, str(error)))
                continue
            finally:
                advance(done, len(wanted))
            yield clip, inputs
    report_skipped(skipped)
    if skipped and len(skipped) == len(wanted):
        raise ClipError(f"none of the {len(wanted)} clips could be read: {skipped[0][1]}")


def _cached(clip: Clip) -> Inputs:
    cached, skipped = cache_clips([clip], clip.path.parents[1] / ".features")
    if skipped:
        raise ClipError(skipped[0][1])
    return cached_inputs(cached[0])


def read(clip: Clip, engines: dict[str, Engine]) -> Inputs:
    """Return what engines see of a clip, decoded now.

    Raises
    ------
    ValueError
        If it cannot be decoded.
    """
    return read_inputs(clip.path, engines, start=clip.start, end=clip.end)


class Recorder:
    """A network that keeps what it is fed, and runs another.

    Parameters
    ----------
    network : Network

    Attributes
    ----------
    feeds : list of dict of str to array
        One for each run, copied.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self.inputs = network.inputs
        self.outputs = network.outputs
        self.backend = network.backend
        self.precision = network.precision
        self.feeds: list[dict[str, NDArray[Any]]] = []

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        """Return every output by name; see `Network.run`."""
        self.feeds.append({name: array.copy() for name, array in feeds.items()})
        return self._network.run(feeds)

    def close(self) -> None:
        """Release the network underneath."""
        self._network.close()


def feed(engines: Mapping[str, Engine], clips: Iterable[Clip]) -> None:
    """Run engines over a few steps of each clip, so that the recorders in them hear of it."""
    for _, inputs in inputs_of(clips, engines, "calibrating"):
        few = a_few(inputs)
        for kind, engine in engines.items():
            has = few.log_mel is not None or few.windows is not None
            if {"sound": has, "object": few.pictures is not None}.get(kind, few.stacks is not None):
                score_clip({kind: engine}, few)


def a_few(inputs: Inputs, n: int = STEPS_A_CLIP) -> Inputs:
    """Return inputs of steps all through a clip; the log-mel stays whole."""
    steps = np.unique(np.linspace(0, inputs.n_steps - 1, n).round().astype(int))
    return Inputs(
        None if inputs.pictures is None else np.asarray(inputs.pictures)[steps],
        None if inputs.stacks is None else np.stack([inputs.stacks[int(k)] for k in steps]),
        inputs.log_mel,
        None if inputs.windows is None else [inputs.windows[int(k)] for k in steps],
        len(steps),
    )
