"""What `doctor` finds of the machine itself: processor, media, devices, ports, folders, extras."""

import importlib.util
import os
import platform
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

State = Literal["ok", "could", "fault"]
FEATURES: Final = {  # of /proc/cpuinfo, and what they are good for
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX VNNI",
    "avx512_bf16": "AVX-512 bf16",
    "amx_int8": "AMX int8",
    "amx_bf16": "AMX bf16",
    "asimd": "NEON",
    "asimddp": "NEON dot products",
    "i8mm": "NEON int8 matrices",
}
INT8: Final = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")
DECODERS: Final = ("h264", "hevc", "vp9", "av1", "mjpeg", "aac", "mp3", "opus", "pcm_s16le")
ENCODERS: Final = ("libx264", "aac")  # of the annotated video
EXTRAS: Final = {  # a module that tells of each
    "live": ("pyaudio", "microphones"),
    "web": ("fastapi", "the live page and the HTTP API"),
    "mqtt": ("paho.mqtt", "events to MQTT"),
    "openvino": ("openvino", "int8 and bf16 at their fastest on a CPU"),
    "train": ("torch", "training, adapt, parity against PyTorch"),
    "evaluate": ("mir_eval", "the standard metrics of evaluate"),
}
# Rendered pictures are small; a model of the paper's width has 73 MB.
LEAST_FREE_BYTES: Final = 10**9


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    what : str
    state : {"ok", "could", "fault"}
        could: it works, and something would make it better. fault: `detect` will not work.
    says : str
        One line.
    do : str
        What to do about it; empty where there is nothing.
    """

    what: str
    state: State
    says: str
    do: str = ""


def python() -> Iterator[Finding]:
    """Look at the versions of Python and of what does the work."""
    from .benchmark_report import versions

    known = ", ".join(f"{name} {version}" for name, version in versions().items() if version)
    is_new = sys.version_info >= (3, 11)
    do = "" if is_new else "install Python 3.11 or newer"
    yield Finding("Python", "ok" if is_new else "fault", known, do)


def processor() -> Iterator[Finding]:
    """Look at the processor, and what networks gain from it."""
    from ..engines.machine import cpu_flags, processor
    from .processes import n_cores

    flags = cpu_flags()
    names = [name for flag, name in FEATURES.items() if flag in flags]
    told = f"{processor()}, {n_cores()} cores, {', '.join(names) or 'features unknown'}"
    if platform.machine() in ("x86_64", "AMD64") and flags and "avx2" not in flags:
        yield Finding("processor", "could", f"{told}: networks will be slow without AVX2")
    elif flags and not any(flag in flags for flag in INT8):
        yield Finding("processor", "ok", f"{told}; int8 gains little without VNNI or AMX")
    else:
        yield Finding("processor", "ok", told)


def media() -> Iterator[Finding]:
    """Look at what FFmpeg can decode and encode."""
    import av

    known = av.codecs_available
    missing = [name for name in DECODERS if not _has(name, "r")]
    version = ".".join(str(part) for part in av.library_versions.get("libavcodec", ()))
    told = f"FFmpeg (libavcodec {version}) through PyAV {av.__version__}, {len(known)} codecs"
    if {"h264", "aac"} & set(missing):
        do = "pip install --force-reinstall av"
        yield Finding("media", "fault", f"{told}: cannot decode {', '.join(missing)}", do)
    elif missing:
        yield Finding("media", "could", f"{told}: cannot decode {', '.join(missing)}")
    else:
        yield Finding("media", "ok", f"{told}: decodes {', '.join(DECODERS)}")
    if lacking := [name for name in ENCODERS if not _has(name, "w")]:
        yield Finding("media", "could", f"no annotated video: no encoder {', '.join(lacking)}")


def _has(codec: str, mode: Literal["r", "w"]) -> bool:
    import av

    try:
        av.Codec(codec, mode)
    except Exception:  # what PyAV raises here has changed its class before
        return False
    return True


def devices() -> Iterator[Finding]:
    """Look for cameras and microphones."""
    from ..stream.devices import cameras, microphones

    found = cameras()
    told = ", ".join(f"{device.name} ({device.url})" for device in found)
    yield Finding("cameras", "ok", told or "none (files and network streams need none)")
    try:
        heard = microphones()
    except ModuleNotFoundError as error:
        says, _, how = str(error).partition(": ")
        yield Finding("microphones", "could", says, how)
        return
    told = ", ".join(f"{device.name} ({device.url})" for device in heard)
    yield Finding("microphones", "ok", told or "none")


def ports() -> Iterator[Finding]:
    """Look whether the ports of `run` are free."""
    from ..stream.addresses import DEFAULT_ENDPOINT, DEFAULT_WEB, split_address

    address = urlsplit(DEFAULT_ENDPOINT)
    fine = []
    for what, host, port, do in (
        ("events", address.hostname or "", address.port or 0, "`publish: auto` takes another"),
        ("live page", *split_address(DEFAULT_WEB), "another run? give its `listen` another port"),
    ):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                says = f"{what}: {port} on {host} is taken ({error.strerror})"
                yield Finding("ports", "could", says, do)
            else:
                fine.append(f"{what} {port}")
    if fine:
        yield Finding("ports", "ok", f"free: {', '.join(fine)}")


def folders() -> Iterator[Finding]:
    """Look whether the folders can be written to, and have room."""
    from ..engines.catalogue import cache_folder
    from ..engines.compiled import store
    from ..stream.journal_lock import state_folder

    fine = []
    for what, folder, variable in (
        ("pulled models", cache_folder(), "PLAYSPOT_MODELS"),
        ("compiled networks", store(), "PLAYSPOT_ENGINES"),
        ("journal", state_folder(), "XDG_STATE_HOME"),
        ("temporary files", Path(tempfile.gettempdir()), "TMPDIR"),
    ):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        do = f"set {variable} to another folder"
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            yield Finding("folders", "could", f"{what}: {folder} cannot be written", do)
            continue
        status = os.statvfs(there) if hasattr(os, "statvfs") else None
        free = None if status is None else status.f_bavail * status.f_frsize
        if free is not None and free < LEAST_FREE_BYTES:
            yield Finding("folders", "could", f"{what}: {folder} has {free / 1e6:.0f} MB left", do)
        else:
            fine.append(f"{what} {folder}")
    if fine:
        yield Finding("folders", "ok", ", ".join(fine))


def extras() -> Iterator[Finding]:
    """Look which extras are installed."""
    missing = {name: what for name, (module, what) in EXTRAS.items() if not _installed(module)}
    if there := [name for name in EXTRAS if name not in missing]:
        yield Finding("extras", "ok", ", ".join(there))
    for name, what in missing.items():
        yield Finding("extras", "could", f"no {name}: {what}", f"pip install 'playspot[{name}]'")


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # its parent is missing, or half there
        return False
