"""A strict fake of TensorRT 11.4: names and arguments as in its real Python bindings.

A fake plan holds the ONNX, and ONNX Runtime computes, so numbers are real. The GPU underneath is
`pycuda.fake_device`. `FAKE_TENSORRT_VERSION` makes it another release, whose plans this one
refuses and the other way round. `test_fakes` compares all of it with the real bindings.
"""

import os

from .fake_build import (
    Builder,
    IBuilderConfig,
    INetworkDefinition,
    IOptimizationProfile,
    IProgressMonitor,
    ITensor,
    ITimingCache,
    OnnxParser,
    ParserError,
)
from .fake_run import ICudaEngine, IExecutionContext, Runtime
from .fake_types import (
    BuilderFlag,
    DataType,
    Dims,
    ErrorCode,
    ExecutionContextAllocationStrategy,
    HardwareCompatibilityLevel,
    IHostMemory,
    ILogger,
    Logger,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    OnnxParserFlag,
    PreviewFeature,
    ProfilingVerbosity,
    TensorIOMode,
    TensorLocation,
    bfloat16,
    bool,
    float16,
    float32,
    get_nv_onnx_parser_version,
    init_libnvinfer_plugins,
    int8,
    int32,
    int64,
    nptype,
    uint8,
    volume,
)

__version__ = os.environ.get("FAKE_TENSORRT_VERSION", "11.4.0.106")

__all__ = [
    "Builder",
    "BuilderFlag",
    "DataType",
    "Dims",
    "ErrorCode",
    "ExecutionContextAllocationStrategy",
    "HardwareCompatibilityLevel",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "IHostMemory",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "IProgressMonitor",
    "ITensor",
    "ITimingCache",
    "Logger",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "OnnxParserFlag",
    "ParserError",
    "PreviewFeature",
    "ProfilingVerbosity",
    "Runtime",
    "TensorIOMode",
    "TensorLocation",
    "bfloat16",
    "bool",
    "float16",
    "float32",
    "get_nv_onnx_parser_version",
    "init_libnvinfer_plugins",
    "int8",
    "int32",
    "int64",
    "nptype",
    "uint8",
    "volume",
]
