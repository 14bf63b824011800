"""What there is to run networks with; what is absent, broken or overwritten is one line each."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from playspot.engines import machine
from playspot.engines.availability import availability, available, conflict
from playspot.engines.options import Backend


@pytest.fixture(autouse=True)
def _asked_again() -> Iterator[None]:
    availability.cache_clear()
    yield
    availability.cache_clear()


def _why(backend: Backend) -> str:
    found = availability(backend)
    assert not found.is_there
    assert "\n" not in found.why
    assert len(found.why) < 400
    return found.why


def _installed(folder: Path, **versions: str) -> None:
    """Write what pip leaves of installed distributions."""
    for name, version in versions.items():
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir()
        text = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n"
        (info / "METADATA").write_text(text)


def _package(folder: Path, name: str, content: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(content)


def _forget(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)


def test_onnx_runtime_is_there() -> None:
    found = availability("onnx")
    assert found.is_there
    assert found.why == "on the CPU"
    assert found.version


def test_every_backend_is_told_of() -> None:
    assert [found.backend for found in available()] == ["onnx", "cuda", "openvino", "tensorrt"]


def test_a_backend_is_asked_once() -> None:
    assert availability("openvino") is availability("openvino")


def test_an_absent_library_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert _why("openvino") == "openvino is not installed: pip install openvino"


def test_a_broken_library_says_what_is_wrong_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _package(tmp_path, "openvino", "raise ImportError('libopenvino.so.2640:\\nno such file')")
    _forget(monkeypatch, "openvino")
    monkeypatch.syspath_prepend(tmp_path)
    expected = "openvino is installed and cannot be loaded (libopenvino.so.2640: no such file)"
    assert _why("openvino").startswith(expected)


def test_a_library_that_is_an_empty_folder_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pip leaves it where two packages with the same files were and one was removed."""
    site = tmp_path / "site"
    (site / "onnxruntime").mkdir(parents=True)
    _installed(site, onnxruntime_gpu="1.31.1")
    _forget(monkeypatch, "onnxruntime")
    others = [path for path in sys.path if not (Path(path) / "onnxruntime").exists()]
    monkeypatch.setattr(sys, "path", [str(site), *others])
    assert _why("onnx") == (
        "of onnxruntime parts are missing: "
        "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
    )


def test_two_onnx_runtimes_are_a_conflict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _installed(tmp_path, onnxruntime="1.31.1", onnxruntime_gpu="1.30.0")
    monkeypatch.syspath_prepend(tmp_path)
    assert conflict() == (
        "onnxruntime 1.31.1 and onnxruntime-gpu 1.30.0 overwrite each other: "
        "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
    )


def test_cuda_that_the_other_onnx_runtime_has_overwritten_says_so(
    fake_gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without_cuda()
    _installed(tmp_path, onnxruntime="1.31.1", onnxruntime_gpu="1.31.1")
    monkeypatch.syspath_prepend(tmp_path)
    assert "this ONNX Runtime has no CUDA in it" in _why("cuda")
    assert "overwrite each other" in _why("cuda")


def test_an_onnx_runtime_without_cuda_says_which_one_has_it(fake_gpu: Any) -> None:
    _without_cuda()
    assert _why("cuda").endswith("pip uninstall -y onnxruntime && pip install onnxruntime-gpu")


def test_cuda_without_a_gpu_says_so() -> None:
    _without_gpu()
    assert _why("cuda") == "there is no NVIDIA driver (libcuda.so.1)"


def test_cuda_whose_libraries_are_missing_says_which(
    fake_gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("playspot.engines.ort.has_cuda", lambda: True)
    monkeypatch.setattr("playspot.engines.ort.cuda_fault", lambda: "libcublasLt.so.13: not found")
    why = _why("cuda")
    assert why.startswith("ONNX Runtime cannot use ")
    assert why.endswith("libcublasLt.so.13: not found")


def test_tensorrt_without_a_driver_names_the_driver_alone() -> None:
    _without_gpu()
    assert _why("tensorrt") == "there is no NVIDIA driver (libcuda.so.1)"


@pytest.mark.parametrize("ask", ["machine.gpu(98)", "availability._fault('pycuda.driver')"])
def test_a_pycuda_that_does_not_fit_the_driver_is_silent(tmp_path: Path, ask: str) -> None:
    """As the real one: it warns of its own, in each process, and then raises."""
    _package(tmp_path, "pycuda", "")
    told = "import warnings\nwarnings.warn('does not match')\nraise ImportError('undefined symbol')"
    (tmp_path / "pycuda" / "driver.py").write_text(told)
    code = f"from playspot.engines import availability, machine; {ask}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""


def test_a_gpu_without_tensorrt_says_what_to_install(
    fake_gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:  # undone before the fake goes, or it would come back
        patch.setitem(sys.modules, "tensorrt", None)
        why = _why("tensorrt")
    assert why.startswith("tensorrt is not installed: pip install 'playspot[gpu]'")


def test_tensorrt_is_there_with_its_library_and_a_gpu(fake_gpu: Any) -> None:
    found = availability("tensorrt")
    assert found.is_there, found.why
    assert found.why == f"on {machine.gpu(0).name}"  # type: ignore[union-attr]


@pytest.mark.parametrize("version", ["10.3.0.30", "10.12.1", "8.6.1"])
def test_a_tensorrt_that_is_too_old_is_refused(
    fake_gpu: Any, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setenv("FAKE_TENSORRT_VERSION", version)
    why = _why("tensorrt")
    assert why == f"TensorRT {version} is too old: 10.13 or newer is needed; see docs/gpu.md"


@pytest.mark.parametrize("version", ["10.13.0.35", "10.16.2.10", "11.4.0.106", "12.0"])
def test_a_tensorrt_from_10_13_on_is_taken(
    fake_gpu: Any, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setenv("FAKE_TENSORRT_VERSION", version)
    found = availability("tensorrt")
    assert (found.is_there, found.version) == (True, version)


def test_tensorrt_without_a_gpu_is_not_there(
    fake_gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_GPU", "no-gpu")
    assert "GPU" in _why("tensorrt")


def test_a_gpu_of_a_number_that_nobody_has_is_not_there(fake_gpu: Any) -> None:
    found = availability("tensorrt", 99)
    assert not found.is_there
    assert found.why == "there is no GPU 99, only 1, counted from 0"


def _without_cuda() -> None:
    from playspot.engines.ort import has_cuda

    if has_cuda():
        pytest.skip("this ONNX Runtime has CUDA in it")


def _without_gpu() -> None:
    if machine.gpu(0) is not None:
        pytest.skip("there is a GPU")
