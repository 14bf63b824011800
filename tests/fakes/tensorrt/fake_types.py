"""The enumerations, `Dims`, loggers and host memory of the fake TensorRT."""

import enum
from collections.abc import Iterable, Sequence
from typing import Any, overload

import numpy as np
from pycuda.fake_device import DEVICE


class BuilderFlag(enum.IntEnum):
    DEBUG = 2
    GPU_FALLBACK = 3
    REFIT = 4
    DISABLE_TIMING_CACHE = 5
    TF32 = 6
    SPARSE_WEIGHTS = 7
    SAFETY_SCOPE = 8
    DIRECT_IO = 11
    VERSION_COMPATIBLE = 12
    EXCLUDE_LEAN_RUNTIME = 13
    ERROR_ON_TIMING_CACHE_MISS = 15
    DISABLE_COMPILATION_CACHE = 17
    STRIP_PLAN = 18
    REFIT_IDENTICAL = 19
    WEIGHT_STREAMING = 20
    REFIT_INDIVIDUAL = 22
    STRICT_NANS = 23
    MONITOR_MEMORY = 24
    EDITABLE_TIMING_CACHE = 26
    DISTRIBUTIVE_INDEPENDENCE = 27


class DataType(enum.IntEnum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    BOOL = 4
    UINT8 = 5
    FP8 = 6
    BF16 = 7
    INT64 = 8
    INT4 = 9
    FP4 = 10
    E8M0 = 11


class ErrorCode(enum.IntEnum):
    SUCCESS = 0
    INTERNAL_ERROR = 1
    MEM_ALLOC_FAILED = 2
    MODEL_DESERIALIZE_FAILED = 3
    INVALID_VALUE = 4
    INVALID_GRAPH = 5
    INVALID_NODE = 6
    UNSUPPORTED_GRAPH = 7
    UNSUPPORTED_NODE = 8
    UNSUPPORTED_NODE_ATTR = 9
    UNSUPPORTED_NODE_INPUT = 10
    UNSUPPORTED_NODE_DATATYPE = 11
    UNSUPPORTED_NODE_DYNAMIC = 12
    UNSUPPORTED_NODE_SHAPE = 13
    REFIT_FAILED = 14


class ExecutionContextAllocationStrategy(enum.IntEnum):
    STATIC = 0
    ON_PROFILE_CHANGE = 1
    USER_MANAGED = 2


class HardwareCompatibilityLevel(enum.IntEnum):
    NONE = 0
    AMPERE_PLUS = 1
    SAME_COMPUTE_CAPABILITY = 2


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0
    DLA_MANAGED_SRAM = 1
    DLA_LOCAL_DRAM = 2
    DLA_GLOBAL_DRAM = 3
    TACTIC_DRAM = 4
    TACTIC_SHARED_MEMORY = 5


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 0
    PREFER_JIT_PYTHON_PLUGINS = 1
    PREFER_AOT_PYTHON_PLUGINS = 2


class OnnxParserFlag(enum.IntEnum):
    NATIVE_INSTANCENORM = 0
    ENABLE_UINT8_AND_ASYMMETRIC_QUANTIZATION_DLA = 1
    REPORT_CAPABILITY_DLA = 2
    ENABLE_PLUGIN_OVERRIDE = 3
    ADJUST_FOR_DLA = 4


class PreviewFeature(enum.IntEnum):
    ALIASED_PLUGIN_IO_10_03 = 0
    RUNTIME_ACTIVATION_RESIZE_10_10 = 1


class ProfilingVerbosity(enum.IntEnum):
    LAYER_NAMES_ONLY = 0
    NONE = 1
    DETAILED = 2


class TensorIOMode(enum.IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class TensorLocation(enum.IntEnum):
    DEVICE = 0
    HOST = 1


float32 = DataType.FLOAT
float16 = DataType.HALF
bfloat16 = DataType.BF16
int8 = DataType.INT8
int32 = DataType.INT32
int64 = DataType.INT64
uint8 = DataType.UINT8
bool = DataType.BOOL

_NUMPY: dict[DataType, Any] = {
    float32: np.float32,
    float16: np.float16,
    int8: np.int8,
    int32: np.int32,
    int64: np.int64,
    bool: np.bool_,
    uint8: np.uint8,
}
# ONNX's numbers of the types.
FROM_ONNX = {1: float32, 2: uint8, 3: int8, 6: int32, 7: int64, 9: bool, 10: float16, 16: bfloat16}


def nptype(trt_type: DataType) -> Any:
    if trt_type in _NUMPY:
        return _NUMPY[trt_type]
    raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")


def volume(iterable: Iterable[int]) -> int:
    found = 1
    for element in iterable:
        found *= element
    return found


def init_libnvinfer_plugins(logger: Any, namespace: str) -> Any:
    return True


def get_nv_onnx_parser_version() -> int:
    return 110400


class Dims:
    """Like a tuple, and none; the real one too compares with tuples and lists only."""

    MAX_DIMS = 8

    def __init__(self, shape: Sequence[int] = ()) -> None:
        self._shape = tuple(int(n) for n in shape)

    def __len__(self) -> int:
        return len(self._shape)

    @overload
    def __getitem__(self, arg0: int) -> int: ...

    @overload
    def __getitem__(self, arg0: slice) -> tuple[int, ...]: ...

    def __getitem__(self, arg0: Any) -> Any:
        return self._shape[arg0]

    def __eq__(self, other: object) -> Any:
        if not isinstance(other, tuple | list):
            raise TypeError("__eq__(): incompatible function arguments")
        return self._shape == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._shape)


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    INTERNAL_ERROR = Severity.INTERNAL_ERROR
    ERROR = Severity.ERROR
    WARNING = Severity.WARNING
    INFO = Severity.INFO
    VERBOSE = Severity.VERBOSE

    def __init__(self) -> None:
        self._is_made = True

    def log(self, severity: Severity, msg: str) -> None:
        raise NotImplementedError("log is pure virtual")


class Logger(ILogger):
    def __init__(self, min_severity: ILogger.Severity = ILogger.Severity.WARNING) -> None:
        super().__init__()
        self.min_severity = min_severity

    def log(self, severity: ILogger.Severity, msg: str) -> None:
        if severity <= self.min_severity:
            print(f"[TRT] [{severity.name[0]}] {msg}")


def need_logger(logger: Any) -> None:
    if not isinstance(logger, ILogger) or not getattr(logger, "_is_made", False):
        raise TypeError("__init__() must be called when overriding ILogger")
    known = DEVICE.logger
    if known is not None and known is not logger:
        DEVICE.misuse("a second logger: TensorRT has one in a process")
    DEVICE.logger = logger


def has_gpu(logger: ILogger) -> None:
    """Fail as the real one does without a GPU: a line in the log, then no object."""
    need_logger(logger)
    if DEVICE.fault in ("no-driver", "no-gpu", "old-driver"):
        code = 35 if DEVICE.fault == "old-driver" else 100
        logger.log(ILogger.Severity.ERROR, f"CUDA initialization failure with error: {code}")
        raise TypeError("pybind11::init(): factory function returned nullptr")


class IHostMemory:
    """A buffer; as bytes with `bytes(memory)`."""

    def __init__(self) -> None:
        raise TypeError("tensorrt.IHostMemory: No constructor defined!")

    @classmethod
    def _of(cls, content: bytes) -> "IHostMemory":
        made: IHostMemory = _HostMemory(content)
        return made

    @property
    def dtype(self) -> DataType:
        return DataType.INT8

    @property
    def nbytes(self) -> int:
        return memoryview(self).nbytes  # type: ignore[arg-type]


class _HostMemory(bytearray, IHostMemory):
    """With the buffer protocol, which a class of Python has from 3.12 on only."""

    __init__ = bytearray.__init__
