"""What stands before every request: which names, origins, tokens and sizes are let in.

The rules, in this order; an answer is always one line of JSON, `{"error": ...}`.

1. `Host` is a name of this machine: a page of the web that has its own name point here (DNS
   rebinding) gets nothing.
2. What changes something, and every WebSocket, comes from our own page, or from no page at all.
3. With a token in the configuration: `Authorization: Bearer`, or the cookie of `/api/login`. Who
   guesses is not listened to for a while.
4. A body is JSON, small, and arrives soon.
"""

import asyncio
import ipaddress
import json
import logging
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .addresses import is_loopback, split_address
from .locator import redacted
from .output_config import WebConfig
from .web_tokens import Tokens, address_of, cookie_of

MAX_BODY = 64 * 1024  # bytes
BODY_TIME = 10.0  # seconds for a body to arrive
OPEN_PATHS = frozenset({"/", "/healthz", "/readiness", "/api/login", "/favicon.ico"})
CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
HEADERS: Final = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}

logger = logging.getLogger(__name__)


class Guard:
    """The ASGI application around the application.

    Parameters
    ----------
    app : ASGI application
    config : WebConfig
    tokens : Tokens
    """

    def __init__(self, app: ASGIApp, config: WebConfig, tokens: Tokens) -> None:
        self._app, self._config, self._tokens = app, config, tokens
        self._host, _ = split_address(config.listen)
        self._names = frozenset(name.lower() for name in (self._host, *config.hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on to the application."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send)
        try:
            self._check(scope)
            if scope["type"] == "http" and scope["method"] in CHANGING:
                receive = await _body(Headers(scope=scope), receive)
            await self._app(scope, receive, answer.send)
        except HTTPException as refusal:
            await answer.refuse(refusal)
        except Exception as error:  # whatever it is, nobody outside reads it
            logger.error("%r: %s: %s", scope["path"], type(error).__name__, redacted(error))
            await answer.refuse(HTTPException(500, "this should not happen; see the log"))

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_ours(host):
            raise HTTPException(403, "this machine has another name; set `hosts` of web")
        is_changing = scope["type"] == "websocket" or scope["method"] in CHANGING
        origin = headers.get("origin")
        if is_changing and origin is not None and not _is_same(origin, host):
            raise HTTPException(403, "refused: it comes from a page of another origin")
        path = scope["path"]
        if not self._tokens.is_needed or path in OPEN_PATHS or path.startswith("/assets/"):
            return
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            given = given.strip().encode("latin-1").decode("utf-8", "replace")  # as it was sent
            self._tokens.check(given, address_of(scope))
        elif not self._tokens.is_session(cookie_of(headers)):
            raise HTTPException(401, "a token is needed", {"www-authenticate": "Bearer"})

    def _is_ours(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name, _ = parts.hostname or "", parts.port
        except ValueError:
            return False
        if parts.path or parts.query or parts.fragment or parts.username is not None:
            return False
        if is_loopback(name) or name in self._names:
            return True
        try:  # beyond loopback people write the address; no name can be made to point to it
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return not is_loopback(self._host)


class _Answer:
    """What goes back: with the headers of every answer; also refusals, to a WebSocket as well."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope, self._send = scope, send
        self._has_begun = False

    async def send(self, message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            self._has_begun = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-store")
        elif message["type"].startswith("websocket."):
            self._has_begun = True
        await self._send(message)

    async def refuse(self, refusal: HTTPException) -> None:
        is_http = self._scope["type"] == "http"
        if self._has_begun:
            if not is_http:
                await self._send({"type": "websocket.close", "code": 1011})
            return
        prefix = "http" if is_http else "websocket.http"
        if not is_http and "websocket.http.response" not in self._scope.get("extensions", {}):
            await self._send({"type": "websocket.close", "code": 1008})
            return
        body = json.dumps({"error": refusal.detail}).encode()
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            **(refusal.headers or {}),
        }
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        start: dict[str, Any] = {"status": refusal.status_code, "headers": raw}
        await self.send({"type": f"{prefix}.response.start", **start})
        await self._send({"type": f"{prefix}.response.body", "body": body})


def _is_same(origin: str, host: str) -> bool:
    """Return whether a page of an origin is ours; TLS may end at a proxy, so names only count."""
    try:
        parts, own = urlsplit(origin), urlsplit(f"//{host}")
        usual = {"http": 80, "https": 443}.get(parts.scheme)
        return (
            usual is not None
            and parts.hostname == own.hostname
            and (parts.port or usual) == (own.port or usual)
        )
    except ValueError:
        return False


async def _body(headers: Headers, receive: Receive) -> Receive:
    """Take in the whole body; return what gives it to the application."""
    body = bytearray()
    if headers.get("content-length", "0").isdecimal():
        _check_size(int(headers.get("content-length", "0")))
    try:
        async with asyncio.timeout(BODY_TIME):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    break
                body += message.get("body", b"")
                _check_size(len(body))
                if not message.get("more_body"):
                    break
    except TimeoutError:
        late = f"the body took longer than {BODY_TIME:g} s"
        raise HTTPException(408, late, {"connection": "close"}) from None
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != "application/json":
        raise HTTPException(415, "a body must be JSON: Content-Type: application/json")
    first: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

    async def again() -> Message:
        return first.pop() if first else await receive()

    return again


def _check_size(n: int) -> None:
    if n > MAX_BODY:
        raise HTTPException(
            413, f"the body has more than {MAX_BODY} bytes", {"connection": "close"}
        )
