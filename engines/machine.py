"""Which machine this is, as far as a compiled network cares: GPU, TensorRT, processor.

Nothing here creates a CUDA context; a GPU is asked for its name through the driver alone.
"""

import ctypes
import platform
import warnings
from functools import cache
from pathlib import Path
from typing import NamedTuple

from .options import Backend

DRIVER = "libcuda.so.1"
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
_NAME_BYTES = 256


class Gpu(NamedTuple):
    """A GPU.

    Attributes
    ----------
    name : str
        As the driver gives it.
    compute_capability : str
        Such as "9.0".
    """

    name: str
    compute_capability: str


@cache
def gpu(device: int = 0) -> Gpu | None:
    """Return the GPU of a number, or None if there is none or no driver.

    Examples
    --------
    >>> gpu(10_000) is None
    True
    """
    return _by_pycuda(device) or _by_driver(device)


@cache
def tensorrt_version() -> str | None:
    """Return the version of TensorRT, or None if its library cannot be used."""
    try:
        import tensorrt  # here: a large library that most processes never need
    except Exception:  # bindings without the library, or one for another Python
        return None
    return str(tensorrt.__version__)


@cache
def processor() -> str:
    """Return the name of the processor.

    Examples
    --------
    >>> processor() != ""
    True
    """
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n"):
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown"


def cpu_flags(path: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return the features that Linux tells of the processor; elsewhere none.

    Examples
    --------
    >>> cpu_flags(Path("nowhere"))
    frozenset()
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def machine(backend: Backend, device: int = 0) -> str:
    """Return the name of what a network is compiled for: what it says belongs together.

    Parameters
    ----------
    backend : {"onnx", "cuda", "openvino", "tensorrt"}
    device : int
        Number of the GPU.

    Examples
    --------
    >>> machine("onnx") == processor()
    True
    """
    if backend in ("onnx", "openvino"):
        return processor()
    found = gpu(device)
    name = "no GPU" if found is None else f"{found.name} ({found.compute_capability})"
    return name if backend == "cuda" else f"{name}, TensorRT {tensorrt_version() or 'none'}"


def _by_pycuda(device: int) -> Gpu | None:
    try:
        with warnings.catch_warnings(action="ignore"):  # one that does not fit the driver talks
            import pycuda.driver as cuda

        cuda.init()
        found = cuda.Device(device)
        major, minor = found.compute_capability()
        return Gpu(str(found.name()), f"{major}.{minor}")
    except Exception:  # not installed, no driver, no such GPU: pycuda's own errors among them
        return None


def _by_driver(device: int) -> Gpu | None:
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return None
    number, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(_NAME_BYTES)
    is_there = (
        driver.cuInit(0) == 0
        and driver.cuDeviceGet(ctypes.byref(number), device) == 0
        and driver.cuDeviceGetName(name, _NAME_BYTES, number) == 0
        and driver.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, number) == 0
        and driver.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, number) == 0
    )
    if not is_there:
        return None
    return Gpu(name.value.decode(errors="replace"), f"{major.value}.{minor.value}")
