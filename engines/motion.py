"""How much moves where: an action model that needs no training and knows no instrument.

In: flow stacks as in the table of `engine`. Out: the same map for every label, near 1 where
something moves near by, be it a finger, near 0 where all is still: a gate on what the object and
the sound model say. Motion of the camera is taken off as the median of each flow; a cut, which
looks like one wild flow among the five, is outvoted by the others.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from .engine import Header, Scores
from .metadata import model_hash

CELL = 8  # px: stride of the map
HALF = 0.1  # px per tick at which the gate is half open; coding noise stays below 0.03
REACH = 7  # cells: motion this near counts for a place (a drum is hit beside its middle)


class MotionEngine:
    """Motion as an action model.

    Parameters
    ----------
    labels : tuple of str
        Which all get the same map.

    Examples
    --------
    >>> engine = MotionEngine(("drum", "violin"))
    >>> engine(np.zeros((1, 10, 144, 256), np.float32)).shape
    (1, 2, 18, 32)
    """

    backend = "opencv-cpu"
    precision = "fp32"

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.header = motion_header(labels)
        self.hash = model_hash(repr((CELL, HALF, REACH)).encode())

    def __call__(self, batch: NDArray[np.float32]) -> Scores:
        """Return the scores of a batch; shapes as in the table of `engine`.

        Raises
        ------
        ValueError
            If the batch is not one of flow stacks.
        """
        if batch.ndim != 4 or batch.shape[1] % 2 or not batch.size:
            raise ValueError(f"motion takes flow stacks (B, 10, H, W); given is {batch.shape}")
        maps = np.stack([motion_map(stack) for stack in batch])  # (B, h, w)
        return np.repeat(maps[:, None], len(self.header.labels), axis=1)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def motion_header(labels: tuple[str, ...]) -> Header:
    """Return the header of the motion measure for these labels."""
    offset = (CELL - 1) / 2
    return Header(kind="action", name="motion", labels=labels, stride=CELL, offset=offset)


def motion_map(stack: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return where it moves, in [0, 1], in cells of 8 px.

    Parameters
    ----------
    stack : float32, shape (2 * n, H, W)
        Flows in pixels per tick, x and y in turn.

    Returns
    -------
    map : float32, shape (ceil(H / 8), ceil(W / 8))

    Examples
    --------
    >>> float(motion_map(np.ones((10, 16, 16), np.float32)).max())  # the camera moved
    0.0
    """
    n, height, width = len(stack) // 2, *stack.shape[1:]
    flows = stack.reshape(n, 2, height, width)
    flows = flows - np.median(flows, axis=(2, 3), keepdims=True)
    speed = np.sqrt((flows**2).sum(axis=1))  # (n, H, W)
    rows, columns = -(-height // CELL), -(-width // CELL)
    pad = ((0, 0), (0, rows * CELL - height), (0, columns * CELL - width))
    cells = np.pad(speed, pad, mode="edge").reshape(n, rows, CELL, columns, CELL)
    typical = np.median(cells.mean(axis=(2, 4)), axis=0).astype(np.float32)  # (h, w)
    near = cv2.blur(cv2.dilate(typical, np.ones((REACH, REACH), np.uint8)), (3, 3))
    power = near.reshape(rows, columns) ** 2
    return np.asarray(power / (power + np.float32(HALF**2)), np.float32)
