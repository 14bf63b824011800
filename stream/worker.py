"""What every process of the pipeline shares: how it starts, reports, notices the end, and fails.

A worker is a function `target(worker, run, ...)` in a module of its own (never in `__main__`: a
spawned process could not find it). It reports to the supervisor through the control socket:

* `alive` with its count of handled messages, once a second at most: progress, not just a pid. In a
  live run also while idle (`Worker.beat`), with what it has counted and the memory it takes;
* `failed` with one line, when it ends by an error.
"""

import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import zmq

from .locator import redacted
from .measure import Measures
from .messages import Message, MessageError, receive, send, try_send
from .sockets import push

POLL_MS = 200  # how long a worker waits for a message before it looks around
ALIVE_INTERVAL = 1.0  # seconds between reports of progress
BEAT_INTERVAL = 0.4  # seconds between the reports of a live worker
PATIENCE = 1.5  # seconds without a report after which a live worker counts as hung
CONTROL_LINGER_MS = 500

logger = logging.getLogger(__name__)


class Worker:
    """The process's side of the run: its ZeroMQ context, its reports, its parent.

    Parameters
    ----------
    run : str
        Name of the run, see `sockets.new_run`.
    name : str
        Name in reports.
    parent : int
        Process id of the supervisor; when it is gone, the worker ends.

    Attributes
    ----------
    measures : Measures
        What a live worker counts; `beat` reports it.
    also : callable
        Further fields of every report of `beat`.
    """

    def __init__(self, run: str, name: str, parent: int) -> None:
        self.name = name
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._parent = parent
        self._control = push(self.context, run, "control", linger_ms=CONTROL_LINGER_MS)
        self.measures = Measures()
        self.also: Callable[[], dict[str, Any]] = dict
        self._handled = 0
        self._reported = 0.0
        self._beaten = 0.0

    def tell(self, kind: str, source: int = 0, **data: Any) -> None:
        """Send a report to the supervisor."""
        data = {"worker": self.name, "pid": os.getpid(), **data}
        send(self._control, Message(kind, source, data=data))

    def try_tell(self, kind: str, **data: Any) -> bool:
        """Send a report if the supervisor has room for it; return whether it had."""
        data = {"worker": self.name, "pid": os.getpid(), **data}
        return try_send(self._control, Message(kind, data=data))

    def progress(self) -> None:
        """Count one handled message, and report at most once a second that there was progress."""
        self._handled += 1
        now = time.monotonic()
        if now - self._reported >= ALIVE_INTERVAL:
            self._reported = now
            self.tell("alive", n=self._handled)

    def beat(
        self, *, n: int = 0, patience: float | None = None, at_once: bool = False, **data: Any
    ) -> None:
        """Report, in a live run, that the main loop goes round; call it often, never in a thread.

        Parameters
        ----------
        n : int
            Messages handled since the last call.
        patience : float, optional
            Seconds for which no report should be missed: something that may take long follows.
            It is reported at once.
        at_once : bool
            Report now, however long ago the last report was.
        data
            Further fields of the report.
        """
        self._handled += n
        now = time.monotonic()
        if patience is None and not at_once and now - self._beaten < BEAT_INTERVAL:
            return
        self._beaten = now
        self.check_parent()
        report = {
            "worker": self.name,
            "pid": os.getpid(),
            "n": self._handled,
            "rss_mb": rss_mb(),
            "patience": PATIENCE if patience is None else patience,
            "measures": self.measures.to_json(),
            **self.also(),
            **data,
        }
        try_send(self._control, Message("alive", data=report))  # the next one says it all again

    def check_parent(self) -> None:
        """End this process if the supervisor is gone."""
        if os.getppid() != self._parent:
            sys.exit(1)

    def messages(self, socket: "zmq.Socket[bytes]") -> Iterator[Message]:
        """Yield what arrives, for ever; anything that is not one of our messages is skipped."""
        while True:
            if not socket.poll(POLL_MS):
                self.check_parent()
                continue
            try:
                message = receive(socket)
            except MessageError as error:
                logger.warning("%s: skipped a message: %s", self.name, error)
                continue
            yield message
            self.progress()

    def wait(self) -> None:
        """Stay until the supervisor ends this process, which it does once all has arrived.

        Leaving sooner could lose what was sent: a ZeroMQ receiver whose queue is full reads no
        more from a connection that its peer has closed, not even what the kernel still holds.
        """
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        while True:
            self.check_parent()
            time.sleep(POLL_MS / 1000)

    def close(self) -> None:
        """Deliver the last reports and release the sockets."""
        self._control.close()
        self.context.destroy(linger=CONTROL_LINGER_MS)


def main(target: Callable[..., None], run: str, name: str, parent: int, *args: Any) -> None:
    """Be a worker: what a spawned process runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the supervisor decides
    _die_with_parent()
    cv2.setNumThreads(1)  # one core a worker: more threads here steal from the other workers
    worker = Worker(run, name, parent)
    worker.check_parent()  # it may have died before _die_with_parent
    try:
        target(worker, run, *args)
    except Exception as error:
        logger.debug("%s failed", name, exc_info=True)
        worker.tell("failed", message=_told(name, error))
        sys.exit(1)
    finally:
        worker.close()


def rss_mb() -> float:
    """Return the memory that this process takes, in MB; its peak where there is no /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        import resource  # not everywhere

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def _told(name: str, error: Exception) -> str:
    """Return what the user is told: our own errors say all; others are named, with their place."""
    told = (
        str(error) if isinstance(error, ValueError) else f"{name}: {type(error).__name__}: {error}"
    )
    return redacted(told)  # FFmpeg and others name what they could not open


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, even by kill -9."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
