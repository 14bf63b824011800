"""Publishing: changes of tracks become events with `seq` and `id`, on an XPUB socket.

Three parts a message: topic `playspot/v1/<source>/<label>/` (the slash at the end keeps `cam1` from
matching `cam10`), a JSON header, the JSON body of schema `playspot/event/1`. A live run also has
the topics `playspot/steps/v1/<source>/` and `playspot/status/v1/[<source>/]`. A new subscriber gets
the open events and the last status first (last-value cache). Loopback only, unless told otherwise.

A subscription takes effect only once its subscriber was sent what it may have missed
(XPUB_MANUAL), so what follows is never ahead of it. XPUB sends that to all who subscribe to the
topic; `listen` leaves out what it had.
"""

import ipaddress
import json
import secrets
import time
from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

import zmq

from .events import SCHEMA, Event, LiveStep, ModelInfo
from .output_config import is_loopback
from .timeline import STEP, step_time
from .tracks import Change

DEFAULT_ENDPOINT = "tcp://127.0.0.1:7773"
TOPIC_ROOT = "playspot/v1/"
STEP_ROOT = "playspot/steps/v1/"
STATUS_ROOT = "playspot/status/v1/"
STATUS_SCHEMA: Final = "playspot/status/1"
EVENT_QUEUE = 10_000  # events a slow subscriber may lag behind; then it loses some, and sees a gap
LINGER_MS = 500
REPLAY_TIME = 10.0  # seconds after a start in which subscribers of the process before come back

Replay = Literal["", "open", "recent"]


class EndpointError(ValueError):
    """An endpoint that may not or cannot be used; the message is one line for the user."""


def check_endpoint(endpoint: str, *, is_open: bool = False) -> str:
    """Return `endpoint` if it is `ipc://@name` or TCP on loopback, else raise `EndpointError`.

    An endpoint that is a file is refused: binding would replace the file, whatever it is. With
    `is_open` it may be on any interface: subscribers need keys, or everybody may read.

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
        is_local = is_loopback(host)
        if not is_local:
            ipaddress.ip_address(host)
    except ValueError:
        host, port, is_local = "", None, False
    if not endpoint.startswith("tcp://") or port is None:
        raise EndpointError(
            f"endpoint {endpoint!r} is not tcp://HOST:PORT or ipc://@NAME, "
            f"such as {DEFAULT_ENDPOINT}"
        )
    if not (is_local or is_open):
        raise EndpointError(
            f"endpoint {endpoint!r} is not on loopback: events would be open to the network; "
            f"use {DEFAULT_ENDPOINT}, give `keys` (playspot keygen), or say insecure: true"
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


def source_topic(root: str, source: str) -> str:
    """Return the topic of the steps (`STEP_ROOT`) or the status (`STATUS_ROOT`) of a source.

    Examples
    --------
    >>> source_topic(STEP_ROOT, "stage"), source_topic(STATUS_ROOT, "")
    ('playspot/steps/v1/stage/', 'playspot/status/v1/')
    """
    return f"{root}{source.replace('/', '_')}/" if source else root


@dataclass
class EventLog:
    """Give each change of a source its `seq`, its event its `id`, and the clock's time.

    Parameters
    ----------
    source : str
    model : ModelInfo
    system_id : str
        Names this run of the program; part of every event's id.
    seq : int
        Of the next event.
    """

    source: str
    model: ModelInfo
    system_id: str = field(default_factory=lambda: secrets.token_hex(4))
    seq: int = 0

    def event(
        self, change: Change, latency_ms: float | None = None, zones: tuple[str, ...] = ()
    ) -> Event:
        """Return the event of a change; to be called once for each, in order."""
        track = change.track
        if track.id is None:
            track.id = f"{self.source}.{self.system_id}.{self.seq}"
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
            seq=self.seq,
            system_id=self.system_id,
            point=change.detection.point,
            box=change.detection.box,
            zones=zones,
            modalities=change.detection.modalities,
            latency_ms=latency_ms,
            model=self.model,
            end_reason=change.end_reason,
        )
        self.seq += 1
        return event

    def end_of(self, event: Event) -> Event:
        """Return the end of an event that an earlier run of the program left open."""
        changes = {
            "type": "end",
            "end_time": step_time(event.step) + STEP / 2,
            "end_reason": "shutdown",
            "wall_time": time.time(),
            "latency_ms": None,
            "seq": self.seq,
            "system_id": self.system_id,
        }
        self.seq += 1
        return event.model_copy(update=changes)


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
        self._open: dict[str, Event] = {}  # id -> last event
        self._status: dict[str, list[bytes]] = {}  # source -> last message
        self._recent: list[Event] = []
        self._replays_until = 0.0
        self._topics: Counter[bytes] = Counter()  # subscribed to, and by how many
        self._socket = context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.XPUB_MANUAL, 1)
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

    def resume(self, open_events: Iterable[Event], recent: Iterable[Event]) -> None:
        """Take up where a publisher of the same run was killed.

        For `REPLAY_TIME` from now on, subscribers also get the recent events: those who come back
        miss none.

        Parameters
        ----------
        open_events, recent : iterable of Event
            The last of each open event; the last events of the run, in the order of `seq`.
        """
        self._open = {event.id: event for event in open_events}
        self._recent = list(recent)
        self._replays_until = time.monotonic() + REPLAY_TIME

    def publish(self, event: Event) -> None:
        """Send an event to all who subscribed to its topic; never blocks."""
        self.greet()
        self._open.pop(event.id, None)
        if event.type != "end":
            self._open[event.id] = event
        if time.monotonic() < self._replays_until:
            self._recent.append(event)
        elif self._recent:
            self._recent = []
        self._send(_event_message(event))

    def is_wanted(self, root: str, source: str) -> bool:
        """Return whether somebody subscribes to a topic of `source_topic`."""
        name = source_topic(root, source).encode()
        return any(name.startswith(subscribed) for subscribed in self._topics)

    def publish_step(self, step: LiveStep) -> None:
        """Send a step to all who subscribe to the steps of its source."""
        body = step.model_dump_json(by_alias=True)
        self._send(_message(source_topic(STEP_ROOT, step.source), body, schema=step.schema_))

    def publish_status(self, source: str, body: str) -> None:
        """Send the status (JSON) of a source, or of the whole run (""); new subscribers get it."""
        message = _message(source_topic(STATUS_ROOT, source), body, schema=STATUS_SCHEMA)
        self._status[source] = message
        self._send(message)

    def forget_status_except(self, sources: Container[str]) -> None:
        """Forget the status of sources that are no more."""
        self._status = {
            source: message
            for source, message in self._status.items()
            if source in sources or not source
        }

    def greet(self) -> None:
        """Let in those who have just subscribed, and send what they missed; to be called often."""
        while self._socket.poll(0):
            subscription = self._socket.recv()
            name = subscription[1:]
            if subscription[:1] == b"\0":
                self._socket.setsockopt(zmq.UNSUBSCRIBE, name)
                self._topics -= Counter([name])
            elif subscription[:1] == b"\1":
                self._socket.setsockopt(zmq.SUBSCRIBE, name)
                self._topics[name] += 1
                for message in [*self._missed(), *self._status.values()]:
                    if message[0].startswith(name):
                        self._send(message)

    def close(self) -> None:
        """Close the socket; what is queued gets half a second to leave."""
        self._socket.close()

    def _missed(self) -> list[list[bytes]]:
        """Return the open and, after a restart, the recent events, each source's in order."""
        recent = self._recent if time.monotonic() < self._replays_until else []
        replays: dict[tuple[str, int, str], tuple[Event, Replay]] = {}
        for event in self._open.values():
            replays[event.source, event.seq, event.id] = (event, "open")
        for event in recent:
            replays[event.source, event.seq, event.id] = (event, "recent")
        return [_event_message(*replays[key]) for key in sorted(replays)]

    def _send(self, message: list[bytes]) -> None:
        self._socket.send_multipart(message, zmq.DONTWAIT)


def _event_message(event: Event, replay: Replay = "") -> list[bytes]:
    fields = {"system_id": event.system_id, "source": event.source, "seq": event.seq}
    return _message(
        topic(event.source, event.label),
        event.model_dump_json(by_alias=True),
        schema=SCHEMA,
        **(fields | {"replay": replay} if replay else fields),
    )


def _message(name: str, body: str, **header: object) -> list[bytes]:
    described = {"content_type": "application/json", **header}
    return [name.encode(), json.dumps(described).encode(), body.encode()]
