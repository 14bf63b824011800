"""What goes wrong in an offline command, as one line for the user."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from ..stream.one_line import one_line


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
        print(f"playspot: {one_line(str(error))}", file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        print("playspot: stopped; the same command goes on from there", file=sys.stderr)
        raise typer.Exit(1) from None
