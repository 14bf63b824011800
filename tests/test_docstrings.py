"""The examples in the docstrings run, and everything public has a docstring."""

import ast
import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("stream", "models", "training", "engines")
MODULES = [
    f"playspot.{package}.{path.stem}"
    for package in PACKAGES
    for path in sorted((ROOT / package).glob("*.py"))
    if path.stem not in ("__init__", "__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    source = (ROOT / name.replace("playspot.", "").replace(".", "/")).with_suffix(".py")
    if "import torch" in source.read_text(encoding="utf-8"):
        pytest.importorskip("torch")
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


@pytest.mark.parametrize("package", PACKAGES)
def test_no_folder_is_nested(package: str) -> None:
    """The packages are listed by hand: a folder within them would be missing from the wheel."""
    folders = {path.name for path in (ROOT / package).iterdir() if path.is_dir()}
    assert folders <= {"__pycache__"}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_is_longer_than_400_lines(package: str) -> None:
    lengths = {
        path.name: len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / package).glob("*.py")
    }
    assert {name: n for name, n in lengths.items() if n > 400} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    """training -> models, engines, stream; stream -> engines; models -> nothing of ours."""
    allowed = {
        "training": {"models", "engines", "stream"},
        "stream": {"engines"},
        "engines": {"models"},  # export.py alone, see test_imports.py
        "models": set(),
    }[package]
    for path in (ROOT / package).glob("*.py"):
        if path.stem == "__main__":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 2 and node.module:
                assert node.module.split(".")[0] in allowed, f"{path.name}: {node.module}"
