"""Publishing: changes of tracks become events with `seq` and `id`, on an XPUB socket.

Three parts a message: topic `playspot/v1/<source>/<label>/` (the slash at the end keeps `cam1` from
matching `cam10`), a JSON header, the JSON body of schema `playspot/event/1`. A new subscriber gets
the open events first (last-value cache). Loopback only, unless told otherwise.
"""

import ipaddress
import json
import secrets
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import zmq

from .events import SCHEMA, Event, ModelInfo
from .timeline import step_time
from .tracks import Change

DEFAULT_ENDPOINT = "tcp://127.0.0.1:7773"
TOPIC_ROOT = "playspot/v1/"
EVENT_QUEUE = 10_000  # events a slow subscriber may lag behind; then it loses some, and sees a gap
LINGER_MS = 500


class EndpointError(ValueError):
    """An endpoint that may not or cannot be used; the message is one line for the user."""


def check_endpoint(endpoint: str) -> str:
    """Return `endpoint` if it is `ipc://@name` or TCP on loopback, else raise `EndpointError`.

    An endpoint that is a file is refused: binding would replace the file, whatever it is.

    Examples
    --------
    >>> check_endpoint("tcp://127.0.0.1:7773")
    'tcp://127.0.0.1:7773'
    """
    if endpoint.startswith("ipc://@") and len(endpoint) > len("ipc://@"):
        return endpoint
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname or "", parts.port
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        host, port, is_loopback = "", None, False
    if not endpoint.startswith("tcp://") or port is None:
        raise EndpointError(
            f"endpoint {endpoint!r} is not tcp://HOST:PORT or ipc://@NAME, "
            f"such as {DEFAULT_ENDPOINT}"
        )
    if not is_loopback:
        raise EndpointError(
            f"endpoint {endpoint!r} is not on loopback: events would be open to the network; "
            f"use {DEFAULT_ENDPOINT}"
        )
    return endpoint


def topic(source: str, label: str) -> str:
    """Return the topic of a label of a source; slashes in names become underscores.

    Examples
    --------
    >>> topic("stage", "violin")
    'playspot/v1/stage/violin/'
    """
    return f"{TOPIC_ROOT}{source.replace('/', '_')}/{label.replace('/', '_')}/"


@dataclass
class EventLog:
    """Give each change of a source its `seq`, its event its `id`, and the clock's time.

    Parameters
    ----------
    source : str
    model : ModelInfo
    system_id : str
        Names this run of the program; part of every event's id.
    """

    source: str
    model: ModelInfo
    system_id: str = field(default_factory=lambda: secrets.token_hex(4))
    _seq: int = 0

    def event(self, change: Change, latency_ms: float | None = None) -> Event:
        """Return the event of a change; to be called once for each, in order."""
        track = change.track
        if track.id is None:
            track.id = f"{self.source}.{self.system_id}.{self._seq}"
        event = Event(
            type=change.type,
            id=track.id,
            source=self.source,
            label=track.label,
            score=change.detection.score,
            top_score=track.top_score,
            start_time=track.start_time,
            end_time=change.end_time,
            time=step_time(change.step),
            wall_time=time.time(),
            step=change.step,
            seq=self._seq,
            system_id=self.system_id,
            point=change.detection.point,
            box=change.detection.box,
            modalities=change.detection.modalities,
            latency_ms=latency_ms,
            model=self.model,
            end_reason=change.end_reason,
        )
        self._seq += 1
        return event


class Publisher:
    """The XPUB socket of a run.

    Parameters
    ----------
    context : zmq.Context
    endpoint : str
        Checked by `check_endpoint`.
    may_move : bool
        Whether to take a free port when the one asked for is taken.

    Attributes
    ----------
    endpoint : str
        Where it is bound.

    Raises
    ------
    EndpointError
        If the endpoint is not on loopback or is taken.
    """

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        endpoint: str = DEFAULT_ENDPOINT,
        *,
        may_move: bool = False,
    ) -> None:
        check_endpoint(endpoint)
        self._open: dict[str, list[bytes]] = {}  # event id -> last message
        self._socket = context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # a second subscriber to a topic counts too
        self._socket.setsockopt(zmq.IPV6, "[" in endpoint)
        self._socket.setsockopt(zmq.LINGER, LINGER_MS)
        self._socket.set_hwm(EVENT_QUEUE)
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            if not (may_move and error.errno == zmq.EADDRINUSE and endpoint.startswith("tcp://")):
                self._socket.close()
                raise EndpointError(
                    f"cannot publish on {endpoint}: {error.strerror}; name another with --publish"
                ) from None
            self._socket.bind(endpoint.rsplit(":", 1)[0] + ":*")
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")

    def publish(self, event: Event) -> None:
        """Send an event to all who subscribed to its topic; never blocks."""
        header = {
            "schema": SCHEMA,
            "content_type": "application/json",
            "system_id": event.system_id,
            "source": event.source,
            "seq": event.seq,
        }
        message = [
            topic(event.source, event.label).encode(),
            json.dumps(header).encode(),
            event.model_dump_json(by_alias=True).encode(),
        ]
        self._open.pop(event.id, None)
        if event.type != "end":
            self._open[event.id] = message  # at the end: the cache is in the order of `seq`
        self._socket.send_multipart(message, zmq.DONTWAIT)

    def greet(self) -> None:
        """Send the open events to those who have just subscribed; to be called often."""
        while self._socket.poll(0):
            subscription = self._socket.recv()
            if subscription[:1] == b"\1":
                for message in list(self._open.values()):
                    if message[0].startswith(subscription[1:]):
                        self._socket.send_multipart(message, zmq.DONTWAIT)

    def close(self) -> None:
        """Close the socket; what is queued gets half a second to leave."""
        self._socket.close()
