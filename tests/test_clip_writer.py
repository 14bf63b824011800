"""Clips: the right pictures at the right times, playable, and silent unless asked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from playspot.stream.clip_writer import ClipWriter
from playspot.stream.pictures import encode_jpeg
from playspot.stream.timeline import SAMPLE_RATE, TICK_SAMPLES, tick_time


@pytest.fixture
def picture(media: Any) -> Callable[..., bytes]:
    """Return a function that makes the JPEG of a number."""

    def make(number: int, width: int = 320, height: int = 180) -> bytes:
        return encode_jpeg(np.ascontiguousarray(media.bars(number, width, height)))

    return make


def read(path: Path, media: Any) -> dict[float, int]:
    """Return the time and the number of each picture."""
    with av.open(str(path)) as clip:
        frames = clip.decode(video=0)
        return {float(f.time or 0.0): media.number(f.to_ndarray(format="rgb24")) for f in frames}


def test_each_picture_is_at_its_own_time_whatever_gaps_there_are(
    tmp_path: Path, picture: Callable[..., bytes], media: Any
) -> None:
    ticks = [800, 801, 802, 830, 831, 900]
    clip = ClipWriter(tmp_path / "clip.mp4", 640)
    for tick in ticks:
        clip.add(tick_time(tick), picture(tick))
    clip.finish()
    expected = {tick_time(tick - 800): tick for tick in ticks}
    assert read(tmp_path / "clip.mp4", media) == pytest.approx(expected)


def test_the_last_picture_lasts_a_tick(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    clip = ClipWriter(tmp_path / "clip.mp4", 640)
    for tick in range(10):
        clip.add(tick_time(tick), picture(tick))
    clip.finish()
    with av.open(str(tmp_path / "clip.mp4")) as opened:
        assert (opened.duration or 0) / av.time_base == pytest.approx(tick_time(10), abs=1e-3)


def test_any_player_takes_it_and_can_begin_before_all_of_it_is_there(
    tmp_path: Path, picture: Callable[..., bytes], media: Any
) -> None:
    clip = ClipWriter(tmp_path / "clip.mp4", 640)
    for tick in range(60):
        clip.add(tick_time(tick), picture(tick))
    clip.finish()
    written = (tmp_path / "clip.mp4").read_bytes()
    assert 0 < written.find(b"moov") < written.find(b"mdat")
    with av.open(str(tmp_path / "clip.mp4")) as opened:
        stream = opened.streams.video[0]
        assert (stream.codec.name, stream.pix_fmt) == ("h264", "yuv420p")
        opened.seek(round(tick_time(40) / (stream.time_base or 1)), stream=stream)
        first = next(opened.decode(stream))
        assert 20 <= media.number(first.to_ndarray(format="rgb24")) <= 40


def test_a_clip_keeps_its_size_which_is_even_and_not_above_the_side(
    tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    clip = ClipWriter(tmp_path / "clip.mp4", 211)
    clip.add(0.0, picture(1, 401, 225))
    clip.add(0.128, picture(2, 640, 360))
    clip.finish()
    with av.open(str(tmp_path / "clip.mp4")) as opened:
        shapes = [(f.width, f.height) for f in opened.decode(video=0)]
    assert shapes == [(210, 118)] * 2


def test_colours_stay_what_they_were(tmp_path: Path) -> None:
    bgr = np.zeros((90, 160, 3), np.uint8)
    bgr[:] = (30, 60, 200)
    clip = ClipWriter(tmp_path / "clip.mp4", 640)
    clip.add(0.0, encode_jpeg(bgr))
    clip.finish()
    with av.open(str(tmp_path / "clip.mp4")) as opened:
        shown = next(opened.decode(video=0)).to_ndarray(format="bgr24")
    assert shown[40, 80].tolist() == pytest.approx([30, 60, 200], abs=8)


def test_there_is_no_sound_unless_it_is_asked_for(
    tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    clip = ClipWriter(tmp_path / "clip.mp4", 640)
    clip.add(0.0, picture(1))
    clip.add_sound(0, np.zeros(2048, np.float32))
    clip.finish()
    with av.open(str(tmp_path / "clip.mp4")) as opened:
        assert [stream.type for stream in opened.streams] == ["video"]


def test_sound_lies_where_it_was_heard(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    clip = ClipWriter(tmp_path / "clip.mp4", 640, has_sound=True)
    first = 1000
    for tick in range(first, first + 24):
        clip.add(tick_time(tick), picture(tick - first))
        waveform = np.zeros(TICK_SAMPLES, np.float32)
        if tick == first + 12:
            waveform[:] = np.sin(np.arange(TICK_SAMPLES) * 2 * np.pi * 1000 / SAMPLE_RATE)
        if tick not in (first + 3, first + 4):  # nothing came there
            clip.add_sound((tick - 1) * TICK_SAMPLES, waveform)  # from before the first picture on
    clip.finish()
    with av.open(str(tmp_path / "clip.mp4")) as opened:
        frames = list(opened.decode(audio=0))
    starts = [float(frame.time or 0.0) for frame in frames]
    sound = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    loud = np.flatnonzero(np.abs(sound) > 0.3) / SAMPLE_RATE + starts[0]
    assert loud[0] == pytest.approx(tick_time(11), abs=0.03)
    assert loud[-1] == pytest.approx(tick_time(12), abs=0.03)


def test_a_damaged_picture_is_left_out(
    tmp_path: Path, picture: Callable[..., bytes], media: Any
) -> None:
    clip = ClipWriter(tmp_path / "clip.mp4", 640)
    clip.add(0.0, b"no picture")
    clip.add(0.128, picture(5))
    clip.finish()
    assert list(read(tmp_path / "clip.mp4", media).values()) == [5]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error(picture: Callable[..., bytes]) -> None:
    with pytest.raises(OSError, match="No space left"):
        write_all(Path("/dev/full"), picture)


def write_all(path: Path, picture: Callable[..., bytes]) -> None:
    clip = ClipWriter(path, 640)
    try:
        for tick in range(60):
            clip.add(tick_time(tick), picture(tick))
    finally:
        clip.finish()


def test_a_clip_without_a_picture_can_be_let_go_of(tmp_path: Path) -> None:
    ClipWriter(tmp_path / "one.mp4", 640).abort()
    ClipWriter(tmp_path / "two.mp4", 640).finish()
