"""`playspot report`: one page for an archive, of the events that were found in it."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from .archive import Archive
from .archive_media import MediaFolders, media_length
from .archive_reader import DATABASE_ENDINGS, ArchiveError, OnFile, read_archive
from .jsonl import check_writable, output_error
from .one_line import shown_path
from .report_page import Written, page
from .table import print_line
from .whole_file import whole_file

MAX_NOTES = 20  # told on the terminal


def report(
    events: Annotated[
        list[Path],
        typer.Argument(help="Files of events (.events.jsonl, .jsonl, .sqlite), or folders."),
    ],
    out: Annotated[Path, typer.Option(help="The page.")] = Path("report.html"),
    media: Annotated[
        list[Path] | None,
        typer.Option(help="Folder to search for the videos, where they are not beside the events."),
    ] = None,
    thumbnails: Annotated[
        int, typer.Option(min=0, max=100, help="Pictures of a file, of its best parts.")
    ] = 12,
    title: Annotated[str, typer.Option(help="Of the page.")] = "What was played",
    as_json: Annotated[bool, typer.Option("--json", help="Print the totals as JSON.")] = False,
) -> None:
    """Make one page of an archive: what was played, when, with pictures and links to the second.

    Example: playspot report recordings --out report.html
    """
    people = Console(stderr=True, highlight=False)
    for folder in media or []:
        if not folder.is_dir():
            raise ArchiveError(f"{shown_path(folder)}: no such folder; check --media.")
    check_writable(out.parent)
    if out.is_dir():
        raise ArchiveError(f"{shown_path(out)}: is a folder; name a file with --out.")
    if out.suffix in (".jsonl", *DATABASE_ENDINGS):
        raise ArchiveError(f"{shown_path(out)}: would replace events; name a page, such as a.html.")
    with _progress(people, "reading events") as on_file:
        archive = read_archive(events, on_file=on_file)
    _find_media(archive, MediaFolders(media or []))
    written = Written()
    with _progress(people, "taking pictures") as on_section:
        pieces = page(
            archive,
            out.parent,
            written,
            title=title,
            n_thumbnails=thumbnails,
            on_section=on_section,
        )
        n_bytes = _write(out, pieces)
    if as_json:
        print(json.dumps(_totals(archive, written, out, n_bytes)))
    for note in archive.notes[:MAX_NOTES]:
        print_line(people, f"note: {note}")
    if len(archive.notes) > MAX_NOTES:
        print_line(people, f"note: and {len(archive.notes) - MAX_NOTES} more")
    if written.n_missing:
        print_line(
            people,
            f"note: the videos of {written.n_missing} files were not found: no pictures and links "
            "there; name their folder with --media",
        )
    print_line(
        people,
        f"wrote {shown_path(out)}: {len(archive.sections)} files and days, {archive.n_parts} "
        f"parts, {written.n_pictures} pictures, {n_bytes / 1e6:.1f} MB",
    )


def _find_media(archive: Archive, folders: MediaFolders) -> None:
    for section in archive.sections:
        section.media = folders.of(section)
        if section.media is not None:
            section.length = max(section.length, media_length(section.media))


def _write(out: Path, pieces: Iterable[str]) -> int:
    try:
        with whole_file(out) as partial, partial.open("wb") as file:
            for piece in pieces:
                # A name that is not valid text comes with lone surrogates, which UTF-8 lacks.
                file.write(piece.encode("utf-8", "replace"))
            return file.tell()
    except OSError as error:
        raise output_error(out, error) from None


def _totals(archive: Archive, written: Written, out: Path, n_bytes: int) -> dict[str, Any]:
    length = archive.length
    return {
        "out": str(out),
        "bytes": n_bytes,
        "files": sum(section.day is None for section in archive.sections),
        "live_sources": len({s.name for s in archive.sections if s.day is not None}),
        "seconds": round(length, 3),
        "events": archive.n_events,
        "broken_lines": archive.n_broken,
        "parts": archive.n_parts,
        "pictures": written.n_pictures,
        "files_without_video": written.n_missing,
        "instruments": {
            label: {
                "parts": total.n,
                "seconds": round(total.seconds, 3),
                "share": round(total.seconds / length, 4) if length else 0.0,
                "top_score": total.top_score,
            }
            for label, total in archive.totals().items()
        },
        "notes": archive.notes,
    }


@contextmanager
def _progress(console: Console, what: str) -> Iterator[OnFile]:
    if not console.is_terminal:
        yield lambda done, of: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)
