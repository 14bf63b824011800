"""Previews: small pictures of live sources at tick rate, for whoever looks at the moment.

A client (the web or the recorder process) says twice a second what it wants, on a PUB socket that
every reader listens to. A reader that is wanted pushes a JPEG a tick to the client, and its sound
if that is asked for too. Nothing waits for a client: what it does not take is gone. While nobody
wants a picture, none is made.
"""

import json
import os
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import zmq

from .config_model import MAX_SIDE
from .media import Waveform
from .messages import Array, Message, MessageError, receive, try_send
from .sockets import bind, endpoint, pull

Client: TypeAlias = Literal["web", "recorder"]

CLIENTS: tuple[Client, ...] = ("web", "recorder")
WANT_INTERVAL = 0.5  # s between two words of a client
WANT_HOLDS = 2.0  # s
LOOK_INTERVAL = 0.2  # s between two looks of a reader at what is wanted
QUEUE = 4  # messages on either side: half a second each
RETRY_MS, RETRY_MOST_MS = 200, 1000  # of connections to clients that are not there
TAKE_MOST = 512  # messages that a client takes in one turn


class Preview(NamedTuple):
    """A picture of a source.

    Attributes
    ----------
    source : str
    tick : int
        On the time line of the source.
    time : float
        Media time of the source, s.
    captured : float
        `time.monotonic()`.
    session : int
        Number of the session that it is of.
    jpeg : bytes
    """

    source: str
    tick: int
    time: float
    captured: float
    session: int
    jpeg: bytes


class Heard(NamedTuple):
    """Sound of a source.

    Attributes
    ----------
    source : str
    start : int
        First sample, on the time line of the source at 16 kHz.
    captured : float
        `time.monotonic()` of the first sample.
    session : int
    waveform : float32, shape (T,)
    """

    source: str
    start: int
    captured: float
    session: int
    waveform: Waveform


@dataclass
class _Want:
    until: float  # time.monotonic()
    side: int
    is_sound_wanted: bool


class PreviewSender:
    """The reader's side.

    Parameters
    ----------
    context : zmq.Context
    run : str
        Name of the run.
    source : str
        Name of the source.

    Attributes
    ----------
    side : int
        Longer side (px) of the pictures that are wanted; 0 while nobody wants any.
    is_sound_wanted : bool
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", run: str, source: str) -> None:
        self._context, self._run, self._source = context, run, source
        self._wants: dict[Client, _Want] = {}
        self._looked = 0.0
        self._inlets = {client: self._listen(client) for client in CLIENTS}
        self._outlets: dict[Client, zmq.Socket[bytes]] = {}
        self.side = 0
        self.is_sound_wanted = False

    def look(self) -> None:
        """See what is wanted at the moment; call it often."""
        now = time.monotonic()
        if now - self._looked < LOOK_INTERVAL:
            return
        self._looked = now
        for client, inlet in self._inlets.items():
            want = self._heard(inlet)
            if want is not None:
                self._wants[client] = want
        self._wants = {client: want for client, want in self._wants.items() if want.until > now}
        self.side = max((want.side for want in self._wants.values()), default=0)
        self.is_sound_wanted = any(want.is_sound_wanted for want in self._wants.values())

    def send_picture(
        self, session: int, tick: int, time_: float, captured: float, jpeg: bytes
    ) -> None:
        """Send a picture to all who want pictures; who has no room does not get it."""
        data = {"name": self._source, "time": time_, "captured": captured}
        for client, want in self._wants.items():
            if want.side:
                self._send(client, Message("preview", session, tick, data, (_array(jpeg),)))

    def send_sound(self, session: int, start: int, captured: float, waveform: Waveform) -> None:
        """Send sound to all who want it; who has no room does not get it."""
        data = {"name": self._source, "captured": captured}
        for client, want in self._wants.items():
            if want.is_sound_wanted:
                self._send(client, Message("sound", session, start, data, (waveform,)))

    def _listen(self, client: Client) -> "zmq.Socket[bytes]":
        socket = self._context.socket(zmq.SUB)
        socket.set_hwm(QUEUE)
        socket.subscribe(b"")
        _connect(socket, endpoint(self._run, f"wants-{client}"))
        return socket

    def _heard(self, inlet: "zmq.Socket[bytes]") -> _Want | None:
        """Return the last word of a client, if there was one."""
        want = None
        while inlet.poll(0):
            frame = inlet.recv(copy=False)
            if _is_ours(frame):
                want = self._read(frame.bytes)
        return want

    def _read(self, body: bytes) -> _Want | None:
        try:
            said = json.loads(body).get(self._source, {})
            side = min(max(0, int(said.get("side", 0))), MAX_SIDE)
            return _Want(time.monotonic() + WANT_HOLDS, side, bool(said.get("sound")))
        except (ValueError, TypeError, AttributeError):
            return None

    def _send(self, client: Client, message: Message) -> None:
        if client not in self._outlets:  # made when it is needed: most runs have no such client
            socket = self._context.socket(zmq.PUSH)
            socket.set_hwm(QUEUE)
            socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing waits for a client that is not there
            _connect(socket, endpoint(self._run, f"previews-{client}"))
            self._outlets[client] = socket
        try_send(self._outlets[client], message)

    def close(self) -> None:
        """Close the sockets."""
        for socket in (*self._inlets.values(), *self._outlets.values()):
            socket.close()


class PreviewInlet:
    """The side of a client.

    Call `turn` often, or when `socket` has something; in an event loop `zmq.asyncio.Poller` says
    when.

    Parameters
    ----------
    context : zmq.Context
    run : str
        Name of the run.
    client : {"web", "recorder"}
    queue : int
        Messages of each source that may wait here.

    Attributes
    ----------
    socket : zmq.Socket
        PULL; readable when something has come.

    Examples
    --------
    >>> from .sockets import new_run
    >>> with zmq.Context() as context:
    ...     inlet = PreviewInlet(context, new_run(), "web")
    ...     inlet.want({"stage": 640})
    ...     pictures = inlet.turn()
    ...     inlet.close()
    >>> pictures
    []
    """

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        run: str,
        client: Client,
        *,
        queue: int = QUEUE,
    ) -> None:
        self.socket = pull(context, run, f"previews-{client}", queue=queue)
        self._words = context.socket(zmq.PUB)
        self._words.setsockopt(zmq.LINGER, 0)
        try:
            bind(self._words, run, f"wants-{client}")
        except zmq.ZMQError:
            self.close()
            raise
        self._wants: dict[str, dict[str, Any]] = {}
        self._said = 0.0
        self._heard: deque[Heard] = deque()

    def want(self, sides: Mapping[str, int], *, sound: bool = False) -> None:
        """Say of which sources pictures are wanted, and how long their longer side may be (px).

        Parameters
        ----------
        sides : mapping of source to int
            In the place of what was wanted before; none when empty.
        sound : bool
            Whether the sound of these is wanted as well (`take_sound`).
        """
        wants = {name: {"side": int(side), "sound": sound} for name, side in sides.items()}
        if wants != self._wants:
            self._wants, self._said = wants, 0.0

    def turn(self) -> list[Preview]:
        """Say what is wanted if it is time to, and return the pictures that have come."""
        now = time.monotonic()
        if now - self._said >= WANT_INTERVAL and (self._wants or self._said == 0.0):
            self._said = now
            self._words.send(json.dumps(self._wants).encode(), zmq.DONTWAIT)
        pictures = []
        for _ in range(TAKE_MOST):
            if not self.socket.poll(0):
                break
            try:
                item = _item(receive(self.socket))
            except (MessageError, LookupError, TypeError, ValueError):
                continue  # the readers are ours; nothing else is worth a word
            if isinstance(item, Preview):
                pictures.append(item)
            else:
                self._heard.append(item)
        return pictures

    def take_sound(self) -> list[Heard]:
        """Return the sound that has come."""
        heard = list(self._heard)
        self._heard.clear()
        return heard

    def close(self) -> None:
        """Close the sockets; readers notice within two seconds."""
        self.socket.close()
        self._words.close()


def _item(message: Message) -> Preview | Heard:
    data, [array] = message.data, message.arrays
    name, captured = str(data["name"]), float(data["captured"])
    if message.kind == "preview":
        time_ = float(data["time"])
        return Preview(name, message.index, time_, captured, message.source, array.tobytes())
    return Heard(name, message.index, captured, message.source, array)


def _array(jpeg: bytes) -> Array:
    return np.frombuffer(jpeg, np.uint8)


def _connect(socket: "zmq.Socket[bytes]", address: str) -> None:
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RECONNECT_IVL, RETRY_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RETRY_MOST_MS)
    socket.connect(address)


def _is_ours(frame: zmq.Frame) -> bool:
    # Whoever binds the name of a client that does not run must not get the pictures.
    if sys.platform != "linux":
        return True
    try:
        return str(frame.get("Peer-Address")).split(":")[-3] == str(os.getuid())
    except (zmq.ZMQError, IndexError):
        return False
