"""The part of `pycuda.driver` that this project uses, with its names and arguments."""

import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from . import fake_libcuda
from .fake_device import DEVICE, GARBAGE, Block

if DEVICE.fault == "no-driver":
    raise ImportError("libcuda.so.1: cannot open shared object file: No such file or directory")

fake_libcuda.install()


class Error(Exception):
    """What all errors of CUDA have in common."""


class LogicError(Error):
    """A wrong call."""


class RuntimeError(Error):
    """No device, not ready, and such."""


class MemoryError(Error):
    """Out of device memory."""


class LaunchError(Error):
    """A kernel failed."""


def init(flags: int = 0) -> None:
    if DEVICE.fault == "no-gpu":
        raise RuntimeError("cuInit failed: no CUDA-capable device is detected")
    DEVICE.is_initialised = True


def get_version() -> tuple[int, int, int]:
    return (13, 0, 0)


def get_driver_version() -> int:
    return 12020 if DEVICE.fault == "old-driver" else 13000


def _need_init(call: str) -> None:
    if not DEVICE.is_initialised:
        raise LogicError(f"{call} failed: initialization error")


class Device:
    def __init__(self, number: int) -> None:
        _need_init("cuDeviceGet")
        if number != 0:
            raise LogicError("cuDeviceGet failed: invalid device ordinal")

    @staticmethod
    def count() -> int:
        _need_init("cuDeviceGetCount")
        return 1

    def name(self) -> str:
        return "Fake GPU"

    def compute_capability(self) -> tuple[int, int]:
        return (9, 0)

    def total_memory(self) -> int:
        return 16 << 30

    def retain_primary_context(self) -> "Context":
        DEVICE.primary.retained += 1
        return Context()


class Context:
    """One retain of the primary context; made by `Device.retain_primary_context`."""

    def __init__(self) -> None:
        self._is_valid = True
        self._thread = threading.get_ident()

    @property
    def handle(self) -> int:
        return 0xC0DE

    def push(self) -> None:
        if not self._is_valid:
            DEVICE.misuse("a context is pushed after it was detached")
        if os.getpid() != DEVICE.pid:
            DEVICE.misuse("a context is pushed in a process that was forked off later")
        if DEVICE.is_lost:
            raise LaunchError("cuCtxPushCurrent failed: an illegal memory access was encountered")
        if DEVICE.pycuda_stack():  # pycuda leaves only its topmost one to the driver
            DEVICE.stack().pop()
        DEVICE.stack().append(self)
        DEVICE.pycuda_stack().append(self)

    @staticmethod
    def pop() -> None:
        if not DEVICE.pycuda_stack():
            raise LogicError("context::pop failed: invalid device context - cannot pop")
        DEVICE.stack().pop()
        DEVICE.pycuda_stack().pop()
        if DEVICE.pycuda_stack():
            DEVICE.stack().append(DEVICE.pycuda_stack()[-1])

    @staticmethod
    def synchronize() -> None:
        DEVICE.need_context("cuCtxSynchronize")
        for stream in DEVICE.streams.values():
            stream.drain()

    def detach(self) -> None:
        """Do what pycuda 2026.1 does, which leaves a primary context current for the driver."""
        if not self._is_valid:
            raise LogicError("context::detach failed: invalid device context")
        is_active = bool(DEVICE.pycuda_stack()) and DEVICE.pycuda_stack()[-1] is self
        if not is_active:
            if threading.get_ident() != self._thread:
                DEVICE.misuse("a context is detached on another thread: it stays for ever")
            DEVICE.stack().append(self)
        self._is_valid = False
        DEVICE.primary.retained -= 1
        if DEVICE.primary.retained == 0 and (DEVICE.blocks or DEVICE.streams or DEVICE.pinned):
            DEVICE.misuse("the context is released before what lives in it")
        if is_active:
            stack = DEVICE.pycuda_stack()
            while stack and not stack[-1]._is_valid:
                stack.pop()
            if stack:
                DEVICE.stack().append(stack[-1])


class Stream:
    def __init__(self, flags: int = 0) -> None:
        self._stream = DEVICE.new_stream()

    @property
    def handle(self) -> int:
        return self._stream.handle

    @property
    def synchronize(self) -> Callable[[], None]:
        # No method: its frame, in the traceback of an error, would keep the stream alive.
        wait: Callable[[], None] = self._stream.synchronize
        return wait

    def is_done(self) -> bool:
        return not self._stream.queue

    def __del__(self) -> None:
        if not self._stream.is_destroyed and self._stream.handle in DEVICE.streams:
            DEVICE.destroy_stream(self._stream)


class event_flags:  # noqa: N801 - the name that pycuda gives it
    DEFAULT = 0
    BLOCKING_SYNC = 1
    DISABLE_TIMING = 2


class Event:
    def __init__(self, flags: int = 0) -> None:
        DEVICE.need_context("cuEventCreate")
        self._stream: Any = None
        self._handle = DEVICE.new_handle()
        DEVICE.alive[self._handle] = "an event"

    def record(self, stream: Stream | None = None) -> "Event":
        self._stream = _stream(stream, "cuEventRecord")
        return self

    @property
    def synchronize(self) -> Callable[[], None]:
        if self._stream is None:
            DEVICE.misuse("an event is waited for that was never recorded")
        wait: Callable[[], None] = self._stream.synchronize  # see `Stream.synchronize`
        return wait

    def __del__(self) -> None:
        if DEVICE.alive.pop(self._handle, None) is not None:
            DEVICE.need_context("cuEventDestroy")


class DeviceAllocation:
    def __init__(self, block: Block) -> None:
        self._block = block

    def __int__(self) -> int:
        if self._block.is_freed:
            DEVICE.misuse("the address of freed device memory is used")
        return self._block.address

    __index__ = __int__

    def free(self) -> None:
        DEVICE.free(self._block)

    def __del__(self) -> None:
        if not self._block.is_freed and self._block.address in DEVICE.blocks:
            DEVICE.free(self._block)


def mem_alloc(bytes: int) -> DeviceAllocation:
    return DeviceAllocation(DEVICE.allocate(bytes))


def mem_get_info() -> tuple[int, int]:
    DEVICE.need_context("cuMemGetInfo")
    used = sum(block.data.size for block in DEVICE.blocks.values())
    return ((16 << 30) - used, 16 << 30)


class PagelockedHostAllocation:
    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        DEVICE.count_allocation("cuMemHostAlloc")
        n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self._memory = np.full(max(n_bytes, 1), GARBAGE, np.uint8)
        array = self._memory[:n_bytes].view(dtype).reshape(shape)
        self.__array_interface__ = array.__array_interface__
        self._address: int = array.__array_interface__["data"][0]
        DEVICE.pinned[self._address] = (n_bytes, self._memory)

    def free(self) -> None:
        DEVICE.need_context("cuMemFreeHost")
        if self._address not in DEVICE.pinned:
            raise LogicError("pagelocked_host_allocation::free failed: invalid resource handle")
        DEVICE.no_pending("page-locked memory is freed")
        del DEVICE.pinned[self._address]
        self._memory[:] = GARBAGE

    def __del__(self) -> None:
        if getattr(self, "_address", None) in DEVICE.pinned:
            self.free()


def pagelocked_empty(shape: Any, dtype: Any, order: str = "C", mem_flags: int = 0) -> Any:
    if order != "C" or mem_flags != 0:
        raise NotImplementedError("the fake knows C order and no flags")
    # Its base is the allocation, as that of the real one.
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    return np.asarray(PagelockedHostAllocation(shape, dtype))


def _contiguous(array: Any, call: str) -> Any:
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        raise ValueError(f"{call}: ndarray is not contiguous")
    return array.reshape(-1).view(np.uint8)


def _stream(stream: Stream | None, call: str) -> Any:
    DEVICE.need_context(call)
    if stream is None:
        DEVICE.misuse(f"{call} on the default stream, which waits for all the others")
    return stream._stream


def memcpy_htod_async(dest: Any, src: Any, stream: Stream | None = None) -> None:
    to = _stream(stream, "memcpy_htod_async")
    array, address = _contiguous(src, "memcpy_htod_async"), int(dest)
    DEVICE.need_pinned(array, "memcpy_htod_async")
    DEVICE.memory(address, array.nbytes, "memcpy_htod_async")

    def copy() -> None:
        DEVICE.need_pinned(array, "memcpy_htod_async")
        DEVICE.memory(address, array.nbytes, "memcpy_htod_async")[:] = array

    to.add(copy)


def memcpy_dtoh_async(dest: Any, src: Any, stream: Stream | None = None) -> None:
    to = _stream(stream, "memcpy_dtoh_async")
    array, address = _contiguous(dest, "memcpy_dtoh_async"), int(src)
    DEVICE.need_pinned(array, "memcpy_dtoh_async")
    DEVICE.memory(address, array.nbytes, "memcpy_dtoh_async")

    def copy() -> None:
        DEVICE.need_pinned(array, "memcpy_dtoh_async")
        array[:] = DEVICE.memory(address, array.nbytes, "memcpy_dtoh_async")

    to.add(copy)
