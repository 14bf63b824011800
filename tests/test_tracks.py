import pytest

from playspot.engines.settings import Decoding
from playspot.stream.detections import Region
from playspot.stream.event_log import EventLog
from playspot.stream.events import Box, Detection, ModelInfo, Point
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


def test_steps_that_never_came_are_part_of_a_gap() -> None:
    tracker = Tracker(DECODING)
    for step in (0, 1, 4):  # as two steps of silence
        changes = tracker.update(step, [seen(0.9)])
    assert kinds(changes) == ["update"]
    changes = tracker.update(8, [seen(0.9)])
    assert [(change.type, change.end_reason) for change in changes] == [("end", "timeout")]
    assert changes[0].end_time == step_time(4) + STEP / 2


def test_silence_that_was_heard_ends_an_event_as_silence_also_after_a_hole() -> None:
    tracker = Tracker(DECODING)
    tracker.update(0, [seen(0.9)])
    tracker.update(1, [seen(0.9)])
    assert tracker.update(3, [], "source_lost") == []
    (end,) = tracker.update(4, [], "source_lost")
    assert end.end_reason == "silence"


def test_a_gap_of_exactly_gap_merge_is_merged() -> None:
    decoding = Decoding(on=0.5, off=0.3, min_duration=0, gap_merge=3 * STEP)
    assert kinds(run([0.9, 0, 0, 0, 0.9], decoding)).count("new") == 1
    assert kinds(run([0.9, 0, 0, 0, 0, 0.9], decoding)).count("new") == 2


@pytest.mark.parametrize("first", [0, 1, 2, 7, 100_003])
def test_a_tracker_goes_on_with_what_another_had_reported(first: int) -> None:
    log = EventLog("stage", ModelInfo(name="m", hash="h", engine="e", precision="fp32"), "run")
    before, after = Tracker(DECODING), Tracker(DECODING)
    changes = []
    for step in (first, first + 1):
        changes = before.update(step, [seen(0.9, x=0.2), seen(0.8, x=0.8)])
    after.resume(log.event(change) for change in changes)
    assert [t.start_time for t in after.open_tracks()] == [
        t.start_time for t in before.open_tracks()
    ]
    for tracker in (before, after):
        tracker.update(first + 2, [seen(0.7, x=0.8)])
    ends = [
        [(c.track.id, c.end_time, c.track.top_score) for c in t.flush(first + 2, "shutdown")]
        for t in (before, after)
    ]
    assert ends[0] == ends[1]
