"""Listening: subscribe to a running Playspot and get its events as they happen.

For asyncio: `subscriber_async.py`. What is guaranteed: docs/clients.md.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import zmq

from .addresses import DEFAULT_ENDPOINT
from .events import STEP_SCHEMA, Event, LiveStep
from .keys import ClientKeys
from .status import STATUS_SCHEMA, Status, parse_status
from .subscriber_gaps import Since
from .subscriber_records import EventListener, Listener, OnGap, StateListener, log_gap
from .subscriber_socket import OnMismatch, log_mismatch
from .topics import STATUS_ROOT, STEP_ROOT

R = TypeVar("R")


def listen(
    endpoint: str = DEFAULT_ENDPOINT,
    *,
    sources: Sequence[str] = (),
    labels: Sequence[str] = (),
    since: Since | None = None,
    keys: ClientKeys | Path | str | None = None,
    timeout: float | None = None,
    on_gap: OnGap = log_gap,
    on_mismatch: OnMismatch = log_mismatch,
) -> Iterator[Event]:
    """Yield the events that a running Playspot publishes, from now on.

    The publisher may start later, end, and start again: the subscription holds. The events that
    are open at the time of subscribing come first; each event comes once, those of a source in
    the order of `seq`. What did not arrive is asked for, and comes in its place.

    Parameters
    ----------
    endpoint : str
        As the publisher printed it.
    sources, labels : sequence of str
        Only events of these; all when empty.
    since : mapping
        Source to `(system_id, seq)`: the first event wanted of it, to go on where an earlier
        program stopped, so far as the publisher keeps it (the last 10 000 events).
    keys : ClientKeys or path
        Of a publisher that asks for keys: the file `NAME.key_secret` that `playspot keygen` made,
        or the folder with it and `server.key`.
    timeout : float or None
        Return after so many seconds without an event; None waits for ever.
    on_gap : callable
        Called with the source, the first `seq` and the number of events, of whatever label, that
        are lost for good; logs a warning if not given.
    on_mismatch : callable
        Called with a `SchemaMismatch` once for each schema that is not read because its major
        version is another; logs a warning if not given.

    Yields
    ------
    event : Event

    Raises
    ------
    EndpointError
        If `endpoint` is not a ZeroMQ address.
    KeysError
        If the keys cannot be used.

    Examples
    --------
    >>> list(listen("tcp://127.0.0.1:9", timeout=0.0))  # nobody there
    []
    """
    listener = EventListener(
        endpoint,
        sources=sources,
        labels=labels,
        since=since,
        keys=keys,
        on_gap=on_gap,
        on_mismatch=on_mismatch,
    )
    yield from _records(listener, timeout)


def steps(
    endpoint: str = DEFAULT_ENDPOINT,
    *,
    sources: Sequence[str] = (),
    keys: ClientKeys | Path | str | None = None,
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
    yield from _records(step_listener(endpoint, sources, keys), timeout)


def statuses(
    endpoint: str = DEFAULT_ENDPOINT,
    *,
    sources: Sequence[str] = (),
    keys: ClientKeys | Path | str | None = None,
    timeout: float | None = None,
) -> Iterator[Status]:
    """Yield the status of a live run and of its sources: the last ones at once, then as they come.

    Parameters and errors are those of `listen`; with `sources` only theirs, not the run's.

    Examples
    --------
    >>> list(statuses("tcp://127.0.0.1:9", timeout=0.0))  # nobody there
    []
    """
    yield from _records(status_listener(endpoint, sources, keys), timeout)


def step_listener(
    endpoint: str, sources: Sequence[str], keys: ClientKeys | Path | str | None
) -> StateListener[LiveStep]:
    """Return what receives the steps of a live run."""
    return StateListener(
        endpoint, STEP_ROOT, STEP_SCHEMA, LiveStep.model_validate_json, sources=sources, keys=keys
    )


def status_listener(
    endpoint: str, sources: Sequence[str], keys: ClientKeys | Path | str | None
) -> StateListener[Status]:
    """Return what receives the statuses of a live run."""
    return StateListener(
        endpoint, STATUS_ROOT, STATUS_SCHEMA, parse_status, sources=sources, keys=keys
    )


def wait_ms(listener: Listener[R], now: float, end: float | None) -> int | None:
    """Return how long (ms) a listener may wait for messages at most; None is for ever."""
    patience = listener.patience(now)
    waits = [] if patience is None else [patience]
    if end is not None:
        waits.append(max(0.0, end - now))
    return round(1000 * min(waits) + 0.5) if waits else None


def _records(listener: Listener[R], timeout: float | None) -> Iterator[R]:
    with closing(listener):
        last = time.monotonic()
        while True:
            for record in listener.take(time.monotonic()):
                yield record
                last = time.monotonic()
            end = None if timeout is None else last + timeout
            poller = zmq.Poller()
            for socket in listener.sockets:
                poller.register(socket, zmq.POLLIN)
            wait = wait_ms(listener, time.monotonic(), end)
            is_quiet = not poller.poll(wait)
            if is_quiet and end is not None and time.monotonic() >= end:
                break
        yield from listener.finish()
