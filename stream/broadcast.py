"""An XPUB socket that knows its subscribers: what they want, and when they do not keep up."""

import time
from collections import Counter
from collections.abc import Callable, Iterable

import zmq

from .topics import HEARTBEAT_ROOT, HEAT_ROOT, STATUS_ROOT, STEP_ROOT, TOPIC_ROOT

QUEUE = 10_000  # messages a slow subscriber may lag behind; then it loses some
WISHES = 16  # of a peer that wait; ZeroMQ reads on for as long as more come, and does nothing else
LINGER_MS = 500
MAX_TOPICS = 10_000  # subscribed to; of more only whole kinds, and those known, are let in
ROOTS = tuple(
    root.encode() for root in (TOPIC_ROOT, STEP_ROOT, STATUS_ROOT, HEARTBEAT_ROOT, HEAT_ROOT)
)
TURN_TIME = 0.02  # s for subscriptions and what is sent for them; the others wait for the next turn

Parts = list[bytes]


class Broadcast:
    """An XPUB socket, bound.

    A subscription takes effect only once its subscriber was sent what it may have missed
    (XPUB_MANUAL), so what follows is never ahead of it.

    Parameters
    ----------
    socket : zmq.Socket
        Of type XPUB, not bound yet.
    greeting : callable
        Topic -> messages that go to who has just subscribed to it.

    Attributes
    ----------
    n_overflows : int
        Times that the queue of a subscriber was full.
    n_refused : int
        Subscriptions that were too many.
    """

    def __init__(
        self, socket: "zmq.Socket[bytes]", greeting: Callable[[bytes], Iterable[Parts]]
    ) -> None:
        self.n_overflows = self.n_refused = 0
        self.socket = socket
        self._greeting = greeting
        self._topics: Counter[bytes] = Counter()  # subscribed to, and by how many
        socket.setsockopt(zmq.XPUB_MANUAL, 1)
        socket.setsockopt(zmq.XPUB_NODROP, 1)
        socket.setsockopt(zmq.LINGER, LINGER_MS)
        socket.setsockopt(zmq.SNDHWM, QUEUE)
        socket.setsockopt(zmq.RCVHWM, WISHES)

    @property
    def n_topics(self) -> int:
        """Topics that are subscribed to."""
        return len(self._topics)

    def is_wanted(self, name: str) -> bool:
        """Return whether somebody subscribes to a topic, or to the beginning of it."""
        topic = name.encode()
        return any(topic.startswith(subscribed) for subscribed in self._topics)

    def send(self, message: Parts) -> None:
        """Send a message to all who want it; never blocks.

        Where a queue is full, its subscriber does not get the message, and all others do. That is
        counted once: ZeroMQ then passes by who is behind until half of its queue is gone.
        """
        try:
            self.socket.send_multipart(message, zmq.DONTWAIT)
        except zmq.Again:
            self.n_overflows += 1
            self.socket.setsockopt(zmq.XPUB_NODROP, 0)
            self.socket.send_multipart(message, zmq.DONTWAIT)
            self.socket.setsockopt(zmq.XPUB_NODROP, 1)

    def greet(self) -> None:
        """Let in those who have just subscribed, and send what they missed; to be called often."""
        until = time.monotonic() + TURN_TIME
        while self.socket.poll(0) and time.monotonic() < until:
            subscription = self.socket.recv_multipart()[0]
            wish, name = subscription[:1], subscription[1:]
            if wish == b"\0":
                self.socket.setsockopt(zmq.UNSUBSCRIBE, name)
                self._topics[name] -= 1
                if self._topics[name] <= 0:
                    del self._topics[name]
            elif wish == b"\1" and (len(self._topics) < MAX_TOPICS or self._is_usual(name)):
                self.socket.setsockopt(zmq.SUBSCRIBE, name)
                self._topics[name] += 1
                for message in self._greeting(name):
                    self.send(message)
            else:
                self.n_refused += 1

    def _is_usual(self, topic: bytes) -> bool:
        """Return whether a topic is let in however many there are: nobody can be locked out."""
        return topic in self._topics or any(root.startswith(topic) for root in ROOTS)

    def close(self) -> None:
        """Close the socket; what is queued gets half a second to leave."""
        self.socket.close()
