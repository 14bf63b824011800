"""How fast what was compiled is: timed in turns with what would run without it.

In: both networks, and what the engine feeds its network step by step, as the pipeline does. Out:
how many times as fast, the median over rounds of the ratio of both in that round, so that what else
the machine does hits both alike.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engines.backends import plain_backend
from ..engines.catalogue import Model
from ..engines.engine import Engine, ModelError
from ..engines.network import Arrays, Network
from ..engines.options import Backend
from ..engines.ort import OrtNetwork
from ..stream.features import features
from .benchmark_rounds import time_rounds
from .calibration import Recorder
from .clips import Clip
from .progress import counting
from .scores import takes_frames

SECONDS = 2.0  # of both networks together, after the warm-up
STEPS = 8  # different inputs that take turns
SCENE = 4.0  # s of a clip that they are from


@dataclass(frozen=True)
class Speed:
    """How fast a network is in comparison with the original.

    Attributes
    ----------
    kind : str
    against : {"cuda", "onnx"}
        What ran the original.
    original_ms, compiled_ms : float
        Median of a run, one step, one thread.
    speed_up : float
        How many times as fast what was compiled is: median over the rounds.
    quartiles : (float, float)
        Of the same.
    n : int
        Rounds.
    """

    kind: str
    against: Backend
    original_ms: float
    compiled_ms: float
    speed_up: float
    quartiles: tuple[float, float]
    n: int


def open_plain(model: bytes, name: str, device: int) -> tuple[Network, Backend]:
    """Return a network as the pipeline runs it without anything compiled, and on what.

    Raises
    ------
    ModelError
        If it cannot be run at all: one line.
    """
    if plain_backend(device) == "cuda":
        try:
            return OrtNetwork(model, name, device="cuda", gpu=device), "cuda"
        except ModelError:  # the pipeline falls back, too
            pass
    return OrtNetwork(model, name), "onnx"


def measure_speed(
    kind: str,
    original: Network,
    compiled: Network,
    feeds: Sequence[Arrays],
    *,
    against: Backend,
    seconds: float = SECONDS,
) -> Speed:
    """Return how fast a network is in comparison with the original.

    Parameters
    ----------
    kind : str
    original, compiled : Network
    feeds : sequence of mappings
        Real inputs, of a step each; both networks are given the same in a round.
    against : {"cuda", "onnx"}
        What runs the original.
    seconds : float

    Raises
    ------
    ModelError
        If one of them fails.
    """
    failed: dict[str, str] = {}
    calls = {"original": _each(original, feeds), "compiled": _each(compiled, feeds)}
    taken = time_rounds(calls, seconds, failed)
    if failed:
        raise ModelError(f"{kind}: its speed cannot be measured ({next(iter(failed.values()))})")
    ours, theirs = (np.asarray(taken[name]) for name in calls)
    low, usual, high = np.percentile(ours / theirs, (25, 50, 75))
    return Speed(
        kind,
        against,
        1000 * float(np.median(ours)),
        1000 * float(np.median(theirs)),
        float(usual),
        (float(low), float(high)),
        len(ours),
    )


def measure_speeds(
    models: Mapping[str, Model],
    originals: Mapping[str, bytes],
    compiled: Mapping[str, Network],
    clips: Sequence[Clip],
    *,
    n: int = 1,
    device: int = 0,
    seconds: float = SECONDS,
) -> dict[str, Speed]:
    """Return how fast compiled networks are, by kind, on steps of clips; with progress.

    Parameters
    ----------
    models, originals : mapping of kind to Model, to bytes
    compiled : mapping of kind to Network
    clips : sequence of Clip
        A network that none of them has inputs for is left out.
    n : int
        How many steps at once: the fewest that a plan takes.
    device : int
        Number of the GPU.
    seconds : float
        For each.

    Raises
    ------
    ModelError
        If a network fails.
    """
    speeds: dict[str, Speed] = {}
    with ExitStack() as stack:
        plain = {kind: open_plain(originals[kind], kind, device) for kind in compiled}
        recorders = {kind: Recorder(network) for kind, (network, _) in plain.items()}
        for recorder in recorders.values():
            stack.callback(recorder.close)
        run_steps({kind: models[kind].load(network=recorders[kind]) for kind in compiled}, clips)
        with counting("measuring the speed", len(compiled)) as advance:
            for done, (kind, network) in enumerate(compiled.items(), 1):
                feeds = [
                    {name: np.repeat(array, n, axis=0) for name, array in feed.items()}
                    for feed in recorders[kind].feeds
                ]
                original, against = plain[kind]
                if feeds:
                    speeds[kind] = measure_speed(
                        kind, original, network, feeds, against=against, seconds=seconds
                    )
                advance(done, len(compiled))
    return speeds


def run_steps(engines: Mapping[str, Engine], clips: Iterable[Clip]) -> None:
    """Give engines some steps of the first clip that has something for them, one at a time.

    A clip that cannot be decoded is passed over.
    """
    left = dict(engines)
    for clip in clips:
        if not left:
            return
        try:
            found = _rows(clip, left)
        except ValueError:
            continue
        for kind, rows in found.items():
            engine = left.pop(kind)
            for k in np.unique(np.linspace(0, len(rows) - 1, STEPS).round().astype(int)):
                engine(np.asarray(rows[k])[None])


def _rows(clip: Clip, engines: Mapping[str, Engine]) -> dict[str, Sequence[Any]]:
    """Return what each engine is given of a clip, a row a step; nothing that the clip has not."""
    pictures = engines["object"].header if "object" in engines else None
    sound = engines["sound"].header if "sound" in engines else None
    given: dict[str, Any] = {"flow": None} if takes_frames(engines) else {}
    found = features(
        clip.path,
        start=clip.start,
        end=clip.start + SCENE if clip.end is None else min(clip.start + SCENE, clip.end),
        picture_side=pictures.picture_side if pictures else 256,
        picture_multiple=pictures.picture_multiple if pictures else 1,
        front_end=(sound.front_end if sound else None) or "paper",
        **given,
    )
    windows = [item.window for item in found.windows or []]
    widest = max((window.shape[-1] for window in windows), default=0)
    rows: dict[str, Any] = {
        "object": found.pictures,
        "action": found.stacks,
        "sound": [window for window in windows if window.shape[-1] == widest],
    }
    return {kind: rows[kind] for kind in engines if rows[kind] is not None and len(rows[kind])}


def _each(network: Network, feeds: Sequence[Arrays]) -> Callable[[], Any]:
    turns = itertools.cycle(feeds)
    return lambda: network.run(next(turns))
