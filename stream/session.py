"""Sessions: what one connection of a source delivers, and where it lies on the source's time line.

The steps of a session are counted from 0, as those of a file; on the time line of its source they
follow `base` earlier ones, so that times only grow, whatever reconnects or restarts.
"""

from dataclasses import dataclass
from typing import Any, Self

from .config import SourceConfig
from .media import SourceInfo
from .timeline import STEP

NO_URL = "-"  # other processes need not know where a source is, nor its password
SERIAL_BITS = 32  # of a session's number: more than one reader process opens in its life


@dataclass(frozen=True)
class Session:
    """One session, as the `open` message of the reader announces it.

    Attributes
    ----------
    number : int
        `source` of its messages; unique in a run.
    info : SourceInfo
        `info.name` is the name of the source.
    base : int
        Steps of the source's time line before step 0 of the session.
    config : SourceConfig
        Labels, thresholds, zones.
    """

    number: int
    info: SourceInfo
    base: int
    config: SourceConfig

    def to_json(self) -> dict[str, Any]:
        """Return the `data` of an `open` message, without the URL."""
        config = self.config.public()
        return {"info": vars(self.info), "base": self.base, "config": config}

    @classmethod
    def from_json(cls, number: int, data: dict[str, Any]) -> Self:
        """Return the session of an `open` message.

        Raises
        ------
        ValueError
            If fields are missing or wrong.
        """
        try:
            info = SourceInfo(**data["info"])
            config = SourceConfig(**data["config"], url=NO_URL)
            return cls(number, info, int(data["base"]), config)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the announcement of a session: {error}") from None


def base_of(captured: float, epoch: float, after: int) -> int:
    """Return the base of a session whose media time 0 was captured at `captured`.

    Parameters
    ----------
    captured, epoch : float
        `time.monotonic()` of the session's and of the source's media time 0.
    after : int
        Steps that the source has had already.

    Examples
    --------
    >>> base_of(105.1, 100.0, 3), base_of(105.1, 100.0, 12)
    (10, 12)
    """
    return max(after, round((captured - epoch) / STEP))
