"""What a source delivers: pictures, grey frames and sound, each at its place on the time line.

A source yields these in the order of media time. Arrays are never written to after they were
handed on.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float32]  # mono (T,), in [-1, 1]
Frame = NDArray[np.uint8]  # RGB (H, W, 3)
Grey = NDArray[np.uint8]  # (H, W)


@dataclass(frozen=True)
class SourceInfo:
    """What is known of a source once it is open.

    Attributes
    ----------
    name : str
        Name in topics, file names and tables.
    has_video, has_audio : bool
        Which streams there are.
    width, height : int
        Upright picture size in pixels (after the display matrix); 0 without video.
    video_rate : float
        Nominal frames per second; 0 if unknown or without video.
    sample_rate, channels : int
        Of the sound as stored; 0 without sound.
    duration : float or None
        Seconds as the container states them, or None. A hint for progress only.
    """

    name: str
    has_video: bool
    has_audio: bool
    width: int = 0
    height: int = 0
    video_rate: float = 0.0
    sample_rate: int = 0
    channels: int = 0
    duration: float | None = None


@dataclass(frozen=True)
class AudioChunk:
    """Mono sound at 16 kHz. Chunks of a source follow each other without gap or overlap.

    Attributes
    ----------
    start : int
        Index of the first sample on the time line (sample 0 is media time 0).
    waveform : float32, shape (T,)
    missing : bool
        True where the source had no sound (late start, gap, early end): `waveform` is zeros.
    """

    start: int
    waveform: Waveform
    missing: bool = False


@dataclass(frozen=True)
class GreyFrame:
    """The grey picture at a tick, longer side `FLOW_SIDE`.

    Attributes
    ----------
    tick : int
    image : uint8, shape (H, W)
    preview : bytes or None
        The same picture in colour, JPEG, if the source was asked for previews.
    """

    tick: int
    image: Grey
    preview: bytes | None = None


@dataclass(frozen=True)
class Picture:
    """The RGB picture at a step, at the size the object model asks for."""

    step: int
    image: Frame


@dataclass(frozen=True)
class End:
    """The last item of a source: its true length."""

    duration: float
    n_steps: int


MediaItem = AudioChunk | GreyFrame | Picture | End
