"""One network compiled: the content that the cache keeps, and how to run it to be compared."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engines import compiled as cache
from ..engines.catalogue import Model
from ..engines.compiled import Compiled
from ..engines.engine import Engine, Scores
from ..engines.network import Network, Tensor
from ..engines.ort import OrtNetwork
from ..engines.plan import key_for, unpack_plan
from ..engines.profiles import SIDE, Range, Shapes, shapes_for
from ..stream.pictures import fit_size
from .progress import counting

Size = tuple[int, int]  # width, height


def shapes_of(
    model: Model, inputs: tuple[Tensor, ...], batch: Range, sizes: tuple[Size, ...]
) -> Shapes:
    """Return the shapes that a plan is built for.

    Parameters
    ----------
    model : Model
    inputs : tuple of Tensor
        Of its network.
    batch : tuple of int
        Smallest, usual, largest.
    sizes : tuple of (width, height)
        Of the videos, the usual one first; the network sees them fitted to the side that it takes.
        Empty: any.

    Raises
    ------
    ModelError
        If an axis of the network is open and cannot be named.
    """
    header = model.header
    side = header.picture_side if header.kind == "object" else SIDE
    multiple = header.picture_multiple if header.kind == "object" else 1
    if not sizes:
        return shapes_for(inputs, header.kind, batch, side=side)
    fitted = [fit_size(width, height, side, multiple) for width, height in sizes]
    each = [shapes_for(inputs, header.kind, batch, (height, width)) for width, height in fitted]
    joined: Shapes = {}
    for name, (_, usual, _) in each[0].items():
        low = tuple(map(min, zip(*(shapes[name][0] for shapes in each), strict=True)))
        high = tuple(map(max, zip(*(shapes[name][2] for shapes in each), strict=True)))
        joined[name] = (low, usual, high)
    return joined


def build(wanted: Compiled, converted: bytes, device: int) -> Compiled:
    """Return a TensorRT plan of an ONNX file, built anew, with progress; in the cache, not passed.

    Raises
    ------
    ModelError
        If it cannot be built or kept: one line.
    """
    from ..engines.build_process import build_into_store

    before = cache.find(
        wanted.model_hash,
        "tensorrt",
        wanted.precision,
        device=device,
        passed=False,
        shapes=wanted.shapes,
    )
    with counting(f"building, {wanted.kind}", 100) as advance:
        return build_into_store(
            converted,
            wanted,
            replaces=before,
            device=device,
            on_progress=lambda _, part: advance(round(100 * part), 100),
        )


def open_compiled(kept: Compiled, content: bytes, device: int) -> Network:
    """Return what was compiled, passed or not, ready to run.

    Raises
    ------
    ModelError
        If its backend refuses it.
    """
    name = f"the compiled {kept.kind} model"
    if kept.backend == "tensorrt":
        from ..engines.trt import TrtNetwork

        key = key_for(kept.model_hash, kept.precision, kept.shapes, device)
        plan = unpack_plan(content, key)
        return TrtNetwork(plan, name, device=device, precision=kept.precision)
    if kept.backend == "openvino":
        from ..engines.ov import OpenVinoNetwork

        return OpenVinoNetwork(content, name, precision=kept.precision)
    where: Any = "cuda" if kept.backend == "cuda" else "cpu"
    return OrtNetwork(content, name, device=where, gpu=device, precision=kept.precision)


class InBatches:
    """An engine that is given no batch that its plan would refuse.

    Parameters
    ----------
    engine : Engine
    least, most : int
        Sizes that its plan takes. A batch that is too small is filled up, and cut again.
    """

    def __init__(self, engine: Engine, least: int, most: int) -> None:
        self._engine = engine
        self._least, self._most = least, most
        self.header = engine.header
        self.hash = engine.hash

    @property
    def backend(self) -> str:
        """What runs it."""
        return self._engine.backend

    @property
    def precision(self) -> str:
        """The precision in which it runs."""
        return self._engine.precision

    def __call__(self, batch: NDArray[Any]) -> Scores:
        """Return the scores of a batch of any size."""
        found = []
        for first in range(0, len(batch), self._most):
            part = batch[first : first + self._most]
            missing = max(0, self._least - len(part))
            filled = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)])
            found.append(self._engine(filled)[: len(part)])
        return np.concatenate(found)

    def close(self) -> None:
        """Release the engine."""
        self._engine.close()
