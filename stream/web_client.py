"""What waits for one client of the web process: events in order, of all else the latest.

A slow client never costs memory: state and pictures are replaced by newer ones, and events that
wait for too long end the connection, so that the client comes back and asks for what it missed.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from .web_messages import Told, Watch

MOST_WAITING = 1000  # events


class SlowClientError(Exception):
    """A client that did not take its events in time."""


class StoppedError(Exception):
    """The web process ends."""


@dataclass(frozen=True)
class Resume:
    """That events are missing: they are to be sent before any later one.

    Attributes
    ----------
    since : mapping
        Source to run and first missing `seq`.
    """

    since: Mapping[str, tuple[str, int]]


class Client:
    """One listener.

    Parameters
    ----------
    way : {"ws", "stream"}
        How it is connected.
    accepts : callable, optional
        Told -> whether it passes a filter of the client's own.

    Attributes
    ----------
    watch : Watch
        What it wants to hear.
    resume : Resume or None
        What `next` gives before anything else.
    """

    def __init__(
        self, way: Literal["ws", "stream"], accepts: Callable[[Told], bool] = lambda told: True
    ) -> None:
        self.way = way
        self.watch = Watch()
        self.resume: Resume | None = None
        self._accepts = accepts
        self._events: deque[Told] = deque()
        self._state: dict[tuple[str, str], Told] = {}
        self._pictures: dict[str, bytes] = {}
        self._sent: dict[str, int] = {}  # source -> seq of the last event it got
        self._has_some = asyncio.Event()
        self._error: Exception | None = None

    def offer(self, told: Told) -> None:
        """Let it have a message if it wants it."""
        if self._error is not None or not (self.watch.wants(told) and self._accepts(told)):
            return
        if told.kind != "event":
            self._state[told.kind, told.source] = told
        elif len(self._events) < MOST_WAITING:
            self._events.append(told)
        else:
            self.end(SlowClientError())
        self._has_some.set()

    def offer_picture(self, source: str, frame: bytes) -> None:
        """Let it have a picture if it wants it."""
        if source in self.watch.pictures:
            self._pictures[source] = frame
            self._has_some.set()

    def end(self, error: Exception) -> None:
        """Make `next` raise an error, whatever still waits."""
        self._error = self._error or error
        self._events.clear()
        self._has_some.set()

    def unsent(self, missed: Iterable[Told]) -> list[Told]:
        """Return what it did not get yet of events that it missed, to be sent at once, in order."""
        return [told for told in missed if self._accepts(told) and self._is_new(told)]

    def wake(self) -> None:
        """Let `next` look again."""
        self._has_some.set()

    async def next(self) -> Told | Resume | bytes:
        """Return the next message once there is one: events, then state, then pictures.

        Raises
        ------
        SlowClientError, StoppedError
            If the connection must end.
        """
        while True:
            if self._error is not None:
                raise self._error
            if self.resume is not None:
                resume, self.resume = self.resume, None
                return resume
            while self._events:
                told = self._events.popleft()
                if self._is_new(told):
                    return told
            if self._state:
                return self._state.pop(next(iter(self._state)))
            if self._pictures:
                return self._pictures.pop(next(iter(self._pictures)))
            self._has_some.clear()
            await self._has_some.wait()

    def _is_new(self, told: Told) -> bool:
        is_new = told.seq > self._sent.get(told.source, -1)
        if is_new:
            self._sent[told.source] = told.seq
        return is_new
