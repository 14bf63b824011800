"""A camera and a microphone as one source: one time line, one fate."""

import threading
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from playspot.stream.failures import SourceFailure
from playspot.stream.live import ClockReport, LiveItem, LiveSource, Opened
from playspot.stream.media import AudioChunk, End, GreyFrame, Picture, SourceInfo
from playspot.stream.pair import QUEUE, PairSource
from playspot.stream.timeline import SAMPLE_RATE, TICK_SAMPLES, n_steps, step_time

pytestmark = pytest.mark.live

IMAGE = np.zeros((4, 4), np.uint8)
CAMERA = SourceInfo("camera", True, False, width=640, height=480, video_rate=30.0)
MICROPHONE = SourceInfo("microphone", False, True, sample_rate=48_000, channels=2)
DEADLINE = 20.0


class Played:
    """A source that gives what it was told to, and then waits, ends or fails."""

    def __init__(
        self,
        items: list[LiveItem],
        begin: float,
        *,
        pace: float = 1.0,
        failure: SourceFailure | None = None,
        waits_for: "list[threading.Event] | None" = None,
        is_endless: bool = False,
        report: ClockReport | None = None,
    ) -> None:
        self._items, self._begin, self._pace, self._failure = items, begin, pace, failure
        self._waits_for, self._is_endless = waits_for or [], is_endless
        self._report = report or ClockReport("device")
        self._closed = threading.Event()
        self.done = threading.Event()
        self.n_given = 0
        self.dropped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[LiveItem]:
        for event in self._waits_for:
            assert event.wait(DEADLINE)
        for item in self._items:
            yield item
            self.n_given += 1
        self.done.set()
        if self._failure is not None:
            raise self._failure
        while self._is_endless and not self._closed.wait(0.05):
            yield None

    def captured(self, time: float) -> float:
        return self._begin + time * self._pace

    def clock(self) -> ClockReport:
        return self._report

    def close(self) -> None:
        self._closed.set()


def pictures(duration: float) -> list[LiveItem]:
    items: list[LiveItem] = [Opened(CAMERA)]
    for tick in range(round(duration / 0.128)):
        items.append(GreyFrame(tick, IMAGE))
        if tick % 4 == 0:
            items.append(Picture(tick // 4, np.zeros((4, 4, 3), np.uint8)))
    return [*items, End(duration, n_steps(duration))]


def click_at(time: float, duration: float) -> list[LiveItem]:
    sound = np.zeros(round(duration * SAMPLE_RATE), np.float32)
    sound[round(time * SAMPLE_RATE)] = 0.9
    chunks = np.array_split(sound, max(1, len(sound) // 1024))
    starts = np.cumsum([0, *(len(chunk) for chunk in chunks)])
    parts = [AudioChunk(int(s), c) for s, c in zip(starts, chunks, strict=False)]
    return [Opened(MICROPHONE), *parts]


def follow(pair: PairSource) -> list[LiveItem]:
    items, end = [], time.monotonic() + DEADLINE
    for item in pair:
        assert time.monotonic() < end
        items.append(item)
    return [item for item in items if item is not None]


def waveform(items: list[LiveItem]) -> tuple[np.ndarray, np.ndarray]:
    chunks = [item for item in items if isinstance(item, AudioChunk)]
    ends = np.cumsum([len(chunk.waveform) for chunk in chunks])
    assert [chunk.start for chunk in chunks] == [0, *ends[:-1]]
    flags = [np.full(len(chunk.waveform), chunk.missing) for chunk in chunks]
    return np.concatenate([chunk.waveform for chunk in chunks]), np.concatenate(flags)


@pytest.mark.parametrize(("late", "pace"), [(0.0, 1.0), (1.0, 1.0), (-0.7, 1.0), (0.5, 1 - 100e-6)])
def test_sound_lies_where_it_was_captured(late: float, pace: float) -> None:
    """Whichever starts first, a click at 3 s of the camera is at 3 s of the session."""
    camera = Played(pictures(5.0), 1000.0)
    sound = Played(click_at((3.0 - late) / pace, 6.0), 1000.0 + late, pace=pace, is_endless=True)
    camera._waits_for = [sound.done]
    items = follow(PairSource(camera, sound, name="pair"))
    opened, end = items[0], items[-1]
    assert isinstance(opened, Opened)
    assert opened.info == SourceInfo("pair", True, True, 640, 480, 30.0, 48_000, 2)
    got, missing = waveform(items)
    assert np.argmax(got) == pytest.approx(3.0 * SAMPLE_RATE, abs=3)
    assert missing.sum() == max(0, round(late * SAMPLE_RATE))
    assert isinstance(end, End)
    assert end.duration == pytest.approx(max(5.0, len(got) / SAMPLE_RATE))
    assert end.n_steps == n_steps(end.duration)
    assert [i.tick for i in items if isinstance(i, GreyFrame)] == list(range(39))
    assert [i.step for i in items if isinstance(i, Picture)] == list(range(10))


def test_whoever_reads_does_not_wait_for_the_camera() -> None:
    """The reader tells of its life between two items, also while only sound comes."""
    sound = Played(click_at(1.0, 60.0), 1000.0, is_endless=True)
    camera = Played(pictures(1.0), 1000.0, waits_for=[sound.done])
    pair = PairSource(camera, sound, name="pair")
    assert [item for item, _ in zip(pair, range(50), strict=False)] == [None] * 50
    sound.done.set()
    pair.close()


def test_a_known_offset_is_added_to_the_sound() -> None:
    sound = Played(click_at(2.0, 4.0), 1000.0, is_endless=True)
    camera = Played(pictures(4.0), 1000.0, waits_for=[sound.done])
    got, _ = waveform(follow(PairSource(camera, sound, name="pair", av_offset=0.25)))
    assert np.argmax(got) == pytest.approx(2.25 * SAMPLE_RATE, abs=3)


def test_lost_sound_stays_missing() -> None:
    items = click_at(1.0, 1.024)
    lost = [
        AudioChunk(16_384 + k * TICK_SAMPLES, np.zeros(TICK_SAMPLES, np.float32), True)
        for k in (0, 1)
    ]
    more = AudioChunk(20_480, np.full(8192, 0.1, np.float32))
    sound = Played([*items, *lost, more], 1000.0, is_endless=True)
    camera = Played(pictures(1.8), 1000.0, waits_for=[sound.done])
    _, missing = waveform(follow(PairSource(camera, sound, name="pair")))
    np.testing.assert_array_equal(np.flatnonzero(missing)[:4096], np.arange(16_384, 20_480))
    assert not missing[20_480:28_672].any()


@pytest.mark.parametrize("half", ["camera", "microphone"])
def test_if_either_half_fails_the_pair_fails(half: str) -> None:
    failure = SourceFailure("unplugged", f"the {half} is gone")
    failed = {half: failure}
    sound = Played(click_at(1.0, 2.0), 1000.0, failure=failed.get("microphone"), is_endless=True)
    camera = Played(pictures(2.0), 1000.0, failure=failed.get("camera"), is_endless=True)
    pair = PairSource(camera, sound, name="pair")
    with pytest.raises(SourceFailure, match=f"the {half} is gone") as caught:
        follow(pair)
    assert caught.value.kind == "unplugged"
    assert not any(thread.is_alive() for thread in pair._threads)


def test_a_new_session_of_the_camera_begins_a_new_session_of_both() -> None:
    sound = Played(click_at(1.0, 2.0), 1000.0, is_endless=True)
    camera = Played([*pictures(1.0), *pictures(1.0)], 1000.0, waits_for=[sound.done])
    items = follow(PairSource(camera, sound, name="pair"))
    kinds = [type(item) for item in items if isinstance(item, Opened | End)]
    assert kinds == [Opened, End, Opened, End]


def test_a_reader_that_does_not_read_fills_no_memory() -> None:
    sound = Played(click_at(1.0, 600.0), 1000.0)
    camera = Played(pictures(600.0), 1000.0)
    pair = PairSource(camera, sound, name="pair")
    items = iter(pair)
    end = time.monotonic() + DEADLINE
    while not isinstance(next(items), Picture):
        assert time.monotonic() < end
    n_sound = sound.n_given
    assert not pair._is_closed.wait(0.3)  # time enough to run ahead
    assert (sound.n_given - n_sound) + camera.n_given <= QUEUE + 10
    pair.close()
    assert not any(thread.is_alive() for thread in pair._threads)


def test_the_report_is_of_both_clocks() -> None:
    sound = Played(
        click_at(1.0, 2.0),
        1000.0,
        is_endless=True,
        report=ClockReport("device", None, 3.0, 60.0, 2),
    )
    camera = Played(
        pictures(2.0),
        1000.0,
        waits_for=[sound.done],
        is_endless=True,
        report=ClockReport("arrival", None, 4.0, -40.0, 1),
    )
    pair: LiveSource = PairSource(camera, sound, name="pair")
    assert pair.clock() == ClockReport("device", None, None, 100.0, 3)
    for item in pair:
        if isinstance(item, Picture):
            break
    report = pair.clock()
    assert report.av_offset_ms == pytest.approx(0.0, abs=0.1)
    assert report.uncertainty_ms == pytest.approx(5.0)
    assert pair.captured(step_time(2)) == camera.captured(step_time(2))
    pair.close()
