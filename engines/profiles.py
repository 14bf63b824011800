"""Which sizes a network is compiled for: the optimisation profile of a plan.

An axis that the network leaves open has a smallest, a usual and a largest size; the plan is fastest
at the usual one and refuses what lies outside.
"""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from .engine import ModelError
from .network import Arrays, Tensor

Shape: TypeAlias = tuple[int, ...]
Range: TypeAlias = tuple[int, int, int]  # smallest, usual, largest
Shapes: TypeAlias = dict[str, tuple[Shape, Shape, Shape]]  # of each input, by its name

BATCH: Range = (1, 4, 16)
SIDE = 256  # longer side of pictures and flow, px
# Pictures of any aspect to 4:1; 16:9 is the usual one.
HEIGHTS: Range = (64, 144, SIDE)
WIDTHS: Range = (64, SIDE, SIDE)
COLUMNS: Range = (16, 48, 512)  # of log-mel; windows of the pipeline have 48 at most
FRAMES: Range = (2, 5, 6)  # grey frames in a row: of a step 5, of a stack 6

# What the axes after the batch are.
_AXES: dict[str, tuple[str, ...]] = {
    "object": ("height", "width", "colour"),
    "action": ("channels", "height", "width"),
    "sound": ("bands", "columns"),
    "flow": ("frames", "height", "width"),
}


def shapes_for(
    tensors: Iterable[Tensor],
    kind: str,
    batch: Range = BATCH,
    size: tuple[int, int] | None = None,
    side: int = SIDE,
) -> Shapes:
    """Return the smallest, usual and largest shape of each input.

    Parameters
    ----------
    tensors : iterable of Tensor
        The inputs.
    kind : {"object", "action", "sound", "flow"}
        What their axes are.
    batch : tuple of int
        Smallest, usual and largest size of an open first axis.
    size : tuple of int, optional
        Height and width of all pictures; without, any aspect up to 4:1 with a longer side `side`.
    side : int
        Longer side of pictures, `Header.picture_side`.

    Raises
    ------
    ModelError
        If sizes are below 1 or not in order, or an axis that is open cannot be named.

    Examples
    --------
    >>> import numpy as np
    >>> stacks = Tensor("stacks", np.dtype(np.float32), ("batch", 10, "height", "width"))
    >>> shapes_for([stacks], "action", size=(144, 256))
    {'stacks': ((1, 10, 144, 256), (4, 10, 144, 256), (16, 10, 144, 256))}
    """
    _check("batch", batch)
    scaled = (
        tuple(max(1, n * side // SIDE) for n in HEIGHTS),
        tuple(max(1, n * side // SIDE) for n in WIDTHS),
    )
    if size is not None:
        _check("height", (size[0],) * 3)
        _check("width", (size[1],) * 3)
        scaled = (size[0],) * 3, (size[1],) * 3
    ranges: Mapping[str, tuple[int, ...]] = {
        "batch": batch,
        "height": scaled[0],
        "width": scaled[1],
        "columns": COLUMNS,
        "frames": FRAMES,
    }
    shapes: Shapes = {}
    for tensor in tensors:
        names = ("batch", *_AXES.get(kind, ()))
        axes: list[tuple[int, ...]] = []
        for at, axis in enumerate(tensor.shape):
            name = names[at] if at < len(names) else ""
            if isinstance(axis, int):
                axes.append((axis,) * 3)
            elif name in ranges:
                axes.append(ranges[name])
            else:
                raise ModelError(
                    f"its input {tensor.name} leaves axis {at} ({axis}) open, and it is not known "
                    "of what; export it with that axis fixed"
                )
        low, usual, high = (tuple(axis[n] for axis in axes) for n in range(3))
        shapes[tensor.name] = (low, usual, high)
    return shapes


def _check(name: str, sizes: Range) -> None:
    low, usual, high = sizes
    if not 1 <= low <= usual <= high:
        told = ":".join(str(n) for n in sizes)
        raise ModelError(f"{name} is {told}; give 1 or more, in order MIN:OPT:MAX")


def is_inside(shapes: Shapes, arrays: Arrays) -> bool:
    """Return whether inputs have sizes that a plan was built for.

    Examples
    --------
    >>> import numpy as np
    >>> shapes = {"x": ((1, 3), (2, 3), (4, 3))}
    >>> is_inside(shapes, {"x": np.zeros((4, 3))}), is_inside(shapes, {"x": np.zeros((5, 3))})
    (True, False)
    """
    for name, (low, _, high) in shapes.items():
        shape = arrays[name].shape if name in arrays else ()
        if len(shape) != len(low):
            return False
        if not all(a <= n <= b for a, n, b in zip(low, shape, high, strict=True)):
            return False
    return True
