from hypothesis import given
from hypothesis import strategies as st

from playspot.stream.account import Account


def test_a_step_is_published_once() -> None:
    account = Account()
    assert account.take(1, 0, 0, {})
    assert not account.take(1, 0, 0, {})
    assert account.counts == {"published": 1}


def test_steps_that_the_detector_dropped_are_not_counted_twice() -> None:
    account = Account()
    account.take(1, 0, 0, {})
    account.take(1, 0, 4, {"late": 2, "full": 1})
    assert account.counts == {"published": 2, "late": 2, "full": 1}
    assert not account.take_found()


def test_steps_that_nobody_has_told_of_are_lost() -> None:
    account = Account()
    account.take(1, 0, 0, {})
    account.take(1, 0, 4, {"late": 1})
    assert account.counts == {"published": 2, "late": 1, "lost": 2}
    assert account.take_found() == {"lost": 2}
    assert not account.take_found()


def test_steps_missing_at_the_end_of_a_session_are_lost() -> None:
    account = Account()
    account.take(1, 0, 0, {})
    account.end(1, 0, 5, {"late": 1})
    assert account.counts == {"published": 1, "late": 1, "lost": 3}


def test_a_step_after_one_of_a_later_session_is_late() -> None:
    account = Account()
    assert account.take(1, 0, 0, {})
    assert account.take(2, 10, 0, {})
    assert not account.take(1, 0, 1, {})
    assert account.step == 10
    assert account.counts == {"published": 2, "late": 1}


def test_a_detector_that_does_not_tell_has_counted_what_is_missing() -> None:
    account = Account()
    account.take(1, 0, 3, None)
    assert account.counts == {"published": 1}


def test_an_account_goes_on_in_another_process() -> None:
    account = Account()
    account.take(1, 0, 0, {})
    account.take(1, 0, 1, {})
    account = Account.from_json(account.to_json())
    assert not account.take(1, 0, 1, {})
    assert account.take(1, 0, 4, {})
    assert account.counts == {"published": 3, "lost": 2}


def test_steps_without_a_connection_are_away() -> None:
    account = Account()
    account.take(1, 2, 0, {})
    account.take(1, 2, 2, {"late": 1})
    account.end(1, 2, 4, {})
    account.take(2, 9, 0, {})
    assert account.told == {"published": 3, "late": 1, "lost": 1, "away": 5}
    assert sum(account.told.values()) == 10


FATES = st.lists(st.sampled_from(["arrives", "dropped", "dies"]), max_size=40)


@given(st.lists(FATES, max_size=4))
def test_every_step_is_published_or_dropped_once(sessions: list[list[str]]) -> None:
    account, base, fates = Account(), 0, []
    for number, session in enumerate(sessions, 1):
        dropped = 0
        for index, fate in enumerate(session):
            if fate == "dropped":
                dropped += 1
            elif fate == "arrives":
                account.take(number, base, index, {"late": dropped} if dropped else {})
                dropped = 0
        account.end(number, base, len(session), {"late": dropped} if dropped else {})
        base += len(session) + 3  # while nothing was captured
        fates += session
    assert account.counts["published"] == fates.count("arrives")
    assert account.counts["late"] == fates.count("dropped")
    assert account.counts["lost"] == fates.count("dies")
