"""Building a plan in a process of its own, into the cache: both ends of its pipes.

An order goes in as a line of JSON and the ONNX file; lines of JSON come out: how far it is, and at
last what was built, or why nothing was. The process ends when its standard input does, and so with
whoever started it, however that ends.

One plan is built at a time on a GPU: side by side they would measure each other. So a lock is held
while one is built, and a process that waited for it finds what the other one built.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from pydantic import ValidationError

from .compiled import Compiled, find, save, store
from .engine import ModelError
from .machine import machine
from .metadata import MAX_MODEL_BYTES, one_line
from .plan import key_for, pack_plan
from .private_file import private_folder
from .trt_build import OnProgress, build_plan

MAX_LINE = 2**20
NICE = 10  # what runs meanwhile goes first
ALMOST = 0.99  # built, and not yet in the cache
WAITING = "waiting"  # the phase while another process builds
END_PATIENCE = 5.0  # s for a killed process to be gone


def build_into_store(
    source: bytes,
    wanted: Compiled,
    *,
    replaces: Compiled | None = None,
    device: int = 0,
    on_progress: OnProgress = lambda _phase, _fraction: None,
) -> Compiled:
    """Return a plan in the cache: what another process has built meanwhile, or a new one.

    Parameters
    ----------
    source : bytes
        The ONNX file in the wanted precision.
    wanted : Compiled
        Its hash, name, kind, precision and shapes.
    replaces : Compiled, optional
        What the cache has and is not to be used; what it has beside that is used.
    device : int
        Number of the GPU.
    on_progress : callable
        See `trt_build.build_plan`.

    Returns
    -------
    compiled : Compiled
        Not `passed`, unless it was there and somebody has found so.

    Raises
    ------
    ModelError
        If it cannot be built, or the cache cannot be written: one line.
    """
    key = key_for(wanted.model_hash, wanted.precision, wanted.shapes, device)
    on_progress(WAITING, 0.0)
    with _alone(device):
        there = find(
            wanted.model_hash,
            "tensorrt",
            wanted.precision,
            device=device,
            passed=False,
            shapes=wanted.shapes,
        )
        if there is not None and (replaces is None or there.created != replaces.created):
            return there
        plan = build_plan(
            source,
            wanted.shapes,
            device=device,
            timing_cache=store() / f"{_plain(machine('tensorrt', device))}.timings",
            on_progress=on_progress,
        )
        return save(wanted, pack_plan(key, plan))


class BuildProcess:
    """A process that builds a plan into the cache.

    Parameters
    ----------
    source, wanted, replaces, device
        See `build_into_store`.

    Attributes
    ----------
    phase : str
        What it is at, in TensorRT's words; "waiting" while another process builds.
    progress : float
        How much is done, 0 to 1; 1 only once it is over, one way or the other.
    pid : int

    Raises
    ------
    ModelError
        If no process can be started.
    """

    def __init__(
        self,
        source: bytes,
        wanted: Compiled,
        *,
        replaces: Compiled | None = None,
        device: int = 0,
    ) -> None:
        self.phase, self.progress = "starting", 0.0
        self._done: Compiled | None = None
        self._failure: str | None = None
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", f"{__package__}.trt_build"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise ModelError(f"no process to build in can be started ({error.strerror})") from None
        self.pid = self._process.pid
        order = {
            "wanted": wanted.model_dump(mode="json"),
            "replaces": None if replaces is None else replaces.model_dump(mode="json"),
            "device": device,
            "size": len(source),
        }
        # Large models are more than a pipe holds, and nobody is to wait for the other end.
        threading.Thread(target=self._order, args=(order, source), daemon=True).start()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def poll(self) -> Compiled | None:
        """Return what was built, None while it is being built.

        Raises
        ------
        ModelError
            If nothing was built: one line that says why.
        """
        if self._reader.is_alive():
            return None
        return self.wait()

    def wait(self) -> Compiled:
        """Return what was built, once it is; errors as `poll`."""
        self._reader.join()
        if self._done is None:
            raise ModelError(self._failure or "the process that built it ended without a word")
        return self._done

    def close(self) -> None:
        """End the process. Calling it twice is harmless."""
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_PATIENCE)
        self._reader.join(END_PATIENCE)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _order(self, order: dict[str, Any], source: bytes) -> None:
        pipe = self._process.stdin
        if pipe is None:
            return
        with suppress(OSError, ValueError):  # it has ended: heard at the other pipe
            pipe.write(json.dumps(order).encode() + b"\n")
            pipe.write(source)
            pipe.flush()

    def _read(self) -> None:
        pipe = self._process.stdout
        while pipe is not None and (line := pipe.readline(MAX_LINE)):
            with suppress(ValueError, KeyError, TypeError):  # what a library prints
                said = json.loads(line)
                if "done" in said:
                    self._done = Compiled.model_validate(said["done"])
                elif "failed" in said:
                    self._failure = str(said["failed"])
                else:
                    self.phase = str(said["phase"])
                    self.progress = min(float(said["fraction"]), ALMOST)
        code = self._process.wait()
        if code < 0:
            cause = f"signal {-code}"
            with suppress(ValueError):
                cause = signal.Signals(-code).name
            self._failure = self._failure or f"the process that built it was ended by {cause}"
        self.progress = 1.0


def _plain(text: str) -> str:
    return "".join(c if c.isalnum() or c in ".-" else "_" for c in text)[:120]


def main() -> None:
    """Be the process that builds."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    with suppress(OSError, AttributeError):
        os.nice(NICE)
    told = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # libraries may print
    tell = _teller(told)
    try:
        order = json.loads(sys.stdin.buffer.readline(MAX_LINE))
        size = int(order["size"])
        if not 0 < size <= MAX_MODEL_BYTES:
            raise ModelError(f"a model of {size} bytes; at most {MAX_MODEL_BYTES}")
        source = sys.stdin.buffer.read(size)
        threading.Thread(target=_end_with_input, daemon=True).start()
        replaces = order["replaces"]
        built = build_into_store(
            source,
            Compiled.model_validate(order["wanted"]),
            replaces=None if replaces is None else Compiled.model_validate(replaces),
            device=int(order["device"]),
            on_progress=lambda phase, fraction: tell(phase=phase, fraction=round(fraction, 4)),
        )
    except (ModelError, OSError, MemoryError) as error:
        tell(failed=one_line(error))
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        tell(failed=f"the order to build was not understood ({one_line(error)})")
    else:
        tell(done=built.model_dump(mode="json"))
    told.flush()
    os._exit(0)  # a thread reads the standard input, and TensorRT's may still end


def _teller(file: IO[str]) -> Callable[..., None]:
    lock = threading.Lock()  # the builder tells from its own threads

    def tell(**said: object) -> None:
        with lock, suppress(OSError):
            file.write(json.dumps(said) + "\n")
            file.flush()

    return tell


def _end_with_input() -> None:
    while sys.stdin.buffer.read(1):
        pass
    os._exit(1)


@contextmanager
def _alone(device: int) -> Iterator[None]:
    """Hold the lock of a GPU; a process that ends lets go of it."""
    path = store() / f"gpu-{device}.lock"
    try:
        private_folder(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ModelError(
            f"{path.parent}: cannot be written ({error.strerror}); "
            "set PLAYSPOT_ENGINES to another folder"
        ) from None
    try:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
