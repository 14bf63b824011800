"""Messages between the processes: one JSON part that describes, then the raw arrays. No pickle.

Part 0 is a header `{"kind", "source", "index", "data", "arrays": [[dtype, shape], ...]}`; part
1 + i is the memory of array i, sent without a copy. Peers are not trusted: sizes, types and shapes
are checked before an array is made.
"""

import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

ALLOWED_TYPES = ("uint8", "float16", "float32")
MAX_HEADER_BYTES = 1 << 20
MAX_ARRAY_BYTES = 1 << 28  # far above a 4K picture

Array = NDArray[Any]


class MessageError(ValueError):
    """A message that is not one of ours."""


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes
    ----------
    kind : str
        What it is, such as "pcm", "grey", "picture", "stack", "window", "gap", "end", "step".
    source : int
        Number of the opened source, unique in a run.
    index : int
        Sample, tick or step it belongs to.
    data : dict
        Further JSON fields of the kind.
    arrays : tuple of arrays
        Types of `ALLOWED_TYPES`; received ones are read-only views of the message's memory.
    """

    kind: str
    source: int = 0
    index: int = 0
    data: dict[str, Any] = field(default_factory=dict)
    arrays: tuple[Array, ...] = ()


def pack(message: Message) -> list[bytes | memoryview]:
    """Return the parts of a message, arrays as views without a copy.

    Examples
    --------
    >>> parts = pack(Message("pcm", 1, 512, arrays=(np.zeros(4, np.float32),)))
    >>> unpack([bytes(part) for part in parts]).arrays[0].shape
    (4,)
    """
    arrays = [np.asarray(array, order="C") for array in message.arrays]
    header = {
        "kind": message.kind,
        "source": message.source,
        "index": message.index,
        "data": message.data,
        "arrays": [[array.dtype.name, array.shape] for array in arrays],
    }
    return [
        json.dumps(header).encode(),
        *(array.data.cast("B") if array.size else b"" for array in arrays),
    ]


def unpack(parts: list[Any]) -> Message:
    """Return the message of received parts.

    Parameters
    ----------
    parts : list of bytes or buffers

    Raises
    ------
    MessageError
        If a part is too large, of another type or size than the header says, or no JSON.
    """
    if not parts or len(memoryview(parts[0])) > MAX_HEADER_BYTES:
        raise MessageError(f"a header of at most {MAX_HEADER_BYTES} bytes was expected")
    try:
        header = json.loads(bytes(parts[0]))
        described = [(str(name), tuple(int(n) for n in shape)) for name, shape in header["arrays"]]
        message = Message(
            str(header["kind"]), int(header["source"]), int(header["index"]), dict(header["data"])
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise MessageError(f"not a message header: {error}") from None
    if len(described) != len(parts) - 1:
        raise MessageError(f"{len(described)} arrays announced, {len(parts) - 1} received")
    arrays = tuple(_array(*what, part) for what, part in zip(described, parts[1:], strict=True))
    return Message(message.kind, message.source, message.index, message.data, arrays)


def _array(name: str, shape: tuple[int, ...], part: Any) -> Array:
    if name not in ALLOWED_TYPES:
        raise MessageError(f"array type {name!r} is not one of {', '.join(ALLOWED_TYPES)}")
    n_bytes = np.dtype(name).itemsize * math.prod(shape)
    size = memoryview(part).nbytes
    if min(shape, default=0) < 0 or n_bytes != size or size > MAX_ARRAY_BYTES:
        raise MessageError(f"an array {shape} of {name} has not {size} bytes")
    return np.frombuffer(part, name).reshape(shape)


def send(socket: "zmq.Socket[bytes]", message: Message) -> None:
    """Send a message; blocks while the receiver's queue is full (this is the back-pressure)."""
    socket.send_multipart(pack(message), copy=False)


def try_send(socket: "zmq.Socket[bytes]", message: Message) -> bool:
    """Send a message if the receiver's queue has room; return whether it had."""
    try:
        socket.send_multipart(pack(message), zmq.DONTWAIT, copy=False)
    except zmq.Again:
        return False
    return True


def receive(socket: "zmq.Socket[bytes]") -> Message:
    """Receive one message; raises `MessageError` for anything that is not one."""
    frames = socket.recv_multipart(copy=False)
    return unpack([frame.buffer for frame in frames])
