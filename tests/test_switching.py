"""From ONNX Runtime to a TensorRT plan while both are used, and back to safety when it is wrong."""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from playspot.engines.bounds import LARGEST
from playspot.engines.build_process import BuildProcess, build_into_store
from playspot.engines.compiled import Compiled, compiled_networks, find, mark, save
from playspot.engines.engine import ModelError
from playspot.engines.machine import machine, tensorrt_version
from playspot.engines.metadata import model_hash
from playspot.engines.network import Arrays, Network, Tensor
from playspot.engines.options import EngineOptions
from playspot.engines.planned import tensorrt_network
from playspot.engines.switching import COMPARED, OUTSIDE, SwitchingNetwork

F32 = np.dtype(np.float32)
ONE = {"x": np.ones((1, 3), np.float32)}
PLAN = Compiled(
    model_hash="0123456789ab",
    model_name="m",
    kind="object",
    backend="tensorrt",
    precision="fp32",
    shapes={"x": ((1, 3), (2, 3), (4, 3))},
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PLAYSPOT_ENGINES", str(tmp_path / "engines"))
    return tmp_path / "engines"


@dataclass
class Scaled:
    """A network that multiplies."""

    scale: float
    backend: str
    precision: str = "fp32"
    fails: bool = False
    n_runs: int = 0
    n_closed: int = 0
    inputs: tuple[Tensor, ...] = (Tensor("x", F32, ("batch", 3)),)
    outputs: tuple[Tensor, ...] = (Tensor("scores", F32, ("batch", 3)),)

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        assert not self.n_closed
        self.n_runs += 1
        if self.fails:
            raise ModelError("the GPU is on fire")
        return {"scores": feeds["x"] * np.float32(self.scale)}

    def close(self) -> None:
        self.n_closed += 1


@dataclass
class Scripted:
    """A build that gives what it is told to."""

    result: Compiled | str | None = None
    progress: float = 0.25
    n_closed: int = 0

    def poll(self) -> Compiled | None:
        if isinstance(self.result, str):
            raise ModelError(self.result)
        return self.result

    def close(self) -> None:
        self.n_closed += 1


@dataclass
class Bench:
    """A network that switches, and all that it is made of."""

    second: Scaled = field(default_factory=lambda: Scaled(2.0, "tensorrt"))
    build: Scripted = field(default_factory=Scripted)
    firsts: list[Scaled] = field(default_factory=list)
    fails: bool = False  # what is opened from now on

    def make(self, **options: Any) -> SwitchingNetwork:
        return SwitchingNetwork(self.open_first, self.build, lambda _plan: self.second, **options)

    def open_first(self) -> Scaled:
        self.firsts.append(Scaled(2.0, "onnxruntime-cpu", fails=self.fails))
        return self.firsts[-1]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def run_until_switched(network: SwitchingNetwork) -> list[str]:
    return [(network.run(ONE), network.backend)[1] for _ in range(COMPARED)]


def test_it_runs_at_once_while_the_plan_is_built(bench: Bench) -> None:
    network = bench.make()
    assert network.run(ONE)["scores"].tolist() == [[2, 2, 2]]
    assert (network.backend, network.precision, network.progress) == (
        "onnxruntime-cpu",
        "fp32",
        0.25,
    )


def test_it_switches_between_two_runs_once_the_scores_have_agreed(bench: Bench) -> None:
    network = bench.make()
    network.run(ONE)
    bench.build.result = PLAN
    assert run_until_switched(network) == ["onnxruntime-cpu"] * (COMPARED - 1) + ["tensorrt"]
    assert (bench.firsts[0].n_runs, bench.firsts[0].n_closed) == (1 + COMPARED, 1)
    assert network.progress is None
    assert "tensorrt fp32 in place of onnxruntime-cpu" in network.note


def test_the_run_that_switches_gives_what_the_first_one_said(bench: Bench) -> None:
    """So that who asks before a run what it runs on is told the truth."""
    bench.second.scale = 2.0005
    bench.build.result = PLAN
    network = bench.make()
    scores = [network.run(ONE)["scores"][0, 0] for _ in range(COMPARED + 1)]
    assert scores == [2.0] * COMPARED + [np.float32(2.0005)]


def test_what_was_built_is_written_down_as_passed(bench: Bench) -> None:
    bench.build.result = save(PLAN, b"plan")
    run_until_switched(bench.make())
    (found,) = compiled_networks()
    assert found.passed
    assert found.report == {"max_difference": 0.0, "runs": COMPARED}


@pytest.mark.parametrize("scale", [2.01, float("nan"), float("inf")])
def test_a_plan_with_other_scores_is_not_used(
    bench: Bench, scale: float, caplog: pytest.LogCaptureFixture
) -> None:
    bench.second.scale = scale
    bench.build.result = PLAN
    network = bench.make()
    assert set(run_until_switched(network)) == {"onnxruntime-cpu"}
    assert f"above {LARGEST['fp32']:g}" in network.note
    assert bench.second.n_closed == 1
    assert network.progress is None
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize(("kind", "backend"), [("flow", "tensorrt"), ("object", "onnxruntime-cpu")])
def test_one_place_of_a_hundred_may_differ_in_flow(bench: Bench, kind: str, backend: str) -> None:
    plan = PLAN.model_copy(update={"kind": kind, "shapes": {}})
    bench.build.result = plan

    def run(feeds: Arrays) -> dict[str, NDArray[Any]]:
        scores = 2 * feeds["x"]
        scores[0, 0] += 1
        return {"scores": scores}

    bench.second.run = run  # type: ignore[method-assign]
    network = bench.make()
    for _ in range(COMPARED):
        network.run({"x": np.ones((200, 3), np.float32)})
    assert network.backend == backend


def test_scores_of_another_shape_are_not_used(bench: Bench) -> None:
    bench.second.run = lambda feeds: {"scores": feeds["x"][:, :2]}  # type: ignore[method-assign]
    bench.build.result = PLAN
    assert set(run_until_switched(bench.make())) == {"onnxruntime-cpu"}


def test_a_plan_that_takes_something_else_is_not_used(bench: Bench) -> None:
    bench.second.inputs = (Tensor("y", F32, (3,)),)
    bench.build.result = PLAN
    network = bench.make()
    assert set(run_until_switched(network)) == {"onnxruntime-cpu"}
    assert "takes y, not x" in network.note


def test_a_build_that_fails_is_one_line_and_all_goes_on(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    network = bench.make(name="object.onnx")
    bench.build.result = "no space left"
    assert set(run_until_switched(network)) == {"onnxruntime-cpu"}
    (record,) = caplog.records
    assert record.getMessage() == (
        "object.onnx: stays on onnxruntime-cpu, without a TensorRT plan: no space left"
    )
    assert network.progress is None
    assert bench.build.n_closed == 1


def test_the_line_of_a_failure_names_the_model_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    network = bench.make(name="object.onnx")
    bench.build.result = "object.onnx: the GPU has not enough memory"
    run_until_switched(network)
    assert caplog.text.count("object.onnx") == 1


def test_a_plan_that_fails_when_it_is_compared_is_not_used(bench: Bench) -> None:
    bench.second.fails = True
    bench.build.result = PLAN
    network = bench.make()
    assert set(run_until_switched(network)) == {"onnxruntime-cpu"}
    assert "on fire" in network.note


def test_it_returns_when_the_gpu_fails_later_on(bench: Bench) -> None:
    bench.build.result = PLAN
    network = bench.make(may_return=True)
    run_until_switched(network)
    bench.second.fails = True
    assert network.run(ONE)["scores"].tolist() == [[2, 2, 2]]
    assert network.backend == "onnxruntime-cpu"
    assert bench.second.n_closed == 1
    network.run(ONE)
    assert bench.second.n_runs == COMPARED + 1


def test_inputs_that_both_refuse_are_no_reason_to_return(bench: Bench) -> None:
    bench.build.result = PLAN
    network = bench.make(may_return=True)
    run_until_switched(network)
    bench.second.fails = True
    bench.fails = True
    with pytest.raises(ModelError, match="on fire"):
        network.run(ONE)
    assert network.backend == "tensorrt"
    assert bench.firsts[-1].n_closed == 1


def test_it_does_not_return_where_tensorrt_was_asked_for(bench: Bench) -> None:
    bench.build.result = PLAN
    network = bench.make()
    run_until_switched(network)
    bench.second.fails = True
    with pytest.raises(ModelError, match="on fire"):
        network.run(ONE)


def test_inputs_that_the_plan_is_not_for_are_run_by_the_first(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.build.result = PLAN
    network = bench.make()
    run_until_switched(network)
    for _ in range(2):
        assert network.run({"x": np.ones((5, 3), np.float32)})["scores"].shape == (5, 3)
    network.run(ONE)
    assert bench.second.n_runs == COMPARED + 1
    assert len(bench.firsts) == 2
    assert [r.levelno for r in caplog.records] == [logging.WARNING]


def test_inputs_that_the_plan_is_not_for_are_not_compared(bench: Bench) -> None:
    bench.build.result = PLAN
    network = bench.make()
    for _ in range(COMPARED + 1):
        network.run({"x": np.ones((5, 3), np.float32)})
    assert network.backend == "onnxruntime-cpu"
    assert network.progress == 1.0


def test_a_plan_is_not_loaded_for_inputs_that_it_is_not_for(bench: Bench) -> None:
    """Two networks would stay in the memory of the GPU, and one would never be used."""
    bench.build.result = PLAN
    loaded: list[Compiled] = []

    def load(plan: Compiled) -> Network:
        loaded.append(plan)
        return bench.second

    network = SwitchingNetwork(bench.open_first, bench.build, load)
    network.run({"x": np.ones((5, 3), np.float32)})
    assert not loaded
    assert run_until_switched(network)[-1] == "tensorrt"
    assert loaded == [PLAN]


def test_a_plan_that_no_input_fits_is_given_up(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.build.result = PLAN
    network = bench.make()
    for _ in range(OUTSIDE + 2):
        network.run({"x": np.ones((5, 3), np.float32)})
    assert (network.backend, network.progress) == ("onnxruntime-cpu", None)
    (record,) = caplog.records
    assert "it is for other sizes; see `playspot compile --batch --size`" in record.getMessage()


def test_it_says_when_the_next_run_may_take_long(bench: Bench) -> None:
    network = bench.make()
    assert not network.is_slow_next
    bench.build.progress = 1.0
    assert network.is_slow_next
    bench.build.result = PLAN
    network.run(ONE)
    assert not network.is_slow_next


def test_a_plan_that_has_passed_runs_at_once(bench: Bench) -> None:
    network = SwitchingNetwork(
        bench.open_first,
        None,
        lambda _: bench.second,
        plan=PLAN.model_copy(update={"passed": True}),
    )
    assert (network.backend, network.progress, bench.firsts) == ("tensorrt", None, [])


def test_one_that_has_not_is_compared_first(bench: Bench) -> None:
    network = SwitchingNetwork(bench.open_first, None, lambda _: bench.second, plan=PLAN)
    assert (network.backend, network.progress) == ("onnxruntime-cpu", 1.0)
    assert run_until_switched(network)[-1] == "tensorrt"


@pytest.mark.parametrize("n_runs", [0, 1, COMPARED])
def test_closing_releases_all_of_it(bench: Bench, n_runs: int) -> None:
    network = bench.make()
    if n_runs:
        bench.build.result = PLAN
    for _ in range(n_runs):
        network.run(ONE)
    network.close()
    network.close()
    assert bench.build.n_closed == 1
    assert bench.firsts[0].n_closed
    assert bool(bench.second.n_closed) == (n_runs > 0)
    with pytest.raises(ValueError, match="closed"):
        network.run(ONE)


# With a plan that is really built, in a process of its own; TensorRT and the GPU are strict fakes.


@pytest.fixture
def model() -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])
    y = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 3])
    weights = helper.make_tensor("scale", TensorProto.FLOAT, [1], [2.0])
    node = helper.make_node("Mul", ["x", "scale"], ["scores"])
    graph = helper.make_graph([node], "g", [x], [y], [weights])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    content: bytes = proto.SerializeToString()
    return content


@pytest.fixture
def open_it(fake_gpu: Any, model: bytes) -> Callable[..., SwitchingNetwork]:
    def open_it(**options: Any) -> SwitchingNetwork:
        network = tensorrt_network(model, "m.onnx", EngineOptions(**options))
        assert isinstance(network, SwitchingNetwork)
        return network

    return open_it


@pytest.fixture
def built(fake_gpu: Any, model: bytes) -> Compiled:
    """Return a plan that is in the cache, and has passed."""
    wanted = PLAN.model_copy(
        update={"model_hash": model_hash(model), "machine": machine("tensorrt")}
    )
    return mark(build_into_store(model, wanted), passed=True, report={})


def use(network: SwitchingNetwork) -> str:
    """Run a network until nothing is built any more, and return what it runs on then."""
    build = network._build
    if isinstance(build, BuildProcess):
        with suppress(ModelError):
            build.wait()
    while network.progress is not None:
        assert network.run(ONE)["scores"].tolist() == [[2, 2, 2]]
    assert network.run(ONE)["scores"].tolist() == [[2, 2, 2]]
    backend = network.backend
    network.close()
    return backend


def test_a_plan_is_built_and_used_and_found_the_next_time(
    open_it: Callable[..., SwitchingNetwork], model: bytes
) -> None:
    network = open_it()
    assert network.backend == "onnxruntime-cpu"
    assert use(network) == "tensorrt"
    assert find(model_hash(model), "tensorrt") is not None
    again = open_it()
    assert again.backend == "tensorrt"
    again.close()


@pytest.mark.parametrize("damage", ["cut", "flipped", "other", "gone", "no record"])
def test_a_plan_that_is_damaged_is_built_again_and_says_so(
    open_it: Callable[..., SwitchingNetwork],
    built: Compiled,
    damage: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    plan, content = built, built.path.read_bytes()
    if damage == "cut":
        plan.path.write_bytes(content[:-7])
    elif damage == "flipped":
        plan.path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif damage == "other":
        plan.path.write_bytes(b"another file")
    elif damage == "gone":
        plan.path.unlink()
    else:
        (record,) = plan.path.parent.glob("*.json")
        record.write_text("{}")
    assert use(open_it()) == "tensorrt"
    lines = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert lines
    assert all("\n" not in line for line in lines)
    if damage in ("cut", "flipped", "other"):
        assert lines[0].startswith("m.onnx: its plan is ")
        assert lines[0].endswith("; it is built again")
    caplog.clear()
    open_it().close()
    assert not caplog.records


def test_a_plan_of_another_tensorrt_is_built_again_and_says_why(
    open_it: Callable[..., SwitchingNetwork],
    built: Compiled,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    import tensorrt

    tensorrt_version.cache_clear()
    monkeypatch.setattr(tensorrt, "__version__", "11.5.0")
    monkeypatch.setenv("FAKE_TENSORRT_VERSION", "11.5.0")
    assert use(open_it()) == "tensorrt"
    (line,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert "its plan was built for" in line
    assert "TensorRT 11.4.0.106, this is" in line


def test_a_build_that_fails_leaves_it_as_it_is(
    open_it: Callable[..., SwitchingNetwork], cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.write_text("a file where the folder is to be")
    assert use(open_it()) == "onnxruntime-cpu"
    lines = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len([line for line in lines if "without a TensorRT plan" in line]) == 1


def test_where_the_gpu_has_no_memory_for_the_plan_it_stays_as_it_is(
    open_it: Callable[..., SwitchingNetwork],
    built: Compiled,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    mark(built, passed=False, report={})
    monkeypatch.setenv("FAKE_GPU", "out-of-memory:1")
    assert use(open_it()) == "onnxruntime-cpu"
    (line,) = [record.getMessage() for record in caplog.records]
    assert "the GPU has not enough memory" in line
    assert "\n" not in line


def test_a_plan_that_was_found_to_differ_is_not_used_and_says_what_to_do(
    fake_gpu: Any, model: bytes, built: Compiled, caplog: pytest.LogCaptureFixture
) -> None:
    mark(built, passed=False, report={"max_difference": 1.0})
    network = tensorrt_network(model, "m.onnx", EngineOptions())
    assert network.backend == "onnxruntime-cpu"
    network.close()
    (line,) = [record.getMessage() for record in caplog.records]
    assert "playspot compile" in line


def test_a_plan_that_has_passed_goes_before_a_newer_one_that_has_not(
    open_it: Callable[..., SwitchingNetwork], built: Compiled
) -> None:
    content = built.path.read_bytes()
    shapes = {"x": ((1, 3), (1, 3), (1, 3))}
    newer = {"passed": False, "report": {"px": 9}, "shapes": shapes, "created": datetime.now(UTC)}
    save(built.model_copy(update=newer), content)
    network = open_it()
    assert network.backend == "tensorrt"
    network.close()


def test_a_plan_that_nobody_has_compared_is_compared_first(
    open_it: Callable[..., SwitchingNetwork], built: Compiled
) -> None:
    mark(built, passed=False, report={})
    network = open_it()
    assert (network.backend, network.progress) == ("onnxruntime-cpu", 1.0)
    assert use(network) == "tensorrt"


def test_another_precision_is_not_made_of_the_model_alone(
    open_it: Callable[..., SwitchingNetwork],
) -> None:
    with pytest.raises(ModelError, match=r"no int8 plan .*playspot compile"):
        open_it(precision="int8")


def test_no_int8_plan_is_made_of_what_was_compiled_for_the_cpu(
    open_it: Callable[..., SwitchingNetwork], built: Compiled
) -> None:
    """Its zeros are not in the middle, and TensorRT refuses that."""
    cpu = {"backend": "onnx", "precision": "int8", "passed": True, "machine": machine("onnx")}
    save(built.model_copy(update={**cpu, "shapes": {}}), b"an ONNX file")
    with pytest.raises(ModelError, match=r"no int8 plan .*playspot compile"):
        open_it(precision="int8")


def test_without_a_gpu_it_is_one_line(
    fake_gpu: Any, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_GPU", "no-gpu")
    with pytest.raises(ModelError, match="GPU 0: there is none"):
        tensorrt_network(model, "m.onnx", EngineOptions(engine="tensorrt"))
