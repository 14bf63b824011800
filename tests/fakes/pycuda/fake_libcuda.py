"""libcuda.so.1 as `ctypes.CDLL` gives it: CUDA graphs, which pycuda has none of."""

import ctypes
from collections.abc import Callable
from typing import Any

from .fake_device import DEVICE

SUCCESS, NO_DEVICE, INVALID_DEVICE, NOT_SUPPORTED, INVALIDATED = 0, 100, 101, 801, 901
THREAD_LOCAL = 1

Work = list[Callable[[], None]]


def _value(argument: Any) -> int:
    return int(getattr(argument, "value", argument) or 0)


def _set(pointer: Any, value: int) -> None:
    pointer._obj.value = value  # what `ctypes.byref` points to


class LibCuda:
    """Functions that can be given `argtypes` and `restype`, as those of `ctypes` can."""

    def __init__(self) -> None:
        self.graphs: dict[int, Work] = {}
        self.execs: dict[int, Work] = {}
        for name in dir(type(self)):
            if name.startswith("cu"):
                setattr(self, name, _Function(getattr(self, name)))

    def cuStreamBeginCapture_v2(self, stream: Any, mode: Any) -> int:  # noqa: N802
        DEVICE.need_context("cuStreamBeginCapture")
        if _value(mode) != THREAD_LOCAL:
            DEVICE.misuse("a capture that breaks when another thread allocates memory")
        if DEVICE.fault == "no-capture":
            return NOT_SUPPORTED
        found = DEVICE.stream_of(_value(stream), "cuStreamBeginCapture")
        found.captured, found.capture_broke = [], False
        return SUCCESS

    def cuStreamEndCapture(self, stream: Any, graph: Any) -> int:  # noqa: N802
        DEVICE.need_context("cuStreamEndCapture")
        found = DEVICE.stream_of(_value(stream), "cuStreamEndCapture")
        if found.captured is None:
            DEVICE.misuse("the end of a capture that was not begun")
        work, found.captured = found.captured, None
        if found.capture_broke:
            _set(graph, 0)
            return INVALIDATED
        handle = DEVICE.new_handle()
        self.graphs[handle] = work
        DEVICE.alive[handle] = "a graph"
        DEVICE.n_captures += 1
        _set(graph, handle)
        return SUCCESS

    def cuGraphInstantiateWithFlags(self, made: Any, graph: Any, flags: Any) -> int:  # noqa: N802
        DEVICE.need_context("cuGraphInstantiate")
        if _value(graph) not in self.graphs:
            DEVICE.misuse("a graph is instantiated after it was destroyed")
        handle = DEVICE.new_handle()
        self.execs[handle] = list(self.graphs[_value(graph)])
        DEVICE.alive[handle] = "an executable graph"
        _set(made, handle)
        return SUCCESS

    def cuGraphLaunch(self, made: Any, stream: Any) -> int:  # noqa: N802
        DEVICE.need_context("cuGraphLaunch")
        if _value(made) not in self.execs:
            DEVICE.misuse("an executable graph is launched after it was destroyed")
        found = DEVICE.stream_of(_value(stream), "cuGraphLaunch")
        for work in self.execs[_value(made)]:
            found.add(work)
        DEVICE.n_graph_launches += 1
        return SUCCESS

    def cuGraphDestroy(self, graph: Any) -> int:  # noqa: N802
        return self._destroy(self.graphs, _value(graph), "graph")

    def cuGraphExecDestroy(self, made: Any) -> int:  # noqa: N802
        DEVICE.no_pending("an executable graph is destroyed")
        return self._destroy(self.execs, _value(made), "executable graph")

    def cuCtxPopCurrent_v2(self, context: Any) -> int:  # noqa: N802
        if not DEVICE.stack():
            return 201
        DEVICE.stack().pop()
        return SUCCESS

    def cuInit(self, flags: Any) -> int:  # noqa: N802
        return NO_DEVICE if DEVICE.fault == "no-gpu" else SUCCESS

    def cuDeviceGet(self, device: Any, number: int) -> int:  # noqa: N802
        if number > 0:
            return INVALID_DEVICE
        _set(device, 0)
        return SUCCESS

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        _set(count, 1)
        return SUCCESS

    def cuGetErrorName(self, code: Any, text: Any) -> int:  # noqa: N802
        text._obj.value = b"CUDA_ERROR_NO_DEVICE"
        return SUCCESS

    def cuGetErrorString(self, code: Any, text: Any) -> int:  # noqa: N802
        words = {NOT_SUPPORTED: b"operation not supported", INVALIDATED: b"capture invalidated"}
        text._obj.value = words.get(_value(code), b"unknown error")
        return SUCCESS

    def _destroy(self, table: dict[int, Work], handle: int, what: str) -> int:
        DEVICE.need_context(f"destroying a {what}")
        if handle not in table:
            DEVICE.misuse(f"a {what} is destroyed twice")
        del table[handle]
        del DEVICE.alive[handle]
        return SUCCESS


class _Function:
    argtypes: Any = None
    restype: Any = ctypes.c_int

    def __init__(self, call: Callable[..., int]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> int:
        return self._call(*arguments)


_real = ctypes.CDLL


def install() -> None:
    """Give the fake whenever a program loads libcuda.so.1."""
    library = LibCuda()

    def load(name: str | None, *arguments: Any, **options: Any) -> Any:
        return library if name == "libcuda.so.1" else _real(name, *arguments, **options)

    ctypes.CDLL = load  # type: ignore[misc,assignment]


def uninstall() -> None:
    """Give the real one again."""
    ctypes.CDLL = _real  # type: ignore[misc]
