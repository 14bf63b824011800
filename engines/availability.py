"""What there is on this machine to run networks with, and, where something is not, why.

Nothing here raises, makes a CUDA context or loads more than the library that it asks about; each
is asked once in a process.
"""

import ctypes
import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util
from types import ModuleType

from .machine import gpu, tensorrt_version
from .metadata import one_line
from .options import Backend
from .ov import load_openvino

BACKENDS: tuple[Backend, ...] = ("onnx", "cuda", "openvino", "tensorrt")
BOTH = ("onnxruntime", "onnxruntime-gpu")  # distributions that hold the same files
TENSORRT = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12")
OLDEST_TENSORRT = (10, 13)
REPAIR = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"


@dataclass(frozen=True)
class Availability:
    """Whether a backend can be used here.

    Attributes
    ----------
    backend : {"onnx", "cuda", "openvino", "tensorrt"}
    is_there : bool
    why : str
        One line: on what it would run, or why it cannot and what to do.
    version : str or None
        Of its library, if that is installed.
    """

    backend: Backend
    is_there: bool
    why: str
    version: str | None = None


def available(device: int = 0) -> list[Availability]:
    """Return, for every backend, whether it can be used here.

    Parameters
    ----------
    device : int
        Number of the GPU.

    Examples
    --------
    >>> [found.backend for found in available()]
    ['onnx', 'cuda', 'openvino', 'tensorrt']
    """
    return [availability(backend, device) for backend in BACKENDS]


@cache
def availability(backend: Backend, device: int = 0) -> Availability:
    """Return whether one backend can be used here; the others are not looked at."""
    try:
        return _ASK[backend](device)
    except Exception as error:  # of drivers and libraries like no other
        return Availability(backend, False, f"it fails when asked ({one_line(error)})")


def conflict() -> str | None:
    """Return what is wrong with the installed ONNX Runtimes, or None.

    Notes
    -----
    `onnxruntime` and `onnxruntime-gpu` write the same files, so the one installed last is the one
    that runs, in part; and removing or updating one breaks the other.
    """
    versions = {name: _version(name) for name in BOTH}
    if None in versions.values():
        return None
    names = " and ".join(f"{name} {version}" for name, version in versions.items())
    return f"{names} overwrite each other: {REPAIR}"


def _onnx(_: int) -> Availability:
    version = _version("onnxruntime") or _version("onnxruntime-gpu")
    if fault := _fault("onnxruntime"):
        how = REPAIR if _version("onnxruntime-gpu") else "pip install --force-reinstall onnxruntime"
        return Availability("onnx", False, f"{fault}: {how}", version)
    return Availability("onnx", True, "on the CPU", version)


def _cuda(device: int) -> Availability:
    version = _version("onnxruntime-gpu") or _version("onnxruntime")
    found = gpu(device)
    if found is None:  # asked first: a process that runs no network does not load the runtime
        return Availability("cuda", False, no_gpu(device), version)
    onnx = availability("onnx", device)
    if not onnx.is_there:
        return Availability("cuda", False, onnx.why, version)
    from .ort import cuda_fault, has_cuda

    if not has_cuda():
        how = conflict() or "pip uninstall -y onnxruntime && pip install onnxruntime-gpu"
        why = f"this ONNX Runtime has no CUDA in it: {how}"
        return Availability("cuda", False, why, version)
    if fault := cuda_fault():
        why = f"ONNX Runtime cannot use {found.name}: {fault}"
        return Availability("cuda", False, why, version)
    return Availability("cuda", True, f"on {found.name}", version)


def _openvino(_: int) -> Availability:
    version = _version("openvino")
    if fault := _fault("openvino", load_openvino):
        return Availability("openvino", False, f"{fault}: pip install openvino", version)
    return Availability("openvino", True, "on the CPU", version)


def _tensorrt(device: int) -> Availability:
    version = next(filter(None, map(_version, TENSORRT)), None)
    found = gpu(device)
    if found is None:  # asked first: without a driver PyCUDA cannot be loaded, which helps nobody
        return Availability("tensorrt", False, no_gpu(device), version)
    for name in ("pycuda.driver", "tensorrt"):
        if fault := _fault(name):
            how = "pip install 'playspot[gpu]', on a Jetson see docs/gpu.md"
            return Availability("tensorrt", False, f"{fault}: {how}", version)
    version = tensorrt_version() or version
    if fault := too_old(version or ""):
        return Availability("tensorrt", False, fault, version)
    return Availability("tensorrt", True, f"on {found.name}", version)


def too_old(version: str) -> str | None:
    """Return what to say of a TensorRT that is too old, or None.

    Examples
    --------
    >>> too_old("10.3.0")
    'TensorRT 10.3.0 is too old: 10.13 or newer is needed; see docs/gpu.md'
    >>> too_old("10.16.2.10")
    """
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if len(numbers) < 2 or numbers >= OLDEST_TENSORRT:
        return None
    oldest = ".".join(map(str, OLDEST_TENSORRT))
    return f"TensorRT {version} is too old: {oldest} or newer is needed; see docs/gpu.md"


def no_gpu(device: int) -> str:
    """Return why the driver gives no GPU of this number."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver (libcuda.so.1)"
    if code := driver.cuInit(0):
        text = ctypes.c_char_p()
        driver.cuGetErrorName(code, ctypes.byref(text))
        name = text.value.decode() if text.value else f"error {code}"
        return f"the NVIDIA driver finds no GPU ({name}; what does nvidia-smi say?)"
    n_devices = ctypes.c_int()
    driver.cuDeviceGetCount(ctypes.byref(n_devices))
    return f"there is no GPU {device}, only {n_devices.value}, counted from 0"


def _fault(name: str, load: Callable[[], ModuleType] | None = None) -> str | None:
    """Return why a module cannot be imported, or None."""
    top = name.partition(".")[0]
    try:
        if util.find_spec(top) is None:
            return f"{top} is not installed"
        with warnings.catch_warnings(action="ignore"):  # what matters is raised, too
            module = load() if load else importlib.import_module(name)
    except Exception as error:  # a broken library may raise anything
        return f"{top} is installed and cannot be loaded ({one_line(error, 120)})"
    # What pip leaves of a package whose files another one had overwritten is an empty folder.
    return None if module.__file__ else f"of {top} parts are missing"


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


_ASK: dict[Backend, Callable[[int], Availability]] = {
    "onnx": _onnx,
    "cuda": _cuda,
    "openvino": _openvino,
    "tensorrt": _tensorrt,
}
