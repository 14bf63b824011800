"""The configuration of `playspot run`: which sources, which models, where events go.

Pydantic models, so that `playspot schema config` prints what an editor needs; `configuration.py`
reads them from YAML. Unknown keys are errors. All durations are seconds.
"""

import zoneinfo
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from ..engines.options import EngineOptions, FlowWish, Precision, Wish
from ..engines.settings import Decoding, Mode
from .addresses import DEFAULT_ENDPOINT, check_endpoint
from .config_model import ConfigModel, Name, Unit, UserPath
from .locator import parse_locator
from .nearest import nearest
from .output_config import (
    DatabaseConfig,
    JsonLinesConfig,
    MqttConfig,
    RecordingsConfig,
    WebConfig,
    WebhookConfig,
)
from .schedule import Schedule, local_timezone
from .zones import check_polygon, zone_mask

Latency = Literal["normal", "low"]

COARSEST = (16, 16)  # rows and columns; zones that leave no cell of this grid leave nothing to see
WITHOUT_RESTART = frozenset({"sources", "timezone", "memory_limit_mb"})  # the supervisor's alone


def _checked_schedule(texts: tuple[str, ...]) -> tuple[str, ...]:
    Schedule(texts, "UTC")
    return texts


def _checked_timezone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        hint = nearest(name, zoneinfo.available_timezones(), "give one such as Europe/Berlin")
        raise ValueError(f"{name!r} is not a time zone; {hint}") from None
    return name


@lru_cache(maxsize=256)  # every process reads the configuration of a source once a second
def _checked_url(text: str) -> str:
    parse_locator(text)
    return text


Coordinate = tuple[Unit, Unit]
Polygon = Annotated[
    tuple[Coordinate, ...], Field(min_length=3, max_length=100), AfterValidator(check_polygon)
]


class Zone(ConfigModel):
    """A part of the picture."""

    polygon: Polygon = Field(examples=[[[0, 0], [0.5, 0], [0.5, 1], [0, 1]]])
    """Corners in order, as [x, y] from 0 to 1 of width and height, origin top left; 3 to 100."""
    kind: Literal["include", "exclude"] = "include"
    """`include`: only what lies in such a zone is looked at; `exclude`: what lies in it is not."""


class SourceConfig(ConfigModel):
    """One source: where it is, what is looked for in it, and when."""

    url: Annotated[str, AfterValidator(_checked_url)] = Field(
        min_length=1,
        max_length=4096,
        repr=False,  # it may hold a password
        examples=["rtsp://user:${STAGE_PASSWORD}@192.168.1.20/stream1", "v4l2:///dev/video0"],
    )
    """A file, a URL or a device: rtsp://, rtsps://, http(s)://, rtmp://, v4l2://, mic://,
    bandstand://, or camera+microphone. Passwords as ${NAME}, from the environment."""
    enabled: bool = True
    """`false` leaves it out without removing it."""
    transport: Literal["tcp", "udp"] = "tcp"
    """How RTSP brings its packets: `tcp` loses none, `udp` is sooner on a good network."""
    verify_certificate: bool = True
    """Of https, rtsps and rtmps. `false` trusts any: many cameras sign their own."""
    loop: bool = False
    """Begin a file again when it is over."""
    timeout: float = Field(default=5.0, gt=0, le=60)
    """Seconds without data after which the source counts as broken and is opened again; to 60."""
    av_offset: float = Field(default=0.0, ge=-5, le=5)
    """Seconds to add to the times of the sound, where a device is known to be off; -5 to 5."""
    labels: tuple[str, ...] = Field(default=(), examples=[["violin", "cello"]])
    """Only these instruments are reported; all when empty."""
    mode: Mode | None = None
    """Which of the models' scores are multiplied; the models' own choice when not given."""
    threshold: Unit | None = None
    """Score from which playing begins, 0 to 1; the models' own when not given. The score at which
    it ends keeps its ratio to it."""
    thresholds: dict[str, Unit] = Field(default={}, examples=[{"drum": 0.7}])
    """The same for single instruments, over `threshold`."""
    min_duration: float | None = Field(default=None, ge=0, le=3600)
    """Seconds; shorter playing is not reported. The models' own when not given."""
    gap_merge: float | None = Field(default=None, ge=0, le=3600)
    """Seconds; a shorter break does not end an event. The models' own when not given."""
    zones: dict[Name, Zone] = Field(default={})
    """Parts of the picture by name; the whole picture when empty."""
    schedule: Annotated[tuple[str, ...], AfterValidator(_checked_schedule)] = Field(
        default=(), examples=[["Mon-Fri 08:00-18:00", "Sat,Sun 22:00-02:00"]]
    )
    """When it is watched, local time; always when empty."""

    @model_validator(mode="after")
    def _something_is_left(self) -> "SourceConfig":
        mask = zone_mask(self.zones, COARSEST)
        if mask is not None and not mask.any():
            raise ValueError("its zones leave nothing of the picture; make the excluded smaller")
        return self

    def public(self) -> dict[str, Any]:
        """Return the fields that other processes need: all but where the source is."""
        return self.model_dump(mode="json", exclude={"url"})


class Config(ConfigModel):
    """Everything `playspot run` does."""

    sources: dict[Name, SourceConfig] = Field(min_length=1)
    """What is watched, by name. The names are part of topics: letters, digits, - _ . only."""
    models: UserPath | None = None
    """Folder of models; pulled ones, else the bundled ones, when not given."""
    keys: UserPath | None = Field(default=None, examples=["~/.config/playspot/keys"])
    """Folder of keys, made by `playspot keygen`: only the subscribers allowed in it are served,
    and nobody else reads along."""
    insecure: bool = False
    """Publish to others on the network without keys: everybody may read."""
    publish: str = Field(default=DEFAULT_ENDPOINT, examples=[DEFAULT_ENDPOINT, "auto", "off"])
    """Where subscribers connect; `auto` takes a free port if that is taken, `off` is none.
    Others on the network reach it only with `keys`, or `insecure`."""
    budget: float = Field(default=2.0, gt=0, le=60)
    """Seconds after its capture by which a step is published, or dropped and counted; to 60."""
    latency: Latency = "normal"
    """`low` uses only the past: sooner, less precise."""
    engine: Wish = "auto"
    """What runs the networks; `auto` is the best there is, and `playspot doctor` explains it."""
    precision: Precision | None = None
    """Of the networks: fp32, or what `playspot compile` made; the compiled one's when not given."""
    flow: FlowWish = "auto"
    """Optical flow: farneback (OpenCV), dis (faster, less precise), network (for a GPU); `auto` is
    the network where a GPU runs it, else farneback."""
    gpu: int = Field(default=0, ge=0, le=63)
    """Number of the GPU, where one is used."""
    journal: UserPath | None = None
    """Folder in which events are kept; the user's state folder when not given."""
    memory_limit_mb: float = Field(default=1024, ge=200, le=1_000_000)
    """Of each process; one that grows above it is replaced. At least 200."""
    timezone: Annotated[str, AfterValidator(_checked_timezone)] | None = Field(
        default=None, examples=["Europe/Berlin"]
    )
    """Time zone of the schedules; the machine's when not given."""
    web: WebConfig | None = None
    """The live page and the HTTP API; `{}` on this machine alone."""
    database: DatabaseConfig | None = None
    """Events in SQLite; with `web` also when not given."""
    jsonl: JsonLinesConfig | None = None
    """Events as lines of JSON, in files."""
    mqtt: MqttConfig | None = None
    """Events and states at an MQTT broker."""
    webhooks: dict[Name, WebhookConfig] = Field(default={})
    """HTTP addresses that get events, by a name of your choice."""
    recordings: RecordingsConfig | None = None
    """Pictures and clips of events; off when not given."""

    @property
    def engine_options(self) -> EngineOptions:
        """What runs the networks, in one piece."""
        return EngineOptions(
            engine=self.engine, precision=self.precision, device=self.gpu, builds=True
        )

    @field_validator("publish")
    @classmethod
    def _can_be_published(cls, text: str, info: ValidationInfo) -> str:
        is_open = bool(info.data.get("keys") or info.data.get("insecure"))
        return text if text in ("auto", "off") else check_endpoint(text, is_open=is_open)

    @model_validator(mode="after")
    def _has_a_time_zone(self) -> "Config":
        if self.timezone is None and any(source.schedule for source in self.sources.values()):
            local_timezone()
        return self


def decoding_of(config: SourceConfig, decoding: Decoding) -> Decoding:
    """Return the models' decoding with what a source sets for itself.

    Examples
    --------
    >>> source = SourceConfig(url="x.mp4", threshold=0.8, thresholds={"drum": 0.6})
    >>> decoding = decoding_of(source, Decoding(on=0.5, off=0.25))
    >>> [(decoding.on_of(x), decoding.off_of(x)) for x in ("violin", "drum")]
    [(0.8, 0.4), (0.6, 0.3)]
    """
    names = ("mode", "min_duration", "gap_merge")
    given = {name: value for name in names if (value := getattr(config, name)) is not None}
    changed = decoding.with_thresholds(config.threshold, config.thresholds)
    return changed.model_copy(update=given)


@dataclass(frozen=True)
class Changes:
    """What is different in a new configuration.

    Attributes
    ----------
    added, removed, changed : tuple of str
        Names of sources.
    needs_restart : tuple of str
        Keys whose new value holds only after a restart.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()


def changes(old: Config, new: Config) -> Changes:
    """Return what a reload has to do; a source that is not named goes on untouched.

    Examples
    --------
    >>> old = Config(sources={"a": SourceConfig(url="a.mp4"), "b": SourceConfig(url="b.mp4")})
    >>> new = Config(sources={"b": SourceConfig(url="b.mp4", loop=True)}, budget=3)
    >>> changes(old, new)
    Changes(added=(), removed=('a',), changed=('b',), needs_restart=('budget',))
    """
    before, after = old.sources, new.sources
    return Changes(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=tuple(n for n in after if n in before and after[n] != before[n]),
        needs_restart=tuple(
            key
            for key in Config.model_fields
            if key not in WITHOUT_RESTART and getattr(old, key) != getattr(new, key)
        ),
    )
