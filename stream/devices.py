"""The cameras and microphones of this machine, each with the URL under which it is a source."""

import contextlib
import importlib
import json
import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

INSTALL = "microphones need PyAudio: pip install 'playspot[live]'"

SYSFS = Path("/sys/class/video4linux")
DEV = Path("/dev")
QUERYCAP = 0x80685600  # ioctl VIDIOC_QUERYCAP of linux/videodev2.h
CAPABILITY = struct.Struct("16s32s32sIII12x")  # driver, card, bus, version, two sets of flags
CAPTURES = 0x0000_0001 | 0x0000_1000  # single and multi-planar video capture


@dataclass(frozen=True)
class Device:
    """A camera or a microphone.

    Attributes
    ----------
    kind : str
        "camera" or "microphone".
    url : str
        What `playspot run` takes.
    name : str
        As the system calls it.
    detail : str
        Rates and channels, or why it cannot be used.
    """

    kind: str
    url: str
    name: str
    detail: str = ""


def cameras(sysfs: Path = SYSFS, dev: Path = DEV) -> list[Device]:
    """Return the cameras that Linux knows of, by number; elsewhere none.

    Parameters
    ----------
    sysfs, dev : Path
        Where the system lists its video devices and keeps them.

    Returns
    -------
    cameras : list of Device
        Without devices that only put out or only describe pictures. One that may not be opened is
        listed, and says so.

    Examples
    --------
    >>> cameras(Path("nowhere"))
    []
    """
    found = []
    for folder in sorted(sysfs.glob("video*"), key=lambda path: (len(path.name), path.name)):
        path = dev / folder.name
        try:
            name = (folder / "name").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            continue  # unplugged in this moment
        try:
            if not captures(path):
                continue
            detail = ""
        except PermissionError:
            detail = "may not be opened: add your user to the group `video`"
        except OSError as error:
            detail = f"cannot be opened ({error.strerror})"
        found.append(Device("camera", f"v4l2://{path}", name, detail))
    return found


def captures(path: Path) -> bool:
    """Return whether a V4L2 device gives pictures (many cameras have a second one for data).

    Raises
    ------
    OSError
        If it cannot be asked.
    """
    import fcntl  # not on every system

    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        answer = fcntl.ioctl(descriptor, QUERYCAP, bytes(CAPABILITY.size))
    finally:
        os.close(descriptor)
    *_, of_all, of_this = CAPABILITY.unpack(answer)
    return bool((of_this or of_all) & CAPTURES)


def import_pyaudio() -> ModuleType:
    """Return PyAudio.

    Raises
    ------
    ModuleNotFoundError
        With what to install.
    """
    try:
        return importlib.import_module("pyaudio")
    except ImportError:
        raise ModuleNotFoundError(INSTALL) from None


def microphones() -> list[Device]:
    """Return what PortAudio can record from, the default first.

    Raises
    ------
    ModuleNotFoundError
        If PyAudio is not installed.
    """
    with quiet_stderr():
        audio = import_pyaudio().PyAudio()
        try:
            records, default = inputs(audio), default_input(audio)
        finally:
            audio.terminate()
    found = [
        Device(
            "microphone",
            f"mic://{record['index']}",
            str(record["name"]),
            f"{record['defaultSampleRate']:.0f} Hz, {record['maxInputChannels']} channels",
        )
        for record in records
    ]
    if default is not None:
        detail = f"the system's choice, now {default['name']}"
        found.insert(0, Device("microphone", "mic://default", "default", detail))
    return found


def inputs(audio: Any) -> list[dict[str, Any]]:
    """Return PortAudio's records of the devices that sound can be recorded from."""
    records = [audio.get_device_info_by_index(k) for k in range(audio.get_device_count())]
    return [record for record in records if record["maxInputChannels"] > 0]


def default_input(audio: Any) -> dict[str, Any] | None:
    """Return PortAudio's record of the default device, if there is one."""
    try:
        record: dict[str, Any] = audio.get_default_input_device_info()
    except OSError:
        return None
    return record


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep C libraries from writing to standard error: ALSA tells of each card that is not there.

    For the whole process, so only for a moment.
    """
    try:
        kept = os.dup(2)
    except OSError:  # a service may have none
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def devices(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a device, for programs.")
    ] = False,
) -> None:
    """List cameras and microphones with the URL to run each by.

    Example: playspot devices
    """
    found, missing = cameras(), ""
    try:
        found += microphones()
    except ModuleNotFoundError as error:
        missing = str(error)
    if as_json:
        for device in found:
            print(json.dumps(asdict(device)))
    else:
        width = max((len(device.url) for device in found), default=0)
        for device in found:
            detail = f" ({device.detail})" if device.detail else ""
            print(f"{device.url:{width}}  {device.name}{detail}")
        for kind in ("camera", "microphone"):
            if not any(device.kind == kind for device in found):
                why = missing if kind == "microphone" and missing else f"no {kind} found"
                print(why)
    if missing and as_json:
        print(missing, file=sys.stderr)
