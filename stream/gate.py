"""The gate of the public sockets: what a peer may do, who is let in, and how many were not.

With keys, ZeroMQ asks this process for each new connection whether its key is allowed (ZAP, RFC
27). That is answered in the turns of the main loop, so there is no thread that could be left over.
"""

import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from .keys import CLIENTS, AllowedKeys, ServerKeys

MAX_REQUEST_BYTES = 4096
MAX_TOPIC_BYTES = 512  # ZeroMQ keeps each, also of those that are refused
HANDSHAKE_MS = 5_000
PING_MS = 5_000
PEER_SILENCE_MS = 30_000  # then it is taken for gone; one that only reads slowly stays that long
KEEPALIVE = {zmq.TCP_KEEPALIVE_IDLE: 60, zmq.TCP_KEEPALIVE_INTVL: 10, zmq.TCP_KEEPALIVE_CNT: 3}
ZAP_ENDPOINT = "inproc://zeromq.zap.01"
ZAP_DOMAIN = b"playspot"
IN_A_TURN = 100  # requests and messages looked at
FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


class Gate:
    """The gate of the public sockets of one context.

    Parameters
    ----------
    context : zmq.Context
    keys : ServerKeys or None
        With keys only the subscribers allowed in their folder are let in; with None everybody.

    Attributes
    ----------
    n_refused : int
        Peers that were not let in.
    """

    def __init__(
        self, context: "zmq.Context[zmq.Socket[bytes]]", keys: ServerKeys | None = None
    ) -> None:
        self.n_refused = 0
        self._context = context
        self._keys = keys
        self._guarded: list[zmq.Socket[bytes]] = []
        self._monitors: list[zmq.Socket[bytes]] = []
        self._zap: zmq.Socket[bytes] | None = None
        if keys is not None:
            self._allowed = AllowedKeys(keys.folder / CLIENTS)
            self._zap = context.socket(zmq.REP)
            self._zap.setsockopt(zmq.LINGER, 0)
            self._zap.bind(ZAP_ENDPOINT)

    def guard(self, socket: "zmq.Socket[bytes]") -> None:
        """Set up a public socket that is not bound yet."""
        most = MAX_TOPIC_BYTES if socket.getsockopt(zmq.TYPE) == zmq.XPUB else MAX_REQUEST_BYTES
        socket.setsockopt(zmq.MAXMSGSIZE, most)
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        socket.setsockopt(zmq.HEARTBEAT_IVL, PING_MS)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, PEER_SILENCE_MS)
        socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        for option, value in KEEPALIVE.items():
            socket.setsockopt(option, value)
        if self._keys is not None:
            socket.setsockopt(zmq.CURVE_SERVER, 1)
            socket.setsockopt(zmq.CURVE_SECRETKEY, self._keys.secret)
            socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
            socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # nobody to ask: nobody is let in
        address = f"inproc://gate-{id(self)}-{len(self._guarded)}"
        socket.monitor(address, FAILED)
        monitor = self._context.socket(zmq.PAIR)
        monitor.setsockopt(zmq.LINGER, 0)
        monitor.setsockopt(zmq.RCVHWM, 0)  # a full queue would hold up ZeroMQ's own thread
        monitor.connect(address)
        self._guarded.append(socket)
        self._monitors.append(monitor)

    @property
    def sockets(self) -> "list[zmq.Socket[bytes]]":
        """What to poll: when one is readable, call `turn`."""
        return self._monitors if self._zap is None else [*self._monitors, self._zap]

    def turn(self) -> None:
        """Answer for those who knock, and count those who were not let in."""
        for monitor in self._monitors:
            for _ in range(IN_A_TURN):
                if not monitor.poll(0):
                    break
                event = parse_monitor_message(monitor.recv_multipart())["event"]
                self.n_refused += bool(event & FAILED)
        if self._zap is not None:
            for _ in range(IN_A_TURN):
                if not self._zap.poll(0):
                    break
                self._zap.send_multipart(self._answer(self._zap.recv_multipart()))

    def close(self) -> None:
        """Let go of the sockets; they are to be closed next."""
        for socket in self._guarded:
            socket.disable_monitor()
        for monitor in self._monitors:
            monitor.close()
        if self._zap is not None:
            self._zap.close()

    def _answer(self, request: list[bytes]) -> list[bytes]:
        """Return the answer to a request: version, id, domain, address, routing id, CURVE, key."""
        id_ = request[1] if len(request) > 1 else b""
        is_curve = len(request) == 7 and request[5] == b"CURVE" and len(request[6]) == 32
        name = self._allowed.name_of(z85.encode(request[6])) if is_curve else None
        if name is None:
            return [b"1.0", id_, b"400", b"this key is not allowed here", b"", b""]
        return [b"1.0", id_, b"200", b"OK", name.encode(), b""]
