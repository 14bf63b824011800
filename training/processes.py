"""A function over many items in several processes: all of them, or those that can be done.

In: a function that can be pickled and the arguments of each call. Out: what each call returned, as
soon as it has, or why it did not: it raised, its process died (a decoder that crashed, no memory),
or it took too long. A process that died or was killed is replaced. Where one failure is to end all,
`all_in_processes`.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from ..stream.one_line import reason_of

START_LIMIT = 600.0  # s; a new process that has not come up by then never will
MAX_DEATHS = 3  # of new processes in a row that died before they could begin: something is wrong
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Failure:
    """Why a call returned nothing, in one line."""

    reason: str


def in_processes(
    function: Callable[..., Any],
    calls: Sequence[tuple[Any, ...]],
    *,
    processes: int,
    time_limits: Sequence[float] | None = None,
) -> Iterator[tuple[int, Any]]:
    """Yield what each call of a function returns, in the order in which they finish.

    Parameters
    ----------
    function : callable
        Of a module (not of `__main__`); called in a fresh process with one core to itself.
    calls : sequence of tuple
        Arguments of each call.
    processes : int
    time_limits : sequence of float, optional
        Seconds that each call may take; its process is killed then.

    Yields
    ------
    number : int
        Of the call.
    result : object or Failure

    Raises
    ------
    OSError
        If no process can be started.

    Examples
    --------
    >>> list(in_processes(len, [], processes=2))
    []
    """
    limits = time_limits or [float("inf")] * len(calls)
    waiting = list(range(len(calls)))[::-1]
    workers: list[_Worker] = []
    deaths = 0
    try:
        while waiting or any(worker.call is not None for worker in workers):
            while waiting and len(workers) < min(processes, len(calls)):
                workers.append(_Worker(function))
            for worker in workers:
                if waiting and worker.call is None and worker.is_ready:
                    number = waiting.pop()
                    worker.begin(number, calls[number], limits[number])
            for worker in _heard(workers):
                at, answer = worker.call, worker.answer()
                if answer is None:
                    deaths += at is None
                    workers.remove(worker)
                    code = worker.kill()
                    if deaths == MAX_DEATHS:
                        raise OSError(f"processes cannot be started: they end with code {code}")
                    answer = (Failure(f"the process that worked on it died ({_cause(code)})"),)
                else:
                    deaths = 0
                if at is not None:
                    yield at, answer[0]
            now = time.monotonic()
            for worker in [w for w in workers if w.deadline < now]:
                at = worker.call
                workers.remove(worker)
                worker.kill()
                if at is None:
                    raise OSError(f"processes cannot be started within {START_LIMIT:.0f} s")
                yield at, Failure(f"took more than {limits[at]:.0f} s, given up")
    finally:
        for worker in workers:
            worker.kill()


def all_in_processes(
    function: Callable[..., Any], calls: Sequence[tuple[Any, ...]], *, processes: int
) -> Iterator[None]:
    """Yield once for each call of a function that is done; the first failure ends all.

    Parameters
    ----------
    function : callable
        Of a module (not of `__main__`); its own errors are raised here.
    calls : sequence of tuple
        Arguments of each call.
    processes : int
        1 stays in this process.

    Examples
    --------
    >>> len(list(all_in_processes(len, [("a",), ("b",)], processes=1)))
    2
    """
    if processes <= 1 or len(calls) <= 1:
        for arguments in calls:
            function(*arguments)
            yield
        return
    with ProcessPoolExecutor(
        min(processes, len(calls)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=end_with_parent,
    ) as pool:
        futures = [pool.submit(function, *arguments) for arguments in calls]
        try:
            for future in as_completed(futures):
                future.result()
                yield
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def end_with_parent() -> None:
    """See that this process ends when its parent is killed: it would wait for work for ever."""
    threading.Thread(target=_await_parent, daemon=True).start()


def _await_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def n_cores() -> int:
    """Return how many cores this process may use.

    Examples
    --------
    >>> n_cores() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            return signal.Signals(-code).name
    return f"code {code}"


class _Worker:
    # One process and the call that it is at.

    def __init__(self, function: Callable[..., Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_work, args=(theirs, function), daemon=True
        )
        before = {name: os.environ.get(name) for name in _THREADS}
        os.environ.update(dict.fromkeys(_THREADS, "1"))  # one core a process
        try:
            self.process.start()
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        theirs.close()
        self.call: int | None = None
        self.is_ready = False
        self.deadline = time.monotonic() + START_LIMIT

    def begin(self, number: int, arguments: tuple[Any, ...], limit: float) -> None:
        self.call, self.deadline = number, time.monotonic() + limit
        with suppress(OSError):  # it died just now: heard in a moment
            self.pipe.send(arguments)

    def answer(self) -> tuple[Any] | None:
        # What the call returned, or that the process has come up; None for one that died.
        try:
            received: tuple[Any] = self.pipe.recv()
        except (EOFError, OSError):
            return None
        self.is_ready, self.call, self.deadline = True, None, float("inf")
        return received

    def kill(self) -> int | None:
        self.process.kill()
        self.process.join()
        self.pipe.close()
        return self.process.exitcode


def _heard(workers: list[_Worker]) -> list[_Worker]:
    # Those with an answer, or whose end of the pipe is gone.
    first = min((worker.deadline for worker in workers), default=0.0)
    left = max(0.0, min(first - time.monotonic(), 1.0))
    ready = set(wait([worker.pipe for worker in workers], left))
    return [worker for worker in workers if worker.pipe in ready]


def _work(pipe: Connection, function: Callable[..., Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told too, and ends this
    import cv2  # here: the parent may not need it

    cv2.setNumThreads(1)
    with suppress(EOFError, OSError):  # the parent has gone
        pipe.send((True,))
        while True:
            arguments = pipe.recv()
            try:
                result = function(*arguments)
            except Exception as error:
                result = Failure(reason_of(error))
            pipe.send((result,))
