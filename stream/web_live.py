"""What the web process knows of the run at this moment, and who is told.

In: the messages of the inner hub (`take`). Out: the last statuses and steps, the open events, and
every message to each client that wants it. All in the thread of the event loop.

Events reach the clients in the order of `seq` and without a gap: what the hub did not bring is
replayed before what came after it.
"""

import asyncio
import heapq
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from pydantic import ValidationError

from .events import Event
from .metrics import Rates
from .status import RunStatus, SourceStatus, parse_status
from .topics import HEARTBEAT_ROOT, HEAT_ROOT, STATUS_ROOT, STEP_ROOT, TOPIC_ROOT
from .web_client import Client, Resume, StoppedError
from .web_messages import Told, Watch
from .web_replay import ReplayError, Replays
from .wire import Heartbeat

logger = logging.getLogger(__name__)

LOOK_BACK = 200  # events of a source asked for at once, to find those after a time
FRESH = 3.0  # seconds for which what was heard of the run counts


class _Past(NamedTuple):
    """An event that was replayed."""

    wall_time: float
    told: Told


class Live:
    """The state of the run.

    Parameters
    ----------
    system_id : str
        Of the run.
    replays : Replays

    Attributes
    ----------
    run : RunStatus or None
        None until it was heard of.
    sources : dict
        Name to `SourceStatus`.
    heartbeat : Heartbeat or None
    clients : set of Client
    rates : Rates
        How fast sources play.
    n_events : Counter
        Messages of events, by source, label and type.
    """

    def __init__(self, system_id: str, replays: Replays) -> None:
        self.system_id = system_id
        self.run: RunStatus | None = None
        self.sources: dict[str, SourceStatus] = {}
        self.heartbeat: Heartbeat | None = None
        self.clients: set[Client] = set()
        self.replays = replays
        self.rates = Rates()
        self.n_events: Counter[tuple[str, str, str]] = Counter()
        self._told: dict[tuple[str, str], Told] = {}  # kind, source -> the last status or step
        self._open: dict[str, Told] = {}  # id of an event -> its last message
        self._next: dict[str, int] = {}  # source -> seq of its next event
        self._held: dict[str, list[tuple[Event, Told]]] = {}  # source -> events after a gap
        self._tasks: set[asyncio.Task[None]] = set()
        self._heard = 0.0

    @property
    def is_fresh(self) -> bool:
        """Whether the run was heard of in the last seconds."""
        return self.run is not None and time.monotonic() - self._heard < FRESH

    def take(self, parts: Sequence[bytes]) -> None:
        """Take in a message of the hub; what is none is skipped."""
        try:
            name, header, body = (part.decode() for part in parts)
            if name.startswith(TOPIC_ROOT):
                is_open = json.loads(header).get("replay") == "open"
                self._event(Event.model_validate_json(body), body, is_open=is_open)
            elif name.startswith(STEP_ROOT):
                self._state(Told("step", body, _source(STEP_ROOT, name)))
            elif name.startswith(STATUS_ROOT):
                self._status(body, _source(STATUS_ROOT, name))
            elif name.startswith(HEAT_ROOT):
                self._tell(Told("heat", body, _source(HEAT_ROOT, name)))
            elif name.startswith(HEARTBEAT_ROOT):
                self._beat(Heartbeat.model_validate_json(body), body)
        except (ValueError, AttributeError) as error:
            logger.warning("skipped a message: %s", type(error).__name__)

    def steps(self) -> dict[str, str]:
        """Return the last step of each source, JSON."""
        return {told.source: told.body for told in self._told.values() if told.kind == "step"}

    def open_events(self) -> list[Told]:
        """Return the last message of each open event, those of a source in order."""
        return sorted(self._open.values(), key=lambda told: (told.source, told.seq))

    def watch(self, client: Client, watch: Watch, *, is_resumed: bool = False) -> None:
        """Let a client hear what it wants, beginning with what is known already.

        Parameters
        ----------
        client : Client
        watch : Watch
        is_resumed : bool
            Leave out the open events.
        """
        before, client.watch = client.watch, watch
        self.clients.add(client)
        for told in self._told.values():
            if not before.wants(told):
                client.offer(told)
        if not watch.events or before.events:
            return
        if watch.since:
            client.resume = Resume(watch.since)
            client.wake()
        for told in () if is_resumed else self.open_events():
            if told.source not in watch.since:
                client.offer(told)

    def leave(self, client: Client) -> None:
        """Forget a client."""
        self.clients.discard(client)

    def stop(self) -> None:
        """End every client."""
        for client in self.clients:
            client.end(StoppedError())
        for task in self._tasks:
            task.cancel()

    def show(self, source: str, frame: bytes) -> None:
        """Let the clients have a picture."""
        for client in self.clients:
            client.offer_picture(source, frame)

    async def missed(self, resume: Resume) -> AsyncIterator[list[Told]]:
        """Yield the events that a client has missed, in parts; of another run, all of this one."""
        for source, (system_id, first) in resume.since.items():
            following = first if system_id == self.system_id else 0
            while True:
                replayed = await self.replays.fetch(source, following)
                if not replayed.events:
                    break
                yield [_told(event, body) for event, body in replayed.events]
                following = replayed.events[-1][0].seq + 1
                if following >= replayed.next:
                    break

    async def missed_after(self, system_id: str, source: str, seq: int) -> list[Told]:
        """Return the events of all sources that were published after one of them, in order.

        Only as far back as events are kept for replay; of another run, all of this one.

        Raises
        ------
        ReplayError
            If there is no answer, or no heartbeat has told yet which sources there are.
        """
        if self.heartbeat is None:  # a client that waited for this process is faster than the hub
            raise ReplayError("the publisher has not been heard of yet; try again")
        own = await self._replayed(source, seq if system_id == self.system_id else 0)
        is_known = system_id == self.system_id and own and own[0].told.seq == seq
        after = own[0].wall_time if is_known else 0.0
        found = [own[1:] if is_known else own]
        for other, following in list(self._next.items()):
            if other != source:
                found.append(await self._replayed_after(other, following, after))
        # Merged, not sorted: those of a source stay in order if the clock was set back.
        return [past.told for past in heapq.merge(*found, key=lambda past: past.wall_time)]

    async def _replayed(self, source: str, since: int, until: int | None = None) -> "list[_Past]":
        found: list[_Past] = []
        while True:
            replayed = await self.replays.fetch(source, since, until)
            found += [_Past(event.wall_time, _told(event, body)) for event, body in replayed.events]
            since = found[-1].told.seq + 1 if found else since
            if not replayed.events or since >= (replayed.next if until is None else until):
                return found

    async def _replayed_after(self, source: str, following: int, wall_time: float) -> "list[_Past]":
        """Return the events of a source that are younger than a time; looks from the end back."""
        found = await self._replayed(source, following)
        while following > 0:
            first = max(0, following - LOOK_BACK)
            part = await self._replayed(source, first, following)
            found, following = part + found, first
            if not part or part[0].wall_time <= wall_time:
                break
        return [past for past in found if past.wall_time > wall_time]

    def _event(self, event: Event, body: str, *, is_open: bool) -> None:
        if event.system_id != self.system_id:
            return
        source, told = event.source, _told(event, body)
        following = self._next.get(source)
        if source in self._held:
            self._held[source].append((event, told))
        elif is_open and event.id not in self._open and (following or 0) > event.seq:
            self._open[event.id] = told  # it began before this process
            self._tell(told)
        elif following is None or event.seq == following:
            self._publish(event, told, counts=not (is_open and following is None))
        elif event.seq > following:
            self._held[source] = [(event, told)]
            self._fill(source, event.seq)

    def _publish(self, event: Event, told: Told, *, counts: bool = True) -> None:
        if counts:
            self._next[event.source] = event.seq + 1
        self.n_events[event.source, event.label, event.type] += 1
        self._open.pop(event.id, None)
        if event.type != "end":
            self._open[event.id] = told
        self._tell(told)

    def _fill(self, source: str, until: int) -> None:
        """Ask for events that the hub did not bring; later ones wait until they are there."""
        self._held.setdefault(source, [])
        task = asyncio.get_running_loop().create_task(self._filled(source, until))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _filled(self, source: str, until: int) -> None:
        try:
            while (first := self._next[source]) < until:
                events = (await self.replays.fetch(source, first, until)).events
                for event, body in events:
                    if event.seq >= self._next[source]:
                        self._publish(event, _told(event, body))
                if not events:  # they are no longer kept
                    self._next[source] = until
        except ReplayError as error:
            logger.warning("%s: events before seq %d did not arrive: %s", source, until, error)
        finally:
            for event, told in sorted(self._held.pop(source, []), key=lambda held: held[0].seq):
                if source in self._held:  # there is a further gap among them
                    self._held[source].append((event, told))
                elif event.seq > max(self._next[source], until):
                    self._held[source] = [(event, told)]
                    self._fill(source, event.seq)
                elif event.seq >= self._next[source]:
                    self._publish(event, told)

    def _beat(self, heartbeat: Heartbeat, body: str) -> None:
        self.heartbeat, self._heard = heartbeat, time.monotonic()
        for source, following in heartbeat.seq.items():
            known = self._next.setdefault(source, following)
            if known < following and source not in self._held:
                self._fill(source, following)
        self._tell(Told("heartbeat", body))

    def _status(self, body: str, source: str) -> None:
        try:
            status = parse_status(body)
        except ValidationError:
            return  # of a later major version
        self._heard = time.monotonic()
        if isinstance(status, SourceStatus):
            self.sources[status.source] = status
            self.rates.note(status)
        else:
            self.run = status
            self.rates.keep(status.sources)
            for gone in self.sources.keys() - status.sources.keys():
                del self.sources[gone]
            kept = {*status.sources, ""}  # a last step may come after its source has gone
            self._told = {key: told for key, told in self._told.items() if key[1] in kept}
        self._state(Told("status", body, source))

    def _state(self, told: Told) -> None:
        self._told[told.kind, told.source] = told
        self._tell(told)

    def _tell(self, told: Told) -> None:
        for client in self.clients:
            client.offer(told)


def _told(event: Event, body: str) -> Told:
    return Told("event", body, event.source, event.label, event.system_id, event.seq)


def _source(root: str, name: str) -> str:
    return name.removeprefix(root).removesuffix("/")
