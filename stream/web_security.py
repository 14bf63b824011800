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
import hashlib
import hmac
import ipaddress
import json
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .addresses import is_loopback, split_address
from .locator import redacted
from .output_config import WebConfig

COOKIE: Final = "playspot_session"
SESSION_TIME = 30 * 86400  # s
MAX_BODY = 64 * 1024  # bytes
BODY_TIME = 10.0  # seconds for a body to arrive
GUESSES = 10  # wrong tokens of one address in GUESS_TIME; then it must wait
GUESS_TIME = 60.0  # s
MAX_ADDRESSES = 1000  # whose guesses are remembered
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


class Refusal(Exception):  # noqa: N818 - no error of ours, but an answer
    """A request that is answered here.

    Parameters
    ----------
    status : int
        Of HTTP.
    message : str
        One line.
    headers : dict, optional
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers or {}


class Tokens:
    """Who has shown the token of the configuration.

    Parameters
    ----------
    token : str or None
        None: everybody is let in.
    clock : callable
        Unix seconds.
    """

    def __init__(self, token: str | None, clock: Callable[[], float] = time.time) -> None:
        self._token = token.encode() if token is not None else None
        self._clock = clock
        self._guesses: OrderedDict[str, tuple[float, int]] = OrderedDict()

    @property
    def is_needed(self) -> bool:
        """Whether there is a token at all."""
        return self._token is not None

    def check(self, given: str, address: str) -> None:
        """Return if a token is right.

        Raises
        ------
        Refusal
            If it is wrong (401), or too many of this address were (429).
        """
        if self._token is None:
            return
        since, n = self._guesses.get(address, (0.0, 0))
        now = self._clock()
        if not 0 <= now - since < GUESS_TIME:
            since, n = now, 0
        if n >= GUESSES:
            wait = str(math.ceil(since + GUESS_TIME - now))
            raise Refusal(429, f"too many wrong tokens; wait {wait} s", {"retry-after": wait})
        if hmac.compare_digest(_digest(given.encode()), _digest(self._token)):
            return
        self._guesses[address] = (since, n + 1)
        self._guesses.move_to_end(address)
        while len(self._guesses) > MAX_ADDRESSES:
            self._guesses.popitem(last=False)
        raise Refusal(401, "wrong token", {"www-authenticate": "Bearer"})

    def session(self) -> str:
        """Return the value of a cookie that shows, for `SESSION_TIME`, that the token was right."""
        until = str(int(self._clock()) + SESSION_TIME)
        return f"{until}.{self._signature(until)}"

    def is_session(self, value: str) -> bool:
        """Return whether a value is one of `session` that still holds."""
        until, _, signature = value.partition(".")
        if not (until.isascii() and until.isdecimal() and len(until) < 16):
            return False
        is_ours = hmac.compare_digest(signature.encode(), self._signature(until).encode())
        return is_ours and int(until) > self._clock()

    def _signature(self, until: str) -> str:
        return hmac.new(self._token or b"", f"session {until}".encode(), hashlib.sha256).hexdigest()


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
        except Refusal as refusal:
            await answer.refuse(refusal)
        except Exception as error:  # whatever it is, nobody outside reads it
            logger.error("%r: %s: %s", scope["path"], type(error).__name__, redacted(error))
            await answer.refuse(Refusal(500, "this should not happen; see the log"))

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_ours(host):
            raise Refusal(403, "this machine has another name; set `hosts` of web")
        is_changing = scope["type"] == "websocket" or scope["method"] in CHANGING
        origin = headers.get("origin")
        if is_changing and origin is not None and not _is_same(origin, host):
            raise Refusal(403, "refused: it comes from a page of another origin")
        path = scope["path"]
        if not self._tokens.is_needed or path in OPEN_PATHS or path.startswith("/assets/"):
            return
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            given = given.strip().encode("latin-1").decode("utf-8", "replace")  # as it was sent
            self._tokens.check(given, address_of(scope))
        elif not self._tokens.is_session(cookie_of(headers)):
            raise Refusal(401, "a token is needed", {"www-authenticate": "Bearer"})

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

    async def refuse(self, refusal: Refusal) -> None:
        is_http = self._scope["type"] == "http"
        if self._has_begun:
            if not is_http:
                await self._send({"type": "websocket.close", "code": 1011})
            return
        prefix = "http" if is_http else "websocket.http"
        if not is_http and "websocket.http.response" not in self._scope.get("extensions", {}):
            await self._send({"type": "websocket.close", "code": 1008})
            return
        body = json.dumps({"error": str(refusal)}).encode()
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            **refusal.headers,
        }
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        start: dict[str, Any] = {"status": refusal.status, "headers": raw}
        await self.send({"type": f"{prefix}.response.start", **start})
        await self._send({"type": f"{prefix}.response.body", "body": body})


def address_of(scope: Scope) -> str:
    """Return who is at the other end; of IPv6 the network, of which one has many addresses."""
    host = str((scope.get("client") or ("",))[0])
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return host
    return str(ipaddress.ip_network((int(address), 64), strict=False))


def cookie_of(headers: Headers) -> str:
    """Return the value of our cookie, empty if there is none."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()  # of one length, whatever was given


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
        raise Refusal(408, late, {"connection": "close"}) from None
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != "application/json":
        raise Refusal(415, "a body must be JSON: Content-Type: application/json")
    first: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

    async def again() -> Message:
        return first.pop() if first else await receive()

    return again


def _check_size(n: int) -> None:
    if n > MAX_BODY:
        raise Refusal(413, f"the body has more than {MAX_BODY} bytes", {"connection": "close"})
