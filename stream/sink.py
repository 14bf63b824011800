"""What takes events somewhere: the contract between the sinks process and each of its sinks."""

from collections.abc import Sequence
from typing import Protocol

from .events import Event
from .status import Status


class SinkError(RuntimeError):
    """A place that cannot take events at the moment; one line, without credentials.

    The same events are given again, after a while, unless it is said otherwise.

    Parameters
    ----------
    message : str
    after : float
        Seconds that the place wants to be left alone for, at least.
    gives_up : bool
        These events will never be taken: they are counted as lost, and the next ones are given.
    is_over : bool
        The place will take no more events at all.
    """

    def __init__(
        self, message: str, *, after: float = 0.0, gives_up: bool = False, is_over: bool = False
    ) -> None:
        super().__init__(message)
        self.after, self.gives_up, self.is_over = after, gives_up, is_over


class Sink(Protocol):
    """A place where events go.

    The sinks process reads the journal for each sink in a thread of its own and remembers how far
    it is, so a sink neither queues nor remembers: whatever is down, full or killed, it gets the
    events again from where it was.

    Attributes
    ----------
    name : str
        In statuses and logs; letters, digits, - and _.
    """

    name: str

    def deliver(self, events: Sequence[Event]) -> None:
        """Take events, in order; return once they are safe. May take a few seconds.

        Raises
        ------
        SinkError
            If they are not: they come again.
        """
        ...

    def note(self, status: Status) -> None:
        """Take in how a source or the run is doing; only the last of each matters."""
        ...

    def turn(self) -> None:
        """Do what is due besides: keep connections, remove what is old; called ten times a second.

        Raises
        ------
        SinkError
            If something is wrong; said in the status.
        """
        ...

    def close(self) -> None:
        """Release everything."""
        ...
