"""Timestamps as files have them: wrong, missing, leaping."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from playspot.stream.clock import MAX_LEAP, Joints, StreamClock
from playspot.stream.timeline import tick_time

MakeClip = Callable[..., Path]
Read = Callable[..., Any]


@pytest.mark.parametrize("name", ["clip.mkv", "clip.mov"])
@pytest.mark.parametrize("broken", [{10: 0.2}, {20: 90.0}, {10: 0.2, 20: 90.0}, {0: 90.0}])
def test_frames_with_wrong_timestamps_are_left_out_and_counted(
    read: Read, make_clip: MakeClip, name: str, broken: dict[int, float]
) -> None:
    times = [broken.get(k, k / 25) for k in range(50)]
    reading = read(make_clip(name, times=times, sample_rate=None))
    right = [k for k in range(50) if k not in broken]
    start = right[0]
    seen = reading.numbers
    assert {n: k for n, k in seen.items() if n < 15} == {
        n: max(k for k in right if (k - start) / 25 <= tick_time(n) + 0.001) for n in range(15)
    }
    assert reading.source.n_dropped == len(broken)
    assert "out of order" in reading.source.notes[0]


@pytest.mark.parametrize(
    ("name", "codec"),
    [("bare.h264", "libx264"), ("bare.mjpeg", "mjpeg"), ("bare.m2v", "mpeg2video")],
)
def test_a_bare_stream_runs_at_its_rate(
    read: Read, make_clip: MakeClip, name: str, codec: str
) -> None:
    path = make_clip(name, video_codec=codec, sample_rate=None)
    if codec == "libx264":
        with av.open(path) as container:
            assert all(packet.pts is None for packet in container.demux())
    seen = read(path).numbers
    assert seen == {n: int((tick_time(n) + 0.0010001) * 25) for n in range(16)}


def test_frames_at_a_thousand_a_second_lose_no_tick(read: Read, make_clip: MakeClip) -> None:
    # A frame of one millisecond at 0.48 s stands until the next one, at 0.52 s.
    path = make_clip("clip.avi", times=[n / 25 for n in range(50)], sample_rate=None)
    reading = read(path)
    assert list(reading.pictures) == [0, 1, 2, 3]


@pytest.mark.parametrize(("first", "second"), [(0.0, 50.0), (50.0, 0.0)])
def test_joined_transport_streams_go_on_without_a_hole(
    read: Read, make_clip: MakeClip, first: float, second: float
) -> None:
    one = make_clip("one.ts", start=first, audio_codec="mp2")
    two = make_clip("two.ts", start=second, audio_codec="mp2")
    joined = one.with_name("joined.ts")
    joined.write_bytes(one.read_bytes() + two.read_bytes())
    reading = read(joined)
    assert reading.end.duration == pytest.approx(4, abs=0.1)
    assert len(reading.source.notes) == 1
    assert "leapt at 2.0 s" in reading.source.notes[0]
    assert reading.numbers[24] == pytest.approx(3.072 * 25 - 50, abs=3)


def test_streams_that_start_days_apart_are_put_together(read: Read, make_clip: MakeClip) -> None:
    # A camera whose sound starts at 180 678 s and whose picture starts at 0 s.
    path = make_clip("clip.mkv", audio_start=180_678.0, audio_codec="pcm_s16le")
    reading = read(path)
    assert reading.end.duration == pytest.approx(2, abs=0.01)
    assert not reading.missing
    assert "leapt" in reading.source.notes[0]


# The classes by themselves


@dataclass
class Stamps:
    """What a frame says of its time, in milliseconds."""

    pts: int | None
    dts: int | None = None


def clocked(frames: list[Stamps]) -> tuple[list[float], int]:
    clock = StreamClock[Stamps](Fraction(1, 1000), lambda frame: 0.04)
    times = [timed.time for timed in clock.place(frames)]
    return times, clock.n_dropped


def stamped(*milliseconds: int | None) -> list[Stamps]:
    return [Stamps(value) for value in milliseconds]


def test_times_are_in_seconds() -> None:
    assert clocked(stamped(-40, 0, 40)) == ([-0.04, 0.0, 0.04], 0)


def test_a_missing_timestamp_follows_the_frame_before() -> None:
    assert clocked(stamped(None, 40, None, None, 200)) == (
        [0.0, 0.04, pytest.approx(0.08), pytest.approx(0.12), 0.2],
        0,
    )


def test_the_decoding_time_stands_in_for_a_missing_one() -> None:
    assert clocked([Stamps(0, 0), Stamps(None, 50), Stamps(80, 70)]) == ([0.0, 0.05, 0.08], 0)


def test_an_earlier_frame_is_dropped() -> None:
    assert clocked(stamped(0, 40, 20, 80)) == ([0.0, 0.04, 0.08], 1)


def test_frames_at_the_same_time_are_kept() -> None:
    assert clocked(stamped(0, 40, 40, 80)) == ([0.0, 0.04, 0.04, 0.08], 0)


def test_a_frame_that_leaps_ahead_alone_is_dropped() -> None:
    assert clocked(stamped(0, 40, 90_000, 80, 120)) == ([0.0, 0.04, 0.08, 0.12], 1)
    assert clocked(stamped(90_000, 40, 80)) == ([0.04, 0.08], 1)


def test_a_leap_that_others_follow_is_believed() -> None:
    assert clocked(stamped(0, 40, 90_000, 90_040)) == ([0.0, 0.04, 90.0, 90.04], 0)
    assert clocked(stamped(0, 40, 90_000)) == ([0.0, 0.04, 90.0], 0)


def test_no_frames_have_no_times() -> None:
    assert clocked([]) == ([], 0)


def mended(joints: Joints, *times: float) -> list[float]:
    result = []
    for time in times:
        packet = av.Packet()
        packet.time_base = Fraction(1, 1000)
        packet.pts = packet.dts = round(time * 1000)
        packet.duration = 40
        joints.mend(packet)
        assert packet.pts == packet.dts
        assert packet.pts is not None
        result.append(packet.pts / 1000)
    return result


def test_after_a_leap_the_stream_goes_on_where_it_was() -> None:
    joints = Joints(10)
    assert mended(joints, 0, 0.04, 50, 50.04, 50.08) == [0, 0.04, 0.08, 0.12, 0.16]
    assert joints.times == [0.08]


def test_one_wrong_timestamp_does_not_move_what_follows() -> None:
    assert mended(Joints(10), 0, 0.04, 50, 0.12, 0.16) == [0, 0.04, 0.08, 0.12, 0.16]


def test_leaps_within_the_limit_are_left_alone() -> None:
    joints = Joints(MAX_LEAP)
    assert mended(joints, 0, 50, 100) == [0, 50, 100]
    assert joints.times == []


def test_damaged_decoding_times_move_nothing() -> None:
    packet = av.Packet()
    packet.time_base = Fraction(1, 1000)
    packet.pts, packet.dts = 40, -150_000_000
    joints = Joints(MAX_LEAP)
    assert mended(joints, 0) == [0]
    joints.mend(packet)
    assert (packet.pts, packet.dts) == (40, -150_000_000)


def test_packets_without_timestamps_stay_without() -> None:
    packet = av.Packet()
    Joints(10).mend(packet)
    assert packet.dts is None
