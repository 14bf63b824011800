"""CUDA graphs, by the driver itself: pycuda has none.

A graph is work that was captured from a stream instead of being run: here the copies and the
kernels of one network at one shape. Launching it is one call to the driver in place of one for
each kernel, which is most of the time of a small network.

Source: CUDA driver API, sections "Stream Management" and "Graph Management".
"""

import ctypes
from collections.abc import Callable
from typing import Any

# Of CUstreamCaptureMode: only what this thread does can break the capture. With the default,
# another library that allocates memory on its own thread would.
_THREAD_LOCAL = 1


class GraphError(RuntimeError):
    """The driver refuses to capture, or to launch: one line."""


class Graph:
    """Work on a stream, captured once, to be launched as often as wanted.

    What it uses must stay where it is: memory, and the execution context of TensorRT that queued
    it, in the state that it had then.

    Parameters
    ----------
    stream : int
        A stream that is not the default one; its context is current.
    work : callable
        Queues the work. It must neither wait nor allocate.

    Raises
    ------
    GraphError
        If the work cannot be captured. The stream is as it was before, and nothing has run.
    """

    def __init__(self, stream: int, work: Callable[[], None]) -> None:
        self._driver = _Driver()
        self._exec = ctypes.c_void_p()
        self._stream = ctypes.c_void_p(stream)
        graph = ctypes.c_void_p()
        call = self._driver.call
        call("cuStreamBeginCapture_v2", self._stream, ctypes.c_int(_THREAD_LOCAL))
        try:
            work()
        except Exception as error:
            # The end of the capture gives the stream back, whatever was wrong in between.
            self._driver.try_to("cuStreamEndCapture", self._stream, ctypes.byref(graph))
            self._driver.destroy("cuGraphDestroy", graph)
            raise GraphError(f"the work cannot be captured ({error})") from error
        call("cuStreamEndCapture", self._stream, ctypes.byref(graph))
        try:
            no_flags = ctypes.c_ulonglong(0)
            call("cuGraphInstantiateWithFlags", ctypes.byref(self._exec), graph, no_flags)
        finally:
            self._driver.destroy("cuGraphDestroy", graph)  # what is launched does not need it

    def launch(self) -> None:
        """Queue the work on the stream; raises `GraphError` if the driver refuses."""
        self._driver.call("cuGraphLaunch", self._exec, self._stream)

    def close(self) -> None:
        """Release it, with its context current and nothing of it pending; harmless twice."""
        made, self._exec = self._exec, ctypes.c_void_p()
        self._driver.destroy("cuGraphExecDestroy", made)


def pop_context() -> None:
    """Take the current context from this thread, without asking pycuda."""
    _Driver().try_to("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))


class _Driver:
    """libcuda.so.1, of which every function returns 0 or an error."""

    def __init__(self) -> None:
        self._library: Any = ctypes.CDLL("libcuda.so.1")

    def call(self, name: str, *arguments: Any) -> None:
        if code := self.try_to(name, *arguments):
            text = ctypes.c_char_p()
            self.try_to("cuGetErrorString", ctypes.c_int(code), ctypes.byref(text))
            told = text.value.decode() if text.value else "unknown error"
            raise GraphError(f"{name} failed: {told} ({code})")

    def try_to(self, name: str, *arguments: Any) -> int:
        code: int = getattr(self._library, name)(*arguments)
        return code

    def destroy(self, name: str, handle: ctypes.c_void_p) -> None:
        if handle:
            self.try_to(name, handle)  # its code is of what ran before, and was told then
