"""Two trained models over a recording, step by step as it is decoded: what teachers say of it.

In: a media file and engines. Out: scores in batches, in the order of the steps. Pictures and sound
are decoded as each engine's header asks (a teacher may want larger pictures, or the front end
`yamnet`), no flow is computed, and nothing but a batch is held, so a recording may last hours.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engines.engine import Engine
from ..stream.media import AudioChunk, End, Picture
from ..stream.sources import FileSource
from ..stream.windows import SoundWindow, window_stream

Array = NDArray[np.float32]

BATCH = 10  # steps given to an engine at once


@dataclass(frozen=True)
class Rows:
    """Scores of the steps that follow those given before.

    Attributes
    ----------
    kind : {"sound", "object"}
    scores : float32, shape (n, K) or (n, K, h, w)
    stride, offset : float
        Geometry of maps, as parts of the picture's longer side.
    """

    kind: str
    scores: Array
    stride: float = 1.0
    offset: float = 0.0


def rows_of(
    path: Path, engines: Mapping[str, Engine], start: float = 0.0, end: float | None = None
) -> Iterator[Rows]:
    """Yield what the sound and the object model say of a recording, each in the order of steps.

    Parameters
    ----------
    path : Path
    engines : mapping
        Any of `sound`, `object`.
    start, end : float
        Which part of the recording, s.

    Raises
    ------
    ValueError
        If the recording cannot be decoded, or an engine cannot use it: one line.

    Notes
    -----
    A step without a picture of its own has the one before it. A model that the recording has
    nothing for (no sound track, no picture) yields nothing.
    """
    ears, eyes = engines.get("sound"), engines.get("object")
    header = eyes.header if eyes is not None else None
    windows = window_stream(ears.header.front_end or "paper") if ears is not None else None
    heard: list[SoundWindow] = []
    seen: list[NDArray[np.uint8]] = []
    held: NDArray[np.uint8] | None = None
    n_pictures = 0
    with FileSource(
        path,
        picture_side=header.picture_side if header else 64,
        picture_multiple=header.picture_multiple if header else 1,
        start=start,
        end=end,
    ) as source:
        for item in source:
            is_end = isinstance(item, End)
            if isinstance(item, Picture) and eyes is not None:
                # The first picture also serves the steps before it.
                seen += [item.image if held is None else held] * (item.step - n_pictures)
                held, n_pictures = item.image, item.step + 1
                seen.append(held)
            elif isinstance(item, AudioChunk) and windows is not None:
                heard += windows.push(item)
            elif isinstance(item, End):
                if windows is not None and source.info.has_audio:
                    heard += windows.flush(item.n_steps)
                if held is not None:
                    seen += [held] * (item.n_steps - n_pictures)
            while eyes is not None and (len(seen) >= BATCH or (is_end and seen)):
                batch, seen = seen[:BATCH], seen[BATCH:]
                yield _maps(eyes, np.stack(batch))
            while ears is not None and (len(heard) >= BATCH or (is_end and heard)):
                now, heard = heard[:BATCH], heard[BATCH:]
                yield Rows("sound", _sounds(ears, now))


def _maps(engine: Engine, pictures: NDArray[np.uint8]) -> Rows:
    longer = max(pictures.shape[1:3])
    header = engine.header
    return Rows("object", engine(pictures), header.stride / longer, header.offset / longer)


def _sounds(engine: Engine, windows: list[SoundWindow]) -> Array:
    """Return the score of each window's own step, (n, K); windows of one length go together."""
    scores: list[Any] = [None] * len(windows)
    for width in {window.window.shape for window in windows}:
        places = [i for i, window in enumerate(windows) if window.window.shape == width]
        out = engine(np.stack([windows[i].window for i in places]))  # (n, K, T)
        for row, i in zip(out, places, strict=True):
            scores[i] = row[:, windows[i].output]
    return np.asarray(np.stack(scores), np.float32)
