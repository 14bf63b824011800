"""The sessions that a process of a live run has heard of, and what it may forget.

A process may be started at any time: sessions are joined in the middle. A reader may be killed at
any time: a session may never end. So one is over when its end has come, when a newer one of the
same source has opened, or when nothing was heard of it for long.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .messages import Message
from .session import Session

FORGET_AFTER = 30.0  # seconds; a reader announces its session every second

logger = logging.getLogger(__name__)


@dataclass
class Heard:
    """What a process knows of a session.

    Attributes
    ----------
    session : Session
    joined : int
        Step at which it was heard of first; 0: from its beginning.
    heard : float
        `time.monotonic()` of its last message.
    lag : float or None
        From media time to `time.monotonic()` of its capture; None before the first data.
    is_broken : bool
        It will get no end: a newer session has taken its place, or nothing more comes.
    """

    session: Session
    joined: int
    heard: float
    lag: float | None = None
    is_broken: bool = False

    @property
    def name(self) -> str:
        """Name of the source."""
        return self.session.info.name

    def note(self, message: Message, time: float, now: float) -> None:
        """Take note of data of media time `time`, which says when that was captured."""
        self.heard = now
        self.lag = min(float(message.data["captured"]), now) - time

    def captured(self, time: float) -> float:
        """Return when media time `time` was captured; just now, if that is not known."""
        return self.heard if self.lag is None else self.lag + time

    def labelled(self, time: float, **data: Any) -> dict[str, Any]:
        """Return the `data` of a message about media time `time`."""
        return {"name": self.name, "captured": self.captured(time), "arrived": self.heard, **data}


HeardT = TypeVar("HeardT", bound=Heard)


class Roster(Generic[HeardT]):
    """The sessions of all sources.

    Parameters
    ----------
    make : callable
        (session, step at which it is joined, now) -> what the process keeps of it.
    """

    def __init__(self, make: Callable[[Session, int, float], HeardT]) -> None:
        self._make = make
        self._heard: dict[int, HeardT] = {}
        self._newest: dict[str, int] = {}  # number of the newest session by name
        self._over: dict[str, int] = {}  # of the newest that has ended

    def __iter__(self) -> Iterator[HeardT]:
        return iter(list(self._heard.values()))

    def open(self, message: Message, now: float) -> HeardT | None:
        """Return the session that a message announces; None if it is over, or no session."""
        number = message.source
        if (known := self._heard.get(number)) is not None:
            known.heard = now
            return known
        try:
            session = Session.from_json(number, message.data)
        except ValueError as error:
            logger.warning("skipped a session: %s", error)
            return None
        name = session.info.name
        if number < self._newest.get(name, 0) or number <= self._over.get(name, 0):
            return None
        for other in self:
            other.is_broken |= other.name == name
        self._newest[name] = number
        self._heard[number] = self._make(session, message.index, now)
        return self._heard[number]

    def get(self, number: int) -> HeardT | None:
        """Return a session, None if it is not known or over."""
        return self._heard.get(number)

    def remove(self, heard: HeardT) -> None:
        """Forget a session that is over; one that only fell silent may come back."""
        number = heard.session.number
        del self._heard[number]
        if number < self._newest[heard.name] or not heard.is_broken:
            self._over[heard.name] = number

    def look(self, now: float) -> None:
        """Find the sessions that nothing is heard of any more."""
        for heard in self:
            heard.is_broken |= now - heard.heard > FORGET_AFTER

    def first(self) -> dict[str, HeardT]:
        """Return for each source its earliest session: the later ones wait."""
        found: dict[str, HeardT] = {}
        for heard in self._heard.values():
            found.setdefault(heard.name, heard)
        return found
