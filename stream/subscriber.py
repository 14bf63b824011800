"""Listening: subscribe to a running Playspot and get its events as they happen."""

import time
from collections.abc import Iterator, Sequence

import zmq
from pydantic import ValidationError

from .events import Event
from .publish import DEFAULT_ENDPOINT, TOPIC_ROOT, EndpointError, topic

MAX_MESSAGE_BYTES = 1 << 20
RECONNECT_MAX_MS = 200  # a short file is over soon after its publisher has started
POLL_MS = 200


def listen(
    endpoint: str = DEFAULT_ENDPOINT,
    *,
    sources: Sequence[str] = (),
    labels: Sequence[str] = (),
    timeout: float | None = None,
) -> Iterator[Event]:
    """Yield the events that a running Playspot publishes, from now on.

    The publisher may start later, end, and start again: the subscription holds. The events that
    are open at the time of subscribing come first; each event comes once.

    Parameters
    ----------
    endpoint : str
        As the publisher printed it.
    sources, labels : sequence of str
        Only events of these; all when empty.
    timeout : float or None
        Return after so many seconds without an event; None waits for ever.

    Yields
    ------
    event : Event

    Raises
    ------
    EndpointError
        If `endpoint` is not a ZeroMQ address.

    Examples
    --------
    >>> list(listen("tcp://127.0.0.1:9", timeout=0.0))  # nobody there
    []
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
    socket.setsockopt(zmq.IPV6, "[" in endpoint)
    try:
        for prefix in _prefixes(sources, labels):
            socket.subscribe(prefix)
        try:
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            raise EndpointError(
                f"cannot connect to {endpoint!r}: {error.strerror}; "
                f"the address looks like {DEFAULT_ENDPOINT}"
            ) from None
        yield from _events(socket, frozenset(labels), timeout)
    finally:
        socket.close()
        context.term()


def _prefixes(sources: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Return the topics to subscribe to; labels alone are filtered here, not by the publisher."""
    if not sources:
        return [TOPIC_ROOT]
    if not labels:
        return [topic(source, "").rstrip("/") + "/" for source in sources]
    return [topic(source, label) for source in sources for label in labels]


def _events(
    socket: "zmq.Socket[bytes]", labels: frozenset[str], timeout: float | None
) -> Iterator[Event]:
    seen: dict[str, int] = {}  # id of an open event -> its last seq
    last = time.monotonic()
    while True:
        if not socket.poll(POLL_MS):
            if timeout is not None and time.monotonic() - last >= timeout:
                return
            continue
        parts = socket.recv_multipart()
        try:
            event = Event.model_validate_json(parts[2])
        except (IndexError, ValidationError):
            continue  # not ours, or of a later schema
        if event.seq <= seen.get(event.id, -1):
            continue  # repeated for a newer subscriber
        seen[event.id] = event.seq
        if event.type == "end":
            del seen[event.id]
        if labels and event.label not in labels:
            continue
        last = time.monotonic()
        yield event
