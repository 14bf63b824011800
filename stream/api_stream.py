"""Server-sent events: what happens, as lines that `curl` and a browser's EventSource read."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Header, HTTPException, Query
from fastapi.responses import StreamingResponse
from pydantic import Field

from .web_client import Client, SlowClientError, StoppedError
from .web_errors import errors
from .web_messages import Told, Watch
from .web_replay import ReplayError
from .web_state import Web

COMMENT_INTERVAL = 15.0  # seconds; proxies cut what is silent for longer
RETRY_MS = 2000

StreamKind = Literal["event", "step", "status"]
KINDS: tuple[StreamKind, ...] = get_args(StreamKind)
Names = Annotated[list[Annotated[str, Field(max_length=256)]], Query(max_length=100)]


def stream_routes(web: Web) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api", tags=["live"])

    @routes.get(
        "/stream",
        summary="Server-sent events",
        response_class=StreamingResponse,
        responses={
            **errors(400, 503),
            200: {"content": {"text/event-stream": {}}, "description": "A stream without end."},
        },
    )
    async def stream(
        source: Names = [],  # noqa: B006 - FastAPI copies it
        label: Names = [],  # noqa: B006
        kinds: Annotated[str, Query(max_length=100, examples=["event,step"])] = "event",
        last_event_id: Annotated[str, Header(max_length=300)] = "",
    ) -> StreamingResponse:
        """Return what happens from now on: of `kinds` (event, step, status), comma-separated.

        `source` and `label` may be repeated. Open events come first; with `Last-Event-ID`
        everything that was missed since, as far as it is kept.
        """
        wanted = [kind.strip() for kind in kinds.split(",")]
        if unknown := [kind for kind in wanted if kind not in KINDS]:
            raise HTTPException(400, f"kinds: {unknown[0]!r} is unknown; give {', '.join(KINDS)}")
        if web.is_full:
            raise HTTPException(503, "too many clients; try later")

        def accepts(told: Told) -> bool:
            is_of = not source or told.source in source
            return is_of and (told.kind != "event" or not label or told.label in label)

        watch = Watch(events="event" in wanted, steps="step" in wanted, status="status" in wanted)
        lines = _lines(web, Client("stream", accepts), watch, last_event_id)
        return StreamingResponse(lines, media_type="text/event-stream")

    return routes


async def _lines(web: Web, client: Client, watch: Watch, last_id: str) -> AsyncIterator[bytes]:
    place = _place(last_id)
    try:
        yield f"retry: {RETRY_MS}\n\n".encode()
        web.live.watch(client, watch, is_resumed=place is not None)
        if place is not None and watch.events:
            try:
                missed = await web.live.missed_after(*place)
            except ReplayError as error:
                yield f": {error}\n\n".encode()
                return
            for event in client.unsent(missed):
                yield event.server_sent
        while True:
            try:
                async with asyncio.timeout(COMMENT_INTERVAL):
                    told = await client.next()
            except TimeoutError:
                yield b": nothing new\n\n"
                continue
            if isinstance(told, Told) and told.kind in KINDS:
                yield told.server_sent
    except SlowClientError:
        yield b": too slow; come back with the last id\n\n"
    except StoppedError:
        yield b": the program ends\n\n"
    finally:
        web.live.leave(client)


def _place(last_id: str) -> tuple[str, str, int] | None:
    """Return run, source and seq of an id; None if it is none of ours."""
    system_id, _, rest = last_id.partition(":")
    source, _, seq = rest.rpartition(":")
    if not (system_id and source and seq.isascii() and seq.isdecimal() and len(seq) < 17):
        return None
    return system_id, source, int(seq)
