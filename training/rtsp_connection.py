"""One connection of the RTSP server: requests are answered, and packets go out.

RTSP 1.0 (RFC 2326), RTP interleaved in the connection or over UDP; authorisation of RFC 2617.
"""

import asyncio
import contextlib
import hashlib
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

from .rtp import PAYLOAD_TYPE, Kind

if TYPE_CHECKING:
    from .rtp_player import Player
    from .rtsp_server import RtspServer

AuthScheme = Literal["none", "basic", "digest"]
REALM, NONCE = "playspot", "5f1c9e0b7d"
MAX_QUEUE = 2**20  # bytes that wait for one client; what comes then is left out for it
METHODS: Final = "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER, SET_PARAMETER"
REASONS: Final = {200: "OK", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
                  454: "Session Not Found", 455: "Method Not Valid in This State",
                  461: "Unsupported Transport", 501: "Not Implemented",
                  503: "Service Unavailable"}  # fmt: skip


class StatusError(Exception):
    """A request that is answered with another status than 200."""

    def __init__(self, status: int, headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.status, self.headers = status, headers or {}


@dataclass(frozen=True)
class Authorisation:
    """Who may connect."""

    scheme: AuthScheme = "none"
    user: str = "user"
    password: str = "password"

    def check(self, method: str, given: str) -> None:
        """Raise `StatusError` if an Authorization header does not do."""
        if self.scheme == "basic":
            secret = b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")
            if given != f"Basic {secret}":
                raise StatusError(401, {"WWW-Authenticate": f'Basic realm="{REALM}"'})
        elif self.scheme == "digest":
            fields = dict(
                (part.strip().partition("=")[0], part.partition("=")[2].strip(' "'))
                for part in given.removeprefix("Digest ").split(",")
            )
            secret = _md5(f"{self.user}:{REALM}:{self.password}")
            wanted = _md5(f"{secret}:{NONCE}:{_md5(method + ':' + fields.get('uri', ''))}")
            if fields.get("response") != wanted or fields.get("username") != self.user:
                challenge = f'Digest realm="{REALM}", nonce="{NONCE}"'
                raise StatusError(401, {"WWW-Authenticate": challenge})


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Request:
    """One request; names of headers in lower case."""

    method: str
    url: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Transport:
    """Where packets of a stream go: channels of the connection, or UDP ports of its other side."""

    is_udp: bool
    numbers: tuple[int, int]  # of media and reports


class Connection:
    """One client; takes packets as `rtp_player.Client`."""

    def __init__(
        self, server: "RtspServer", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self._reader, self._writer = reader, writer
        self._transports: dict[Kind, Transport] = {}
        self._host = str(writer.get_extra_info("peername")[0])
        self.player: Player | None = None

    async def serve(self) -> None:
        """Answer requests until the other side goes, or says what is no RTSP."""
        try:
            while (request := await self._next()) is not None:
                self._answer(request)
                await self._writer.drain()
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            pass
        finally:
            await self._stop()
            self._writer.transport.abort()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    def cut(self) -> None:
        """Break the connection off."""
        self._writer.transport.abort()

    def take(self, kind: Kind, packet: bytes, *, is_report: bool) -> None:
        """Send a packet, if the client wants that stream and takes what it gets."""
        transport = self._transports.get(kind)
        if transport is None:
            return
        number = transport.numbers[is_report]
        if transport.is_udp:
            self._server.send_udp(packet, (self._host, number), is_report=is_report)
        elif self._writer.transport.get_write_buffer_size() < MAX_QUEUE:
            self._writer.write(b"$%c%b%b" % (number, len(packet).to_bytes(2, "big"), packet))

    async def _next(self) -> Request | None:
        while (first := await self._reader.read(1)) == b"$":  # a report of the client
            header = await self._reader.readexactly(3)
            await self._reader.readexactly(int.from_bytes(header[1:], "big"))
        if not first:
            return None
        head = first + await self._reader.readuntil(b"\r\n\r\n")
        line, *lines = head.decode("utf-8").strip().splitlines()
        method, url, _ = line.split(" ", 2)
        fields = [line.partition(":") for line in lines]
        headers = {name.strip().lower(): value.strip() for name, _, value in fields}
        await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Request(method, url, headers)

    def _answer(self, request: Request) -> None:
        body = ""
        try:
            headers, body = self._handle(request)
            status = 200
        except StatusError as error:
            status, headers = error.status, error.headers
        if self._server.playback.is_stalled:
            return
        lines = [f"RTSP/1.0 {status} {REASONS.get(status, 'Error')}"]
        lines.append(f"CSeq: {request.headers.get('cseq', '0')}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

    def _handle(self, request: Request) -> tuple[dict[str, str], str]:
        """Do what a request says; return headers and body of the answer."""
        if request.method == "OPTIONS":
            return {"Public": METHODS}, ""
        self._server.authorisation.check(request.method, request.headers.get("authorization", ""))
        if self._server.status is not None:
            raise StatusError(self._server.status)
        mount, _, stream = urlsplit(request.url).path.strip("/").partition("/")
        if mount != self._server.mount:
            raise StatusError(404)
        session = {"Session": f"{id(self):x};timeout=60"}
        if request.method == "DESCRIBE":
            headers = {"Content-Type": "application/sdp", "Content-Base": f"{request.url}/"}
            return headers, self._describe()
        if request.method == "SETUP":
            return session | {"Transport": self._set_up(stream, request.headers)}, ""
        if request.method == "PLAY":
            return session | {"Range": "npt=0.000-", "RTP-Info": self._play(request.url)}, ""
        if request.method == "TEARDOWN":
            self._transports.clear()
            return session, ""
        if request.method in ("GET_PARAMETER", "SET_PARAMETER"):
            return session, ""
        raise StatusError(501)

    def _describe(self) -> str:
        lines = ["v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=playspot", "t=0 0", "a=control:*"]
        for kind, track in self._server.media.tracks.items():
            lines.append(f"m={kind} 0 RTP/AVP {PAYLOAD_TYPE[kind]}")
            lines += [f"a={line}" for line in (*track.sdp, f"control:{kind}")]
        return "\r\n".join(lines) + "\r\n"

    def _set_up(self, stream: str, headers: dict[str, str]) -> str:
        kind: Kind = "audio" if stream == "audio" else "video"
        if stream != kind or kind not in self._server.media.tracks:
            raise StatusError(404)
        if self.player is not None:
            raise StatusError(455)
        for wanted in headers.get("transport", "").split(","):
            protocol, *options = wanted.strip().split(";")
            fields = dict((name, value) for name, _, value in (o.partition("=") for o in options))
            is_udp = protocol in ("RTP/AVP", "RTP/AVP/UDP")
            numbers = fields.get("client_port" if is_udp else "interleaved", "")
            if not (is_udp or protocol == "RTP/AVP/TCP") or "multicast" in fields:
                continue
            if not is_udp and not numbers:
                numbers = f"{2 * len(self._transports)}"
            first = int(numbers.partition("-")[0])
            self._transports[kind] = Transport(is_udp, (first, first + 1))
            if is_udp:
                ours = "{}-{}".format(*self._server.udp_ports)
                return f"RTP/AVP;unicast;client_port={first}-{first + 1};server_port={ours}"
            return f"RTP/AVP/TCP;unicast;interleaved={first}-{first + 1}"
        raise StatusError(461)

    def _play(self, url: str) -> str:
        if not self._transports:
            raise StatusError(455)
        if self.player is None:
            self.player = self._server.player()
            self.player.add(self)
        lines = []
        for kind in self._transports:
            sequence, stamp = self.player.position(kind)
            lines.append(f"url={url.rstrip('/')}/{kind};seq={sequence};rtptime={stamp}")
        return ",".join(lines)

    async def _stop(self) -> None:
        player, self.player = self.player, None
        if player is not None:
            player.remove(self)
            if player is not self._server.live:
                await player.close()
