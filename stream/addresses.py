"""Addresses that a run is reached at, and whether others on the network reach them too."""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

DEFAULT_ENDPOINT: Final = "tcp://127.0.0.1:7773"
DEFAULT_WEB: Final = "127.0.0.1:8773"


class EndpointError(ValueError):
    """An endpoint that may not or cannot be used; the message is one line for the user."""


def check_endpoint(endpoint: str, *, is_open: bool = False) -> str:
    """Return `endpoint` if it is `ipc://@name` or TCP on loopback, else raise `EndpointError`.

    An endpoint that is a file is refused: binding would replace the file, whatever it is. With
    `is_open` it may be on any interface: subscribers need keys, or everybody may read.

    Examples
    --------
    >>> check_endpoint("tcp://127.0.0.1:7773")
    'tcp://127.0.0.1:7773'
    """
    if endpoint.startswith("ipc://@") and len(endpoint) > len("ipc://@"):
        return endpoint
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname or "", parts.port
        is_local = is_loopback(host)
        if not is_local:
            ipaddress.ip_address(host)
    except ValueError:
        host, port, is_local = "", None, False
    if not endpoint.startswith("tcp://") or port is None:
        raise EndpointError(
            f"endpoint {endpoint!r} is not tcp://HOST:PORT or ipc://@NAME, "
            f"such as {DEFAULT_ENDPOINT}"
        )
    if not (is_local or is_open):
        raise EndpointError(
            f"endpoint {endpoint!r} is not on loopback: events would be open to the network; "
            f"use {DEFAULT_ENDPOINT}, give `keys` (playspot keygen), or say insecure: true"
        )
    return endpoint


def split_address(text: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`, `[IPV6]:PORT` or `PORT`.

    Raises
    ------
    ValueError
        If it is none.

    Examples
    --------
    >>> split_address("127.0.0.1:8773"), split_address("[::1]:80"), split_address("8080")
    (('127.0.0.1', 8773), ('::1', 80), ('127.0.0.1', 8080))
    """
    try:
        parts = urlsplit(f"//127.0.0.1:{text}" if text.isdecimal() else f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port is None or parts.path or parts.query or parts.username is not None:
        raise ValueError(f"address {text!r} is not HOST:PORT, such as {DEFAULT_WEB}")
    return host, port


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a host.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
