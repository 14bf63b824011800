"""OpenVINO: the scores of ONNX Runtime, memory that stays flat, nothing sent."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from playspot.engines import ModelError
from playspot.engines.catalogue import bundled
from playspot.engines.ort import OrtNetwork
from playspot.engines.ov import OpenVinoNetwork, load_openvino

if find_spec("openvino") is None:
    pytest.skip("OpenVINO is not installed", allow_module_level=True)

INPUTS: dict[str, tuple[str, list[tuple[int, ...]], Any]] = {
    "object": ("pictures", [(1, 64, 96, 3), (2, 96, 64, 3)], np.uint8),
    "action": ("stacks", [(1, 10, 64, 96), (2, 10, 96, 64)], np.float32),
    "sound": ("windows", [(1, 384, 64), (2, 384, 96)], np.float32),
}


def _bytes(kind: Any) -> bytes:
    path = bundled()[kind].path
    assert path is not None
    return path.read_bytes()


def _input(shape: tuple[int, ...], dtype: Any) -> Any:
    rng = np.random.default_rng(5)
    if dtype == np.uint8:
        return rng.integers(0, 256, shape, dtype=np.uint8)
    return rng.standard_normal(shape, dtype=np.float32)


@pytest.fixture(scope="module")
def network() -> OpenVinoNetwork:
    return OpenVinoNetwork(_bytes("object"), "object")


@pytest.mark.parametrize("kind", ["object", "action", "sound"])
def test_the_scores_are_those_of_onnx_runtime(kind: Any) -> None:
    model = _bytes(kind)
    openvino, onnx = OpenVinoNetwork(model, kind), OrtNetwork(model, kind)
    _, shapes, dtype = INPUTS[kind]
    name = onnx.inputs[0].name
    for shape in shapes:
        feeds = {name: _input(shape, dtype)}
        assert np.allclose(openvino.run(feeds)["scores"], onnx.run(feeds)["scores"], atol=1e-4)


@pytest.mark.parametrize("kind", ["object", "action", "sound"])
def test_inputs_and_outputs_are_told_as_onnx_runtime_tells_them(kind: Any) -> None:
    """By the names of the file, though OpenVINO knows others for the same value."""
    model = _bytes(kind)
    openvino, onnx = OpenVinoNetwork(model, kind), OrtNetwork(model, kind)
    for told, expected in ((openvino.inputs, onnx.inputs), (openvino.outputs, onnx.outputs)):
        assert [(t.name, t.dtype) for t in told] == [(t.name, t.dtype) for t in expected]
        for one, other in zip(told, expected, strict=True):
            fixed = [(n, m) for n, m in zip(one.shape, other.shape, strict=True) if n != "any"]
            assert all(n == m for n, m in fixed)


def test_an_output_is_not_touched_by_later_runs(network: OpenVinoNetwork) -> None:
    scores = network.run({"pictures": _input((1, 64, 96, 3), np.uint8)})["scores"]
    before = scores.copy()
    network.run({"pictures": np.zeros((1, 64, 96, 3), np.uint8)})
    assert np.array_equal(scores, before)


def test_an_input_need_not_be_contiguous(network: OpenVinoNetwork) -> None:
    mirrored = _input((1, 64, 96, 3), np.uint8)[:, :, ::-1]
    scores = network.run({"pictures": mirrored})["scores"]
    expected = network.run({"pictures": np.ascontiguousarray(mirrored)})["scores"]
    assert np.array_equal(scores, expected)


def test_memory_stays_flat_over_inputs_of_many_sizes(network: OpenVinoNetwork) -> None:
    process = psutil.Process()
    for side in range(64, 144):
        network.run({"pictures": np.zeros((1, 64, side, 3), np.uint8)})
    before = process.memory_info().rss
    for side in range(144, 304):  # 0.7 MB for each size, if its kernels were kept
        network.run({"pictures": np.zeros((1, 64, side, 3), np.uint8)})
    assert process.memory_info().rss - before < 40 * 2**20


def test_a_missing_input_is_refused(network: OpenVinoNetwork) -> None:
    with pytest.raises(ValueError, match="its input pictures is"):
        network.run({})


def test_an_input_of_another_type_is_refused(network: OpenVinoNetwork) -> None:
    with pytest.raises(ValueError, match="its input pictures is"):
        network.run({"pictures": np.zeros((1, 64, 96, 3), np.float32)})


def test_a_closed_network_says_so() -> None:
    network = OpenVinoNetwork(_bytes("sound"), "sound")
    network.close()
    network.close()
    with pytest.raises(ValueError, match="the network of sound is closed"):
        network.run({})


def test_a_model_that_openvino_refuses_is_refused_on_one_line() -> None:
    from onnx import load_model_from_string

    proto = load_model_from_string(_bytes("sound"))
    proto.graph.node[-1].op_type = "Frobnicate"
    with pytest.raises(ModelError, match=r"^sound: cannot be loaded") as caught:
        OpenVinoNetwork(proto.SerializeToString(), "sound")
    assert "\n" not in str(caught.value)


def test_bf16_is_for_processors_that_have_it() -> None:
    has = "BF16" in load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if has:
        network = OpenVinoNetwork(_bytes("sound"), "sound", precision="bf16")
        assert network.precision == "bf16"
    else:
        with pytest.raises(ModelError, match="sound: this processor has no bf16"):
            OpenVinoNetwork(_bytes("sound"), "sound", precision="bf16")


def test_no_openvino_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ModelError, match=r"^sound: no OpenVINO .*; pip install openvino$"):
        OpenVinoNetwork(_bytes("sound"), "sound")


def test_nothing_is_sent_to_its_maker(tmp_path: Path) -> None:
    """The telemetry of OpenVINO would leave an identity in the home, and send on import."""
    code = (
        "import sys\n"
        "from playspot.engines.ov import OpenVinoNetwork, load_openvino\n"
        "load_openvino()\n"
        "print([name for name, module in sys.modules.items()"
        " if name.startswith('openvino_telemetry') and module])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert done.stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == []
