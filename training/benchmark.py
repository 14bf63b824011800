"""`playspot benchmark`: what each stage costs, how fast the whole runs, and what memory it takes.

In: a media file (or none: a scene is rendered) and models. Out: tables, or one JSON document of
schema `playspot/benchmark/1`. Figures made with it: benchmarks/README.md.
"""

import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from ..engines.catalogue import ModelSet
    from .benchmark_stages import Costs

SCHEMA: Final = "playspot/benchmark/1"
SEED = 300_007  # of the scene; no model was trained on it
LEVEL, SIZE = "normal", (640, 360)
SCENE_SECONDS = 30.0
WARM_UP_SECONDS = 3.0
# Every label counts as played in every step: each step then has an event, whose latency is known,
# and decoding has the most to do.
EVERYTHING: Final = {"on": 0.0, "off": 0.0, "label_on": {}, "label_off": {}, "min_duration": 0.0}


def benchmark(
    file: Annotated[
        Path | None, typer.Argument(help="A video; without it, a scene is rendered.")
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(help="Folder of models; without it, as for detect."),
    ] = None,
    runs: Annotated[int, typer.Option("-n", "--runs", min=1, help="Runs of each stage.")] = 5,
    seconds: Annotated[
        float, typer.Option(min=1, help="How much of the file the stages are measured on.")
    ] = SCENE_SECONDS,
    minutes: Annotated[
        float,
        typer.Option(
            min=0, help="Repeat the file to this length for the pipeline: is memory flat?"
        ),
    ] = 0.0,
    paced: Annotated[
        float, typer.Option(min=0, help="Seconds in real time, for the latency; 0: none.")
    ] = 20.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure cost per stage, speed, latency and memory on this machine.

    Example: playspot benchmark concert.mp4 -n 10
    """
    import json

    from ..engines.catalogue import find_models
    from .benchmark_report import print_benchmark
    from .evaluate_report import plain

    model_set = find_models(models)
    with tempfile.TemporaryDirectory(prefix="playspot-benchmark-") as folder:
        path = file if file is not None else _scene(Path(folder))
        shown = path.name if file is not None else f"bandstand scene {SEED}, {LEVEL}"
        document = _header(model_set, runs) | {"file": {"name": shown}}
        document |= _stages(path, model_set, runs, seconds)
        document |= _pipeline(path, model_set, minutes, paced, Path(folder))
    if as_json:
        print(json.dumps(plain(document), indent=2))
    else:
        print_benchmark(document)


def _header(models: "ModelSet", runs: int) -> dict[str, Any]:
    from ..engines.metadata import model_hash
    from .benchmark_report import machine, versions

    names = {
        kind: {
            "name": model.header.name,
            "hash": model_hash(model.path.read_bytes()) if model.path is not None else None,
            "engine": str(model.choice(models.options) or "NumPy"),
        }
        for kind, model in models.models.items()
    }
    return {
        "schema": SCHEMA,
        "machine": machine(),
        "versions": versions(),
        "n": runs,
        "models": names,
    }


def _scene(folder: Path) -> Path:
    from .bandstand import render_clip

    typer.echo(f"rendering {SCENE_SECONDS:.0f} s of the bandstand", err=True)
    path = folder / "scene.mp4"
    render_clip(path, seed=SEED, level=LEVEL, duration=SCENE_SECONDS, size=SIZE)
    return path


def _stages(path: Path, models: "ModelSet", runs: int, seconds: float) -> dict[str, Any]:
    """Measure the stages `runs` times, in a process of one thread."""
    from .benchmark_stages import measure
    from .progress import counting

    costs: list[Costs] = []
    with one_thread() as pool, counting("stages", runs) as advance:
        pool.submit(measure, path, models, min(seconds, WARM_UP_SECONDS)).result()
        for run in range(runs):
            costs.append(pool.submit(measure, path, models, seconds).result())
            advance(run + 1, runs)
    return stage_figures(costs)


def stage_figures(costs: "list[Costs]") -> dict[str, Any]:
    """Return medians and spread of measuring runs, and the ratios to the reference ways.

    Parameters
    ----------
    costs : list of Costs
        One a run, of the same file.

    Returns
    -------
    figures : dict
        `stages`, `one_core`, `ratios` and `measured_seconds` of the JSON document; costs in CPU ms
        per second of media. The ratio is that of each run, then the median.
    """
    import numpy as np

    from ..stream.timeline import STEP

    def spread(values: list[float]) -> dict[str, float]:
        return {
            "median": float(np.median(values)),
            "low": float(min(values)),
            "high": float(max(values)),
        }

    stages = []
    for name in costs[0].stages:
        figures = spread([run.stages[name] for run in costs])
        stages.append({"stage": name} | figures | {"ms_per_step": figures["median"] * STEP})
    ratios = []
    for stage, way in costs[0].references:
        theirs = [run.references[stage, way] for run in costs]
        ratio = [run.references[stage, way] / max(run.stages[stage], 1e-9) for run in costs]
        ratios.append(
            {"stage": stage, "reference": way, "median": float(np.median(theirs))}
            | {"ratio": spread(ratio)}
        )
    whole = spread([sum(run.stages.values()) for run in costs])
    return {
        "measured_seconds": costs[0].media_seconds,
        "stages": stages,
        "one_core": whole | {"times_real_time": 1000 / whole["median"]},
        "ratios": ratios,
    }


def _pipeline(
    path: Path, models: "ModelSet", minutes: float, paced: float, folder: Path
) -> dict[str, Any]:
    """Run the processes over the file, repeated if wanted, and once more in real time."""
    from ..stream.timeline import n_steps as steps_of
    from .benchmark_run import run_pipeline
    from .progress import counting
    from .repeat import repeat, steps_in

    long = path
    if minutes:
        long = folder / f"long{path.suffix}"
        repeat(path, long, 60 * minutes)
    n_steps = steps_in(long)
    with counting("pipeline", n_steps) as advance:
        run = run_pipeline(long, models, on_step=lambda step: advance(step + 1, n_steps))
    figures: dict[str, Any] = {"pipeline": run.speed_json(), "latency": None}
    if paced:
        n_paced = min(steps_in(path), steps_of(paced))
        decoding = models.decoding.model_copy(update=EVERYTHING)
        with counting("real time", n_paced) as show:
            live = run_pipeline(
                path,
                replace(models, decoding=decoding),
                is_paced=True,
                seconds=paced,
                on_step=lambda step: show(step + 1, n_paced),
            )
        figures["latency"] = live.latency_json()
    return figures


@contextmanager
def one_thread(n: int = 1) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of one process whose numerical libraries have one thread each, or n."""
    from ..stream.supervisor import ONE_THREAD

    spawn = multiprocessing.get_context("spawn")
    with (
        environment(dict.fromkeys(ONE_THREAD, str(n))),
        ProcessPoolExecutor(1, mp_context=spawn) as pool,
    ):
        yield pool


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment for a while: processes started then have them."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
