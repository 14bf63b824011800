"""Which frame stands at which tick."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from playspot.stream.sampling import TickSampler
from playspot.stream.timeline import STEP, tick_time

MakeClip = Callable[..., Path]
Read = Callable[..., Any]


@pytest.mark.parametrize("rate", [10, 12.5, 25, 30_000 / 1001, 60, 120])
def test_the_frame_of_a_tick_is_the_last_one_not_later(
    read: Read, make_clip: MakeClip, rate: float
) -> None:
    seen = read(make_clip(video_rate=rate)).numbers
    assert seen == {n: int((tick_time(n) + 0.0010001) * rate) for n in range(16)}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clip.mp4", {"video_codec": "libx264"}),  # B-frames: decoded in another order
        ("clip.mkv", {"video_codec": "libx264"}),
        ("clip.mov", {"video_codec": "mjpeg"}),
        ("clip.avi", {"audio_codec": "pcm_s16le"}),
        ("clip.webm", {"video_codec": "libvpx", "audio_codec": "libopus", "sample_rate": 48_000}),
        ("clip.flv", {"video_codec": "flv1", "sample_rate": None}),
        ("clip.mkv", {"video_codec": "ffv1"}),
        ("clip.mpg", {"video_codec": "mpeg2video", "sample_rate": None}),
        ("clip.gif", {"video_codec": "gif", "sample_rate": None}),
    ],
)
def test_containers_and_codecs_give_the_same_frames(
    read: Read, make_clip: MakeClip, name: str, options: dict[str, Any]
) -> None:
    reading = read(make_clip(name, **options))
    first = {n: int((tick_time(n) + 0.0010001) * 25) for n in range(15)}
    assert {n: k for n, k in reading.numbers.items() if n < 15} == first
    assert set(reading.pictures) >= {0, 1, 2, 3}
    assert reading.source.notes == []


def test_a_picture_is_the_frame_of_its_step(
    read: Read, make_clip: MakeClip, media: ModuleType
) -> None:
    reading = read(make_clip())
    seen = reading.numbers
    assert {k: media.number(image) for k, image in reading.pictures.items()} == {
        k: seen[4 * k] for k in range(4)
    }


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_frames_at_uneven_times_stay_until_the_next(
    read: Read, make_clip: MakeClip, name: str
) -> None:
    times = [0.0, 0.1, 0.15, 0.9, 0.95, 1.9]
    seen = read(make_clip(name, times=times)).numbers
    assert {n: k for n, k in seen.items() if n < 15} == {
        n: int(np.searchsorted(times, tick_time(n) + 0.001)) - 1 for n in range(15)
    }


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts"])
@pytest.mark.parametrize("start", [3.0, 100_000.0])
def test_media_time_starts_with_the_source_whatever_its_timestamps(
    read: Read, make_clip: MakeClip, name: str, start: float
) -> None:
    reading = read(make_clip(name, start=start, audio_codec="mp2"))
    seen = reading.numbers
    assert seen[0] == 0
    assert seen[8] in (24, 25)
    assert reading.end.duration == pytest.approx(2, abs=0.05)


def test_what_an_edit_list_cuts_off_does_not_count(
    read: Read, make_clip: MakeClip, media: ModuleType
) -> None:
    # The writer turns negative times into an edit list: the file starts after half a second.
    path = make_clip("clip.mov", start=-0.5, video_rate=50, audio_codec="pcm_s16le")
    with av.open(path) as container:
        first = next(container.demux(video=0))
    assert first.dts is not None
    assert first.dts < 0
    reading = read(path)
    assert reading.end.duration == pytest.approx(1.5, abs=0.01)
    assert reading.numbers[8] == 25 + 51
    tone = media.tone(np.arange(32_000) / 16_000)
    np.testing.assert_allclose(reading.waveform[100:], tone[8100:], atol=0.01)


def test_a_video_that_starts_within_a_step_stands_for_its_start(
    read: Read, make_clip: MakeClip
) -> None:
    seen = read(make_clip("clip.mkv", start=0.4, audio_start=-0.4)).numbers
    assert [seen[n] for n in range(5)] == [0, 0, 0, 0, 2]


def test_a_video_that_starts_later_leaves_its_ticks_out(read: Read, make_clip: MakeClip) -> None:
    reading = read(make_clip("clip.mkv", start=0.7, audio_start=-0.7))
    seen = reading.numbers
    assert min(seen) == 6
    assert seen[6] == 1
    assert min(reading.pictures) == 2
    assert reading.source.info.has_video


def test_frames_end_half_a_step_after_the_video(read: Read, make_clip: MakeClip) -> None:
    # Tick 17 at 2.176 s is the last before 2.0 s + 0.256 s; step 4 exists thanks to the sound.
    reading = read(make_clip("clip.mkv", audio_duration=3))
    assert list(reading.greys) == list(range(18))
    assert reading.end.n_steps == 6


def test_no_tick_serves_a_step_that_does_not_exist(read: Read, make_clip: MakeClip) -> None:
    reading = read(make_clip("clip.mkv", audio_duration=1))
    assert list(reading.greys) == list(range(16))
    assert reading.end.n_steps == 4


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi"])
def test_one_frame_makes_one_step(read: Read, make_clip: MakeClip, name: str) -> None:
    reading = read(make_clip(name, times=[0.0], sample_rate=None))
    assert reading.end.n_steps == 1
    assert list(reading.pictures) == [0]


@pytest.mark.parametrize("name", ["photo.png", "photo.jpg"])
def test_a_still_image_is_a_video_of_one_frame(
    read: Read, tmp_path: Path, media: ModuleType, name: str
) -> None:
    codec, pixels = ("png", "rgb24") if name.endswith("png") else ("mjpeg", "yuvj420p")
    context: Any = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = 80, 60, pixels
    context.time_base = Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(media.bars(7, 80, 60), "rgb24").reformat(format=pixels)
    packets = context.encode(frame) + context.encode()
    (tmp_path / name).write_bytes(b"".join(bytes(packet) for packet in packets))
    reading = read(tmp_path / name)
    assert media.number(reading.pictures[0]) == 7
    assert reading.end.n_steps == 1


@given(
    first=st.floats(0, 2),
    lengths=st.lists(st.floats(0.001, 1.5), min_size=1, max_size=30),
)
def test_the_sampler_agrees_with_looking_frames_up(first: float, lengths: list[float]) -> None:
    times = first + np.cumsum([0.0, *lengths[:-1]])
    sampler = TickSampler[int]()
    seen: dict[int, int] = {}
    for index, (time, length) in enumerate(zip(times.tolist(), lengths, strict=True)):
        seen |= dict(sampler.push(time, length, index))
    seen |= dict(sampler.flush())
    end = times[-1] + lengths[-1]
    assert sampler.end == end
    expected = {}
    for tick in range(int((end + STEP) / 0.128) + 1):
        index = int(np.searchsorted(times, tick_time(tick) + 0.001, side="right")) - 1
        if tick_time(tick) < end + STEP / 2 and (index >= 0 or first <= STEP + 0.001):
            expected[tick] = max(index, 0)
    assert seen == expected


def test_no_frames_give_no_ticks() -> None:
    assert list(TickSampler[int]().flush()) == []
