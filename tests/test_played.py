"""What was played: parts out of events, and places between steps."""

from collections.abc import Callable

import pytest

from playspot.stream.played import Played, time_text
from playspot.stream.timeline import STEP

LEFT, RIGHT = (0.0, 0.0, 0.25, 0.5), (0.5, 0.5, 0.75, 1.0)
MakePlayed = Callable[..., Played]


def test_a_part_lasts_from_its_start_time_to_its_end_time(make_played: MakePlayed) -> None:
    played = make_played(10.0, ("violin", 4, 9, (0.5, 0.5), LEFT, 0.75))
    (part,) = played.parts
    assert (part.label, part.top_score, part.is_over) == ("violin", 0.75, True)
    assert part.start == pytest.approx(3.5 * STEP)
    assert part.end == pytest.approx(9.5 * STEP)
    assert part.keyframes.shape == (6, 8)


def test_a_part_that_goes_on_to_the_end_is_cut_to_the_duration(make_played: MakePlayed) -> None:
    (part,) = make_played(3.2, ("drum", 2, 99, None, None, 0.5)).parts
    assert not part.is_over
    assert part.end == pytest.approx(3.2)


def test_parts_stand_in_the_order_of_their_start(make_played: MakePlayed) -> None:
    played = make_played(9.0, ("piano", 8, 9, None, None, 0.5), ("drum", 2, 12, None, None, 0.5))
    assert [part.label for part in played.parts] == ["drum", "piano"]


def test_now_playing_forgets_a_part_that_has_ended(make_played: MakePlayed) -> None:
    played = make_played(9.0, ("piano", 2, 5, None, None, 0.9), ("drum", 4, 99, None, None, 0.5))
    assert [part.label for part in played.now_playing()] == ["drum"]


def test_a_place_moves_evenly_between_two_steps(make_played: MakePlayed) -> None:
    played = make_played(3.0, ("flute", 1, 1, (0.25, 0.5), LEFT, 0.5))
    more = make_played(3.0, ("flute", 3, 3, (0.75, 0.25), RIGHT, 0.75))
    part = played.parts[0]
    part._keyframes.extend(more.parts[0]._keyframes)
    assert part.at(0.0).point == (0.25, 0.5)
    middle = part.at(2 * STEP)
    assert middle.point == pytest.approx((0.5, 0.375))
    assert middle.box == pytest.approx((0.25, 0.25, 0.5, 0.75))
    assert part.at(1.9 * STEP).score == 0.5
    assert part.at(2.1 * STEP).score == 0.75
    assert part.at(99.0).point == (0.75, 0.25)


def test_without_a_picture_there_is_no_place(make_played: MakePlayed) -> None:
    (part,) = make_played(3.0, ("flute", 1, 3, None, None, 0.5)).parts
    assert part.at(1.0).point is None
    assert part.at(1.0).box is None
    assert part.place is None


def test_a_place_is_taken_up_when_the_picture_comes_back(make_played: MakePlayed) -> None:
    blind = make_played(3.0, ("flute", 1, 1, None, None, 0.5)).parts[0]
    seeing = make_played(3.0, ("flute", 2, 2, (0.5, 0.5), LEFT, 0.5)).parts[0]
    blind._keyframes.extend(seeing._keyframes)
    assert blind.at(1.2 * STEP).point is None
    assert blind.at(1.8 * STEP).point == (0.5, 0.5)
    assert blind.at(1.8 * STEP).box == LEFT
    assert blind.place == (0.5, 0.5)


def test_an_hour_takes_little_memory(make_played: MakePlayed) -> None:
    # Numbers a step: 1 time, 9 scores, 8 of a keyframe; a step of an hour is one of 7032.
    played = make_played(60.0, ("flute", 0, 999, (0.5, 0.5), LEFT, 0.5))
    n = len(played.times)
    size = sum(len(a) * a.itemsize for a in (played._times, played._scores))
    size += len(played.parts[0]._keyframes) * 4
    assert size <= 80 * n


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.6, "1:00"), (3599.4, "59:59"), (3600, "1:00:00"), (-1, "0:00")],
)
def test_times_are_written_as_people_write_them(seconds: float, text: str) -> None:
    assert time_text(seconds) == text
