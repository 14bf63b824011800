"""Packets of a live stream -> their times mended, and when each moment of the stream was captured.

In: packets with the time at which they came. Out: timestamps that go on where they leapt, the
monotonic time of any moment, and how well the streams lie to each other.
"""

from typing import Any

from av.container import InputContainer
from av.packet import Packet

from .clock import Joints
from .clock_sync import ArrivalClock
from .live import ClockReport

LIVE_STRIDE = 2.0  # s; timestamps of a live source that leap further are taken as joined
MAX_CLOCK_DIFFERENCE = 1.0  # s; a camera that stamps with our own clock is no further off
MAX_UNSURE = 0.03  # s; what clocks may differ by before a drift of them is believed
MAX_DRIFT = 0.025  # s; sound is moved once it is further off
PATH_ERROR = 0.1  # s; sound and picture take their time to be coded and sent, not the same
REPORT_ERROR_MS = 1.0  # what is left to sender reports and their timestamps


class LiveClock:
    """The time of one connection.

    Parameters
    ----------
    scheme : str
        Of its locator.
    leading : int
        Index of the stream whose packets tell the time: the pictures', if there are any.
    other : int, optional
        Index of the other stream.
    """

    def __init__(self, scheme: str, leading: int, other: int | None = None) -> None:
        self._scheme, self._leading, self._other = scheme, leading, other
        self._joints = Joints(LIVE_STRIDE)
        self._clocks = {leading: ArrivalClock()}
        if other is not None:
            self._clocks[other] = ArrivalClock()
        self._last: dict[int, float] = {}  # time of the last packet
        self._reported: set[int] = set()
        self._first_late: float | None = None  # by which the sound came later than the picture
        self._drift = 0.0  # since then
        self._is_device = scheme == "v4l2"

    def take(self, packet: "Packet[Any]", came: float) -> float | None:
        """Mend the timestamps of a packet in place; return its time (s), if it has one."""
        index = packet.stream_index
        # As much as the stream lags behind the clock, it may leap ahead: a pause is no joint.
        clock, last = self._clocks[index], self._last.get(index)
        self._joints.mend(packet, max(0.0, came - clock.at(last)) if last is not None else 0.0)
        if packet.has_sidedata("rtcp_sr"):
            self._reported.add(index)
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None:
            return None
        time = float(stamp * packet.time_base)
        self._last[index] = time
        clock.add(time, came)
        self._is_device = self._is_device and abs(came - time) < MAX_CLOCK_DIFFERENCE
        if index == self._other and (drift := self._drifted()):
            units = round(drift / packet.time_base)
            packet.pts = packet.pts + units if packet.pts is not None else None
            packet.dts = packet.dts + units if packet.dts is not None else None
            time += drift
        return time

    def _drifted(self) -> float:
        # Without sender reports each stream of RTSP runs by its own clock; how far apart they have
        # got since the beginning, only the arrival says.
        if self._other is None or not self._is_rtsp or self._is_reported:
            return 0.0
        picture, sound = self._clocks[self._leading], self._clocks[self._other]
        if max(picture.uncertainty, sound.uncertainty) < MAX_UNSURE:
            newest = max(self._last.values())
            late = sound.at(newest) - picture.at(newest)
            if self._first_late is None:
                self._first_late = late
            if abs(late - self._first_late - self._drift) > MAX_DRIFT:
                self._drift = late - self._first_late
        return self._drift

    @property
    def _is_rtsp(self) -> bool:
        return self._scheme in ("rtsp", "rtsps")

    @property
    def _is_reported(self) -> bool:
        return len(self._reported) == len(self._clocks)

    def captured(self, time: float) -> float | None:
        """Return when (`time.monotonic()`) a moment of the stream was captured, if it is known."""
        if self._is_device:
            return time
        clock = self._clocks[self._leading]
        if not clock.is_known and self._other is not None:
            clock = self._clocks[self._other]
        return clock.at(time) if clock.is_known else None

    def report(self) -> ClockReport:
        """Return how well sound and picture are aligned.

        The timestamps of one container are its own word. So are those of RTSP, once there were
        sender reports of each stream; until then the streams are put together by their first
        packets, and only their arrival says how they lie to each other.
        """
        n_steps = len(self._joints.times)
        if self._other is None:
            kind = "device" if self._is_device else "arrival"
            return ClockReport(kind, n_steps_of_clock=n_steps)
        if not self._is_rtsp:
            return ClockReport("media", 0.0, 0.0, n_steps_of_clock=n_steps)
        picture, sound = self._clocks[self._leading], self._clocks[self._other]
        drift = sound.drift_ppm - picture.drift_ppm
        if self._is_reported:
            return ClockReport("rtcp", 0.0, REPORT_ERROR_MS, drift, n_steps)
        if not (picture.is_known and sound.is_known):
            return ClockReport("arrival", None, None, 0.0, n_steps)
        newest = max(self._last.values())
        late = sound.at(newest) - picture.at(newest)
        sure = picture.uncertainty + sound.uncertainty + PATH_ERROR
        return ClockReport("arrival", 1000 * late, 1000 * sure, drift, n_steps)


def is_recording(container: InputContainer, scheme: str) -> bool:
    """Return whether what is behind a URL has an end, so that it comes as fast as it is read."""
    return scheme in ("http", "https") and (container.duration or 0) > 0
