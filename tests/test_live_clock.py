"""The time of a live stream: leaps, wraps, pauses, and clocks that drift apart."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from playspot.stream.live_clock import LiveClock

UNIT = Fraction(1, 90_000)


@dataclass
class Stamped:
    """What a packet says of its time; a real one cannot be made without a container."""

    stream_index: int
    pts: int | None
    dts: int | None = None
    has_report: bool = False
    duration: int = 3600
    time_base: Fraction = UNIT

    def has_sidedata(self, name: str) -> bool:
        return self.has_report and name == "rtcp_sr"


def take(clock: LiveClock, index: int, time: float, came: float, **options: Any) -> float:
    packet: Any = Stamped(index, round(time / UNIT), **options)
    mended = clock.take(packet, came)
    assert mended is not None
    assert packet.pts == pytest.approx(mended / UNIT, abs=1)
    return mended


def test_timestamps_that_begin_again_go_on() -> None:
    clock = LiveClock("rtsp", 0)
    times = [take(clock, 0, t, 100 + k / 25) for k, t in enumerate([7, 7.04, 0.0, 0.04, 0.08])]
    assert times == pytest.approx([7, 7.04, 7.08, 7.12, 7.16])
    assert clock.report().n_steps_of_clock == 1


def test_both_streams_go_on_together_where_one_has_leapt() -> None:
    clock = LiveClock("rtsp", 0, 1)
    for k in range(50):
        leap = -1000.0 if k >= 25 else 0.0
        assert take(clock, 0, 2000 + k / 25 + leap, k / 25) == pytest.approx(2000 + k / 25)
        # The sound leaps a little later, and keeps its distance.
        leap = -1000.0 if k >= 27 else 0.0
        assert take(clock, 1, 2000.3 + k / 25 + leap, k / 25) == pytest.approx(2000.3 + k / 25)


def test_a_wrap_of_33_bits_is_exact() -> None:
    clock = LiveClock("udp", 0)
    wrap = 2**33 / 90_000
    stamps = [wrap - 0.08, wrap - 0.04, 0.1, 0.14]  # with a packet lost just there
    times = [take(clock, 0, t, k / 25) for k, t in enumerate(stamps)]
    assert times == pytest.approx([wrap - 0.08, wrap - 0.04, wrap + 0.1, wrap + 0.14])


def test_a_pause_is_no_leap() -> None:
    clock = LiveClock("rtsp", 0)
    for k in range(50):
        take(clock, 0, k / 25, 100 + k / 25)
    assert take(clock, 0, 2.0, 130.0) == pytest.approx(2.0)  # sent before it, come after it
    assert take(clock, 0, 30.0, 130.0) == pytest.approx(30.0)
    assert clock.report().n_steps_of_clock == 0


def test_a_packet_without_timestamps_has_no_time() -> None:
    packet: Any = Stamped(0, None)
    clock = LiveClock("rtsp", 0)
    assert clock.take(packet, 1.0) is None
    assert clock.captured(1.0) is None


def test_what_arrives_soonest_says_when_it_was_captured() -> None:
    clock = LiveClock("rtsp", 0)
    for k in range(200):
        take(clock, 0, k / 25, 500 + k / 25 + 0.2 * (k % 3 > 0))
    assert clock.captured(4.0) == pytest.approx(504, abs=0.01)


@pytest.mark.parametrize("has_report", [False, True])
def test_sound_that_drifts_is_kept_at_the_picture(
    rng: np.random.Generator, has_report: bool
) -> None:
    # With sender reports FFmpeg has put the timestamps right already.
    clock = LiveClock("rtsp", 0, 1)
    drift = 1 + 100e-6
    errors = []
    for k in range(4 * 3600):
        time = k / 4
        late = rng.exponential(0.01, size=2)
        take(clock, 0, time, time + late[0], has_report=has_report)
        heard = take(clock, 1, time * drift, time + late[1], has_report=has_report)
        errors.append(abs(heard - (time * drift if has_report else time)))
    assert np.quantile(errors[1000:], 0.95) < 0.040
    report = clock.report()
    assert report.kind == ("rtcp" if has_report else "arrival")
    assert report.drift_ppm == pytest.approx(100, abs=20)


def test_a_camera_that_stamps_with_our_clock_is_believed() -> None:
    clock = LiveClock("v4l2", 0)
    take(clock, 0, 100.0, 100.03)
    assert clock.captured(100.0) == 100.0
    assert clock.report().kind == "device"
    other = LiveClock("v4l2", 0)
    take(other, 0, 0.0, 100.03)
    assert other.captured(0.0) == pytest.approx(100.03)
    assert other.report().kind == "arrival"
