"""The main loop of the processes that serve all sources of a live run: flow, mel, detector.

    take what has arrived -> do one piece of work -> report -> take what has arrived ...

Everything that has arrived is taken at each turn, so what waits lies where its age is known, not in
a socket. Nothing is ever waited for longer than `TURN_MS`.
"""

import logging
import time
from collections.abc import Callable
from typing import Protocol, TypeAlias

import zmq

from .measure import Measures
from .messages import Message, MessageError, receive, try_send
from .worker import Worker

TURN_MS = 50  # how long a turn without work waits for messages
TAKE_TIME = 0.1  # seconds of taking what has arrived before there is work again

Clock: TypeAlias = Callable[[], float]
Pass: TypeAlias = Callable[[Message], bool]  # hands a message on; says whether it was taken

logger = logging.getLogger(__name__)


class Stage(Protocol):
    """What a process does, without its sockets."""

    def take(self, socket: str, message: Message) -> None:
        """Take in a message that arrived at a socket."""
        ...

    def work(self) -> bool:
        """Do one piece of work, well below a second; return whether there may be more."""
        ...


class Outlet:
    """Where the steps of a stage leave; counts them, or that they could not.

    Parameters
    ----------
    hand_on : callable
        Message -> whether the next process had room for it.
    measures : Measures
    clock : callable
        `time.monotonic`, or what a test has in its place.
    """

    def __init__(self, hand_on: Pass, measures: Measures, clock: Clock) -> None:
        self._hand_on, self._measures, self._clock = hand_on, measures, clock

    def tell(self, message: Message) -> bool:
        """Send what is no step; return whether it was taken."""
        return self._hand_on(message)

    def give(self, message: Message) -> bool:
        """Send a step, whose data say its `name` and when it was `captured`."""
        name = str(message.data["name"])
        if not self._hand_on(message):
            self._measures.drop(name, "full")
            return False
        self._measures.age(name, max(0.0, self._clock() - float(message.data["captured"])))
        return True


def serve(
    worker: Worker,
    inputs: "dict[str, zmq.Socket[bytes]]",
    stage: Stage,
) -> None:
    """Be a process that serves all sources, for ever."""
    poller = zmq.Poller()
    for socket in inputs.values():
        poller.register(socket, zmq.POLLIN)
    is_busy = False
    while True:
        poller.poll(0 if is_busy else TURN_MS)
        n_taken = 0
        for name, socket in inputs.items():
            until = time.monotonic() + TAKE_TIME / len(inputs)
            while socket.poll(0) and time.monotonic() < until:
                n_taken += 1
                try:
                    stage.take(name, receive(socket))
                except MessageError as error:
                    logger.warning("%s: skipped a message: %s", worker.name, error)
                except (ValueError, LookupError, TypeError) as error:
                    # One source must not end what serves all of them.
                    logger.warning("%s: skipped what lacks something: %r", worker.name, error)
        worker.beat(n=n_taken)
        is_busy = stage.work()


def outlet(worker: Worker, socket: "zmq.Socket[bytes]") -> Outlet:
    """Return where the steps of a worker leave."""
    return Outlet(lambda message: try_send(socket, message), worker.measures, time.monotonic)
