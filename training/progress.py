"""Progress on the terminal: a bar for counted work, a bar with loss and AUC for training.

Bars go to standard error, and only to a terminal; elsewhere training prints a line now and then.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on a terminal; yield a function that takes (done, total)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done, n: bar.update(task, completed=done, total=n)


@contextmanager
def losses(what: str, total: int) -> Iterator[Callable[[Any], None]]:
    """Show loss and AUC while training; where there is no terminal, a line now and then."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}  AUC {task.fields[auc]:.3f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total, loss=np.nan, auc=np.nan)

        def show(report: Any) -> None:
            state = {"completed": report.step, "loss": report.loss, "auc": report.auc}
            if bar.tasks[task].completed == 0:  # a run that goes on: its past is no speed
                bar.reset(task, total=report.steps, **state)
            bar.update(task, **state)
            if not console.is_terminal and report.step % max(1, report.steps // 20) == 0:
                known = f", AUC {report.auc:.3f} (best {report.best_auc:.3f})"
                print(
                    f"{what}: step {report.step} of {report.steps}, loss {report.loss:.4f}"
                    f"{'' if np.isnan(report.auc) else known}",
                    file=sys.stderr,
                )

        yield show
