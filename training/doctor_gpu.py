"""`playspot doctor --gpu`: the acceptance run of a GPU, from building plans to leaks.

In: models, and a GPU. Out: a report of checks, each passed, failed or skipped with its figure and
its bound, in `report.json` and `report.md`. Each check runs in another process: one that fails,
hangs or brings its process down does not end the others.
"""

import json
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..engines.options import Precision
from .doctor_gpu_checks import (
    Check,
    Given,
    NoPlanError,
    build,
    corrupt,
    cuda_provider,
    flow,
    graphs,
    latency,
    parity,
)
from .doctor_gpu_memory import copies, leaks, two_processes
from .processes import Failure, in_processes
from .progress import counting
from .user_errors import make_folder

SCHEMA: Final = "playspot/doctor-gpu/1"
PRECISIONS: Final[tuple[Precision, ...]] = ("fp32", "fp16", "int8")
BUILD_LIMIT, LIMIT = 3600.0, 900.0  # s that a check may take
CYCLES: Final = 200
SCENE_SECONDS, LATENCY_SECONDS = 10.0, 2.0


def examine_gpu(
    out: Path,
    models: Path | None = None,
    device: int = 0,
    *,
    precisions: tuple[Precision, ...] = PRECISIONS,
    cycles: int = CYCLES,
    scene_seconds: float = SCENE_SECONDS,
    latency_seconds: float = LATENCY_SECONDS,
    batches: tuple[int, int, int] = (1, 4, 16),
) -> dict[str, Any]:
    """Return the report of the acceptance run, also written into a folder.

    Parameters
    ----------
    out : Path
        Folder for `report.json` and `report.md`.
    models : Path, optional
        Folder of models; those of `detect` without it.
    device : int
        Number of the GPU.
    precisions : tuple of str
        Of the plans.
    cycles : int
        Of load, run and close, for the leaks.
    scene_seconds : float
        Of the rendered scene that the networks see.
    latency_seconds : float
        For each latency, after the warm-up.
    batches : tuple of int
        Smallest, usual and largest of the plans.

    Raises
    ------
    ValueError
        If there is no GPU, or no model: one line.
    """
    from ..engines.availability import availability
    from ..engines.machine import gpu

    found = gpu(device)
    trt = availability("tensorrt", device)
    cuda = availability("cuda", device)
    if found is None:
        raise ValueError(f"there is no GPU {device} to be examined: {trt.why}")
    make_folder(out)
    began = time.monotonic()
    work = out / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        given = _prepare(work, models, device, scene_seconds)
        given = replace(given, cycles=cycles, seconds=latency_seconds, batches=batches)
        looks = _looks(given, precisions, trt.why if not trt.is_there else "", cuda.why)
        checks = _run(looks, given)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    report = {
        "schema": SCHEMA,
        "is_fine": all(check.state != "fail" for check in checks),
        "seconds": time.monotonic() - began,
        "gpu": {"name": found.name, "compute_capability": found.compute_capability}
        | {"number": device}
        | _driver(),
        **_header(),
        "checks": [asdict(check) for check in checks],
    }
    from .doctor_gpu_report import markdown

    (out / "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    (out / "report.md").write_text(markdown(report), encoding="utf-8")
    return report


# What is looked at: a name, the function and its arguments after `given`, why it is skipped.
Look = tuple[str, Callable[..., list[Check]], tuple[Any, ...], str]


def _looks(
    given: Given, precisions: tuple[Precision, ...], no_trt: str, cuda_why: str
) -> list[Look]:
    kinds = tuple(given.models)
    plans = [(kind, precision) for precision in precisions for kind in kinds]
    looks: list[Look] = [("copies", copies, (), "")]
    for kind, precision in [*plans, ("flow", "fp32")]:
        looks.append((f"build {kind}, {precision}", build, (kind, precision), no_trt))
    for kind, precision in plans:
        looks.append((f"parity {kind}, {precision}", parity, (kind, precision), no_trt))
    looks.append(("flow, TensorRT", flow, ("tensorrt",), no_trt))
    from ..engines.availability import availability

    no_cuda = "" if availability("cuda", given.device).is_there else cuda_why
    looks.append(("flow, CUDA provider", flow, ("cuda",), no_cuda))
    for kind in kinds:
        looks.append((f"CUDA provider {kind}", cuda_provider, (kind,), no_cuda))
    for kind in kinds:
        looks.append((f"CUDA graphs {kind}", graphs, (kind,), no_trt))
    for kind, precision in plans:
        looks.append((f"latency {kind}, {precision}", latency, (kind, precision), no_trt))
    looks.append(("leaks", leaks, (kinds[0],), no_trt))
    looks.append(("corrupt plan", corrupt, (kinds[0],), no_trt))
    looks.append(("two processes", two_processes, (kinds[0],), no_trt))
    return looks


def _run(looks: list[Look], given: Given) -> list[Check]:
    found: dict[int, list[Check]] = {}
    wanted = [number for number, look in enumerate(looks) if not look[3]]
    # Worker processes may not have children; what needs some is run from here.
    here = [number for number in wanted if looks[number][1] is two_processes]
    there = [number for number in wanted if number not in here]
    limits = [BUILD_LIMIT if looks[number][1] is build else LIMIT for number in there]
    calls = [(*looks[number][:2], given, *looks[number][2]) for number in there]
    with counting("doctor --gpu", len(wanted)) as advance:
        results = in_processes(_call, calls, processes=1, time_limits=limits)
        for done, (place, result) in enumerate(results, 1):
            name = looks[there[place]][0]
            is_failure = isinstance(result, Failure)
            found[there[place]] = [Check(name, "fail", result.reason)] if is_failure else result
            advance(done, len(wanted))
        for number in here:
            name, look, arguments, _ = looks[number]
            try:
                found[number] = _call(name, look, given, *arguments)
            except Exception as error:  # as in a worker: the report is written all the same
                found[number] = [Check(name, "fail", str(error))]
    for number, (name, _, _, why) in enumerate(looks):
        if why:
            found[number] = [Check(name, "skipped", why)]
    return [check for number in sorted(found) for check in found[number]]


def _call(
    name: str, look: Callable[..., list[Check]], given: Given, *arguments: Any
) -> list[Check]:
    began = time.monotonic()
    logging.disable(logging.WARNING)  # the report tells it; some would be told in every cycle
    try:
        checks = look(given, *arguments)
    except NoPlanError as error:
        return [Check(name, "skipped", str(error))]
    finally:
        logging.disable(logging.NOTSET)
    seconds = (time.monotonic() - began) / max(1, len(checks))
    return [Check(**(asdict(check) | {"seconds": seconds})) for check in checks]


def _prepare(work: Path, models: Path | None, device: int, seconds: float) -> Given:
    from ..engines.catalogue import find_models
    from .benchmark_inputs import greys_of, rendered_inputs, rendered_scene

    found = find_models(models)
    paths = {str(kind): model.path for kind, model in found.models.items() if model.path}
    headers = {kind: header for kind, header in found.headers.items() if kind in paths}
    with rendered_scene(seconds=seconds) as scene:
        for name, rows in (rendered_inputs(headers, scene) | {"grey": greys_of(scene)}).items():
            np.save(work / f"{name}.npy", rows)
    return Given(work, paths, device)


def _header() -> dict[str, Any]:
    from .benchmark_engines import more_versions
    from .benchmark_report import machine, versions

    return {"machine": machine(), "versions": versions() | more_versions()}


def _driver() -> dict[str, Any]:
    """Return what the driver says of itself, through pycuda if it is there."""
    told: dict[str, Any] = {}
    try:
        import pycuda.driver as cuda

        number = cuda.get_driver_version()
        told["driver_cuda"] = f"{number // 1000}.{number % 1000 // 10}"
        told["pycuda_cuda"] = ".".join(str(part) for part in cuda.get_version())
    except Exception:  # not installed, or too old for that
        told["driver_cuda"] = None
    return told
