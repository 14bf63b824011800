"""One HTTP POST that never takes longer than it may, and whose errors name no secrets.

No redirects, no proxies of the environment, certificates verified.
"""

import base64
import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit


class PostError(RuntimeError):
    """No answer; the message is one line, without the address."""


@dataclass(frozen=True)
class Answer:
    """What the receiver said.

    Attributes
    ----------
    status : int
    retry_after : str or None
        The header of this name.
    """

    status: int
    retry_after: str | None = None


class Address:
    """Where to post to.

    Parameters
    ----------
    url : str
        http or https; user and password in it are sent as basic authentication.

    Attributes
    ----------
    shown : str
        Scheme, host and port: the path of a webhook is often a secret.

    Examples
    --------
    >>> Address("https://me:password@example.org/hooks/T0123").shown
    'https://example.org'
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._is_secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        self._target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~") + (
            f"?{quote(parts.query, safe='/%:@!$&()*+,;=~?')}" if parts.query else ""
        )
        self._headers: dict[str, str] = {}
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.shown = f"{parts.scheme}://{host}" + (f":{self._port}" if self._port else "")
        self._thread: threading.Thread | None = None

    def post(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Answer:
        """Post once and return the answer; only its head is waited for.

        In a thread, because neither looking up a host nor an answer of one byte a second can be
        bounded otherwise.

        Raises
        ------
        PostError
            If there is no answer within `timeout` seconds, or none that is HTTP.
        """
        if self._thread is not None and self._thread.is_alive():
            raise PostError("the last request has not come back from looking up the host")
        request = _Request(self._connection(timeout), self._target, body, headers, self._headers)
        self._thread = threading.Thread(target=request.run, name="webhook", daemon=True)
        self._thread.start()
        if not request.done.wait(timeout):
            request.abort()
            self._thread.join(1.0)
            raise PostError(f"no answer within {timeout:g} s")
        self._thread.join(1.0)
        if request.answer is None:
            raise PostError(_told(request.error))
        return request.answer

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if not self._is_secure:
            return http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=context)


class _Request:
    """A request in a thread."""

    def __init__(
        self,
        connection: http.client.HTTPConnection,
        target: str,
        body: bytes,
        *headers: Mapping[str, str],
    ) -> None:
        self.done = threading.Event()
        self.answer: Answer | None = None
        self.error: Exception | None = None
        self._connection, self._target, self._body = connection, target, body
        self._headers = {name: value for some in headers for name, value in some.items()}

    def run(self) -> None:
        try:
            self._connection.request("POST", self._target, self._body, self._headers)
            with self._connection.getresponse() as response:
                self.answer = Answer(response.status, response.getheader("Retry-After"))
        except Exception as error:  # whatever comes from outside
            self.error = error
        finally:
            self.done.set()
            self._connection.close()

    def abort(self) -> None:
        """Make the thread end: what it waits for fails."""
        connected = self._connection.sock
        if connected is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connected, socket.SHUT_RDWR)


def _told(error: Exception | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.RemoteDisconnected):
        return "it closed the connection without an answer"
    if isinstance(error, http.client.HTTPException):
        return "its answer is no HTTP"
    return str(getattr(error, "strerror", None) or type(error).__name__)
