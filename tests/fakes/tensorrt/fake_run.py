"""Runtime, engine and execution context of the fake TensorRT."""

import math
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
from pycuda.fake_device import ALIGNMENT, DEVICE, FakeStream

from .fake_plan import read_plan
from .fake_types import (
    DataType,
    Dims,
    ExecutionContextAllocationStrategy,
    IHostMemory,
    ILogger,
    TensorIOMode,
    TensorLocation,
    has_gpu,
    nptype,
)

ACTIVATIONS = 4096  # bytes that every engine says it needs

Shape = tuple[int, ...]


def _alive(made: Any, what: str) -> None:
    DEVICE.alive[id(made)] = what


def _gone(made: Any, what: str) -> None:
    if DEVICE.alive.pop(id(made), None) is not None and not DEVICE.is_lost:
        DEVICE.need_context(f"releasing {what}")
        DEVICE.no_pending(f"{what} is released")


def _inside(made: Any) -> Any:
    """Return what others keep of an object: all that is in it, but not the object itself.

    So a program that lets go of a runtime or an engine too early is found out.
    """
    kind = type(f"_{type(made).__name__}", (type(made),), {"__del__": lambda self: None})
    kept: Any = object.__new__(kind)
    kept.__dict__ = made.__dict__
    return kept


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        has_gpu(logger)
        DEVICE.need_context("Runtime")  # else TensorRT would start a context on device 0
        self._logger = logger
        self._engines = 0
        _alive(self, "a TensorRT runtime")

    def __del__(self) -> None:
        if getattr(self, "_engines", 0):
            DEVICE.faults.append("a runtime is released before its engines")
        _gone(self, "a TensorRT runtime")

    @property
    def logger(self) -> ILogger:
        return self._logger

    def deserialize_cuda_engine(self, serialized_engine: Any) -> "ICudaEngine":
        DEVICE.need_context("deserialize_cuda_engine")
        try:
            head, content = read_plan(bytes(serialized_engine))
            DEVICE.count_allocation("cudaMalloc")
        except Exception as error:
            if isinstance(error, AssertionError):
                raise
            self._logger.log(ILogger.Severity.ERROR, f"IRuntime::deserializeCudaEngine: {error}")
            return None  # type: ignore[return-value]
        return ICudaEngine._of(self, head, content)


class ICudaEngine:
    def __init__(self) -> None:
        raise TypeError("tensorrt.ICudaEngine: No constructor defined!")

    _runtime: Runtime
    _contexts: int
    _run: Callable[[dict[str, Any]], dict[str, Any]]

    @classmethod
    def _of(cls, runtime: Runtime, head: dict[str, Any], content: bytes) -> "ICudaEngine":
        made = cls.__new__(cls)
        runtime._engines += 1
        made._runtime, made._contexts = _inside(runtime), 0
        made._inputs = {name: (DataType(kind), shape) for name, kind, shape in head["input"]}
        made._outputs = {name: (DataType(kind), shape) for name, kind, shape in head["output"]}
        made._profile = {
            name: [tuple(s) for s in shapes] for name, shapes in head["profile"].items()
        }
        made._model = content
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(content, options)
        names = list(made._outputs)
        made._run = lambda feeds: dict(zip(names, session.run(names, feeds), strict=True))
        made._known = {}
        _alive(made, "a TensorRT engine")
        return made

    _inputs: dict[str, tuple[DataType, list[int]]]
    _outputs: dict[str, tuple[DataType, list[int]]]
    _profile: dict[str, list[Shape]]
    _model: bytes
    _known: dict[Any, dict[str, Shape]]

    def __del__(self) -> None:
        if getattr(self, "_contexts", 0):
            DEVICE.faults.append("an engine is released before its execution contexts")
        _gone(self, "a TensorRT engine")
        if hasattr(self, "_runtime"):
            self._runtime._engines -= 1

    @property
    def name(self) -> str:
        return "Unnamed Network 0"

    @property
    def num_io_tensors(self) -> int:
        return len(self._inputs) + len(self._outputs)

    @property
    def num_layers(self) -> int:
        return len(onnx.load_model_from_string(self._model).graph.node)

    @property
    def num_optimization_profiles(self) -> int:
        return 1

    @property
    def device_memory_size_v2(self) -> int:
        return ACTIVATIONS

    def get_tensor_name(self, index: int) -> str:
        return [*self._inputs, *self._outputs][index]

    def _tensor(self, name: str) -> tuple[DataType, list[int]]:
        found = self._inputs.get(name) or self._outputs.get(name)
        if found is None:
            raise DEVICE.misuse(f"the engine has no tensor {name!r}")
        return found

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        self._tensor(name)
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return self._tensor(name)[0]

    def get_tensor_shape(self, name: str) -> Dims:
        return Dims(self._tensor(name)[1])

    def get_tensor_location(self, name: str) -> TensorLocation:
        self._tensor(name)
        return TensorLocation.DEVICE

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Dims]:
        if name not in self._inputs or profile_index != 0:
            DEVICE.misuse(f"{name!r} is no input of profile {profile_index}")
        fixed = tuple(self._inputs[name][1])
        return [Dims(shape) for shape in self._profile.get(name, [fixed] * 3)]

    def serialize(self) -> IHostMemory:
        raise NotImplementedError("the fake keeps no plan")

    def create_execution_context(
        self,
        strategy: ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy.STATIC,
    ) -> "IExecutionContext":
        DEVICE.need_context("create_execution_context")
        try:
            DEVICE.count_allocation("cudaMalloc")
        except Exception as error:
            self._runtime._logger.log(ILogger.Severity.ERROR, f"createExecutionContext: {error}")
            return None  # type: ignore[return-value]
        return IExecutionContext._of(self, strategy)

    def _shapes(self, inputs: dict[str, Shape]) -> dict[str, Shape]:
        """Return the shapes of the outputs for those of the inputs; computed if need be."""
        key = tuple(sorted(inputs.items()))
        if key not in self._known:
            self._known[key] = _inferred(self._model, inputs)
        if len(self._known[key]) != len(self._outputs):
            feeds = {
                name: np.zeros(shape, nptype(self._inputs[name][0]))
                for name, shape in inputs.items()
            }
            self._known[key] = {name: array.shape for name, array in self._run(feeds).items()}
        return self._known[key]


def _inferred(model: bytes, inputs: dict[str, Shape]) -> dict[str, Shape]:
    """Return the shapes of those outputs that ONNX can tell without computing them."""
    proto = onnx.load_model_from_string(model)
    for value in proto.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, inputs[value.name], strict=True):
            dim.dim_value = size
    for value in proto.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()
    del proto.graph.value_info[:]
    found = {}
    for value in onnx.shape_inference.infer_shapes(proto, data_prop=True).graph.output:
        dims = value.type.tensor_type.shape.dim
        if all(dim.HasField("dim_value") for dim in dims):
            found[value.name] = tuple(dim.dim_value for dim in dims)
    return found


class IExecutionContext:
    def __init__(self) -> None:
        raise TypeError("tensorrt.IExecutionContext: No constructor defined!")

    _engine: ICudaEngine

    @classmethod
    def _of(
        cls, engine: ICudaEngine, strategy: ExecutionContextAllocationStrategy
    ) -> "IExecutionContext":
        made = cls.__new__(cls)
        engine._contexts += 1
        made._engine = _inside(engine)
        made._shapes, made._addresses = {}, {}
        made._memory = 0 if strategy is ExecutionContextAllocationStrategy.USER_MANAGED else -1
        made._state = 0
        made._is_flushed = False
        made._was_released = False
        for name, (_kind, shape) in engine._inputs.items():
            if -1 not in shape:
                made._shapes[name] = tuple(shape)
        _alive(made, "a TensorRT execution context")
        return made

    _shapes: dict[str, Shape]
    _addresses: dict[str, int]
    _memory: int  # 0: to be given, -1: its own
    _state: int  # counts the changes: a graph knows the state in which it was captured
    _is_flushed: bool  # whether it was enqueued since the last change
    _was_released: bool

    def __del__(self) -> None:
        _gone(self, "a TensorRT execution context")
        if hasattr(self, "_engine"):
            self._was_released = True
            self._engine._contexts -= 1

    def set_device_memory(self, memory: int, size: int) -> None:
        if size < ACTIVATIONS or memory % ALIGNMENT:
            DEVICE.misuse(f"{size} bytes at {memory:#x} for activations: too few, or not aligned")
        DEVICE.memory(memory, size, "set_device_memory")
        self._memory = memory
        self._changed()

    def set_input_shape(self, name: str, shape: Any) -> bool:
        DEVICE.need_context("set_input_shape")
        if name not in self._engine._inputs:
            DEVICE.misuse(f"set_input_shape: {name!r} is no input")
        low, _best, high = self._engine.get_tensor_profile_shape(name, 0)
        given = tuple(int(n) for n in shape)
        bounds = list(zip(low[:], given, high[:], strict=True))
        if not all(a <= n <= b for a, n, b in bounds):
            DEVICE.misuse(f"set_input_shape: {name} {given} is outside the profile {low}..{high}")
        if self._shapes.get(name) != given:
            self._shapes[name] = given
            self._changed()
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._engine._tensor(name)
        if memory % ALIGNMENT:
            DEVICE.misuse(f"the address of {name} is not aligned to {ALIGNMENT} bytes")
        if self._addresses.get(name) != memory:
            self._addresses[name] = memory
            self._changed()
        return True

    def get_tensor_address(self, name: str) -> int:
        return self._addresses.get(name, 0)

    def infer_shapes(self) -> list[str]:
        return [name for name in self._engine._inputs if name not in self._shapes]

    def get_tensor_shape(self, name: str) -> Dims:
        if missing := self.infer_shapes():
            DEVICE.misuse(f"get_tensor_shape of {name} before set_input_shape of {missing}")
        if name in self._engine._inputs:
            return Dims(self._shapes[name])
        return Dims(self._engine._shapes(self._shapes)[name])

    def get_max_output_size(self, name: str) -> int:
        if name not in self._engine._outputs or self.infer_shapes():
            return -1
        engine = self._engine
        largest = {
            given: engine.get_tensor_profile_shape(given, 0)[2][:] for given in engine._inputs
        }
        dtype = np.dtype(nptype(engine.get_tensor_dtype(name)))
        n_bytes: int = math.prod(engine._shapes(largest)[name]) * dtype.itemsize
        return n_bytes

    def execute_async_v3(self, stream_handle: int) -> bool:
        DEVICE.need_context("execute_async_v3")
        if stream_handle == 0:
            DEVICE.misuse("execute_async_v3 on the default stream")
        stream = DEVICE.stream_of(stream_handle, "execute_async_v3")
        if missing := self.infer_shapes():
            DEVICE.misuse(f"execute_async_v3 before set_input_shape of {missing}")
        if self._memory == 0:
            DEVICE.misuse("execute_async_v3 before set_device_memory")
        self._check_addresses()
        if stream.captured is not None:
            if not self._is_flushed:
                DEVICE.misuse("a capture of a context that was not enqueued since its last change")
        else:
            self._is_flushed = True
            DEVICE.n_plain_launches += 1
        self._enqueue(stream)
        return True

    def _check_addresses(self) -> None:
        for name in (*self._engine._inputs, *self._engine._outputs):
            if name not in self._addresses:
                DEVICE.misuse(f"execute_async_v3 before set_tensor_address of {name}")
            self._memory_of(name, self.get_tensor_shape(name)[:])
        if self._memory > 0:
            DEVICE.memory(self._memory, ACTIVATIONS, "the activations")

    def _memory_of(self, name: str, shape: Shape) -> np.ndarray[Any, Any]:
        dtype = np.dtype(nptype(self._engine.get_tensor_dtype(name)))
        n_bytes = int(np.prod(shape)) * dtype.itemsize
        found = DEVICE.memory(self._addresses[name], n_bytes, f"the tensor {name}")
        tensor: np.ndarray[Any, Any] = found.view(dtype).reshape(shape)
        return tensor

    def _enqueue(self, stream: FakeStream) -> None:
        state = self._state
        # The context is not kept alive by what it has enqueued, as in reality.
        kernel = _Kernel(self, state)
        stream.add(kernel)

    def _changed(self) -> None:
        self._state += 1
        self._is_flushed = False


class _Kernel:
    """What one enqueue computes; a graph runs it again and again."""

    def __init__(self, context: IExecutionContext, state: int) -> None:
        self._context, self._state = weakref.ref(context), state

    def __call__(self) -> None:
        context: Any = self._context()
        if context is None or context._was_released:
            DEVICE.misuse("a kernel runs after its execution context was released")
        if context._state != self._state:
            DEVICE.misuse("a kernel runs, or a graph, whose execution context changed since")
        DEVICE.n_kernels += 1
        DEVICE.is_lost = DEVICE.is_lost or DEVICE.fails_at("lost", DEVICE.n_kernels)
        if DEVICE.is_lost or DEVICE.fails_at("launch", DEVICE.n_kernels):
            raise DEVICE.error("cuStreamSynchronize", "an illegal memory access was encountered")
        engine = context._engine
        context._check_addresses()
        feeds = {name: context._memory_of(name, context._shapes[name]) for name in engine._inputs}
        for name, array in engine._run({k: v.copy() for k, v in feeds.items()}).items():
            context._memory_of(name, array.shape)[...] = array
