"""A small RTSP server that plays a media file as a network camera does, and fails when told to.

In: a file that `rtp.py` can read. Out: RTSP with RTP over TCP or UDP, in real time, to many
clients at once. It serves tests and soaks: its faults are methods that any thread may call.
`python -m playspot.training.rtsp_server FILE` runs it alone.
"""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

import typer

from .rtp import RtpError, read_media
from .rtp_player import Playback, Player
from .rtsp_connection import Authorisation, AuthScheme, Connection

MAX_REQUEST = 2**16  # bytes
PATIENCE = 10.0  # s; for the thread that serves to do what it is told
PORT = 8554
MAX_TRIES = 100  # to find two UDP ports side by side


class RtspServer:
    """A media file at an RTSP address.

    Parameters
    ----------
    path : str or Path
        H.264 video, AAC, Opus or PCM sound, or both.
    host, port : str, int
        To listen at; port 0 takes a free one.
    mount : str
        Last part of the address; others are not found.
    playback : Playback, optional
        How the file is played; its attributes may be set while it is.
    authorisation : Authorisation
    certificate : str or Path, optional
        PEM file with certificate and key, for rtsps.

    Attributes
    ----------
    status : int or None
        What requests are refused with, such as 403 or 503; None serves.
    n_connections : int
        So far.

    Raises
    ------
    RtpError
        If the file cannot be sent.

    Examples
    --------
    >>> with RtspServer("scene.mp4") as server:  # doctest: +SKIP
    ...     av.open(server.url, options={"rtsp_transport": "tcp"})
    """

    def __init__(
        self,
        path: str | Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        mount: str = "stage",
        playback: Playback | None = None,
        authorisation: Authorisation | None = None,
        certificate: str | Path | None = None,
    ) -> None:
        self.media = read_media(path)
        self.host, self.port, self.mount = host, port, mount
        self.playback = playback or Playback()
        self.authorisation = authorisation or Authorisation()
        self.status: int | None = None
        self.n_connections = 0
        self.live: Player | None = None  # plays for everybody
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)
        self._listener: asyncio.Server | None = None
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._udp: list[socket.socket] = []
        self._io: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The address, without user and password."""
        scheme = "rtsp" if self._tls is None else "rtsps"
        return f"{scheme}://{self.host}:{self.port}/{self.mount}"

    @property
    def n_clients(self) -> int:
        """How many clients play at the moment."""
        return sum(client.player is not None for client in list(self._connections))

    def start(self) -> None:
        """Listen; the time of the file begins.

        Raises
        ------
        OSError
            If the port is taken.
        """
        self._io = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._io.run_forever, name="rtsp-server")
        self._thread.start()
        try:
            self._do(self._open())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all connections and sockets and end the thread; more calls do nothing."""
        if self._io is None or self._thread is None:
            return
        try:
            self._do(self._close())
        finally:
            self._io.call_soon_threadsafe(self._io.stop)
            self._thread.join(PATIENCE)
            self._io.close()
            self._io = self._thread = None

    def stall(self) -> None:
        """Say nothing any more, on any connection, and close none: no answers, media, reports."""
        self.playback.is_stalled = True

    def resume(self) -> None:
        """End a stall: media goes on as of now."""
        self.playback.is_stalled = False

    def cut(self) -> None:
        """Break all connections off at once."""
        self._do(self._cut())

    def refuse(self) -> None:
        """Listen no more: new connections are refused. Those that are there stay."""
        self._do(self._stop_listening())

    def accept(self) -> None:
        """Listen again, at the same port."""
        self._do(self._listen())

    def drop_audio(self) -> None:
        """Send no sound any more, without a word."""
        self.playback.audio_until = 0.0

    def restore_audio(self) -> None:
        """Send sound again."""
        self.playback.audio_until = float("inf")

    def end(self) -> None:
        """Say goodbye to all clients, as at the end of a file; new ones are played for."""
        self._do(self._end())

    def change_to(self, path: str | Path) -> None:
        """Go on with another file of the same codecs, from its start.

        Raises
        ------
        RtpError
            If the file cannot be sent.
        """
        self.media = read_media(path)
        self._do(self._change())

    def player(self) -> Player:
        """Return who plays for a new client; within the thread that serves."""
        return self.live or Player(self.media, self.playback)

    @property
    def udp_ports(self) -> tuple[int, int]:
        """Ports that media and reports are sent from."""
        return self._udp[0].getsockname()[1], self._udp[1].getsockname()[1]

    def send_udp(self, packet: bytes, address: tuple[str, int], *, is_report: bool) -> None:
        """Send a datagram, or leave it out if the system does not take it."""
        with contextlib.suppress(OSError):
            self._udp[is_report].sendto(packet, address)

    def __enter__(self) -> "RtspServer":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        """Let the thread that serves do something, and wait for it."""
        if self._io is None:
            work.close()
            raise RuntimeError("the RTSP server is not running; start it first")
        asyncio.run_coroutine_threadsafe(work, self._io).result(PATIENCE)

    async def _open(self) -> None:
        self._udp = _bind_pair(self.host)
        await self._listen()
        if self.playback.is_live:
            self.live = Player(self.media, self.playback)

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(
                self._serve, self.host, self.port, ssl=self._tls, limit=MAX_REQUEST
            )
            self.port = self._listener.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _cut(self) -> None:
        tasks = list(self._connections.values())
        for connection in self._connections:
            connection.cut()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _end(self) -> None:
        for player in self._players():
            player.end()

    async def _change(self) -> None:
        for player in self._players():
            player.change_to(self.media)

    def _players(self) -> set[Player]:
        players = {self.live, *(connection.player for connection in self._connections)}
        return {player for player in players if player is not None}

    async def _close(self) -> None:
        await self._stop_listening()
        await self._cut()
        if self.live is not None:
            await self.live.close()
            self.live = None
        for sock in self._udp:
            sock.close()
        self._udp = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.n_connections += 1
        connection = Connection(self, reader, writer)
        task = asyncio.current_task()
        if task is not None:
            self._connections[connection] = task
        try:
            await connection.serve()
        finally:
            self._connections.pop(connection, None)


def _bind_pair(host: str) -> list[socket.socket]:
    """Return two UDP sockets with an even port and the next one, as RTP wants."""
    for _ in range(MAX_TRIES):
        pair = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        try:
            pair[0].bind((host, 0))
            port = pair[0].getsockname()[1]
            pair[1].bind((host, port ^ 1))
        except OSError:  # the other port is taken
            for sock in pair:
                sock.close()
            continue
        for sock in pair:
            sock.setblocking(False)
        return pair if port % 2 == 0 else pair[::-1]
    raise OSError(f"no two free UDP ports at {host}; give another address")


def serve(
    file: Annotated[Path, typer.Argument(help="H.264 video, AAC, Opus or PCM sound.")],
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = PORT,
    mount: Annotated[str, typer.Option(help="Last part of the address.")] = "stage",
    scheme: Annotated[AuthScheme, typer.Option(help="Of passwords.")] = "none",
    user: Annotated[str, typer.Option()] = "user",
    password: Annotated[str, typer.Option(envvar="PLAYSPOT_RTSP_PASSWORD")] = "password",
    skew_ppm: Annotated[float, typer.Option(help="Clock of the sound, too fast.")] = 0.0,
    wrap_after: Annotated[float, typer.Option(help="Seconds to the wrap of timestamps.")] = 3600.0,
) -> None:
    """Serve a media file by RTSP, in real time and for ever.

    Example: python -m playspot.training.rtsp_server scene.mp4 --port 8554
    """
    playback = Playback(skew_ppm=skew_ppm, wrap_after=wrap_after)
    authorisation = Authorisation(scheme, user, password)
    try:
        server = RtspServer(
            file, host=host, port=port, mount=mount, playback=playback, authorisation=authorisation
        )
        with server, contextlib.suppress(KeyboardInterrupt):
            typer.echo(server.url)
            threading.Event().wait()
    except (OSError, RtpError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(serve)
