"""The web process of a live run: the live page and the HTTP API (extra: web)."""

import asyncio
import signal
from dataclasses import dataclass
from pathlib import Path

from .output_config import WebConfig
from .worker import Worker


@dataclass(frozen=True)
class WebJob:
    """What the web process is started with.

    Attributes
    ----------
    config : WebConfig
    database : Path or None
        The file with the history of events; None where there is none.
    recordings : Path or None
        Folder of snapshots and clips; None where none are made.
    system_id : str
        Of the run.
    labels : tuple of str
        Instruments that the models know.
    """

    config: WebConfig
    database: Path | None
    recordings: Path | None
    system_id: str
    labels: tuple[str, ...]


class MissingExtraError(ValueError):
    """Packages that are not installed; one line for the user."""


def serve_web(worker: Worker, run: str, job: WebJob) -> None:
    """Be the web process of a live run, until SIGTERM.

    Parameters
    ----------
    worker : Worker
    run : str
        Name of the run.
    job : WebJob

    Raises
    ------
    AddressError
        If the address or the certificate cannot be used.
    MissingExtraError
        If a package of the extra is not installed.
    """
    try:
        from .web_loop import WebLoop
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"the live page needs {error.name}: pip install 'playspot[web]'"
        ) from None

    async def serve() -> None:
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        await WebLoop(worker, run, job).serve(stopped)

    asyncio.run(serve())
