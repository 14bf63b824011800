"""Grey frames at the tick rate -> stacks of dense optical flow at the step rate.

In: grey frames, uint8 (H, W), one a tick (128 ms). Out: a stack a step, float32 (10, H, W), in
pixels per tick, x (to the right) and y (down) in turn, oldest flow first. `stack_flow` takes all
frames at once, `FlowStream` one by one; both give the same.

Flow t leads from the frame at tick t to that at tick t + 1. The stack of step k holds the flows
4k - 2 ... 4k + 2, so that the middle one starts at the step's own picture. Where there is no frame,
before the first, after the last or in a gap, the nearest earlier one stands (before the first: the
first), and the flow is zero without being computed. Source: Liu, Yang and Jeng 2018, section V-C1;
positions, parameters and clipping from the authors' code.

With `delay` ticks a stack holds the flows that lie so much earlier; with `FLOW_LOOK_AHEAD` it needs
nothing that comes after the step's own frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .media import Grey, GreyFrame
from .timeline import FLOW_LIMIT, FLOWS_PER_STACK, STACK_FIRST_TICK, TICKS_PER_STEP

Flow = NDArray[np.float32]  # (2, H, W), pixels per tick
Stack = NDArray[np.float32]  # (10, H, W)

N_CHANNELS = 2 * FLOWS_PER_STACK
FLOW_LOOK_AHEAD = STACK_FIRST_TICK + FLOWS_PER_STACK  # ticks from a step to its last frame: 3


@dataclass(frozen=True)
class FlowStack:
    """The flow stack of a step.

    Attributes
    ----------
    step : int
    stack : float32, shape (10, H, W)
        Flow 0 x, flow 0 y, ... flow 4 y, in pixels per tick.
    """

    step: int
    stack: Stack


def farneback(previous: Grey, following: Grey) -> Flow:
    """Return the dense optical flow from one grey frame to the next.

    Parameters
    ----------
    previous, following : uint8, shape (H, W)

    Returns
    -------
    flow : float32, shape (2, H, W)
        Displacement in pixels, x then y, clipped to [-128, 127].

    Raises
    ------
    ValueError
        If a frame is not grey uint8, or the two differ in size.

    Notes
    -----
    OpenCV's Farneback (2003) with the parameters of the authors of Liu, Yang and Jeng 2018.

    Examples
    --------
    >>> import numpy as np
    >>> farneback(np.zeros((144, 256), np.uint8), np.ones((144, 256), np.uint8)).shape
    (2, 144, 256)
    """
    _check(previous)
    _check(following)
    if previous.shape != following.shape:
        raise ValueError(
            f"frames have shapes {previous.shape} and {following.shape}; give two of one size."
        )
    flow = cv2.calcOpticalFlowFarneback(
        previous,
        following,
        None,  # type: ignore[call-overload]  # no first guess
        pyr_scale=0.5,
        levels=3,
        winsize=15,
        iterations=3,
        poly_n=5,
        poly_sigma=1.2,
        flags=0,
    )  # (H, W, 2)
    # The authors keep what a signed byte could: one less to the right than to the left.
    return np.ascontiguousarray(
        np.clip(flow, -FLOW_LIMIT, FLOW_LIMIT - 1).transpose(2, 0, 1), np.float32
    )


def stack_flow(greys: Sequence[Grey] | NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the flow stacks of all frames of a video.

    Parameters
    ----------
    greys : uint8, shape (N, H, W)
        The frame of tick i at place i.

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
    stream = FlowStream()
    stacks = [
        stack for tick, grey in enumerate(greys) for stack in stream.push(GreyFrame(tick, grey))
    ]
    stacks += stream.flush()
    if not stacks:
        return np.zeros((0, N_CHANNELS, 0, 0), np.float32)
    return np.stack([stack.stack for stack in stacks])


class FlowStream:
    """The flow stacks of grey frames that come one by one.

    A stack is given as soon as the frame of tick 4k + 3 (or, if that is missing, a later one) has
    come; a step has a stack if its own frame, tick 4k, came. Each flow is computed once, and not
    at all between equal frames, where it is zero. After a change of size all earlier flows count
    as zero: a stack has the size of its step's own frame.

    `push` computes as it goes. Whoever may leave stacks out calls `add`, which computes nothing,
    and then `stack` or `skip` for each step that is ready.

    Parameters
    ----------
    delay : int
        Ticks by which stacks look less far ahead and further back.

    Attributes
    ----------
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

    def __init__(self, *, delay: int = 0) -> None:
        self.first = STACK_FIRST_TICK - delay
        self._last = FLOW_LOOK_AHEAD - delay
        self.reset()

    def reset(self) -> None:
        """Forget all frames, as if the stream were new."""
        self._newest: GreyFrame | None = None
        # By first tick; those that are not here are zero. Two frames: not computed yet.
        self._flows: dict[int, Flow | tuple[Grey, Grey]] = {}
        self._pending: dict[int, tuple[int, ...]] = {}  # step -> (H, W), its stack not yet given
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
        return [self.stack(step) for step in self.add(frame)]

    def add(self, frame: GreyFrame) -> list[int]:
        """Take in a frame as `push` does; return the steps that have become ready."""
        _check(frame.image)
        newest = self._newest
        if newest is not None:
            if frame.tick <= newest.tick:
                raise ValueError(
                    f"frame of tick {frame.tick} came after that of tick {newest.tick}; "
                    "push frames in the order of time."
                )
            # In a gap the frame before it stands still, and all its motion is in the last flow.
            is_same_size = newest.image.shape == frame.image.shape
            if is_same_size and not np.array_equal(newest.image, frame.image):
                self._flows[frame.tick - 1] = (newest.image, frame.image)
        self._newest = frame
        if frame.tick % TICKS_PER_STEP == 0:
            self._pending[frame.tick // TICKS_PER_STEP] = frame.image.shape
        ready = [
            step
            for step in list(self._pending)[self._n_ready :]
            if TICKS_PER_STEP * step + self._last <= frame.tick
        ]
        self._n_ready += len(ready)
        self._forget()
        return ready

    def stack(self, step: int) -> FlowStack:
        """Return the stack of a step that is ready, once; its flows are computed now.

        Raises
        ------
        KeyError
            If the step is not ready, or its stack was given or skipped.
        """
        size = self._take(step)
        stack = np.zeros((FLOWS_PER_STACK, 2, *size), np.float32)
        first = TICKS_PER_STEP * step + self.first
        for place in range(FLOWS_PER_STACK):
            flow = self._flow(first + place)
            if flow is not None and flow.shape[1:] == size:
                stack[place] = flow
        self._forget()
        return FlowStack(step, stack.reshape(N_CHANNELS, *size))

    def skip(self, step: int) -> None:
        """Leave out the stack of a step that is ready: what only it needs is never computed."""
        self._take(step)
        self._forget()

    def finish(self) -> list[int]:
        """Return the steps that become ready because no frame follows the last one."""
        rest = list(self._pending)[self._n_ready :]
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
        rest = [self.stack(step) for step in list(self._pending)]
        self.reset()
        return rest

    def _take(self, step: int) -> tuple[int, ...]:
        if step not in list(self._pending)[: self._n_ready]:
            raise KeyError(f"the stack of step {step} is not ready, or was given already")
        self._n_ready -= 1
        return self._pending.pop(step)

    def _flow(self, tick: int) -> Flow | None:
        found = self._flows.get(tick)
        if isinstance(found, tuple):
            found = self._flows[tick] = farneback(*found)
        return found

    def _forget(self) -> None:
        """Let go of the flows that no stack will need."""
        if self._newest is None:
            return
        # A stack of which nothing is here yet begins less than this many ticks back.
        oldest = self._newest.tick + 1 - FLOWS_PER_STACK
        if self._pending:
            oldest = min(oldest, TICKS_PER_STEP * min(self._pending) + self.first)
        self._flows = {tick: flow for tick, flow in self._flows.items() if tick >= oldest}


def _check(image: Grey) -> None:
    if image.ndim != 2 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(
            f"frame has shape {image.shape} and type {image.dtype}; give grey uint8, (H, W)."
        )
