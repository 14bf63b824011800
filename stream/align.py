"""Alignment: inputs of three modalities, each in its own time, become complete steps in order.

A step is complete when every modality of the source has delivered it, has gone past it, or has
ended. What a modality never delivered is missing in the step: said, not guessed.
"""

from dataclasses import dataclass, field
from typing import Any

from ..engines.settings import MODALITIES, ModalityName

LIMIT = 16  # steps that one modality may run ahead of the next complete step (8 s)


@dataclass(frozen=True)
class StepInputs:
    """What is there for one step: modality to its input; a missing one has no entry."""

    step: int
    inputs: dict[ModalityName, Any]


@dataclass
class Aligner:
    """Put the inputs of one source together.

    Modality `object` takes pictures, `action` flow stacks, `sound` windows.

    Examples
    --------
    >>> aligner = Aligner({"object", "sound"})
    >>> aligner.put("object", 0, "picture 0")
    >>> aligner.take()
    >>> aligner.put("sound", 0, "window 0")
    >>> aligner.take()
    StepInputs(step=0, inputs={'object': 'picture 0', 'sound': 'window 0'})
    """

    expected: set[ModalityName]
    n_steps: int | None = None  # known once the source has ended
    _next: int = 0
    _waiting: dict[ModalityName, dict[int, Any]] = field(
        default_factory=lambda: {name: {} for name in MODALITIES}
    )
    _reached: dict[ModalityName, int] = field(default_factory=lambda: dict.fromkeys(MODALITIES, -1))
    _ended: set[ModalityName] = field(default_factory=set)

    def put(self, modality: ModalityName, step: int, item: Any) -> None:
        """Take in a modality's input of a step; None says that it has none. Steps increase."""
        self._reached[modality] = max(self._reached[modality], step)
        if item is not None and step >= self._next:
            self._waiting[modality][step] = item

    def end(self, modality: ModalityName, n_steps: int) -> None:
        """Take note that a modality delivers no more, and that the source has `n_steps` steps."""
        self._ended.add(modality)
        self.n_steps = n_steps

    def is_full(self, modality: ModalityName) -> bool:
        """Return whether a modality is so far ahead that it should wait for the others."""
        return self.n_steps is None and self._reached[modality] - self._next >= LIMIT

    @property
    def is_done(self) -> bool:
        """Whether every step has been taken and every expected modality has ended."""
        return (
            self.n_steps is not None and self.expected <= self._ended and self._next >= self.n_steps
        )

    @property
    def next_step(self) -> int:
        """The step that `take` returns next."""
        return self._next

    @property
    def is_complete(self) -> bool:
        """Whether the next step has all that it will ever get."""
        step = self._next
        if self.n_steps is not None and step >= self.n_steps:
            return False
        if any(name not in self._ended and self._reached[name] < step for name in self.expected):
            return False
        return self.n_steps is not None or any(
            self._reached[name] >= step for name in self.expected
        )

    def take(self) -> StepInputs | None:
        """Return the next step if it is complete, else None."""
        return self._pop() if self.is_complete else None

    def _pop(self) -> StepInputs:
        step = self._next
        self._next += 1
        inputs = {
            name: self._waiting[name].pop(step)
            for name in MODALITIES
            if step in self._waiting[name]
        }
        return StepInputs(step, inputs)
