"""A model run by ONNX Runtime on the CPU: a batch of inputs in, scores in [0, 1] out."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# From 1.29 on, ONNX Runtime tells its maker about the models it runs, and leaves a file in the
# folder for temporary files, from the moment it is imported on. Who wants that sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

from .engine import Header, Kind, ModelError, Scores
from .metadata import (
    AGAIN,
    find_header,
    model_hash,
    no_header,
    one_line,
    parse_model,
    read_model,
)

# What the input of each kind is: element type of ONNX, axes, and what they are called.
INPUTS: dict[Kind, tuple[str, int, str]] = {
    "object": ("tensor(uint8)", 4, "pictures, uint8 (B, H, W, 3)"),
    "action": ("tensor(float)", 4, "flow stacks, float32 (B, 10, H, W)"),
    "sound": ("tensor(float)", 3, "windows, float32 (B, 384, columns) or (B, 96, 64)"),
}
DTYPES = {"tensor(uint8)": np.dtype(np.uint8), "tensor(float)": np.dtype(np.float32)}


def make_session(model: bytes, name: str, *, threads: int = 1) -> onnxruntime.InferenceSession:
    """Return an ONNX Runtime session as every engine of ours wants it.

    Parameters
    ----------
    model : bytes
        An ONNX file that `parse_model` has accepted.
    name : str
        For the error's message.
    threads : int
        Inside one operator. One is best where several processes share the cores: idle threads
        would spin and starve the others.

    Returns
    -------
    session : onnxruntime.InferenceSession
        On the CPU. It keeps no memory plan for each shape it has seen, so memory stays flat over
        inputs of many sizes.

    Raises
    ------
    ModelError
        If ONNX Runtime refuses the model.
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
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own exceptions share no base class
        raise ModelError(f"{name}: cannot be loaded ({one_line(error)}); {AGAIN}") from None


class OrtEngine:
    """One of our networks, run by ONNX Runtime on the CPU.

    Parameters
    ----------
    model : path or bytes
        An ONNX file that takes and gives what the table in `engine` says.
    header : Header, optional
        In place of the file's own.
    threads : int
        See `make_session`.

    Raises
    ------
    ModelError
        If the file cannot be used: one line that names it, what is wrong and what to do.

    Examples
    --------
    >>> engine = OrtEngine("object.onnx")  # doctest: +SKIP
    >>> engine(np.zeros((1, 144, 256, 3), np.uint8)).shape  # doctest: +SKIP
    (1, 9, 5, 8)
    """

    backend = "onnxruntime-cpu"
    precision = "fp32"

    def __init__(
        self, model: str | Path | bytes, header: Header | None = None, *, threads: int = 1
    ) -> None:
        name = "the model" if isinstance(model, bytes) else str(model)
        content = model if isinstance(model, bytes) else read_model(Path(model))
        proto = parse_model(content, name)
        found = find_header(proto, name) if header is None else header
        if found is None:
            raise no_header(name)
        self.header = found
        self.hash = model_hash(content)
        session = make_session(content, name, threads=threads)
        if fault := _fault(session, found):
            raise ModelError(f"{name}: {fault}; {AGAIN}")
        self._session: onnxruntime.InferenceSession | None = session
        self._input = session.get_inputs()[0]

    def __call__(self, batch: NDArray[Any]) -> Scores:
        """Return the scores of a batch; shapes as in the table of `engine`.

        Raises
        ------
        ValueError
            If the batch has another type or shape than the model takes, or the engine is closed.
        """
        if self._session is None:
            raise ValueError(f"the model {self.header.name!r} is closed; load it again")
        self._check(batch)
        try:
            (scores,) = self._session.run(["scores"], {self._input.name: batch})
        except Exception as error:  # the runtime's own exceptions share no base class
            raise ModelError(
                f"the model {self.header.name!r} failed on a batch {batch.shape} "
                f"({one_line(error)}); give inputs of another size, or another model"
            ) from None
        return np.asarray(scores, np.float32)

    def close(self) -> None:
        """Release the session. Calling it twice is harmless."""
        self._session = None

    def _check(self, batch: NDArray[Any]) -> None:
        axes = self._input.shape  # a number where it is fixed, a name where any size will do
        fits = batch.dtype == DTYPES[self._input.type] and batch.ndim == len(axes)
        if fits:
            sizes = zip(axes, batch.shape, strict=True)
            fits = all(m > 0 and (n == m or not isinstance(n, int)) for n, m in sizes)
        if not fits:
            raise ValueError(
                f"the {self.header.kind} model {self.header.name!r} takes "
                f"{INPUTS[self.header.kind][2]}, none of them 0; "
                f"given is {batch.dtype} {batch.shape}"
            )


def _fault(session: onnxruntime.InferenceSession, header: Header) -> str | None:
    """Return how a session differs from what its header promises, or None."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    element, rank, what = INPUTS[header.kind]
    if len(inputs) != 1 or inputs[0].type != element or len(inputs[0].shape) != rank:
        return f"does not take what {header.kind} models take ({what})"
    scores = next((output for output in outputs if output.name == "scores"), None)
    if scores is None or scores.type != "tensor(float)" or len(scores.shape) != rank:
        return f"has no float32 output `scores` of rank {rank}"
    if isinstance(scores.shape[1], int) and scores.shape[1] != len(header.labels):
        return f"gives {scores.shape[1]} scores for {len(header.labels)} labels"
    return None
