"""Files that are there as a whole or not at all: written beside their place, then moved there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path to write to; at the end that file takes the place of `path`, unless it failed.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole_file(Path(folder) / "a.txt") as partial:
    ...         _ = partial.write_text("all of it")
    ...     [path.name for path in Path(folder).iterdir()]
    ['a.txt']
    """
    partial = path.with_name(f".{path.name[:80]}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Write a file of one writer that only its owner may read."""
    partial = path.with_name(f".{path.name}.partial")  # no other name: a kill leaves one at most
    partial.touch(0o600)
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
