"""The list of cameras and microphones: from a made-up machine, as there are none to test with."""

import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from playspot.stream import devices as module
from playspot.stream.devices import CAPABILITY, Device, cameras, captures, devices, microphones

CAPTURE, METADATA, DEVICE_CAPS = 0x1, 0x0080_0000, 0x8000_0000


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Return a made-up sysfs and /dev with a camera of two devices, and one of each trouble."""
    sysfs, dev = tmp_path / "sys", tmp_path / "dev"
    dev.mkdir()
    names = {0: "HD Webcam", 1: "HD Webcam", 2: "Locked Cam", 10: "USB Capture", 11: "Gone Cam"}
    for number, name in names.items():
        (sysfs / f"video{number}").mkdir(parents=True)
        (sysfs / f"video{number}" / "name").write_text(name + "\n")
        if name != "Gone Cam":
            (dev / f"video{number}").touch()
    flags = {"video0": CAPTURE, "video1": METADATA, "video10": CAPTURE}

    def answer(path: Path) -> bool:
        if path.name == "video2":
            raise PermissionError(13, "Permission denied")
        if not path.exists():
            raise FileNotFoundError(2, "No such file or directory")
        return bool(flags[path.name] & CAPTURE)

    monkeypatch.setattr(module, "captures", answer)
    return sysfs, dev


def test_cameras_are_those_that_give_pictures(machine: tuple[Path, Path]) -> None:
    sysfs, dev = machine
    assert cameras(sysfs, dev) == [
        Device("camera", f"v4l2://{dev}/video0", "HD Webcam"),
        Device(
            "camera",
            f"v4l2://{dev}/video2",
            "Locked Cam",
            "may not be opened: add your user to the group `video`",
        ),
        Device("camera", f"v4l2://{dev}/video10", "USB Capture"),
        Device(
            "camera",
            f"v4l2://{dev}/video11",
            "Gone Cam",
            "cannot be opened (No such file or directory)",
        ),
    ]


def test_a_machine_without_video_has_no_cameras(tmp_path: Path) -> None:
    assert cameras(tmp_path / "none", tmp_path) == []


@pytest.mark.parametrize(
    ("of_all", "of_this", "expected"),
    [
        (CAPTURE | DEVICE_CAPS, CAPTURE, True),
        (CAPTURE | METADATA | DEVICE_CAPS, METADATA, False),  # the second device of a camera
        (CAPTURE, 0, True),  # an old driver
        (0x1000 | DEVICE_CAPS, 0x1000, True),
    ],
)
def test_the_flags_of_the_device_itself_count(
    monkeypatch: pytest.MonkeyPatch, of_all: int, of_this: int, expected: bool
) -> None:
    def ioctl(descriptor: int, request: int, record: bytes) -> bytes:
        assert len(record) == 104  # struct v4l2_capability
        assert (request >> 16) & 0x3FFF == len(record)
        return CAPABILITY.pack(b"uvcvideo", b"HD Webcam", b"usb-1", 0x60100, of_all, of_this)

    monkeypatch.setattr("fcntl.ioctl", ioctl)
    assert captures(Path(os.devnull)) is expected


def test_a_file_that_is_no_camera_cannot_be_asked() -> None:
    with pytest.raises(OSError, match="ioctl"):
        captures(Path(os.devnull))


@pytest.fixture
def pyaudio(monkeypatch: pytest.MonkeyPatch) -> None:
    records: list[dict[str, Any]] = [
        {"index": 0, "name": "Speaker", "maxInputChannels": 0, "defaultSampleRate": 48_000.0},
        {"index": 1, "name": "USB Audio", "maxInputChannels": 2, "defaultSampleRate": 44_100.0},
    ]

    class PyAudio:
        def get_device_count(self) -> int:
            return len(records)

        def get_device_info_by_index(self, index: int) -> dict[str, Any]:
            return records[index]

        def get_default_input_device_info(self) -> dict[str, Any]:
            return records[1]

        def terminate(self) -> None:
            pass

    fake = ModuleType("pyaudio")
    fake.__dict__["PyAudio"] = PyAudio
    monkeypatch.setitem(sys.modules, "pyaudio", fake)


@pytest.mark.usefixtures("pyaudio")
def test_microphones_are_listed_with_the_default_first() -> None:
    assert microphones() == [
        Device("microphone", "mic://default", "default", "the system's choice, now USB Audio"),
        Device("microphone", "mic://1", "USB Audio", "44100 Hz, 2 channels"),
    ]


def run(*arguments: str) -> tuple[str, str]:
    app = typer.Typer()
    app.command()(devices)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    return result.stdout, result.stderr


@pytest.mark.usefixtures("pyaudio")
def test_the_command_prints_urls_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    webcam = Device("camera", "v4l2:///dev/video0", "HD Webcam")
    monkeypatch.setattr(module, "cameras", lambda: [webcam])
    assert run()[0].splitlines() == [
        "v4l2:///dev/video0  HD Webcam",
        "mic://default       default (the system's choice, now USB Audio)",
        "mic://1             USB Audio (44100 Hz, 2 channels)",
    ]
    lines = [json.loads(line) for line in run("--json")[0].splitlines()]
    assert [line["url"] for line in lines] == ["v4l2:///dev/video0", "mic://default", "mic://1"]
    assert set(lines[0]) == {"kind", "url", "name", "detail"}


def test_without_pyaudio_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    monkeypatch.setattr(module, "cameras", list)
    why = "microphones need PyAudio: pip install 'playspot[live]'"
    assert run()[0].splitlines() == ["no camera found", why]
    assert run("--json") == ("", why + "\n")
