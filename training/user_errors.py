"""What goes wrong in an offline command, as one line for the user."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from ..stream.one_line import one_line, reason_of


@contextmanager
def user_errors() -> Iterator[None]:
    """Print what users can do something about as one line, and exit with code 1.

    Examples
    --------
    >>> with user_errors():
    ...     raise ValueError("clips: no such folder")
    Traceback (most recent call last):
    ...
    typer.exceptions.Exit: 1
    """
    try:
        yield
    except (ValueError, OSError) as error:
        text = str(error)
        if isinstance(error, OSError) and error.filename and text.startswith("[Errno"):
            text = f"{error.filename}: {reason_of(error)}"
        print(f"playspot: {one_line(text)}", file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        print("playspot: stopped; the same command goes on from there", file=sys.stderr)
        raise typer.Exit(1) from None


def check_folder(path: Path) -> None:
    """Raise ValueError, one line, unless a path is a folder.

    Examples
    --------
    >>> check_folder(Path("no/such/clips"))
    Traceback (most recent call last):
    ...
    ValueError: no/such/clips: no such folder
    """
    if not path.exists():
        raise ValueError(f"{path}: no such folder")
    if not path.is_dir():
        raise ValueError(f"{path}: a file; give the folder that it is in")


def make_folder(path: Path) -> None:
    """Make a folder to write to, and those above it.

    Raises
    ------
    ValueError
        If it cannot be written to: one line.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = "there is a file of this name" if path.exists() else reason_of(error)
        raise ValueError(f"{path}: cannot be made a folder ({what}); give another") from None
    if not os.access(path, os.W_OK):
        raise ValueError(f"{path}: cannot be written to; give another folder")
