"""The sink into webhooks: each event is a POST of JSON, signed, until the receiver says 2xx.

Signed as of standardwebhooks.com: `webhook-id` is the same for each try of an event, so that a
receiver can leave out what it has; `webhook-signature` is `v1,` and the base64 of the HMAC-SHA256
over `id.timestamp.body`. The key is the secret, or, of one that begins with `whsec_`, the bytes
whose base64 follows.

One event at a time, in order; so an event that is refused holds up those behind it until it is
given up.
"""

import base64
import binascii
import hashlib
import hmac
import importlib.metadata
import math
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from .events import Event
from .http_post import Address, Answer, PostError
from .output_config import WebhookConfig
from .sink import SinkError
from .status import Status

MAX_AFTER = 3600.0  # s that a receiver can make us wait
HOUR = 3600.0  # s
PREFIX = "whsec_"  # of secrets that are base64


class WebhookSink:
    """Events to one HTTP address.

    Parameters
    ----------
    name : str
        Of the sink.
    config : WebhookConfig

    Raises
    ------
    SinkError
        If the secret begins with `whsec_` and is no base64.
    """

    def __init__(self, name: str, config: WebhookConfig) -> None:
        self.name = name
        self._config = config
        self._key = _key(config.secret)
        self._address = Address(config.url)
        self._agent = f"playspot/{importlib.metadata.version('playspot')}"
        self._is_failing = False

    def deliver(self, events: Sequence[Event]) -> None:
        """Post the events that are wanted; to be given one at a time, or some are posted twice."""
        for event in events:
            if self._is_wanted(event):
                self._deliver(event)

    def note(self, status: Status) -> None:
        """Statuses are not posted."""

    def turn(self) -> None:
        """Nothing is due in between."""

    def close(self) -> None:
        """Nothing is kept open."""

    def _is_wanted(self, event: Event) -> bool:
        config = self._config
        return (
            event.type in config.types
            and (not config.sources or event.source in config.sources)
            and (not config.labels or event.label in config.labels)
            and event.top_score >= config.min_score
        )

    def _deliver(self, event: Event) -> None:
        """Post an event; of one that is too old only the first of many is tried."""
        is_old = time.time() - event.wall_time > self._config.give_up_hours * HOUR
        trouble: SinkError | None = SinkError(f"{self._address.shown}: does not get better")
        if not (is_old and self._is_failing):
            trouble = self._try(event)
        self._is_failing = trouble is not None
        if trouble is not None:
            trouble.gives_up = is_old
            raise trouble

    def _try(self, event: Event) -> SinkError | None:
        """Post an event once; return what is wrong."""
        body = event.model_dump_json(by_alias=True).encode()
        headers = signed_headers(message_id(event), body, self._key, int(time.time()))
        headers |= {"Content-Type": "application/json", "User-Agent": self._agent}
        shown = self._address.shown
        try:
            answer = self._address.post(body, headers, self._config.timeout)
        except PostError as error:
            return SinkError(f"{shown}: {error}")
        if 200 <= answer.status < 300:
            return None
        if answer.status == HTTPStatus.GONE:
            message = f"{shown}: says that it is gone (410); remove the webhook"
            return SinkError(message, is_over=True)
        if 300 <= answer.status < 400:
            message = f"{shown}: redirects ({answer.status}); give the address it leads to"
            return SinkError(message)
        return SinkError(f"{shown}: answers {answer.status}", after=_seconds_after(answer))


def message_id(event: Event) -> str:
    """Return what names one message of an event, however often it is posted."""
    name = f"{event.system_id}/{event.source}/{event.seq}"
    return f"msg_{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def signed_headers(id: str, body: bytes, key: bytes | None, timestamp: int) -> dict[str, str]:
    """Return the headers of Standard Webhooks, without the signature if there is no key.

    Examples
    --------
    >>> signed_headers("msg_1", b"{}", b"secret", 0)["webhook-signature"]
    'v1,sti6m5wfzVDclSKWhERritTcCYHSMVKjmU7PF5lLeh0='
    """
    headers = {"webhook-id": id, "webhook-timestamp": str(timestamp)}
    if key is not None:
        signed = f"{id}.{timestamp}.".encode() + body
        digest = hmac.digest(key, signed, hashlib.sha256)
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers


def _key(secret: str | None) -> bytes | None:
    if secret is None:
        return None
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        message = f"its secret begins with {PREFIX}, but what follows is no base64"
        raise SinkError(message, is_over=True) from None


def _seconds_after(answer: Answer) -> float:
    """Return the seconds (to `MAX_AFTER`) that a receiver wants to be left alone for."""
    text = answer.retry_after
    if text is None or answer.status not in (429, 503):
        return 0.0
    try:
        seconds = float(text) if not text[:1].isalpha() else _seconds_until(text)
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), MAX_AFTER) if math.isfinite(seconds) else 0.0


def _seconds_until(date: str) -> float:
    return parsedate_to_datetime(date).timestamp() - time.time()
