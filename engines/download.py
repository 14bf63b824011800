"""Fetching a public file: with a checksum, resumed where it broke off, whole or not at all."""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from .engine import ModelError
from .metadata import one_line

CHUNK_BYTES = 64 * 2**10
TIMEOUT = 30.0  # s without any data
ATTEMPTS = 4
PAUSE = 1.0  # s before the second attempt; doubled each time

OnBytes = Callable[[int], None]


class _BrokenError(Exception):
    """The connection failed in a way that another attempt may mend."""


def download(
    url: str,
    target: Path,
    *,
    sha256: str,
    max_bytes: int,
    on_bytes: OnBytes | None = None,
    timeout: float = TIMEOUT,
    attempts: int = ATTEMPTS,
    pause: float = PAUSE,
) -> Path:
    """Fetch a file, unless it is there already.

    What has come is kept in `<target>.part`, so that the next attempt or the next call goes on
    from there (if the server can); `target` appears only whole and with the right checksum.

    Parameters
    ----------
    url : str
        http or https.
    target : path
        In a folder that exists or can be made.
    sha256 : str
        Of the whole file, 64 hex digits.
    max_bytes : int
        More is refused.
    on_bytes : callable, optional
        Told how many bytes of the file are there, now and then.
    timeout, pause : float
        Seconds without data before an attempt is given up, and before the next one.
    attempts : int

    Returns
    -------
    target : path

    Raises
    ------
    ModelError
        If it could not be fetched: one line that says from where, why, and what to do.
    """
    if not url.startswith(("https://", "http://")):
        raise ModelError(f"{url}: not an http or https address")
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_file() and _digest(target) == sha256:
        return target
    part = target.with_name(target.name + ".part")
    report = on_bytes or (lambda n: None)
    reason = ""
    for attempt in range(attempts):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        try:
            _fetch(url, part, max_bytes, timeout, report)
            break
        except _BrokenError as error:
            reason = str(error)
    else:
        raise ModelError(
            f"{url}: broke off {attempts} times ({reason}); check the connection and pull again, "
            "what has come is kept"
        )
    found = _digest(part)
    if found != sha256:
        part.unlink()
        raise ModelError(
            f"{url}: wrong checksum ({found[:12]} instead of {sha256[:12]}); the file was thrown "
            "away, pull again or from another mirror"
        )
    part.replace(target)
    return target


def _fetch(url: str, part: Path, max_bytes: int, timeout: float, report: OnBytes) -> None:
    """Add to `part` what is missing of the file."""
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "playspot"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            if have and not _continues(response, have):
                have = 0  # the server sent the whole file again
            expected = response.headers.get("Content-Length")
            n_bytes = have
            with part.open("ab" if have else "wb") as file:
                while chunk := response.read(CHUNK_BYTES):
                    n_bytes += len(chunk)
                    if n_bytes > max_bytes:
                        break
                    file.write(chunk)
                    report(n_bytes)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # nothing is left beyond what we have: whole, or from another file
            if _is_whole(error, have):
                return
            part.unlink(missing_ok=True)
            raise _BrokenError("the rest did not fit what was there") from None
        if error.code in (408, 425, 429) or error.code >= 500:
            raise _BrokenError(f"HTTP {error.code}") from None
        raise ModelError(
            f"{url}: HTTP {error.code} {one_line(ValueError(error.reason), 60)}; check the address"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(one_line(error, 80)) from None
    if n_bytes > max_bytes:
        part.unlink()
        raise ModelError(f"{url}: above {max_bytes} bytes, more than the file has; not the file")
    if expected is not None and n_bytes - have < int(expected):
        raise _BrokenError(f"{n_bytes} of {have + int(expected)} bytes")


def _continues(response: http.client.HTTPResponse, have: int) -> bool:
    span = response.headers.get("Content-Range", "")
    return response.status == 206 and span.startswith(f"bytes {have}-")


def _is_whole(error: urllib.error.HTTPError, have: int) -> bool:
    return str(error.headers.get("Content-Range", "")).endswith(f"/{have}")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
