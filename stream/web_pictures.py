"""Live pictures for clients: asked of the readers only while somebody looks.

In: what each client wants to see, and the JPEGs of the readers. Out: frames to the clients.
"""

import asyncio
import time
from collections.abc import Mapping

from .previews import Preview
from .web_live import Live
from .web_messages import picture_frame

SNAPSHOT_DEADLINE = 3.0  # seconds for a picture that was asked for now


class NoPictureError(RuntimeError):
    """There is no picture of a source; one line that says why."""


class Pictures:
    """What all clients together want to see, and who gets what comes.

    Parameters
    ----------
    live : Live
        Its clients get the pictures.
    """

    def __init__(self, live: Live) -> None:
        self._live = live
        self._awaited: dict[asyncio.Future[bytes], tuple[str, int]] = {}

    def wanted(self) -> Mapping[str, int]:
        """Return by source the longer side (px) of the largest picture that somebody wants."""
        wants: dict[str, int] = {}
        watched = [pair for c in self._live.clients for pair in c.watch.pictures.items()]
        for source, side in (*watched, *self._awaited.values()):
            if source in self._live.sources:
                wants[source] = max(side, wants.get(source, 0))
        return wants

    def take(self, picture: Preview) -> None:
        """Take in a picture."""
        captured = time.time() - (time.monotonic() - picture.captured)
        frame = picture_frame(picture.source, picture.time, picture.tick, captured, picture.jpeg)
        self._live.show(picture.source, frame)
        for future, (source, _) in self._awaited.items():
            if source == picture.source and not future.done():
                future.set_result(picture.jpeg)

    async def now(self, source: str, side: int) -> bytes:
        """Return the next picture of a source, JPEG.

        Raises
        ------
        NoPictureError
            If none comes in time.
        """
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._awaited[future] = source, side
        try:
            return await asyncio.wait_for(future, SNAPSHOT_DEADLINE)
        except TimeoutError:
            raise NoPictureError(f"no picture of {source}: {self._reason(source)}") from None
        finally:
            del self._awaited[future]

    def _reason(self, source: str) -> str:
        known = self._live.sources.get(source)
        if known is None or known.state == "live":
            return f"none came within {SNAPSHOT_DEADLINE:g} s"
        return f"it is {known.state}" + (f": {known.error.message}" if known.error else "")
