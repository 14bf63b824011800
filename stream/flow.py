"""Grey frames at the tick rate -> stacks of dense optical flow at the step rate.

In: grey frames, uint8 (H, W), one a tick (128 ms). Out: a stack a step, float32 (10, H, W), in
pixels per tick, x (to the right) and y (down) in turn, oldest flow first. `stack_flow` takes all
frames at once, `FlowStream` one by one; both give the same, whatever the method (`flow_method.py`).

Flow t leads from the frame at tick t to that at tick t + 1. The stack of step k holds the flows
4k - 2 ... 4k + 2, so that the middle one starts at the step's own picture. Where there is no frame,
before the first, after the last or in a gap, the nearest earlier one stands (before the first: the
first), and the flow is zero without being computed. Source: Liu, Yang and Jeng 2018, section V-C1;
positions, parameters and clipping from the authors' code.

With `delay` ticks a stack holds the flows that lie so much earlier; with `FLOW_LOOK_AHEAD` it needs
nothing that comes after the step's own frame.

An action model that computes the flow itself sees the six frames of a stack in its place, uint8
(6, H, W), a seventh of the bytes: the flows between them are those of the stack.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .flow_method import FARNEBACK, Flow, FlowMethod, Pair, check_grey
from .media import Grey, GreyFrame
from .timeline import FLOWS_PER_STACK, STACK_FIRST_TICK, TICKS_PER_STEP

Stack: TypeAlias = NDArray[np.float32]  # (10, H, W)

N_CHANNELS = 2 * FLOWS_PER_STACK
N_STACK_FRAMES = FLOWS_PER_STACK + 1
FLOW_LOOK_AHEAD = STACK_FIRST_TICK + FLOWS_PER_STACK  # ticks from a step to its last frame: 3


@dataclass(frozen=True)
class FlowStack:
    """What the action model sees of a step.

    Attributes
    ----------
    step : int
    stack : float32, shape (10, H, W)
        Flow 0 x, flow 0 y, ... flow 4 y, in pixels per tick; or, for a model that computes the
        flow itself, the grey frames: uint8, shape (6, H, W).
    """

    step: int
    stack: NDArray[Any]


def stack_flow(greys: Sequence[Grey] | NDArray[np.uint8], method: FlowMethod = FARNEBACK) -> Stack:
    """Return the flow stacks of all frames of a video.

    Parameters
    ----------
    greys : uint8, shape (N, H, W)
        The frame of tick i at place i.
    method : FlowMethod
        How flow is computed.

    Returns
    -------
    stacks : float32, shape (ceil(N / 4), 10, H, W)
        One for each step whose own frame (tick 4k) is there. No frames at all: (0, 10, 0, 0).

    Raises
    ------
    ValueError
        If a frame is not grey uint8, or the frames differ in size.

    Examples
    --------
    >>> import numpy as np
    >>> stack_flow(np.zeros((9, 36, 64), np.uint8)).shape
    (3, 10, 36, 64)
    """
    sizes = {grey.shape for grey in greys}
    if len(sizes) > 1:
        raise ValueError(f"frames have shapes {sorted(sizes)}; give frames of one size.")
    stream = FlowStream(method)
    stacks: list[FlowStack] = []
    ready: list[Ready] = []
    for tick, grey in enumerate(greys):
        ready += [(stream, step) for step in stream.add(GreyFrame(tick, grey))]
        if len(ready) >= method.batch:
            stacks += stacks_of(ready)
            ready = []
    stacks += stacks_of(ready) + stream.flush()
    if not stacks:
        return np.zeros((0, N_CHANNELS, 0, 0), np.float32)
    return np.stack([stack.stack for stack in stacks])


class FlowStream:
    """The flow stacks of grey frames that come one by one.

    A stack is given as soon as the frame of tick 4k + 3 (or, if that is missing, a later one) has
    come; a step has a stack if its own frame, tick 4k, came. Each flow is computed once, and not
    at all between equal frames, where it is zero. A stack has the size of its step's own frame;
    frames before and after a change of size do not count for it, as if there were none.

    `push` computes as it goes. Whoever may leave stacks out, or computes those of several steps or
    streams together, calls `add`, which computes nothing, and then `stacks_of` or `skip` for each
    step that is ready.

    Parameters
    ----------
    method : FlowMethod or None
        How flow is computed. None: not at all, and a step comes with its six frames.
    delay : int
        Ticks by which stacks look less far ahead and further back.

    Attributes
    ----------
    method : FlowMethod or None
    first : int
        Ticks from a step to the first of the six frames that its stack sees: -2 without delay.

    Examples
    --------
    >>> import numpy as np
    >>> stream = FlowStream()
    >>> frames = [GreyFrame(tick, np.zeros((36, 64), np.uint8)) for tick in range(6)]
    >>> [stack.step for frame in frames for stack in stream.push(frame)]
    [0]
    >>> [stack.step for stack in stream.flush()]
    [1]
    """

    def __init__(self, method: FlowMethod | None = FARNEBACK, *, delay: int = 0) -> None:
        self.method = method
        self.first = STACK_FIRST_TICK - delay
        self._last = FLOW_LOOK_AHEAD - delay
        self.reset()

    def reset(self) -> None:
        """Forget all frames, as if the stream were new."""
        self._frames: dict[int, Grey] = {}  # by tick, in order; equal ones are one array
        self._flows: dict[int, Flow] = {}  # by first tick, those that are computed
        self._pending: list[int] = []  # steps whose stack is not yet given
        self._n_ready = 0  # of those, the first so many

    def push(self, frame: GreyFrame) -> list[FlowStack]:
        """Return the stacks that `frame` completes, in the order of their steps.

        Parameters
        ----------
        frame : GreyFrame
            uint8 (H, W), of a later tick than the one before.

        Returns
        -------
        stacks : list of FlowStack
            Mostly none or one.

        Raises
        ------
        ValueError
            If the image is not grey uint8, or the tick is not later than the last one.
        """
        return stacks_of([(self, step) for step in self.add(frame)])

    def add(self, frame: GreyFrame) -> list[int]:
        """Take in a frame as `push` does; return the steps that have become ready."""
        tick, image = frame.tick, frame.image
        check_grey(image)
        if self._frames:
            newest = next(reversed(self._frames))
            if tick <= newest:
                raise ValueError(
                    f"frame of tick {tick} came after that of tick {newest}; "
                    "push frames in the order of time."
                )
            if np.array_equal(self._frames[newest], image):
                image = self._frames[newest]
        self._frames[tick] = image
        if tick % TICKS_PER_STEP == 0:
            self._pending.append(tick // TICKS_PER_STEP)
        ready = [
            step
            for step in self._pending[self._n_ready :]
            if TICKS_PER_STEP * step + self._last <= tick
        ]
        self._n_ready += len(ready)
        self._forget()
        return ready

    def skip(self, step: int) -> None:
        """Leave out the stack of a step that is ready: what only it needs is never computed.

        Raises
        ------
        KeyError
            If the step is not ready, or its stack was given or skipped.
        """
        self._check_ready(step)
        self._n_ready -= 1
        self._pending.remove(step)
        self._forget()

    def finish(self) -> list[int]:
        """Return the steps that become ready because no frame follows the last one."""
        rest = self._pending[self._n_ready :]
        self._n_ready = len(self._pending)
        return rest

    def flush(self) -> list[FlowStack]:
        """Return the stacks that are left at the end of the video, and start afresh.

        Returns
        -------
        stacks : list of FlowStack
            With the last frame repeated: zero flow after it.
        """
        self.finish()
        rest = stacks_of([(self, step) for step in self._pending])
        self.reset()
        return rest

    def frames(self, step: int) -> list[Grey]:
        """Return the six frames of a step that is ready.

        Where one is missing the nearest earlier one stands, before the first the first: the same
        array again, so that there is no motion. In a gap the frame before it stands still, and all
        its motion is in the last flow. Frames of another size than the step's own are missing.

        Raises
        ------
        KeyError
            If the step is not ready, or its stack was given or skipped.
        """
        self._check_ready(step)
        ticks = list(self._frames)
        own = ticks.index(TICKS_PER_STEP * step)
        size = self._frames[ticks[own]].shape
        first = last = own
        while first > 0 and self._frames[ticks[first - 1]].shape == size:
            first -= 1
        while last + 1 < len(ticks) and self._frames[ticks[last + 1]].shape == size:
            last += 1
        ticks = ticks[first : last + 1]
        begin = TICKS_PER_STEP * step + self.first
        standing = [bisect_right(ticks, begin + place) - 1 for place in range(N_STACK_FRAMES)]
        return [self._frames[ticks[max(0, place)]] for place in standing]

    def _moves(self, step: int) -> dict[int, Pair]:
        """Return the pairs between which there is motion, by first tick."""
        first = TICKS_PER_STEP * step + self.first
        pairs = enumerate(pairwise(self.frames(step)), first)
        return {tick: (one, two) for tick, (one, two) in pairs if one is not two}

    def _give(self, step: int) -> FlowStack:
        frames = self.frames(step)
        if self.method is None:
            array: NDArray[Any] = np.stack(frames)
        else:
            array = np.zeros((FLOWS_PER_STACK, 2, *frames[0].shape), np.float32)
            for tick in self._moves(step):
                array[tick - TICKS_PER_STEP * step - self.first] = self._flows[tick]
            array = array.reshape(N_CHANNELS, *frames[0].shape)
        self.skip(step)
        return FlowStack(step, array)

    def _check_ready(self, step: int) -> None:
        if step not in self._pending[: self._n_ready]:
            raise KeyError(f"the stack of step {step} is not ready, or was given already")

    def _forget(self) -> None:
        """Let go of the frames and flows that no stack will need."""
        if not self._frames:
            return
        ticks = list(self._frames)
        # A stack of which nothing is here yet begins less than this many ticks back.
        oldest = ticks[-1] + 1 - FLOWS_PER_STACK
        if self._pending:
            oldest = min(oldest, TICKS_PER_STEP * self._pending[0] + self.first)
        standing = max(0, bisect_right(ticks, oldest) - 1)  # the frame that stands there
        for tick in ticks[:standing]:
            del self._frames[tick]
        for tick in [tick for tick in self._flows if tick < oldest]:
            del self._flows[tick]


Ready: TypeAlias = tuple[FlowStream, int]  # and a step of it that is ready


def stacks_of(ready: Sequence[Ready]) -> list[FlowStack]:
    """Return the stacks of steps that are ready, each once, all their flows in one batch.

    Parameters
    ----------
    ready : sequence of (FlowStream, step)
        Of any streams that share their method.

    Raises
    ------
    KeyError
        If a step is not ready, or its stack was given or skipped.
    ModelError
        If the method is a network, and fails.
    """
    wanted: dict[Ready, Pair] = {}
    for stream, step in ready:
        if stream.method is not None:
            moves = stream._moves(step).items()
            wanted |= {(stream, tick): pair for tick, pair in moves if tick not in stream._flows}
    if wanted:
        method = ready[0][0].method
        assert method is not None
        flows = method.flows(list(wanted.values()))
        for (stream, tick), flow in zip(wanted, flows, strict=True):
            stream._flows[tick] = flow
    return [stream._give(step) for stream, step in ready]
