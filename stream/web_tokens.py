"""Who has shown the token of the configuration: at each request, or once, for a cookie."""

import hashlib
import hmac
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Scope

COOKIE: Final = "playspot_session"
SESSION_TIME = 30 * 86400  # s
GUESSES = 10  # wrong tokens of one address in GUESS_TIME; then it must wait
GUESS_TIME = 60.0  # s
MAX_ADDRESSES = 1000  # whose guesses are remembered


class Tokens:
    """Who has shown the token of the configuration.

    Parameters
    ----------
    token : str or None
        None: everybody is let in.
    clock : callable
        Unix seconds.
    """

    def __init__(self, token: str | None, clock: Callable[[], float] = time.time) -> None:
        self._token = token.encode() if token is not None else None
        self._clock = clock
        self._guesses: OrderedDict[str, tuple[float, int]] = OrderedDict()

    @property
    def is_needed(self) -> bool:
        """Whether there is a token at all."""
        return self._token is not None

    def check(self, given: str, address: str) -> None:
        """Return if a token is right.

        Raises
        ------
        HTTPException
            If it is wrong (401), or too many of this address were (429).
        """
        if self._token is None:
            return
        since, n = self._guesses.get(address, (0.0, 0))
        now = self._clock()
        if not 0 <= now - since < GUESS_TIME:
            since, n = now, 0
        if n >= GUESSES:
            wait = str(math.ceil(since + GUESS_TIME - now))
            raise HTTPException(429, f"too many wrong tokens; wait {wait} s", {"retry-after": wait})
        if hmac.compare_digest(_digest(given.encode()), _digest(self._token)):
            return
        self._guesses[address] = (since, n + 1)
        self._guesses.move_to_end(address)
        while len(self._guesses) > MAX_ADDRESSES:
            self._guesses.popitem(last=False)
        raise HTTPException(401, "wrong token", {"www-authenticate": "Bearer"})

    def session(self) -> str:
        """Return the value of a cookie that shows, for `SESSION_TIME`, that the token was right."""
        until = str(int(self._clock()) + SESSION_TIME)
        return f"{until}.{self._signature(until)}"

    def is_session(self, value: str) -> bool:
        """Return whether a value is one of `session` that still holds."""
        until, _, signature = value.partition(".")
        if not (until.isascii() and until.isdecimal() and len(until) < 16):
            return False
        is_ours = hmac.compare_digest(signature.encode(), self._signature(until).encode())
        return is_ours and int(until) > self._clock()

    def _signature(self, until: str) -> str:
        return hmac.new(self._token or b"", f"session {until}".encode(), hashlib.sha256).hexdigest()


def address_of(scope: Scope) -> str:
    """Return who is at the other end; of IPv6 the network, of which one has many addresses."""
    host = str((scope.get("client") or ("",))[0])
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return host
    return str(ipaddress.ip_network((int(address), 64), strict=False))


def cookie_of(headers: Headers) -> str:
    """Return the value of our cookie, empty if there is none."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()  # of one length, whatever was given
