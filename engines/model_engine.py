"""One of our networks as an engine: its header, its checks, and whatever runs it."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backends import open_network
from .engine import Header, ModelError, Scores
from .metadata import AGAIN, find_header, model_hash, no_header, parse_model, read_model
from .network import Network
from .network_engine import NetworkEngine
from .options import EngineOptions

# What the input of each kind is: element type, axes, and what they are called. An action model
# takes frames in place of stacks if the optical flow is part of it.
INPUTS: dict[str, tuple[type[np.generic], int, str]] = {
    "object": (np.uint8, 4, "pictures, uint8 (B, H, W, 3)"),
    "action": (np.float32, 4, "flow stacks, float32 (B, 10, H, W)"),
    "frames": (np.uint8, 4, "grey frames, uint8 (B, 6, H, W)"),
    "sound": (np.float32, 3, "windows, float32 (B, 384, columns) or (B, 96, 64)"),
}


class ModelEngine(NetworkEngine):
    """One of our networks, ready to run.

    Parameters
    ----------
    model : path or bytes
        An ONNX file that takes and gives what the table in `engine` says.
    header : Header, optional
        In place of the file's own.
    options : EngineOptions
        What runs it.
    network : Network, optional
        What runs it, in place of what the options would open.

    Raises
    ------
    ModelError
        If the file cannot be used, or the engine that was asked for: one line that says which,
        what is wrong and what to do.

    Examples
    --------
    >>> engine = ModelEngine("object.onnx")  # doctest: +SKIP
    >>> engine(np.zeros((1, 144, 256, 3), np.uint8)).shape  # doctest: +SKIP
    (1, 9, 5, 8)
    """

    def __init__(
        self,
        model: str | Path | bytes,
        header: Header | None = None,
        *,
        options: EngineOptions | None = None,
        network: Network | None = None,
    ) -> None:
        name = "the model" if isinstance(model, bytes) else str(model)
        content = model if isinstance(model, bytes) else read_model(Path(model))
        proto = parse_model(content, name)
        found = find_header(proto, name) if header is None else header
        if found is None:
            raise no_header(name)
        self.hash = model_hash(content)
        network = network or open_network(content, name, options or EngineOptions())
        if fault := _fault(network, found):
            network.close()
            raise ModelError(f"{name}: {fault}; {AGAIN}")
        super().__init__(found, network)
        self._input = network.inputs[0]

    def __call__(self, batch: NDArray[Any]) -> Scores:
        """Return the scores of a batch; shapes as in the table of `engine`.

        Raises
        ------
        ValueError
            If the batch has another type or shape than the model takes, or the engine is closed.
        ModelError
            If the run fails.
        """
        network = self.running()
        if not self._input.fits(batch):
            raise ValueError(
                f"the {self.header.kind} model {self.header.name!r} takes "
                f"{INPUTS[_takes(self.header)][2]}, none of them 0; "
                f"given is {batch.dtype} {batch.shape}"
            )
        try:
            scores = network.run({self._input.name: batch})["scores"]
        except ModelError as error:
            raise ModelError(
                f"the model {self.header.name!r} failed on a batch {batch.shape} "
                f"({error}); give inputs of another size, or another model"
            ) from None
        return np.asarray(scores, np.float32)


def _takes(header: Header) -> str:
    return "frames" if header.takes == "frames" else header.kind


def _fault(network: Network, header: Header) -> str | None:
    """Return how a network differs from what its header promises, or None."""
    element, rank, what = INPUTS[_takes(header)]
    inputs = network.inputs
    if len(inputs) != 1 or inputs[0].dtype != element or len(inputs[0].shape) != rank:
        return f"does not take what {header.kind} models take ({what})"
    scores = next((output for output in network.outputs if output.name == "scores"), None)
    rank = 3 if header.kind == "sound" else 4
    if scores is None or scores.dtype != np.float32 or len(scores.shape) != rank:
        return f"has no float32 output `scores` of rank {rank}"
    if isinstance(scores.shape[1], int) and scores.shape[1] != len(header.labels):
        return f"gives {scores.shape[1]} scores for {len(header.labels)} labels"
    return None
