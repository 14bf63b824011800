"""What names a source: a path or URL in, its parts out, and no credentials in anything shown.

A locator is a path, a URL, or a pair of a camera and a microphone, `URL+mic://NAME`. Whatever may
reach a log, a message or a screen goes through `redacted` first.
"""

import difflib
import importlib.metadata
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

ENTRY_POINTS: Final = "playspot.sources"  # further schemes, from any installed package
NETWORK_SCHEMES: Final = ("rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "udp")
DEVICE_SCHEMES: Final = ("v4l2", "mic")
HIDDEN: Final = "***"

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
_PAIR = "+mic://"

# Userinfo reaches to the last @ before the path. A password with a bare / in it is no valid URL,
# but it is still a password: only a port before the / tells that what follows is a path.
# Everything is bounded, so that no text takes long.
_USERINFO = re.compile(
    r"(?P<slashes>://|%3A%2F%2F)"
    r"(?:[^\s'\"<>/?#]{0,2000}(?:@|%40)"
    r"|(?![^\s'\"<>/?#:@]{0,255}:\d{1,5}[/?#])"
    r"[^\s'\"<>/?#:]{0,255}:[^\s'\"<>]{0,2000}(?:@|%40))",
    re.IGNORECASE,
)
_SPACED_USERINFO = re.compile(
    r"(\s*[A-Za-z][A-Za-z0-9+.-]{0,20}://)"
    r"(?![^/@\s]{0,255}:\d{1,5}\s)[^/@]{0,2000}\s[^/]{0,2000}@"
)
_VALUE = re.compile(
    r"(?<![^\s?&;#~=,'\"<>()\[\]{}])(?P<key>[^\s?&;#~=,'\"<>()\[\]{}]{1,100})"
    r"=(?P<value>[^\s&;#~,'\"<>()]+)"
)
_HEADER = re.compile(
    r"(?P<name>(?:proxy-)?authorization\s*:\s*|set-cookie\s*:\s*|cookie\s*:\s*)[^\r\n]+",
    re.IGNORECASE,
)
_SECRET = re.compile(
    r"pass|pwd|pas$|token|secret|signature|sig$|auth|key|cred|hmac|jwt|session|sid$|md5",
    re.IGNORECASE,
)


class LocatorError(ValueError):
    """A locator that names nothing; the message is one line for the user."""


@dataclass(frozen=True)
class Locator:
    """Where a source is.

    Attributes
    ----------
    scheme : str
        "file", "rtsp", "v4l2", "mic" and so on, in lower case.
    text : str
        As the user wrote it, with credentials; of a pair only the camera's part.
    shown : str
        The whole of it without credentials, on one line.
    microphone : Locator or None
        The other part of a pair.
    """

    scheme: str
    text: str = field(repr=False)
    shown: str
    microphone: "Locator | None" = None

    @property
    def address(self) -> str:
        """What follows `scheme://`: a path of a file or device, the name of a microphone."""
        match = _URL.fullmatch(self.text)
        if match is None:
            return self.text
        rest = match[2]
        if self.scheme == "file":
            rest = rest.removeprefix("localhost")
        return unquote(rest) if self.scheme in ("file", *DEVICE_SCHEMES) else rest

    @property
    def host(self) -> str | None:
        """The host of a network source."""
        return urlsplit(self.text).hostname if self.scheme in NETWORK_SCHEMES else None

    @property
    def port(self) -> int | None:
        """The port of a network source, where it is given."""
        return urlsplit(self.text).port if self.scheme in NETWORK_SCHEMES else None


def parse_locator(text: str) -> Locator:
    """Return the parts of a locator.

    Parameters
    ----------
    text : str
        A path (also /dev/video0), a URL, or `URL+mic://NAME`.

    Returns
    -------
    locator : Locator

    Raises
    ------
    LocatorError
        If it is empty, its scheme is unknown, or it lacks a host; one line, without credentials.

    Examples
    --------
    >>> parse_locator("rtsp://admin:secret@10.0.0.7/stream1")
    Locator(scheme='rtsp', shown='rtsp://***@10.0.0.7/stream1', microphone=None)
    >>> parse_locator("/dev/video0+mic://USB Audio").microphone.address
    'USB Audio'
    >>> parse_locator("rstp://a/1")
    Traceback (most recent call last):
    playspot.stream.locator.LocatorError: rstp://a/1: unknown scheme 'rstp'; did you mean 'rtsp'?
    """
    if not text.strip():
        raise LocatorError("'': is empty; give a file, a URL or a device.")
    first, pair, name = text.rpartition(_PAIR)
    if not (pair and first):
        return _parse_single(text)
    camera, microphone = _parse_single(first), _parse_single(_PAIR[1:] + name)
    shown = f"{camera.shown}+{microphone.shown}"
    if camera.scheme in ("file", "mic"):
        raise LocatorError(f"{shown}: only a camera or a stream can be paired with a microphone.")
    return Locator(camera.scheme, camera.text, shown, microphone)


def _parse_single(text: str) -> Locator:
    shown = _printable(redacted(text))
    match = _URL.fullmatch(text)
    if match is None:
        scheme = "v4l2" if re.fullmatch(r"/dev/(video\d+|v4l/.+)", text) else "file"
        return Locator(scheme, text, shown)
    scheme = match[1].lower()
    locator = Locator(scheme, text, shown)
    if scheme in NETWORK_SCHEMES:
        _check_url(locator)
    elif scheme == "file" and not locator.address.startswith("/"):
        raise LocatorError(f"{shown}: no whole path; write file:///folder/file or just the path.")
    elif scheme == "v4l2" and not locator.address.startswith("/"):
        raise LocatorError(f"{shown}: names no device; write it as v4l2:///dev/video0.")
    elif scheme not in ("file", *DEVICE_SCHEMES) and scheme not in (known := schemes()):
        near = difflib.get_close_matches(scheme, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}."
        raise LocatorError(f"{shown}: unknown scheme {scheme!r}; {hint}")
    return locator


def _check_url(locator: Locator) -> None:
    shown = locator.shown
    if not locator.text.isprintable() or " " in locator.text:
        raise LocatorError(f"{shown}: has a space or control character in it; write %20 for it.")
    try:
        host, _ = locator.host, locator.port
        authority = urlsplit(locator.text).netloc
    except ValueError:
        raise LocatorError(
            f"{shown}: its host or port (1 to 65535) cannot be read; write / : @ in a "
            "password as %2F %3A %40."
        ) from None
    if not host:
        raise LocatorError(f"{shown}: has no host; write {locator.scheme}://host/...")
    if "@" in authority.rpartition("@")[0]:
        raise LocatorError(
            f"{shown}: has more than one @ before the host; write %40 in a password."
        )


def schemes() -> tuple[str, ...]:
    """Return every scheme that is known here, those of installed packages included.

    Examples
    --------
    >>> "rtsp" in schemes()
    True
    """
    further = {point.name for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    return ("file", *NETWORK_SCHEMES, *DEVICE_SCHEMES, *sorted(further))


def redacted(text: object) -> str:
    """Return a text without the credentials of any URL or header in it; it never fails.

    Parameters
    ----------
    text : object
        A URL, or any longer text such as a message of FFmpeg; taken as `str(text)`.

    Returns
    -------
    text : str
        With *** for user and password, and for values of keys that sound secret.

    Examples
    --------
    >>> redacted("cannot open 'rtsp://admin:p@ss@cam/1?channel=2&token=abc'")
    "cannot open 'rtsp://***@cam/1?channel=2&token=***'"
    """
    try:
        text = str(text)
    except Exception:  # a message must not fail because of what it tells of
        return HIDDEN
    text = _HEADER.sub(rf"\g<name>{HIDDEN}", text)
    text = _SPACED_USERINFO.sub(rf"\1{HIDDEN}@", text, count=1)
    text = _USERINFO.sub(rf"\g<slashes>{HIDDEN}@", text)
    return _VALUE.sub(_hide_value, text)


def _hide_value(match: "re.Match[str]") -> str:
    if _SECRET.search(unquote(match["key"])):
        return f"{match['key']}={HIDDEN}"
    if "%3D" in (value := match["value"]).upper():  # a URL within a URL
        inner = re.sub(r"%3D", "=", value, flags=re.IGNORECASE)
        parts = re.split(r"(%26|%3F|%3B)", inner, flags=re.IGNORECASE)
        hidden = [_VALUE.sub(_hide_value, part) for part in parts]
        if hidden != parts:
            return f"{match['key']}={''.join(hidden).replace('=', '%3D')}"
    return match[0]


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]
