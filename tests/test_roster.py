"""Which sessions are known, over, or forgotten."""

from types import ModuleType

from playspot.stream.messages import Message
from playspot.stream.roster import FORGET_AFTER, Heard, Roster


def roster() -> Roster[Heard]:
    return Roster(Heard)


def test_a_session_is_announced_many_times_and_opened_once(feed: ModuleType) -> None:
    this = roster()
    first = this.open(feed.opening(5, "stage"), 1.0)
    assert this.open(feed.opening(5, "stage", index=3), 2.0) is first
    assert first is not None
    assert (first.joined, first.heard) == (0, 2.0)


def test_a_newer_session_breaks_the_older_one_of_its_source_only(feed: ModuleType) -> None:
    this = roster()
    old, other = this.open(feed.opening(5, "stage"), 1.0), this.open(feed.opening(6, "hall"), 1.0)
    assert old is not None
    assert other is not None
    this.open(feed.opening(9, "stage"), 2.0)
    assert (old.is_broken, other.is_broken) == (True, False)
    assert this.first()["stage"] is old  # it comes first, until it is through


def test_an_older_session_does_not_come_back(feed: ModuleType) -> None:
    this = roster()
    this.open(feed.opening(9, "stage"), 2.0)
    assert this.open(feed.opening(5, "stage"), 3.0) is None


def test_a_session_that_is_over_does_not_come_back(feed: ModuleType) -> None:
    this = roster()
    heard = this.open(feed.opening(5, "stage"), 1.0)
    assert heard is not None
    this.remove(heard)
    assert this.open(feed.opening(5, "stage"), 1.1) is None
    assert this.get(5) is None


def test_a_session_that_falls_silent_is_broken_and_may_come_back(feed: ModuleType) -> None:
    this = roster()
    heard = this.open(feed.opening(5, "stage"), 1.0)
    assert heard is not None
    this.look(1.0 + FORGET_AFTER)
    assert not heard.is_broken
    this.look(1.1 + FORGET_AFTER)
    assert heard.is_broken
    this.remove(heard)
    assert this.open(feed.opening(5, "stage", index=70), 40.0) is not None


def test_what_is_no_session_is_skipped() -> None:
    assert roster().open(Message("open", 5, 0, {"info": {}}), 1.0) is None


def test_nothing_is_captured_later_than_it_arrives(feed: ModuleType) -> None:
    heard = roster().open(feed.opening(5, "stage"), 1.0)
    assert heard is not None
    heard.note(Message("grey", 5, 0, {"captured": 99.0}), 2.0, 7.0)
    assert heard.captured(2.0) == 7.0
