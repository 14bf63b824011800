"""The checks of `doctor --gpu` that look at memory: copies, leaks, and two processes at once."""

import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from .benchmark_inputs import batch_of
from .doctor_gpu_checks import SAME, Check, Given, opened
from .processes import Failure, in_processes

COPY_BYTES: Final = 64 * 2**20
SMALL_BYTES: Final = 256 * 144 * 3  # a picture
COPIES: Final = 20
WARM_CYCLES: Final = 10  # the first ones load libraries and fill pools
DEVICE_SLACK, HOST_SLACK = 16.0, 64.0  # MB that may stay after all cycles: pools, fragments
RUNS: Final = 50
PATIENCE: Final = 300.0  # s for a process to come up and run


def copies(given: Given) -> list[Check]:
    """Copy to the GPU and back through page-locked memory: unchanged, and how fast."""
    from ..engines.cuda import Buffer, Gpu

    checks = []
    gpu = Gpu(given.device)
    try:
        for what, n_bytes in (("64 MiB", COPY_BYTES), ("a picture", SMALL_BYTES)):
            with gpu:
                buffer = Buffer(gpu, n_bytes)
                try:
                    checks.append(_copied(what, gpu, buffer, n_bytes))
                finally:
                    buffer.free()
    finally:
        gpu.close()
    return checks


def _copied(what: str, gpu: Any, buffer: Any, n_bytes: int) -> Check:
    sent = np.random.default_rng(0).integers(0, 256, n_bytes, np.uint8)
    buffer.write(sent)
    buffer.upload(n_bytes)
    gpu.wait()
    buffer.write(np.zeros(n_bytes, np.uint8))
    buffer.download(n_bytes)
    gpu.wait()
    is_same = np.array_equal(buffer.read((n_bytes,), np.dtype(np.uint8)), sent)
    up, down = (_seconds(work, gpu, n_bytes) for work in (buffer.upload, buffer.download))
    told = (
        f"to the GPU {n_bytes / up / 1e9:.2f} GB/s ({1e6 * up:.0f} us), "
        f"back {n_bytes / down / 1e9:.2f} GB/s ({1e6 * down:.0f} us)"
    )
    state: Literal["pass", "fail"] = "pass" if is_same else "fail"
    return Check(f"copies, {what}", state, told, "comes back unchanged")


def _seconds(work: Callable[[int], None], gpu: Any, n_bytes: int) -> float:
    taken = []
    for _ in range(COPIES):
        began = time.perf_counter()
        work(n_bytes)
        gpu.wait()
        taken.append(time.perf_counter() - began)
    return float(np.median(taken))


def leaks(given: Given, kind: str) -> list[Check]:
    """Load, run and close a network again and again: no memory stays, on either side."""
    import pycuda.driver as cuda

    from ..engines.cuda import Gpu

    batch = batch_of(given.inputs(kind), 1)
    gpu = Gpu(given.device)  # keeps the context, so that its own memory is not counted

    def cycle() -> None:
        with opened(given.load(kind, "fp32")) as run:
            for _ in range(3):  # a plain run, a captured one, a graph
                run(batch)

    def used() -> dict[str, float]:
        gc.collect()
        with gpu:
            free, total = cuda.mem_get_info()
        return {"device": (total - free) / 1e6} | host_memory()

    try:
        for _ in range(min(WARM_CYCLES, given.cycles)):
            cycle()
        before = used()
        for _ in range(given.cycles):
            cycle()
        after = used()
    finally:
        gpu.close()
    checks = []
    for what, before_mb in before.items():
        grown = after[what] - before_mb
        limit = DEVICE_SLACK if what == "device" else HOST_SLACK
        told = f"{before_mb:.1f} MB before, {after[what]:.1f} after {given.cycles} cycles"
        state: Literal["pass", "fail"] = "pass" if grown <= limit else "fail"
        checks.append(Check(f"leaks, {what} memory", state, told, f"grows {limit:g} MB at most"))
    return checks


def host_memory(path: Path = Path("/proc/self/status")) -> dict[str, float]:
    """Return resident and page-locked memory of this process in MB; nothing without /proc.

    Examples
    --------
    >>> host_memory(Path("nowhere"))
    {}
    """
    names = {"VmRSS": "resident", "VmLck": "locked", "VmPin": "pinned"}
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return {}
    found = (line.split(":", 1) for line in lines if ":" in line)
    return {names[key]: int(value.split()[0]) / 1e3 for key, value in found if key in names}


def two_processes(given: Given, kind: str) -> list[Check]:
    """Run a network in two spawned processes at once: both finish, with the same scores."""
    given.need_plan(kind)
    calls = [(given, kind), (given, kind)]
    results = [
        result
        for _, result in in_processes(_scores, calls, processes=2, time_limits=[PATIENCE, PATIENCE])
    ]
    name, bound = "two processes", "both finish with the same scores"
    if reasons := [result.reason for result in results if isinstance(result, Failure)]:
        return [Check(name, "fail", reasons[0], bound)]
    (first, p50), (second, other) = results
    state: Literal["pass", "fail"] = (
        "pass" if np.allclose(first, second, rtol=0, atol=SAME) else "fail"
    )
    told = f"p50 {p50:.3f} and {other:.3f} ms beside each other (n = {RUNS} each)"
    return [Check(name, state, told, bound)]


def _scores(given: Given, kind: str) -> tuple[Any, float]:
    batch = batch_of(given.inputs(kind), 1)
    with opened(given.load(kind, "fp32")) as run:
        scores = run(batch)
        taken = []
        for _ in range(RUNS):
            began = time.perf_counter()
            again = run(batch)
            taken.append(time.perf_counter() - began)
            if not np.allclose(scores, again, rtol=0, atol=SAME):
                raise ValueError("two runs of the same input gave different scores")
    return scores, 1000 * float(np.median(taken))
