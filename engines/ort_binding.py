"""The inputs and outputs of an ONNX Runtime session, kept where the network runs.

For the GPU: as long as the sizes stay as they are, inputs are copied into the memory of the run
before, and outputs are written there. On the CPU it brings nothing (0.93 to 1.00 of the speed).
"""

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from .network import Arrays


class Binding:
    """A session with its inputs and outputs bound to a device's memory.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
    device : {"cuda", "cpu"}
    number : int
        Of the device.
    """

    def __init__(
        self, session: onnxruntime.InferenceSession, device: str = "cuda", number: int = 0
    ) -> None:
        self._session = session
        self._names = [node.name for node in session.get_inputs()]
        self._outputs = [node.name for node in session.get_outputs()]
        self._place = (device, number)
        self._binding = session.io_binding()
        self._inputs: dict[str, Any] = {}
        self._shapes: list[tuple[int, ...]] = []

    def run(self, feeds: Arrays) -> list[NDArray[Any]]:
        """Return the outputs in their order; the arrays are the caller's."""
        arrays = {name: np.ascontiguousarray(feeds[name]) for name in self._names}
        shapes = [array.shape for array in arrays.values()]
        is_bound, self._shapes = shapes == self._shapes, []  # after a failure all is bound anew
        if is_bound:
            for name, array in arrays.items():
                self._inputs[name].update_inplace(array)
        else:
            self._bind(arrays)
        self._binding.synchronize_inputs()  # copied on another stream than the one that runs
        self._session.run_with_iobinding(self._binding)
        self._binding.synchronize_outputs()
        self._shapes = shapes
        return [np.array(value) for value in self._binding.copy_outputs_to_cpu()]

    def _bind(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._binding.clear_binding_inputs()
        self._binding.clear_binding_outputs()
        device, number = self._place
        for name, array in arrays.items():
            # A value on the CPU would be the array itself, which is the caller's.
            own = array.copy() if device == "cpu" else array
            value = onnxruntime.OrtValue.ortvalue_from_numpy(own, device, number)
            self._inputs[name] = value
            self._binding.bind_ortvalue_input(name, value)
        for name in self._outputs:  # allocated by the first run, and kept for the next ones
            self._binding.bind_output(name, device, number)
