"""What the web process tells its clients: each message is written once, whoever gets it.

In: the JSON bodies of the wire. Out: the same bodies as a text of the WebSocket, as a server-sent
event; pictures as bytes. What a client wants to hear is a `Watch`.
"""

import json
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from .config_model import Name, Side

Kind = Literal["event", "step", "status", "heat", "heartbeat"]

MOST_SOURCES = 256  # that one client may name


@dataclass(frozen=True)
class Told:
    """Something to tell.

    Attributes
    ----------
    kind : str
    body : str
        JSON, as on the wire.
    source : str
        Empty for what is of the whole run.
    label, system_id, seq
        Of an event.
    """

    kind: Kind
    body: str
    source: str = ""
    label: str = ""
    system_id: str = ""
    seq: int = -1

    @cached_property
    def text(self) -> str:
        """The message of the WebSocket.

        Examples
        --------
        >>> Told("step", '{"step": 1}', "stage").text
        '{"type":"step","data":{"step": 1}}'
        """
        return f'{{"type":"{self.kind}","data":{self.body}}}'

    @cached_property
    def server_sent(self) -> bytes:
        """The server-sent event; an event has an id to resume from.

        Examples
        --------
        >>> Told("event", "{}", "stage", "violin", "ab", 7).server_sent.decode().splitlines()
        ['event: event', 'id: ab:stage:7', 'data: {}', '']
        """
        place = f"id: {self.system_id}:{self.source}:{self.seq}\n" if self.kind == "event" else ""
        return f"event: {self.kind}\n{place}data: {self.body}\n\n".encode()


def picture_frame(source: str, time: float, tick: int, captured: float, jpeg: bytes) -> bytes:
    """Return the binary message of a picture.

    Returns
    -------
    frame : bytes
        Length of the header (4 bytes, big-endian), the header (JSON), the JPEG.

    Examples
    --------
    >>> picture_frame("stage", 1.5, 12, 1e9, b"...")[4:20]
    b'{"source": "stag'
    """
    fields = {"source": source, "time": time, "tick": tick, "captured": captured}
    header = json.dumps(fields).encode()
    return struct.pack(">I", len(header)) + header + jpeg


class Watch(BaseModel):
    """What a client wants to hear from now on; each message takes the place of the one before."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    type: Literal["watch"] = "watch"
    events: bool = False
    steps: bool = False
    status: bool = False
    heat: Annotated[tuple[Name, ...], Field(max_length=MOST_SOURCES)] = ()
    """Sources whose playing maps are wanted."""
    pictures: Annotated[dict[Name, Side], Field(max_length=MOST_SOURCES)] = {}
    """Sources whose pictures are wanted, with their longer side in pixels."""
    since: Annotated[
        dict[Name, tuple[str, Annotated[int, Field(ge=0)]]], Field(max_length=MOST_SOURCES)
    ] = {}
    """By source: the run, and the first `seq` that is missing. Without it, open events come."""

    def wants(self, told: Told) -> bool:
        """Return whether a message is for this client.

        Examples
        --------
        >>> Watch(heat=("stage",)).wants(Told("heat", "{}", "stage"))
        True
        """
        match told.kind:
            case "event" | "heartbeat":
                return self.events
            case "step":
                return self.steps
            case "status":
                return self.status
            case "heat":
                return told.source in self.heat
