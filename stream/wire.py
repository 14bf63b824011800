"""What goes over the public sockets beside events, steps and statuses: heartbeats, replays, heat.

Receivers ignore fields they do not know. A schema is `playspot/<record>/<major version>`; what is
of another major version is not to be read.
"""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

HEARTBEAT_SCHEMA: Final = "playspot/heartbeat/1"
HEAT_SCHEMA: Final = "playspot/heat/1"
REPLAY_SCHEMA: Final = "playspot/replay/1"
HEARTBEAT_INTERVAL = 1.0  # s
REPLAY_MOST = 500  # events in one answer


class _Record(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        json_schema_serialization_defaults_required=True,
        use_attribute_docstrings=True,
    )


class Heartbeat(_Record):
    """That the publisher lives, and how far it is: on `playspot/heartbeat/v1/`, each second.

    A subscriber whose next `seq` of a source is below `seq` has missed events, also if no further
    one comes. A new subscriber gets one at once.
    """

    schema_: Literal["playspot/heartbeat/1"] = Field(default=HEARTBEAT_SCHEMA, alias="schema")
    system_id: str
    wall_time: float
    """Unix time."""
    seq: dict[str, int] = Field(default_factory=dict)
    """Source to the `seq` that its next event will have."""
    replay: str | None = None
    """Endpoint (ROUTER) that replays events; of its TCP address only the port matters."""


class ReplayRequest(_Record):
    """What is asked of the ROUTER, as JSON in one part."""

    schema_: Literal["playspot/replay/1"] = Field(default=REPLAY_SCHEMA, alias="schema")
    id: str = Field(default="", max_length=64)
    """Comes back in the answer."""
    source: str = Field(max_length=256)
    since: int = Field(default=0, ge=0, alias="from")
    """First `seq` wanted."""
    until: int | None = Field(default=None, ge=0)
    """First `seq` not wanted any more; all that there are when null."""


class ReplayAnswer(_Record):
    """The first part of an answer; then one part for each event, in the order of `seq`.

    At most `REPLAY_MOST` events: whoever wants more asks again, from the one after the last.
    """

    schema_: Literal["playspot/replay/1"] = Field(default=REPLAY_SCHEMA, alias="schema")
    id: str = ""
    system_id: str
    source: str
    oldest: int | None = None
    """Lowest `seq` that is still kept; null if there is none."""
    next: int = 0
    """The `seq` that the next event of the source will have."""
    n: int = 0
    """Events in this answer."""
    error: str | None = None
    """Why there are none."""


class Heat(_Record):
    """The playing maps of one step of a live source: on `playspot/heat/v1/<source>/`, if wanted."""

    schema_: Literal["playspot/heat/1"] = Field(default=HEAT_SCHEMA, alias="schema")
    source: str
    system_id: str
    step: int = Field(ge=0)
    time: float
    shape: tuple[int, int]
    """Rows and columns; the map covers the picture."""
    maps: dict[str, str] = Field(default_factory=dict)
    """Label to its map: base64 of one byte a cell, row by row, 255 is 1. Those that matter only."""
