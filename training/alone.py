"""One run at a time in a folder: the others wait, or are told."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .clips import ClipError


@contextmanager
def alone(lock: Path, busy: str = "") -> Iterator[None]:
    """Hold a lock file, which is made with its folder; a process that ends lets go of it.

    Parameters
    ----------
    lock : Path
    busy : str
        What to say if another process holds it; without, wait until it does no more.

    Raises
    ------
    ClipError
        If another process holds it, or it cannot be written.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    except OSError as error:
        raise ClipError(f"{lock.parent}: cannot be written ({error.strerror})") from None
    with file:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
            except BlockingIOError:
                raise ClipError(busy) from None
        yield
