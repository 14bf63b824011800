"""Engines and a model set that give recorded scores: the test doubles of real models."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .engine import Engine, Header, Scores
from .metadata import model_hash
from .options import EngineOptions
from .settings import Decoding, ModalityName

Score = Callable[[NDArray[Any]], NDArray[Any]]


class ReplayEngine:
    """Recorded scores, given in order, one for each input of a batch.

    Parameters
    ----------
    header : Header
    scores : float array, shape (N, K, ...), or callable
        The scores of the first N inputs; or a function of the batch that returns its scores.

    Attributes
    ----------
    n_given : int
        How many inputs have been answered.

    Raises
    ------
    ValueError
        If the recorded scores are not one for each label, or outside [0, 1].

    Examples
    --------
    >>> header = Header(kind="action", name="recorded", labels=("drum", "violin"))
    >>> engine = ReplayEngine(header, np.full((3, 2, 5, 8), 0.5))
    >>> engine(np.zeros((2, 10, 144, 256), np.float32)).shape, engine.n_given
    ((2, 2, 5, 8), 2)
    """

    backend = "replay"
    precision = "fp32"

    def __init__(self, header: Header, scores: NDArray[Any] | Score) -> None:
        self.header = header
        self.n_given = 0
        self._score: Score | None = None
        self._scores = np.zeros((0, len(header.labels)), np.float32)
        if callable(scores):
            self._score = scores
        else:
            self._scores = self._checked(np.asarray(scores, np.float32))
        self.hash = model_hash(self._scores.tobytes())

    def __call__(self, batch: NDArray[Any]) -> Scores:
        """Return the scores of the next inputs, one for each of the batch.

        Raises
        ------
        ValueError
            If the recording ends before, or the function's answer does not fit.
        """
        if self._score is not None:
            scores = self._checked(np.asarray(self._score(batch), np.float32))
            if len(scores) != len(batch):
                raise ValueError(f"{len(scores)} scores for {len(batch)} inputs; give one for each")
        else:
            end = self.n_given + len(batch)
            if end > len(self._scores):
                raise ValueError(
                    f"the recording {self.header.name!r} has {len(self._scores)} scores and input "
                    f"{end} was asked for; record more"
                )
            scores = self._scores[self.n_given : end]
        self.n_given += len(batch)
        return scores

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def _checked(self, scores: Scores) -> Scores:
        if scores.ndim < 2 or scores.shape[1] != len(self.header.labels):
            raise ValueError(
                f"scores have the shape {scores.shape}; axis 1 must be the "
                f"{len(self.header.labels)} labels"
            )
        if not np.all((scores >= 0) & (scores <= 1)):
            raise ValueError("scores must lie in [0, 1] and be finite")
        return scores


@dataclass(frozen=True)
class ReplayModels:
    """A model set of recorded scores, for any number of steps: a recording starts over at its end.

    Has what a `catalogue.ModelSet` has, and like it can be sent to another process.

    Parameters
    ----------
    headers : dict
        Modality to header.
    scores : dict
        Modality to recorded scores (N, K, ...): input n gets score n modulo N.
    decoding : Decoding, optional
    seconds : float
        How long each engine takes for an input.
    options : EngineOptions
        What would run networks.
    """

    headers: dict[ModalityName, Header]
    scores: dict[ModalityName, Scores]
    decoding: Decoding = field(default_factory=Decoding)
    seconds: float = 0.0
    options: EngineOptions = field(default_factory=EngineOptions)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the engines."""
        return next(iter(self.headers.values())).labels

    def load(self) -> dict[ModalityName, Engine]:
        """Return a new engine for each modality, at the beginning of its recording."""
        return {
            name: ReplayEngine(header, _Repeat(self.scores[name], self.seconds))
            for name, header in self.headers.items()
        }

    def describe(self) -> list[str]:
        """Return a line for people."""
        return ["recorded scores (for tests)"]


@dataclass
class _Repeat:
    scores: Scores
    seconds: float
    n_given: int = 0

    def __call__(self, batch: NDArray[Any]) -> Scores:
        time.sleep(len(batch) * self.seconds)
        index = np.arange(self.n_given, self.n_given + len(batch)) % len(self.scores)
        self.n_given += len(batch)
        return self.scores[index]
