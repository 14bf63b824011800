"""How far the models look ahead, and the streams that do not: `latency: low`.

Normally a score of step k also says what is heard and seen shortly after it, which costs time: the
look-ahead. With low latency the same networks see the same stretches of sound and picture shifted
into the past, up to the step and no further.
"""

from dataclasses import replace

import numpy as np

from ..engines.engine import FrontEnd
from .config import Latency
from .flow import FLOW_LOOK_AHEAD, FlowStream
from .flow_method import FARNEBACK, FlowMethod
from .media import AudioChunk
from .timeline import SAMPLE_RATE, STEP_SAMPLES, tick_time
from .windows import SoundWindow, WindowStream, sound_reach, window_stream


def flow_look_ahead(latency: Latency) -> float:
    """Return how many seconds after its step the last frame of a flow stack lies.

    Examples
    --------
    >>> flow_look_ahead("normal"), flow_look_ahead("low")
    (0.384, 0.0)
    """
    return 0.0 if latency == "low" else tick_time(FLOW_LOOK_AHEAD)


def window_look_ahead(front_end: FrontEnd | None, latency: Latency) -> float:
    """Return how many seconds after its step the last sample of a sound window lies.

    Examples
    --------
    >>> window_look_ahead("paper", "normal"), window_look_ahead("yamnet", "normal")
    (0.736, 0.4875)
    """
    return 0.0 if latency == "low" else sound_reach(front_end)[1] / SAMPLE_RATE


def look_ahead(front_end: FrontEnd | None, latency: Latency) -> float:
    """Return how many seconds of sound and picture after a step all models together need.

    Parameters
    ----------
    front_end : {"paper", "yamnet"} or None
        Of the sound model; None without one.
    latency : {"normal", "low"}

    Examples
    --------
    >>> look_ahead("paper", "normal"), look_ahead(None, "normal"), look_ahead("paper", "low")
    (0.736, 0.384, 0.0)
    """
    sound = 0.0 if front_end is None else window_look_ahead(front_end, latency)
    return max(sound, flow_look_ahead(latency))


def steps_to_settle(front_end: FrontEnd | None, latency: Latency) -> int:
    """Return how many steps after a start in mid-sound would need sound from before the start.

    From then on the scores are those of the whole sound.

    Raises
    ------
    ValueError
        If there is no such front end.

    Examples
    --------
    >>> steps_to_settle("paper", "normal"), steps_to_settle("yamnet", "normal")
    (2, 1)
    >>> steps_to_settle("paper", "low"), steps_to_settle("yamnet", "low")
    (4, 2)
    """
    before, after = sound_reach(front_end)
    return -(-(before + (after if latency == "low" else 0)) // STEP_SAMPLES)


def flow_stream(latency: Latency, method: FlowMethod | None = FARNEBACK) -> FlowStream:
    """Return a new stream of flow stacks; of frames, without a method."""
    return FlowStream(method, delay=FLOW_LOOK_AHEAD if latency == "low" else 0)


def sound_windows(front_end: FrontEnd | None, latency: Latency) -> WindowStream:
    """Return a new stream of sound windows.

    Raises
    ------
    ValueError
        If there is no such front end.

    Examples
    --------
    >>> type(sound_windows("yamnet", "low")).__name__
    'DelayedWindows'
    """
    return DelayedWindows(front_end) if latency == "low" else window_stream(front_end)


class DelayedWindows:
    """Windows of a front end that see nothing after the time of their step.

    The sound is preceded by as much silence as the front end looks ahead, so a window comes with
    the first sample at its step, and what it says is about so much earlier. The silence counts as
    missing.

    Parameters
    ----------
    front_end : {"paper", "yamnet"}

    Raises
    ------
    ValueError
        If there is no such front end.

    Examples
    --------
    >>> import numpy as np
    >>> stream = DelayedWindows("paper")
    >>> windows = stream.push(AudioChunk(0, np.zeros(16_385, np.float32)))
    >>> [(window.step, window.missing) for window in windows]
    [(0, True), (1, True), (2, False)]
    """

    def __init__(self, front_end: FrontEnd | None) -> None:
        self._silence = np.zeros(sound_reach(front_end)[1], np.float32)
        self._stream = window_stream(front_end)
        self.reset()

    def reset(self) -> None:
        """Forget all sound, as if the stream were new."""
        self._stream.reset()
        self._end = 0  # samples so far
        self._ready = self._stream.push(AudioChunk(0, self._silence, missing=True))

    def push(self, chunk: AudioChunk) -> list[SoundWindow]:
        """Return the windows of the steps whose time `chunk`, the sound that follows, reaches.

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
        later = replace(chunk, start=chunk.start + len(self._silence))
        self._ready += self._stream.push(later)
        self._end = chunk.start + len(chunk.waveform)
        return self._until(-(-self._end // STEP_SAMPLES))

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
        self._ready += self._stream.flush(n_steps)
        windows = self._until(n_steps)
        self.reset()
        return windows

    def _until(self, n_steps: int) -> list[SoundWindow]:
        given = [window for window in self._ready if window.step < n_steps]
        self._ready = self._ready[len(given) :]
        return given
