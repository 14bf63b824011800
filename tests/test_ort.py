"""ONNX Runtime: what comes out is the caller's, and memory and sessions are kept in bounds."""

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

from playspot.engines import ModelError
from playspot.engines.catalogue import bundled
from playspot.engines.ort import OrtNetwork, cuda_fault, has_cuda
from playspot.engines.ort_binding import Binding


@pytest.fixture(scope="module")
def object_model() -> bytes:
    path = bundled()["object"].path
    assert path is not None
    return path.read_bytes()


@pytest.fixture(scope="module")
def network(object_model: bytes) -> OrtNetwork:
    return OrtNetwork(object_model, "object")


def _pictures(*sizes: tuple[int, int, int]) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(2)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def test_an_output_is_not_touched_by_later_runs(network: OrtNetwork) -> None:
    one, other = _pictures((1, 64, 96), (1, 64, 96))
    scores = network.run({"pictures": one})["scores"]
    before = scores.copy()
    network.run({"pictures": other})
    assert np.array_equal(scores, before)


def test_a_missing_input_is_refused(network: OrtNetwork) -> None:
    with pytest.raises(ValueError, match="its input pictures is"):
        network.run({})


def test_a_closed_network_says_so(object_model: bytes) -> None:
    network = OrtNetwork(object_model, "object")
    network.close()
    network.close()
    with pytest.raises(ValueError, match="the network of object is closed"):
        network.run({})


def test_memory_stays_flat_over_inputs_of_many_sizes(network: OrtNetwork) -> None:
    process = psutil.Process()
    network.run({"pictures": _pictures((2, 192, 256))[0]})
    for side in range(64, 128):
        network.run({"pictures": _pictures((1, 64, side))[0]})
    before = process.memory_info().rss
    for side in range(128, 256):
        network.run({"pictures": _pictures((1, 64, side))[0]})
    assert process.memory_info().rss - before < 8 * 2**20


# Memory that is bound, as for the GPU, here on the CPU


def test_bound_inputs_and_outputs_give_the_same_scores_at_every_size(network: OrtNetwork) -> None:
    binding = Binding(network._session, "cpu")
    sizes = [(1, 64, 96), (1, 64, 96), (2, 64, 96), (1, 96, 64), (1, 96, 64), (1, 64, 96)]
    for pictures in _pictures(*sizes):
        expected = network.run({"pictures": pictures})["scores"]
        assert np.array_equal(binding.run({"pictures": pictures})[0], expected)


def test_a_bound_output_is_not_touched_by_later_runs(network: OrtNetwork) -> None:
    binding = Binding(network._session, "cpu")
    one, other = _pictures((1, 64, 96), (1, 64, 96))
    scores = binding.run({"pictures": one})[0]
    before = scores.copy()
    binding.run({"pictures": other})
    assert np.array_equal(scores, before)


def test_a_bound_input_is_not_written_to(network: OrtNetwork) -> None:
    binding = Binding(network._session, "cpu")
    one, other = _pictures((1, 64, 96), (1, 64, 96))
    before = one.copy()
    binding.run({"pictures": one})
    binding.run({"pictures": other})
    assert np.array_equal(one, before)


def test_a_bound_input_need_not_be_contiguous(network: OrtNetwork) -> None:
    binding = Binding(network._session, "cpu")
    for pictures in _pictures((1, 64, 96), (1, 64, 96)):
        mirrored = pictures[:, :, ::-1]
        expected = network.run({"pictures": mirrored})["scores"]
        assert np.array_equal(binding.run({"pictures": mirrored})[0], expected)


def test_after_a_failed_run_all_is_bound_anew(network: OrtNetwork) -> None:
    binding = Binding(network._session, "cpu")
    (pictures,) = _pictures((1, 64, 96))
    binding.run({"pictures": pictures})
    with pytest.raises(Exception, match=r"(?i)dim|shape|rank"):
        binding.run({"pictures": pictures[0]})
    expected = network.run({"pictures": pictures})["scores"]
    assert np.array_equal(binding.run({"pictures": pictures})[0], expected)


def test_after_a_failed_run_of_the_same_size_too(
    network: OrtNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = network._session
    assert session is not None
    binding, n_bound = Binding(session, "cpu"), 0
    real, bind = session.run_with_iobinding, binding._bind

    def count(arrays: dict[str, Any]) -> None:
        nonlocal n_bound
        n_bound += 1
        bind(arrays)

    def fail(_binding: Any) -> None:
        raise RuntimeError("the GPU is on fire")

    monkeypatch.setattr(binding, "_bind", count)
    (pictures,) = _pictures((1, 64, 96))
    for run in (real, fail, real, real):
        monkeypatch.setattr(session, "run_with_iobinding", run)
        with pytest.raises(RuntimeError) if run is fail else nullcontext():
            binding.run({"pictures": pictures})
    assert n_bound == 2


# On the GPU


def test_cuda_that_cannot_be_used_is_refused_on_one_line(object_model: bytes) -> None:
    if cuda_fault() is None:
        pytest.skip("CUDA's libraries are here")
    with pytest.raises(ModelError, match=r"^object: ONNX Runtime cannot use the GPU") as caught:
        OrtNetwork(object_model, "object", device="cuda")
    assert "\n" not in str(caught.value)


@pytest.mark.gpu
@pytest.mark.skipif(cuda_fault() is not None, reason="ONNX Runtime cannot use CUDA here")
def test_the_gpu_gives_the_scores_of_the_cpu(network: OrtNetwork, object_model: bytes) -> None:
    other = OrtNetwork(object_model, "object", device="cuda")
    for pictures in _pictures((1, 64, 96), (1, 64, 96), (3, 96, 64)):
        expected = network.run({"pictures": pictures})["scores"]
        assert np.allclose(other.run({"pictures": pictures})["scores"], expected, atol=1e-4)
    other.close()


def test_a_runtime_without_cuda_says_which_one_has_it() -> None:
    if has_cuda():
        pytest.skip("this ONNX Runtime has CUDA in it")
    assert "onnxruntime-gpu in place of onnxruntime" in str(cuda_fault())


def test_nothing_is_printed_about_cuda(tmp_path: Path) -> None:
    code = "from playspot.engines.ort import cuda_fault; cuda_fault()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert (done.stdout, done.stderr) == ("", "")


# int8


def _quantised() -> bytes:
    """Return a 1x1 convolution in int8 whose sums of two products are above 16 bits."""
    floats = {"one": 1 / 255, "unit": 1 / 127, "range": 16 / 255}
    weights = [helper.make_tensor(k, TensorProto.FLOAT, [], [v]) for k, v in floats.items()]
    kernel = np.full((16, 16, 1, 1), 127, np.int8)
    weights += [
        helper.make_tensor("zero", TensorProto.UINT8, [], [0]),
        helper.make_tensor("middle", TensorProto.INT8, [], [0]),
        numpy_helper.from_array(kernel, "w"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "one", "zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "unit", "middle"], ["wd"]),
        helper.make_node("Conv", ["xd", "wd"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "range", "zero"], ["cq"]),
        helper.make_node("DequantizeLinear", ["cq", "range", "zero"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16, "h", "w"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    proto = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    return bytes(proto.SerializeToString())


def test_sums_in_int8_do_not_saturate() -> None:
    """As they would on x86 without VNNI: 255 * 127, twice, is above 16 bits."""
    network = OrtNetwork(_quantised(), "q", precision="int8")
    found = network.run({"x": np.ones((1, 16, 8, 8), np.float32)})["y"]
    assert np.allclose(found, 16.0, atol=16 / 255)
