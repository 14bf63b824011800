"""What a live source is: sessions of sound and pictures that never stop of themselves.

A session is what one connection delivers without a break: from its first moment on it is exactly
what `FileSource` gives of a file with the same media. A source that reconnects, loops, or changes
its picture size begins a new session; where the session lies on the time line of the source is
the business of `session.py`.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from .media import AudioChunk, End, GreyFrame, Picture, SourceInfo

IDLE = 0.2  # seconds after which a source with nothing to give yields None


@dataclass(frozen=True)
class Opened:
    """The first item of every session: what is known of it."""

    info: SourceInfo


@dataclass(frozen=True)
class ClockReport:
    """How sound and picture of a session lie to each other, and how sure that is.

    Attributes
    ----------
    kind : str
        What the times come from: "media" (timestamps of one container), "rtcp" (sender reports),
        "arrival" (when packets came), "device" (capture times of camera and sound card).
    av_offset_ms : float or None
        By how much the sound comes later than the picture at the moment (after correction: 0 is
        aligned); None without both.
    uncertainty_ms : float or None
        Half the width of the 95 % interval of that.
    drift_ppm : float
        Of the sound's clock against the clock of the picture.
    n_steps_of_clock : int
        Jumps of a clock that were found and corrected.
    """

    kind: str = "media"
    av_offset_ms: float | None = None
    uncertainty_ms: float | None = None
    drift_ppm: float = 0.0
    n_steps_of_clock: int = 0


LiveItem: TypeAlias = Opened | AudioChunk | GreyFrame | Picture | End | None


@runtime_checkable
class Previewing(Protocol):
    """What a source may be besides: one whose grey frames bring previews, when they are wanted.

    Attributes
    ----------
    preview_side : int
        Longer side of the previews in pixels; 0: none. It may change at any time.
    """

    preview_side: int


class LiveSource(Protocol):
    """Anything that plays.

    Attributes
    ----------
    dropped : Counter
        Cause to number of steps that the source itself had to leave out, since it was made.
    """

    dropped: "Counter[str]"

    def __iter__(self) -> Iterator[LiveItem]:
        """Yield `Opened`, items and `End` of one session after the other, as they happen.

        Sound follows itself without gap from sample 0 of its session; grey frames and pictures
        come in the order of time; the two do not wait for each other. None comes at least every
        `IDLE` seconds while there is nothing else, so that whoever reads can look around.

        Raises
        ------
        SourceFailure
            When the source is over or broken; `kind` says how. A file that is not looped and has
            reached its end just stops.
        """
        ...

    def captured(self, time: float) -> float:
        """Return when (`time.monotonic()`) media time `time` of the session was captured."""
        ...

    def clock(self) -> ClockReport:
        """Return how well sound and picture of the session are aligned."""
        ...

    def close(self) -> None:
        """Let go of the device or connection; more calls do nothing."""
        ...
