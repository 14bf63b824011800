"""The state of a GPU that is not there, and what a program does wrong with it.

Copies and kernels are queued on a stream and run only when it is waited for, on what the memory
holds then: a host buffer that is used again too early, or read too early, shows. New and freed
memory is filled with garbage. What a real GPU answers with undefined behaviour raises `MisuseError`
here, and is remembered, so that nobody can swallow it; `check()` finds both that and what was
never released, and runs at the end of the process too (exit status 99).

`FAKE_GPU` makes it fail: "no-driver", "no-gpu", "old-driver", "no-capture",
"out-of-memory:N" (at the N-th allocation, counted from 1), "launch:N" (at the N-th kernel),
"lost:N" (as that, and the context is lost: from then on every call fails, as is CUDA's way),
"build" (a layer that TensorRT has nothing for).
"""

import os
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

GARBAGE = 0xA5
ALIGNMENT = 256


class MisuseError(AssertionError):
    """What a real GPU would answer with undefined behaviour."""


@dataclass(eq=False)
class FakeContext:
    """The primary context: what lives in it, and how often it is retained."""

    retained: int = 0


@dataclass(eq=False)
class Block:
    """Device memory."""

    address: int
    data: np.ndarray[Any, Any]
    is_freed: bool = False


@dataclass(eq=False)
class FakeStream:
    """Work in order; `captured` is a list while a graph is captured."""

    handle: int
    queue: list[Callable[[], None]] = field(default_factory=list)
    captured: list[Callable[[], None]] | None = None
    capture_broke: bool = False
    is_destroyed: bool = False

    def add(self, work: Callable[[], None]) -> None:
        if self.is_destroyed:
            DEVICE.misuse("work for a stream that is destroyed")
        (self.queue if self.captured is None else self.captured).append(work)

    def synchronize(self) -> None:
        DEVICE.need_context("cuStreamSynchronize")
        self.drain()

    def drain(self) -> None:
        if self.captured is not None:
            self.capture_broke = True
            raise DEVICE.error("cuStreamSynchronize", "operation not permitted when capturing")
        try:
            while self.queue:
                self.queue.pop(0)()
        except Exception as error:
            self.queue.clear()  # a real stream is lost with its context
            raise error.with_traceback(None) from None  # frames of a kernel would hold on to it


class FakeDevice:
    """One GPU of one process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.primary = FakeContext()
        self.local = threading.local()
        self.is_initialised = False
        self.blocks: dict[int, Block] = {}
        self.pinned: dict[int, tuple[int, Any]] = {}  # address -> size, owner
        self.streams: dict[int, FakeStream] = {}
        self.alive: dict[int, str] = {}  # id -> what: everything else that must be released
        self.faults: list[str] = []
        self.logger: Any = None  # TensorRT's
        self.is_lost = False
        self.n_allocations = 0
        self.n_kernels = 0
        self.n_captures = 0
        self.n_graph_launches = 0
        self.n_plain_launches = 0
        self.peak_blocks = 0
        self._next = 0x7F00_0000_0000
        self._n_handles = 0x1000

    # -- failing on purpose ------------------------------------------------------------------

    @property
    def fault(self) -> str:
        return os.environ.get("FAKE_GPU", "")

    def fails_at(self, what: str, number: int) -> bool:
        return self.fault == f"{what}:{number}"

    def error(self, call: str, text: str, kind: str = "LogicError") -> Exception:
        from . import driver

        made: Exception = getattr(driver, kind)(f"{call} failed: {text}")
        return made

    def misuse(self, what: str) -> NoReturn:
        self.faults.append(what)
        raise MisuseError(what)

    # -- contexts ----------------------------------------------------------------------------

    def stack(self) -> list[Any]:
        """Return what the driver has on its stack for this thread; the last one is current."""
        found: list[Any] = self.local.__dict__.setdefault("driver", [])
        return found

    def pycuda_stack(self) -> list[Any]:
        """Return what pycuda believes to be on it."""
        found: list[Any] = self.local.__dict__.setdefault("pycuda", [])
        return found

    def need_context(self, call: str) -> None:
        if os.getpid() != self.pid:
            self.misuse(f"{call} in a process that was forked off after CUDA was started")
        if not self.stack():
            self.misuse(f"{call} without a context that is current on this thread")
        if self.primary.retained <= 0:
            self.misuse(f"{call} after the context was detached")

    # -- memory ------------------------------------------------------------------------------

    def count_allocation(self, call: str) -> None:
        self.need_context(call)
        for stream in self.streams.values():
            if stream.captured is not None:
                stream.capture_broke = True
                raise self.error(call, "operation not permitted when stream is capturing")
        self.n_allocations += 1
        if self.fails_at("out-of-memory", self.n_allocations):
            raise self.error(call, "out of memory", "MemoryError")

    def allocate(self, n_bytes: int) -> Block:
        self.count_allocation("cuMemAlloc")
        if n_bytes <= 0:
            raise self.error("cuMemAlloc", "invalid argument")
        block = Block(self._next, np.full(n_bytes, GARBAGE, np.uint8))
        self._next += -(-n_bytes // ALIGNMENT) * ALIGNMENT + ALIGNMENT
        self.blocks[block.address] = block
        self.peak_blocks = max(self.peak_blocks, len(self.blocks))
        return block

    def free(self, block: Block) -> None:
        self.need_context("cuMemFree")
        if block.is_freed:
            self.misuse("device memory is freed twice")
        self.no_pending("device memory is freed")
        block.is_freed = True
        block.data[:] = GARBAGE
        del self.blocks[block.address]

    def no_pending(self, what: str) -> None:
        if any(stream.queue for stream in self.streams.values()):
            self.misuse(f"{what} while work is pending; synchronise the stream first")

    def memory(self, address: int, n_bytes: int, what: str) -> np.ndarray[Any, Any]:
        """Return the bytes at a device address."""
        for block in self.blocks.values():
            start = address - block.address
            if start >= 0 and start + n_bytes <= block.data.size:
                return block.data[start : start + n_bytes]
        self.misuse(f"{what}: {n_bytes} bytes at {address:#x} are not in device memory")

    def need_pinned(self, array: np.ndarray[Any, Any], what: str) -> None:
        start = array.__array_interface__["data"][0]
        for address, (size, _owner) in self.pinned.items():
            if address <= start and start + array.nbytes <= address + size:
                return
        self.misuse(f"{what}: the host memory is not page-locked, or was freed")

    # -- streams, and all else that has a handle ---------------------------------------------

    def new_handle(self) -> int:
        self._n_handles += 0x10
        return self._n_handles

    def new_stream(self) -> FakeStream:
        self.need_context("cuStreamCreate")
        stream = FakeStream(self.new_handle())
        self.streams[stream.handle] = stream
        return stream

    def destroy_stream(self, stream: FakeStream) -> None:
        self.need_context("cuStreamDestroy")
        if stream.queue:
            self.misuse("a stream is destroyed while work is pending")
        stream.is_destroyed = True
        self.streams.pop(stream.handle, None)

    def stream_of(self, handle: int, what: str) -> FakeStream:
        if handle not in self.streams:
            self.misuse(f"{what}: {handle:#x} is no stream")
        return self.streams[handle]

    # -- at the end --------------------------------------------------------------------------

    def left(self) -> list[str]:
        """Return what is wrong: misuse, and what nobody released."""
        found = [*self.faults]
        if self.is_lost:
            return found  # there is no way to release anything
        found += [f"device memory of {block.data.size} bytes" for block in self.blocks.values()]
        found += [f"page-locked memory of {size} bytes" for size, _owner in self.pinned.values()]
        found += ["a stream" for _ in self.streams]
        found += list(self.alive.values())
        if self.primary.retained:
            found.append(f"the primary context, retained {self.primary.retained} times too often")
        if self.stack() or self.pycuda_stack():
            found.append("a context that is still pushed")
        return found

    def check(self) -> None:
        """Raise if anything was done wrong, or is left."""
        if found := self.left():
            raise MisuseError("; ".join(found))


DEVICE = FakeDevice()


def reset() -> FakeDevice:
    """Forget everything, as a new process would."""
    pid = DEVICE.pid
    DEVICE.__init__()  # type: ignore[misc]
    DEVICE.pid = os.getpid() if pid != os.getpid() else pid
    return DEVICE


def _at_exit() -> None:
    if os.getpid() == DEVICE.pid and (found := DEVICE.left()):
        print("fake GPU:", "; ".join(found), file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(99)


# A finalizer, not atexit: those that are made later, as an engine's is, run before it.
weakref.finalize(DEVICE, _at_exit)
