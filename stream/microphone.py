"""A microphone -> sound on its own time line, with the time at which the card captured it.

In: PortAudio's buffers, with capture times and the flag that tells of lost sound. Out: mono at
16 kHz from sample 0, where lost sound is silence flagged as missing. Media time counts the card's
samples at the rate that it states; `captured` says when they were captured in truth.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from av.audio.frame import AudioFrame

from .clock_sync import SampleClock
from .devices import default_input, import_pyaudio, inputs, quiet_stderr
from .failures import SourceFailure
from .live import IDLE, ClockReport, LiveItem, Opened
from .media import SourceInfo
from .resample import MAX_JITTER, SoundPlacer
from .timeline import SAMPLE_RATE, STEP_SAMPLES

BUFFER = 0.032  # s of sound in a buffer of the card
QUEUE = 256  # buffers, 8 s; what a reader that is later than this misses is counted
MAX_AGE = 5.0  # s; a buffer that claims to be older has no usable capture time
SAMPLE_BYTES = 2  # signed 16 bits
RATES = (48_000, 44_100, 32_000, 16_000)  # tried if the card refuses its own
BUSY = -9985  # paDeviceUnavailable


@dataclass(frozen=True)
class _Buffer:
    first: int  # byte since the beginning
    data: bytes
    captured: float  # monotonic, of its first sample
    is_after_loss: bool


class MicrophoneSource:
    """A microphone that plays, as a `LiveSource` of one session.

    Parameters
    ----------
    device : str
        "default", PortAudio's number of a device, or a part of its name.
    name : str
        Of the source.
    timeout : float
        Seconds without sound after which the device counts as unplugged.

    Attributes
    ----------
    dropped : Counter
        Steps with lost sound: "overflow" lost by the card, "behind" by a reader that was late.

    Examples
    --------
    >>> for item in MicrophoneSource("USB", name="stage"):  # doctest: +SKIP
    ...     print(type(item).__name__)
    """

    def __init__(self, device: str = "default", *, name: str, timeout: float = 5.0) -> None:
        self._device, self._name, self._timeout = device, name, timeout
        self._shown = f"mic://{device}"
        self._buffers: deque[_Buffer] = deque(maxlen=QUEUE)
        self._ready = threading.Event()
        self._closing = threading.Lock()
        self._is_closed = False
        self._audio: Any = None
        self._stream: Any = None
        self._rate, self._channels = SAMPLE_RATE, 1
        self._n_bytes = 0  # that the card has delivered
        self._n_samples = 0  # of the card, lost ones included
        self._last_dropped = -1  # step
        self._clock = SampleClock(SAMPLE_RATE)
        self.dropped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[LiveItem]:
        """Yield `Opened`, and the sound as it comes.

        Raises
        ------
        SourceFailure
            "unsupported" without PyAudio, "busy", or "unplugged": not there, or no sound from it
            for `timeout` seconds.
        """
        try:
            self._open()
            yield from self._items()
        finally:
            self.close()

    def captured(self, time: float) -> float:
        """Return when (`time.monotonic()`) media time `time` was captured by the card."""
        return self._clock.at(time * self._rate)

    def clock(self) -> ClockReport:
        """Return drift and steps of the card's clock against this machine's; no offset.

        `uncertainty_ms` is that of `captured`.
        """
        clock = self._clock
        uncertainty = clock.uncertainty * 1000 if clock.is_known else None
        return ClockReport("device", None, uncertainty, clock.drift_ppm, clock.n_steps)

    def close(self) -> None:
        """Let go of the device; more calls do nothing."""
        with self._closing:
            self._is_closed = True
            stream, audio = self._stream, self._audio
            self._stream = self._audio = None
        self._ready.set()
        with quiet_stderr():
            if stream is not None:
                stream.close()
            if audio is not None:
                audio.terminate()

    def _open(self) -> None:
        try:
            pyaudio = import_pyaudio()
        except ModuleNotFoundError as error:
            raise SourceFailure("unsupported", f"{self._shown}: {error}.") from None
        with quiet_stderr():
            self._audio = pyaudio.PyAudio()
            record = find_input(self._audio, self._device)
            self._stream = self._open_stream(pyaudio, record)

    def _open_stream(self, pyaudio: Any, record: dict[str, Any]) -> Any:
        rates = dict.fromkeys((int(record["defaultSampleRate"]), *RATES))
        n_most = int(record["maxInputChannels"])
        reason = ""
        for self._rate in rates:
            for self._channels in sorted({1, min(2, n_most), n_most}):
                self._clock = SampleClock(self._rate)
                try:
                    return self._audio.open(
                        rate=self._rate,
                        channels=self._channels,
                        format=pyaudio.paInt16,
                        input=True,
                        input_device_index=int(record["index"]),
                        frames_per_buffer=round(self._rate * BUFFER),
                        stream_callback=self._callback(pyaudio),
                    )
                except (OSError, ValueError) as error:
                    reason = str(error.args[-1])
                    if BUSY in error.args:
                        raise SourceFailure(
                            "busy",
                            f"{self._shown}: {record['name']} is in use; close the program that "
                            "records from it.",
                        ) from None
        raise SourceFailure(
            "unplugged", f"{self._shown}: {record['name']} cannot be opened ({reason})."
        )

    def _callback(self, pyaudio: Any) -> Any:
        goes_on, overflow = pyaudio.paContinue, pyaudio.paInputOverflow

        def take(
            data: bytes, n_frames: int, times: dict[str, float], status: int
        ) -> tuple[None, int]:
            captured = time.monotonic() - age(times, n_frames / self._rate)
            is_after_loss = bool(status & overflow)
            self._buffers.append(_Buffer(self._n_bytes, data, captured, is_after_loss))
            self._n_bytes += len(data)
            self._ready.set()
            return None, goes_on

        return take

    def _items(self) -> Iterator[LiveItem]:
        placer, pcm = SoundPlacer(), _Pcm(self._channels * SAMPLE_BYTES)
        heard, is_open = time.monotonic(), False
        while not self._is_closed:
            if not self._ready.wait(IDLE):
                self._check(time.monotonic() - heard)
                yield None
                continue
            self._ready.clear()
            while self._buffers:
                buffer = self._buffers.popleft()
                heard = time.monotonic()
                n_lost, data = pcm.take(buffer)
                self._make_up(n_lost, "behind")
                if buffer.is_after_loss:
                    self._make_up(self._overflowed(buffer.captured), "overflow")
                self._clock.add(self._n_samples, buffer.captured)
                if not is_open:
                    is_open = True
                    yield Opened(self._info())
                start = self._n_samples / self._rate
                self._n_samples += len(data) // pcm.width
                if data:
                    yield from placer.push(start, self._frame(data))

    def _info(self) -> SourceInfo:
        return SourceInfo(self._name, False, True, sample_rate=self._rate, channels=self._channels)

    def _check(self, silence: float) -> None:
        stream = self._stream
        is_dead = stream is not None and not stream.is_active() and not self._buffers
        if self._is_closed or not (is_dead or silence > self._timeout):
            return
        what = "has stopped" if is_dead else f"has given no sound for {self._timeout:g} s"
        raise SourceFailure(
            "unplugged", f"{self._shown}: the microphone {what}; check that it is plugged in."
        )

    def _overflowed(self, captured: float) -> int:
        # The card says that it lost sound, not how much: its clock does.
        if not self._clock.is_known:
            return 0
        lost = captured - self._clock.at(self._n_samples)
        return round(lost * self._rate) if lost > MAX_JITTER else 0

    def _make_up(self, n_lost: int, cause: str) -> None:
        if n_lost <= 0:
            return
        first = self._n_samples * SAMPLE_RATE // self._rate // STEP_SAMPLES
        self._n_samples += n_lost
        last = self._n_samples * SAMPLE_RATE // self._rate // STEP_SAMPLES
        self.dropped[cause] += max(0, last - max(first - 1, self._last_dropped))
        self._last_dropped = last

    def _frame(self, data: bytes) -> AudioFrame:
        layout = {1: "mono", 2: "stereo"}.get(self._channels, f"{self._channels}c")
        samples = np.frombuffer(data, np.int16).reshape(1, -1)
        if self._channels > 2:  # of an array of microphones nobody knows where they are
            mixed = samples.reshape(-1, self._channels).mean(axis=1)
            samples, layout = mixed.round().astype(np.int16).reshape(1, -1), "mono"
        frame = AudioFrame.from_ndarray(samples, format="s16", layout=layout)
        frame.sample_rate = self._rate
        return frame


class _Pcm:
    # Bytes as they come -> whole samples of all channels; some drivers cut in the middle of one.

    def __init__(self, width: int) -> None:
        self.width = width
        self._n_whole = 0  # samples given or lost
        self._rest = b""

    def take(self, buffer: _Buffer) -> tuple[int, bytes]:
        # How many samples are lost before the ones that come back.
        start = self._n_whole * self.width
        data = self._rest + buffer.data
        if start + len(self._rest) < buffer.first:
            n_cut = -buffer.first % self.width
            start, data = buffer.first + n_cut, buffer.data[n_cut:]
        n_lost = start // self.width - self._n_whole
        n_bytes = len(data) // self.width * self.width
        self._n_whole += n_lost + n_bytes // self.width
        self._rest = data[n_bytes:]
        return n_lost, data[:n_bytes]


def age(times: dict[str, float], length: float) -> float:
    """Return how long ago (s) the first sample of a buffer was captured, when it is handed over.

    Parameters
    ----------
    times : dict
        PortAudio's `input_buffer_adc_time` and `current_time`, in a clock of its own. Some
        drivers leave them 0, or claim sound from the future.
    length : float
        Of the buffer, s: it cannot be younger.

    Examples
    --------
    >>> age({"input_buffer_adc_time": 99.95, "current_time": 100.0}, 0.032)
    0.04999999999999716
    >>> age({"input_buffer_adc_time": 0.0, "current_time": 100.0}, 0.032)
    0.032
    """
    told = times["current_time"] - times["input_buffer_adc_time"]
    return told if length < told < MAX_AGE else length


def find_input(audio: Any, wanted: str) -> dict[str, Any]:
    """Return PortAudio's record of a microphone.

    Parameters
    ----------
    audio : pyaudio.PyAudio
    wanted : str
        "default", a number, or a part of a name; upper and lower case are the same.

    Raises
    ------
    SourceFailure
        "unplugged" if there is none; with what there is.
    """
    records, default = inputs(audio), default_input(audio)
    if wanted in ("", "default"):
        if default is not None:
            return default
    elif wanted.isdecimal():
        for record in records:
            if record["index"] == int(wanted):
                return record
    else:
        for record in records:
            if wanted.lower() in str(record["name"]).lower():
                return record
    names = ", ".join(f"{record['index']} {record['name']}" for record in records) or "none"
    raise SourceFailure(
        "unplugged", f"mic://{wanted}: no such microphone; there are: {names} (playspot devices)."
    )
