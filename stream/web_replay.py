"""Events that were missed, asked of the publisher: the DEALER of the web process."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import zmq

from .events import Event
from .sockets import endpoint
from .wire import ReplayAnswer, ReplayRequest

DEADLINE = 2.0  # seconds for an answer
QUEUE = 100
AT_ONCE = 4  # requests on their way; the publisher holds few answers for one peer

logger = logging.getLogger(__name__)


class ReplayError(RuntimeError):
    """Events that cannot be had; one line."""


@dataclass(frozen=True)
class Replayed:
    """An answer.

    Attributes
    ----------
    system_id : str
    oldest : int or None
        Lowest `seq` that is still kept.
    next : int
        The `seq` that the next event of the source will have.
    events : tuple of (Event, str)
        With their JSON, in the order of `seq`.
    """

    system_id: str
    oldest: int | None
    next: int
    events: tuple[tuple[Event, str], ...] = ()


class Replays:
    """The socket, and who waits for an answer.

    Parameters
    ----------
    context : zmq.Context
    run : str
        Name of the run.

    Attributes
    ----------
    socket : zmq.Socket
        To be read by `take` whenever something has arrived.
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", run: str) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.set_hwm(QUEUE)
        self.socket.connect(endpoint(run, "replay-hub"))
        self._waiting: dict[str, asyncio.Future[Replayed]] = {}
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._n = 0

    async def fetch(self, source: str, since: int, until: int | None = None) -> Replayed:
        """Return events of a source, at most `wire.REPLAY_MOST`.

        Parameters
        ----------
        source : str
        since : int
            First `seq` wanted.
        until : int or None
            First `seq` not wanted any more.

        Raises
        ------
        ReplayError
            If there is no answer in time, or it says no.
        """
        self._n += 1
        number = str(self._n)
        fields = {"id": number, "source": source, "from": since, "until": until}
        request = ReplayRequest.model_validate(fields)
        async with self._turn:
            future = self._waiting[number] = asyncio.get_running_loop().create_future()
            try:
                body = request.model_dump_json(by_alias=True).encode()
                self.socket.send(body, zmq.DONTWAIT)
                return await asyncio.wait_for(future, DEADLINE)
            except (zmq.Again, TimeoutError):
                raise ReplayError("the publisher does not answer; try again") from None
            finally:
                del self._waiting[number]

    def take(self, parts: Sequence[bytes]) -> None:
        """Take in an answer; raises `ValueError` for what is none."""
        answer = ReplayAnswer.model_validate_json(parts[0])
        future = self._waiting.get(answer.id)
        if future is None or future.done():
            return
        if answer.error is not None:
            future.set_exception(ReplayError(answer.error))
            return
        bodies = [part.decode() for part in parts[1:]]
        events = tuple((Event.model_validate_json(body), body) for body in bodies)
        future.set_result(Replayed(answer.system_id, answer.oldest, answer.next, events))
