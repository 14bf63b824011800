"""An archive as one HTML page that needs nothing else: style, script and pictures are in it.

In: the archive, and where its videos are. Out: a page that loads nothing from anywhere, and can be
read without its script. It is written section by section, so that the pictures of a large archive
never lie in memory together. The same archive gives the same bytes.
"""

import base64
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from .archive import Archive, PlayedPart, Section
from .archive_media import thumbnails
from .drawing import web_colour
from .played import time_text
from .report_timeline import best_parts, escaped, moment_text, timeline
from .table import place_text

MAX_LISTED = 20_000  # parts in all lists together
MAX_LISTED_EACH = 500  # of a section
MAX_BARS = 30_000  # in all timelines together
MAX_BARS_EACH = 600
MAX_PICTURES = 2_000  # together, about 25 MB
FOLDER = Path(__file__).parent

OnSection = Callable[[int, int], None]  # sections done, of so many


@dataclass
class Written:
    """What came of a page."""

    n_pictures: int = 0
    n_missing: int = 0  # sections of a file that was not found


def fair_share(wanted: Sequence[int], most: int) -> int:
    """Return the highest limit for each that keeps the sum of all within `most`; 1 at least.

    Examples
    --------
    >>> fair_share([100, 3, 100], 23), fair_share([2, 3], 100)
    (10, 3)
    """
    low, high = 1, max([1, *wanted])
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(n, middle) for n in wanted) <= most:
            low = middle
        else:
            high = middle - 1
    return low


def page(
    archive: Archive,
    folder: Path,
    written: Written,
    *,
    title: str = "",
    n_thumbnails: int = 12,
    on_section: OnSection = lambda done, of: None,
) -> Iterator[str]:
    """Yield the page, piece by piece.

    Parameters
    ----------
    archive : Archive
    folder : Path
        In which the page will lie: links to videos are relative to it.
    written : Written
        Counts what was written.
    title : str
    n_thumbnails : int
        Pictures of a section, of its best parts.
    on_section : callable
        Called after each section.
    """
    heard = [section for section in archive.sections if section.parts]
    totals = archive.totals()
    classes = {label: f"l{i}" for i, label in enumerate(sorted(totals))}
    counts = [len(section.parts) for section in heard]
    limits = _Limits(
        fair_share([min(n, MAX_LISTED_EACH) for n in counts], MAX_LISTED),
        fair_share([min(n, MAX_BARS_EACH) for n in counts], MAX_BARS),
        min(n_thumbnails, fair_share([min(n, n_thumbnails) for n in counts], MAX_PICTURES)),
    )
    title = title or "What was played"
    yield _head(title, classes)
    yield from _summary(title, archive, classes)
    yield _filter(classes, len(heard))
    yield "<main>\n"
    for i, section in enumerate(heard):
        yield from _section(section, folder, classes, limits, written)
        on_section(i + 1, len(heard))
    yield _quiet([section for section in archive.sections if not section.parts])
    yield "</main>\n"
    yield _foot(archive, written)


@dataclass(frozen=True)
class _Limits:
    listed: int
    bars: int
    pictures: int


def _asset(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _head(title: str, classes: dict[str, str]) -> str:
    style = _asset("report_page.css") + "".join(
        f".{class_}{{--c:{web_colour(label)}}}\n" for label, class_ in classes.items()
    )
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; "
        f"script-src {_hash(_asset('report_page.js'))}; base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<meta name="generator" content="playspot">\n'
        f"<title>{escaped(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
    )


def _summary(title: str, archive: Archive, classes: dict[str, str]) -> Iterator[str]:
    n_files = sum(section.day is None for section in archive.sections)
    sources = {section.name for section in archive.sections if section.day is not None}
    days = {section.day for section in archive.sections if section.day is not None}
    facts = [_number(n_files, "file")] if n_files else []
    facts += [_number(len(sources), "live source"), _number(len(days), "day")] if sources else []
    facts += [long_text(archive.length), _number(archive.n_parts, "part")]
    yield f'<header>\n<h1>{escaped(title)}</h1>\n<p class="dim">{", ".join(facts)}</p>\n'
    if archive.notes:
        notes = "".join(f"<li>{escaped(note)}</li>" for note in archive.notes[:20])
        more = len(archive.notes) - 20
        notes += f"<li>and {more} more notes</li>" if more > 0 else ""
        yield f'<div class="notes"><b>To know</b><ul>{notes}</ul></div>\n'
    totals = archive.totals()
    if not totals:
        yield "<p>Nothing was played.</p>\n</header>\n"
        return
    yield (
        '<table class="totals">\n<thead><tr><th>instrument</th><th class="number">parts</th>'
        '<th class="number">together</th><th class="number">share</th>'
        '<th class="number best">best score</th><th></th></tr></thead>\n<tbody>\n'
    )
    longest = max(total.seconds for total in totals.values())
    for label, total in totals.items():
        share = 100 * total.seconds / archive.length if archive.length else 0.0
        width = 100 * total.seconds / longest if longest else 0.0
        yield (
            f'<tr class="{classes[label]}"><td class="swatch">{escaped(label)}</td>'
            f'<td class="number">{total.n}</td>'
            f'<td class="number">{time_text(total.seconds)}</td>'
            f'<td class="number">{share:.1f} %</td>'
            f'<td class="number best">{total.top_score:.2f}</td>'
            f'<td class="share"><svg aria-hidden="true"><rect width="{width:.2f}%" height="14" '
            'rx="3"/></svg></td></tr>\n'
        )
    yield "</tbody>\n</table>\n</header>\n"


def _filter(classes: dict[str, str], n_sections: int) -> str:
    if not classes:
        return ""
    boxes = "".join(
        f'<label class="{class_}"><input type="checkbox" data-l="{class_}" checked>'
        f"{escaped(label)}</label>"
        for label, class_ in classes.items()
    )
    name = '<input type="search" name="words" placeholder="name of a file" aria-label="Name">'
    return (
        f'<form id="filter" hidden>{name if n_sections > 1 else ""}'
        f'<div class="labels" role="group" aria-label="Instruments">{boxes}</div>'
        '<label>score from <output>0.00</output> <input type="range" name="least" min="0" '
        'max="100" step="1" value="0"></label><span id="shown" role="status"></span></form>\n'
    )


def _section(
    section: Section,
    folder: Path,
    classes: dict[str, str],
    limits: _Limits,
    written: Written,
) -> Iterator[str]:
    name = section.name if section.day is None else f"{section.name}, {section.day}"
    facts = [
        long_text(section.length) if section.day is None else _span(section),
        _number(len(section.parts), "part"),
    ]
    address = ""
    if section.media is not None:
        address = _address(section.media, folder)
        facts.append(f'<a href="{address}">{escaped(section.media.name)}</a>')
    elif section.day is None:
        written.n_missing += 1
        facts.append("the video was not found: no pictures, no links")

    def link(time: float) -> str:
        return f"{address}#t={max(0.0, time):.1f}" if address else ""

    yield (
        f'<section class="file" data-name="{escaped(name.lower())}">\n<h2>{escaped(name)}</h2>\n'
        f'<p class="meta">{", ".join(facts)}</p>\n'
    )
    yield timeline(section, classes, link, limits.bars) + "\n"
    yield from _moments(section, classes, link, limits.pictures, written)
    yield from _list(section, classes, link, limits.listed)
    yield "</section>\n"


def _moments(
    section: Section,
    classes: dict[str, str],
    link: Callable[[float], str],
    most: int,
    written: Written,
) -> Iterator[str]:
    most = min(most, MAX_PICTURES - written.n_pictures)
    if section.media is None or most <= 0:
        return
    best = _pictured(section.parts, most)
    is_open = False
    pictures = thumbnails(section.media, [part.top_time for part in best])
    for part, picture in zip(best, pictures, strict=True):
        if picture is None:
            continue
        written.n_pictures += 1
        if not is_open:
            yield '<div class="moments">\n'
            is_open = True
        yield _moment(section, part, classes[part.label], link(part.start), picture)
    if is_open:
        yield "</div>\n"


def _pictured(parts: Sequence[PlayedPart], most: int) -> list[PlayedPart]:
    # The best of each instrument, then the best of all.
    best: dict[str, PlayedPart] = {}
    for part in sorted(parts, key=lambda part: (-part.top_score, part.start, part.id)):
        best.setdefault(part.label, part)
    chosen = best_parts([*best.values()], most)
    ids = {part.id for part in chosen}
    chosen += best_parts([part for part in parts if part.id not in ids], most - len(chosen))
    return sorted(chosen, key=lambda part: (part.top_time, part.label, part.id))


def _moment(section: Section, part: PlayedPart, class_: str, address: str, jpeg: bytes) -> str:
    when = moment_text(section, part.top_time)
    box = ""
    if part.box is not None:
        x0, y0, x1, y1 = part.box
        place = f'x="{x0:.4f}" y="{y0:.4f}" width="{x1 - x0:.4f}" height="{y1 - y0:.4f}"'
        box = (
            '<svg viewBox="0 0 1 1" preserveAspectRatio="none" aria-hidden="true">'
            f'<rect class="under" {place}/><rect class="over" {place}/></svg>'
        )
    data = base64.b64encode(jpeg).decode()
    alt = escaped(f"{part.label} at {when}, {place_text(part.point)}")
    return (
        f'<figure class="moment {class_}" data-s="{round(100 * part.top_score)}">'
        f'<a href="{address}"><span class="picture">'
        f'<img src="data:image/jpeg;base64,{data}" alt="{alt}">{box}</span>'
        f'<figcaption><b class="swatch">{escaped(part.label)}</b> '
        f"<span>{when} · {part.top_score:.2f}</span></figcaption></a></figure>\n"
    )


def _list(
    section: Section, classes: dict[str, str], link: Callable[[float], str], most: int
) -> Iterator[str]:
    listed = best_parts(section.parts, most)
    what = f"List of {_number(len(section.parts), 'part')}"
    if len(listed) < len(section.parts):
        what = f"List of the best {len(listed)} of {len(section.parts)} parts"
    yield (
        f"<details><summary>{what}</summary>\n"
        '<table class="parts"><thead><tr><th>instrument</th><th class="number">from</th>'
        '<th class="number">to</th><th class="number">seconds</th><th class="number">score</th>'
        '<th class="where">where</th></tr></thead>\n<tbody>\n'
    )
    for part in listed:
        start, end = (moment_text(section, t) for t in (part.start, part.end))
        address = link(part.start)
        start = f'<a href="{address}">{start}</a>' if address else start
        is_open = "" if part.is_over else " <small>(no end)</small>"
        yield (
            f'<tr class="part {classes[part.label]}" data-s="{round(100 * part.top_score)}">'
            f'<td class="swatch">{escaped(part.label)}</td><td class="number">{start}</td>'
            f'<td class="number">{end}{is_open}</td>'
            f'<td class="number">{part.end - part.start:.1f}</td>'
            f'<td class="number">{part.top_score:.2f}</td>'
            f'<td class="where">{place_text(part.point)}</td></tr>\n'
        )
    yield "</tbody></table></details>\n"


def _quiet(sections: Sequence[Section]) -> str:
    if not sections:
        return ""
    names = "".join(f"<li>{escaped(section.name)}</li>" for section in sections[:MAX_LISTED])
    return (
        f"<section><h2>Nothing was played in {_number(len(sections), 'file')}</h2>"
        f'<ul class="quiet">{names}</ul></section>\n'
    )


def _foot(archive: Archive, written: Written) -> str:
    lines = ["Share: of the time of all files, in which the instrument is played at least once."]
    if any(section.day is not None for section in archive.sections):
        lines.append(
            "Of a live source, from its first start to its last end of the day; times of day are "
            "those of the machine that made this page."
        )
    if written.n_pictures >= MAX_PICTURES:
        lines.append(f"A page has at most {MAX_PICTURES} pictures; the last files have none.")
    lines.append("Scores: 0.5 is as likely as not. Made by playspot report.")
    script = _asset("report_page.js")
    return (
        f"<footer><p>{' '.join(lines)}</p></footer>\n<script>{script}</script>\n</body>\n</html>\n"
    )


def _address(path: Path, folder: Path) -> str:
    try:
        relative = os.path.relpath(path.absolute(), folder.absolute())
    except ValueError:  # on another drive
        return escaped(path.absolute().as_uri())
    # Each part on its own, so that no name can be taken for a protocol or a fragment.
    return "/".join(quote(os.fsencode(part), safe="") for part in Path(relative).parts)


def _span(section: Section) -> str:
    ends = section.parts[0].start, max(part.end for part in section.parts)
    return " to ".join(moment_text(section, t, decimals=0) for t in ends)


def _number(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}".replace(",", "\u202f")


def long_text(seconds: float) -> str:
    """Return a length as people say it.

    Examples
    --------
    >>> long_text(59.6), long_text(754), long_text(45_000)
    ('1 min 0 s', '12 min 34 s', '12 h 30 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
