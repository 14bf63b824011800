"""The HTTP server: uvicorn on a socket that is bound before anything is told, with limits and TLS.

What it bounds: the size of headers and the time for them, connections, what waits in the kernel for
a client, and the time to end. Everything else is up to `web_security.py`.
"""

import asyncio
import socket as sockets
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import h11
import uvicorn
import websockets  # noqa: F401 - uvicorn would miss it only when it begins to serve
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from .addresses import split_address
from .output_config import WebConfig

HEADER_BYTES = 16 * 1024  # of a request line and its headers
HEADER_TIME = 10.0  # seconds for them to arrive
MESSAGE_BYTES = 64 * 1024  # of a message of a WebSocket
PING_INTERVAL = 20.0  # s
MOST_CONNECTIONS = 256
KEEP_ALIVE = 10  # seconds that an idle connection is kept
UNREAD_TIME = 120.0  # seconds for which a client may read nothing of what waits for it
SEND_BUFFER = 128 * 1024  # bytes in the kernel for a client: more would be pictures of long ago
GRACE = 1  # seconds for answers that are on their way when the process ends


class AddressError(ValueError):
    """An address or certificate that cannot be used; one line for the user."""


class Connection(H11Protocol):
    """A connection whose requests must arrive in time; uvicorn would wait for ever."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Go on waiting until a request is whole."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._deadline is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(HEADER_TIME, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Server(uvicorn.Server):
    """A server that leaves signals to its process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing."""
        yield


def bind(config: WebConfig) -> sockets.socket:
    """Return a socket that listens where the configuration says.

    Raises
    ------
    AddressError
        If it cannot; one line.
    """
    host, port = split_address(config.listen)
    try:
        [(family, kind, _, _, address), *_] = sockets.getaddrinfo(
            host, port, type=sockets.SOCK_STREAM, flags=sockets.AI_PASSIVE
        )
    except OSError as error:
        raise AddressError(f"cannot serve on {config.listen}: {error.strerror}") from None
    socket = sockets.socket(family, kind)
    try:
        socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, SEND_BUFFER)
        if hasattr(sockets, "TCP_USER_TIMEOUT"):  # inherited by connections
            unread_ms = round(1000 * UNREAD_TIME)
            socket.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_USER_TIMEOUT, unread_ms)
        socket.bind(address)
        socket.listen(128)
    except OSError as error:
        socket.close()
        raise AddressError(
            f"cannot serve on {config.listen}: {error.strerror}; name another as `listen` of web"
        ) from None
    socket.setblocking(False)
    return socket


def url_of(socket: sockets.socket, config: WebConfig) -> str:
    """Return the URL of a bound socket, as this machine reaches it."""
    host, port = socket.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    scheme = "http" if config.certificate is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"


def make_server(app: ASGIApp, config: WebConfig) -> Server:
    """Return the server of an application.

    Raises
    ------
    AddressError
        If the certificate or its key cannot be used.
    """
    options = uvicorn.Config(
        app,
        http=Connection,
        ws="websockets-sansio",
        ws_max_size=MESSAGE_BYTES,
        ws_ping_interval=PING_INTERVAL,
        ws_ping_timeout=PING_INTERVAL,
        ws_per_message_deflate=False,  # it costs time, and pictures do not get smaller
        lifespan="off",
        log_config=None,
        log_level="critical",  # URLs of requests are nobody's business
        access_log=False,
        proxy_headers=False,  # anybody could write them
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
        h11_max_incomplete_event_size=HEADER_BYTES,
    )
    options.load()
    options.ssl = None if config.certificate is None else _tls(config)
    return Server(options)


def _tls(config: WebConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(str(config.certificate), config.private_key, password="")
    except OSError as error:
        is_content = isinstance(error, ssl.SSLError)
        reason = "no PEM of a certificate and its key" if is_content else error.strerror
        raise AddressError(f"web: {config.certificate}, {config.private_key}: {reason}") from None
    return context
