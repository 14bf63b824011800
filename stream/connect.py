"""A locator of a stream or camera -> an open container of FFmpeg, or why it could not be opened.

Every connection has deadlines and may use only the protocols that its scheme needs, so that no
server can lead it to the files of this machine. Errors become a `SourceFailure` of one line.
"""

import errno
import socket
import ssl
import time
from typing import Final

import av
from av.container import InputContainer

from .config import SourceConfig
from .demux import REFUSED_FORMATS
from .failures import FailureKind, SourceFailure
from .locator import Locator, redacted
from .one_line import reason_of

# Playlists may name other resources of the web, and nothing else.
_WEB = "http,https,httpproxy,tcp,tls,crypto,data"
_PROTOCOLS: Final = {
    "rtsp": "rtp,srtp,udp,tcp,tls",
    "rtsps": "rtp,srtp,udp,tcp,tls",
    "http": _WEB,
    "https": _WEB,
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,tls,tcp",
    "udp": "udp,rtp",
}
_PORTS: Final = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443}
_FORMATS: Final = {"rtsp": "rtsp", "rtsps": "rtsp", "udp": "mpegts"}  # others say it themselves
_TLS_SCHEMES: Final = ("rtsps", "https", "rtmps")
_WEB_FORMATS: Final = ",".join(sorted((av.formats_available - REFUSED_FORMATS) | {"hls"}))

REORDER_US = 200_000  # how long RTP over UDP waits for a packet that others have overtaken
UDP_BUFFER = 4 * 2**20  # bytes; a key picture comes at once
RTSP_LOOK_US = 500_000  # into the streams before they begin; the SDP says most of it
MAX_STREAMS = 32
# What a camera is asked for, first to last; the models see 256 px, so no more than VGA.
_CAMERA_MODES: Final[tuple[dict[str, str], ...]] = (
    {"video_size": "640x480", "framerate": "30"},
    {"input_format": "mjpeg", "video_size": "640x480", "framerate": "30"},
    {"framerate": "30"},
    {},
)


def connect(locator: Locator, config: SourceConfig) -> InputContainer:
    """Return the open container of a network stream or camera; the caller closes it.

    Parameters
    ----------
    locator : Locator
    config : SourceConfig
        Of which `transport`, `timeout` and `verify_certificate` matter.

    Raises
    ------
    SourceFailure
        If it cannot be opened in time.
    """
    if locator.scheme == "v4l2":
        return _open_camera(locator, config)
    if locator.scheme != "udp":
        _resolve(locator)
    began = time.monotonic()
    try:
        return av.open(
            locator.text,
            format=_FORMATS.get(locator.scheme),
            options=_options(locator, config),
            timeout=(config.timeout, config.timeout),
            metadata_errors="ignore",
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        failure = failure_of(error, locator, config.timeout)
        if failure.kind not in ("damaged", "lost") or locator.scheme == "udp":
            raise failure from None
        # FFmpeg's RTSP and TLS say of most errors only that something was wrong.
        left = began + config.timeout - time.monotonic()
        raise _unreachable(locator, left, config) or failure from None


def _options(locator: Locator, config: SourceConfig) -> dict[str, str]:
    options = {"protocol_whitelist": _PROTOCOLS[locator.scheme], "max_streams": str(MAX_STREAMS)}
    if locator.scheme in ("rtsp", "rtsps"):
        options |= {"max_delay": str(REORDER_US), "buffer_size": str(UDP_BUFFER)}
        options["analyzeduration"] = str(RTSP_LOOK_US)
        if config.transport == "tcp":
            options["rtsp_flags"] = "prefer_tcp"  # a camera that has only UDP is still heard
        else:
            options["rtsp_transport"] = "udp"
    elif locator.scheme in ("http", "https"):
        options["format_whitelist"] = _WEB_FORMATS
    if config.verify_certificate:  # of any scheme: a playlist may lead to TLS later
        options |= {"tls_verify": "1", "ca_file": _authorities()}
    return options


def _unreachable(locator: Locator, left: float, config: SourceConfig) -> SourceFailure | None:
    try:
        if left < config.timeout / 10:
            raise TimeoutError
        address = (locator.host or "", locator.port or _PORTS[locator.scheme])
        with socket.create_connection(address, timeout=left) as connection:
            if config.verify_certificate and locator.scheme in _TLS_SCHEMES:
                context = ssl.create_default_context()
                context.wrap_socket(connection, server_hostname=locator.host).close()
    except ssl.SSLCertVerificationError as error:
        return SourceFailure(
            "untrusted",
            f"{locator.shown}: its certificate is not trusted ({error.verify_message}); give it "
            "one that is, or set verify_certificate: false for this source.",
        )
    except OSError as error:
        return failure_of(error, locator, config.timeout)
    return None


def _authorities() -> str:
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.openssl_cafile


def _open_camera(locator: Locator, config: SourceConfig) -> InputContainer:
    for mode in _CAMERA_MODES:
        try:
            return av.open(
                locator.address,
                format="v4l2",
                options=mode,
                timeout=(config.timeout, config.timeout),
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            # A mode that it does not have is "invalid"; anything else stays true for all modes.
            if mode and getattr(error, "errno", None) == errno.EINVAL:
                continue
            raise failure_of(error, locator, config.timeout) from None
    raise AssertionError("unreachable")


def _resolve(locator: Locator) -> None:
    # FFmpeg does not tell an unknown host from other errors.
    try:
        socket.getaddrinfo(locator.host, locator.port or _PORTS[locator.scheme])
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise SourceFailure(
            "dns", f"{locator.shown}: host {locator.host!r} is unknown ({reason}); check the name."
        ) from None


def failure_of(error: Exception, locator: Locator, timeout: float) -> SourceFailure:
    """Return an error of FFmpeg, or of the system, as what it means for a source.

    Parameters
    ----------
    error : Exception
    locator : Locator
        Of the source.
    timeout : float
        Seconds that it was given.
    """
    if isinstance(error, SourceFailure):
        return error
    kind, words = _meaning(error, locator.scheme)
    if kind == "timeout":
        words = f"gave nothing for {timeout:g} s; check that it is on and can be reached"
    return SourceFailure(kind, f"{locator.shown}: {words}.")


def _meaning(error: Exception, scheme: str) -> tuple[FailureKind, str]:
    for kinds, kind, words in _MEANINGS:
        if isinstance(error, kinds):
            return kind, words
    number = getattr(error, "errno", None)
    if scheme == "v4l2" and number in _CAMERA_MEANINGS:
        return _CAMERA_MEANINGS[number]
    if number in _NUMBERS:
        return _NUMBERS[number]
    return "lost", f"cannot be read ({redacted(reason_of(error))})"


_MEANINGS: Final[tuple[tuple[tuple[type[Exception], ...], FailureKind, str], ...]] = (
    (
        (av.error.HTTPUnauthorizedError,),
        "auth",
        "wrong user name or password; correct it in the URL",
    ),
    ((av.error.HTTPNotFoundError,), "not_found", "there is no such stream; check the path (404)"),
    ((av.error.HTTPForbiddenError,), "forbidden", "the server forbids it (403)"),
    (
        (av.error.HTTPTooManyRequestsError,),
        "forbidden",
        "the server has had too many requests (429)",
    ),
    ((av.error.HTTPClientError,), "forbidden", "the server refuses the request (4xx)"),
    ((av.error.HTTPServerError,), "lost", "the server has an error of its own (5xx)"),
    ((av.error.ExitError, TimeoutError), "timeout", ""),
    ((ConnectionRefusedError,), "refused", "nobody listens there; check host and port"),
    (
        (ConnectionResetError, BrokenPipeError, ConnectionAbortedError),
        "lost",
        "the connection broke",
    ),
    ((av.error.EOFError,), "ended", "the stream is over"),
    (
        (av.error.ProtocolNotFoundError, av.error.DemuxerNotFoundError),
        "unsupported",
        "this protocol or format is not supported, or the server leads elsewhere",
    ),
    ((av.error.ArgumentError,), "unsupported", "the server leads to what is not allowed here"),
    ((av.error.InvalidDataError,), "damaged", "gives no video or sound that can be read"),
)
_NUMBERS: Final[dict[int | None, tuple[FailureKind, str]]] = {
    errno.EHOSTUNREACH: ("unreachable", "no way leads to this host; check the network"),
    errno.ENETUNREACH: ("unreachable", "no way leads to this network; check the network"),
    errno.ENETDOWN: ("unreachable", "the network is down"),
    errno.EADDRNOTAVAIL: ("unreachable", "no way leads to this host; check the network"),
    errno.EACCES: ("forbidden", "may not be read; change its permissions"),
    errno.EPERM: ("forbidden", "may not be read; change its permissions"),
}
_CAMERA_MEANINGS: Final[dict[int | None, tuple[FailureKind, str]]] = {
    errno.ENOENT: ("unplugged", "there is no such camera; plug it in (playspot devices lists all)"),
    errno.ENODEV: ("unplugged", "the camera is gone; plug it in again"),
    errno.ENXIO: ("unplugged", "the camera is gone; plug it in again"),
    errno.EIO: ("unplugged", "the camera does not answer; plug it in again"),
    errno.EBUSY: ("busy", "another program uses the camera; end it"),
    errno.EACCES: ("forbidden", "may not be read; add this user to the group video"),
    errno.EPERM: ("forbidden", "may not be read; add this user to the group video"),
    errno.ENOTTY: ("unsupported", "is no camera (no V4L2 device)"),
    errno.EINVAL: ("unsupported", "the camera has no mode that can be used"),
}
