"""Listening with asyncio: the same as `subscriber.py`, for `async for`."""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import zmq
import zmq.asyncio

from .addresses import DEFAULT_ENDPOINT
from .events import Event, LiveStep
from .keys import ClientKeys
from .status import Status
from .subscriber import status_listener, step_listener, wait_ms
from .subscriber_gaps import Since
from .subscriber_records import EventListener, Listener, OnGap, log_gap
from .subscriber_socket import OnMismatch, log_mismatch

R = TypeVar("R")


async def listen_async(
    endpoint: str = DEFAULT_ENDPOINT,
    *,
    sources: Sequence[str] = (),
    labels: Sequence[str] = (),
    since: Since | None = None,
    keys: ClientKeys | Path | str | None = None,
    timeout: float | None = None,
    on_gap: OnGap = log_gap,
    on_mismatch: OnMismatch = log_mismatch,
) -> AsyncGenerator[Event, None]:
    """Yield the events that a running Playspot publishes, from now on, as `listen` does.

    Parameters and errors are those of `listen`. A loop that is left early lets go of the sockets
    soon after; `contextlib.aclosing` does it at once.

    Examples
    --------
    >>> import asyncio
    >>> async def count() -> int:
    ...     return len([event async for event in listen_async("tcp://127.0.0.1:9", timeout=0.0)])
    >>> asyncio.run(count())  # nobody there
    0
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
    async for event in _records(listener, timeout):
        yield event


async def steps_async(
    endpoint: str = DEFAULT_ENDPOINT,
    *,
    sources: Sequence[str] = (),
    keys: ClientKeys | Path | str | None = None,
    timeout: float | None = None,
) -> AsyncGenerator[LiveStep, None]:
    """Yield the steps of a live run, as `subscriber.steps` does."""
    async for step in _records(step_listener(endpoint, sources, keys), timeout):
        yield step


async def statuses_async(
    endpoint: str = DEFAULT_ENDPOINT,
    *,
    sources: Sequence[str] = (),
    keys: ClientKeys | Path | str | None = None,
    timeout: float | None = None,
) -> AsyncGenerator[Status, None]:
    """Yield the status of a live run and of its sources, as `subscriber.statuses` does."""
    async for status in _records(status_listener(endpoint, sources, keys), timeout):
        yield status


async def _records(listener: Listener[R], timeout: float | None) -> AsyncGenerator[R, None]:
    with closing(listener):
        last = time.monotonic()
        while True:
            for record in listener.take(time.monotonic()):
                yield record
                last = time.monotonic()
            end = None if timeout is None else last + timeout
            poller = zmq.asyncio.Poller()
            for socket in listener.sockets:
                poller.register(socket, zmq.POLLIN)
            wait = wait_ms(listener, time.monotonic(), end)
            is_quiet = not await poller.poll(wait)
            if is_quiet and end is not None and time.monotonic() >= end:
                break
        for record in listener.finish():
            yield record
