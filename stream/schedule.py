"""Schedules: when a source is watched, such as "Mon-Fri 08:00-18:00", in local time.

A text is days, hours, or both: `Mon-Fri 08:00-18:00`, `Sat,Sun`, `22:00-02:00` (over midnight; it
belongs to the day on which it begins). Several texts add up. Local times become instants, so the
clocks' change to and from summer time leaves no break and no doubt: an hour that comes twice is
watched twice, and a time that is skipped is the moment of the change.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .nearest import nearest

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SHORT_DAYS = tuple(day[:3] for day in DAYS)
DAY_MINUTES = 24 * 60
HORIZON = 15  # days to look ahead: a week, and another if summer time skips the only hour of one
EXAMPLE = 'write it as "Mon-Fri 08:00-18:00", "Sat,Sun" or "22:00-02:00"'
_HOURS = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})", re.ASCII)


@dataclass(frozen=True)
class Hours:
    """One text of a schedule.

    Attributes
    ----------
    days : frozenset of int
        On which it begins, Monday is 0.
    start, end : int
        Minutes from midnight; `end` is above 1440 where it lies in the next day.
    """

    days: frozenset[int]
    start: int
    end: int


class Schedule:
    """When a source is watched.

    Parameters
    ----------
    texts : iterable of str
        Always when empty.
    timezone : str, optional
        Such as "Europe/Berlin"; the machine's if not given.

    Raises
    ------
    ValueError
        If a text or the time zone makes no sense.

    Examples
    --------
    >>> schedule = Schedule(["Mon-Fri 08:00-18:00"], "Europe/Berlin")
    >>> friday = datetime(2026, 11, 20, 16, 59, tzinfo=UTC)  # 17:59 in Berlin
    >>> schedule.is_on(friday), schedule.next_change(friday).isoformat()
    (True, '2026-11-20T18:00:00+01:00')
    """

    def __init__(self, texts: Iterable[str], timezone: str | None = None) -> None:
        self._hours = [parse_hours(text) for text in texts]
        self._zone = ZoneInfo(timezone) if timezone else local_timezone() if self._hours else UTC

    def is_on(self, now: datetime) -> bool:
        """Return whether the source is watched at an instant (a datetime with a time zone)."""
        now = _utc(now)
        return not self._hours or any(start <= now < end for start, end in self._spans(now))

    def next_change(self, now: datetime) -> datetime | None:
        """Return when `is_on` next becomes another, in local time; None if it never does."""
        now = _utc(now)
        last = now + timedelta(days=HORIZON)
        for start, end in self._spans(now) if self._hours else ():
            if end > now:
                change = end if start <= now else start
                return change.astimezone(self._zone) if change < last else None
        return None

    def _spans(self, now: datetime) -> list[tuple[datetime, datetime]]:
        """Return when it is on, from before `now` to after the horizon, apart and in order."""
        today = now.astimezone(self._zone).date()
        spans: list[tuple[datetime, datetime]] = []
        for day in (today + timedelta(days=n) for n in range(-2, HORIZON + 3)):
            for hours in self._hours:
                if day.weekday() in hours.days:
                    start = _instant(day, hours.start, self._zone, is_end=False)
                    spans.append((start, _instant(day, hours.end, self._zone, is_end=True)))
        joined: list[tuple[datetime, datetime]] = []
        for start, end in sorted(spans):
            if joined and start <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
            elif start < end:
                joined.append((start, end))
        return joined


def parse_hours(text: str) -> Hours:
    """Return what one text of a schedule says.

    Raises
    ------
    ValueError
        Naming what is wrong and what to write.

    Examples
    --------
    >>> hours = parse_hours("Fri-Sun 22:00-02:00")
    >>> sorted(hours.days), hours.start, hours.end
    ([4, 5, 6], 1320, 1560)
    """
    words = re.sub(r"\s*([,-])\s*", r"\1", text.strip()).split()
    if not 1 <= len(words) <= 2:
        raise ValueError(f"{text!r} is not days and hours; {EXAMPLE}")
    days, start, end = frozenset(range(7)), 0, DAY_MINUTES
    if len(words) == 2 or not words[0][0].isdigit():
        days = _days(words[0], text)
    if len(words) == 2 or words[0][0].isdigit():
        start, end = _minutes(words[-1], text)
    return Hours(days, start, end)


def local_timezone() -> tzinfo:
    """Return the machine's time zone: $TZ, else /etc/localtime, else UTC.

    Raises
    ------
    ValueError
        If $TZ names no zone that is known here.
    """
    name = os.environ.get("TZ", "").lstrip(":")
    path = Path(name or "/etc/localtime")
    try:
        if path.is_absolute():
            with path.open("rb") as file:
                return ZoneInfo.from_file(file, key=name or None)
        return ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        if not name:
            return UTC  # as the C library does
        raise ValueError(
            f"TZ={name!r} is not a time zone that is known here; set `timezone`, such as "
            "Europe/Berlin, in the configuration"
        ) from None


def _days(word: str, text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in word.split(","):
        ends = [_day(name, text) for name in part.split("-")]
        if len(ends) > 2:
            raise ValueError(f"{text!r}: {part!r} is not a range of days; {EXAMPLE}")
        days |= {(ends[0] + n) % 7 for n in range((ends[-1] - ends[0]) % 7 + 1)}
    return frozenset(days)


def _day(name: str, text: str) -> int:
    for names in (SHORT_DAYS, DAYS):
        if name.lower() in names:
            return names.index(name.lower())
    hint = nearest(name, (day.title() for day in SHORT_DAYS + DAYS), EXAMPLE)
    raise ValueError(f"{text!r}: {name!r} is not a day of the week; {hint}")


def _minutes(word: str, text: str) -> tuple[int, int]:
    match = _HOURS.fullmatch(word)
    if not match:
        raise ValueError(f"{text!r}: {word!r} is not hours such as 08:00-18:00; {EXAMPLE}")
    hour0, minute0, hour1, minute1 = map(int, match.groups())
    start, end = hour0 * 60 + minute0, hour1 * 60 + minute1
    if max(minute0, minute1) > 59 or start >= DAY_MINUTES or end > DAY_MINUTES:
        raise ValueError(f"{text!r}: {word!r} is beyond 00:00 to 24:00")
    if start == end:
        raise ValueError(f"{text!r}: {word!r} is no time at all; the whole day is 00:00-24:00")
    return start, end if end > start else end + DAY_MINUTES


def _utc(now: datetime) -> datetime:
    if now.tzinfo is None:
        raise ValueError(f"{now} has no time zone; give datetime.now(UTC)")
    return now.astimezone(UTC)


def _instant(day: date, minutes: int, zone: tzinfo, *, is_end: bool) -> datetime:
    """Return the instant (UTC) of a local time; of one that comes twice the first begins."""
    local = datetime.combine(day, datetime.min.time()) + timedelta(minutes=minutes)
    early, late = sorted(local.replace(tzinfo=zone, fold=f).astimezone(UTC) for f in (0, 1))
    if early == late:
        return early
    if early.astimezone(zone).replace(tzinfo=None) == local:
        return late if is_end else early
    return _change(early, late, zone)  # skipped


def _change(early: datetime, late: datetime, zone: tzinfo) -> datetime:
    """Return the moment between two instants at which the clocks change, to the second."""
    before = early.astimezone(zone).utcoffset()
    while late - early > timedelta(seconds=1):
        middle = early + (late - early) / 2
        if middle.astimezone(zone).utcoffset() == before:
            early = middle
        else:
            late = middle
    return late.replace(microsecond=0)
