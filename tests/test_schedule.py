"""Schedules: when a source is watched, in local time, over midnight and over the clocks' change."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from playspot.stream.schedule import Schedule, local_timezone, parse_hours

BERLIN = ZoneInfo("Europe/Berlin")  # 2026: summer time from 29 March 02:00 to 25 October 03:00


def berlin(day: int, hour: int, minute: int = 0, *, month: int = 11, fold: int = 0) -> datetime:
    """Return a local time of 2026; 16 November is a Monday."""
    return datetime(2026, month, day, hour, minute, tzinfo=BERLIN, fold=fold)


@pytest.mark.parametrize(
    ("text", "days", "start", "end"),
    [
        ("Mon-Fri 08:00-18:00", {0, 1, 2, 3, 4}, 480, 1080),
        ("Sat,Sun 10:00-24:00", {5, 6}, 600, 1440),
        ("22:00-02:00", set(range(7)), 1320, 1560),
        ("Mon", {0}, 0, 1440),
        ("Fri-Mon", {4, 5, 6, 0}, 0, 1440),
        ("Mon,Wed-Thu 8:30-9:00", {0, 2, 3}, 510, 540),
        ("  monday , SUN   00:00 - 24:00 ", {0, 6}, 0, 1440),
        ("20:00-00:00", set(range(7)), 1200, 1440),
    ],
)
def test_a_text_is_days_and_hours(text: str, days: set[int], start: int, end: int) -> None:
    hours = parse_hours(text)
    assert (set(hours.days), hours.start, hours.end) == (days, start, end)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not days and hours; write it as"),
        ("Mno 08:00-18:00", "'Mno' is not a day of the week; did you mean 'Mon'"),
        ("weekdays", "'weekdays' is not a day"),
        ("Mon 8-18", "'8-18' is not hours such as 08:00-18:00"),
        ("Mon 08:00-25:00", "beyond 00:00 to 24:00"),
        ("Mon 24:00-02:00", "beyond"),
        ("08:60-09:00", "beyond"),
        ("Mon 08:00-08:00", "no time at all; the whole day is 00:00-24:00"),
        ("Mon-Wed-Fri", "not a range of days"),
        ("08:00-18:00 Mon", "is not a day"),
        ("Mon 08:00-18:00 UTC", "is not days and hours"),
        ("Mon ٠٨:00-18:00", "is not hours"),
    ],
)
def test_a_text_that_makes_no_sense_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Schedule([text], "UTC")


def test_without_texts_it_is_always_on() -> None:
    assert Schedule([]).is_on(datetime.now(UTC))
    assert Schedule([]).next_change(datetime.now(UTC)) is None


def test_a_week_without_a_gap_never_changes() -> None:
    schedule = Schedule(["Mon-Fri", "Sat,Sun 00:00-12:00", "Sat,Sun 12:00-24:00"], "Europe/Berlin")
    assert schedule.is_on(berlin(18, 3))
    assert schedule.next_change(berlin(18, 3)) is None


def test_working_hours_begin_and_end() -> None:
    schedule = Schedule(["Mon-Fri 08:00-18:00"], "Europe/Berlin")
    assert [schedule.is_on(berlin(16, 7, 59)), schedule.is_on(berlin(16, 8))] == [False, True]
    assert [schedule.is_on(berlin(16, 17, 59)), schedule.is_on(berlin(16, 18))] == [True, False]
    assert schedule.next_change(berlin(16, 8)) == berlin(16, 18)
    assert schedule.next_change(berlin(16, 7)) == berlin(16, 8)
    assert schedule.next_change(berlin(20, 18)) == berlin(23, 8)  # over the weekend


def test_a_night_belongs_to_the_day_on_which_it_begins() -> None:
    schedule = Schedule(["Fri 22:00-02:00"], "Europe/Berlin")
    assert schedule.is_on(berlin(20, 23))
    assert schedule.is_on(berlin(21, 1, 59))
    assert not schedule.is_on(berlin(21, 2))
    assert not schedule.is_on(berlin(20, 1))  # the night to Friday
    assert not schedule.is_on(berlin(21, 23))


def test_texts_add_up_and_what_touches_is_one() -> None:
    schedule = Schedule(["Sat 20:00-24:00", "Sun 00:00-03:00", "Sun 02:00-04:00"], "Europe/Berlin")
    assert schedule.next_change(berlin(21, 21)) == berlin(22, 4)


def test_the_time_zone_is_the_schedules_not_the_clocks() -> None:
    schedule = Schedule(["08:00-18:00"], "America/New_York")
    assert not schedule.is_on(datetime(2026, 11, 16, 12, 59, tzinfo=UTC))
    assert schedule.is_on(datetime(2026, 11, 16, 13, 0, tzinfo=UTC))


def test_the_next_change_is_told_in_local_time() -> None:
    change = Schedule(["08:00-18:00"], "Europe/Berlin").next_change(berlin(16, 12).astimezone(UTC))
    assert change is not None
    assert change.isoformat() == "2026-11-16T18:00:00+01:00"


def test_a_day_of_23_hours_is_whole() -> None:
    schedule = Schedule(["Sun"], "Europe/Berlin")
    start, end = berlin(29, 0, month=3), berlin(30, 0, month=3)
    assert schedule.next_change(start - timedelta(minutes=1)) == start
    assert schedule.next_change(start) == end
    assert end.astimezone(UTC) - start.astimezone(UTC) == timedelta(hours=23)


def test_an_hour_that_comes_twice_is_watched_twice_without_a_break() -> None:
    schedule = Schedule(["01:00-02:30"], "Europe/Berlin")
    first, second = (berlin(25, 2, 30, month=10, fold=fold) for fold in (0, 1))
    now = berlin(25, 1, month=10)
    while now.astimezone(UTC) < second.astimezone(UTC):
        assert schedule.is_on(now)
        now = (now.astimezone(UTC) + timedelta(minutes=10)).astimezone(BERLIN)
    assert not schedule.is_on(second)
    change = schedule.next_change(first)
    assert change is not None
    assert change.astimezone(UTC) == second.astimezone(UTC)


def test_a_start_within_the_doubled_hour_is_the_first_of_the_two() -> None:
    schedule = Schedule(["02:30-05:00"], "Europe/Berlin")
    assert schedule.next_change(berlin(25, 0, month=10)) == berlin(25, 2, 30, month=10, fold=0)


def test_a_time_that_is_skipped_is_the_moment_of_the_change() -> None:
    change = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)  # 02:00 becomes 03:00
    starts = Schedule(["02:30-05:00"], "Europe/Berlin")
    assert starts.next_change(berlin(29, 0, month=3)) == change
    ends = Schedule(["22:00-02:30"], "Europe/Berlin")
    assert ends.next_change(berlin(28, 23, month=3)) == change


def test_hours_that_are_skipped_whole_do_not_come() -> None:
    schedule = Schedule(["Sun 02:10-02:50"], "Europe/Berlin")
    now = berlin(29, 0, month=3)
    assert schedule.next_change(now) == berlin(5, 2, 10, month=4)
    assert not any(schedule.is_on(now + timedelta(minutes=n)) for n in range(0, 360, 5))


def test_midnight_itself_may_be_skipped() -> None:
    schedule = Schedule(["Fri"], "Africa/Cairo")  # summer time begins at 00:00 of 24 April 2026
    start = datetime(2026, 4, 23, 22, 0, tzinfo=UTC)
    assert schedule.next_change(start - timedelta(hours=1)) == start
    assert schedule.next_change(start) == start + timedelta(hours=23)


@pytest.mark.parametrize("text", ["Mon-Fri 08:00-18:00", "22:00-02:30", "Sun 02:10-03:10"])
@pytest.mark.parametrize("month", [3, 10])
def test_next_change_is_where_is_on_changes(text: str, month: int) -> None:
    schedule = Schedule([text], "Europe/Berlin")
    now = datetime(2026, month, 22, tzinfo=UTC)
    end = now + timedelta(days=12)
    while now < end:
        change = schedule.next_change(now)
        assert change is not None
        assert change > now
        assert schedule.is_on(change) != schedule.is_on(now)
        before = change.astimezone(UTC) - timedelta(seconds=1)
        assert schedule.is_on(before) == schedule.is_on(now)
        now = change.astimezone(UTC)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        Schedule(["Mon"], "UTC").is_on(datetime(2026, 1, 1))


def test_the_machines_time_zone_is_taken_from_tz(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", ":Asia/Tokyo")
    assert str(local_timezone()) == "Asia/Tokyo"
    assert Schedule(["00:00-01:00"]).is_on(datetime(2026, 1, 1, 15, 30, tzinfo=UTC))


def test_tz_may_be_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path("/usr/share/zoneinfo/Asia/Tokyo")
    if not file.is_file():
        pytest.skip("this system has no zoneinfo files")
    monkeypatch.setenv("TZ", str(file))
    offset = local_timezone().utcoffset(datetime(2026, 1, 1))
    assert offset == timedelta(hours=9)


def test_without_tz_it_is_what_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TZ", raising=False)
    time.tzset()
    now = datetime.now()
    assert local_timezone().utcoffset(now) == now.astimezone().utcoffset()


def test_an_unknown_tz_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "CET-1CEST")
    with pytest.raises(ValueError, match=r"TZ='CET-1CEST'.*set `timezone`"):
        local_timezone()
