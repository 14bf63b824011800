"""Alignment with deadlines: a step is taken when it is complete, or with what is there by then.

For every modality it is known why it is not there: `missing` if the source has none at that step,
`stale` if it has and it was dropped, lost, or did not come in time.
"""

from dataclasses import dataclass, field

from ..engines.settings import MODALITIES, ModalityName
from .align import Aligner, StepInputs
from .events import Status
from .scoring import StepInput


@dataclass(frozen=True)
class LiveInputs(StepInputs):
    """What is there for one step, and what each modality's state is."""

    statuses: dict[ModalityName, Status]


@dataclass
class LiveAligner(Aligner):
    """Put the inputs of one session together, from the step `first` on.

    Examples
    --------
    >>> aligner = LiveAligner({"object", "sound"})
    >>> aligner.put("object", 0, "picture 0")
    >>> aligner.is_complete
    False
    >>> aligner.take_now().statuses
    {'action': 'missing', 'object': 'ok', 'sound': 'stale'}
    """

    first: int = 0
    n_known: int = 0  # steps that are known to exist
    _absent: dict[ModalityName, dict[int, Status]] = field(
        default_factory=lambda: {name: {} for name in MODALITIES}
    )
    _last: dict[ModalityName, int] = field(default_factory=dict)  # of an ended modality

    def __post_init__(self) -> None:
        self._next = self.first
        self.n_known = max(self.n_known, self.first)

    def put(
        self, modality: ModalityName, step: int, item: StepInput | None, status: Status = "missing"
    ) -> None:
        """Take in a modality's input of a step; None says that it has none, and what it is then."""
        super().put(modality, step, item)
        self.n_known = max(self.n_known, step + 1)
        if item is None and step >= self._next:
            self._absent[modality][step] = status

    def begin(self, modality: ModalityName, step: int) -> None:
        """Take note that a modality has nothing before a step, back to what it delivered last."""
        for other in range(max(self._next, self._reached[modality] + 1), step):
            self._absent[modality].setdefault(other, "missing")

    def end(self, modality: ModalityName, n_steps: int, n_delivered: int | None = None) -> None:
        """Take note that a modality delivers no more.

        Parameters
        ----------
        modality : {"action", "object", "sound"}
        n_steps : int
            Of the session.
        n_delivered : int, optional
            Steps below this were delivered, whether they arrived or not; later ones have none.
        """
        super().end(modality, n_steps)
        self.n_known = n_steps
        if n_delivered is not None:
            self._last[modality] = n_delivered

    def stop(self) -> None:
        """Take note that nothing more will come, and that no end was said."""
        if self.n_steps is None:
            self.n_steps = self.n_known

    @property
    def has_next(self) -> bool:
        """Whether the next step is known to exist."""
        return self._next < self.n_known

    @property
    def has_input(self) -> bool:
        """Whether anything is there for the next step."""
        return any(self._next in waiting for waiting in self._waiting.values())

    def take_now(self) -> LiveInputs:
        """Return the next step with what is there."""
        step = self._next
        statuses = {name: self._status(name, step) for name in MODALITIES}
        for absent in self._absent.values():
            absent.pop(step, None)
        return LiveInputs(step, self._pop().inputs, statuses)

    def _status(self, modality: ModalityName, step: int) -> Status:
        if step in self._waiting[modality]:
            return "ok"
        if modality not in self.expected or step >= self._last.get(modality, step + 1):
            return "missing"
        return self._absent[modality].get(step, "stale")

    def skip(self, until: int) -> tuple[int, int]:
        """Leave out the steps below `until`; return how many had any input, and how many none."""
        n = max(0, until - self._next)
        there = {s for waiting in self._waiting.values() for s in waiting if s < until}
        for steps in (*self._waiting.values(), *self._absent.values()):
            for step in [step for step in steps if step < until]:
                del steps[step]
        self._next += n
        return len(there), n - len(there)
