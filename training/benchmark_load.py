"""Several streams at once while others keep the machine busy: ours against plain defaults.

In: the networks. Out: steps a second of all streams together, each stream a process, a step each
network once; the ways in turn, so that noise hits all alike. The busy processes multiply matrices.
"""

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any, Final

import numpy as np

from ..stream.supervisor import ONE_THREAD
from .benchmark import environment
from .benchmark_rounds import figures
from .benchmark_ways import DEFAULTS, OPENVINO, OURS, Subject, Way, open_ways
from .processes import end_with_parent

COMPARED: Final = (OURS, OPENVINO, DEFAULTS)
PATIENCE: Final = 300.0  # s that a stream may take to load or to run its part

Name = tuple[str, str]  # way, precision


def measure_load(
    subjects: Sequence[Subject], *, n_busy: int, n_streams: int, seconds: float, rounds: int = 3
) -> dict[str, Any]:
    """Return how fast streams run their networks, each way, while others work.

    Parameters
    ----------
    subjects : sequence of Subject
        The networks of a step.
    n_busy : int
        Processes that keep a core busy each.
    n_streams : int
        Processes that run networks.
    seconds : float
        Of one way in one round.
    rounds : int

    Returns
    -------
    figures : dict
        `rows`, for each way: steps a second of all streams, of each round and the median, the
        time of a step, and the ratio to the defaults (median, low and high of the rounds).

    Raises
    ------
    OSError
        If a stream ends or hangs.
    """
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(n_streams)]
    with environment(ONE_THREAD):
        busy = _started(context, _be_busy, [()] * n_busy)
    with _ended(busy):
        arguments = [(theirs, tuple(subjects)) for _, theirs in pipes]
        with _ended(_started(context, _stream, arguments)):
            for _, theirs in pipes:
                theirs.close()  # so that the death of a stream is heard
            ours = [pipe for pipe, _ in pipes]
            loaded: list[list[Name]] = [_heard(pipe) for pipe in ours]
            names = loaded[0]
            taken: dict[Name, list[float]] = {name: [] for name in names}
            steps: dict[Name, list[float]] = {name: [] for name in names}
            for number in range(rounds):
                for name in names if number % 2 == 0 else names[::-1]:
                    for pipe in ours:
                        pipe.send((name, seconds))
                    found: list[list[float]] = [_heard(pipe) for pipe in ours]
                    steps[name].append(sum(len(times) / sum(times) for times in found))
                    taken[name] += [one for times in found for one in times]
    rows = [
        {"way": name[0], "precision": name[1]}
        | figures(taken[name])
        | {"steps_per_second": float(np.median(steps[name])), "rounds": steps[name]}
        for name in names
    ]
    plain = steps[DEFAULTS, "fp32"]
    for row, name in zip(rows, names, strict=True):
        ratios = [mine / theirs for mine, theirs in zip(steps[name], plain, strict=True)]
        row["ratio"] = {
            "median": float(np.median(ratios)),
            "low": min(ratios),
            "high": max(ratios),
        }
    return {
        "n_busy": n_busy,
        "n_streams": n_streams,
        "seconds": seconds,
        "n_rounds": rounds,
        "rows": rows,
    }


def _started(context: Any, target: Any, arguments: Sequence[tuple[Any, ...]]) -> list[BaseProcess]:
    processes = [context.Process(target=target, args=given, daemon=True) for given in arguments]
    for process in processes:
        process.start()
    return processes


@contextmanager
def _ended(processes: list[BaseProcess]) -> Iterator[None]:
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def _heard(pipe: Any) -> Any:
    if not pipe.poll(PATIENCE):
        raise OSError(f"a stream has not answered for {PATIENCE:.0f} s")
    try:
        found = pipe.recv()
    except (EOFError, OSError):
        raise OSError("a process that ran the networks has died") from None
    if isinstance(found, str):
        raise OSError(found)
    return found


def _be_busy() -> None:
    end_with_parent()
    a = np.ones((256, 256), np.float32)
    while True:
        a = a @ a
        a /= a.max()


def _stream(pipe: Any, subjects: tuple[Subject, ...]) -> None:
    """Open the networks in each way; then run one way as often as it is asked to."""
    end_with_parent()
    opened: dict[Name, list[Way]] = {}
    for subject in subjects:
        for way in open_ways(subject, COMPARED)[0]:
            opened.setdefault((way.name, way.precision), []).append(way)
    opened = {name: ways for name, ways in opened.items() if len(ways) == len(subjects)}
    batches = [np.ascontiguousarray(subject.inputs[:1]) for subject in subjects]

    def step(ways: list[Way]) -> float:
        began = time.perf_counter()
        for way, batch in zip(ways, batches, strict=True):
            way.run(batch)
        return time.perf_counter() - began

    for ways in opened.values():
        step(ways)  # the first run allocates
    pipe.send(list(opened))
    while True:
        name, seconds = pipe.recv()
        times: list[float] = []
        end = time.perf_counter() + seconds
        while not times or time.perf_counter() < end:
            times.append(step(opened[name]))
        pipe.send(times)
