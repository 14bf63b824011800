"""Which events are new, which are missing, what to ask for: a subscriber's rules, without sockets.

Events, heartbeats and answers to replay requests go in, as they arrive; out come the events of each
source, each `seq` once and in order, `Gap`s for what is lost for good, and requests to send.

A source is followed from its `start`: where it was at the first heartbeat, or at its first event
when there is no heartbeat (older publishers). A run that begins while we listen is followed from
`seq` 0, and so is a source that is added to a run. What is ahead of a gap is held back until the
replay is there; what an answer does not have is lost, and so is what no answer comes for.
"""

from collections import OrderedDict, deque
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from .events import Event
from .wire import Heartbeat, ReplayAnswer, ReplayRequest

ASK_AGAIN = 1.0  # seconds without an answer after which a request is repeated
TRIES = 10  # requests for one gap; a publisher that was killed is back by then
TRIES_UNHEARD = 3  # intervals to wait for a first heartbeat, which says where to ask
MAX_SOURCES = 10_000  # the longest unheard one is forgotten first
MAX_HELD = 10_000  # events that are held back, of all sources together
MAX_NAME = 256  # characters of a source in a request
MAX_PAST = 4  # earlier runs of a source whose late messages are left out

Since = Mapping[str, tuple[str, int]]


@dataclass(frozen=True)
class Gap:
    """Events that are lost: `n` of a source in a run, from `first` on."""

    source: str
    system_id: str
    first: int
    n: int


@dataclass
class _Source:
    """What has arrived of a source in one run."""

    name: str
    system_id: str
    next: int | None  # the `seq` that must come next; None before anything but open events
    last: int = -1  # `seq` of the last event that was passed on, or given up
    known: int = 0  # events up to here (exclusive) exist, says the publisher
    held: dict[int, Event] = field(default_factory=dict)
    first_held: int | None = None
    past: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_PAST))
    request: str = ""  # id of the one that is on its way
    request_end: int = 0  # first `seq` that it does not ask for
    tries: int = 0
    ask_at: float = 0.0  # when the next request is due

    @property
    def gap_end(self) -> int:
        return self.known if self.first_held is None else self.first_held

    @property
    def is_gap(self) -> bool:
        return self.next is not None and self.next < self.gap_end


class Subscription:
    """The state of one subscription.

    Parameters
    ----------
    sources : container of str
        Only these are followed; all when empty.
    since : mapping
        Source to its run (`system_id`) and the first `seq` wanted of it: where an earlier
        subscription stopped.

    Attributes
    ----------
    replay : str or None
        Where to send requests, as the last heartbeat named it.

    Examples
    --------
    >>> subscription = Subscription(since={"stage": ("run1", 7)})
    >>> subscription.heartbeat(
    ...     Heartbeat(system_id="run1", wall_time=0, seq={"stage": 9}, replay="ipc://@replay")
    ... )
    >>> [(request.source, request.since, request.until) for request in subscription.due(now=0.0)]
    [('stage', 7, 9)]
    """

    def __init__(self, *, sources: Container[str] = (), since: Since | None = None) -> None:
        self.replay: str | None = None
        self._wanted = sources
        self._is_heard = False  # whether there was a heartbeat
        self._sources: OrderedDict[str, _Source] = OrderedDict()
        self._out: list[Event | Gap] = []
        self._n_held = 0
        self._n_requests = 0
        for name, (system_id, first) in (since or {}).items():
            self._sources[name] = _Source(name, system_id, first, last=first - 1)

    def event(self, event: Event, *, is_open: bool = False) -> None:
        """Take an event that was published.

        Parameters
        ----------
        event : Event
        is_open : bool
            Whether it is the last one of an open event, repeated for new subscribers.
        """
        source = self._source(event.source, event.system_id)
        if source is None or event.seq <= source.last:
            return
        self._sources.move_to_end(event.source)
        if len(self._sources) > MAX_SOURCES:
            self._forget(next(iter(self._sources.values())))
        if source.next is None and not is_open:
            source.next = event.seq
        if source.next is None or event.seq < source.next:  # open at the start
            source.last = event.seq
            self._out.append(event)
            return
        self._hold(source, event)
        self._advance(source)
        if self._n_held > MAX_HELD:
            self._give_up(source, source.gap_end)

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        """Take a heartbeat: it tells of events that did not come, and where to ask for them."""
        if not heartbeat.system_id:
            return  # a publisher that belongs to no run: its events may be of several
        is_first, self._is_heard, self.replay = not self._is_heard, True, heartbeat.replay
        for name, seq in heartbeat.seq.items():
            is_new = name not in self._sources
            if is_new and len(self._sources) >= MAX_SOURCES:
                continue
            source = self._source(name, heartbeat.system_id)
            if source is None:
                continue
            if source.next is None or (is_first and is_new):
                source.next = max(seq, source.last + 1)
            source.known = max(source.known, seq)

    def answer(self, answer: ReplayAnswer, events: Iterable[Event]) -> None:
        """Take the answer to a request of `due`, with its events."""
        source = self._sources.get(answer.source)
        if source is None or not source.request or source.request != answer.id:
            return  # too late
        source.request, source.ask_at, end = "", 0.0, source.request_end
        before = source.next or 0
        found = -1
        if answer.system_id == source.system_id:
            for event in events:
                if (event.source, event.system_id) == (source.name, source.system_id):
                    found = max(found, event.seq)
                    self._hold(source, event)
        self._advance(source)
        end = end if found < 0 else min(end, found + 1)
        while source.is_gap and source.next is not None and source.next < end:
            self._give_up(source, min(end, source.gap_end))
        if source.next != before:
            source.tries = 0

    def due(self, now: float) -> list[ReplayRequest]:
        """Return the requests to send now; to be called after everything that has arrived.

        Parameters
        ----------
        now : float
            Of a clock that never goes back, seconds.
        """
        requests = []
        for source in self._sources.values():
            while source.is_gap and source.ask_at <= now:
                if self._is_hopeless(source):
                    self._give_up(source, source.gap_end)
                    continue
                source.tries += 1
                source.ask_at = now + ASK_AGAIN
                if self.replay is not None:
                    self._n_requests += 1
                    source.request, source.request_end = str(self._n_requests), source.gap_end
                    requests.append(
                        ReplayRequest.model_validate(
                            {
                                "id": source.request,
                                "source": source.name,
                                "from": source.next,
                                "until": source.request_end,
                            }
                        )
                    )
        return requests

    def patience(self, now: float) -> float | None:
        """Return the seconds until `due` has something to do; None while nothing is missing."""
        times = [source.ask_at for source in self._sources.values() if source.is_gap]
        return max(0.0, min(times) - now) if times else None

    def finish(self) -> None:
        """Give up what is missing, so that what is held back comes out."""
        for source in self._sources.values():
            while source.is_gap:
                self._give_up(source, source.gap_end)

    def take(self) -> list[Event | Gap]:
        """Return what has come out since the last call, in order."""
        out, self._out = self._out, []
        return out

    def _source(self, name: str, system_id: str) -> _Source | None:
        """Return what is known of a source in a run; None if it is not wanted or of the past."""
        if self._wanted and name not in self._wanted:
            return None
        source = self._sources.get(name)
        if source is not None and source.system_id == system_id:
            return source
        if source is None:
            source = _Source(name, system_id, 0 if self._is_heard else None)
        elif system_id in source.past:
            return None
        else:
            self._forget(source)
            past = deque([*source.past, source.system_id], maxlen=MAX_PAST)
            source = _Source(name, system_id, 0, past=past)
        self._sources[name] = source
        return source

    def _forget(self, source: _Source) -> None:
        while source.is_gap:
            self._give_up(source, source.gap_end)
        del self._sources[source.name]

    def _hold(self, source: _Source, event: Event) -> None:
        assert source.next is not None
        if event.seq >= source.next and event.seq not in source.held:
            source.held[event.seq] = event
            self._n_held += 1
            first = source.first_held
            source.first_held = event.seq if first is None else min(first, event.seq)

    def _advance(self, source: _Source) -> None:
        """Pass on what no longer waits for anything."""
        if source.next is None or source.first_held != source.next:
            return
        while (event := source.held.pop(source.next, None)) is not None:
            self._out.append(event)
            self._n_held -= 1
            source.next += 1
        source.last = source.next - 1
        source.first_held = min(source.held, default=None)
        if not source.is_gap:
            source.request, source.tries, source.ask_at = "", 0, 0.0

    def _give_up(self, source: _Source, end: int) -> None:
        """Report events up to `end` (exclusive) as lost."""
        assert source.next is not None
        self._out.append(Gap(source.name, source.system_id, source.next, end - source.next))
        source.next, source.last, source.tries = end, end - 1, 0
        source.request, source.ask_at = "", 0.0
        self._advance(source)

    def _is_hopeless(self, source: _Source) -> bool:
        if (self._is_heard and self.replay is None) or len(source.name) > MAX_NAME:
            return True
        return source.tries >= (TRIES if self._is_heard else TRIES_UNHEARD)
