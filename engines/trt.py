"""A network run by TensorRT: a plan, and what it holds on the GPU.

A plan is built for one GPU and one release of TensorRT, and for a range of shapes
(`trt_build`). Memory for the largest is allocated when it is loaded, and never again. Each shape
gets an execution context of its own, set to that shape once, and from its second run on a CUDA
graph of everything between the arrays of the host: copy up, kernels, copy down. All contexts
share the memory for activations, since they run on one stream, one after the other.
"""

import logging
import math
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .cuda import Buffer, Gpu, abandon, cuda_errors, out_of_memory
from .cuda_graph import Graph, GraphError
from .engine import ModelError
from .metadata import one_line
from .network import Arrays, Tensor, check_feeds
from .options import Precision
from .trt_log import the_log

if TYPE_CHECKING:
    import tensorrt as trt

logger = logging.getLogger(__name__)

# Execution contexts and graphs that are kept; of a shape more, that which was longest not used
# goes. A live run gives batches of 1 to 16 pictures of one size.
MAX_SHAPES = 16

Shape = tuple[int, ...]


class TrtNetwork:
    """A network run by TensorRT.

    Parameters
    ----------
    plan : bytes
        A serialised engine: `trt_build.build_plan`. It is code for the GPU, and is trusted as
        much as a library: load only what this machine has built.
    name : str
        For the messages of errors.
    device : int
        Number of the GPU.
    precision : {"fp32", "fp16", "bf16", "int8"}
        What to tell of it; the plan's layers say it themselves.

    Raises
    ------
    ModelError
        If there is no TensorRT, no driver or GPU, not enough memory, or the plan is damaged or
        of another release: one line that says what to do.

    Notes
    -----
    Any thread may use it, one at a time; a forked process may not. `playspot benchmark engines`
    measures its latency and throughput, `playspot doctor --gpu` what the graphs save and whether
    memory stays flat.

    Examples
    --------
    >>> network = TrtNetwork(plan, "object.onnx")  # doctest: +SKIP
    >>> network.run({"frames": np.zeros((1, 144, 256, 3), np.uint8)})  # doctest: +SKIP
    """

    def __init__(
        self, plan: bytes, name: str, *, device: int = 0, precision: Precision = "fp32"
    ) -> None:
        self.backend = "tensorrt"
        self.precision = precision
        self._name = name
        self._loaded = _Loaded(plan, name, device)
        self.inputs = self._loaded.inputs
        self.outputs = self._loaded.outputs
        # Called by `close`, by the garbage collector or at exit, whichever comes first.
        self._release = weakref.finalize(self, self._loaded.release)

    @property
    def uses_graphs(self) -> bool:
        """Whether it runs by CUDA graphs; set it to False before the first run to compare."""
        return self._loaded.uses_graphs

    @uses_graphs.setter
    def uses_graphs(self, does: bool) -> None:
        self._loaded.uses_graphs = does

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        """Return every output by name; see `Network.run`.

        Raises
        ------
        ValueError
            If an input is missing or of another type, or the network is closed.
        ModelError
            If a shape is outside those that the plan was built for, or the run fails.
        """
        if not self._release.alive:
            raise ValueError(f"the network of {self._name} is closed; load it again")
        check_feeds(self.inputs, feeds, self._name)
        return self._loaded.run({tensor.name: feeds[tensor.name] for tensor in self.inputs})

    def close(self) -> None:
        """Release everything on the GPU. Calling it twice is harmless."""
        self._release()


class _Loaded:
    """Everything that a plan holds on the GPU, and the order in which it goes.

    TensorRT's objects have no `close`: the last reference destroys them. So there is one of each,
    here, and none in a local variable: the frames of an exception would keep it.
    """

    _runtime: "trt.Runtime"
    _engine: "trt.ICudaEngine"

    def __init__(self, plan: bytes, name: str, device: int) -> None:
        try:
            import tensorrt  # here: a library of a gigabyte that most processes never need
        except Exception as error:  # not installed, or bindings without their library
            raise ModelError(
                f"{name}: TensorRT cannot be used ({one_line(error)}); "
                "pip install 'playspot[gpu]', on a Jetson see docs/gpu.md"
            ) from None
        self._trt = tensorrt
        self._name = name
        self._log = the_log()
        self._buffers: dict[str, Buffer] = {}
        self._activations: Any = None
        self._prepared: OrderedDict[tuple[Shape, ...], _Prepared] = OrderedDict()
        self.uses_graphs = True
        self._gpu = Gpu(device)
        try:
            with cuda_errors(name), self._gpu:
                self._load(plan)
                self._allocate()
        except BaseException:
            self.release()
            raise

    def _load(self, plan: bytes) -> None:
        trt = self._trt
        try:
            self._runtime = trt.Runtime(self._log)
        except TypeError:  # no object; the log says why
            raise self._error("TensorRT cannot start", "update the NVIDIA driver") from None
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise self._error("its plan cannot be loaded", "compile it again on this machine")
        names = [self._engine.get_tensor_name(n) for n in range(self._engine.num_io_tensors)]
        is_input = trt.TensorIOMode.INPUT
        inputs = [name for name in names if self._engine.get_tensor_mode(name) == is_input]
        self.inputs = tuple(self._tensor(name) for name in inputs)
        self.outputs = tuple(self._tensor(name) for name in names if name not in inputs)
        self._bounds: dict[str, list[Shape]] = {
            name: [dims[:] for dims in self._engine.get_tensor_profile_shape(name, 0)]
            for name in inputs
        }

    def _tensor(self, name: str) -> Tensor:
        element = self._engine.get_tensor_dtype(name)
        try:
            dtype = np.dtype(self._trt.nptype(element))
        except TypeError:  # of 16 bits that NumPy has not, or of fewer than 8
            raise ModelError(
                f"{self._name}: its {name} is {element.name}; export it with float32 or uint8"
            ) from None
        if self._engine.get_tensor_location(name) != self._trt.TensorLocation.DEVICE:
            raise ModelError(f"{self._name}: its {name} is a shape; export it without")
        axes = tuple(n if n >= 0 else "any" for n in self._engine.get_tensor_shape(name)[:])
        return Tensor(name, dtype, axes)

    def _allocate(self) -> None:
        """Allocate what the largest shapes take; there is no more to come."""
        shapes = tuple(self._bounds[tensor.name][2] for tensor in self.inputs)
        for tensor, shape in zip(self.inputs, shapes, strict=True):
            n_bytes = math.prod(shape) * tensor.dtype.itemsize
            self._buffers[tensor.name] = Buffer(self._gpu, n_bytes)
        largest = _Prepared(self._make_context(), shapes)
        try:
            for tensor, shape in zip(self.inputs, shapes, strict=True):
                largest.context.set_input_shape(tensor.name, shape)
            for tensor in self.outputs:
                n_bytes = largest.context.get_max_output_size(tensor.name)
                if n_bytes <= 0:
                    raise self._error(f"its output {tensor.name} has no bound", "export another")
                self._buffers[tensor.name] = Buffer(self._gpu, n_bytes)
        finally:
            largest.close()
        self._activations = self._gpu.allocate(max(1, self._engine.device_memory_size_v2))

    def _make_context(self) -> "trt.IExecutionContext":
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = self._engine.create_execution_context(strategy)
        if context is None:
            raise self._error("it cannot be made ready to run", "see `playspot doctor --gpu`")
        return context

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        for name, array in feeds.items():
            low, _usual, high = self._bounds[name]
            if not all(a <= n <= b for a, n, b in zip(low, array.shape, high, strict=True)):
                raise ModelError(
                    f"{self._name}: {name} is {array.shape}, and its plan is for {low} to {high}; "
                    "give that, or compile it for this size"
                )
        with cuda_errors(self._name), self._gpu:
            for name, array in feeds.items():
                self._buffers[name].write(array)
            prepared = self._prepare(tuple(array.shape for array in feeds.values()))
            try:
                self._queue(prepared)
            finally:
                self._gpu.wait()  # after an error too: the buffers are written again
            return {
                tensor.name: self._buffers[tensor.name].read(shape, tensor.dtype)
                for tensor, shape in zip(self.outputs, prepared.outputs, strict=True)
            }

    def _prepare(self, inputs: tuple[Shape, ...]) -> "_Prepared":
        """Return the execution context of some shapes of the inputs; nothing is pending."""
        if inputs in self._prepared:
            self._prepared.move_to_end(inputs)
            return self._prepared[inputs]
        if len(self._prepared) >= MAX_SHAPES:
            self._prepared.popitem(last=False)[1].close()
        prepared = _Prepared(self._make_context(), inputs)
        try:
            self._set_up(prepared)
        except BaseException:
            prepared.close()
            raise
        self._prepared[inputs] = prepared
        return prepared

    def _set_up(self, prepared: "_Prepared") -> None:
        """Set shapes and addresses, which never change again: a graph depends on them."""
        are_right = [
            prepared.context.set_input_shape(tensor.name, shape)
            for tensor, shape in zip(self.inputs, prepared.inputs, strict=True)
        ]
        for name, buffer in self._buffers.items():
            are_right.append(prepared.context.set_tensor_address(name, buffer.address))
        try:
            are_right.append(not prepared.context.infer_shapes())
        except RuntimeError:  # no output is possible for these; the log says why
            are_right.append(False)
        if not all(are_right):
            raise self._error(f"it refuses inputs of {prepared.inputs}", "compile it for them")
        size = self._engine.device_memory_size_v2
        prepared.context.set_device_memory(int(self._activations), size)
        prepared.outputs = [
            prepared.context.get_tensor_shape(tensor.name)[:] for tensor in self.outputs
        ]
        if any(n < 0 for shape in prepared.outputs for n in shape):
            raise self._error(
                "the size of its outputs depends on what is in them", "export another"
            )

    def _queue(self, prepared: "_Prepared") -> None:
        """Queue a run: as it is the first time, which TensorRT wants before a capture."""
        if prepared.graph is None and prepared.has_run and self.uses_graphs:
            try:
                prepared.graph = Graph(self._gpu.stream, lambda: self._enqueue(prepared))
            except GraphError as error:
                self.uses_graphs = False
                self._log.told()
                logger.warning("%s: it runs without CUDA graphs: %s", self._name, error)
        if prepared.graph is None:
            self._enqueue(prepared)
            prepared.has_run = True
        else:
            prepared.graph.launch()

    def _enqueue(self, prepared: "_Prepared") -> None:
        """Queue copies up, kernels, and copies down."""
        for tensor, shape in zip(self.inputs, prepared.inputs, strict=True):
            self._buffers[tensor.name].upload(math.prod(shape) * tensor.dtype.itemsize)
        if not prepared.context.execute_async_v3(self._gpu.stream):
            raise self._error("the run failed", "see `playspot doctor --gpu`")
        for tensor, shape in zip(self.outputs, prepared.outputs, strict=True):
            self._buffers[tensor.name].download(math.prod(shape) * tensor.dtype.itemsize)

    def release(self) -> None:
        if self._gpu.is_inherited:
            abandon(self)
            return
        try:
            with cuda_errors(self._name):
                self._free()
                self._gpu.close()
        except ModelError as error:  # the context is lost, and all that is in it
            abandon(self)
            logger.debug("%s", error)

    def _free(self) -> None:
        with self._gpu:
            try:
                self._gpu.wait()
            except Exception as error:  # of a kernel that failed, and told of it then
                logger.debug("%s: released after %s", self._name, one_line(error))
            while self._prepared:
                self._prepared.popitem()[1].close()
            self.__dict__.pop("_engine", None)  # destroyed by their last reference, this one
            self.__dict__.pop("_runtime", None)
            while self._buffers:
                self._buffers.popitem()[1].free()
            if self._activations is not None:
                self._activations.free()
                self._activations = None

    def _error(self, what: str, remedy: str) -> ModelError:
        """Return an error with what TensorRT has logged of it."""
        told: str = self._log.told()
        if "out of memory" in told.lower():
            return ModelError(out_of_memory(self._name, told))
        return ModelError(f"{self._name}: {what} ({told}); {remedy}")


class _Prepared:
    """An execution context that is set to one shape, and its graph once there is one."""

    def __init__(self, context: "trt.IExecutionContext", inputs: tuple[Shape, ...]) -> None:
        self.context = context
        self.inputs = inputs
        self.outputs: list[Shape] = []
        self.has_run = False
        self.graph: Graph | None = None

    def close(self) -> None:
        """Release graph, then context; nothing of them is pending."""
        if self.graph is not None:
            self.graph.close()
        self.graph = None
        del self.context  # destroyed by its last reference, this one
