"""Steps with deadlines: what is there, and why the rest is not."""

import numpy as np

from playspot.stream.live_align import LiveAligner
from playspot.stream.media import Picture

PICTURE = Picture(0, np.zeros((4, 4, 3), np.uint8))
ALL = {"action", "object", "sound"}


def aligner(first: int = 0) -> LiveAligner:
    return LiveAligner({"action", "object", "sound"}, first=first)


def test_what_did_not_come_in_time_is_stale() -> None:
    this = aligner()
    this.put("object", 0, PICTURE)
    assert not this.is_complete
    taken = this.take_now()
    assert taken.statuses == {"action": "stale", "object": "ok", "sound": "stale"}
    assert set(taken.inputs) == {"object"}


def test_what_a_source_cannot_have_is_missing() -> None:
    this = LiveAligner({"sound"})
    this.put("sound", 0, None, "stale")
    assert this.is_complete
    assert this.take_now().statuses == {"action": "missing", "object": "missing", "sound": "stale"}


def test_a_gap_says_itself_what_it_is() -> None:
    this = aligner()
    this.put("object", 0, None)
    this.put("action", 0, None, "stale")
    this.put("sound", 0, None)
    assert this.is_complete
    assert not this.has_input
    assert this.take_now().statuses == {"action": "stale", "object": "missing", "sound": "missing"}


def test_steps_before_the_first_picture_had_none() -> None:
    this = aligner()
    this.begin("object", 2)
    this.put("object", 2, PICTURE)
    assert this.take_now().statuses["object"] == "missing"
    assert this.take_now().statuses["object"] == "missing"
    assert this.take_now().statuses["object"] == "ok"


def test_a_picture_left_out_between_two_is_stale() -> None:
    this = aligner()
    this.put("object", 0, PICTURE)
    this.put("object", 2, PICTURE)
    assert [this.take_now().statuses["object"] for _ in range(3)] == ["ok", "stale", "ok"]


def test_after_its_end_a_modality_is_missing_and_what_was_sent_before_is_stale() -> None:
    this = aligner()
    this.put("object", 0, PICTURE)
    this.end("object", 4, 2)
    statuses = [this.take_now().statuses["object"] for _ in range(4)]
    assert statuses == ["ok", "stale", "missing", "missing"]


def test_a_session_joined_in_the_middle_begins_there() -> None:
    this = aligner(first=7)
    this.put("object", 6, PICTURE)
    assert not this.has_next
    this.put("object", 7, PICTURE)
    assert this.has_next
    assert this.take_now().step == 7


def test_leaving_out_says_how_many_had_anything() -> None:
    this = aligner()
    for step in (0, 1, 5):
        this.put("object", step, PICTURE)
    assert this.skip(4) == (2, 2)
    assert this.next_step == 4
    assert this.skip(2) == (0, 0)


def test_a_session_that_breaks_off_has_the_steps_that_were_seen() -> None:
    this = aligner()
    this.put("sound", 2, None)
    this.stop()
    assert this.n_steps == 3
