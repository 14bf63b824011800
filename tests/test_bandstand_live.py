"""The band that never stops: the scenes of the bandstand, in a row and in real time."""

import threading
import time
from collections.abc import Iterator
from importlib.metadata import entry_points
from itertools import islice, takewhile
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from playspot.stream import paced
from playspot.stream.config import SourceConfig
from playspot.stream.failures import SourceFailure
from playspot.stream.live import Opened
from playspot.stream.locator import parse_locator
from playspot.stream.media import AudioChunk, End, GreyFrame, MediaItem, Picture
from playspot.stream.paced import MAX_BEHIND
from playspot.stream.timeline import SAMPLE_RATE, STEP, TICK, TICK_SAMPLES, tick_time
from playspot.stream.upright import Upright
from playspot.training import bandstand_live
from playspot.training.band import Band, parse_options, playing, truth_of
from playspot.training.bandstand import make_sound, video_frame
from playspot.training.bandstand_live import BandstandLive, SoundCard, open_bandstand
from playspot.training.render import Renderer
from playspot.training.scene import make_scene
from playspot.training.truth import make_truth

pytestmark = pytest.mark.live

SHORT = "bandstand://?seed=300000&length=2"


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
    monkeypatch.setattr(paced, "time", clock)
    monkeypatch.setattr(bandstand_live, "time", clock)
    return clock


@pytest.fixture
def live() -> Iterator[Any]:
    """Return what makes a source of a URL; it is closed after the test."""
    made = []

    def make(url: str = SHORT, **options: Any) -> BandstandLive:
        made.append(BandstandLive(parse_options(url), name="stage", **options))
        return made[-1]

    yield make
    for source in made:
        source.close()


def until(items: Any, seconds: float) -> list[Any]:
    """Return the items until a tick is reached, None left out."""
    return list(
        takewhile(
            lambda item: not (isinstance(item, GreyFrame) and tick_time(item.tick) >= seconds),
            filter(None, items),
        )
    )


def sound_of(items: list[Any]) -> NDArray[np.float32]:
    return np.concatenate([item.waveform for item in items if isinstance(item, AudioChunk)])


def assert_same(ours: list[MediaItem], theirs: list[MediaItem]) -> None:
    for kind in (AudioChunk, GreyFrame, Picture):
        one = [item for item in ours if isinstance(item, kind)]
        two = [item for item in theirs if isinstance(item, kind)]
        assert abs(len(one) - len(two)) <= 1  # where it was stopped
        for mine, other in zip(one, two, strict=False):
            for key, value in vars(mine).items():
                np.testing.assert_array_equal(value, vars(other)[key])


def test_pictures_and_sound_are_those_of_the_scenes(live: Any) -> None:
    items = until(live().items(), 5.0)
    scenes = [make_scene(300_000 + k, "normal", 2.0) for k in range(3)]
    theirs = np.concatenate([make_sound(scene) for scene in scenes])
    ours = sound_of(items)
    np.testing.assert_array_equal(ours, theirs[: len(ours)])
    drawn = {k: Renderer(scene, (256, 144)) for k, scene in enumerate(scenes)}
    for item in items:
        if not isinstance(item, GreyFrame | Picture):
            continue
        tick = item.tick if isinstance(item, GreyFrame) else 4 * item.step
        index, local = divmod(tick * TICK_SAMPLES, 2 * SAMPLE_RATE)
        frame = video_frame(drawn[index].frame(local / SAMPLE_RATE))
        upright = Upright(frame, None, 256, 1)
        image = upright.grey(frame) if isinstance(item, GreyFrame) else upright.picture(frame)
        np.testing.assert_array_equal(item.image, image)


def test_the_items_do_not_depend_on_the_timing(live: Any, clock: Clock) -> None:
    in_time = until(live(), 3.0)
    assert isinstance(in_time[0], Opened)
    assert_same(in_time[1:], until(live().items(), 3.0))


def test_the_sound_follows_itself_over_the_ends_of_scenes(live: Any) -> None:
    chunks = [item for item in until(live().items(), 5.0) if isinstance(item, AudioChunk)]
    assert [chunk.start for chunk in chunks] == [k * TICK_SAMPLES for k in range(len(chunks))]
    assert not any(chunk.missing for chunk in chunks)


def test_every_tick_has_a_frame_and_every_fourth_a_picture(live: Any) -> None:
    items = until(live().items(), 3.0)
    ticks = [item.tick for item in items if isinstance(item, GreyFrame)]
    assert ticks == list(range(len(ticks)))
    steps = [item.step for item in items if isinstance(item, Picture)]
    assert steps == list(range(len(steps)))
    assert len(steps) == -(-len(ticks) // 4)


def test_each_item_comes_in_real_time(live: Any) -> None:
    source = live()
    for item in islice(source, 12):
        if isinstance(item, GreyFrame):
            # Half a second is for a busy machine; it is 5 ms here.
            assert 0 <= time.monotonic() - source.captured(tick_time(item.tick)) < 0.5


def test_the_sizes_are_as_asked_for(live: Any) -> None:
    source = live(SHORT + "&size=320x240", picture_side=448, picture_multiple=32)
    first = next(iter(source))
    assert (first.info.width, first.info.height) == (320, 240)
    assert (first.info.name, first.info.duration) == ("stage", None)
    images = {
        type(item): item.image for item in islice(source.items(), 3) if hasattr(item, "image")
    }
    assert images[GreyFrame].shape == (192, 256)
    assert images[Picture].shape == (352, 448, 3)


def test_the_truth_is_that_of_a_rendered_clip() -> None:
    options = parse_options(SHORT + "&labels=violin,cello")
    scene = make_scene(300_001, "normal", 2.0, ("violin", "cello"))
    assert truth_of(options, 1) == make_truth(scene, (256, 144))


def test_who_plays_is_known_on_the_whole_time_line() -> None:
    options = parse_options("bandstand://?seed=300003&length=8")
    for index in range(3):
        truth = truth_of(options, index)
        theirs = sorted(
            (start + 8 * index, end + 8 * index, player["label"])
            for player in truth["players"]
            for start, end in player["playing"]
        )
        ours = sorted(
            (round(start, 4), round(end, 4), label)
            for label, start, end in playing(options, 8.0 * index, 8.0 * (index + 1))
        )
        assert ours == theirs


def test_only_what_reaches_into_the_time_is_told() -> None:
    options = parse_options("bandstand://?labels=cello")
    everything = playing(options, 0.0, 60.0)
    _, start, end = everything[1]
    assert playing(options, start + 0.01, end - 0.01) == [everything[1]]


def test_sources_of_one_epoch_play_the_same_at_the_same_time(live: Any, clock: Clock) -> None:
    url = SHORT + f"&epoch={clock.now - 10.3}"
    one, two = live(url), live(url)
    first = until(one, 1.0)
    assert one.captured(0.0) == pytest.approx(clock.now - 10.3 + 21 * STEP, abs=2.0)
    clock.now += 0.7
    second = until(two, 1.0)
    later = round((two.captured(0.0) - one.captured(0.0)) / STEP)
    assert later > 0
    assert_same(second[1:], until(one.items(21 + later), 1.0))
    assert_same(first[1:], until(one.items(21), 1.0))


def test_a_reader_that_is_too_late_gets_a_new_session_of_now(live: Any, clock: Clock) -> None:
    source = live()
    items = iter(source)
    until(items, 1.0)
    clock.now += 60.0
    kinds = [type(item) for item in takewhile(lambda item: not isinstance(item, Opened), items)]
    assert kinds[-1] is End
    n_late = round(60.0 / STEP)
    assert source.dropped["behind"] == pytest.approx(n_late, abs=3)
    assert clock.now - source.captured(0.0) < STEP


def test_a_reader_a_little_late_loses_nothing(live: Any, clock: Clock) -> None:
    source = live()
    items = iter(source)
    until(items, 1.0)
    clock.now += MAX_BEHIND - 1
    assert not any(isinstance(item, End) for item in until(items, 3.0))
    assert not source.dropped


def lag(heard: NDArray[np.float32], truth: NDArray[np.float32], start: int) -> float:
    """Return by how many ms a second of sound comes too late."""
    most, n = SAMPLE_RATE // 2, SAMPLE_RATE
    part = heard[start : start + n]
    around = truth[start - most : start + n + most]
    size = 1 << (len(around) + n).bit_length()
    product = np.fft.irfft(np.fft.rfft(around, size) * np.conj(np.fft.rfft(part, size)), size)
    energy = np.cumsum(np.r_[0.0, around.astype(float) ** 2])
    likeness = product[: 2 * most] / np.sqrt(energy[n : n + 2 * most] - energy[: 2 * most] + 1e-9)
    return 1000 * (most - int(likeness.argmax())) / SAMPLE_RATE


@pytest.mark.parametrize("query", ["skew_ppm=300", "skew_ppm=-300", "step_ms=300&step_at=30"])
def test_a_wrong_clock_of_the_sound_is_found_and_corrected(query: str) -> None:
    options = parse_options(f"bandstand://?seed=300000&labels=drum&length=60&{query}")
    band = Band(options)
    try:
        card = SoundCard(options, band, 0)
        heard = sound_of(list(card.listen(58.0)))
        truth = band.sound(0, 60 * SAMPLE_RATE)
    finally:
        band.close()
    # Uncorrected it is 17 ms for the drift, and 300 ms for the step, which takes 5 s to be sure of.
    times = [start for _, start, _ in playing(options, 0.0, 60.0)]
    times = [start for start in times if 3 < start < 28 or 35 < start < 56]
    lags = {at: lag(heard, truth, round(at * SAMPLE_RATE)) for at in times}
    assert len(lags) > 5
    assert max(abs(ms) for ms in lags.values()) < 5, lags
    report = card.clock()
    assert report.kind == "device"
    assert report.drift_ppm == pytest.approx(options.skew_ppm, abs=40)
    assert report.n_steps_of_clock == bool(options.step_ms)


def test_sound_that_the_card_lost_is_missing() -> None:
    options = parse_options("bandstand://?length=30&step_ms=300&step_at=15")
    band = Band(options)
    try:
        chunks = list(SoundCard(options, band, 0).listen(25.0))
    finally:
        band.close()
    starts = np.cumsum([0, *(len(chunk.waveform) for chunk in chunks)])
    assert [chunk.start for chunk in chunks] == starts[:-1].tolist()
    missing = sum(len(chunk.waveform) for chunk in chunks if chunk.missing) / SAMPLE_RATE
    assert missing == pytest.approx(0.3, abs=0.01)


def test_sound_keeps_up_with_the_pictures_whatever_its_clock(live: Any) -> None:
    items = until(live(SHORT + "&skew_ppm=-1000").items(), 6.0)
    assert len(sound_of(items)) / SAMPLE_RATE == pytest.approx(6.0, abs=2 * TICK)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sed=4", "sed=4: there is seed, level"),
        ("level=harder", "level=harder: .*'hard'"),
        ("labels=violin,kazoo", "'kazoo' is none of accordion"),
        ("length=1", "length=1: .*2"),
        ("size=640", "size="),
        ("size=641x360", "size=641"),
        ("seed=-1", "seed=-1"),
        ("epoch=nan", "epoch=nan"),
    ],
)
def test_a_wrong_option_is_named(query: str, said: str) -> None:
    with pytest.raises(SourceFailure, match=said) as caught:
        parse_options(f"bandstand://?{query}")
    assert not caught.value.may_heal
    assert "\n" not in str(caught.value)


def test_it_is_found_by_its_scheme() -> None:
    point = next(p for p in entry_points(group="playspot.sources") if p.name == "bandstand")
    locator = parse_locator(SHORT)
    assert point.load() is open_bandstand
    source = point.load()(
        locator, SourceConfig(url=SHORT), picture_side=256, picture_multiple=1, name="stage"
    )
    source.close()


def test_closing_ends_the_thread(live: Any) -> None:
    before = threading.active_count()
    source = live()
    items = iter(source)
    assert isinstance(next(items), Opened)
    next(items)
    assert threading.active_count() > before
    source.close()
    source.close()
    assert threading.active_count() == before
    assert list(items) == []
