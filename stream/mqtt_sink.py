"""Events and states to an MQTT 5 broker.

Events are handed over one after the other and only count as delivered once the broker has
acknowledged them. What it has not is given again by whoever reads the journal, so a broker may be
down for long. Everything else is state: it is retained, the last value counts, and after each
connection all of it is said again, since the broker may have forgotten it.
"""

import contextlib
import time
from collections.abc import Sequence
from typing import get_args

from .events import Event
from .mqtt_connection import MqttConnection
from .mqtt_discovery import OFFLINE, ONLINE, STOPPED, Topics, discovery_payload, discovery_topic
from .output_config import MqttConfig
from .sink import SinkError
from .status import RunStatus, SourceState, Status

CLOSE_TIME = 1.0  # s for the last words
STATS_INTERVAL = 10.0  # s
STATS_EXPIRY = 60  # s after which the broker forgets them
FRESH = 15.0  # s: an older event says nothing about what is being played now
CONFIRM_TIME = 10.0  # s in which what was being played before a restart must show up again
STATES = frozenset({"ON", "OFF", *get_args(SourceState)})  # payloads of what is retained


class MqttSink:
    """An MQTT broker as a sink.

    Parameters
    ----------
    config : MqttConfig
    system_id : str
        Of this run; events of earlier ones do not tell what is being played now.

    Attributes
    ----------
    name : str
        "mqtt".
    """

    name = "mqtt"

    def __init__(self, config: MqttConfig, system_id: str) -> None:
        self._config, self._system_id = config, system_id
        self._topics = Topics(config.topic_prefix)
        self._birth = f"{config.discovery_prefix}/status"  # of Home Assistant
        self._run: RunStatus | None = None
        self._labels: set[str] = set()  # of events, for a run that does not name its own
        self._playing: dict[tuple[str, str], dict[str, float]] = {}  # what -> event -> score
        self._unconfirmed: dict[tuple[str, str], float] = {}  # ON at the broker -> until when
        self._retained: dict[str, str | None] = {}  # what the broker has; None: perhaps
        self._is_first = True  # nothing has been asked of the broker yet
        self._told: tuple[float, object] = (0.0, None)  # when stats were published, and what of
        will = (self._topics.available, OFFLINE)
        self._connection = MqttConnection(config, will, self._receive)

    def deliver(self, events: Sequence[Event]) -> None:
        """Take events; return once the broker has acknowledged each, and what it means."""
        self._connect()
        broker = self._connection
        known = broker.under_way | broker.acked  # of an attempt that failed half-way
        for event in events:
            if (key := (event.system_id, event.source, event.seq)) not in known:
                body = event.model_dump_json(by_alias=True)
                broker.publish(self._topics.events, body, self._config.qos, key=key)
        broker.settle()
        for event in events:
            self._follow(event)
        self._refresh()
        broker.settle()
        broker.acked.clear()

    def note(self, status: Status) -> None:
        """Take in how the run is doing."""
        if isinstance(status, RunStatus):
            self._run = status

    def turn(self) -> None:
        """Keep the connection, and what is retained up to date."""
        self._connect()
        self._refresh()
        self._tell_stats()
        self._connection.turn()

    def close(self) -> None:
        """Say that this is the end as planned, and leave."""
        if self._connection.is_up:
            with contextlib.suppress(SinkError):
                self._retain(self._topics.available, STOPPED)
                self._connection.settle(patience=CLOSE_TIME)
        self._connection.close()

    def _connect(self) -> None:
        """See to it that there is a connection; the broker may have forgotten what was retained."""
        if not self._connection.open():
            return
        found = [f"{self._topics.prefix}/+/+"] if self._is_first else []
        self._connection.subscribe([self._birth, *found])
        self._is_first = False
        self._told = (0.0, None)
        self._retained = dict.fromkeys(self._retained)
        self._retain(self._topics.available, ONLINE)
        self._connection.settle()  # what is retained there comes before this is acknowledged

    def _receive(self, topic: str, text: str, is_retained: bool) -> None:
        """Take in what others have published."""
        if topic == self._birth:
            if text == ONLINE:  # Home Assistant has started
                announced = [name for name in self._retained if name.endswith("/config")]
                self._retained.update(dict.fromkeys(announced))
        elif is_retained and text in STATES and (place := self._topics.parsed(topic)):
            self._find(topic, text, *place)

    def _find(self, topic: str, text: str, source: str, label: str) -> None:
        """Take in what an earlier process has left at the broker."""
        self._retained.setdefault(topic, text)
        if text in ("ON", "OFF"):
            self._retained.setdefault(self._topics.score(source, label), None)
        else:
            self._retained.setdefault(self._announcement(source), None)
        if text == "ON":
            self._unconfirmed[source, label] = time.monotonic() + CONFIRM_TIME

    def _follow(self, event: Event) -> None:
        """Take in what an event says about what is being played now."""
        place = (event.source, event.label)
        self._labels.add(event.label)
        open_events = self._playing.setdefault(place, {})
        if event.type == "end":
            open_events.pop(event.id, None)
        elif event.system_id == self._system_id and time.time() - event.wall_time < FRESH:
            open_events[event.id] = event.score
        else:
            return
        self._unconfirmed.pop(place, None)

    def _refresh(self) -> None:
        """Publish what is not retained as it is to be."""
        wanted = self._wanted()
        for topic, payload in wanted.items():
            self._retain(topic, payload)
        if self._run is not None:
            for topic in [topic for topic in self._retained if topic not in wanted]:
                self._retain(topic, "")  # makes the broker forget it
                del self._retained[topic]

    def _wanted(self) -> dict[str, str]:
        """Return what the broker is to retain: topic to payload."""
        run, topics, now = self._run, self._topics, time.monotonic()
        wanted = {topics.available: ONLINE}
        if run is None:
            places = list(self._playing)
        else:
            labels = run.labels or tuple(sorted(self._labels))
            places = [(source, label) for source in run.sources for label in labels]
            for source, state in run.sources.items():
                wanted[topics.state(source)] = state
                if self._config.discovery:
                    wanted[self._announcement(source)] = discovery_payload(
                        topics.prefix, source, labels, run.model.name
                    )
        for source, label in places:
            scores = self._playing.get((source, label), {}).values()
            is_on = bool(scores) or self._unconfirmed.get((source, label), 0.0) > now
            wanted[topics.playing(source, label)] = "ON" if is_on else "OFF"
            wanted[topics.score(source, label)] = f"{max(scores, default=0.0):.3f}"
        return wanted

    def _announcement(self, source: str) -> str:
        return discovery_topic(self._config.discovery_prefix, self._topics.prefix, source)

    def _retain(self, topic: str, payload: str) -> None:
        if self._retained.get(topic) != payload:
            self._retained[topic] = payload
            self._connection.publish(topic, payload, 1, is_retained=True)

    def _tell_stats(self) -> None:
        """Publish how the run is doing: now and then, and when something happens."""
        if (run := self._run) is None:
            return
        now, (then, before) = time.monotonic(), self._told
        happened = (
            run.sources,
            [(worker.name, worker.state, worker.restarts) for worker in run.workers],
            {name: sink.state for name, sink in run.sinks.items()},
            run.journal and run.journal.error,
            run.endpoint,
        )
        if happened != before or now - then >= STATS_INTERVAL:
            self._told = (now, happened)
            body = run.model_dump_json(by_alias=True)
            self._connection.publish(
                self._topics.stats, body, 0, is_retained=True, expiry=STATS_EXPIRY
            )
