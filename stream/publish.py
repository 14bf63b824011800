"""Publishing: events, steps, statuses, heat and heartbeats go out on an XPUB socket.

Three parts a message: topic `playspot/v1/<source>/<label>/` (the slash at the end keeps `cam1` from
matching `cam10`), a JSON header, the JSON body of schema `playspot/event/1`. A live run also has
the topics of steps, statuses and heat; a heartbeat comes each second. A new subscriber gets the
open events, the last statuses and a heartbeat first (last-value cache). Beside the XPUB is a ROUTER
that replays the last events. Loopback only, unless there are keys, or it is told to be open.

A live run has the same twice: for subscribers, and, as `hub`, for its own processes.

XPUB sends what a new subscriber may have missed to all who subscribe to the topic; `listen` leaves
out what it had.
"""

import json
import time
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

import zmq

from .addresses import DEFAULT_ENDPOINT, EndpointError, check_endpoint
from .broadcast import Broadcast, Parts
from .event_ring import EventRing, SentEvent
from .events import SCHEMA, Event, LiveStep
from .gate import Gate
from .keys import ServerKeys
from .replay import Replay
from .sockets import bind
from .status import STATUS_SCHEMA
from .topics import (
    HEARTBEAT_ROOT,
    HEAT_ROOT,
    STATUS_ROOT,
    STEP_ROOT,
    TOPIC_ROOT,
    source_topic,
    topic,
)
from .wire import HEARTBEAT_INTERVAL, Heartbeat, Heat

REPLAY_TIME = 10.0  # seconds after a start in which subscribers of the process before come back
MAX_RECENT = 1_000  # events that they get without asking; far less than their queue holds

Replayed = Literal["", "open", "recent"]


class Publisher:
    """The XPUB socket of a run and the ROUTER beside it, for subscribers and as the run's hub.

    Parameters
    ----------
    context : zmq.Context
    endpoint : str or None
        For subscribers, checked by `check_endpoint`; None for the hub alone.
    may_move : bool
        Whether to take a free port when the one asked for is taken.
    system_id : str
        Names this run of the program.
    run : str or None
        Name of a live run, to be the hub of its processes.
    keys : Path or None
        Folder of keys: only subscribers that are allowed in it are served.
    is_open : bool
        Whether `endpoint` may be on the network without keys.

    Attributes
    ----------
    endpoint : str
        Where subscribers connect; empty for the hub alone.

    Raises
    ------
    EndpointError
        If the endpoint is not on loopback or is taken.
    KeysError
        If the folder has no keys.
    """

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        endpoint: str | None = DEFAULT_ENDPOINT,
        *,
        may_move: bool = False,
        system_id: str = "",
        run: str | None = None,
        keys: Path | None = None,
        is_open: bool = False,
    ) -> None:
        self.endpoint = ""
        self._system_id = system_id
        self._open: dict[str, SentEvent] = {}  # id -> last event
        self._status: dict[str, Parts] = {}  # source -> last message
        self._ring = EventRing()
        self._next_seq: dict[str, int] = {}
        self._recent_since = 0.0  # wall
        self._replays_until = self._beaten = 0.0  # monotonic
        self._sides: list[tuple[Broadcast, Replay]] = []
        if endpoint is not None:
            check_endpoint(endpoint, is_open=keys is not None or is_open)
        self._gate = Gate(context, None if keys is None else ServerKeys.load(keys))
        try:
            if endpoint is not None:
                self.endpoint = self._serve_public(context, endpoint, may_move=may_move)
            if run is not None:
                self._serve_hub(context, run)
        except BaseException:
            self.close()
            raise

    @property
    def sockets(self) -> "list[zmq.Socket[bytes]]":
        """What to poll: when one is readable, call `turn`."""
        own = [socket for side in self._sides for socket in (side[0].socket, side[1].socket)]
        return [*own, *self._gate.sockets]

    def resume(
        self,
        open_events: Iterable[Event],
        recent: Iterable[SentEvent],
        next_seq: Mapping[str, int] | None = None,
    ) -> None:
        """Take up where a publisher of the same run was killed.

        For `REPLAY_TIME` from now on, subscribers also get the events of the last `REPLAY_TIME`
        before the kill: those who come back miss none.

        Parameters
        ----------
        open_events : iterable of Event
            The last of each open event.
        recent : iterable of SentEvent
            The last events of the run, those of a source in the order of `seq`.
        next_seq : mapping
            Source to the `seq` of its next event, where events were lost.
        """
        self._open = {event.id: SentEvent.of(event) for event in open_events}
        for event in recent:
            self._remember(event)
        self._next_seq |= next_seq or {}
        newest = next(self._ring.last(0.0, 1), None)
        self._recent_since = 0.0 if newest is None else newest.wall_time - REPLAY_TIME
        self._replays_until = time.monotonic() + REPLAY_TIME

    def publish(self, event: Event) -> None:
        """Send an event to all who subscribed to its topic; never blocks."""
        self.publish_kept(SentEvent.of(event))

    def publish_kept(self, event: SentEvent) -> None:
        """Send an event that the journal has already made the body of."""
        self.greet()
        self._remember(event)
        self._open.pop(event.id, None)
        if not event.is_end:
            self._open[event.id] = event
        self._send(_event_message(event))

    def is_wanted(self, root: str, source: str) -> bool:
        """Return whether somebody subscribes to a topic of `source_topic`."""
        name = source_topic(root, source)
        return any(broadcast.is_wanted(name) for broadcast, _ in self._sides)

    def publish_step(self, step: LiveStep) -> None:
        """Send a step to all who subscribe to the steps of its source."""
        body = step.model_dump_json(by_alias=True).encode()
        self._send(_message(source_topic(STEP_ROOT, step.source), body, schema=step.schema_))

    def publish_heat(self, heat: Heat) -> None:
        """Send the playing maps of a step to all who subscribe to those of its source."""
        body = heat.model_dump_json(by_alias=True).encode()
        self._send(_message(source_topic(HEAT_ROOT, heat.source), body, schema=heat.schema_))

    def publish_status(self, source: str, body: str) -> None:
        """Send the status (JSON) of a source, or of the whole run (""); new subscribers get it."""
        name = source_topic(STATUS_ROOT, source)
        message = _message(name, body.encode(), schema=STATUS_SCHEMA)
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
        """Let in those who have just subscribed, and send what they missed."""
        for broadcast, _ in self._sides:
            broadcast.greet()

    def turn(self) -> None:
        """Do what is due: new subscribers, requests, heartbeats. To be called often."""
        self._gate.turn()
        self.greet()
        for _, replay in self._sides:
            replay.serve()
        if time.monotonic() - self._beaten >= HEARTBEAT_INTERVAL:
            self._beaten = time.monotonic()
            for broadcast, replay in self._sides:
                broadcast.send(self._heartbeat(replay))

    def counts(self) -> dict[str, int]:
        """Return the fields of a `PublisherStatus`."""
        broadcasts = [broadcast for broadcast, _ in self._sides]
        replays = [replay for _, replay in self._sides]
        n_refused = sum(broadcast.n_refused for broadcast in broadcasts)
        n_refused += sum(replay.n_refused for replay in replays)
        return {
            "subscriptions": sum(broadcast.n_topics for broadcast in broadcasts),
            "overflows": sum(broadcast.n_overflows for broadcast in broadcasts),
            "replayed": sum(replay.n_replayed for replay in replays),
            "refused": self._gate.n_refused + n_refused,
        }

    def close(self) -> None:
        """Close the sockets; what is queued gets half a second to leave."""
        self._gate.close()
        for broadcast, replay in self._sides:
            broadcast.close()
            replay.close()

    def _serve_public(
        self, context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str, *, may_move: bool
    ) -> str:
        broadcast, replay = self._add_side(context)
        for socket in (broadcast.socket, replay.socket):
            socket.setsockopt(zmq.IPV6, "[" in endpoint)
            self._gate.guard(socket)
        host = endpoint.rsplit(":", 1)[0]
        try:
            broadcast.socket.bind(endpoint)
        except zmq.ZMQError as error:
            if not (may_move and error.errno == zmq.EADDRINUSE and endpoint.startswith("tcp://")):
                raise EndpointError(
                    f"cannot publish on {endpoint}: {error.strerror}; name another with --publish"
                ) from None
            broadcast.socket.bind(f"{host}:*")
        bound = _bound(broadcast.socket)
        if not endpoint.startswith("tcp://"):
            replay.socket.bind(f"{bound}-replay")
            return bound
        with suppress(zmq.ZMQError):
            replay.socket.bind(f"{host}:{int(bound.rsplit(':', 1)[1]) + 1}")
            return bound
        replay.socket.bind(f"{host}:*")
        return bound

    def _serve_hub(self, context: "zmq.Context[zmq.Socket[bytes]]", run: str) -> None:
        broadcast, replay = self._add_side(context)
        for socket, name in ((broadcast.socket, "hub"), (replay.socket, "replay-hub")):
            bind(socket, run, name)

    def _add_side(self, context: "zmq.Context[zmq.Socket[bytes]]") -> tuple[Broadcast, Replay]:
        replay = Replay(context.socket(zmq.ROUTER), self._ring, self._next_seq, self._system_id)
        broadcast = Broadcast(context.socket(zmq.XPUB), lambda name: self._greeting(name, replay))
        self._sides.append((broadcast, replay))
        return broadcast, replay

    def _remember(self, sent: SentEvent) -> None:
        self._ring.append(sent)
        self._next_seq[sent.source] = sent.seq + 1

    def _greeting(self, name: bytes, replay: Replay) -> Iterator[Parts]:
        """Yield what a new subscriber to a topic gets first."""
        root = TOPIC_ROOT.encode()
        if name.startswith(root) or root.startswith(name):
            yield from self._missed(name)
        for message in self._status.values():
            if message[0].startswith(name):
                yield message
        if HEARTBEAT_ROOT.encode().startswith(name):
            yield self._heartbeat(replay)

    def _missed(self, name: bytes) -> Iterator[Parts]:
        """Yield the open and, after a restart, the recent events, each source's in order."""
        replays: dict[tuple[str, int, str], tuple[SentEvent, Replayed]] = {}
        for event in self._open.values():
            replays[event.source, event.seq, event.id] = (event, "open")
        if time.monotonic() < self._replays_until:
            for event in self._ring.last(self._recent_since, MAX_RECENT):
                replays[event.source, event.seq, event.id] = (event, "recent")
        for key in sorted(replays):
            message = _event_message(*replays[key])
            if message[0].startswith(name):
                yield message

    def _heartbeat(self, replay: Replay) -> Parts:
        heartbeat = Heartbeat(
            system_id=self._system_id,
            wall_time=time.time(),
            seq=self._next_seq,
            replay=_bound(replay.socket),
        )
        body = heartbeat.model_dump_json(by_alias=True).encode()
        return _message(HEARTBEAT_ROOT, body, schema=heartbeat.schema_)

    def _send(self, message: Parts) -> None:
        for broadcast, _ in self._sides:
            broadcast.send(message)


def _bound(socket: "zmq.Socket[bytes]") -> str:
    return socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")


def _event_message(event: SentEvent, replay: Replayed = "") -> Parts:
    fields = {"system_id": event.system_id, "source": event.source, "seq": event.seq}
    return _message(
        topic(event.source, event.label),
        event.body,
        schema=SCHEMA,
        **(fields | {"replay": replay} if replay else fields),
    )


def _message(name: str, body: bytes, **header: object) -> Parts:
    described = {"content_type": "application/json", **header}
    return [name.encode(), json.dumps(described).encode(), body]
