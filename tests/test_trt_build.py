"""Building plans: what TensorRT is told, what it says, and who builds when several want the same.

TensorRT and the GPU are strict fakes (`tests/fakes`): the order of the calls and the lifetimes are
checked, and what is built really computes.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import psutil
import pytest
from onnx import TensorProto, helper

from playspot.engines.build_process import BuildProcess, build_into_store
from playspot.engines.compiled import Compiled, compiled_networks, store
from playspot.engines.engine import ModelError
from playspot.engines.machine import machine
from playspot.engines.metadata import model_hash
from playspot.engines.plan import key_for, read_plan
from playspot.engines.profiles import Shapes
from playspot.engines.trt_build import BuildCancelledError, build_plan

SHAPES: Shapes = {"x": ((1, 3), (2, 3), (4, 3))}
pytestmark = pytest.mark.usefixtures("fake_gpu")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "engines"
    monkeypatch.setenv("PLAYSPOT_ENGINES", str(folder))
    return folder


def make_model(scale: float = 2.0) -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])
    y = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 3])
    weights = helper.make_tensor("scale", TensorProto.FLOAT, [1], [scale])
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "scale"], ["scores"])], "g", [x], [y], [weights]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    content: bytes = model.SerializeToString()
    return content


def wanted_of(model: bytes) -> Compiled:
    return Compiled(
        model_hash=model_hash(model),
        model_name="m",
        kind="object",
        backend="tensorrt",
        precision="fp32",
        machine=machine("tensorrt"),
        shapes=SHAPES,
    )


def test_a_plan_is_built() -> None:
    assert build_plan(make_model(), SHAPES)


def test_progress_goes_from_nothing_to_all_and_never_back() -> None:
    told: list[float] = []
    build_plan(make_model(), SHAPES, on_progress=lambda _phase, fraction: told.append(fraction))
    assert told == sorted(told)
    assert 0 < told[0] < 0.5
    assert told[-1] == 1.0


def test_a_build_can_be_cancelled() -> None:
    with pytest.raises(BuildCancelledError, match="cancelled"):
        build_plan(make_model(), SHAPES, is_cancelled=lambda: True)


def test_a_file_that_is_no_network_is_one_line() -> None:
    with pytest.raises(ModelError, match="not an ONNX file") as error:
        build_plan(b"nothing", SHAPES)
    assert "\n" not in str(error.value)


def test_a_network_that_tensorrt_cannot_read_is_one_line() -> None:
    proto = onnx.load_model_from_string(make_model())
    proto.graph.node[0].op_type = "Nonsense"
    with pytest.raises(ModelError, match=r"TensorRT cannot read the network.*Nonsense") as error:
        build_plan(proto.SerializeToString(), SHAPES)
    assert "\n" not in str(error.value)


def test_the_workspace_is_a_part_of_a_small_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a Jetson's 8 GB, the networks that run meanwhile and the system need most."""
    import pycuda.driver
    import tensorrt

    limits: list[int] = []
    config = tensorrt.IBuilderConfig
    monkeypatch.setattr(
        config, "set_memory_pool_limit", lambda _self, _pool, pool_size: limits.append(pool_size)
    )
    build_plan(make_model(), SHAPES)
    monkeypatch.setattr(pycuda.driver.Device, "total_memory", lambda _self: 8 * 2**30)
    build_plan(make_model(), SHAPES)
    assert limits == [2 * 2**30, 2**30]


def test_sizes_of_another_network_are_refused() -> None:
    with pytest.raises(ModelError, match="it takes x; sizes are given of y"):
        build_plan(make_model(), {"y": SHAPES["x"]})


def test_sizes_out_of_order_are_refused() -> None:
    with pytest.raises(ModelError, match="refuses the sizes of x"):
        build_plan(make_model(), {"x": ((4, 3), (2, 3), (1, 3))})


def test_a_build_that_fails_says_why(fake_gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_GPU", "build")
    with pytest.raises(ModelError, match="Could not find any implementation for node conv1"):
        build_plan(make_model(), SHAPES)


def test_without_a_gpu_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_GPU", "no-gpu")
    with pytest.raises(ModelError, match="GPU") as error:
        build_plan(make_model(), SHAPES)
    assert "\n" not in str(error.value)


def test_what_was_measured_is_kept_for_the_next_build(tmp_path: Path) -> None:
    timings = tmp_path / "gpu.timings"
    build_plan(make_model(), SHAPES, timing_cache=timings)
    kept = timings.read_bytes()
    build_plan(make_model(), SHAPES, timing_cache=timings)
    assert timings.read_bytes() == kept
    assert b'"Mul"' in kept


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_damaged_timings_are_measured_again(tmp_path: Path, damage: bytes | None) -> None:
    timings = tmp_path / "gpu.timings"
    build_plan(make_model(), SHAPES, timing_cache=timings)
    whole = timings.read_bytes()
    timings.write_bytes(whole[:-3] + b"???" if damage is None else damage)
    build_plan(make_model(), SHAPES, timing_cache=timings)
    assert timings.read_bytes() == whole


def test_what_is_built_is_in_the_cache_and_belongs_here() -> None:
    model = make_model()
    built = build_into_store(model, wanted_of(model))
    assert read_plan(built.path, key_for(model_hash(model), "fp32", SHAPES))
    assert not built.passed
    assert [one.path for one in compiled_networks()] == [built.path]


def test_what_is_there_is_not_built_again() -> None:
    model = make_model()
    first = build_into_store(model, wanted_of(model))
    assert build_into_store(model, wanted_of(model)) == first


def test_what_is_to_be_replaced_is_built_again() -> None:
    model = make_model()
    first = build_into_store(model, wanted_of(model))
    second = build_into_store(model, wanted_of(model), replaces=first)
    assert second.created > first.created
    assert build_into_store(model, wanted_of(model), replaces=first) == second


def test_two_processes_build_a_plan_once() -> None:
    model = make_model()
    processes = [BuildProcess(model, wanted_of(model)) for _ in range(2)]
    try:
        one, other = (process.wait() for process in processes)
        assert one.created == other.created
        assert [process.progress for process in processes] == [1.0, 1.0]
    finally:
        for process in processes:
            process.close()


def test_a_process_that_is_killed_is_one_line() -> None:
    model = make_model()
    process = BuildProcess(model, wanted_of(model))
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(ModelError, match="ended by SIGKILL"):
        process.wait()
    process.close()
    assert list(compiled_networks()) == []


def test_a_process_says_why_it_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_GPU", "build")
    model = make_model()
    process = BuildProcess(model, wanted_of(model))
    with pytest.raises(ModelError, match="Could not find any implementation"):
        process.wait()
    assert process.progress == 1.0  # over, so that somebody asks
    process.close()


def test_a_process_ends_with_what_started_it(cache: Path) -> None:
    """Its standard input ends with the parent, however that ends; also while it waits."""
    cache.mkdir()
    model = make_model()
    order = {"wanted": wanted_of(model).model_dump(mode="json"), "replaces": None}
    program = [sys.executable, "-m", "playspot.engines.trt_build"]
    with (
        (cache / "gpu-0.lock").open("w") as lock,
        subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert process.stdin is not None
        assert process.stdout is not None
        line = json.dumps({**order, "device": 0, "size": len(model)})
        process.stdin.write(line.encode() + b"\n" + model)
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["phase"] == "waiting"
        process.stdin.close()
        assert process.wait(30) == 1


STARTER = """
import sys
from playspot.engines.build_process import WAITING, BuildProcess
from playspot.engines.compiled import Compiled

process = BuildProcess(sys.stdin.buffer.read(), Compiled.model_validate_json(sys.argv[1]))
while process.phase != WAITING:
    pass
print(process.pid, flush=True)
process.wait()
"""


def test_a_process_ends_with_a_starter_that_is_killed(cache: Path) -> None:
    cache.mkdir()
    model = make_model()
    program = [sys.executable, "-c", STARTER, wanted_of(model).model_dump_json()]
    with (
        (cache / "gpu-0.lock").open("w") as lock,
        subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as starter,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert starter.stdin is not None
        assert starter.stdout is not None
        starter.stdin.write(model)
        starter.stdin.close()
        builder = psutil.Process(int(starter.stdout.readline()))
        starter.kill()
        psutil.wait_procs([builder], timeout=10)
        assert not builder.is_running() or builder.status() == psutil.STATUS_ZOMBIE
    assert list(compiled_networks()) == []


def test_a_cache_that_cannot_be_written_is_one_line(cache: Path) -> None:
    cache.write_text("a file where the folder is to be")
    model = make_model()
    with pytest.raises(ModelError, match=r"cannot be written.*PLAYSPOT_ENGINES") as error:
        build_into_store(model, wanted_of(model))
    assert "\n" not in str(error.value)


def test_nothing_is_built_where_anybody_may_write(cache: Path) -> None:
    """A plan is code: whoever can write there could have it run."""
    cache.mkdir()
    cache.chmod(0o777)
    with pytest.raises(ModelError, match=r"anybody may write there.*PLAYSPOT_ENGINES") as error:
        build_into_store(make_model(), wanted_of(make_model()))
    assert "\n" not in str(error.value)


def test_nobody_else_may_read_the_cache(cache: Path) -> None:
    model = make_model()
    build_into_store(model, wanted_of(model))
    assert store() == cache
    assert cache.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in cache.iterdir())


def test_the_process_takes_no_module_from_where_it_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pydantic.py").write_text("raise SystemExit('anybody could have written this')")
    monkeypatch.chdir(tmp_path)
    process = BuildProcess(make_model(), wanted_of(make_model()))
    assert process.wait().backend == "tensorrt"
    process.close()


def test_the_model_may_be_larger_than_a_pipe_holds() -> None:
    proto = onnx.load_model_from_string(make_model())
    entry = proto.metadata_props.add()
    entry.key, entry.value = "padding", json.dumps("x" * 2**20)
    model = proto.SerializeToString()
    process = BuildProcess(model, wanted_of(model))
    assert process.wait().model_hash == model_hash(model)
    process.close()
