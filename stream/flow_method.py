"""How optical flow is computed: OpenCV's Farneback, its DIS, or Farneback as a network.

In: pairs of grey frames, uint8 (H, W). Out: flows, float32 (2, H, W), in pixels, x (to the right)
and y (down), clipped to [-128, 127].

`farneback` is what the models were trained on. `network` is the same algorithm for a GPU. `dis` is
several times faster on a CPU, and its flow is another one: `docs/engines.md` says what it costs.
"""

import logging
from collections.abc import Sequence
from typing import Final, Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from ..engines.options import FlowWish
from .media import Grey
from .timeline import FLOW_LIMIT

Flow: TypeAlias = NDArray[np.float32]  # (2, H, W), pixels per tick
Pair: TypeAlias = tuple[Grey, Grey]

# OpenCV 5.0 refuses small frames for DIS, and crashes on narrow ones: their pyramid is as deep as
# the longer side allows.
SMALLEST_DIS: Final = 32  # px
NARROWEST_DIS: Final = 8  # times as long as wide

logger = logging.getLogger(__name__)


class FlowMethod(Protocol):
    """A way to compute optical flow.

    Attributes
    ----------
    name : {"farneback", "dis", "network"}
    backend : str
        What runs it, such as "opencv-cpu".
    why : str
        Why it is this one, for people; nothing if it was asked for.
    batch : int
        How many steps are best computed at once.
    is_slow_next : bool
        Whether the next flows may take seconds more than others.
    """

    @property
    def name(self) -> FlowWish: ...  # noqa: D102

    @property
    def backend(self) -> str: ...  # noqa: D102

    @property
    def why(self) -> str: ...  # noqa: D102

    @property
    def batch(self) -> int: ...  # noqa: D102

    @property
    def is_slow_next(self) -> bool: ...  # noqa: D102

    def flows(self, pairs: Sequence[Pair]) -> list[Flow]:
        """Return the flow of each pair of frames of one size.

        A pair that begins with the very array with which the one before it ended may be computed
        together with it.

        Raises
        ------
        ValueError
            If a frame is not grey uint8, or the two of a pair differ in size.
        ModelError
            If a network fails.
        """
        ...

    def close(self) -> None:
        """Release what it holds. Calling it twice is harmless."""
        ...


def farneback(previous: Grey, following: Grey) -> Flow:
    """Return the dense optical flow from one grey frame to the next.

    Parameters
    ----------
    previous, following : uint8, shape (H, W)

    Returns
    -------
    flow : float32, shape (2, H, W)
        Displacement in pixels, x then y, clipped to [-128, 127].

    Raises
    ------
    ValueError
        If a frame is not grey uint8, or the two differ in size.

    Notes
    -----
    OpenCV's Farneback (2003) with the parameters of the authors of Liu, Yang and Jeng 2018.

    Examples
    --------
    >>> import numpy as np
    >>> farneback(np.zeros((144, 256), np.uint8), np.ones((144, 256), np.uint8)).shape
    (2, 144, 256)
    """
    check_pair(previous, following)
    flow = cv2.calcOpticalFlowFarneback(
        previous,
        following,
        None,  # type: ignore[call-overload]  # no first guess
        pyr_scale=0.5,
        levels=3,
        winsize=15,
        iterations=3,
        poly_n=5,
        poly_sigma=1.2,
        flags=0,
    )  # (H, W, 2)
    return _clipped(flow)


class Farneback:
    """OpenCV's Farneback, see `farneback`."""

    name: Final = "farneback"
    backend: Final = "opencv-cpu"
    batch: Final = 1
    is_slow_next: Final = False

    def __init__(self, why: str = "") -> None:
        self.why = why

    def flows(self, pairs: Sequence[Pair]) -> list[Flow]:
        """Return the flow of each pair; see `FlowMethod.flows`."""
        return [farneback(*pair) for pair in pairs]

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


class Dis:
    """OpenCV's dense inverse search (Kroeger and others 2016).

    Parameters
    ----------
    preset : int
        One of OpenCV's. The fastest is not worse than the next one, and the slowest costs as much
        as Farneback with one iteration, which is as good as with three (`docs/engines.md`).

    Examples
    --------
    >>> import numpy as np
    >>> still = np.zeros((36, 64), np.uint8)
    >>> [flow.shape for flow in Dis().flows([(still, still)])]
    [(2, 36, 64)]
    """

    name: Final = "dis"
    backend: Final = "opencv-cpu"
    batch: Final = 1
    is_slow_next: Final = False
    why: Final = ""

    def __init__(self, preset: int = cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST) -> None:
        self._dis = cv2.DISOpticalFlow.create(preset)

    def flows(self, pairs: Sequence[Pair]) -> list[Flow]:
        """Return the flow of each pair; see `FlowMethod.flows`."""
        return [self._flow(*pair) for pair in pairs]

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def _flow(self, previous: Grey, following: Grey) -> Flow:
        check_pair(previous, following)
        height, width = previous.shape
        least = max(SMALLEST_DIS, -(-max(height, width) // NARROWEST_DIS))
        below, right = max(0, least - height), max(0, least - width)
        one, two = np.ascontiguousarray(previous), np.ascontiguousarray(following)
        if below or right:
            margin = (0, below), (0, right)
            one, two = np.pad(one, margin, mode="edge"), np.pad(two, margin, mode="edge")
        flow = self._dis.calc(one, two, None)  # type: ignore[call-overload]
        return _clipped(flow[:height, :width])


FARNEBACK: Final[FlowMethod] = Farneback()


def check_grey(image: Grey) -> None:
    """Raise `ValueError` if an image is not grey uint8 (H, W)."""
    if image.ndim != 2 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(
            f"frame has shape {image.shape} and type {image.dtype}; give grey uint8, (H, W)."
        )


def check_pair(previous: Grey, following: Grey) -> None:
    """Raise `ValueError` if two images are not grey uint8 (H, W) of one size."""
    check_grey(previous)
    check_grey(following)
    if previous.shape != following.shape:
        raise ValueError(
            f"frames have shapes {previous.shape} and {following.shape}; give two of one size."
        )


def _clipped(flow: NDArray[np.float32]) -> Flow:
    # The authors keep what a signed byte could: one less to the right than to the left.
    return np.ascontiguousarray(
        np.clip(flow, -FLOW_LIMIT, FLOW_LIMIT - 1).transpose(2, 0, 1), np.float32
    )
