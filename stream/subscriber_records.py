"""What a subscriber has heard: messages that have arrived become records, without ever waiting.

An `EventListener` has each event once and in order, and has what is missing replayed; a
`StateListener` has steps or statuses. `subscriber.py` and `subscriber_async.py` wait for them.
"""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import zmq
from pydantic import ValidationError

from .events import SCHEMA, Event
from .keys import ClientKeys
from .subscriber_gaps import Gap, Since, Subscription
from .subscriber_socket import OnMismatch, SubscriberSocket, client_keys, log_mismatch
from .topics import HEARTBEAT_ROOT, TOPIC_ROOT, source_topic
from .wire import HEARTBEAT_SCHEMA, REPLAY_SCHEMA, Heartbeat, ReplayAnswer

AT_ONCE = 200  # messages that are read at once
BROKEN = (ValueError, TypeError, KeyError, RecursionError)  # what is raised by what is no message

logger = logging.getLogger(__name__)

R = TypeVar("R")

OnGap = Callable[[str, int, int], None]


def log_gap(source: str, first: int, n: int) -> None:
    """Log that events were lost."""
    logger.warning("%s: %d events from seq %d on did not arrive, and are lost", source, n, first)


class Listener(Protocol[R]):
    """What `subscriber` and `subscriber_async` wait for."""

    @property
    def sockets(self) -> Sequence["zmq.Socket[bytes]"]:
        """To wait for."""

    def take(self, now: float) -> list[R]:
        """Return what has arrived; never waits."""

    def patience(self, now: float) -> float | None:
        """Return the seconds until `take` must be called though nothing has arrived."""

    def finish(self) -> list[R]:
        """Return what was held back for something that is given up now."""

    def close(self) -> None:
        """Release the sockets."""


class EventListener:
    """Events of a publisher.

    Parameters
    ----------
    endpoint : str
    sources, labels : sequence of str
        Only these come out; all when empty.
    since, keys, on_gap, on_mismatch
        As of `subscriber.listen`.

    Raises
    ------
    EndpointError, KeysError
        If the address or the keys cannot be used.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        sources: Sequence[str] = (),
        labels: Sequence[str] = (),
        since: Since | None = None,
        keys: ClientKeys | Path | str | None = None,
        on_gap: OnGap = log_gap,
        on_mismatch: OnMismatch = log_mismatch,
    ) -> None:
        # All labels of a source are subscribed to, so that each `seq` must come.
        topics = [source_topic(TOPIC_ROOT, name) for name in sources] or [TOPIC_ROOT]
        heartbeats = HEARTBEAT_ROOT.removesuffix("v1/")  # of any version, so that others are told
        self._socket = SubscriberSocket(
            endpoint, [*topics, heartbeats], client_keys(keys), on_mismatch
        )
        self._subscription = Subscription(sources=frozenset(sources), since=since)
        self._labels = frozenset(labels)
        self._on_gap = on_gap
        self._asked_at: str | None = None  # the address that the socket for requests has
        self._asking: zmq.Socket[bytes] | None = None

    @property
    def sockets(self) -> Sequence["zmq.Socket[bytes]"]:
        """To wait for."""
        return [*self._socket.sockets, *([] if self._asking is None else [self._asking])]

    def take(self, now: float) -> list[Event]:
        """Return the events that have arrived and whose turn it is; never waits.

        Parameters
        ----------
        now : float
            Of a clock that never goes back, seconds.
        """
        self._take_answers()
        for _ in range(AT_ONCE):
            if (parts := self._socket.receive()) is None:
                break
            self._take(parts)
        requests = self._subscription.due(now)
        if requests:
            self._connect()
        for request in requests:
            if self._asking is not None:
                try:
                    body = request.model_dump_json(by_alias=True)
                    self._asking.send(body.encode(), zmq.DONTWAIT)
                except zmq.Again:
                    break  # they are repeated
        return self._out()

    def patience(self, now: float) -> float | None:
        """Return the seconds until `take` must be called though nothing has arrived."""
        return self._subscription.patience(now)

    def finish(self) -> list[Event]:
        """Return what is held back; what it waits for is given up."""
        self._subscription.finish()
        return self._out()

    def close(self) -> None:
        """Release the sockets."""
        if self._asking is not None:
            self._asking.close()
        self._socket.close()

    def _take(self, parts: list[bytes]) -> None:
        try:
            topic, header, body = parts
            name, fields = topic.decode(), json.loads(header)
            is_heartbeat = not name.startswith(TOPIC_ROOT)
            expected = HEARTBEAT_SCHEMA if is_heartbeat else SCHEMA
            if not self._socket.is_readable(fields["schema"], expected, name):
                return
            if is_heartbeat:
                self._subscription.heartbeat(Heartbeat.model_validate_json(body))
            else:
                event = Event.model_validate_json(body)
                self._subscription.event(event, is_open=fields.get("replay") == "open")
        except (*BROKEN, AttributeError) as error:
            logger.debug("not a message of a publisher: %s", error)

    def _take_answers(self) -> None:
        while self._asking is not None:
            try:
                first, *bodies = self._asking.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            try:
                schema = json.loads(first)["schema"]
                if not self._socket.is_readable(schema, REPLAY_SCHEMA, "replay"):
                    continue
                answer = ReplayAnswer.model_validate_json(first)
            except BROKEN as error:
                logger.debug("not an answer to a replay request: %s", error)
                continue
            events = []
            for body in bodies:
                try:
                    events.append(Event.model_validate_json(body))
                except ValidationError as error:
                    logger.debug("a replayed event that cannot be read: %s", error)
            self._subscription.answer(answer, events)

    def _connect(self) -> None:
        """Have a socket to where the last heartbeat says that requests go."""
        replay = self._subscription.replay
        address = replay and replay_address(self._socket.endpoint, replay)
        if address == self._asked_at:
            return
        if self._asking is not None:
            self._asking.close()
        self._asking, self._asked_at = None, address
        if address is not None:
            try:
                self._asking = self._socket.dealer(address)
            except zmq.ZMQError as error:
                logger.warning("cannot ask %s for missing events: %s", address, error.strerror)

    def _out(self) -> list[Event]:
        events = []
        for item in self._subscription.take():
            if isinstance(item, Gap):
                self._on_gap(item.source, item.first, item.n)
            elif not self._labels or item.label in self._labels:
                events.append(item)
        return events


class StateListener(Generic[R]):
    """Steps or statuses of a publisher.

    Parameters
    ----------
    endpoint : str
    root : str
        Topic of all of them.
    schema : str
        What is read.
    parse : callable
        Returns the record of a body, or raises ValueError.
    sources : sequence of str
        Only of these; all when empty.
    keys, on_mismatch
        As of `subscriber.listen`.

    Raises
    ------
    EndpointError, KeysError
        If the address or the keys cannot be used.
    """

    def __init__(
        self,
        endpoint: str,
        root: str,
        schema: str,
        parse: Callable[[bytes], R],
        *,
        sources: Sequence[str] = (),
        keys: ClientKeys | Path | str | None = None,
        on_mismatch: OnMismatch = log_mismatch,
    ) -> None:
        prefixes = [source_topic(root, name) for name in sources] or [root]
        self._socket = SubscriberSocket(endpoint, prefixes, client_keys(keys), on_mismatch)
        self._schema, self._parse = schema, parse

    @property
    def sockets(self) -> Sequence["zmq.Socket[bytes]"]:
        """To wait for."""
        return self._socket.sockets

    def take(self, now: float) -> list[R]:
        """Return what has arrived; never waits."""
        records: list[R] = []
        while len(records) < AT_ONCE and (parts := self._socket.receive()) is not None:
            try:
                topic, header, body = parts
                schema = json.loads(header)["schema"]
                if self._socket.is_readable(schema, self._schema, topic.decode()):
                    records.append(self._parse(body))
            except BROKEN as error:
                logger.debug("not a message of a publisher: %s", error)
        return records

    def patience(self, now: float) -> float | None:
        """Return None: nothing is due but what arrives."""
        return None

    def finish(self) -> list[R]:
        """Return nothing: nothing is held back."""
        return []

    def close(self) -> None:
        """Release the sockets."""
        self._socket.close()


def replay_address(endpoint: str, replay: str) -> str | None:
    """Return where to ask for events that are missing; None if there is no way from here.

    Parameters
    ----------
    endpoint : str
        Where the events come from.
    replay : str
        As the heartbeat names it: the publisher may not know under which name it is reached.

    Examples
    --------
    >>> replay_address("tcp://stage.local:7773", "tcp://0.0.0.0:7774")
    'tcp://stage.local:7774'
    """
    if endpoint.startswith("tcp://") and replay.startswith("tcp://"):
        port = replay.rpartition(":")[2]
        return f"{endpoint.rpartition(':')[0]}:{port}" if port.isdecimal() else None
    return replay if endpoint.startswith("ipc://") and replay.startswith("ipc://") else None
