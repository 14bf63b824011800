"""What every engine underneath looks like: arrays in, arrays out, whatever computes them.

`ort.OrtNetwork`, `ov.OpenVinoNetwork` and `trt.TrtNetwork` are networks; a
`switching.SwitchingNetwork` is one that becomes another. An `Engine` puts a network's header, its
checks and its meaning around it (`model_engine`, `teacher`); `flow_net` does so for optical flow.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Tensor:
    """An input or an output of a network.

    Attributes
    ----------
    name : str
    dtype : numpy.dtype
    shape : tuple of int or str
        A number where it is fixed, a name where any size will do.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str, ...]

    def fits(self, array: NDArray[Any]) -> bool:
        """Return whether an array can be this input; an empty one cannot.

        Examples
        --------
        >>> tensor = Tensor("x", np.dtype(np.float32), ("batch", 3))
        >>> tensor.fits(np.zeros((2, 3), np.float32)), tensor.fits(np.zeros((2, 4), np.float32))
        (True, False)
        """
        if array.dtype != self.dtype or array.ndim != len(self.shape):
            return False
        sizes = zip(self.shape, array.shape, strict=True)
        return all(n > 0 and (n == m or not isinstance(m, int)) for m, n in sizes)


def check_feeds(inputs: Iterable[Tensor], feeds: Arrays, name: str) -> None:
    """Raise a ValueError if an input is missing, or is given another type or shape."""
    for tensor in inputs:
        if tensor.name not in feeds or not tensor.fits(feeds[tensor.name]):
            raise ValueError(f"{name}: its input {tensor.name} is {tensor}")


class Network(Protocol):
    """A network that is loaded and ready to run.

    Attributes
    ----------
    inputs, outputs : tuple of Tensor
    backend, precision : str
        For the event's `model` field, such as "onnxruntime-cpu" and "fp32".
    """

    @property
    def inputs(self) -> tuple[Tensor, ...]: ...  # noqa: D102

    @property
    def outputs(self) -> tuple[Tensor, ...]: ...  # noqa: D102

    @property
    def backend(self) -> str: ...  # noqa: D102

    @property
    def precision(self) -> str: ...  # noqa: D102

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        """Return every output by name; the arrays are the caller's, for ever.

        Raises
        ------
        ValueError
            If an input is missing, has another type or shape, or the network is closed.
        ModelError
            If the run fails: one line.
        """
        ...

    def close(self) -> None:
        """Release what the network holds. Calling it twice is harmless."""
        ...
