"""Files of events -> an archive.

In: `<stem>.events.jsonl` of `playspot detect`, JSON Lines (rotated ones as well) and SQLite
databases of live runs, and folders that hold any of these. Out: sections, each with its parts in
the order of time. An event of many messages becomes one part, so that an archive stays small.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from .archive import Archive, PlayedPart, Section
from .database import DatabaseError
from .events import Event
from .history import MOST, History
from .journal import JOURNAL_SCHEMA
from .one_line import reason_of, shown_path
from .stored_event import StoredEvent, began_at
from .timeline import STEP

FILE_ENDING = ".events.jsonl"
STEPS_ENDING = ".steps.jsonl"
DATABASE_ENDINGS = (".sqlite", ".sqlite3", ".db")
DATABASE_MAGIC = b"SQLite format 3\0"
MAX_LINE = 1 << 20  # bytes; no event is that long
TAIL = 1 << 16  # bytes at the end of a file in which its last line lies

OnFile = Callable[[int, int], None]  # files done, of so many


class ArchiveError(ValueError):
    """Events that cannot be read; the message is one line for the user."""


def find_inputs(paths: Iterable[Path]) -> list[Path]:
    """Return the files of events among files and in folders, each once, in the order of names.

    Raises
    ------
    ArchiveError
        If there is no such file or folder, or none of events.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        try:
            is_folder = path.is_dir()
            if not is_folder and not path.is_file():
                raise ArchiveError(f"{shown_path(path)}: no such file or folder; check the path.")
        except OSError as error:
            raise ArchiveError(
                f"{shown_path(path)}: cannot be read ({reason_of(error)})."
            ) from None
        candidates = (p for p in path.rglob("*") if _may_hold_events(p)) if is_folder else [path]
        for candidate in candidates:
            found.setdefault(candidate.resolve(), candidate)
    if not found:
        raise ArchiveError(
            "no events found: give <name>.events.jsonl of playspot detect, JSON Lines or a "
            "database of playspot run, or a folder that holds such files."
        )
    return sorted(found.values())


def read_archive(paths: Iterable[Path], *, on_file: OnFile = lambda done, of: None) -> Archive:
    """Return what was played according to files of events.

    Parameters
    ----------
    paths : iterable of Path
        Files, or folders to search.
    on_file : callable
        Called with the number of files that were read, and of all.

    Raises
    ------
    ArchiveError
        If there is none.
    """
    inputs = find_inputs(paths)
    archive = Archive()
    live: dict[str, _Parts] = {}  # by source
    for i, path in enumerate(inputs):
        on_file(i, len(inputs))
        _read(path, archive, live)
    on_file(len(inputs), len(inputs))
    archive.sections.sort(key=lambda section: (section.name, str(section.events)))
    for source in sorted(live):
        archive.sections += _days(source, live[source])
    return archive


class _Parts:
    """The parts of one file or source, as their messages come; the same may come twice."""

    def __init__(self) -> None:
        self.by_id: dict[str, PlayedPart] = {}
        self.began: dict[str, float] = {}  # Unix time
        self.system_ids: set[str] = set()

    def add(self, event: Event) -> None:
        self.system_ids.add(event.system_id)
        part = self.by_id.get(event.id)
        if part is None:
            start = event.start_time
            part = PlayedPart(event.id, event.label, start, start, 0.0, event.time, None, None)
            self.by_id[event.id] = part
            self.began[event.id] = began_at(event)
        if event.type == "end":
            part.is_over = True
            part.end = max(part.end, event.end_time or event.time)
        else:
            part.end = max(part.end, event.time + STEP / 2)
        if event.top_score > part.top_score:
            part.top_score, part.top_time = event.top_score, event.time
            part.point, part.box = event.point, event.box

    def add_stored(self, event: StoredEvent) -> None:
        end = event.end_time
        if end is None:
            end = event.start_time + max(0.0, event.top_at - event.began_at) + STEP / 2
        known = self.by_id.get(event.id)
        if known is not None and known.top_score >= event.top_score:
            known.end, known.is_over = max(known.end, end), known.is_over or event.state == "ended"
            return
        self.by_id[event.id] = PlayedPart(
            event.id,
            event.label,
            event.start_time,
            max(end, 0.0 if known is None else known.end),
            event.top_score,
            event.start_time + event.top_at - event.began_at,
            event.point,
            event.box,
            event.state == "ended",
        )
        self.began[event.id] = event.began_at


def _may_hold_events(path: Path) -> bool:
    if path.suffix == ".jsonl":
        return not path.name.endswith(STEPS_ENDING) and path.is_file()
    return path.suffix in DATABASE_ENDINGS and path.is_file()


def _read(path: Path, archive: Archive, live: dict[str, _Parts]) -> None:
    by_source: dict[str, _Parts] = {}
    n_before = archive.n_events
    try:
        if _is_database(path):
            for stored in _stored(path):
                live.setdefault(stored.source, _Parts()).add_stored(stored)
                archive.n_events += 1
        else:
            is_file = path.name.endswith(FILE_ENDING)
            for event in _events(path, archive):
                into = by_source if is_file else live
                into.setdefault(event.source, _Parts()).add(event)
                archive.n_events += 1
    except DatabaseError as error:
        archive.notes.append(str(error))
        return
    except OSError as error:
        archive.notes.append(f"{shown_path(path)}: cannot be read ({reason_of(error)})")
        return
    archive.n_inputs += 1
    if not path.name.endswith(FILE_ENDING):
        if archive.n_events == n_before:
            archive.notes.append(f"{shown_path(path)}: no events in it")
        return
    if len(by_source) <= 1 and all(len(p.system_ids) == 1 for p in by_source.values()):
        parts = next(iter(by_source.values()), _Parts())
        archive.sections.append(_file_section(path, parts))
        return
    for source, parts in by_source.items():  # a live run's, in spite of its name
        target = live.setdefault(source, _Parts())
        target.by_id |= parts.by_id
        target.began |= parts.began


def _file_section(path: Path, parts: _Parts) -> Section:
    section = Section(path.name.removesuffix(FILE_ENDING), events=path)
    section.parts = sorted(parts.by_id.values(), key=_in_order)
    last = max((part.end for part in section.parts), default=0.0)
    section.length = max(last, _length_by_steps(path))
    return section


def _days(source: str, parts: _Parts) -> Iterator[Section]:
    days: dict[str, Section] = {}
    for id_, part in parts.by_id.items():
        began = datetime.fromtimestamp(parts.began[id_])
        day = began.date().isoformat()
        shift = (began - datetime.combine(began.date(), datetime.min.time())).total_seconds()
        shift -= part.start
        part.start, part.end = part.start + shift, part.end + shift
        part.top_time += shift
        days.setdefault(day, Section(source, day)).parts.append(part)
    for day in sorted(days):
        section = days[day]
        section.parts.sort(key=_in_order)
        section.length = max(p.end for p in section.parts) - section.parts[0].start
        yield section


def _in_order(part: PlayedPart) -> tuple[float, str, str]:
    return part.start, part.label, part.id


def _events(path: Path, archive: Archive) -> Iterator[Event]:
    first_broken, n_broken = 0, 0
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE):
            number += 1
            rest = line  # of a line that is too long, and so no event
            while len(rest) == MAX_LINE and not rest.endswith(b"\n"):
                rest = file.readline(MAX_LINE)
            if not line.strip() or JOURNAL_SCHEMA.encode() in line[:200]:
                continue
            try:
                yield Event.model_validate_json(line)
            except ValidationError:
                n_broken += 1
                first_broken = first_broken or number
    if n_broken:
        archive.n_broken += n_broken
        lines = f"{n_broken} lines are no events" if n_broken > 1 else "1 line is no event"
        archive.notes.append(f"{shown_path(path)}: {lines} (line {first_broken}); left out")


def _stored(path: Path) -> Iterator[StoredEvent]:
    store, cursor = History(path), None
    while True:
        events, cursor = store.search(limit=MOST, cursor=cursor)
        yield from events
        if cursor is None:
            return


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(DATABASE_MAGIC)) == DATABASE_MAGIC


def _length_by_steps(events: Path) -> float:
    # Of the file's last step, where `detect` has written steps beside the events.
    path = events.with_name(events.name.removesuffix(FILE_ENDING) + STEPS_ENDING)
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            return float(json.loads(file.read().splitlines()[-1])["time"]) + STEP / 2
    except (OSError, ValueError, LookupError, TypeError):
        return 0.0
