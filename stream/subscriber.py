"""Listening: subscribe to a running Playspot and get its events as they happen."""

import json
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import zmq
from pydantic import ValidationError

from .events import Event, LiveStep
from .publish import (
    DEFAULT_ENDPOINT,
    STATUS_ROOT,
    STEP_ROOT,
    TOPIC_ROOT,
    EndpointError,
    source_topic,
    topic,
)
from .status import Status, parse_status

MAX_MESSAGE_BYTES = 1 << 20
QUEUE = 10_000  # messages that wait while the program is busy; the publisher's queue comes on top
RECONNECT_MAX_MS = 200  # a short file is over soon after its publisher has started
POLL_MS = 200
MAX_REMEMBERED = 1000  # sources, and open events of each: more are not told apart for ever

logger = logging.getLogger(__name__)

OnGap = Callable[[str, int, int], None]


def _log_gap(source: str, first: int, n: int) -> None:
    logger.warning("%s: %d events from seq %d on did not arrive: read faster", source, n, first)


def listen(
    endpoint: str = DEFAULT_ENDPOINT,
    *,
    sources: Sequence[str] = (),
    labels: Sequence[str] = (),
    timeout: float | None = None,
    on_gap: OnGap = _log_gap,
) -> Iterator[Event]:
    """Yield the events that a running Playspot publishes, from now on.

    The publisher may start later, end, and start again: the subscription holds. The events that
    are open at the time of subscribing come first; each event comes once, those of a source in
    the order of `seq`.

    Parameters
    ----------
    endpoint : str
        As the publisher printed it.
    sources, labels : sequence of str
        Only events of these; all when empty.
    timeout : float or None
        Return after so many seconds without an event; None waits for ever.
    on_gap : callable
        Called with the source, the first `seq` and the number of events that did not arrive, which
        happens to a program that reads too slowly; logs a warning if not given. Not noticed when
        both `sources` and `labels` are given: other labels then leave gaps of their own.

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
    order = _Order(is_whole=not (sources and labels))
    for parts, is_alive in _messages(endpoint, _prefixes(sources, labels), timeout):
        try:
            replay = str(json.loads(parts[1]).get("replay", ""))
            event = Event.model_validate_json(parts[2])
        except (IndexError, ValueError, AttributeError):
            continue  # not ours, or of a later schema
        is_new, n_missed = order.take(event, replay)
        if n_missed:
            on_gap(event.source, event.seq - n_missed, n_missed)
        if is_new and (not labels or event.label in labels):
            yield event
            is_alive()


def steps(
    endpoint: str = DEFAULT_ENDPOINT,
    *,
    sources: Sequence[str] = (),
    timeout: float | None = None,
) -> Iterator[LiveStep]:
    """Yield the steps of a live run, from now on: every label's score, twice a second.

    Parameters and errors are those of `listen`. Steps are state, not events: one that is missed
    does not come again.

    Examples
    --------
    >>> list(steps("tcp://127.0.0.1:9", timeout=0.0))  # nobody there
    []
    """
    wanted = [source_topic(STEP_ROOT, source) for source in sources] or [STEP_ROOT]
    for parts, is_alive in _messages(endpoint, wanted, timeout):
        try:
            step = LiveStep.model_validate_json(parts[2])
        except (IndexError, ValidationError):
            continue
        yield step
        is_alive()


def statuses(
    endpoint: str = DEFAULT_ENDPOINT,
    *,
    sources: Sequence[str] = (),
    timeout: float | None = None,
) -> Iterator[Status]:
    """Yield the status of a live run and of its sources: the last ones at once, then as they come.

    Parameters and errors are those of `listen`; with `sources` only theirs, not the run's.

    Examples
    --------
    >>> list(statuses("tcp://127.0.0.1:9", timeout=0.0))  # nobody there
    []
    """
    wanted = [source_topic(STATUS_ROOT, source) for source in sources] or [STATUS_ROOT]
    for parts, is_alive in _messages(endpoint, wanted, timeout):
        try:
            status = parse_status(parts[2])
        except (IndexError, ValidationError):
            continue
        yield status
        is_alive()


def _messages(
    endpoint: str, prefixes: Sequence[str], timeout: float | None
) -> Iterator[tuple[list[bytes], Callable[[], None]]]:
    """Yield messages; ends `timeout` seconds after the one that the second part was called for."""
    last = time.monotonic()

    def is_alive() -> None:
        nonlocal last
        last = time.monotonic()

    with _subscribed(endpoint, prefixes) as socket:
        while True:
            wait = POLL_MS
            if timeout is not None:
                wait = min(wait, max(0, round(1000 * (last + timeout - time.monotonic()))))
            if socket.poll(wait):
                yield socket.recv_multipart(), is_alive
            if timeout is not None and time.monotonic() - last >= timeout:
                return


@contextmanager
def _subscribed(endpoint: str, prefixes: Sequence[str]) -> "Iterator[zmq.Socket[bytes]]":
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.set_hwm(QUEUE)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
    socket.setsockopt(zmq.IPV6, "[" in endpoint)
    try:
        for prefix in prefixes:
            socket.subscribe(prefix)
        try:
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            raise EndpointError(
                f"cannot connect to {endpoint!r}: {error.strerror}; "
                f"the address looks like {DEFAULT_ENDPOINT}"
            ) from None
        yield socket
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


@dataclass
class _Known:
    """What has arrived of a source, or of one label of it."""

    system_id: str
    next_seq: int | None = None  # that must come next; None before anything but open events
    open: "OrderedDict[str, int]" = field(default_factory=OrderedDict)  # id -> last seq


class _Order:
    """Tell which events are new: a publisher repeats some for other and for returning listeners.

    Parameters
    ----------
    is_whole : bool
        Whether all events of a source are subscribed to, so that each `seq` must come.
    """

    def __init__(self, *, is_whole: bool) -> None:
        self._is_whole = is_whole
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()

    def take(self, event: Event, replay: str) -> tuple[bool, int]:
        """Return whether an event is new, and how many that should be before it never came."""
        key = (event.source, "" if self._is_whole else event.label)
        known = self._known.pop(key, None)
        if known is None or known.system_id != event.system_id:
            known = _Known(event.system_id)
        self._known[key] = known  # at the end: the longest unheard one is forgotten first
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        if event.seq <= known.open.get(event.id, -1):
            return False, 0
        n_missed = 0
        if known.next_seq is None:
            known.next_seq = None if replay == "open" else event.seq + 1
        elif event.seq < known.next_seq:
            return False, 0
        else:
            n_missed = event.seq - known.next_seq if self._is_whole else 0
            known.next_seq = event.seq + 1
        known.open.pop(event.id, None)
        if event.type != "end":
            known.open[event.id] = event.seq
        if len(known.open) > MAX_REMEMBERED:
            known.open.popitem(last=False)
        return True, n_missed
