"""A network run by OpenVINO on the CPU."""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cpu_graph import for_cpu
from .engine import ModelError
from .metadata import AGAIN, one_line, parse_model
from .network import Arrays, Tensor, check_feeds
from .options import Precision

CACHE = 64  # kernels kept, for all input sizes together; 5000 otherwise, 0.7 MB for each size


def load_openvino() -> Any:
    """Return the module `openvino`, imported without its telemetry.

    Raises
    ------
    ImportError
        If it is not installed, or cannot be loaded.

    Notes
    -----
    On import, OpenVINO tells its maker so through the package `openvino_telemetry`, and leaves an
    identity in the user's home; without that package it uses a stub. Who wants it imports it first.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


class OpenVinoNetwork:
    """A network run by OpenVINO on the CPU.

    Parameters
    ----------
    model : bytes
        An ONNX file that `parse_model` has accepted.
    name : str
        For the messages of errors.
    precision : {"fp32", "fp16", "bf16", "int8"}
        fp32 and bf16: what it computes in, whatever the file's type. int8 is in the file, as
        quantise and dequantise nodes; what is left is fp32.
    threads : int
        Of one run.

    Raises
    ------
    ModelError
        If OpenVINO refuses the model, is not there, or this processor cannot do the precision.
    """

    def __init__(
        self, model: bytes, name: str, *, precision: Precision = "fp32", threads: int = 1
    ) -> None:
        try:
            openvino = load_openvino()
        except ImportError as error:
            raise ModelError(
                f"{name}: no OpenVINO ({one_line(error)}); pip install openvino"
            ) from None
        core = openvino.Core()
        if precision == "bf16" and "BF16" not in core.get_property(
            "CPU", "OPTIMIZATION_CAPABILITIES"
        ):
            raise ModelError(f"{name}: this processor has no bf16; use fp32 or int8")
        model = for_cpu(model, name, backend="openvino", precision=precision)
        hint = openvino.Type.bf16 if precision == "bf16" else openvino.Type.f32
        try:
            compiled = core.compile_model(
                core.read_model(model, b""),
                "CPU",
                {
                    "PERFORMANCE_HINT": "LATENCY",
                    "INFERENCE_NUM_THREADS": threads,
                    "NUM_STREAMS": 1,
                    "INFERENCE_PRECISION_HINT": hint,
                    "ENABLE_CPU_PINNING": False,
                    "CPU_RUNTIME_CACHE_CAPACITY": CACHE,
                },
            )
        except Exception as error:  # OpenVINO's own are RuntimeErrors, of pybind other ones
            raise ModelError(f"{name}: cannot be loaded ({one_line(error)}); {AGAIN}") from None
        graph = parse_model(model, name).graph
        names = {value.name for value in (*graph.input, *graph.output)}
        self.inputs = tuple(_tensor(port, names) for port in compiled.inputs)
        self.outputs = tuple(_tensor(port, names) for port in compiled.outputs)
        self.backend = "openvino-cpu"
        self.precision: str = precision
        self._name = name
        self._request: Any = compiled.create_infer_request()

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        """Return every output by name; see `Network.run`."""
        if self._request is None:
            raise ValueError(f"the network of {self._name} is closed; load it again")
        check_feeds(self.inputs, feeds, self._name)
        arrays = {tensor.name: np.ascontiguousarray(feeds[tensor.name]) for tensor in self.inputs}
        try:
            found = self._request.infer(arrays, share_inputs=True, share_outputs=True)
        except Exception as error:  # as above
            raise ModelError(one_line(error)) from None
        return {tensor.name: found[tensor.name].copy() for tensor in self.outputs}

    def close(self) -> None:
        """Release the compiled network. Calling it twice is harmless."""
        self._request = None


def _tensor(port: Any, names: set[str]) -> Tensor:
    # A port has the names of all that was found to be the same as it; one is of the ONNX file.
    name = next((name for name in port.get_names() if name in names), port.get_any_name())
    axes = (_axis(axis) for axis in port.get_partial_shape())
    return Tensor(name, port.get_element_type().to_dtype(), tuple(axes))


def _axis(axis: Any) -> int | str:
    return int(axis.get_length()) if axis.is_static else "any"
