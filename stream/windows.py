"""Sound in chunks -> the windows that a sound network sees, one a step.

In: `AudioChunk`s that follow each other without gap. Out: `SoundWindow`s, one for every step, in
order. There are two front ends: `PaperWindows` (log-mel columns for the network of Liu, Yang and
Jeng 2018) and `YamnetWindows` (patches for YAMNet and its like); `window_stream` makes either.
"""

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..engines.engine import FrontEnd
from .media import AudioChunk, Waveform
from .mel import LOOK_AHEAD, N_BANDS, LogMel, MelStream, checked_waveform
from .patches import PATCH_SAMPLES, yamnet_patch
from .timeline import COLUMNS_PER_STEP, HOP_LENGTH, STEP_SAMPLES

# Two 5-tap convolutions and two 4-fold pools with padding 2: output j of the paper's network sees
# columns 16 j - 20 ... 16 j + 15. Two steps back are enough for all that lies to the left.
STEPS_BACK = 2
COLUMNS_BACK = 20
PAPER_LOOK_BACK = COLUMNS_BACK * HOP_LENGTH + LOOK_AHEAD  # samples
PAPER_LOOK_AHEAD = (COLUMNS_PER_STEP - 1) * HOP_LENGTH + LOOK_AHEAD


@dataclass(frozen=True)
class SoundWindow:
    """What the sound network sees for one step.

    Attributes
    ----------
    step : int
    window : float32
        Paper: log-mel (384, n columns), at most 48 columns. YAMNet: patch (96, 64), time first.
    output : int
        Which of the network's outputs along time is the score of this step.
    missing : bool
        True if the source had no sound for more than half of the step's own 0.512 s.
    """

    step: int
    window: NDArray[np.float32]
    output: int
    missing: bool


class WindowStream(Protocol):
    """What both front ends offer."""

    def push(self, chunk: AudioChunk) -> list[SoundWindow]:
        """Return the windows that `chunk`, the sound that follows, completes."""
        ...

    def flush(self, n_steps: int) -> list[SoundWindow]:
        """Return the windows of the steps below `n_steps` that are left, and start afresh."""
        ...

    def reset(self) -> None:
        """Forget all sound, as if the stream were new."""
        ...


def window_stream(front_end: FrontEnd | None) -> WindowStream:
    """Return a new stream of the windows that a sound model's header asks for.

    Parameters
    ----------
    front_end : {"paper", "yamnet"}
        `Header.front_end` of a sound model.

    Returns
    -------
    stream : PaperWindows or YamnetWindows

    Raises
    ------
    ValueError
        If there is no such front end.

    Examples
    --------
    >>> type(window_stream("paper")).__name__
    'PaperWindows'
    """
    if front_end == "paper":
        return PaperWindows()
    if front_end == "yamnet":
        return YamnetWindows()
    raise ValueError(_unknown(front_end))


def sound_reach(front_end: FrontEnd | None) -> tuple[int, int]:
    """Return how many samples before and after the time of its step matter for a step's score.

    A window may begin earlier, and still be the same to the network.

    Raises
    ------
    ValueError
        If there is no such front end.

    Examples
    --------
    >>> sound_reach("paper"), sound_reach("yamnet")
    ((14336, 11776), (7800, 7800))
    """
    if front_end == "paper":
        return PAPER_LOOK_BACK, PAPER_LOOK_AHEAD
    if front_end == "yamnet":
        return PATCH_SAMPLES // 2, PATCH_SAMPLES // 2
    raise ValueError(_unknown(front_end))


def _unknown(front_end: FrontEnd | None) -> str:
    return f'front_end is {front_end!r}; a sound model has "paper" or "yamnet".'


class PaperWindows:
    """Windows of log-mel columns, long enough that a step's score is that of the whole file.

    The window of step k is the columns 16 max(0, k - 2) ... 16 k + 15, fewer where the sound ends,
    and its score is output min(k, 2) of the network. It is ready 11776 samples (0.736 s) after the
    time of its step.

    Examples
    --------
    >>> import numpy as np
    >>> stream = PaperWindows()
    >>> windows = stream.push(AudioChunk(0, np.zeros(30_000, np.float32)))
    >>> [(window.step, window.window.shape, window.output) for window in windows]
    [(0, (384, 16), 0), (1, (384, 32), 1), (2, (384, 48), 2)]
    >>> [(window.step, window.window.shape, window.output) for window in stream.flush(4)]
    [(3, (384, 43), 2)]
    """

    def __init__(self) -> None:
        self._mel = MelStream()
        self.reset()

    def reset(self) -> None:
        """Forget all sound, as if the stream were new."""
        self._mel.reset()
        self._cover = _Cover()
        self._waiting: list[Waveform] = []  # not yet in `_mel`
        self._columns: LogMel = np.zeros((N_BANDS, 0), np.float32)
        self._first_column = 0  # of those kept
        self._step = 0  # the next to be given

    def push(self, chunk: AudioChunk) -> list[SoundWindow]:
        """Return the windows that `chunk`, the sound that follows, completes.

        Parameters
        ----------
        chunk : AudioChunk
            Starts where the last one ended, the first at sample 0; any length.

        Returns
        -------
        windows : list of SoundWindow
            In the order of their steps.

        Raises
        ------
        ValueError
            If the chunk does not follow the last one, or is not mono float.
        """
        waveform = checked_waveform(chunk.waveform)
        self._cover.add(chunk)
        self._waiting.append(waveform)
        # Columns are needed 16 at a time, and 16 at a time they cost a quarter of one by one.
        last_column = COLUMNS_PER_STEP * (self._step + 1) - 1
        if self._cover.end < last_column * HOP_LENGTH + LOOK_AHEAD:
            return []
        self._hear()
        windows = []
        while self._n_columns >= COLUMNS_PER_STEP * (self._step + 1):
            windows.append(self._next())
        return windows

    def flush(self, n_steps: int) -> list[SoundWindow]:
        """Return the windows of the steps below `n_steps` that are left, and start afresh.

        Parameters
        ----------
        n_steps : int
            Of the source, see `End`.

        Returns
        -------
        windows : list of SoundWindow
            Steps that begin after the end of the sound come as silence, with `missing` set.
        """
        self._hear()
        self._add(self._mel.flush())
        windows = [self._next() for _ in range(self._step, n_steps)]
        self.reset()
        return windows

    @property
    def _n_columns(self) -> int:
        return self._first_column + int(self._columns.shape[1])

    def _hear(self) -> None:
        if self._waiting:
            self._add(self._mel.push(np.concatenate(self._waiting)))
            self._waiting = []

    def _add(self, columns: LogMel) -> None:
        if columns.shape[1]:
            self._columns = np.concatenate([self._columns, columns], axis=1)

    def _next(self) -> SoundWindow:
        step = self._step
        first_step = max(0, step - STEPS_BACK)
        self._drop_before(COLUMNS_PER_STEP * first_step)
        if self._n_columns > COLUMNS_PER_STEP * step:
            n_columns = COLUMNS_PER_STEP * (step + 1 - first_step)
            window, output = self._columns[:, :n_columns].copy(), step - first_step
        else:  # the network has no output for a step without a column of its own
            window, output = np.zeros((N_BANDS, COLUMNS_PER_STEP), np.float32), 0
        self._step += 1
        return SoundWindow(step, window, output, self._cover.is_missing(step))

    def _drop_before(self, column: int) -> None:
        n_dropped = min(max(0, column - self._first_column), self._columns.shape[1])
        self._columns = self._columns[:, n_dropped:]
        self._first_column += n_dropped


class YamnetWindows:
    """Log-mel patches of 0.975 s centred on each step, as YAMNet was trained on.

    Sound beyond the ends of the source counts as zeros. A patch is ready 7800 samples (0.4875 s)
    after the time of its step.

    Examples
    --------
    >>> import numpy as np
    >>> stream = YamnetWindows()
    >>> windows = stream.push(AudioChunk(0, np.zeros(16_000, np.float32)))
    >>> [(window.step, window.window.shape) for window in windows]
    [(0, (96, 64)), (1, (96, 64))]
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all sound, as if the stream were new."""
        self._cover = _Cover()
        # The buffer starts where the patch of the next step does.
        self._buffer: Waveform = np.zeros(PATCH_SAMPLES // 2, np.float32)
        self._step = 0

    def push(self, chunk: AudioChunk) -> list[SoundWindow]:
        """Return the windows that `chunk`, the sound that follows, completes.

        Parameters
        ----------
        chunk : AudioChunk
            Starts where the last one ended, the first at sample 0; any length.

        Returns
        -------
        windows : list of SoundWindow
            In the order of their steps.

        Raises
        ------
        ValueError
            If the chunk does not follow the last one, or is not mono float.
        """
        waveform = checked_waveform(chunk.waveform)
        self._cover.add(chunk)
        self._buffer = np.concatenate([self._buffer, waveform])
        windows = []
        while len(self._buffer) >= PATCH_SAMPLES:
            windows.append(self._next())
        self._buffer = self._buffer.copy()  # not a view that keeps all of a long chunk
        return windows

    def flush(self, n_steps: int) -> list[SoundWindow]:
        """Return the windows of the steps below `n_steps` that are left, and start afresh.

        Parameters
        ----------
        n_steps : int
            Of the source, see `End`.

        Returns
        -------
        windows : list of SoundWindow
            Steps that begin after the end of the sound come with `missing` set.
        """
        windows = []
        while self._step < n_steps:
            short = max(0, PATCH_SAMPLES - len(self._buffer))
            self._buffer = np.pad(self._buffer, (0, short))
            windows.append(self._next())
        self.reset()
        return windows

    def _next(self) -> SoundWindow:
        step = self._step
        patch = yamnet_patch(self._buffer[:PATCH_SAMPLES])
        self._buffer = self._buffer[STEP_SAMPLES:]
        self._step += 1
        return SoundWindow(step, patch, 0, self._cover.is_missing(step))


class _Cover:
    """Which samples have come, and which of them the source did not really have."""

    def __init__(self) -> None:
        self.end = 0
        self._gaps: deque[tuple[int, int]] = deque()  # [start, end), in order, apart

    def add(self, chunk: AudioChunk) -> None:
        if chunk.start != self.end:
            raise ValueError(
                f"chunk starts at sample {chunk.start}; {self.end} would follow what came before."
            )
        self.end += len(chunk.waveform)
        if chunk.missing:
            start = chunk.start
            if self._gaps and self._gaps[-1][1] == start:
                start = self._gaps.pop()[0]
            self._gaps.append((start, self.end))

    def is_missing(self, step: int) -> bool:
        """Whether over half of what came of a step's samples is a gap; ask for steps in order."""
        start = max(0, step * STEP_SAMPLES - STEP_SAMPLES // 2)
        end = min(self.end, step * STEP_SAMPLES + STEP_SAMPLES // 2)
        while self._gaps and self._gaps[0][1] <= start:
            self._gaps.popleft()
        n_lost = sum(max(0, min(end, stop) - max(start, first)) for first, stop in self._gaps)
        return end <= start or 2 * n_lost > end - start
