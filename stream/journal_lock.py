"""Which folder a run keeps its journal in, and the lock that keeps two programs out of one folder.

The folder belongs to the endpoint: a program that publishes there again finds what an earlier one
left open, for example because it was killed.
"""

import os
import re
import sys
import time
from collections.abc import Mapping
from io import FileIO
from pathlib import Path

LOCK_TIME = 2.0  # seconds that the publisher which is replaced may take to be gone
MAX_FOLDERS = 100  # programs at a time whose endpoint may move


class JournalTakenError(ValueError):
    """A folder that another program writes its journal into; the message is for the user."""


def state_folder(platform: str = sys.platform, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder in which the user's programs keep their state.

    Examples
    --------
    >>> state_folder("linux", {"XDG_STATE_HOME": "/state"}).as_posix()
    '/state/playspot'
    """
    if platform == "win32" and environ.get("LOCALAPPDATA"):
        return Path(environ["LOCALAPPDATA"]) / "playspot"
    if platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "playspot"
    given = environ.get("XDG_STATE_HOME", "")  # the standard: a relative one is to be ignored
    state = Path(given) if given.startswith("/") else Path.home() / ".local" / "state"
    return state / "playspot"


def journal_folder(endpoint: str | None) -> Path:
    """Return the folder of the journal of an endpoint; of None, when nothing is published.

    Examples
    --------
    >>> journal_folder("tcp://127.0.0.1:7773").name
    'tcp-127.0.0.1-7773'
    """
    name = re.sub(r"[^A-Za-z0-9.]+", "-", endpoint or "off").strip("-.")
    return state_folder() / "journal" / name


class FolderLock:
    """A folder that is ours alone until `close`, or until this process ends in whatever way.

    Parameters
    ----------
    folder : Path
        Exists.
    wait : float
        Seconds to wait for it.

    Raises
    ------
    JournalTakenError
        If another program has it.
    OSError
        If there can be no lock in it.
    """

    def __init__(self, folder: Path, wait: float = 0.0) -> None:
        path = folder / "lock"
        path.touch(0o600)
        self._file = FileIO(path, "r+b")
        deadline = time.monotonic() + wait
        while not _try_lock(self._file):
            if time.monotonic() >= deadline:
                self._file.close()
                raise JournalTakenError(
                    f"{folder}: another playspot writes its journal here; "
                    "set `journal` to a folder of its own"
                )
            time.sleep(0.05)

    def close(self) -> None:
        """Let go of the folder."""
        self._file.close()


def _try_lock(file: FileIO) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except PermissionError:
        if sys.platform == "win32":
            return False  # how it says that the lock is taken
        raise
    return True
