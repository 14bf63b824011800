"""TensorRT's engine class, on a fake that computes with ONNX Runtime and forgives nothing."""

import gc
import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from playspot.engines.engine import ModelError
from playspot.engines.network import Tensor
from playspot.engines.ort import OrtNetwork
from playspot.engines.trt import MAX_SHAPES, TrtNetwork

SHAPES = {"x": [(1, 4, 4), (2, 8, 8), (40, 16, 16)], "w": [(1,), (1,), (1,)]}


@pytest.fixture(scope="module")
def model() -> bytes:
    """Return a network of two inputs and two outputs: pictures times a number, and their mean."""
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "w"], ["y"]),
        helper.make_node("ReduceMean", ["y", "axes"], ["mean"], keepdims=0),
    ]
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2])
    sizes = ["batch", "height", "width"]
    graph = helper.make_graph(
        nodes,
        "times",
        [
            helper.make_tensor_value_info("x", TensorProto.UINT8, sizes),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, sizes),
            helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["batch"]),
        ],
        [axes],
    )
    opset = helper.make_opsetid("", 18)
    content: bytes = helper.make_model(
        graph, opset_imports=[opset], ir_version=10
    ).SerializeToString()
    return content


@pytest.fixture
def plan(fake_gpu: Any, model: bytes) -> bytes:
    """Return the fake plan of the network."""
    from tensorrt.fake_build import make_plan

    content: bytes = make_plan(model, SHAPES)
    return content


@pytest.fixture
def network(plan: bytes) -> TrtNetwork:
    """Return the network, loaded; the fake finds out whether a test has left it open."""
    return TrtNetwork(plan, "times.onnx")


def feeds(batch: int = 2, value: int = 3, size: int = 8) -> dict[str, NDArray[Any]]:
    return {"x": np.full((batch, size, size), value, np.uint8), "w": np.full(1, 2, np.float32)}


def test_it_gives_what_onnx_runtime_gives(
    network: TrtNetwork, model: bytes, rng: np.random.Generator
) -> None:
    reference = OrtNetwork(model, "times.onnx")
    for batch, size in ((1, 4), (3, 16), (1, 4), (40, 5), (3, 16), (3, 16)):
        given = {"x": rng.integers(0, 256, (batch, size, size), np.uint8), "w": np.ones(1, "f4")}
        found, expected = network.run(given), reference.run(given)
        for name in ("y", "mean"):
            np.testing.assert_array_equal(found[name], expected[name])
    network.close()


def test_a_bundled_model_gives_what_onnx_runtime_gives(fake_gpu: Any) -> None:
    from tensorrt.fake_build import make_plan

    from playspot.engines.catalogue import bundled

    path = bundled()["object"].path
    assert path is not None
    content = path.read_bytes()
    name = onnx.load_model_from_string(content).graph.input[0].name
    plan = make_plan(content, {name: [(1, 96, 96, 3), (1, 144, 256, 3), (2, 160, 256, 3)]})
    given = {name: np.random.default_rng(1).integers(0, 256, (1, 144, 256, 3), np.uint8)}
    network, reference = TrtNetwork(plan, "object"), OrtNetwork(content, "object")
    np.testing.assert_array_equal(network.run(given)["scores"], reference.run(given)["scores"])
    network.close()


def test_it_tells_its_inputs_and_outputs(network: TrtNetwork) -> None:
    assert network.inputs == (
        Tensor("x", np.dtype(np.uint8), ("any", "any", "any")),
        Tensor("w", np.dtype(np.float32), (1,)),
    )
    assert [tensor.name for tensor in network.outputs] == ["y", "mean"]
    assert (network.backend, network.precision) == ("tensorrt", "fp32")
    network.close()


def test_what_it_returns_is_the_callers_for_ever(network: TrtNetwork) -> None:
    first = network.run(feeds(value=3))["y"]
    network.run(feeds(value=5))
    network.close()
    assert np.all(first == 6)


def test_an_input_may_be_any_view(network: TrtNetwork) -> None:
    wide = np.arange(2 * 8 * 16, dtype=np.uint8).reshape(2, 8, 16)
    given = {**feeds(), "x": wide[:, ::-1, ::2]}
    np.testing.assert_array_equal(network.run(given)["y"], given["x"] * np.float32(2))
    network.close()


def test_a_shape_runs_as_a_graph_from_its_second_run_on(network: TrtNetwork, fake_gpu: Any) -> None:
    counts = []
    for batch in (1, 2, 1, 2, 1, 1):
        network.run(feeds(batch))
        counts.append((fake_gpu.n_plain_launches, fake_gpu.n_captures, fake_gpu.n_graph_launches))
    assert counts == [(1, 0, 0), (2, 0, 0), (2, 1, 1), (2, 2, 2), (2, 2, 3), (2, 2, 4)]
    network.close()


def test_graphs_compute_on_what_is_given_now(network: TrtNetwork) -> None:
    for value in (1, 2, 3, 4):
        assert np.all(network.run(feeds(value=value))["y"] == 2 * value)
    network.close()


def test_where_there_are_no_graphs_it_runs_without(
    plan: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FAKE_GPU", "no-capture")
    network = TrtNetwork(plan, "times.onnx")
    found = [network.run(feeds(batch, value=batch))["y"].max() for batch in (1, 2, 1, 2, 1, 2)]
    network.close()
    assert found == [2, 4, 2, 4, 2, 4]
    assert [r.getMessage() for r in caplog.records if "without CUDA graphs" in r.message] == [
        "times.onnx: it runs without CUDA graphs: cuStreamBeginCapture_v2 failed: "
        "operation not supported (801)"
    ]


def test_graphs_can_be_left_out(network: TrtNetwork, fake_gpu: Any) -> None:
    assert network.uses_graphs
    network.uses_graphs = False
    for value in (1, 2, 3):
        assert np.all(network.run(feeds(value=value))["y"] == 2 * value)
    assert (fake_gpu.n_captures, fake_gpu.n_plain_launches) == (0, 3)
    network.close()


def test_memory_stays_flat_over_any_number_of_shapes(network: TrtNetwork, fake_gpu: Any) -> None:
    blocks, pinned = len(fake_gpu.blocks), len(fake_gpu.pinned)
    most = 0
    for batch in (*range(1, 41), *range(1, 41), 7, 7, 7):
        network.run(feeds(batch))
        most = max(most, len(fake_gpu.alive))
    assert (len(fake_gpu.blocks), len(fake_gpu.pinned)) == (blocks, pinned)
    assert (
        most <= 3 + 2 * MAX_SHAPES
    )  # runtime, engine, event; a context and a graph for each shape
    network.close()


def test_the_shape_that_was_longest_not_used_makes_room(network: TrtNetwork, fake_gpu: Any) -> None:
    for batch in (1, 1, *range(2, MAX_SHAPES + 1), 1, MAX_SHAPES + 1):
        network.run(feeds(batch))
    plain = fake_gpu.n_plain_launches
    network.run(feeds(1))
    assert fake_gpu.n_plain_launches == plain  # still a graph
    network.run(feeds(2))
    assert fake_gpu.n_plain_launches == plain + 1  # made anew
    network.close()


def test_page_locked_memory_is_used_again_and_again(network: TrtNetwork, fake_gpu: Any) -> None:
    before = dict(fake_gpu.pinned)
    for batch in (1, 40, 3):
        network.run(feeds(batch))
    assert fake_gpu.pinned.keys() == before.keys()
    network.close()


@pytest.mark.parametrize("shape", [(41, 8, 8), (1, 3, 8), (1, 8, 17)])
def test_a_shape_outside_the_plan_is_refused_with_its_bounds(
    network: TrtNetwork, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ModelError, match=r"\(1, 4, 4\) to \(40, 16, 16\)"):
        network.run({**feeds(), "x": np.zeros(shape, np.uint8)})
    network.run(feeds())
    network.close()


@pytest.mark.parametrize("given", [{}, {"x": np.zeros((1, 8, 8), np.float32)}])
def test_an_input_that_is_missing_or_of_another_type_is_refused(
    network: TrtNetwork, given: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="its input x is"):
        network.run({"w": np.ones(1, np.float32), **given})
    network.close()


def test_closing_twice_is_harmless_and_running_then_is_an_error(network: TrtNetwork) -> None:
    network.run(feeds())
    network.close()
    network.close()
    with pytest.raises(ValueError, match=r"times.onnx is closed"):
        network.run(feeds())


def test_what_is_forgotten_is_released(plan: bytes, fake_gpu: Any) -> None:
    TrtNetwork(plan, "times.onnx").run(feeds())
    gc.collect()
    assert fake_gpu.left() == []


def test_two_networks_share_a_gpu(plan: bytes, fake_gpu: Any) -> None:
    first, second = TrtNetwork(plan, "a"), TrtNetwork(plan, "b")
    for _ in range(3):
        assert np.all(first.run(feeds(value=1))["y"] == 2)
        assert np.all(second.run(feeds(value=2))["y"] == 4)
    first.close()
    assert np.all(second.run(feeds(value=3))["y"] == 6)
    second.close()


def test_any_thread_may_use_and_close_it(network: TrtNetwork, fake_gpu: Any) -> None:
    found = []

    def work() -> None:
        found.append(network.run(feeds(value=4))["mean"].tolist())
        network.close()
        found.append(fake_gpu.stack() + fake_gpu.pycuda_stack())

    network.run(feeds())
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [[8, 8], []]


def test_many_threads_take_turns(network: TrtNetwork) -> None:
    wrong = []

    def work(value: int) -> None:
        for batch in (1, 2, 3, 1):
            y = network.run(feeds(batch, value))["y"]
            if y.shape[0] != batch or not np.all(y == 2 * value):
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    network.close()


# -- failures: one line each, and nothing left on the GPU ----------------------------------------


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("no-driver", "the NVIDIA driver cannot be loaded .libcuda.so.1.*install it"),
        ("no-gpu", "no CUDA-capable device is detected.*nvidia-smi"),
        ("old-driver", "CUDA initialization failure with error: 35.*update the NVIDIA driver"),
    ],
)
def test_without_a_gpu_one_line_says_why(
    plan: bytes, monkeypatch: pytest.MonkeyPatch, fault: str, told: str
) -> None:
    monkeypatch.setenv("FAKE_GPU", fault)
    with pytest.raises(ModelError, match=told) as caught:
        TrtNetwork(plan, "times.onnx")
    assert "\n" not in str(caught.value)


def test_a_gpu_of_another_number_is_refused(plan: bytes) -> None:
    with pytest.raises(ModelError, match="there is no GPU 3, only 1, counted from 0"):
        TrtNetwork(plan, "times.onnx", device=3)


def test_without_tensorrt_one_line_says_what_to_install(
    plan: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:  # undone before the fake goes, or it would come back
        patch.setitem(sys.modules, "tensorrt", None)
        with pytest.raises(ModelError, match=r"pip install 'playspot\[gpu\]'"):
            TrtNetwork(plan, "times.onnx")


@pytest.mark.parametrize("nth", range(1, 10))
def test_out_of_memory_is_one_line_wherever_it_happens(
    plan: bytes, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    monkeypatch.setenv("FAKE_GPU", f"out-of-memory:{nth}")
    with pytest.raises(ModelError, match=r"times.onnx: the GPU has not enough memory") as caught:
        TrtNetwork(plan, "times.onnx")
    assert "\n" not in str(caught.value)


def test_out_of_memory_in_a_run_leaves_the_rest_as_it_was(
    network: TrtNetwork, fake_gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    network.run(feeds(1))
    monkeypatch.setenv("FAKE_GPU", f"out-of-memory:{fake_gpu.n_allocations + 1}")
    with pytest.raises(ModelError, match="not enough memory"):
        network.run(feeds(2))
    assert np.all(network.run(feeds(1))["y"] == 6)
    assert np.all(network.run(feeds(2))["y"] == 6)
    network.close()


@pytest.mark.parametrize("nth", [1, 2, 3])  # as it is, as a graph just captured, as a graph
def test_a_kernel_that_fails_is_one_line(
    network: TrtNetwork, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    monkeypatch.setenv("FAKE_GPU", f"launch:{nth}")
    for _ in range(nth - 1):
        network.run(feeds())
    with pytest.raises(ModelError, match=r"times.onnx: CUDA failed .*illegal memory access"):
        network.run(feeds())
    network.close()


def test_after_a_failure_that_loses_the_context_each_run_and_closing_are_in_order(
    network: TrtNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA repeats such an error for ever; who falls back must be able to close the network."""
    monkeypatch.setenv("FAKE_GPU", "lost:1")
    for _ in range(2):
        with pytest.raises(ModelError, match=r"times.onnx: CUDA failed .*illegal memory access"):
            network.run(feeds())
    network.close()
    network.close()


@pytest.mark.parametrize("content", [b"", b"no plan", "flipped", "cut"])
def test_a_damaged_plan_is_refused(plan: bytes, content: bytes | str) -> None:
    damaged = {"flipped": plan[:-9] + b"~" + plan[-8:], "cut": plan[:-40]}
    with pytest.raises(ModelError, match=r"its plan cannot be loaded .*compile it again"):
        TrtNetwork(content if isinstance(content, bytes) else damaged[content], "times.onnx")


def test_a_plan_of_another_release_is_refused(plan: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_TENSORRT_VERSION", "12.0.0.1")
    with pytest.raises(ModelError, match=r"12.0.0.1 got 11.4.0.106.*compile it again"):
        TrtNetwork(plan, "times.onnx")


def test_a_shape_that_tensorrt_refuses_is_one_line(
    network: TrtNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorrt as trt

    def fail(self: object) -> list[str]:
        raise RuntimeError("no such shape")

    with monkeypatch.context() as changed:
        changed.setattr(trt.IExecutionContext, "infer_shapes", fail)
        with pytest.raises(ModelError, match=r"it refuses inputs of \(\(2, 8, 8\), \(1,\)\)"):
            network.run(feeds())
    network.run(feeds())
    network.close()


def test_what_tensorrt_says_goes_to_the_log(
    fake_gpu: Any, caplog: pytest.LogCaptureFixture
) -> None:
    import tensorrt as trt

    from playspot.engines.trt_log import the_log

    log = the_log()
    with caplog.at_level(logging.DEBUG):
        for severity in (trt.ILogger.WARNING, trt.ILogger.INFO, trt.ILogger.VERBOSE):
            log.log(severity, f"of\n{severity.name}")
        log.log(trt.ILogger.ERROR, "wrong")
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("WARNING", "TensorRT: of WARNING"),
        ("DEBUG", "TensorRT: of INFO"),
        ("DEBUG", "TensorRT: wrong"),
    ]
    assert (log.told(), log.told()) == ("wrong", "TensorRT does not say why")


# -- processes -----------------------------------------------------------------------------------


SPAWN = """
import multiprocessing, pathlib, sys
import numpy as np
from playspot.engines.trt import TrtNetwork

FEEDS = {"x": np.full((1, 4, 4), 7, np.uint8), "w": np.ones(1, np.float32)}

def use_it(plan, is_child=True):
    network = TrtNetwork(plan, "times.onnx")
    for _ in range(3):
        found = network.run(FEEDS)["y"].mean()
    if is_child:
        sys.exit(0 if found == 7 else 1)  # left open: released on the way out
    return network

if __name__ == "__main__":
    plan = pathlib.Path(sys.argv[1]).read_bytes()
    network = use_it(plan, False)
    process = multiprocessing.get_context("spawn").Process(target=use_it, args=(plan,))
    process.start()
    process.join()
    network.run(FEEDS)
    sys.exit(process.exitcode)
"""

FORK = """
import os, pathlib, sys
import numpy as np
from playspot.engines.engine import ModelError
from playspot.engines.trt import TrtNetwork

network = TrtNetwork(pathlib.Path(sys.argv[1]).read_bytes(), "times.onnx")
feeds = {"x": np.ones((1, 4, 4), np.uint8), "w": np.ones(1, np.float32)}
network.run(feeds)
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0
    network.run(feeds)
else:
    try:
        network.run(feeds)
    except ModelError as error:
        told = "fork" in str(error)
    network.close()
    os._exit(0 if told else 1)
"""


@pytest.mark.parametrize("script", [SPAWN, FORK], ids=["spawn", "fork"])
def test_a_spawned_process_has_its_own_and_a_forked_one_may_not_use_it(
    plan: bytes, tmp_path: Path, script: str
) -> None:
    (tmp_path / "plan").write_bytes(plan)
    (tmp_path / "script.py").write_text(script)
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "plan")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")  # 99: the fake's leak check
