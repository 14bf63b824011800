"""Fixtures that several test files share."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


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


@pytest.fixture(scope="session")
def media() -> ModuleType:
    """Return tests/media.py, which makes test media (test files do not import each other)."""
    spec = importlib.util.spec_from_file_location("media", Path(__file__).with_name("media.py"))
    if spec is None or spec.loader is None:
        raise ImportError("tests/media.py is gone; restore it.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make_clip(media: ModuleType, tmp_path: Path) -> Callable[..., Path]:
    """Return `media.make_clip`, taking the name of a file in the test's own folder."""

    def make(name: str = "clip.mp4", **options: object) -> Path:
        path: Path = media.make_clip(tmp_path / name, **options)
        return path

    return make
