"""Text from outside as it may stand in a message: on one line, without control characters."""

from pathlib import Path


def printable(text: str) -> str:
    r"""Return a text without control characters.

    Examples
    --------
    >>> printable("a\x1b[31m")
    'a?[31m'
    """
    return "".join(c if c.isprintable() else "?" for c in text)


def one_line(text: str) -> str:
    r"""Return a message on one line, without control characters.

    Examples
    --------
    >>> one_line("no such file:\n  a\x1b.mp4")
    'no such file: a?.mp4'
    """
    return printable(" ".join(text.split()))


def reason_of(error: BaseException) -> str:
    """Return what an exception says, without the path that those of files have.

    Examples
    --------
    >>> reason_of(FileNotFoundError(2, "No such file or directory", "a.mp4"))
    'No such file or directory'
    >>> reason_of(ValueError())
    'ValueError'
    """
    return one_line(getattr(error, "strerror", None) or str(error)) or type(error).__name__


def shown_path(path: Path) -> str:
    """Return a path as it may stand in a message of one line."""
    text = str(path)
    return text if text.isprintable() else repr(text)
