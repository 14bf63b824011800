"""What a network ready to run looks like to the pipeline: a header that describes it, and a call.

Every engine takes a batch and returns **scores in [0, 1] for the labels of its header**, whatever
is inside (one of our networks, a teacher with its mapping and calibration, a recording).

=========  =====================================================  ==========================
kind       input                                                  output (float32)
=========  =====================================================  ==========================
object     pictures, uint8 RGB (B, H, W, 3)                       scores (B, K, h, w)
action     flow stacks, float32 (B, 10, H, W), pixels per tick,   scores (B, K, h, w)
           or grey frames, uint8 (B, 6, H, W): see `Header.takes`
sound      front-end windows, float32 (B, ...), see `FrontEnd`    scores (B, K, T)
=========  =====================================================  ==========================

Sound, front end `paper`: windows are (B, 384, columns) log-mel, T = columns // 4 // 4 + ... as the
network pools; front end `yamnet`: windows are (B, 96, 64) patches, T = 1.
"""

from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from .options import EngineOptions
from .settings import Decoding, ModalityName

Kind = Literal["sound", "object", "action"]
FrontEnd = Literal["paper", "yamnet"]
Scores = NDArray[np.float32]


class ModelError(ValueError):
    """A model file that cannot be used; the message is one line for the user."""


class Header(BaseModel):
    """What a model says of itself. Stored as JSON in the ONNX metadata key `playspot`.

    Attributes
    ----------
    kind, name : str
        Which of the three models, and a name for people.
    labels : tuple of str
        The axis K, in order.
    front_end : {"paper", "yamnet"} or None
        Sound only: what the mel process computes.
    takes : {"stacks", "frames"}
        Action only: flow stacks, or the six grey frames of one, of which the network computes
        the flow itself.
    picture_side, picture_multiple : int
        Object only: longer side of the pictures in pixels; what both sides are a multiple of.
    stride, offset : float
        Object and action: map cell i is centred on input pixel `offset + stride * i`.
    thresholds : dict
        Score above which a label counts as present, where the model has its own.
    normalisation : dict
        What the network does to its input before the first layer (for information: it is inside).
    provenance : dict
        How it was trained or where it came from, with seeds, data and figures.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: int = 1
    kind: Kind
    name: str
    labels: tuple[str, ...]
    front_end: FrontEnd | None = None
    takes: Literal["stacks", "frames"] = "stacks"
    picture_side: int = 256
    picture_multiple: int = 1
    stride: float = 32.0
    offset: float = 0.0
    thresholds: dict[str, float] = Field(default_factory=dict)
    normalisation: dict[str, Any] = Field(default_factory=dict)
    provenance: dict[str, Any] = Field(default_factory=dict)


class Engine(Protocol):
    """A network ready to run.

    Attributes
    ----------
    header : Header
    hash : str
        First 12 hex digits of the SHA-256 of the model file, and of what describes it, if it is a
        public network.
    backend, precision : str
        For the event's `model` field, such as "onnxruntime-cpu" and "fp32".
    """

    header: Header
    hash: str

    @property
    def backend(self) -> str: ...  # noqa: D102

    @property
    def precision(self) -> str: ...  # noqa: D102

    def __call__(self, batch: NDArray[Any]) -> Scores:
        """Return the scores of a batch; shapes as in the module's table."""
        ...

    def close(self) -> None:
        """Release what the engine holds. Calling it twice is harmless."""
        ...


class Models(Protocol):
    """A model set: what the pipeline wants to know of its models before it loads them.

    `catalogue.ModelSet` is one, and `replay.ReplayModels`. It can be sent to another process.
    """

    @property
    def headers(self) -> dict[ModalityName, Header]:
        """The header of each modality's model."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that all models share, in the order of the axis K."""
        ...

    @property
    def decoding(self) -> Decoding:
        """How the scores are fused and decoded."""
        ...

    @property
    def options(self) -> EngineOptions:
        """What runs the networks."""
        ...

    def load(self) -> dict[ModalityName, Engine]:
        """Return an engine for each modality; this creates the sessions."""
        ...
