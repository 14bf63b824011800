"""`playspot benchmark engines`: each network, every engine and precision there is, and PyTorch.

In: models, or the width of random ones. Out: one JSON document of schema
`playspot/benchmark-engines/1`: latency (ms) and throughput (inputs a second) by batch, the share of
the roofline, and what several streams reach while other processes keep the machine busy.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from ..engines.metadata import one_line, parse_model
from ..engines.options import Precision
from .benchmark import one_thread
from .benchmark_inputs import rendered_inputs, rendered_scene
from .benchmark_load import measure_load
from .benchmark_report import machine, versions
from .benchmark_rounds import Timed, measure
from .benchmark_ways import Subject, headers_of, random_models
from .progress import counting
from .roofline import cpu_peak

SCHEMA: Final = "playspot/benchmark-engines/1"
MORE_VERSIONS: Final = ("torch", "openvino", "onnxruntime-gpu", "tensorrt", "pycuda")


@dataclass(frozen=True)
class EngineJob:
    """What `playspot benchmark engines` was asked for.

    Attributes
    ----------
    models : Path or None
        Folder of models; those of `detect` if None.
    width : float or None
        Of random networks in place of these.
    batches : tuple of int
    precisions : tuple of str
        fp32 is always among them: it is what all are compared with.
    seconds : float
        For each network and batch, all ways together; of the load, for each way and round.
    threads, device : int
    n_busy, n_streams : int or None
        `None` streams: none under load.
    """

    models: Path | None = None
    width: float | None = None
    batches: tuple[int, ...] = (1, 4, 16)
    precisions: tuple[Precision, ...] = ("fp32",)
    seconds: float = 10.0
    threads: int = 1
    device: int = 0
    n_busy: int = 0
    n_streams: int | None = None


def run(job: EngineJob) -> dict[str, Any]:
    """Return the JSON document.

    Raises
    ------
    ValueError
        If the models cannot be used: one line.
    OSError
        If a process ends or hangs.
    """
    with tempfile.TemporaryDirectory(prefix="playspot-benchmark-") as folder:
        subjects, skipped = make_subjects(job, Path(folder))
    timed: list[Timed] = []
    with one_thread(job.threads) as pool, counting("engines", len(subjects)) as advance:
        peak = pool.submit(cpu_peak).result()
        for done, subject in enumerate(subjects, 1):
            work = partial(measure, threads=job.threads, device=job.device, peak=peak)
            timed.append(pool.submit(work, subject, job.batches, job.seconds).result())
            advance(done, len(subjects))
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "machine": machine(),
        "versions": versions() | more_versions(),
        "threads": job.threads,
        "seconds": job.seconds,
        "peaks": {name: asdict(peak) for one in timed for name, peak in one.peaks.items()},
        "networks": [
            {"kind": subject.kind, "name": subject.name} | one.cost
            for subject, one in zip(subjects, timed, strict=True)
        ],
        "rows": [row for one in timed for row in one.rows],
        "skipped": skipped | {way: why for one in timed for way, why in one.skipped.items()},
        "load": None,
    }
    if job.n_streams:
        document["load"] = measure_load(
            subjects, n_busy=job.n_busy, n_streams=job.n_streams, seconds=job.seconds
        )
    return document


def make_subjects(job: EngineJob, folder: Path) -> tuple[list[Subject], dict[str, str]]:
    """Return the networks in each precision with their inputs, and what cannot be converted."""
    from ..engines.catalogue import find_models
    from ..engines.precision import convert

    if job.width is not None:
        paths = random_models(job.width, folder)
        headers = headers_of(paths)
    else:
        found = find_models(job.models)
        paths = {str(kind): model.path for kind, model in found.models.items() if model.path}
        headers = {str(kind): header for kind, header in found.headers.items()}
    with rendered_scene() as scene:
        inputs = rendered_inputs(headers, scene)
    subjects, skipped = [], {}
    for kind, path in paths.items():
        model = path.read_bytes()
        graph = parse_model(model, str(path)).graph
        weights = {weight.name for weight in graph.initializer}
        [place] = [value.name for value in graph.input if value.name not in weights]
        models: dict[Precision, bytes] = {"fp32": model}
        for precision in _without_fp32(job.precisions):
            rows = inputs[kind]
            calibration = [{place: rows[k : k + 1]} for k in range(len(rows))]
            try:
                models[precision] = convert(model, precision, calibration=calibration)
            except ValueError as error:
                skipped[f"{kind}, {precision}"] = one_line(error)
        subjects.append(Subject(kind, headers[kind].name, models, inputs[kind]))
    return subjects, skipped


def _without_fp32(precisions: Sequence[Precision]) -> list[Precision]:
    return [precision for precision in dict.fromkeys(precisions) if precision != "fp32"]


def more_versions() -> dict[str, str]:
    """Return the versions of what else may run networks, where it is installed."""
    import importlib.metadata

    found = {}
    for name in MORE_VERSIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
