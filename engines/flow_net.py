"""Optical flow by a network: grey frames in, displacements in pixels out. Needs no PyTorch.

The network is OpenCV's Farneback with the parameters of the paper (`models.FarnebackFlow`),
exported once (`export.export_flow`) and shipped as `models/flow.onnx`. On a GPU it computes all
pairs of all sources at once; a CPU is quicker with OpenCV.
"""

from importlib import resources
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .backends import open_network
from .network import Network
from .options import EngineOptions

NAME: Final = "the optical flow network"
SMALLEST_SIDE: Final = 16  # px; the widest blur of its pyramid reflects nine at each border


def flow_model() -> bytes:
    """Return the flow network as an ONNX file: `frames`, uint8 (B, T, H, W) -> `flow`, float32.

    Examples
    --------
    >>> len(flow_model()) < 200_000
    True
    """
    home = resources.files(f"{__package__.rpartition('.')[0]}.models")
    return (home / "flow.onnx").read_bytes()


class FlowNet:
    """The flow network, ready to run, always in single precision.

    Parameters
    ----------
    options : EngineOptions, optional
        What runs it. Its precision is that of the other networks: in half precision this one is
        wrong by 0.14 px (fp16) or 0.5 px (bf16) in the mean.

    Raises
    ------
    ModelError
        If the engine that was asked for cannot be used.

    Examples
    --------
    >>> net = FlowNet(EngineOptions(engine="onnx"))
    >>> net.flows(np.zeros((2, 6, 36, 64), np.uint8)).shape
    (2, 5, 2, 36, 64)
    >>> net.close()
    """

    def __init__(self, options: EngineOptions | None = None) -> None:
        wish = (options or EngineOptions()).model_copy(update={"precision": "fp32"})
        self._network: Network | None = open_network(flow_model(), NAME, wish)

    @property
    def backend(self) -> str:
        """What runs it now."""
        return "none" if self._network is None else self._network.backend

    @property
    def progress(self) -> float | None:
        """How much of a plan for the GPU is built, 0 to 1; None when none is being built."""
        progress: float | None = getattr(self._network, "progress", None)
        return progress

    @property
    def is_slow_next(self) -> bool:
        """Whether the next run also loads a plan, which may take seconds."""
        return bool(getattr(self._network, "is_slow_next", False))

    def flows(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the flow of every frame to the next.

        Parameters
        ----------
        frames : uint8, shape (B, T, H, W)
            Grey; T is 2 or more, H and W are 16 or more.

        Returns
        -------
        flows : float32, shape (B, T - 1, 2, H, W)
            In pixels, x then y, clipped to [-128, 127]; zero between two frames that are equal.

        Raises
        ------
        ValueError
            If the frames have another type or shape, or the network is closed.
        ModelError
            If the run fails.
        """
        if self._network is None:
            raise ValueError(f"{NAME} is closed; open it again")
        shape = frames.shape
        if (
            frames.dtype != np.uint8
            or len(shape) != 4
            or shape[0] < 1
            or shape[1] < 2
            or min(shape[2:]) < SMALLEST_SIDE
        ):
            raise ValueError(
                f"frames are {frames.dtype} {shape}; give uint8 (B, T, H, W) with two or more in "
                f"time, of {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels or more"
            )
        return np.asarray(self._network.run({"frames": frames})["flow"], np.float32)

    def close(self) -> None:
        """Release the network. Calling it twice is harmless."""
        if self._network is not None:
            self._network.close()
        self._network = None
