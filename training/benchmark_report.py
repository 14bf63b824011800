"""The report of `benchmark` for people, and what it says of machine and versions."""

import importlib.metadata
import os
import platform
import sys
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from ..engines.machine import processor
from .processes import n_cores

WIDTH = 110  # of tables that go to a file
PACKAGES = {
    "playspot": "playspot",
    "numpy": "numpy",
    "opencv": "opencv-python-headless",
    "onnxruntime": "onnxruntime",
    "av": "av",
    "zmq": "pyzmq",
}


def machine() -> dict[str, Any]:
    """Return what the figures were measured on, and how busy it was (`load`: last minute)."""
    return {
        "cpu": processor(),
        "cores": n_cores(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of what does the work."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name, package in PACKAGES.items():
        try:
            found[name] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None  # another distribution of it, such as onnxruntime-gpu
    return found


def _host_line(host: dict[str, Any]) -> str:
    return (
        f"{host['cpu']}, {host['cores']} cores, {host['system']}; load {host['load']}; "
        f"{host['date']}"
    )


def begun(document: dict[str, Any], how: str) -> Console:
    """Return a console on which machine and versions of a report are printed, and how it ran."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    console.print(f"{_host_line(document['machine'])}; {how}")
    console.print(", ".join(f"{name} {v}" for name, v in document["versions"].items() if v))
    return console


def print_benchmark(document: dict[str, Any]) -> None:
    """Print the JSON document of `benchmark` as tables."""
    console = Console(highlight=False)
    console.print(_host_line(document["machine"]))
    console.print(", ".join(f"{name} {v}" for name, v in document["versions"].items()))
    for kind, model in document["models"].items():
        console.print(f"{kind}: {model['name']} ({model['hash'] or 'no file'}): {model['engine']}")
    console.print(_stage_table(document), _ratio_table(document))
    console.print(_process_table(document["pipeline"]))
    latency = document["latency"]
    if latency is not None and latency["n"]:
        console.print(
            f"latency at real time, from the newest input of a step to its event: median "
            f"{latency['p50_ms']:.0f} ms, 95 % {latency['p95_ms']:.0f} ms, most "
            f"{latency['max_ms']:.0f} ms (n = {latency['n']})"
        )
    elif latency is not None:
        console.print("latency at real time: no step had an event, so nothing was timed")
    if sys.platform != "linux":
        console.print("memory and CPU of the processes are known on Linux only")


def _stage_table(document: dict[str, Any]) -> Table:
    title = (
        f"cost on one thread, CPU ms per second of media; {document['file']['name']}, "
        f"{document['measured_seconds']:.1f} s, n = {document['n']}"
    )
    table = _table(title, "stage", "median", "low", "high", "ms a step")
    for row in document["stages"]:
        table.add_row(
            row["stage"],
            *(f"{row[key]:.2f}" for key in ("median", "low", "high", "ms_per_step")),
        )
    whole = document["one_core"]
    table.add_section()
    table.add_row("all", *(f"{whole[key]:.2f}" for key in ("median", "low", "high")), "")
    table.caption = f"one core: {whole['times_real_time']:.1f} x real time"
    return table


def _ratio_table(document: dict[str, Any]) -> Table:
    table = _table(
        "the same work done in the reference way, in the same runs",
        *("stage", "reference", "median", "times ours", "low", "high"),
        n_left=2,
    )
    for row in document["ratios"]:
        ratio = (f"{row['ratio'][key]:.2f}" for key in ("median", "low", "high"))
        table.add_row(row["stage"], row["reference"], f"{row['median']:.2f}", *ratio)
    return table


def _process_table(run: dict[str, Any]) -> Table:
    speed = run["times_real_time"]
    table = _table(
        f"pipeline: {run['media_seconds']:.1f} s in {run['seconds']:.1f} s, {speed or 0:.1f} x "
        f"real time (after {run['start_seconds']:.1f} s to start)",
        *("process", "RSS MB, first quarter", "last quarter", "peak", "CPU ms/s"),
    )
    for name, row in run["processes"].items():
        keys = ("first_mb", "last_mb", "peak_mb", "cpu_ms_per_s")
        table.add_row(name, *("-" if row[key] is None else f"{row[key]:.1f}" for key in keys))
    return table


def _table(title: str, *headings: str, n_left: int = 1) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left")
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place < n_left else "right")
    return table
