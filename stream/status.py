"""How a live run and its sources are doing: the messages on the status topics, schema 1.

`SourceStatus` goes out on `playspot/status/v1/<source>/`, `RunStatus` on `playspot/status/v1/`,
about once a second. Receivers ignore fields they do not know.
"""

from typing import Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from .events import ModelInfo
from .measure import Histogram

STATUS_SCHEMA: Final = "playspot/status/1"

SourceState = Literal["off", "connecting", "live", "retrying", "failed", "over"]
StageName = Literal["reader", "flow", "mel", "detector", "publisher"]


class _Status(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        json_schema_serialization_defaults_required=True,
        use_attribute_docstrings=True,
    )


class Ages(_Status):
    """How old (ms since their capture) the steps were when they left a process."""

    n: int = 0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0

    @classmethod
    def of(cls, histogram: Histogram) -> "Ages":
        """Return the ages of a histogram of seconds.

        Examples
        --------
        >>> ages = Histogram()
        >>> ages.add(0.5)
        >>> Ages.of(ages)
        Ages(n=1, p50=473.2, p95=473.2, p99=473.2)
        """
        p50, p95, p99 = (round(1000 * histogram.quantile(q), 1) for q in (0.5, 0.95, 0.99))
        return cls(n=histogram.n, p50=p50, p95=p95, p99=p99)


class Failure(_Status):
    """Why a source does not play."""

    kind: str
    """One of `failures.KINDS`."""
    message: str
    """One line, without credentials."""


class Clock(_Status):
    """How well sound and picture of a source are aligned, see `live.ClockReport`."""

    kind: str = "media"
    av_offset_ms: float | None = None
    uncertainty_ms: float | None = None
    drift_ppm: float = 0.0
    n_steps_of_clock: int = 0


class WorkerStatus(_Status):
    """One process."""

    name: str
    pid: int | None = None
    state: Literal["running", "waiting"]
    """`waiting`: it has ended, and is started again in a while."""
    rss_mb: float = 0.0
    restarts: int = 0
    failures_in_a_row: int = 0
    reason: str = ""
    """Why its last life ended."""


class SourceStatus(_Status):
    """How one source is doing."""

    schema_: Literal["playspot/status/1"] = Field(default=STATUS_SCHEMA, alias="schema")
    source: str
    wall_time: float
    """Unix time."""
    state: SourceState
    since: float
    """Unix time at which it came into this state."""
    url: str = ""
    """Without credentials."""
    error: Failure | None = None
    """The last failure; null while all is well."""
    retry_in: float | None = None
    """Seconds until it is tried again."""
    steps: int = 0
    """Of its time line in this run, the times without a connection included."""
    published: int = 0
    """Of these; the rest were dropped, or are on their way."""
    dropped: dict[str, int] = Field(default_factory=dict)
    """Of these, by cause."""
    drops: dict[StageName, dict[str, int]] = Field(default_factory=dict)
    """What each process has left out, by cause; a step can lose sound or picture and go on."""
    ages_ms: dict[StageName, Ages] = Field(default_factory=dict)
    sessions: int = 0
    """Connections that opened."""
    restarts: int = 0
    """Of its reader."""
    failures_in_a_row: int = 0
    clock: Clock = Clock()


class JournalStatus(_Status):
    """Whether events are kept."""

    folder: str
    error: str | None = None
    """Why they are not, at the moment; null while all is well."""
    unsaved: int = 0
    """Events that wait for the disk."""
    lost: int = 0
    """Events that waited too long: published, and not kept."""


class SinkStatus(_Status):
    """Where events go besides subscribers: a file, a database, a broker."""

    state: Literal["ok", "retrying", "stopped"]
    error: str | None = None
    """Why it takes no events at the moment."""
    delivered: int = 0
    """Events it has taken since its process began."""
    behind: int = 0
    """Bytes of the journal that wait for it."""
    lost: int = 0
    """Events it never got: it was down for longer than the journal reaches back, or gave up."""


class RecordingsStatus(_Status):
    """Pictures and clips of events."""

    snapshots: int = 0
    clips: int = 0
    """That are kept, as are snapshots."""
    bytes: int = 0
    """Of all of them."""
    error: str | None = None
    """Why none are made at the moment."""


class PublisherStatus(_Status):
    """How subscribers keep up."""

    subscriptions: int = 0
    """Topics that are subscribed to."""
    overflows: int = 0
    """Times that the queue of a subscriber who reads too slowly was full."""
    replayed: int = 0
    """Events that subscribers had missed and got again."""
    refused: int = 0
    """Requests and peers that were turned away."""


class RunStatus(_Status):
    """How the whole run is doing."""

    schema_: Literal["playspot/status/1"] = Field(default=STATUS_SCHEMA, alias="schema")
    system_id: str
    wall_time: float
    """Unix time."""
    uptime: float
    """Seconds."""
    endpoint: str | None = None
    model: ModelInfo
    building: float | None = None
    """How much of the plans of another engine is built, 0 to 1; null while none is being built."""
    budget: float
    """Seconds by which a step is published or dropped."""
    latency: Literal["normal", "low"]
    look_ahead: float
    """Seconds that the models need to see and hear beyond a step; part of the latency."""
    workers: tuple[WorkerStatus, ...] = ()
    sources: dict[str, SourceState] = Field(default_factory=dict)
    journal: JournalStatus | None = None
    publisher: PublisherStatus | None = None
    sinks: dict[str, SinkStatus] = Field(default_factory=dict)
    recordings: RecordingsStatus | None = None
    web: str | None = None
    """URL of the live page."""
    labels: tuple[str, ...] = ()
    """Instruments that the models know."""


Status: TypeAlias = SourceStatus | RunStatus
_STATUS: TypeAdapter[Status] = TypeAdapter(Status)


def parse_status(body: bytes | str) -> Status:
    """Return the status of a message's body.

    Raises
    ------
    pydantic.ValidationError
        If it is none, or of another major version.

    Examples
    --------
    >>> parse_status('{"source": "stage", "wall_time": 0, "state": "live", "since": 0}').state
    'live'
    """
    return _STATUS.validate_json(body)
