"""Ways to run a network, timed in rounds so that noise hits all alike."""

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .benchmark_inputs import batch_of
from .benchmark_ways import DEFAULTS, ON_GPU, WAYS, Subject, Way, open_ways
from .graph_cost import GraphCost, graph_cost
from .roofline import Peak, cpu_peak, gpu_peak

WARM_UP = 3  # runs that are not counted: the first ones allocate, and torch.compile compiles
MIN_ROUNDS = 5
LOOK, MAX_LOOKS = 0.002, 250  # s between two looks at the processor's time; half a second


@dataclass
class Timed:
    """What `measure` found of one network.

    Attributes
    ----------
    rows : list of dict
        One for each way and batch, as in the JSON document.
    skipped : dict of str to str
    peaks : dict of {"cpu", "gpu"} to Peak
    cost : dict
        GMAC, MB and FLOP a byte of one input.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    peaks: dict[str, Peak] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)


def measure(
    subject: Subject,
    batches: Sequence[int],
    seconds: float,
    *,
    threads: int = 1,
    device: int = 0,
    names: tuple[str, ...] = WAYS,
    peak: Peak | None = None,
) -> Timed:
    """Return latency and throughput of all ways to run a network, by batch.

    Call it in a process whose numerical libraries have `threads` threads.

    Parameters
    ----------
    subject : Subject
    batches : sequence of int
    seconds : float
        For each batch, all ways together, after the warm-up.
    threads, device : int
        See `open_ways`.
    names : tuple of str
        Which of `WAYS`.
    peak : Peak, optional
        Of the processor; probed without.
    """
    ways, skipped = open_ways(subject, names, threads=threads, device=device, largest=max(batches))
    timed = Timed(skipped=skipped, peaks={"cpu": peak or cpu_peak()})
    if any(way.name in ON_GPU for way in ways) and (of_gpu := gpu_peak(device)) is not None:
        timed.peaks["gpu"] = of_gpu
    costs: dict[tuple[str, int], GraphCost] = {}
    try:
        for n in batches:
            batch = batch_of(subject.inputs, n)
            for precision, model in subject.models.items():
                costs[precision, n] = graph_cost(model, {_input(model): batch.shape})
            found = time_rounds(
                {(way.name, way.precision): _call(way, batch) for way in ways},
                seconds,
                timed.skipped,
            )
            for (name, precision), taken in found.items():
                row = {"kind": subject.kind, "batch": n, "way": name, "precision": precision}
                row |= figures(taken, n)
                is_gpu = name in ON_GPU
                above = timed.peaks.get("gpu" if is_gpu else "cpu")
                # The fastest run, as of the peak. That of a CPU is of one core.
                cores = 1 if is_gpu else (os.cpu_count() or 1) if name == DEFAULTS else threads
                took = min(taken) * cores
                share = None if above is None else above.share(costs[precision, n], took)
                timed.rows.append(row | {"roofline_share": share})
    finally:
        for way in ways:
            way.close()
    n = min(batches)
    cost = costs["fp32", n]
    timed.cost = {
        "gmac": cost.flop / 2e9 / n,
        "megabytes": cost.n_bytes / 1e6 / n,
        "flop_per_byte": cost.intensity,
    }
    return timed


def time_rounds(
    calls: Mapping[Any, Callable[[], Any]],
    seconds: float,
    failed: dict[str, str],
    *,
    min_rounds: int = MIN_ROUNDS,
    seed: int = 0,
) -> dict[Any, list[float]]:
    """Return how long each call took in every round, seconds.

    A round is each call once, in an order drawn for it. A call that fails is left out and noted.

    Parameters
    ----------
    calls : mapping of name to callable
    seconds : float
        After the warm-up; rounds are not cut.
    failed : dict
        Takes what failed and why.
    min_rounds : int
    seed : int
        Of the order.

    Examples
    --------
    >>> {name: len(taken) for name, taken in time_rounds({"a": int}, 0.0, {}).items()}
    {'a': 5}
    """
    from ..engines.metadata import one_line

    left = dict(calls)
    for name, call in calls.items():
        try:
            for _ in range(WARM_UP):
                call()
        except Exception as error:  # whatever a runtime raises, the others go on
            text = ", ".join(name) if isinstance(name, tuple) else str(name)
            failed[text] = one_line(error)
            del left[name]
    taken: dict[Any, list[float]] = {name: [] for name in left}
    order, draw = list(left), random.Random(seed)
    end, rounds = time.perf_counter() + seconds, 0
    while order and (rounds < min_rounds or time.perf_counter() < end):
        draw.shuffle(order)
        for name in order:
            began = time.perf_counter()
            left[name]()
            taken[name].append(time.perf_counter() - began)
            _settle()
        rounds += 1
    return taken


def _settle() -> None:
    """Wait until the threads of a call have stopped spinning, which would slow the next one."""
    for _ in range(MAX_LOOKS):
        before = time.process_time()
        time.sleep(LOOK)
        if time.process_time() - before < LOOK / 4:
            return


def figures(taken: Sequence[float], n_items: int = 1) -> dict[str, Any]:
    """Return percentiles in ms and items a second of runs that took so many seconds.

    Examples
    --------
    >>> found = figures([0.001, 0.003], 2)
    >>> found["n"], round(found["p50_ms"], 3), round(found["per_second"])
    (2, 2.0, 1000)
    """
    p50, p95, p99 = np.percentile(taken, (50, 95, 99)) * 1000
    return {
        "n": len(taken),
        "p50_ms": float(p50),
        "p95_ms": float(p95),
        "p99_ms": float(p99),
        "per_second": n_items * len(taken) / float(np.sum(taken)),
    }


def _call(way: Way, batch: NDArray[Any]) -> Callable[[], Any]:
    return lambda: way.run(batch)


def _input(model: bytes) -> str:
    import onnx

    graph = onnx.load_model_from_string(model).graph
    weights = {weight.name for weight in graph.initializer}
    return next(str(value.name) for value in graph.input if value.name not in weights)
