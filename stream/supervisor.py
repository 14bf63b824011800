"""The supervisor: starts the processes of a run, watches them, and stops every one of them.

A worker is judged by its exit code and by its progress. Stopping never waits without a deadline:
SIGTERM, `GRACE` seconds, SIGKILL.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

from . import worker

GRACE = 2.0  # seconds between SIGTERM and SIGKILL
KILL_WAIT = 0.2  # seconds for SIGKILL to do its work
ONE_THREAD = {
    name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
}  # more threads in a worker steal cores from the other workers and gain nothing


class WorkerError(RuntimeError):
    """A process of the pipeline ended or hung; the message is one line for the user."""


class Supervisor:
    """The processes of one run.

    Parameters
    ----------
    run : str
        Name of the run, see `sockets.new_run`.
    """

    def __init__(self, run: str) -> None:
        self.run = run
        self._spawn = multiprocessing.get_context("spawn")
        self._processes: dict[str, BaseProcess] = {}
        self._leaving: list[tuple[float, BaseProcess]] = []  # deadline, asked to end

    def start(self, name: str, target: Callable[..., None], *args: Any) -> int:
        """Start a worker process that does `target(worker, run, *args)`; return its process id."""
        process = self._spawn.Process(
            target=worker.main,
            args=(target, self.run, name, os.getpid(), *args),
            name=f"playspot-{name}",
            daemon=True,
        )
        with _environment(ONE_THREAD), _no_interrupt():
            process.start()
        self._processes[name] = process
        return process.pid or 0

    def exit_code(self, name: str) -> int | None:
        """Return the exit code of a worker, None while it runs."""
        return self._processes[name].exitcode

    def check(self, names: list[str]) -> None:
        """Raise `WorkerError` if one of these workers has ended."""
        for name in names:
            code = self.exit_code(name)
            if code is not None:
                how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
                raise WorkerError(f"the {name} process {how}")

    def pids(self) -> dict[str, int]:
        """Return the process ids of the workers that run."""
        return {n: p.pid for n, p in self._processes.items() if p.is_alive() and p.pid}

    def terminate(self, name: str) -> None:
        """Send SIGTERM to a worker."""
        self._processes[name].terminate()

    def reap(self, name: str) -> None:
        """End one worker; returns when it is gone."""
        process = self._processes.pop(name)
        process.terminate()
        self._end({name: process}, GRACE)

    def kill(self, name: str) -> None:
        """End a worker that hangs or has ended, at once; a stopped one too."""
        process = self._processes.pop(name)
        process.kill()
        self._leaving.append((time.monotonic(), process))
        self.sweep()

    def dismiss(self, name: str) -> None:
        """Ask a worker to end and return at once; `sweep` sees to it that it does."""
        process = self._processes.pop(name)
        process.terminate()
        self._leaving.append((time.monotonic() + GRACE, process))

    def release(self, name: str) -> None:
        """Let a worker that has said its last words end by itself; `sweep` sees to it."""
        self._leaving.append((time.monotonic() + GRACE, self._processes.pop(name)))

    def sweep(self) -> None:
        """Clear away workers that were dismissed; kill those that had their time."""
        staying = []
        for deadline, process in self._leaving:
            if process.is_alive() and time.monotonic() >= deadline:
                process.kill()
                process.join(KILL_WAIT)  # it may sit in a device driver: never without a deadline
            if process.is_alive():
                staying.append((deadline, process))
            else:
                process.join()
                process.close()
        self._leaving = staying

    def stop(self) -> None:
        """Stop every worker, politely at first; returns when none is left."""
        for _, process in self._leaving:
            self._processes[f"leaving-{process.pid}"] = process
        self._leaving = []
        try:
            for process in self._processes.values():
                process.terminate()
            self._end(self._processes, GRACE)
        except BaseException:  # a second Ctrl-C: no more waiting
            self._end(self._processes, 0.0)
            raise
        finally:
            self._processes.clear()

    def _end(self, processes: dict[str, BaseProcess], grace: float) -> None:
        deadline = time.monotonic() + grace
        for process in processes.values():
            process.join(max(0.0, deadline - time.monotonic()))
        for process in processes.values():
            if process.is_alive():
                process.kill()
            process.join(KILL_WAIT)
            if not process.is_alive():
                process.close()


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Keep Ctrl-C and the end of the terminal from the processes started meanwhile.

    Also while they still import: both reach all of them, and the supervisor decides.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the processes started meanwhile."""
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
