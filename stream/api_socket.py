"""The WebSocket of the live page: the client says what it wants, and gets that."""

import asyncio
import importlib.metadata
import json

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import ValidationError

from .drawing import web_colour
from .web_client import Client, SlowClientError, StoppedError
from .web_errors import first_error
from .web_messages import Told, Watch
from .web_replay import ReplayError
from .web_state import Web

BUSY = 1013  # code of closing: try again later
ENDING = 1012  # the service restarts or ends


def socket_routes(web: Web) -> APIRouter:
    """Return the route."""
    routes = APIRouter()

    @routes.websocket("/api/ws")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        if web.is_full:
            await websocket.close(BUSY, "too many clients")
            return
        client = Client("ws")
        hello = {
            "type": "hello",
            "version": importlib.metadata.version("playspot"),
            "system_id": web.job.system_id,
            "labels": web.job.labels,
            "colours": {label: web_colour(label) for label in web.job.labels},
            "can_record": web.job.recordings is not None,
        }
        web.live.clients.add(client)
        sending: asyncio.Task[None] | None = None
        try:
            await websocket.send_text(json.dumps(hello))
            sending = asyncio.create_task(_send(websocket, web, client))
            await _receive(websocket, web, client)
        except (WebSocketDisconnect, OSError):
            pass
        finally:
            web.live.leave(client)
            if sending is not None:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    return routes


async def _receive(websocket: WebSocket, web: Web, client: Client) -> None:
    """Take in what the client wants, until it goes."""
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        try:
            watch = Watch.model_validate_json(message.get("text") or "")
        except ValidationError as error:
            line = first_error(error.errors(include_url=False))
            await websocket.send_text(json.dumps({"type": "error", "message": line}))
            continue
        web.live.watch(client, watch)


async def _send(websocket: WebSocket, web: Web, client: Client) -> None:
    """Send what the client is to hear, until it goes or is too slow."""
    try:
        while True:
            told = await client.next()
            if isinstance(told, bytes):
                await websocket.send_bytes(told)
            elif isinstance(told, Told):
                await websocket.send_text(told.text)
            else:
                async for missed in web.live.missed(told):
                    for event in client.unsent(missed):
                        await websocket.send_text(event.text)
    except SlowClientError:
        await websocket.close(BUSY, "too slow; come back with `since`")
    except ReplayError as error:
        await websocket.close(BUSY, str(error))
    except StoppedError:
        await websocket.close(ENDING, "the program ends")
    except (WebSocketDisconnect, OSError, RuntimeError):
        return  # it has gone
