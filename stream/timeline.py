"""The time line: every rate and length of Playspot, once, derived from each other.

Media time is in seconds from the first sample of the source. Three grids divide it:

* **column** (32 ms, 512 samples): one log-mel column;
* **tick** (128 ms, 4 columns): one grey frame, one optical flow;
* **step** (512 ms, 4 ticks): one picture, one flow stack, one sound score, one detection.

Step k is at `step_time(k)`; it stands for half a step to either side.

Source: Liu, Yang and Jeng 2018, sections IV-B and V-C1; `facts` of the authors' code for the
positions of stacks and pictures.
"""

import math

SAMPLE_RATE = 16_000  # Hz, mono
HOP_LENGTH = 512  # samples between log-mel columns: 31.25 Hz
WIN_LENGTHS = (512, 2048, 8192)  # samples; n_fft is the same
N_MELS = 128  # bands of each window length

COLUMNS_PER_TICK = 4
TICKS_PER_STEP = 4
FLOWS_PER_STACK = 5

COLUMNS_PER_STEP = COLUMNS_PER_TICK * TICKS_PER_STEP
TICK_SAMPLES = HOP_LENGTH * COLUMNS_PER_TICK  # 2048
STEP_SAMPLES = TICK_SAMPLES * TICKS_PER_STEP  # 8192
TICK = TICK_SAMPLES / SAMPLE_RATE  # 0.128 s
STEP = STEP_SAMPLES / SAMPLE_RATE  # 0.512 s

STACK_FIRST_TICK = -2  # the six frames of stack k are ticks 4k - 2 ... 4k + 3
FLOW_SIDE = 256  # px, longer side of the frames that flow is computed on
FLOW_LIMIT = 128.0  # px per tick; flow is clipped to [-128, 127], as 8-bit integers would be


def step_time(step: int) -> float:
    """Return the media time of a step, in seconds.

    Examples
    --------
    >>> step_time(2)
    1.024
    """
    return step * STEP_SAMPLES / SAMPLE_RATE


def tick_time(tick: int) -> float:
    """Return the media time of a tick, in seconds.

    Examples
    --------
    >>> tick_time(4) == step_time(1)
    True
    """
    return tick * TICK_SAMPLES / SAMPLE_RATE


def n_steps(duration: float) -> int:
    """Return how many steps a medium of `duration` seconds has: those that start before its end.

    Examples
    --------
    >>> n_steps(10.0), n_steps(0.512), n_steps(0.0)
    (20, 1, 0)
    """
    return max(0, math.ceil(duration / STEP - 1e-6))
