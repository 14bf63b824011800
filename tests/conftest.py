"""Fixtures that several test files share."""

import gc
import importlib
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from playspot.models.labels import LABELS
from playspot.stream.events import Event, ModelInfo, Step
from playspot.stream.played import Played
from playspot.stream.timeline import STEP, n_steps, step_time


def pytest_configure() -> None:
    """Give each test process one thread: several processes with several take 3 times as long.

    Networks that the user of this machine has compiled are not for tests.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    nowhere = Path(tempfile.gettempdir(), f"playspot-nowhere-{os.getpid()}", "engines")
    os.environ.setdefault("PLAYSPOT_ENGINES", str(nowhere))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file in one process, so that what they share is made once.

    Those that are judged by the clock are all in one: they run one after the other.
    """
    for item in items:
        is_timed = item.get_closest_marker("clock") is not None
        item.add_marker(pytest.mark.xdist_group("clock" if is_timed else item.path.stem))


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a seeded random generator, so that a failure can be repeated."""
    return np.random.default_rng(20181)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real weights, clips and annotations; skip where there is none."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("needs the folder ../shared with real data, which is not part of the project")
    return folder


def _module(name: str) -> ModuleType:
    """Return a module of this folder (test files do not import each other)."""
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"tests/{name}.py is gone; restore it.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make local time UTC."""
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture(scope="session")
def media() -> ModuleType:
    """Return tests/media.py, which makes test media (test files do not import each other)."""
    return _module("media")


@pytest.fixture(scope="session")
def made() -> ModuleType:
    """Return tests/made_clips.py, which makes clips and settings to train on in a second."""
    return _module("made_clips")


@pytest.fixture(scope="session")
def clips(made: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Return twelve cached clips of three labels."""
    clips: list[Any] = made.make_clips(tmp_path_factory.mktemp("clips"))
    return clips


@pytest.fixture(scope="session")
def feed() -> ModuleType:
    """Return tests/feed.py, which makes the messages of live readers."""
    return _module("feed")


@pytest.fixture(scope="session")
def event_feed() -> ModuleType:
    """Return tests/event_feed.py, which makes events as a run publishes them."""
    return _module("event_feed")


@pytest.fixture(scope="session")
def live() -> ModuleType:
    """Return tests/live.py, which runs a real `playspot run`."""
    return _module("live")


@pytest.fixture(scope="session")
def web() -> ModuleType:
    """Return tests/web.py, which runs a real web process in a thread."""
    return _module("web")


@pytest.fixture(scope="session")
def page_server() -> ModuleType:
    """Return tests/page_server.py, a server for the live page that plays made-up music."""
    pytest.importorskip("uvicorn", reason="needs the extra web")
    return _module("page_server")


@pytest.fixture(scope="session")
def netns() -> ModuleType:
    """Return tests/netns.py, which makes a network whose cable can be pulled out."""
    return _module("netns")


@pytest.fixture(scope="session")
def mqtt() -> ModuleType:
    """Return tests/broker.py, which runs a real mosquitto; skip where there is none."""
    pytest.importorskip("paho.mqtt", reason="needs paho-mqtt (pip install 'playspot[mqtt]')")
    module = _module("broker")
    if module.PROGRAM is None:
        pytest.skip("needs the program mosquitto")
    return module


def _forget_the_machine() -> None:
    """Let what there is to run networks with be asked for again."""
    for name, functions in (
        ("machine", ("gpu", "tensorrt_version")),
        ("availability", ("availability",)),
    ):
        module = importlib.import_module(f"playspot.engines.{name}")
        for function in functions:
            getattr(module, function).cache_clear()


@pytest.fixture
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a strict fake of a GPU, pycuda and TensorRT, here and in child processes.

    It is `pycuda.fake_device.DEVICE`. `monkeypatch.setenv("FAKE_GPU", ...)` makes it fail; at the
    end of the test nothing may be left on it.
    """
    folder = str(Path(__file__).with_name("fakes"))
    path = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", folder if path is None else f"{folder}{os.pathsep}{path}")
    monkeypatch.syspath_prepend(folder)
    for name in [name for name in sys.modules if name.split(".")[0] in ("pycuda", "tensorrt")]:
        del sys.modules[name]
    _forget_the_machine()
    device = importlib.import_module("pycuda.fake_device")
    libcuda = importlib.import_module("pycuda.fake_libcuda")
    gc.freeze()  # so that only what the test makes is looked through in the end
    try:
        yield device.DEVICE
        gc.collect()
        device.DEVICE.check()
    finally:
        gc.unfreeze()
        device.reset()
        libcuda.uninstall()
        _forget_the_machine()
        for name in [name for name in sys.modules if name.split(".")[0] in ("pycuda", "tensorrt")]:
            del sys.modules[name]


@pytest.fixture(scope="session")
def read(media: ModuleType) -> Callable[..., object]:
    """Return `media.read`: a file read whole through `FileSource`, and checked."""
    read: Callable[..., object] = media.read
    return read


@pytest.fixture
def make_clip(media: ModuleType, tmp_path: Path) -> Callable[..., Path]:
    """Return `media.make_clip`, taking the name of a file in the test's own folder."""

    def make(name: str = "clip.mp4", **options: object) -> Path:
        path: Path = media.make_clip(tmp_path / name, **options)
        return path

    return make


@pytest.fixture
def make_played() -> Callable[..., Played]:
    """Return what makes a `Played` of parts (label, first step, last step, point, box, score)."""

    def make(duration: float, *parts: tuple[Any, ...]) -> Played:
        played = Played(LABELS)
        for step in range(n_steps(duration)):
            scores = dict.fromkeys(LABELS, 0.05)
            events: list[Event] = []
            for number, (label, first, last, point, box, score) in enumerate(parts):
                if first <= step <= last:
                    scores[label] = score
                if first <= step <= last + 1:
                    kind: Any = "new" if step == first else "update" if step <= last else "end"
                    events.append(
                        Event(
                            schema="playspot/event/1",
                            type=kind,
                            id=f"{label}-{number}",
                            source="clip",
                            label=label,
                            score=score,
                            top_score=score,
                            start_time=max(0.0, step_time(first) - STEP / 2),
                            end_time=step_time(last) + STEP / 2 if kind == "end" else None,
                            time=step_time(step),
                            wall_time=0.0,
                            step=step,
                            seq=0,
                            system_id="test",
                            point=point,
                            box=box,
                            model=ModelInfo(name="m", hash="h", engine="e", precision="fp32"),
                        )
                    )
            played.add(Step(step=step, time=step_time(step), scores=scores, points={}), events)
        played.duration = duration
        return played

    return make


@pytest.fixture
def write_clip() -> Callable[..., None]:
    """Return a function that writes a clip for training: its tags, and a file in place of video."""

    def write(folder: Path, name: str, **content: object) -> None:
        tags = {"played": [], "visible": [], "heard": [], **content}
        (folder / f"{name}.mp4").write_bytes(b"video")
        (folder / f"{name}.json").write_text(json.dumps(tags))

    return write


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a model file of some bytes."""

    def write(content: bytes, name: str = "a model é.onnx") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | bytes], Path]:
    """Return a function that makes `playspot.yaml`; it becomes a file of the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLAYSPOT_MODELS", str(tmp_path / "none"))

    def make(content: str | bytes) -> Path:
        path = Path("playspot.yaml")
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return make
