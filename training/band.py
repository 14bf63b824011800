"""The band that never stops: scenes in a row, pictures and sound of them, and what is true.

In: options, as from `bandstand://?seed=300000&level=normal&length=30`. Out: the scenes of the seeds
`seed`, `seed + 1`, ..., each `length` seconds, at any time of one long time line.
"""

import math
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ..stream.failures import SourceFailure
from ..stream.media import Waveform
from ..stream.timeline import SAMPLE_RATE
from .bandstand import make_sound
from .canvas import Picture
from .render import Renderer
from .scene import Scene, SceneError, make_scene
from .truth import Truth, make_truth


def _side(value: object) -> object:
    return value.split("x") if isinstance(value, str) else value


def _labels(value: object) -> object:
    return [part for part in value.split(",") if part] if isinstance(value, str) else value


Side = Annotated[int, Field(ge=32, le=1920, multiple_of=2)]


class BandstandOptions(BaseModel):
    """What plays, from the query of a URL, and what is wrong with it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    seed: int = Field(default=300_000, ge=0)
    """Of the first scene."""
    level: Literal["easy", "normal", "hard", "wild"] = "normal"
    labels: Annotated[tuple[str, ...], BeforeValidator(_labels)] = ()
    """One player each in every scene; random when empty."""
    length: float = Field(default=30.0, ge=2, le=600)
    """Seconds of each scene."""
    size: Annotated[tuple[Side, Side], BeforeValidator(_side)] = (256, 144)
    """Width and height of the pictures, such as 640x360."""
    epoch: float | None = Field(default=None, allow_inf_nan=False)
    """`time.monotonic()` at which the first scene began, so that a reader that is restarted goes on
    where the band is; by default it begins when the source is opened."""
    skew_ppm: float = Field(default=0.0, ge=-1000, le=1000)
    """By how much the clock of the sound card is fast; it is found and corrected as a real one."""
    step_ms: float = Field(default=0.0, ge=-1000, le=1000)
    """Sound that the card loses (or, below 0, gives twice) without saying so."""
    step_at: float = Field(default=60.0, ge=0)
    """Seconds after which it does."""

    @property
    def is_skewed(self) -> bool:
        """Whether the sound has a clock of its own."""
        return bool(self.skew_ppm or self.step_ms)

    def scene(self, index: int) -> Scene:
        """Return one of the scenes."""
        return make_scene(self.seed + index, self.level, self.length, self.labels or None)


def parse_options(text: str) -> BandstandOptions:
    """Return the options of a URL.

    Parameters
    ----------
    text : str
        `bandstand://?KEY=VALUE&...`

    Returns
    -------
    options : BandstandOptions

    Raises
    ------
    SourceFailure
        "unsupported", if a key is unknown or a value out of bounds.

    Examples
    --------
    >>> parse_options("bandstand://?seed=7&labels=violin,cello&size=320x180").labels
    ('violin', 'cello')
    """
    try:
        options = BandstandOptions.model_validate(dict(parse_qsl(urlsplit(text).query)))
        options.scene(0)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        known = ", ".join(BandstandOptions.model_fields)
        reason = f"there is {known}" if first["type"] == "extra_forbidden" else first["msg"]
        raise SourceFailure(
            "unsupported", f"bandstand://: {key}={first['input']}: {reason}."
        ) from None
    except SceneError as error:
        raise SourceFailure("unsupported", f"bandstand://: {error}.") from None
    return options


def truth_of(options: BandstandOptions, index: int) -> Truth:
    """Return what is true of a scene, as `bandstand.render_clip` says it.

    Its times begin with the scene, which begins at `index * options.length`.
    """
    return make_truth(options.scene(index), options.size)


def playing(options: BandstandOptions, start: float, end: float) -> list[tuple[str, float, float]]:
    """Return who is seen playing when: label, start, end, in seconds since the first scene began.

    Parameters
    ----------
    options : BandstandOptions
    start, end : float
        Seconds; what reaches into this is returned, whole, in order of starts.

    Examples
    --------
    >>> label, start, end = playing(parse_options("bandstand://?labels=cello"), 0.0, 10.0)[0]
    >>> label, start < end
    ('cello', True)
    """
    found = []
    for index in range(int(start / options.length), math.ceil(end / options.length)):
        began = index * options.length
        for actor in options.scene(index).players:
            for first, last in actor.part.intervals if actor.part else ():
                if began + first < end and began + last > start:
                    found.append((actor.label or "", began + first, began + last))
    return sorted(found, key=lambda entry: entry[1])


@dataclass(frozen=True)
class _Prepared:
    renderer: Renderer
    waveform: Waveform

    @classmethod
    def of(cls, options: BandstandOptions, index: int) -> "_Prepared":
        scene = options.scene(index)
        return cls(Renderer(scene, options.size), make_sound(scene))


class Band:
    """All scenes in a row; pictures and sound at any time, asked for in the order of time.

    The next scene is made ready in a thread while one plays.

    Parameters
    ----------
    options : BandstandOptions
    """

    def __init__(self, options: BandstandOptions) -> None:
        self._options = options
        self._n_samples = round(options.length * SAMPLE_RATE)  # of a scene
        self._scenes: dict[int, Future[_Prepared]] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="bandstand")

    def prepare(self, sample: int) -> None:
        """Wait until the scene at a sample of the time line is ready."""
        self._scene(sample // self._n_samples)

    def frame(self, sample: int) -> Picture:
        """Return the picture at a sample of the time line, uint8 RGB (H, W, 3)."""
        index, local = divmod(sample, self._n_samples)
        return self._scene(index).renderer.frame(local / SAMPLE_RATE)

    def sound(self, start: int, n_samples: int) -> Waveform:
        """Return the sound of some samples, over the ends of scenes too."""
        out = np.zeros(n_samples, np.float32)
        done = -min(0, start)  # before the first scene there is silence
        while done < n_samples:
            index, local = divmod(start + done, self._n_samples)
            part = self._scene(index).waveform[local : local + n_samples - done]
            out[done : done + len(part)] = part
            done += len(part)
        return out

    def close(self) -> None:
        """End the thread; more calls do nothing."""
        self._pool.shutdown(cancel_futures=True)

    def _scene(self, index: int) -> _Prepared:
        for wanted in (index, index + 1):
            if wanted not in self._scenes:
                self._scenes[wanted] = self._pool.submit(_Prepared.of, self._options, wanted)
        for old in [old for old in self._scenes if old < index - 1]:
            del self._scenes[old]
        return self._scenes[index].result()
