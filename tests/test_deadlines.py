import pytest

from playspot.stream.deadlines import Deadlines, Pace, most_steps, stage_limit


def test_a_stage_begins_nothing_before_the_look_ahead_is_over() -> None:
    assert stage_limit(2.0, 0.736) == pytest.approx(0.736 + 0.5 * (2 - 0.736))
    assert stage_limit(0.5, 0.736) == 0.736


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.3, 0.6, 1.1, 5.0])
def test_waiting_ends_in_time_to_begin_and_not_before_the_look_ahead(seconds: float) -> None:
    deadlines, pace = Deadlines(2.0, 0.736), Pace()
    pace.add(seconds, 1)
    assert deadlines.look_ahead < deadlines.wait(pace) < deadlines.start(pace)
    assert deadlines.start(pace) < deadlines.budget


def test_a_step_is_begun_in_time_to_be_finished_if_that_is_possible_at_all() -> None:
    deadlines, pace = Deadlines(2.0, 0.736), Pace()
    for seconds in (0.04, 0.3, 0.7, 1.1):
        pace.add(seconds, 1)
        assert deadlines.start(pace) + seconds <= deadlines.budget


def test_the_reserve_is_twice_the_slowest_batch_of_late() -> None:
    pace = Pace()
    pace.add(0.3, 1)
    assert pace.reserve == pytest.approx(0.6)
    for _ in range(16):
        pace.add(0.01, 1)
    assert pace.reserve == 0.1


def test_slow_steps_are_scored_one_by_one() -> None:
    pace = Pace()
    pace.add(1.2, 4)
    assert pace.batch == 1


def test_more_steps_than_the_budget_holds_are_never_kept() -> None:
    assert most_steps(2.0) == 6
