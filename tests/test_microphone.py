"""A microphone, played by a module that stands in for PyAudio, and by a real sound server."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from playspot.stream.failures import SourceFailure
from playspot.stream.live import LiveItem, LiveSource, Opened
from playspot.stream.media import AudioChunk, SourceInfo
from playspot.stream.microphone import QUEUE, MicrophoneSource
from playspot.stream.timeline import SAMPLE_RATE

pytestmark = pytest.mark.live

DEADLINE = 20.0
AHEAD = 7000.0  # s; PortAudio's clock is not time.monotonic()
OVERFLOW = 2  # paInputOverflow
DEVICES: list[dict[str, Any]] = [
    {"index": 0, "name": "HDA speaker", "maxInputChannels": 0, "defaultSampleRate": 48_000.0},
    {"index": 1, "name": "Built-in", "maxInputChannels": 2, "defaultSampleRate": 44_100.0},
    {"index": 2, "name": "USB Audio", "maxInputChannels": 4, "defaultSampleRate": 48_000.0},
]


class Card:
    """What stands in for PyAudio and its streams: a sound card that gives what a test says."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.refuses: Callable[[dict[str, Any]], OSError | None] = lambda options: None
        self.runs = True
        self.n_open = 0
        self.begin = time.monotonic()
        self.devices = DEVICES

    def get_device_count(self) -> int:
        return len(self.devices)

    def get_device_info_by_index(self, index: int) -> dict[str, Any]:
        return self.devices[index]

    def get_default_input_device_info(self) -> dict[str, Any]:
        if len(self.devices) < 2:
            raise OSError("No Default Input Device Available")
        return self.devices[1]

    def open(self, **options: Any) -> "Card":
        os.write(2, b"ALSA lib pcm.c: Unknown PCM cards.pcm.front\n")
        if (error := self.refuses(options)) is not None:
            raise error
        self.options = options
        self.n_open += 1
        return self

    def is_active(self) -> bool:
        return self.runs

    def close(self) -> None:
        self.n_open -= 1

    def terminate(self) -> None:
        pass

    def give(
        self, sound: NDArray[np.int16], at: float, status: int = 0, data: bytes | None = None
    ) -> None:
        """Hand over sound whose first frame was captured `at` seconds after the beginning."""
        captured, now = AHEAD + self.begin + at, AHEAD + time.monotonic()
        times = {"input_buffer_adc_time": captured, "current_time": now}
        answer = self.options["stream_callback"](
            sound.tobytes() if data is None else data, len(sound), times, status
        )
        assert answer == (None, 0)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    card = Card()
    module = ModuleType("pyaudio")
    module.__dict__.update(PyAudio=lambda: card, paInt16=8, paContinue=0, paInputOverflow=OVERFLOW)
    monkeypatch.setitem(sys.modules, "pyaudio", module)
    return card


def started(source: MicrophoneSource) -> Iterator[LiveItem]:
    items = iter(source)
    assert next(items) is None  # open, and nothing has come
    return items


def take(items: Iterator[LiveItem]) -> list[Any]:
    """Return what is there, up to the moment when nothing more comes."""
    taken: list[Any] = []
    while (item := next(items)) is not None:
        taken.append(item)
    return taken


def buffers(n: int, rate: int, channels: int = 1) -> list[NDArray[np.int16]]:
    """Return n times 32 ms of a tone of 440 Hz."""
    n_frames = round(rate * 0.032)
    wave = 8000 * np.sin(2 * np.pi * 440 * np.arange(n * n_frames) / rate)
    return np.split(np.repeat(wave.astype(np.int16)[:, None], channels, 1), n)


def pitch(waveform: NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(np.argmax(spectrum)) * SAMPLE_RATE / len(waveform)


def joined(chunks: list[AudioChunk]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    ends = np.cumsum([len(chunk.waveform) for chunk in chunks])
    assert [chunk.start for chunk in chunks] == [0, *ends[:-1]]
    missing = [np.full(len(chunk.waveform), chunk.missing) for chunk in chunks]
    return np.concatenate([chunk.waveform for chunk in chunks]), np.concatenate(missing)


@pytest.mark.parametrize(("device", "rate", "index"), [("default", 44_100, 1), ("usb", 48_000, 2)])
def test_sound_of_any_rate_comes_out_at_16_khz(
    card: Card, device: str, rate: int, index: int
) -> None:
    source: LiveSource = (mic := MicrophoneSource(device, name="m"))
    items = started(mic)
    for k, sound in enumerate(buffers(40, rate)):
        card.give(sound, 0.032 * k - 2.0)
    opened, *chunks = take(items)
    info = SourceInfo("m", False, True, sample_rate=rate, channels=1)
    assert opened == Opened(info)
    assert (card.options["rate"], card.options["input_device_index"]) == (rate, index)
    waveform, missing = joined(chunks)
    assert 1.28 - 0.15 < len(waveform) / SAMPLE_RATE <= 1.28
    assert pitch(waveform) == pytest.approx(440, abs=1)
    assert not missing.any()
    assert source.captured(1.0) == pytest.approx(card.begin - 1.0, abs=0.002)
    source.close()
    source.close()
    assert card.n_open == 0


@pytest.mark.parametrize("channels", [2, 4])
def test_a_card_that_has_only_several_channels_is_mixed(card: Card, channels: int) -> None:
    def refuses(options: dict[str, Any]) -> OSError | None:
        wrong = options["channels"] != channels
        return OSError(-9998, "Invalid number of channels") if wrong else None

    card.refuses = refuses
    mic = MicrophoneSource("USB", name="m")
    items = started(mic)
    for k, sound in enumerate(buffers(20, 48_000, channels)):
        card.give(sound, 0.032 * k - 2.0)
    opened, *chunks = take(items)
    assert opened.info.channels == channels
    waveform, _ = joined(chunks)
    assert np.abs(waveform).max() == pytest.approx(8000 / 32768, rel=0.02)
    assert pitch(waveform) == pytest.approx(440, abs=2)
    mic.close()


def test_bytes_that_are_cut_in_the_middle_of_a_sample_are_put_together(card: Card) -> None:
    mic = MicrophoneSource("USB", name="m")
    items = started(mic)
    data = b"".join(sound.tobytes() for sound in buffers(40, 48_000))
    pieces = [data[k : k + 3071] for k in range(0, len(data), 3071)]
    for k, piece in enumerate(pieces):
        card.give(np.zeros(1535, np.int16), 0.032 * k - 2.0, data=piece)
    _, *chunks = take(items)
    waveform, missing = joined(chunks)
    assert pitch(waveform) == pytest.approx(440, abs=1)
    assert np.abs(waveform).max() < 0.26  # a byte out of step would be noise
    assert not missing.any()
    mic.close()


def test_sound_that_the_card_lost_is_missing_and_counted(card: Card) -> None:
    mic = MicrophoneSource("USB", name="m")
    items = started(mic)
    for k, sound in enumerate(buffers(100, 48_000)):
        lost = 0.6 * (k >= 50)
        card.give(sound, 0.032 * k + lost - 4.0, OVERFLOW if k == 50 else 0)
    _, *chunks = take(items)
    waveform, missing = joined(chunks)
    assert missing.sum() == pytest.approx(0.6 * SAMPLE_RATE, abs=2)
    assert np.flatnonzero(missing)[0] == pytest.approx(1.6 * SAMPLE_RATE, abs=2)
    assert len(waveform) > 3.6 * SAMPLE_RATE
    assert mic.captured(3.0) == pytest.approx(card.begin - 1.0, abs=0.005)
    assert mic.clock().n_steps_of_clock == 0
    assert mic.dropped == {"overflow": 2}  # 1.6 ... 2.2 s lies in steps 3 and 4
    mic.close()


def test_a_flag_without_loss_adds_nothing(card: Card) -> None:
    mic = MicrophoneSource("USB", name="m")
    items = started(mic)
    for k, sound in enumerate(buffers(50, 48_000)):
        card.give(sound, 0.032 * k - 2.0, OVERFLOW)
    _, *chunks = take(items)
    assert not joined(chunks)[1].any()
    assert not mic.dropped
    mic.close()


def test_what_a_late_reader_misses_is_missing_and_counted(card: Card) -> None:
    mic = MicrophoneSource("USB", name="m")
    items = started(mic)
    sounds = buffers(QUEUE + 100, 48_000)
    for k, sound in enumerate(sounds[:20]):
        card.give(sound, 0.032 * k - 12.0)
    _, *chunks = take(items)
    for k, sound in enumerate(sounds[20:], 20):
        card.give(sound, 0.032 * k - 12.0)
    chunks += take(items)
    _, missing = joined(chunks)
    n_lost = len(sounds) - 20 - QUEUE
    assert missing.sum() == n_lost * 0.032 * SAMPLE_RATE
    assert mic.dropped["behind"] == pytest.approx(n_lost * 0.032 / 0.512, abs=1.5)
    mic.close()


def test_a_card_without_capture_times_is_taken_to_give_sound_at_once(card: Card) -> None:
    mic = MicrophoneSource("USB", name="m")
    items = started(mic)
    for sound in buffers(20, 48_000):
        times = {"input_buffer_adc_time": 0.0, "current_time": 0.0}
        card.options["stream_callback"](sound.tobytes(), len(sound), times, 0)
    now = time.monotonic()
    take(items)
    assert mic.captured(0.0) == pytest.approx(now - 0.32, abs=0.35)
    mic.close()


def test_a_device_that_gives_nothing_is_unplugged_after_the_timeout(card: Card) -> None:
    items, begin = iter(MicrophoneSource("USB", name="m", timeout=0.5)), time.monotonic()
    with pytest.raises(SourceFailure, match=r"mic://USB: .* no sound for 0\.5 s") as caught:
        list(items)
    assert caught.value.kind == "unplugged"
    assert 0.5 <= time.monotonic() - begin < 1.5
    assert card.n_open == 0


def test_a_stream_that_has_stopped_is_unplugged_at_once(card: Card) -> None:
    items = started(MicrophoneSource("USB", name="m"))
    card.runs = False
    with pytest.raises(SourceFailure, match="has stopped"):
        next(items)


@pytest.mark.parametrize("device", ["9", "Zoom", "0"])
def test_a_device_that_is_not_there_is_unplugged(card: Card, device: str) -> None:
    with pytest.raises(SourceFailure, match="1 Built-in, 2 USB Audio") as caught:
        next(iter(MicrophoneSource(device, name="m")))
    assert caught.value.kind == "unplugged"


def test_no_device_at_all_is_said(card: Card) -> None:
    card.devices = DEVICES[:1]
    with pytest.raises(SourceFailure, match="there are: none"):
        next(iter(MicrophoneSource(name="m")))


def test_a_device_in_use_is_busy(card: Card) -> None:
    card.refuses = lambda options: OSError(-9985, "Device unavailable")
    with pytest.raises(SourceFailure, match="Built-in is in use") as caught:
        next(iter(MicrophoneSource(name="m")))
    assert caught.value.kind == "busy"


def test_without_pyaudio_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    with pytest.raises(SourceFailure, match=r"pip install 'playspot\[live\]'") as caught:
        next(iter(MicrophoneSource(name="m")))
    assert caught.value.kind == "unsupported"
    assert not caught.value.may_heal


def test_the_chatter_of_alsa_is_not_seen(card: Card, capfd: pytest.CaptureFixture[str]) -> None:
    mic = MicrophoneSource("USB", name="m")
    started(mic)
    mic.close()
    assert capfd.readouterr().err == ""


def test_closing_from_another_thread_ends_the_reading(card: Card) -> None:
    mic = MicrophoneSource("USB", name="m")
    items = started(mic)
    closer = threading.Thread(target=mic.close)
    closer.start()
    assert list(items) in ([], [None])
    closer.join()


class SoundServer:
    """A real PulseAudio whose only microphone is a pipe that a test writes into."""

    def __init__(self, folder: Path) -> None:
        self.env = {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "PULSE_RUNTIME_PATH": str(folder / "run"),
            "PULSE_STATE_PATH": str(folder / "state"),
            "PULSE_SERVER": f"unix:{folder / 'socket'}",
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
        }
        configuration = "pcm.!default pulse\nctl.!default pulse\n"
        plugins = Path("/usr/share/alsa/alsa.conf.d")
        parts = ["</usr/share/alsa/alsa.conf>", *(f"<{p}>" for p in plugins.glob("*pulse*.conf"))]
        (folder / "asound.conf").write_text("\n".join([*parts, configuration]))
        self._fifo = folder / "fifo"
        pipe = f"module-pipe-source source_name=pipe file={self._fifo} rate=16000 channels=1"
        protocol = f"module-native-protocol-unix socket={folder / 'socket'} auth-anonymous=1"
        options = ("--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1")
        self.process = subprocess.Popen(
            ["pulseaudio", "-n", *options, "-L", f"{pipe} format=s16le", "-L", protocol],
            env=os.environ | self.env,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + DEADLINE
        while not (folder / "socket").exists():
            if self.process.poll() is not None or time.monotonic() > end:
                self.close()
                pytest.skip("PulseAudio does not start here")
            threading.Event().wait(0.02)
        self.onsets: list[float] = []  # monotonic times at which the tone began
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._play)
        self._thread.start()

    def _play(self) -> None:
        # Every 10 ms that much of sound; each second begins with half a second of a tone.
        pipe, begin = os.open(self._fifo, os.O_RDWR | os.O_NONBLOCK), time.monotonic()
        tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(8000) / 16_000)).astype(np.int16)
        second = np.concatenate([tone, np.zeros(8000, np.int16)]).reshape(100, 160)
        k = 0
        while not self._is_over.wait(max(0.0, begin + k * 0.01 - time.monotonic())):
            if k % 100 == 0:
                self.onsets.append(time.monotonic())
            with contextlib.suppress(BlockingIOError):  # nobody listens yet
                os.write(pipe, second[k % 100].tobytes())
            k += 1
        os.close(pipe)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if hasattr(self, "_is_over"):
            self._is_over.set()
            self._thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundServer]:
    pytest.importorskip("pyaudio", reason="needs PyAudio: pip install 'playspot[live]'")
    if shutil.which("pulseaudio") is None:
        pytest.skip("needs PulseAudio: apt install pulseaudio libasound2-plugins")
    with tempfile.TemporaryDirectory(prefix="pulse") as folder:  # paths of sockets must be short
        server = SoundServer(Path(folder))
        for key, value in server.env.items():
            monkeypatch.setenv(key, value)
        yield server
        server.close()


def test_a_real_sound_server_is_heard_and_its_death_is_noticed(server: SoundServer) -> None:
    mic = MicrophoneSource("default", name="m", timeout=2.0)
    chunks: list[AudioChunk] = []
    killed = 0.0

    def listen() -> None:
        nonlocal killed
        end = time.monotonic() + DEADLINE
        for item in mic:
            assert time.monotonic() < end
            if isinstance(item, AudioChunk):
                chunks.append(item)
            if not killed and chunks and chunks[-1].start > 4 * SAMPLE_RATE:
                server.process.kill()
                killed = time.monotonic()

    with pytest.raises(SourceFailure, match="mic://default") as caught:
        listen()
    assert caught.value.kind == "unplugged"
    assert time.monotonic() - killed < 3.0
    waveform, missing = joined(chunks)
    assert not missing.any()
    is_loud = np.abs(waveform) > 0.1
    begins = [k for k in np.flatnonzero(is_loud) if k > 4000 and not is_loud[k - 4000 : k].any()]
    assert len(begins) >= 3
    for k in begins:
        errors = [mic.captured(k / SAMPLE_RATE) - onset for onset in server.onsets]
        assert min(map(abs, errors)) < 0.1
        assert pitch(waveform[k : k + 4000]) == pytest.approx(440, abs=5)
