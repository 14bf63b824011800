"""Optical flow by the network: what makes sequences of pairs, and pairs of sequences."""

import logging
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..engines.engine import ModelError
from ..engines.options import EngineOptions
from .flow_method import Flow, Pair, check_pair, farneback
from .timeline import TICKS_PER_STEP

NETWORK_BATCH: Final = 16  # steps
N_FRAMES: Final = TICKS_PER_STEP + 1  # of a sequence: what a step brings, and the frame before

logger = logging.getLogger(__name__)


class NetworkFlow:
    """Farneback as a network, for a GPU.

    Frames that follow each other go in as sequences of `N_FRAMES`, all sequences of one size as one
    batch: the network expands each frame of a sequence once. Frames that are smaller than it takes
    are left to OpenCV.

    Parameters
    ----------
    options : EngineOptions
        What runs it.
    may_leave : bool
        Whether OpenCV computes the flow where the GPU does not: as long as a CPU runs the network,
        while the plan is being built, and after a failure, which is one logged line.

    Raises
    ------
    ModelError
        If it cannot be run so.
    """

    name: Final = "network"
    batch: Final = NETWORK_BATCH

    def __init__(self, options: EngineOptions, *, may_leave: bool = False) -> None:
        from ..engines.flow_net import SMALLEST_SIDE, FlowNet  # here: it may load a runtime

        self._may_leave, self._smallest = may_leave, SMALLEST_SIDE
        self._has_failed = False
        self._net = FlowNet(options)

    @property
    def backend(self) -> str:
        """What computes the flow now."""
        by_opencv = self._may_leave and (self._has_failed or self._is_on_cpu)
        return "opencv-cpu" if by_opencv else self._net.backend

    @property
    def why(self) -> str:
        """Why it is this one, for people; nothing if it was asked for."""
        if not self._may_leave:
            return ""
        if self._has_failed or self.is_for_ever_slow:
            return "the GPU failed"
        return "until the plan for the GPU is there" if self._is_on_cpu else "a GPU runs it"

    @property
    def progress(self) -> float | None:
        """How much of its plan is built, 0 to 1; None when none is being built."""
        return self._net.progress

    @property
    def is_slow_next(self) -> bool:
        """Whether a plan is loaded before the next flows."""
        return self._net.is_slow_next

    @property
    def is_for_ever_slow(self) -> bool:
        """Whether a CPU runs it, and no plan for a GPU is being built."""
        return self._is_on_cpu and self._net.progress is None

    def flows(self, pairs: Sequence[Pair]) -> list[Flow]:
        """Return the flow of each pair; see `FlowMethod.flows`."""
        by_size: dict[tuple[int, ...], list[list[int]]] = {}
        for run in _runs(pairs):
            by_size.setdefault(pairs[run[0]][0].shape, []).append(run)
        flows: dict[int, Flow] = {}
        for size, runs in by_size.items():
            for first in range(0, len(runs), NETWORK_BATCH):
                some = runs[first : first + NETWORK_BATCH]
                found = None if min(size) < self._smallest else self._by_network(pairs, some)
                for number, run in enumerate(some):
                    if found is None:
                        flows |= {place: farneback(*pairs[place]) for place in run}
                    else:  # without those of repeated frames
                        flows |= zip(run, found[number], strict=False)
        return [flows[place] for place in range(len(pairs))]

    def close(self) -> None:
        """Release the network. Calling it twice is harmless."""
        self._net.close()

    @property
    def _is_on_cpu(self) -> bool:
        return self._net.backend.endswith("-cpu")

    @property
    def _is_left(self) -> bool:
        """Whether OpenCV is to compute the flow."""
        # A plan that is ready must be given inputs to take over: it is compared on them.
        is_slow = self._is_on_cpu and self._net.progress != 1.0
        return self._may_leave and (self._has_failed or is_slow)

    def _by_network(
        self, pairs: Sequence[Pair], runs: list[list[int]]
    ) -> NDArray[np.float32] | None:
        """Return the flows of runs of one size; None if OpenCV is to compute them."""
        if self._is_left:
            return None
        try:
            return self._net.flows(np.stack([_sequence(pairs, run) for run in runs]))
        except ModelError as error:
            if not self._may_leave:
                raise
            self._has_failed = True
            logger.warning("flow is farneback from now on: %s", error)
            return None


def _runs(pairs: Sequence[Pair]) -> list[list[int]]:
    """Return the places of pairs that follow each other, so many as fit into a sequence."""
    runs: list[list[int]] = []
    for place, pair in enumerate(pairs):
        check_pair(*pair)
        follows = place and pairs[place - 1][1] is pair[0]
        if follows and len(runs[-1]) < N_FRAMES - 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    return runs


def _sequence(pairs: Sequence[Pair], run: list[int]) -> NDArray[np.uint8]:
    """Return the frames of a run (N_FRAMES, H, W), the last repeated: all runs have one shape."""
    frames = [pairs[run[0]][0], *(pairs[place][1] for place in run)]
    frames += [frames[-1]] * (N_FRAMES - len(frames))
    return np.stack(frames)
