"""A media file -> all that the three networks see of it, at once, in one process.

In: a path. Out: `Features`: pictures, flow stacks and sound windows of every step, from the same
source, flow and window classes as the live pipeline. For training, evaluation and tests on clips;
a minute takes about 0.2 GB.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..engines.engine import FrontEnd
from .config import Latency
from .flow import FlowStack
from .flow_method import FARNEBACK, FlowMethod
from .latency import flow_stream, sound_windows
from .media import AudioChunk, End, Frame, GreyFrame, Picture, SourceInfo
from .mel import LogMel, MelStream
from .sources import FileSource
from .windows import SoundWindow, sound_reach

ScalarT = TypeVar("ScalarT", np.uint8, np.float32)


@dataclass(frozen=True)
class Features:
    """What the networks see of a file.

    Attributes
    ----------
    info : SourceInfo
    n_steps : int
    duration : float
        Seconds.
    pictures : uint8, shape (n_steps, H, W, 3), or None
        RGB; None without video. A step without a picture of its own has the one before it (at the
        start: the first).
    stacks : float32, shape (n_steps, 10, H, W), or None
        Flow in pixels per tick, or the frames, uint8 (n_steps, 6, H, W), see `FlowStack`; None
        without video. A step without frames has no motion.
    windows : list of SoundWindow, or None
        One a step; None without sound, or if not asked for.
    log_mel : float32, shape (384, T), or None
        Of the whole sound, with the front end `paper` only.
    picture_missing, sound_missing : bool, shape (n_steps,)
        Where the file had nothing for the step; all of the sound where there are no windows.
    notes : list of str
        What the user should know of the file.
    """

    info: SourceInfo
    n_steps: int
    duration: float
    pictures: NDArray[np.uint8] | None
    stacks: NDArray[Any] | None
    windows: list[SoundWindow] | None
    log_mel: LogMel | None
    picture_missing: NDArray[np.bool_]
    sound_missing: NDArray[np.bool_]
    notes: list[str]


def features(
    path: str | Path,
    *,
    start: float = 0.0,
    end: float | None = None,
    picture_side: int = 256,
    picture_multiple: int = 1,
    front_end: FrontEnd = "paper",
    latency: Latency = "normal",
    has_windows: bool = True,
    flow: FlowMethod | None = FARNEBACK,
) -> Features:
    """Return everything that the three networks see of a media file.

    Parameters
    ----------
    path : str or Path
    start, end : float
        Which part of the file, s; its first moment is media time 0. The decoder begins near it.
    picture_side, picture_multiple : int
        Size of the pictures, see `fit_size`.
    front_end : {"paper", "yamnet"}
        Of the sound windows.
    latency : {"normal", "low"}
        `low`: stacks, windows and log-mel with nothing that comes after their step.
    has_windows : bool
        False: the log-mel of the whole sound alone, which is half the work.
    flow : FlowMethod or None
        How flow is computed; None for an action model that takes frames.

    Returns
    -------
    features : Features

    Raises
    ------
    SourceError
        If the file cannot be read.

    Examples
    --------
    >>> features("concert.mp4").stacks.shape  # doctest: +SKIP
    (20, 10, 144, 256)
    """
    windows, mel = sound_windows(front_end, latency), MelStream()
    motion = flow_stream(latency, flow)
    pictures: dict[int, Frame] = {}
    stacks: list[FlowStack] = []
    sound: list[SoundWindow] = []
    columns: list[LogMel] = []
    if latency == "low":
        columns.append(mel.push(np.zeros(sound_reach(front_end)[1], np.float32)))
    ending = End(0.0, 0)
    with FileSource(
        path, picture_side=picture_side, picture_multiple=picture_multiple, start=start, end=end
    ) as source:
        for item in source:
            if isinstance(item, Picture):
                pictures[item.step] = item.image
            elif isinstance(item, GreyFrame):
                stacks += motion.push(item)
            elif isinstance(item, AudioChunk):
                if has_windows:
                    sound += windows.push(item)
                if front_end == "paper":
                    columns.append(mel.push(item.waveform))
            else:
                ending = item
    stacks += motion.flush()
    info, n_steps = source.info, ending.n_steps
    has_windows = has_windows and info.has_audio
    sound = (sound + windows.flush(n_steps))[:n_steps] if has_windows else []
    columns += [mel.flush()] if info.has_audio and front_end == "paper" else []
    by_step = {stack.step: stack.stack for stack in stacks if stack.step < n_steps}
    return Features(
        info=info,
        n_steps=n_steps,
        duration=ending.duration,
        pictures=_held(pictures, n_steps),
        stacks=_or_still(by_step, n_steps),
        windows=sound if has_windows else None,
        log_mel=np.concatenate(columns, axis=1) if columns else None,
        picture_missing=np.array([step not in pictures for step in range(n_steps)], bool),
        sound_missing=np.array([w.missing for w in sound] or [True] * n_steps, bool),
        notes=source.notes,
    )


def _held(pictures: Mapping[int, Frame], n_steps: int) -> NDArray[np.uint8] | None:
    if not pictures:
        return None
    held = pictures[min(pictures)]
    images = []
    for step in range(n_steps):
        held = pictures.get(step, held)
        images.append(held)
    return np.stack(images)


def _or_still(stacks: Mapping[int, NDArray[Any]], n_steps: int) -> NDArray[Any] | None:
    if not stacks:
        return None
    still = np.zeros_like(next(iter(stacks.values())))
    return np.stack([stacks.get(step, still) for step in range(n_steps)])
