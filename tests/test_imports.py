"""What a fresh process loads: the run time does without PyTorch and other heavy packages."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import playspot.engines
import playspot.stream

FORBIDDEN = ("torch", "librosa", "scipy", "sklearn")


def _loaded(*modules: str) -> set[str]:
    """Return which modules a fresh process has after importing some."""
    code = f"import importlib, sys\nfor m in {modules!r}: importlib.import_module(m)\n"
    code += "print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def _modules(package: Any, leave_out: Any = ()) -> list[str]:
    folder = Path(package.__file__).parent
    names = sorted(path.stem for path in folder.glob("*.py") if path.stem not in leave_out)
    return [f"{package.__name__}.{name}" for name in names if name != "__init__"]


def test_engines_do_without_torch() -> None:
    names = _modules(playspot.engines, leave_out=("export",))
    assert "playspot.engines.ort" in names
    assert _loaded("playspot.engines", *names).isdisjoint(FORBIDDEN)


def test_streams_do_without_torch() -> None:
    names = _modules(playspot.stream, leave_out=("__main__",))
    assert "playspot.stream.timeline" in names
    assert _loaded("playspot.stream", *names).isdisjoint(FORBIDDEN)


def test_extras_are_loaded_only_by_the_modules_named_after_them() -> None:
    names = _modules(playspot.stream, leave_out=("__main__",))
    own = ("api_", "web_", "mqtt_")
    others = [name for name in names if not name.rpartition(".")[2].startswith(own)]
    loaded = _loaded(*others, "playspot.stream.web_worker")
    assert loaded.isdisjoint({"fastapi", "starlette", "uvicorn", "paho", "sounddevice"})


def test_labels_do_without_torch() -> None:
    assert _loaded("playspot.models", "playspot.models.labels").isdisjoint(FORBIDDEN)


def test_a_process_that_runs_no_model_does_not_load_the_runtime() -> None:
    loaded = _loaded("playspot.engines", "playspot.engines.settings")
    assert loaded.isdisjoint({"onnxruntime", "onnx"})


def test_networks_without_torch_say_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import playspot.models\n"
        "try: playspot.models.SoundNet\n"
        "except ModuleNotFoundError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "SoundNet needs PyTorch: pip install 'playspot[train]'\n"


ASKED = "availability as found; found.available()"


@pytest.mark.parametrize("first", ["ort", ASKED])
def test_no_telemetry_is_sent(first: str, tmp_path: Path) -> None:
    """ONNX Runtime would leave an identity in the home and a file among the temporary ones."""
    silent = ("ORT_DISABLE_TELEMETRY", "CI", "GITHUB_ACTIONS", "TF_BUILD")  # it is so in a CI
    environment = {k: v for k, v in os.environ.items() if k not in silent}
    subprocess.run(
        [sys.executable, "-c", f"import playspot.engines.{first}"],
        timeout=120,
        check=True,
        env={**environment, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
    )
    assert list(tmp_path.iterdir()) == []
