"""The socket of a subscriber: connected, with keys if need be; says why nothing comes."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import zmq
from zmq.utils.monitor import recv_monitor_message

from .addresses import DEFAULT_ENDPOINT, EndpointError
from .keys import ClientKeys

MAX_MESSAGE_BYTES = 1 << 20
QUEUE = 10_000  # messages that wait while the program is busy; the publisher's queue comes on top
RECONNECT_MAX_MS = 200  # a short file is over soon after its publisher has started
ALIVE_MS = 2000  # between two signs of life; three times as long without any, and it is broken
MAX_TOLD = 100  # schemas
NO_MATCH = "one side has no keys, or server.key is another's"
REFUSALS = {
    int(zmq.EVENT_HANDSHAKE_FAILED_AUTH): "these keys are not allowed there",
    int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL): NO_MATCH,
    int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL): NO_MATCH,  # which of both comes is chance
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SchemaMismatch:
    """A message that is not read: the publisher is of another major version.

    Attributes
    ----------
    topic : str
    schema : str
        What the message says that it is.
    expected : str
        What this version of Playspot reads.
    """

    topic: str
    schema: str
    expected: str


OnMismatch = Callable[[SchemaMismatch], None]


def log_mismatch(mismatch: SchemaMismatch) -> None:
    """Log that messages are not read."""
    logger.warning(
        "messages of %r are left out, this Playspot reads %r: install the publisher's version",
        mismatch.schema,
        mismatch.expected,
    )


class SubscriberSocket:
    """A SUB socket.

    Parameters
    ----------
    endpoint : str
    prefixes : sequence of str
        Topics to subscribe to.
    keys : ClientKeys or None
    on_mismatch : callable
        Called once for each schema that is not read.

    Attributes
    ----------
    sockets : list of zmq.Socket
        To wait for; the second one tells that the publisher refuses the connection.

    Raises
    ------
    EndpointError
        If the endpoint is no address.
    """

    def __init__(
        self,
        endpoint: str,
        prefixes: Sequence[str],
        keys: ClientKeys | None,
        on_mismatch: OnMismatch,
    ) -> None:
        self.endpoint = endpoint
        self._keys, self._on_mismatch = keys, on_mismatch
        self._told: set[str] = set()  # schemas and refusals
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        socket = self._made(zmq.SUB, endpoint)
        self.sockets = [socket, socket.get_monitor_socket(sum(REFUSALS))]
        try:
            for prefix in prefixes:
                socket.subscribe(prefix)
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise EndpointError(
                f"cannot connect to {endpoint!r}: {error.strerror}; "
                f"the address looks like {DEFAULT_ENDPOINT}"
            ) from None

    def dealer(self, endpoint: str) -> "zmq.Socket[bytes]":
        """Return a DEALER with the same keys, to be closed before this.

        Raises
        ------
        zmq.ZMQError
            If the endpoint is no address.
        """
        socket = self._made(zmq.DEALER, endpoint)
        try:
            socket.connect(endpoint)
        except zmq.ZMQError:
            socket.close()
            raise
        return socket

    def receive(self) -> list[bytes] | None:
        """Return the next message, None if there is none; never waits."""
        socket, refusals = self.sockets
        while refusals.poll(0):
            reason = REFUSALS[int(recv_monitor_message(refusals)["event"])]
            if reason not in self._told:
                self._told.add(reason)
                logger.warning("%s does not let us in: %s", self.endpoint, reason)
        try:
            return socket.recv_multipart(zmq.DONTWAIT)
        except zmq.Again:
            return None

    def is_readable(self, schema: object, expected: str, topic: str) -> bool:
        """Return whether a message is of the schema that is read here; tell if not, once."""
        if schema == expected:
            return True
        if isinstance(schema, str) and schema not in self._told and len(self._told) < MAX_TOLD:
            self._told.add(schema)
            self._on_mismatch(SchemaMismatch(topic, schema, expected))
        return False

    def close(self) -> None:
        """Release the sockets."""
        socket, refusals = self.sockets
        socket.disable_monitor()
        refusals.close()
        socket.close()
        self._context.term()

    def _made(self, kind: int, endpoint: str) -> "zmq.Socket[bytes]":
        socket = self._context.socket(kind)
        socket.set_hwm(QUEUE)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
        socket.setsockopt(zmq.HEARTBEAT_IVL, ALIVE_MS)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3 * ALIVE_MS)
        socket.setsockopt(zmq.IPV6, "[" in endpoint)
        if self._keys is not None:
            self._keys.use(socket)
        return socket


def client_keys(keys: ClientKeys | Path | str | None) -> ClientKeys | None:
    """Return keys, read from their file or folder if need be."""
    return keys if keys is None or isinstance(keys, ClientKeys) else ClientKeys.load(Path(keys))
