"""The schedule of the findings: which task when, in which process, and how long it still takes.

Small networks do not use several threads well, so each task has one process and one thread, and as
many tasks run at once as there are cores. A task that is done leaves a mark on disk: after a kill
the same command goes on from there, and a network that was in training from its last checkpoint.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from . import findings
from .clips import ClipError
from .findings import CHUNK, FIRST_SEEDS, TEACHERS, Settings, Split, needed_teachers
from .processes import end_with_parent

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LOOK = 0.5  # s between two looks at how far the tasks are
SECONDS = {  # of one thread, about; for the order and the time left only
    "clip": 2.0,
    "sound": 0.09,
    "object": 0.4,
    "action": 0.3,
    "asked": 0.1,
    "measured": 0.3,
}

_parts: Any = None  # in a worker, shared: how far each task is; the last is 1 to stop


@dataclass(frozen=True)
class Task:
    """One piece of work.

    Attributes
    ----------
    name : str
        Also of its mark on disk.
    function : str
        Of `findings`; called with the settings, the folder, a function that takes the part done,
        and `arguments`.
    arguments : tuple
    needs : tuple of str
        Names of the tasks before it.
    seconds : float
        It takes about so long.
    """

    name: str
    function: str
    arguments: tuple[Any, ...]
    needs: tuple[str, ...]
    seconds: float


def tasks_of(settings: Settings) -> list[Task]:
    """Return all tasks; of those that can begin, the first should.

    The object model takes longest and half of the networks wait for it, so it begins as soon as its
    clips are there; what needs it not is trained meanwhile.

    Examples
    --------
    >>> tasks = tasks_of(Settings(seeds=1, targets=("VT",)))
    >>> [task.name for task in tasks if task.function != "make_clips"]
    ['object', 'sound', 'ask-object', 'ask-sound', 'start-0', 'train-0-VT', 'alone', 'measure-0-VT']
    """
    clips: dict[Split, list[Task]] = {split: _clips(settings, split) for split in FIRST_SEEDS}
    names = {split: tuple(task.name for task in some) for split, some in clips.items()}
    for_teachers = names["teachers"] + names["validation"]
    for_networks = names["training"] + names["validation"]
    teaching, asking = [], []
    steps = {"object": settings.object_steps, "sound": settings.sound_steps}
    for kind in TEACHERS:
        seconds = steps[kind] * SECONDS[kind] * settings.width / 0.25
        teaching.append(Task(kind, "train_teacher", (kind,), for_teachers, seconds))
        needs = (kind, *names["training"])
        asked = settings.clips * SECONDS["asked"]
        asking.append(Task(f"ask-{kind}", "ask_teacher", (kind,), needs, asked))
    step = SECONDS["action"] * settings.width / 0.25 * settings.batch / 10
    starts, networks, figures = [], [], []
    measured = settings.test_clips * SECONDS["measured"]
    figures.append(Task("alone", "measure_alone", (), (*TEACHERS, *names["test"]), measured))
    for seed in range(settings.seeds):
        start = f"start-{seed}"
        seconds = settings.start_steps * step
        starts.append(Task(start, "train_start", (seed,), for_networks, seconds))
    for target in settings.targets:  # by target: those that need no object model come first
        asked_first = tuple(f"ask-{kind}" for kind in needed_teachers(target))
        for seed in range(settings.seeds):
            name, needs = f"train-{seed}-{target}", (f"start-{seed}", *asked_first)
            seconds = settings.steps * step
            networks.append(Task(name, "train_target", (seed, target), needs, seconds))
            needs = (name, *TEACHERS, *names["test"])
            name = f"measure-{seed}-{target}"
            figures.append(Task(name, "measure_target", (seed, target), needs, measured))
    before = [task for split in FIRST_SEEDS if split != "test" for task in clips[split]]
    return [*teaching, *asking, *before, *starts, *clips["test"], *networks, *figures]


def _clips(settings: Settings, split: Split) -> list[Task]:
    seconds = SECONDS["clip"] * settings.duration / 10
    n = settings.n_clips(split)
    return [
        Task(f"{split}-{k:04d}", "make_clips", (split, k), (), seconds * min(CHUNK, n - k))
        for k in range(0, n, CHUNK)
    ]


def run_tasks(settings: Settings, work: Path, processes: int) -> dict[str, float]:
    """Do all tasks that are not done, and return what it took.

    Parameters
    ----------
    settings : Settings
    work : Path
        What is there already is not made again.
    processes : int
        How many tasks run at once.

    Returns
    -------
    took : dict
        `seconds` of this run; `task_seconds`, the sum over all tasks, also of earlier runs; how
        many of the `tasks` were done `before`; and `processes`.

    Raises
    ------
    ValueError
        If the folder is of other settings, or a task failed: one line.
    """
    work = work.resolve()  # checkpoints say what they began with
    findings.prepare(settings, work)
    marks = work / "done"
    marks.mkdir(exist_ok=True)
    tasks = tasks_of(settings)
    done = {task.name for task in tasks if (marks / task.name).is_file()}
    before = len(done)
    began = time.monotonic()
    os.environ.update(dict.fromkeys(THREADS, "1"))  # of the processes that begin now
    context = multiprocessing.get_context("spawn")
    parts = context.Array("d", len(tasks) + 1)  # the last: stop
    places = {task.name: place for place, task in enumerate(tasks)}
    running: dict[Future[None], Task] = {}
    with (
        ProcessPoolExecutor(processes, context, _begin, (parts,)) as pool,
        _bar(tasks, done, parts) as show,
    ):
        try:
            while len(done) < len(tasks):
                busy = {task.name for task in running.values()}
                ready = [
                    task
                    for task in tasks
                    if task.name not in done | busy and done.issuperset(task.needs)
                ]
                for task in ready[: processes - len(running)]:
                    future = pool.submit(_work, settings, work, task, places[task.name])
                    running[future] = task
                ended, _ = wait(running, LOOK, FIRST_COMPLETED)
                for future in ended:
                    task = running.pop(future)
                    future.result()
                    done.add(task.name)
                show(done)
        except BrokenProcessPool:
            names = ", ".join(task.name for task in running.values())
            raise ClipError(
                f"a process died during {names} (out of memory?); the same command goes on from "
                "there, with fewer --processes if need be"
            ) from None
        finally:
            parts[-1] = len(done) < len(tasks)
    return {
        "seconds": time.monotonic() - began,
        "task_seconds": sum(_seconds(marks / task.name) for task in tasks),
        "processes": processes,
        "tasks": len(tasks),
        "before": before,
    }


def _seconds(mark: Path) -> float:
    try:
        return float(mark.read_text(encoding="utf-8"))
    except ValueError:  # killed while it was written
        return 0.0


def _begin(parts: Any) -> None:
    """In a new worker: share how far tasks are, and end with the parent, whatever ends it."""
    global _parts
    _parts = parts
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to stop
    end_with_parent()


class StoppedError(Exception):
    """The run was stopped, or another of its tasks failed."""


def _work(settings: Settings, work: Path, task: Task, place: int) -> None:
    if task.function != "make_clips":
        import torch

        torch.set_num_threads(1)

    def tell(part: float) -> None:
        _parts[place] = part
        if _parts[-1]:
            raise StoppedError

    function: Callable[..., None] = getattr(findings, task.function)
    began = time.monotonic()
    function(settings, work, tell, *task.arguments)
    (work / "done" / task.name).write_text(f"{time.monotonic() - began:.1f}", encoding="utf-8")


@contextmanager
def _bar(tasks: list[Task], done: set[str], parts: Any) -> Iterator[Callable[[set[str]], None]]:
    """Show one bar over all tasks with the time left; elsewhere a line after each task."""
    total = sum(task.seconds for task in tasks)
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    began, first = time.monotonic(), sum(t.seconds for t in tasks if t.name in done)
    told = set(done)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("findings", total=total, left="")

        def show(now: set[str]) -> None:
            whole = sum(
                task.seconds * (1.0 if task.name in now else min(parts[place], 0.99))
                for place, task in enumerate(tasks)
            )
            left = ""
            if whole > first:
                seconds = (time.monotonic() - began) / (whole - first) * (total - whole)
                left = f"about {seconds / 60:.0f} min left"
            progress.update(bar, completed=whole, left=left)
            if not console.is_terminal:
                for name in sorted(now - told):
                    percent = 100 * whole / total
                    print(f"findings: {percent:3.0f} %, {name} done; {left}", file=sys.stderr)
            told.update(now)

        yield show
