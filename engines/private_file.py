"""Files of the cache: whole or not at all, on the disk before anybody can see them, private."""

import errno
import os
import stat
import time
from contextlib import suppress
from pathlib import Path

PARTIAL = ".partial"
LEFT_AFTER = 3600.0  # s; nobody writes for that long


def private_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter, unless it is there.

    Raises
    ------
    OSError
        If it cannot be made, or anybody may write in it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if anybody_may_write(folder):
        raise PermissionError(errno.EPERM, f"anybody may write there; chmod o-w {folder}")


def anybody_may_write(path: Path) -> bool:
    """Return whether every user of this machine may write a file, or in a folder."""
    return bool(path.stat().st_mode & stat.S_IWOTH)


def write_private_bytes(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, in a folder that is made if need be.

    Raises
    ------
    OSError
        If it cannot be written; nothing is left of it then.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_private_bytes(Path(folder) / "a", b"all of it")
    ...     [path.name for path in Path(folder).iterdir()]
    ['a']
    """
    private_folder(path.parent)
    partial = path.with_name(f".{path.name[:80]}.{os.getpid()}{PARTIAL}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    _sync_folder(path.parent)


def sweep(folder: Path) -> None:
    """Remove what writers that were killed have left, once it is old enough to be just that."""
    before = time.time() - LEFT_AFTER
    for path in folder.glob(f".*{PARTIAL}"):
        with suppress(OSError):
            if path.stat().st_mtime < before:
                path.unlink()


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # not every system and file system can
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
