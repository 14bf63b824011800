"""A file as a live source: the items of the file, at the times of a camera."""

import gc
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av.video.frame import VideoFrame

from playspot.stream import paced as module
from playspot.stream.failures import SourceFailure
from playspot.stream.live import IDLE, ClockReport, LiveItem, Opened
from playspot.stream.media import AudioChunk, End, GreyFrame, Picture
from playspot.stream.paced import MAX_BEHIND, PacedFile, paced
from playspot.stream.sources import FileSource
from playspot.stream.timeline import SAMPLE_RATE, STEP, step_time, tick_time

pytestmark = pytest.mark.live

MakeClip = Callable[..., Path]


class Clock:
    """A clock that runs only when somebody sleeps, or is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def ready(item: LiveItem) -> float:
    """Return the media time at which an item is complete."""
    if isinstance(item, AudioChunk):
        return (item.start + len(item.waveform)) / SAMPLE_RATE
    if isinstance(item, GreyFrame):
        return tick_time(item.tick)
    if isinstance(item, Picture):
        return step_time(item.step)
    return item.duration if isinstance(item, End) else 0.0


def key(item: Any) -> tuple[str, Any]:
    return type(item).__name__, getattr(item, "start", getattr(item, "tick", None))


@pytest.mark.parametrize("options", [{}, {"size": None}, {"sample_rate": None}])
def test_it_gives_the_items_of_the_file(
    make_clip: MakeClip, clock: Clock, options: dict[str, Any]
) -> None:
    path = make_clip(duration=1.5, **options)
    with FileSource(path, name="stage") as source:
        theirs = list(source)
    ours = [item for item in PacedFile(path, name="stage") if item is not None]
    assert ours[0] == Opened(source.info)
    assert len(ours[1:]) == len(theirs)
    for one, two in zip(sorted(ours[1:], key=key), sorted(theirs, key=key), strict=True):
        assert key(one) == key(two)
        for name in ("waveform", "image"):
            if hasattr(two, name):
                np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_each_item_comes_when_it_would_live(make_clip: MakeClip, clock: Clock) -> None:
    source = PacedFile(make_clip(duration=1.5), name="stage")
    for item in source:
        if item is not None:
            assert clock.now == pytest.approx(source.captured(ready(item)), abs=1e-6)


def test_the_clock_on_the_wall_is_followed(make_clip: MakeClip) -> None:
    source = PacedFile(make_clip(duration=0.4), name="stage")
    for item in source:
        if item is not None:
            assert time.monotonic() >= source.captured(ready(item))
    assert time.monotonic() - source.captured(0.4) < 5.0


def test_sound_and_pictures_each_follow_themselves(make_clip: MakeClip, clock: Clock) -> None:
    items = list(PacedFile(make_clip(duration=1.5), name="stage"))
    ticks = [item.tick for item in items if isinstance(item, GreyFrame)]
    starts = [item.start for item in items if isinstance(item, AudioChunk)]
    assert ticks == sorted(ticks)
    assert starts == sorted(starts)
    assert isinstance(items[-1], End)


def test_who_waits_long_is_told_so_every_while(clock: Clock) -> None:
    gap: Iterator[Any] = iter([GreyFrame(0, np.zeros((2, 2), np.uint8)), End(1.0, 2)])
    items = list(paced(gap, clock.now))
    assert items.count(None) == round(1.0 / IDLE) - 1


def test_a_looped_file_begins_a_session_where_the_last_ended(
    make_clip: MakeClip, clock: Clock
) -> None:
    source = PacedFile(make_clip(duration=0.5), name="stage", loop=True)
    began, ends = [], []
    for item in source:
        if isinstance(item, Opened):
            began.append(source.captured(0.0))
        elif isinstance(item, End):
            ends.append(source.captured(item.duration))
        if len(ends) == 3:
            source.close()
    assert began[1:] == ends[:2]
    assert not source.dropped


def test_a_late_reader_gets_everything_with_its_true_age(make_clip: MakeClip, clock: Clock) -> None:
    source = PacedFile(make_clip(duration=2.0), name="stage")
    ages = []
    for item in source:
        ages.append(clock.now - source.captured(ready(item)))
        if isinstance(item, Opened):
            clock.now += 1.0  # the reader was stopped
    assert ages[2] == pytest.approx(1.0 - tick_time(0), abs=0.2)
    assert max(ages[-5:]) < 0.01


def test_a_round_that_was_missed_is_left_out_and_counted(make_clip: MakeClip, clock: Clock) -> None:
    source = PacedFile(make_clip(duration=0.5), name="stage", loop=True)
    rounds = 0
    for item in source:
        if isinstance(item, End):
            rounds += 1
            clock.now += 60.0 if rounds == 1 else 0.0
        if isinstance(item, Opened) and rounds == 1:
            assert clock.now - source.captured(0.0) < MAX_BEHIND
            source.close()
    assert source.dropped == {"behind": round(60.0 / STEP)}


def test_a_reader_a_little_late_at_the_end_of_a_round_leaves_nothing_out(
    make_clip: MakeClip, clock: Clock
) -> None:
    source = PacedFile(make_clip(duration=0.5), name="stage", loop=True)
    rounds = 0
    for item in source:
        if isinstance(item, End):
            rounds += 1
            clock.now += MAX_BEHIND / 2
            if rounds == 3:
                source.close()
    assert not source.dropped


def test_what_is_no_media_file_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("no film")
    with pytest.raises(SourceFailure, match=r"text\.mp4") as caught:
        list(PacedFile(path, name="stage"))
    assert caught.value.kind == "damaged"


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(SourceFailure, match=r"no such file") as caught:
        list(PacedFile(tmp_path / "none.mp4", name="stage"))
    assert caught.value.kind == "not_found"


def test_a_folder_is_no_file_and_will_not_become_one(tmp_path: Path) -> None:
    with pytest.raises(SourceFailure, match=r"folder") as caught:
        list(PacedFile(tmp_path, name="stage"))
    assert not caught.value.may_heal


def test_the_file_is_closed_when_the_source_is(make_clip: MakeClip) -> None:
    path = make_clip(duration=2.0)
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("needs /proc to see the open files")
    source = PacedFile(path, name="stage")
    next(items := iter(source))
    source.close()
    source.close()
    assert all(os.path.realpath(link) != str(path.resolve()) for link in folder.iterdir())
    assert list(items) == []


def test_sound_and_picture_of_a_file_are_aligned(make_clip: MakeClip, clock: Clock) -> None:
    source = PacedFile(make_clip(duration=0.5), name="stage")
    items = iter(source)
    next(items)
    assert source.clock() == ClockReport("media", 0.0, 0.0)
    source.close()


def test_there_is_no_offset_without_both(make_clip: MakeClip) -> None:
    source = PacedFile(make_clip(duration=0.5, size=None), name="stage")
    items = iter(source)
    next(items)
    assert source.clock().av_offset_ms is None
    source.close()


def test_a_round_leaves_no_pictures_to_the_garbage_collector(
    make_clip: MakeClip, clock: Clock
) -> None:
    source = PacedFile(make_clip(), name="stage", loop=True)
    n_rounds = 0
    gc.collect()
    gc.disable()
    try:
        for item in source:
            n_rounds += isinstance(item, Opened)
            if n_rounds == 4:
                break
        source.close()
        n_kept = sum(type(kept) is VideoFrame for kept in gc.get_objects())
    finally:
        gc.enable()
    assert n_kept < 4
