"""A network run by ONNX Runtime, on the CPU or on a GPU."""

import contextlib
import io
from functools import cache
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from .cpu_graph import for_cpu
from .engine import ModelError
from .metadata import AGAIN, one_line
from .network import Arrays, Tensor, check_feeds
from .ort_binding import Binding

Device = Literal["cpu", "cuda"]

CUDA = "CUDAExecutionProvider"
CUDA_OPTIONS = {
    "arena_extend_strategy": "kSameAsRequested",  # other processes share the GPU's memory
    "cudnn_conv_algo_search": "HEURISTIC",  # a search would begin anew with each input size
    "use_tf32": "0",  # fp32 means fp32, so that scores agree with those of the CPU
}

DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(int8)": np.dtype(np.int8),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(float)": np.dtype(np.float32),
}


def make_session(
    model: bytes, name: str, *, threads: int = 1, device: Device = "cpu", gpu: int = 0
) -> onnxruntime.InferenceSession:
    """Return an ONNX Runtime session as every network of ours wants it.

    Parameters
    ----------
    model : bytes
        An ONNX file that `parse_model` has accepted.
    name : str
        For the error's message.
    threads : int
        Inside one operator. One is best where several processes share the cores: idle threads
        would spin and starve the others.
    device : {"cpu", "cuda"}
    gpu : int
        Number of the GPU.

    Returns
    -------
    session : onnxruntime.InferenceSession
        It keeps no memory plan for each shape it has seen, so memory stays flat over inputs of
        many sizes.

    Raises
    ------
    ModelError
        If ONNX Runtime refuses the model, or would not use the GPU.
    ValueError
        If `threads` is below 1.
    """
    if threads < 1:
        raise ValueError(f"threads is {threads}; use 1 or more")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_mem_pattern = False
    options.log_severity_level = 4  # its errors are raised, and reported once, by us
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # int8 on x86 before VNNI: sums of two products saturate at 16 bits; scores go astray by 0.1.
    options.add_session_config_entry("session.x64quantprecision", "1")
    providers: list[Any] = ["CPUExecutionProvider"]
    if device == "cuda":
        if fault := cuda_fault():
            raise ModelError(f"{name}: ONNX Runtime cannot use the GPU ({fault})")
        providers.insert(0, (CUDA, {"device_id": str(gpu), **CUDA_OPTIONS}))
    try:
        session = onnxruntime.InferenceSession(model, options, providers, enable_fallback=False)
    except Exception as error:  # the runtime's own exceptions share no base class
        raise ModelError(f"{name}: cannot be loaded ({one_line(error)}); {AGAIN}") from None
    if device == "cuda" and CUDA not in session.get_providers():
        raise ModelError(f"{name}: ONNX Runtime does not use GPU {gpu}; see `playspot doctor`")
    return session


def has_cuda() -> bool:
    """Return whether this ONNX Runtime was built with CUDA; not whether there is a GPU."""
    return CUDA in onnxruntime.get_available_providers()


@cache
def cuda_fault() -> str | None:
    """Return why the libraries of CUDA that ONNX Runtime needs cannot be loaded, or None.

    It loads them, those that pip installed (`nvidia-*`) before those of the system. ONNX Runtime
    itself would say nothing and run on the CPU. Without cuDNN it starts, and fails to convolve.
    """
    if not has_cuda():
        return "it was built without CUDA; pip install onnxruntime-gpu in place of onnxruntime"
    told = io.StringIO()
    try:
        with contextlib.redirect_stdout(told):  # it prints what it does not find
            onnxruntime.preload_dlls()
    except Exception as error:  # of whatever a broken library raises
        return one_line(error)
    lines = [line for line in told.getvalue().splitlines() if line.startswith("Failed to load lib")]
    if not lines:
        return None
    return f"{lines[0].partition(': ')[2]}; pip install 'onnxruntime-gpu[cuda,cudnn]'"


class OrtNetwork:
    """A network run by ONNX Runtime.

    Parameters
    ----------
    model : bytes
        An ONNX file that `parse_model` has accepted.
    name : str
        For the messages of errors.
    threads, device, gpu
        See `make_session`.
    precision : str
        What to tell of it.
    as_it_is : bool
        Not written otherwise for the CPU (`cpu_graph.for_cpu`): what all else is compared with.

    Raises
    ------
    ModelError
        If ONNX Runtime refuses the model, or uses another type than those in `DTYPES`.
    """

    def __init__(
        self,
        model: bytes,
        name: str,
        *,
        threads: int = 1,
        device: Device = "cpu",
        gpu: int = 0,
        precision: str = "fp32",
        as_it_is: bool = False,
    ) -> None:
        if device == "cpu" and not as_it_is:
            model = for_cpu(model, name, backend="onnx", precision=precision)
        session = make_session(model, name, threads=threads, device=device, gpu=gpu)
        self.inputs = tuple(_tensor(node, name) for node in session.get_inputs())
        self.outputs = tuple(_tensor(node, name) for node in session.get_outputs())
        self.backend = f"onnxruntime-{device}"
        self.precision = precision
        self._name = name
        self._session: onnxruntime.InferenceSession | None = session
        self._binding = Binding(session, "cuda", gpu) if device == "cuda" else None

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        """Return every output by name; see `Network.run`."""
        if self._session is None:
            raise ValueError(f"the network of {self._name} is closed; load it again")
        check_feeds(self.inputs, feeds, self._name)
        names = [tensor.name for tensor in self.outputs]
        try:
            if self._binding is not None:
                found = self._binding.run(feeds)
            else:
                found = self._session.run(names, dict(feeds))
        except Exception as error:  # the runtime's own exceptions share no base class
            raise ModelError(one_line(error)) from None
        return dict(zip(names, found, strict=True))

    def close(self) -> None:
        """Release the session. Calling it twice is harmless."""
        self._session = self._binding = None


def _tensor(node: Any, name: str) -> Tensor:
    dtype = DTYPES.get(node.type)
    if dtype is None:
        raise ModelError(f"{name}: {node.name} is a {node.type}; use {', '.join(DTYPES)}")
    axes = [axis if isinstance(axis, int) else str(axis or "any") for axis in node.shape]
    return Tensor(node.name, dtype, tuple(axes))
