"""Sockets: where the processes of one run meet, and how their ZeroMQ sockets are set up.

On Linux the endpoints are abstract names: nothing is left on disk however a run ends, and a name
that is taken is refused, not stolen. Only processes of the same user may connect. Elsewhere they
are files in a folder that only the user may enter.
"""

import os
import secrets
import sys
import tempfile
from pathlib import Path

import zmq

QUEUE = 8  # messages a data socket holds on either side; more only adds delay and memory
LIVE_QUEUE = 32  # of a live run: 4 s of ticks, so that a process may be replaced meanwhile


def new_run() -> str:
    """Return the name of a new run; on systems without abstract names, its folder."""
    if sys.platform == "linux":
        return f"@playspot-{os.getpid()}-{secrets.token_hex(8)}"
    return tempfile.mkdtemp(prefix="playspot-")  # mode 0700


def close_run(run: str) -> None:
    """Remove what a run left behind (only where endpoints are files)."""
    if not run.startswith("@"):
        for path in Path(run).glob("*"):
            path.unlink(missing_ok=True)
        Path(run).rmdir()


def endpoint(run: str, name: str) -> str:
    """Return the address of a meeting point of a run.

    Examples
    --------
    >>> endpoint("@playspot-7-abc", "pcm")
    'ipc://@playspot-7-abc-pcm'
    """
    return f"ipc://{run}-{name}" if run.startswith("@") else f"ipc://{run}/{name}"


def bind(socket: "zmq.Socket[bytes]", run: str, name: str) -> None:
    """Bind a socket to a meeting point of a run; only this user's processes may connect."""
    if sys.platform == "linux":
        socket.setsockopt(zmq.IPC_FILTER_UID, os.getuid())
    socket.bind(endpoint(run, name))


def pull(
    context: "zmq.Context[zmq.Socket[bytes]]", run: str, name: str, *, queue: int = QUEUE
) -> "zmq.Socket[bytes]":
    """Return a bound PULL socket that takes messages of this user's processes only."""
    socket = context.socket(zmq.PULL)
    socket.set_hwm(queue)
    socket.setsockopt(zmq.LINGER, 0)
    try:
        bind(socket, run, name)
    except zmq.ZMQError:
        socket.close()
        raise
    return socket


def push(
    context: "zmq.Context[zmq.Socket[bytes]]",
    run: str,
    name: str,
    *,
    queue: int = QUEUE,
    linger_ms: int = 0,
) -> "zmq.Socket[bytes]":
    """Return a connected PUSH socket; on closing it waits `linger_ms` (-1: for ever) to deliver."""
    socket = context.socket(zmq.PUSH)
    socket.set_hwm(queue)
    socket.setsockopt(zmq.LINGER, linger_ms)
    socket.connect(endpoint(run, name))
    return socket
