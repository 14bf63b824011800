"""The timeline of a section of an archive as SVG: a row an instrument, time from left to right.

Positions across are percentages, so that it fits any width while its text keeps its size. Each bar
tells what it stands for when it is pointed at or has the focus, without any script.
"""

import html
from collections.abc import Callable, Sequence

from .archive import PlayedPart, Section
from .one_line import printable
from .played import time_text

ROW = 22  # px
TOP = 18  # px, for what is told of a bar
BOTTOM = 20  # px, for the times
MAX_LANES = 3
MIN_SHARE = 0.2  # % of the width that the shortest bar takes
FINE = 10_000  # places across, of parts that are drawn only
SPACINGS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
MAX_TICKS = 8

Link = Callable[[float], str]  # media time -> address, "" for none


def clock_text(seconds: float, *, decimals: int = 0) -> str:
    """Return the time of day of seconds since midnight.

    Examples
    --------
    >>> clock_text(45_296.25, decimals=1), clock_text(0)
    ('12:34:56.2', '00:00:00')
    """
    units = round(seconds * 10**decimals)
    whole, rest = divmod(units, 10**decimals)
    hours, minutes = divmod(whole // 60, 60)
    tail = f".{rest:0{decimals}d}" if decimals else ""
    return f"{hours % 24:02d}:{minutes:02d}:{whole % 60:02d}{tail}"


def moment_text(section: Section, seconds: float, *, decimals: int = 1) -> str:
    """Return a moment of a section: media time of a file, the time of day of a live source."""
    text = clock_text if section.day is not None else time_text
    return text(seconds, decimals=decimals)


def timeline(section: Section, classes: dict[str, str], link: Link, most: int) -> str:
    """Return the timeline of a section as HTML: names beside an SVG.

    Parameters
    ----------
    section : Section
        With at least one part.
    classes : dict
        Label to the class that has its colour.
    link : callable
        Start of a part to an address.
    most : int
        Parts that tell what they are; the best. The others are drawn only.
    """
    told = {part.id for part in best_parts(section.parts, most)}
    labels = [label for label in classes if any(p.label == label for p in section.parts)]
    height = TOP + ROW * len(labels) + BOTTOM
    drawn = [_ticks(section, height)]
    for row, label in enumerate(labels):
        y = TOP + row * ROW
        drawn.append(f'<line class="row" x2="100%" y1="{y + ROW}" y2="{y + ROW}"/>')
        own = [part for part in section.parts if part.label == label]
        drawn.append(_rest([part for part in own if part.id not in told], section, classes, y))
        shown = [part for part in own if part.id in told]
        for part, lane, n_lanes in in_lanes(shown):
            high = (ROW - 8) / n_lanes
            x, width = _across(part, section)
            drawn.append(
                _opened(part, section, classes[label], link(part.start))
                + f'<rect x="{x:.2f}%" y="{y + 4 + lane * high:.1f}" width="{width:.2f}%" '
                f'height="{high - 0.5:.1f}" rx="2"/></a>'
            )
    names = "".join(f'<span class="{classes[label]}">{escaped(label)}</span>' for label in labels)
    title = escaped(f"Timeline of {section.name}{' on ' + section.day if section.day else ''}")
    return (
        f'<div class="timeline"><div class="names" aria-hidden="true">{names}</div>'
        f'<svg role="group" aria-label="{title}" height="{height}">{"".join(drawn)}</svg></div>'
    )


def best_parts(parts: Sequence[PlayedPart], most: int) -> list[PlayedPart]:
    """Return the parts with the best scores, in the order of time."""
    best = sorted(parts, key=lambda part: (-part.top_score, part.start, part.id))[:most]
    return sorted(best, key=lambda part: (part.start, part.label, part.id))


def in_lanes(parts: Sequence[PlayedPart]) -> list[tuple[PlayedPart, int, int]]:
    """Return each part with its lane and the lanes at its place: overlapping ones share a row.

    Parameters
    ----------
    parts : sequence of PlayedPart
        Of one instrument, in the order of time.

    Examples
    --------
    >>> drum = [PlayedPart("a", "drum", t, t + 2, 0.9, t, None, None) for t in (0, 1, 9)]
    >>> [(part.start, lane, n) for part, lane, n in in_lanes(drum)]
    [(0, 0, 2), (1, 1, 2), (9, 0, 1)]
    """
    placed: list[tuple[PlayedPart, int, int]] = []
    together: list[tuple[PlayedPart, int]] = []
    ends: list[float] = []  # of each lane
    for part in parts:
        if all(end <= part.start for end in ends):
            placed += [(other, lane, len(ends)) for other, lane in together]
            together, ends = [], []
        lane = next((i for i, end in enumerate(ends) if end <= part.start), len(ends))
        lane = min(lane, MAX_LANES - 1)
        ends[lane : lane + 1] = [part.end]
        together.append((part, lane))
    return placed + [(other, lane, len(ends)) for other, lane in together]


def escaped(text: str) -> str:
    r"""Return text as it may stand in HTML, in attributes as well; control characters as `?`.

    Examples
    --------
    >>> escaped('"><script>\x00')
    '&quot;&gt;&lt;script&gt;?'
    """
    return html.escape(printable(text))


def _opened(part: PlayedPart, section: Section, class_: str, address: str) -> str:
    span = " to ".join(moment_text(section, t) for t in (part.start, part.end))
    tip = f"{part.label} {span}, best {part.top_score:.2f}"
    target = f'href="{address}"' if address else 'tabindex="0" role="img"'
    return (
        f'<a class="bar {class_}" data-s="{round(100 * part.top_score)}" {target}>'
        f'<text x="100%" y="12">{escaped(tip)}</text>'
    )


def _rest(parts: list[PlayedPart], section: Section, classes: dict[str, str], y: int) -> str:
    # One shape for all of them: a part takes twenty letters.
    if not parts:
        return ""
    shape = []
    for part in parts:
        x, width = (round(FINE * share / 100) for share in _across(part, section))
        shape.append(f"M{x} 0h{width}v1h-{width}z")
    score = max(round(100 * part.top_score) for part in parts)
    class_ = f"rest {classes[parts[0].label]}"
    return (
        f'<svg y="{y + 4}" height="{ROW - 8}" viewBox="0 0 {FINE} 1" preserveAspectRatio="none">'
        f'<path class="{class_}" data-s="{score}" d="{"".join(shape)}"/></svg>'
    )


def _across(part: PlayedPart, section: Section) -> tuple[float, float]:
    # Left end and width, % of the timeline.
    first, last = section.ends
    left, right = (_share(t, first, last) for t in (part.start, part.end))
    width = max(MIN_SHARE, right - left)
    return min(left, 100 - width), width


def _share(seconds: float, first: float, last: float) -> float:
    return min(max(100 * (seconds - first) / (last - first), 0.0), 100.0)


def _ticks(section: Section, height: int) -> str:
    first, last = section.ends
    spacing = next((s for s in SPACINGS if (last - first) / s <= MAX_TICKS), SPACINGS[-1])
    lines = []
    n = int(first // spacing)
    while n * spacing <= last:
        if n * spacing >= first:
            x = _share(n * spacing, first, last)
            anchor = "start" if x < 3 else "end" if x > 94 else "middle"
            # Every other time has no room on a telephone.
            minor = ' class="minor"' if n % 2 else ""
            lines.append(
                f'<line class="tick" x1="{x:.2f}%" x2="{x:.2f}%" y1="{TOP}" y2="{height - 16}"/>'
                f'<text{minor} x="{x:.2f}%" y="{height - 4}" text-anchor="{anchor}">'
                f"{_tick_text(section, n * spacing, spacing)}</text>"
            )
        n += 1
    return "".join(lines)


def _tick_text(section: Section, seconds: float, spacing: float) -> str:
    text = moment_text(section, seconds, decimals=0)
    return text[:5] if section.day is not None and spacing >= 60 else text
