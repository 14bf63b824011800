"""Builder, network, parser, configuration and profiles of the fake TensorRT."""

import json
from collections.abc import Sequence
from typing import Any

import onnx
from pycuda.fake_device import DEVICE

from .fake_plan import version, write_plan
from .fake_rules import asymmetric, reads_bytes
from .fake_types import (
    FROM_ONNX,
    BuilderFlag,
    DataType,
    Dims,
    ErrorCode,
    HardwareCompatibilityLevel,
    IHostMemory,
    ILogger,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    OnnxParserFlag,
    PreviewFeature,
    ProfilingVerbosity,
    has_gpu,
    need_logger,
)

PHASES = ("Building", "Timing")


class ITensor:
    name: str
    dtype: DataType
    shape: Dims

    def __init__(self) -> None:
        raise TypeError("tensorrt.ITensor: No constructor defined!")

    @classmethod
    def _of(cls, value: Any) -> "ITensor":
        made = cls.__new__(cls)
        kind = value.type.tensor_type
        made.name = value.name
        made.dtype = FROM_ONNX[kind.elem_type]
        sizes = [d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim]
        made.shape = Dims(sizes)
        return made


class INetworkDefinition:
    name = "Unnamed Network 0"

    def __init__(self) -> None:
        raise TypeError("tensorrt.INetworkDefinition: No constructor defined!")

    @classmethod
    def _new(cls) -> "INetworkDefinition":
        made = cls.__new__(cls)
        made._model = None
        return made

    _model: Any

    def _values(self, which: str) -> list[Any]:
        return [] if self._model is None else list(getattr(self._model.graph, which))

    @property
    def num_inputs(self) -> int:
        return len(self._values("input"))

    @property
    def num_outputs(self) -> int:
        return len(self._values("output"))

    @property
    def num_layers(self) -> int:
        return len(self._values("node"))

    def get_input(self, index: int) -> ITensor:
        return ITensor._of(self._values("input")[index])

    def get_output(self, index: int) -> ITensor:
        return ITensor._of(self._values("output")[index])

    def __len__(self) -> int:
        return self.num_layers


class ParserError:
    def __init__(self) -> None:
        raise TypeError("tensorrt.ParserError: No constructor defined!")

    @classmethod
    def _of(cls, text: str) -> "ParserError":
        made = cls.__new__(cls)
        made._text = text
        return made

    _text: str

    def code(self) -> ErrorCode:
        return ErrorCode.MODEL_DESERIALIZE_FAILED

    def desc(self) -> str:
        return self._text

    def node(self) -> int:
        return -1

    def node_name(self) -> str:
        return ""

    def node_operator(self) -> str:
        return ""

    def file(self) -> str:
        return "ModelImporter.cpp"

    def func(self) -> str:
        return "parse"

    def line(self) -> int:
        return 1


class OnnxParser:
    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        need_logger(logger)
        self._network, self._logger = network, logger
        self._errors: list[ParserError] = []

    def parse(self, model: Any, path: str | None = None) -> bool:
        try:
            proto = onnx.load_model_from_string(bytes(model))
            onnx.checker.check_model(proto)
        except Exception as error:
            self._errors.append(ParserError._of(f"Failed to parse the ONNX model: {error}"))
            self._logger.log(ILogger.Severity.ERROR, self._errors[-1].desc())
            return False
        if (node := asymmetric(proto.graph)) is not None:
            self._errors.append(ParserError._of(f"{node}: zero_point must be zero and int8"))
            self._logger.log(ILogger.Severity.ERROR, self._errors[-1].desc())
            return False
        self._network._model = proto
        return True

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def clear_errors(self) -> None:
        self._errors.clear()

    def set_flag(self, flag: OnnxParserFlag) -> None:
        OnnxParserFlag(flag)

    def get_flag(self, flag: OnnxParserFlag) -> bool:
        return False

    def clear_flag(self, flag: OnnxParserFlag) -> None:
        OnnxParserFlag(flag)


class IOptimizationProfile:
    def __init__(self) -> None:
        raise TypeError("tensorrt.IOptimizationProfile: No constructor defined!")

    @classmethod
    def _new(cls) -> "IOptimizationProfile":
        made = cls.__new__(cls)
        made._shapes = {}
        return made

    _shapes: dict[str, list[tuple[int, ...]]]

    # The names of the arguments are those of the real one.
    def set_shape(
        self,
        input: str,
        min: Dims | Sequence[int],
        opt: Dims | Sequence[int],
        max: Dims | Sequence[int],
    ) -> None:
        shapes = [tuple(int(n) for n in shape[:]) for shape in (min, opt, max)]
        if len({len(shape) for shape in shapes}) != 1:
            raise ValueError("The number of dimensions differs")
        if any(not 0 < a <= b <= c for a, b, c in zip(*shapes, strict=True)):
            raise ValueError(f"Shape provided for min is inconsistent with opt or max: {shapes}")
        self._shapes[input] = shapes

    def get_shape(self, input: str) -> list[Dims]:
        return [Dims(shape) for shape in self._shapes.get(input, [])]


class ITimingCache:
    def __init__(self) -> None:
        raise TypeError("tensorrt.ITimingCache: No constructor defined!")

    @classmethod
    def _of(cls, content: bytes) -> "ITimingCache":
        made = cls.__new__(cls)
        made._entries = set(json.loads(content)["entries"]) if content else set()
        return made

    _entries: set[str]

    def serialize(self) -> IHostMemory:
        content = {"version": version(), "entries": sorted(self._entries)}
        return IHostMemory._of(json.dumps(content).encode())

    def combine(self, input_cache: "ITimingCache", ignore_mismatch: bool) -> bool:
        self._entries |= input_cache._entries
        return True

    def reset(self) -> bool:
        self._entries.clear()
        return True


class IProgressMonitor:
    def __init__(self) -> None:
        self._is_made = True

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        raise NotImplementedError("phase_start is pure virtual")

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise NotImplementedError("step_complete is pure virtual")

    def phase_finish(self, phase_name: str) -> None:
        raise NotImplementedError("phase_finish is pure virtual")


class IBuilderConfig:
    progress_monitor: IProgressMonitor | None
    builder_optimization_level: int
    profiling_verbosity: ProfilingVerbosity
    hardware_compatibility_level: HardwareCompatibilityLevel
    max_aux_streams: int
    avg_timing_iterations: int
    flags: int

    def __init__(self) -> None:
        raise TypeError("tensorrt.IBuilderConfig: No constructor defined!")

    @classmethod
    def _new(cls) -> "IBuilderConfig":
        made = cls.__new__(cls)
        made.progress_monitor = None
        made.builder_optimization_level = 3
        made.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
        made.hardware_compatibility_level = HardwareCompatibilityLevel.NONE
        made.max_aux_streams = -1  # what TensorRT holds best
        made.avg_timing_iterations = 1
        made.flags = 1 << BuilderFlag.TF32
        made._profiles, made._limits, made._cache = [], {}, None
        return made

    _profiles: list[IOptimizationProfile]
    _limits: dict[MemoryPoolType, int]
    _cache: ITimingCache | None

    @property
    def num_optimization_profiles(self) -> int:
        return len(self._profiles)

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def set_flag(self, flag: BuilderFlag) -> None:
        self.flags |= 1 << BuilderFlag(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags &= ~(1 << BuilderFlag(flag))

    def get_flag(self, flag: BuilderFlag) -> bool:
        return self.flags & 1 << BuilderFlag(flag) != 0

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self._limits[MemoryPoolType(pool)] = pool_size

    def get_memory_pool_limit(self, pool: MemoryPoolType) -> int:
        return self._limits.get(pool, 16 << 30)

    def set_preview_feature(self, feature: PreviewFeature, enable: bool) -> None:
        PreviewFeature(feature)

    def create_timing_cache(self, serialized_timing_cache: Any) -> ITimingCache:
        content = bytes(serialized_timing_cache)
        try:
            return ITimingCache._of(content)
        except (ValueError, KeyError, TypeError):
            return ITimingCache._of(b"")  # the real one says so in its log, and begins anew

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache:
        return self._cache  # type: ignore[return-value]


class Builder:
    def __init__(self, logger: ILogger) -> None:
        has_gpu(logger)
        self._logger = logger

    @property
    def logger(self) -> ILogger:
        return self._logger

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        if not flags & 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED:
            DEVICE.misuse("a network whose types release 10 would choose by itself")
        return INetworkDefinition._new()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig._new()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile._new()

    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> IHostMemory:
        fault = self._fault(network, config)
        if fault is None and not _report(config.progress_monitor):
            fault = "the build was cancelled by the progress monitor"
        if fault is not None:
            self._logger.log(ILogger.Severity.ERROR, f"Error Code 4: API Usage Error ({fault})")
            return None  # type: ignore[return-value]
        profile = config._profiles[0]._shapes if config._profiles else {}
        if config._cache is not None:
            config._cache._entries |= {node.op_type for node in network._values("node")}
        return IHostMemory._of(make_plan(network._model.SerializeToString(), profile))

    def _fault(self, network: INetworkDefinition, config: IBuilderConfig) -> str | None:
        if network._model is None:
            return "Network must have at least one output"
        if DEVICE.fault == "build":
            return "Could not find any implementation for node conv1"
        if config.max_aux_streams != 0:
            DEVICE.misuse("a plan that may use more streams than it is given")
        if (user := reads_bytes(network._model.graph)) is not None:
            return f"{user}: input has type UInt8, which only a cast to float or half takes"
        for number in range(network.num_inputs):
            tensor = network.get_input(number)
            if -1 not in tensor.shape[:]:
                continue
            if not config._profiles:
                return "Network has dynamic inputs, but no optimization profile has been defined"
            shapes = config._profiles[0]._shapes.get(tensor.name)
            if shapes is None:
                return f"Input {tensor.name} has no shape in profile 0"
            for shape in shapes:
                pairs = zip(shape, tensor.shape[:], strict=True)
                if any(fixed not in (-1, size) for size, fixed in pairs):
                    return f"Input {tensor.name}: profile {shape} does not fit {tensor.shape}"
        return None


def _report(monitor: IProgressMonitor | None) -> bool:
    """Tell a monitor of all phases; return whether it wants to go on."""
    if monitor is None:
        return True
    if not getattr(monitor, "_is_made", False):
        raise TypeError("__init__() must be called when overriding IProgressMonitor")
    steps = 4
    goes_on = True
    monitor.phase_start("Building Engine", None, len(PHASES))
    for number, phase in enumerate(PHASES):
        monitor.phase_start(phase, "Building Engine", steps)
        for step in range(steps):
            goes_on = goes_on and monitor.step_complete(phase, step)
        monitor.phase_finish(phase)
        goes_on = goes_on and monitor.step_complete("Building Engine", number)
    monitor.phase_finish("Building Engine")
    return goes_on


def make_plan(model: bytes, profile: dict[str, Any]) -> bytes:
    """Return the plan of an ONNX file for shapes by name of input: (smallest, best, largest)."""
    network = INetworkDefinition._new()
    network._model = onnx.load_model_from_string(model)
    tensors = {
        which: [
            [tensor.name, int(tensor.dtype), list(tensor.shape[:])]
            for tensor in map(ITensor._of, network._values(which))
        ]
        for which in ("input", "output")
    }
    return write_plan(model, profile, tensors)
