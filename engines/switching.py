"""A network that becomes another while it is used: ONNX Runtime until there is a TensorRT plan.

The plan is built in another process. Once it is there it is loaded between two runs, gets the next
real inputs beside the network that runs, and takes its place if their scores agree. Whatever goes
wrong with it is one logged line, and everything goes on as it was. Inputs of sizes that the plan
was not built for are run by ONNX Runtime then, too.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .bounds import LARGEST, MEAN
from .compiled import Compiled, mark
from .engine import ModelError
from .network import Arrays, Network, Tensor
from .profiles import is_inside

# Of flow, px at 99 of 100 places: where nothing is to be seen, rounding decides what moves.
FLOW_BOUND, FLOW_SHARE = 0.05, 0.99
COMPARED = 3  # runs that must agree before the plan takes over
OUTSIDE = 100  # runs of other sizes than the plan's, and none of its own, until it is given up

logger = logging.getLogger(__name__)


class Build(Protocol):
    """What builds a plan; `build_process.BuildProcess` is one."""

    @property
    def progress(self) -> float:
        """How much is done, 0 to 1; 1 once it is over, one way or the other."""
        ...

    def poll(self) -> Compiled | None:
        """Return what was built, None while it is being built; ModelError if nothing was."""
        ...

    def close(self) -> None:
        """Give up."""
        ...


class SwitchingNetwork:
    """A network that runs on ONNX Runtime, and on TensorRT once there is a plan that agrees.

    Parameters
    ----------
    first : callable
        Opens the network that runs until then.
    build : Build or None
        What builds the plan.
    load : callable
        Opens the network of a plan.
    name : str
        For messages.
    plan : Compiled, optional
        One that is there already: used at once if it has passed, else compared first.
    may_return : bool
        Whether to return to the first network if TensorRT fails later on.

    Attributes
    ----------
    inputs, outputs : tuple of Tensor
    note : str
        The last thing that happened, for people.

    Raises
    ------
    ModelError
        If neither network can be opened.

    Examples
    --------
    >>> network = SwitchingNetwork(first, build, load)  # doctest: +SKIP
    >>> network.backend, network.progress  # doctest: +SKIP
    ('onnxruntime-cpu', 0.0)
    """

    def __init__(
        self,
        first: Callable[[], Network],
        build: Build | None,
        load: Callable[[Compiled], Network],
        *,
        name: str = "the model",
        plan: Compiled | None = None,
        may_return: bool = False,
    ) -> None:
        self._open_first, self._build, self._load, self._name = first, build, load, name
        self._first: Network | None = None
        self._second: Network | None = None
        self._plan = plan  # that was found or built
        self._may_return = may_return
        self._n_agreed, self._difference = 0, 0.0
        self._n_outside = 0
        self._is_switched = self._is_closed = False
        self.note = ""
        if plan is not None and plan.passed:
            self._second = load(plan)
            self._is_switched = True
        else:
            self._first = first()
        self.inputs: tuple[Tensor, ...] = self._now.inputs
        self.outputs: tuple[Tensor, ...] = self._now.outputs

    @property
    def backend(self) -> str:
        """What runs now."""
        return self._now.backend

    @property
    def precision(self) -> str:
        """The precision in which it runs now."""
        return self._now.precision

    @property
    def progress(self) -> float | None:
        """How much of the plan is built, 0 to 1; None when nothing is being built or compared."""
        if self._is_closed or self._is_switched:
            return None
        if self._build is not None:
            return self._build.progress
        return None if self._plan is None else 1.0

    @property
    def is_slow_next(self) -> bool:
        """Whether the next run also loads a plan, which may take seconds."""
        if self._is_closed or self._is_switched or self._second is not None:
            return False
        if self._build is None:
            return self._plan is not None
        return self._build.progress >= 1.0

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        """Return every output by name; see `Network.run`."""
        if self._is_closed:
            raise ValueError(f"the network of {self._name} is closed; load it again")
        if not self._is_switched:
            self._look(feeds)
            found = self._now.run(feeds)
            self._compare(feeds, found)
            return found
        if self._plan is not None and not is_inside(self._plan.shapes, feeds):
            return self._outside(feeds)
        try:
            return self._now.run(feeds)
        except ModelError as error:
            if not self._may_return:
                raise
            return self._return(feeds, error)

    def close(self) -> None:
        """Release what it holds, and end what builds. Calling it twice is harmless."""
        self._is_closed = True
        self._end_build()
        for network in (self._first, self._second):
            if network is not None:
                network.close()

    @property
    def _now(self) -> Network:
        network = self._second if self._is_switched else self._first
        if network is None:  # one of the two is there from the beginning to the end
            raise ValueError(f"{self._name}: has no network")
        return network

    def _look(self, feeds: Arrays) -> None:
        """Load the plan if it is there now, and if it is for such inputs: both take memory."""
        if self._second is not None:
            return
        try:
            if self._build is not None and (built := self._build.poll()) is not None:
                self._plan = built
                self._end_build()
            if self._build is None and self._plan is not None:
                if not is_inside(self._plan.shapes, feeds):
                    self._wait_for_others()
                    return
                self._second = self._load(self._plan)
                if fault := _difference_of(self._now, self._second):
                    raise ModelError(f"the plan {fault}")
        except ModelError as error:
            self._stay(str(error))

    def _wait_for_others(self) -> None:
        self._n_outside += 1
        if self._n_outside == OUTSIDE:
            raise ModelError("it is for other sizes; see `playspot compile --batch --size`")

    def _compare(self, feeds: Arrays, found: dict[str, NDArray[Any]]) -> None:
        """Give the plan what the network that runs was given; let it take over if it agrees."""
        if self._second is None or self._plan is None or not is_inside(self._plan.shapes, feeds):
            return
        try:
            other = self._second.run(feeds)
        except (ModelError, ValueError) as error:
            self._stay(str(error))
            return
        judge, bound = _judge(self._plan)
        for name, array in found.items():
            difference = _distance(array, other.get(name), judge)
            self._difference = max(difference, self._difference)  # in this order: it may be NaN
            if not difference <= bound:
                self._mark(passed=False)
                self._stay(f"what the plan gives differs by {difference:.2g}, above {bound:g}")
                return
        self._n_agreed += 1
        if self._n_agreed == COMPARED:
            self._switch()

    def _switch(self) -> None:
        before = self._now
        self._mark(passed=True)
        self._is_switched = True
        before.close()
        self._first = None
        self.note = (
            f"{self._name}: from now on {self.backend} {self.precision} in place of "
            f"{before.backend} (difference {self._difference:.1g})"
        )
        logger.info("%s", self.note)

    def _stay(self, why: str) -> None:
        """Give the plan up; what runs goes on."""
        self._end_build()
        second, self._second, self._plan = self._second, None, None
        if second is not None:
            second.close()
        why = why.removeprefix(f"{self._name}: ")
        self.note = f"{self._name}: stays on {self.backend}, without a TensorRT plan: {why}"
        logger.warning("%s", self.note)

    def _return(self, feeds: Arrays, error: ModelError) -> dict[str, NDArray[Any]]:
        """Go back to the first network for good, unless the inputs are to blame."""
        first = self._first or self._open_first()
        try:
            found = first.run(feeds)
        except ModelError:
            if self._first is None:
                first.close()
            raise error from None
        self._first, self._is_switched = first, False
        self._stay(str(error))
        return found

    def _outside(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        if self._first is None:
            self._first = self._open_first()
            shapes = ", ".join(f"{name} {array.shape}" for name, array in feeds.items())
            self.note = (
                f"{self._name}: {shapes} is outside of what its plan was built for, and runs on "
                f"{self._first.backend}; see `playspot compile --batch --size`"
            )
            logger.warning("%s", self.note)
        return self._first.run(feeds)

    def _mark(self, *, passed: bool) -> None:
        if self._plan is not None and not self._plan.passed:
            report = {"max_difference": self._difference, "runs": self._n_agreed}
            with suppress(ModelError):  # it is compared again the next time
                self._plan = mark(self._plan, passed=passed, report=report)

    def _end_build(self) -> None:
        build, self._build = self._build, None
        if build is not None:
            build.close()


def _difference_of(one: Network, other: Network) -> str | None:
    for told, a, b in (("takes", one.inputs, other.inputs), ("gives", one.outputs, other.outputs)):
        if {(t.name, t.dtype) for t in a} != {(t.name, t.dtype) for t in b}:
            return f"{told} {', '.join(t.name for t in b)}, not {', '.join(t.name for t in a)}"
    return None


def _judge(plan: Compiled) -> tuple[Callable[[NDArray[Any]], float], float]:
    """Return what is made of the differences of a plan's outputs, and what it may be."""
    if plan.kind == "flow":
        return lambda apart: float(np.quantile(apart, FLOW_SHARE)), FLOW_BOUND
    largest = LARGEST[plan.precision]
    if largest is None:
        return lambda apart: float(apart.mean()), MEAN[plan.precision]
    return lambda apart: float(apart.max()), largest


def _distance(
    array: NDArray[Any], other: NDArray[Any] | None, judge: Callable[[NDArray[Any]], float]
) -> float:
    """Return how far apart two outputs are."""
    if other is None or array.shape != other.shape:
        return float("inf")
    return judge(np.abs(array.astype(np.float64) - other)) if array.size else 0.0
