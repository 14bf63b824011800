"""The web process of a live run: the live page and the HTTP API (extra: web)."""

import asyncio
import signal

from .web_job import WebJob
from .worker import Worker

__all__ = ["WebJob", "serve_web"]


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
        from .web_process import WebProcess  # here, so that the supervisor does not load all that
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"the live page needs {error.name}: pip install 'playspot[web]'"
        ) from None

    async def serve() -> None:
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        await WebProcess(worker, run, job).serve(stopped)

    asyncio.run(serve())
