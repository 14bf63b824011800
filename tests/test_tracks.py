from playspot.engines.settings import Decoding
from playspot.stream.detections import Region
from playspot.stream.events import Box, Detection, Point
from playspot.stream.timeline import STEP, step_time
from playspot.stream.tracks import Change, Tracker

DECODING = Decoding(on=0.5, off=0.3, min_duration=0.75, gap_merge=1.1)


def seen(score: float, x: float = 0.5, label: str = "violin") -> tuple[Region, Detection]:
    point: Point = (x, 0.5)
    box: Box = (x - 0.1, 0.4, x + 0.1, 0.6)
    detection = Detection(label=label, score=score, point=point, box=box)
    return Region(label, score, point, box, (0, 0)), detection


def run(scores: list[float], decoding: Decoding = DECODING) -> list[Change]:
    """Return the changes of one player whose score is given for each step (0: not seen)."""
    tracker = Tracker(decoding)
    changes = []
    for step, score in enumerate(scores):
        found = [seen(score)] if score >= decoding.off else []
        changes += tracker.update(step, found)
    return changes + tracker.flush(len(scores) - 1, "end_of_stream")


def kinds(changes: list[Change]) -> list[str]:
    return [change.type for change in changes]


def test_playing_begins_goes_on_and_ends() -> None:
    changes = run([0, 0.9, 0.8, 0.9, 0, 0, 0, 0])
    assert kinds(changes) == ["new", "update", "end"]
    end = changes[-1]
    assert end.track.start_time == step_time(1) - STEP / 2
    assert end.end_time == step_time(3) + STEP / 2
    assert end.end_reason == "silence"


def test_an_event_needs_the_upper_threshold_to_begin_and_the_lower_to_last() -> None:
    assert run([0.4, 0.4, 0.4, 0.4]) == []
    assert kinds(run([0.6, 0.4, 0.4, 0.4])) == ["new", "update", "update", "end"]


def test_a_single_step_is_too_short() -> None:
    assert run([0, 0.9, 0, 0, 0, 0]) == []


def test_a_short_gap_does_not_end_an_event() -> None:
    changes = run([0.9, 0.9, 0, 0, 0.9, 0.9])
    assert kinds(changes).count("new") == 1
    assert changes[-1].end_time == step_time(5) + STEP / 2


def test_a_long_gap_ends_it_and_a_new_one_begins() -> None:
    changes = run([0.9, 0.9, 0, 0, 0, 0, 0.9, 0.9])
    assert kinds(changes).count("new") == 2
    assert changes[0].track is not changes[-1].track


def test_the_first_event_begins_at_time_zero_and_not_before() -> None:
    assert run([0.9, 0.9])[0].track.start_time == 0.0


def test_the_end_of_the_stream_ends_open_events() -> None:
    assert run([0.9, 0.9])[-1].end_reason == "end_of_stream"


def test_the_top_score_is_the_best_of_the_event() -> None:
    assert run([0.6, 0.95, 0.7])[-1].track.top_score == 0.95


def test_two_players_of_one_instrument_are_two_events() -> None:
    tracker = Tracker(DECODING)
    for step in range(3):
        changes = tracker.update(step, [seen(0.9, x=0.2), seen(0.8, x=0.8)])
    assert len({change.track.number for change in changes}) == 2
    tracker.update(3, [seen(0.8, x=0.8)])
    assert [track.detection.point for track in tracker.open_tracks()] == [(0.2, 0.5), (0.8, 0.5)]


def test_a_player_who_moves_stays_one_event() -> None:
    tracker = Tracker(DECODING)
    changes = []
    for step in range(8):
        changes += tracker.update(step, [seen(0.9, x=0.1 + 0.1 * step)])
    assert kinds(changes).count("new") == 1
    assert "end" not in kinds(changes)


def test_labels_do_not_mix() -> None:
    tracker = Tracker(DECODING)
    for step in range(3):
        tracker.update(step, [seen(0.9), seen(0.8, label="cello")])
    assert {track.label for track in tracker.open_tracks()} == {"violin", "cello"}
