"""The configuration of where detections go: files, a database, MQTT, webhooks, recordings, web.

Each part is off unless it is given; an empty one (`mqtt: {}`) takes all defaults.
"""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from .addresses import DEFAULT_WEB, is_loopback, split_address
from .config_model import ConfigModel, Side, Unit, UserPath

EventType = Literal["new", "update", "end"]

MIN_SECRET = 16  # characters of a token that others on the network may try to guess


class JsonLinesConfig(ConfigModel):
    """Every event as a line of JSON, in files that are rotated."""

    path: UserPath = Field(examples=["~/playspot/events.jsonl"])
    """The file that is written to; full ones get the time of their end into their name."""
    rotate_mb: float = Field(default=100, gt=0, le=100_000)
    """Size (MB) at which a new file begins."""
    keep: int = Field(default=10, ge=1, le=10_000)
    """Full files to keep; the oldest are removed."""


class DatabaseConfig(ConfigModel):
    """Events in SQLite, for the history of the live page and for programs."""

    path: UserPath | None = None
    """The file; in the user's state folder, beside the journal, when not given."""
    keep_days: float = Field(default=365, gt=0, le=100_000)
    """Days after their end that events are kept."""
    keep_mb: float = Field(default=1000, ge=1, le=10_000_000)
    """Size (MB) of the file above which the oldest events are removed."""


class MqttConfig(ConfigModel):
    """An MQTT 5 broker that gets events and states; Home Assistant finds them by itself."""

    host: str = Field(default="127.0.0.1", min_length=1, max_length=255)
    """Name or address of the broker."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """1883, with `tls` 8883, when not given."""
    user: str | None = None
    """Whom to log in as; nobody when not given."""
    password: str | None = Field(default=None, repr=False, examples=["${MQTT_PASSWORD}"])
    """Of the user, from the environment."""
    tls: bool = False
    """Encrypt, and verify the broker's certificate."""
    certificate_authority: UserPath | None = None
    """Of the broker's certificate, PEM; those the system trusts when not given."""
    client_id: str = Field(default="playspot", min_length=1, max_length=128)
    """Must be different for each program at the broker."""
    topic_prefix: str = Field(default="playspot", pattern=r"^[^/#+\s\x00$][^#+\s\x00]{0,99}$")
    """Under which all topics lie."""
    qos: int = Field(default=1, ge=0, le=2)
    """Of events: 0 may lose some, 1 may repeat some, 2 neither."""
    discovery: bool = True
    """Announce sources and instruments to Home Assistant."""
    discovery_prefix: str = Field(default="homeassistant", pattern=r"^[^/#+\s\x00$][^#+\s\x00]*$")
    """Where Home Assistant looks for announcements."""


def _checked_webhook(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise ValueError("the URL of a webhook looks like https://host/path")
    return url


class WebhookConfig(ConfigModel):
    """An HTTP address that gets events as JSON by POST, again and again until it says 2xx."""

    url: Annotated[str, AfterValidator(_checked_webhook)] = Field(
        max_length=4096, repr=False, examples=["https://example.org/playspot"]
    )
    """Where events are sent; may hold a password."""
    secret: str | None = Field(default=None, min_length=8, repr=False, examples=["${HOOK_SECRET}"])
    """Signs each request (HMAC-SHA256, as of standardwebhooks.com); unsigned when not given."""
    types: tuple[EventType, ...] = ("new", "end")
    """Which events."""
    sources: tuple[str, ...] = ()
    """Only of these sources; all when empty."""
    labels: tuple[str, ...] = ()
    """Only of these instruments; all when empty."""
    min_score: Unit = 0.0
    """Only with at least this `top_score`."""
    timeout: float = Field(default=10, gt=0, le=120)
    """Seconds for an answer."""
    give_up_hours: float = Field(default=24, gt=0, le=10_000)
    """Hours for which one event is tried; then it is dropped, and counted."""


class RecordingsConfig(ConfigModel):
    """Pictures and clips of events. Off by default; sound is only kept if asked for."""

    folder: UserPath | None = None
    """Where they are kept; in the user's state folder, beside the journal, when not given."""
    snapshots: bool = True
    """A JPEG of the moment of the best score, with its box."""
    clips: bool = False
    """An MP4 from before the event to after its end."""
    sound: bool = False
    """Sound in the clips."""
    side: Side = 640
    """Longer side of the pictures, pixels."""
    before: float = Field(default=3, ge=0, le=30)
    """Seconds of a clip before the event; to 30."""
    after: float = Field(default=2, ge=0, le=30)
    """Seconds of a clip after the event; to 30."""
    longest: float = Field(default=60, ge=1, le=3600)
    """Seconds of a clip at most; a longer event has its beginning only."""
    keep_days: float = Field(default=7, gt=0, le=100_000)
    """Days that they are kept."""
    keep_mb: float = Field(default=2000, ge=1, le=10_000_000)
    """Megabytes of all together; the oldest are removed."""


def _checked_address(text: str) -> str:
    split_address(text)
    return text


class WebConfig(ConfigModel):
    """The live page and the HTTP API (extra: web)."""

    listen: Annotated[str, AfterValidator(_checked_address)] = DEFAULT_WEB
    """HOST:PORT. Others on the network reach it only with a token and TLS, or `insecure`."""
    token: str | None = Field(default=None, min_length=1, repr=False, examples=["${WEB_TOKEN}"])
    """What programs and people must show; without one, on loopback, everybody may."""
    certificate: UserPath | None = None
    """Of TLS, PEM, with all that it is signed by."""
    private_key: UserPath | None = None
    """Of the certificate, PEM."""
    hosts: tuple[str, ...] = Field(default=(), examples=[["stage.example.org"]])
    """Further names that this machine is called by; requests to other names are refused."""
    insecure: bool = False
    """Let others on the network in without TLS: behind a proxy that has it, or among friends."""
    media: UserPath | None = None
    """Folder of files that may be added as sources over HTTP; none may when not given."""

    @model_validator(mode="after")
    def _is_safe(self) -> "WebConfig":
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key belong together; give both or none")
        host, _ = split_address(self.listen)
        if is_loopback(host) or self.insecure:
            return self
        if self.token is None or self.certificate is None:
            raise ValueError(
                f"listen {self.listen!r} is not on loopback: give token, certificate and "
                "private_key, or say insecure: true"
            )
        if len(self.token) < MIN_SECRET:
            raise ValueError(f"token is too short to be safe; give at least {MIN_SECRET} letters")
        return self

    def at_port(self, port: int) -> "WebConfig":
        """Return the same at another port.

        Examples
        --------
        >>> WebConfig(listen="[::1]:8773").at_port(80).listen
        '[::1]:80'
        """
        host, _ = split_address(self.listen)
        shown = f"[{host}]" if ":" in host else host
        return self.model_copy(update={"listen": f"{shown}:{port}"})
