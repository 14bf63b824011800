"""A GPU as one network uses it: its context, one stream, and memory that is allocated once.

Context. CUDA keeps one primary context for each GPU in a process; PyTorch, ONNX Runtime and
TensorRT use that one, and so does a `Gpu`, which retains it, makes it current for as long as a
`with` lasts, on whatever thread that runs, and releases it. Nothing happens at import, and
nothing is inherited through a fork: a context does not survive one, so processes are spawned.

Memory. A `Buffer` is a pair of the same size: page-locked memory of the host, from and to which
the GPU copies by itself, and memory of the GPU. Arrays are copied into the former and out of it;
neither is ever replaced, so that a CUDA graph may hold their addresses.

Stream. Copies and kernels are queued on one, in order, and run while Python goes on; `wait` is
the only place that waits. What they take is measured by `playspot doctor --gpu`.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cuda_graph import GraphError, pop_context
from .engine import ModelError
from .metadata import one_line

# A stream that does not wait for the default one, on which other libraries may work. pycuda has
# no name for it.
NON_BLOCKING = 1

_ABANDONED: list[object] = []


class Gpu:
    """The primary context of a GPU, retained for one user, and a stream in it.

    Parameters
    ----------
    device : int
        Number of the GPU.

    Attributes
    ----------
    device : int
    n_bytes : int
        Of its memory, whoever uses it.
    stream : int
        Its handle, as the driver and TensorRT want it.

    Raises
    ------
    ModelError
        If there is no driver, no such GPU, no memory left on it, or no pycuda: one line.

    Notes
    -----
    `with gpu:` makes the context current, for one thread at a time. Everything that lives in the
    context must be used and released inside, in the process that made it.

    Examples
    --------
    >>> with Gpu(0) as gpu:  # doctest: +SKIP
    ...     buffer = Buffer(gpu, 4096)
    """

    def __init__(self, device: int = 0) -> None:
        cuda = _driver()
        with cuda_errors(f"GPU {device}"):
            cuda.init()
            if device >= (n_devices := cuda.Device.count()):
                raise ModelError(
                    f"there is no GPU {device}, only {n_devices}, counted from 0; give another "
                    "number, or see what nvidia-smi says"
                )
            found = cuda.Device(device)
            self.n_bytes = int(found.total_memory())
            self._context = found.retain_primary_context()
        self.device = device
        self._cuda = cuda
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._stream: Any = None
        self._done: Any = None
        self._is_open = True
        try:
            with cuda_errors(f"GPU {device}"), self:
                # To wait for the stream itself would keep a core busy all the while.
                kind = cuda.event_flags.BLOCKING_SYNC | cuda.event_flags.DISABLE_TIMING
                self._done = cuda.Event(kind)
                self._stream = cuda.Stream(NON_BLOCKING)
                self.stream = int(self._stream.handle)
        except BaseException:
            self.close()
            raise

    @property
    def is_inherited(self) -> bool:
        """Whether this process is a fork of the one that opened the GPU, and must not touch it."""
        return os.getpid() != self._pid

    def __enter__(self) -> "Gpu":
        if self.is_inherited:
            raise ModelError(
                f"GPU {self.device} was opened by process {self._pid} and cannot be used in its "
                f"fork {os.getpid()}; start processes by spawn, and load the network in them"
            )
        self._lock.acquire()
        try:
            if not self._is_open:
                raise ValueError(f"GPU {self.device} is closed; open it again")
            self._context.push()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._cuda.Context.pop()
        finally:
            self._lock.release()

    def allocate(self, n_bytes: int) -> Any:
        """Return memory of the GPU: `int` of it is its address, `free` releases it."""
        return self._cuda.mem_alloc(n_bytes)

    def wait(self) -> None:
        """Wait, asleep, until all that was queued is done; if a kernel failed, this raises."""
        self._done.record(self._stream)
        self._done.synchronize()

    def close(self) -> None:
        """Release stream and context; harmless twice.

        Everything else that lives in the context must be gone.
        """
        if self.is_inherited:
            abandon(self)
            return
        with self._lock:
            if not self._is_open:
                return
            try:
                with self:
                    # Destroyed by their last references, these, in their own context.
                    self._stream = self._done = None
            finally:
                self._is_open = False
                self._detach()

    def _detach(self) -> None:
        """Release the context, on any thread.

        pycuda releases a context that is current, or on the thread that made it, and counts on
        the release to take it off the thread; for a primary context it does not. So it is made
        current for pycuda, and taken off by hand.
        """
        self._context.push()
        pop_context()
        self._context.detach()


class Buffer:
    """Page-locked memory of the host, and memory of the GPU, of the same size.

    All of it is to be used inside `with gpu:`.

    Parameters
    ----------
    gpu : Gpu
    n_bytes : int
        What the largest array takes.

    Attributes
    ----------
    address : int
        Of the memory of the GPU; aligned to 256 bytes, and never another one.
    """

    def __init__(self, gpu: Gpu, n_bytes: int) -> None:
        self._cuda, self._gpu = gpu._cuda, gpu
        self._device = gpu.allocate(n_bytes)
        try:
            self._host: NDArray[np.uint8] = self._cuda.pagelocked_empty(n_bytes, np.uint8)
        except BaseException:
            self._device.free()
            raise
        self.address = int(self._device)

    def write(self, array: NDArray[Any]) -> None:
        """Copy an array into the memory of the host; the GPU must not be reading it."""
        np.copyto(self._view(array.shape, array.dtype), array)

    def read(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return a copy of what the memory of the host holds; the GPU must be done with it."""
        return self._view(shape, dtype).copy()

    def upload(self, n_bytes: int) -> None:
        """Queue the copy to the GPU."""
        self._cuda.memcpy_htod_async(self._device, self._host[:n_bytes], self._gpu._stream)

    def download(self, n_bytes: int) -> None:
        """Queue the copy from the GPU."""
        self._cuda.memcpy_dtoh_async(self._host[:n_bytes], self._device, self._gpu._stream)

    def free(self) -> None:
        """Release both; nothing that is queued may use them."""
        host: Any = self._host.base  # of pycuda, and the owner of the memory
        del self._host
        host.free()
        self._device.free()

    def _view(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        n_bytes = int(np.prod(shape)) * dtype.itemsize
        found: NDArray[Any] = self._host[:n_bytes].view(dtype).reshape(shape)
        return found


def abandon(lost: object) -> None:
    """Keep what cannot be released, by a fork or after an error: destructors call the driver."""
    _ABANDONED.append(lost)


@contextmanager
def cuda_errors(name: str) -> Iterator[None]:
    """Turn the errors of pycuda into a `ModelError`: one line that begins with a name."""
    cuda = _driver()
    try:
        yield
    except cuda.MemoryError as error:
        raise ModelError(out_of_memory(name, one_line(error))) from None
    except (cuda.Error, GraphError) as error:
        raise ModelError(
            f"{name}: CUDA failed ({one_line(error)}); see what nvidia-smi and "
            "`playspot doctor` say"
        ) from None


def out_of_memory(name: str, told: str) -> str:
    """Return what to say when the memory of a GPU is not enough."""
    return (
        f"{name}: the GPU has not enough memory ({told}); end what else runs on it, or compile "
        "for smaller batches and sizes"
    )


def _driver() -> Any:
    try:
        import pycuda.driver  # here: it loads the NVIDIA driver, which most machines have not
    except ImportError as error:
        if getattr(error, "name", None) in ("pycuda", "pycuda.driver"):
            raise ModelError("pycuda is not installed: pip install 'playspot[gpu]'") from None
        raise ModelError(
            f"the NVIDIA driver cannot be loaded ({one_line(error)}); install it, or a newer one"
        ) from None
    return pycuda.driver
