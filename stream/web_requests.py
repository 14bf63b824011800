"""What the web process asks of the supervisor: to add or remove a source."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any

DEADLINE = 5.0  # seconds for an answer


class RefusedError(RuntimeError):
    """A request that the supervisor refused or did not answer.

    Attributes
    ----------
    code : {"invalid", "exists", "unknown", "silent"}
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Requests:
    """The requests that wait for an answer; one at a time is asked.

    Parameters
    ----------
    tell : callable
        `Worker.try_tell`.
    """

    def __init__(self, tell: Callable[..., bool]) -> None:
        self._tell = tell
        self._turn = asyncio.Lock()
        self._waiting: dict[str, asyncio.Future[None]] = {}

    async def ask(self, op: str, name: str, config: Mapping[str, Any] | None = None) -> None:
        """Ask, and wait until it is done.

        Raises
        ------
        RefusedError
            If it is not.
        """
        number = secrets.token_hex(8)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(DEADLINE), self._turn:
                if not self._tell("request", id=number, op=op, name=name, config=config):
                    raise TimeoutError
                await future
        except TimeoutError:
            raise RefusedError("silent", "the run does not answer; try again") from None
        finally:
            del self._waiting[number]

    def take(self, answer: Mapping[str, Any]) -> None:
        """Take in an answer."""
        future = self._waiting.get(str(answer.get("id")))
        if future is None or future.done():
            return
        error = answer.get("error")
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(RefusedError(str(answer.get("code", "invalid")), str(error)))
