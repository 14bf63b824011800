"""How far a sink is in the journal, and where that is kept, so that a kill loses nothing.

A sink that can (`ExactSink`) keeps the position together with the events: each is taken once. For
the others it is in a file: each is delivered at least once.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from pydantic import BaseModel

from .events import Event
from .journal_reader import Position
from .sink import Sink, SinkError
from .status import Status
from .whole_file import write_private

logger = logging.getLogger(__name__)

Kept = TypeVar("Kept", bound=BaseModel)


class ExactSink(Protocol):
    """A sink that keeps the position in the journal itself, together with the events.

    Attributes
    ----------
    name : str
    most : int
        Events that it takes at once.
    """

    name: str
    most: int

    def position(self) -> Position:
        """Return the position behind what it has taken; `SinkError` if it cannot tell."""
        ...

    def take(self, events: Sequence[Event], position: Position) -> None:
        """Take events, and the position behind them; `SinkError` if it has taken neither."""
        ...

    def note(self, status: Status) -> None:
        """As of `Sink`."""
        ...

    def turn(self) -> None:
        """As of `Sink`."""
        ...

    def close(self) -> None:
        """As of `Sink`."""
        ...


class WithCursor:
    """A `Sink` whose position is kept in a file: it gets each event at least once.

    Twice, with the same `seq`, only if this process is killed between the two.

    Parameters
    ----------
    sink : Sink
    path : Path
        Of the file.
    start : callable
        Returns the position to start from where there is no file.
    most : int
        Events that are delivered at once.
    """

    def __init__(
        self, sink: Sink, path: Path, start: Callable[[], Position], most: int = 500
    ) -> None:
        self.name, self.most = sink.name, most
        self._sink, self._path, self._start = sink, path, start
        self._unsaved: Position | None = None
        self.note, self.close = sink.note, sink.close

    def position(self) -> Position:
        """Return where to go on; it is in the file from the beginning."""
        position = load_cursor(self._path, Position)
        if position is None:
            position = self._start()
            save_cursor(self._path, position)
        return position

    def take(self, events: Sequence[Event], position: Position) -> None:
        """Deliver events; the position is kept as soon as the disk has room for it."""
        if events:
            self._sink.deliver(events)
        self._unsaved = position
        with suppress(SinkError):
            self._save()

    def turn(self) -> None:
        """Do what is due in the sink, and save what could not be saved."""
        self._sink.turn()
        self._save()

    def _save(self) -> None:
        if self._unsaved is not None:
            save_cursor(self._path, self._unsaved)
            self._unsaved = None


def load_cursor(path: Path, kind: type[Kept]) -> Kept | None:
    """Return the record in a file, None if there is none or it is damaged.

    Raises
    ------
    SinkError
        If the file cannot be read.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SinkError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        logger.warning("%s is damaged; events of this run may be delivered twice", path)
        return None


def save_cursor(path: Path, kept: BaseModel) -> None:
    """Write a record in place of the one before, as a whole.

    Raises
    ------
    SinkError
        If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, kept.model_dump_json())
    except OSError as error:
        raise SinkError(f"{path}: cannot be written ({error.strerror})") from None
