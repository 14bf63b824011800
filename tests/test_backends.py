"""Which backend is chosen, and what happens when it fails."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from playspot.engines import EngineOptions, ModelError
from playspot.engines import backends as module
from playspot.engines.availability import Availability, availability
from playspot.engines.backends import choose, open_network, standing
from playspot.engines.catalogue import bundled_models
from playspot.engines.commands import models_app
from playspot.engines.compiled import Compiled, save
from playspot.engines.machine import gpu
from playspot.engines.metadata import model_hash
from playspot.engines.options import ORIGINAL, Backend, Precision

ONE = {"x": np.ones((1, 3), np.float32)}


def _model(factor: float = 2.0) -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1], [factor])
    nodes = [helper.make_node("Mul", ["x", "w"], ["y"])]
    graph = helper.make_graph(nodes, "times", [x], [y], [weight])
    made = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    return bytes(made.SerializeToString())


MODEL = _model()
HASH = model_hash(MODEL)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PLAYSPOT_ENGINES", str(tmp_path / "engines"))
    availability.cache_clear()
    yield
    availability.cache_clear()


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what says which backends are to be there."""

    def only(*backends: Backend) -> None:
        def ask(backend: Backend, device: int = 0) -> Availability:
            return Availability(backend, backend in backends, f"{backend} told so")

        monkeypatch.setattr(module, "availability", ask)

    return only


def _compiled(
    backend: Backend, precision: Precision = "int8", content: bytes = MODEL, **changes: Any
) -> Compiled:
    told = {
        "model_hash": HASH,
        "model_name": "times",
        "kind": "object",
        "passed": True,
        "speed_up": 1.5,
        "against": "onnx",
        **changes,
    }
    return save(Compiled(backend=backend, precision=precision, **told), content)


AUTO = EngineOptions()


# What is chosen


def test_the_cpu_at_fp32_is_what_is_left(there: Any) -> None:
    there("onnx", "openvino")
    choice = choose(HASH, EngineOptions())
    assert (choice.backend, choice.precision, choice.compiled) == ("onnx", "fp32", None)


def test_a_gpu_is_taken_before_the_cpu(there: Any) -> None:
    there("onnx", "cuda")
    assert choose(HASH, EngineOptions()).backend == "cuda"


def test_tensorrt_is_taken_before_onnx_runtime_on_the_gpu(there: Any) -> None:
    there("onnx", "cuda", "tensorrt")
    assert choose(HASH, EngineOptions(builds=True)).backend == "tensorrt"


def test_a_program_that_builds_no_plans_is_given_what_runs_at_once(there: Any) -> None:
    there("onnx", "cuda", "tensorrt")
    assert choose(HASH, EngineOptions()).backend == "cuda"
    there("onnx", "tensorrt")
    assert choose(HASH, EngineOptions()).backend == "onnx"


def test_what_was_compiled_is_taken_first(there: Any) -> None:
    there("onnx", "openvino")
    kept = _compiled("openvino")
    choice = choose(HASH, EngineOptions())
    assert (choice.backend, choice.precision) == ("openvino", "int8")
    assert choice.compiled is not None
    assert choice.compiled.path == kept.path


def test_the_fastest_of_what_was_compiled_is_taken(there: Any) -> None:
    there("onnx", "openvino")
    _compiled("openvino", speed_up=1.6)
    _compiled("onnx", content=_model(3.0), speed_up=1.4)
    assert choose(HASH, AUTO).backend == "openvino"


def test_of_two_that_are_as_fast_the_newer_is_taken(there: Any) -> None:
    there("onnx", "openvino")
    _compiled("openvino")
    _compiled("onnx", content=_model(3.0))
    assert choose(HASH, AUTO).backend == "onnx"


def test_what_is_slower_than_the_original_is_not_taken_and_that_is_told(there: Any) -> None:
    there("onnx", "openvino")
    _compiled("onnx", speed_up=0.85)
    choice = choose(HASH, AUTO)
    assert (choice.backend, choice.precision, choice.compiled) == ("onnx", "fp32", None)
    assert choice.why == (
        "what was compiled is slower: onnx int8 is 0.85 times as fast as ONNX Runtime on the CPU"
    )


@pytest.mark.parametrize("engine", ["auto", "onnx"])
def test_what_is_slower_is_taken_where_its_precision_is_asked_for(there: Any, engine: Any) -> None:
    there("onnx")
    _compiled("onnx", speed_up=0.85)
    choice = choose(HASH, EngineOptions(engine=engine, precision="int8"))
    assert choice.precision == "int8"
    assert choice.why.endswith(", 0.85 times as fast as ONNX Runtime on the CPU")


def test_an_engine_that_is_asked_for_runs_what_is_fastest_on_it(there: Any) -> None:
    """On ONNX Runtime that may be the original; on others that was not timed."""
    there("onnx", "openvino")
    _compiled("onnx", speed_up=0.85)
    _compiled("openvino", content=_model(3.0), speed_up=0.9)
    slow = choose(HASH, EngineOptions(engine="onnx"))
    assert (slow.precision, slow.compiled) == ("fp32", None)
    assert slow.why.startswith("what was compiled is slower: onnx int8")
    assert choose(HASH, EngineOptions(engine="openvino")).precision == "int8"
    _compiled("onnx", speed_up=1.2)
    assert choose(HASH, EngineOptions(engine="onnx")).precision == "int8"


def test_what_was_never_timed_is_not_taken_unless_asked_for(there: Any) -> None:
    there("onnx")
    _compiled("onnx", speed_up=None, against=None)
    choice = choose(HASH, AUTO)
    assert choice.compiled is None
    assert choice.why == "how fast onnx int8 is here is not known: `playspot compile` measures it"
    assert choose(HASH, EngineOptions(precision="int8")).compiled is not None


def test_a_plan_that_was_built_in_the_background_is_taken_without_a_speed(there: Any) -> None:
    there("onnx", "cuda", "tensorrt")
    _compiled("tensorrt", "fp32", speed_up=None, against=None)
    choice = choose(HASH, AUTO)
    assert choice.backend == "tensorrt"
    assert choice.compiled is not None


def test_a_plan_that_is_slower_is_not_built_again(there: Any) -> None:
    there("onnx", "cuda", "tensorrt")
    _compiled("tensorrt", "fp32", speed_up=0.9, against="cuda")
    assert choose(HASH, EngineOptions(builds=True)).backend == "cuda"


def test_a_gpu_that_came_later_is_taken_before_what_was_only_faster_than_the_cpu(
    there: Any,
) -> None:
    there("onnx", "openvino")
    _compiled("openvino", speed_up=1.5, against="onnx")
    assert choose(HASH, AUTO).backend == "openvino"
    there("onnx", "openvino", "cuda")
    assert choose(HASH, AUTO).backend == "cuda"


def test_the_original_is_its_own_file_even_where_that_was_compiled(there: Any) -> None:
    there("onnx")
    _compiled("onnx", "fp32", content=_model(3.0), speed_up=2.0)
    _compiled("onnx", "int8", content=_model(4.0), speed_up=2.0)
    choice = choose(HASH, ORIGINAL)
    assert (choice.backend, choice.precision, choice.compiled) == ("onnx", "fp32", None)
    network = open_network(MODEL, "times", ORIGINAL)
    assert network.run(ONE)["y"].tolist() == [[2.0, 2.0, 2.0]]
    network.close()


def test_fp32_on_any_engine_may_be_what_is_faster_at_it(there: Any) -> None:
    there("onnx", "openvino")
    _compiled("openvino", "fp32", speed_up=1.2)
    _compiled("openvino", "int8", speed_up=1.6)
    choice = choose(HASH, EngineOptions(precision="fp32"))
    assert (choice.backend, choice.precision) == ("openvino", "fp32")
    _compiled("openvino", "fp32", speed_up=0.8)
    assert choose(HASH, EngineOptions(precision="fp32")).backend == "onnx"


def test_what_did_not_pass_its_checks_is_not_taken(there: Any) -> None:
    there("onnx", "openvino")
    _compiled("openvino", passed=False)
    assert choose(HASH, EngineOptions()).backend == "onnx"


def test_what_was_compiled_for_what_is_gone_is_not_taken(there: Any) -> None:
    there("onnx")
    _compiled("openvino")
    assert choose(HASH, EngineOptions()).backend == "onnx"


def test_a_precision_that_was_asked_for_is_found_among_others(there: Any) -> None:
    there("onnx", "openvino")
    _compiled("onnx", "int8")
    _compiled("onnx", "fp16", content=_model(3.0))
    assert choose(HASH, EngineOptions(precision="int8")).precision == "int8"


def test_fp32_that_was_asked_for_is_not_another_precision(there: Any) -> None:
    there("onnx")
    _compiled("onnx", "int8")
    choice = choose(HASH, EngineOptions(engine="onnx", precision="fp32"))
    assert (choice.precision, choice.compiled) == ("fp32", None)


def test_a_precision_that_was_not_compiled_is_refused(there: Any) -> None:
    there("onnx")
    with pytest.raises(ModelError, match=f"int8 was not compiled for the model {HASH}") as caught:
        choose(HASH, EngineOptions(precision="int8"))
    assert "playspot compile --precision int8" in str(caught.value)


@pytest.mark.parametrize("engine", ["cuda", "tensorrt", "openvino"])
def test_an_engine_that_is_not_there_is_refused_with_the_reason(there: Any, engine: Any) -> None:
    there("onnx")
    expected = f"the engine {engine} cannot be used: {engine} told so"
    with pytest.raises(ModelError, match=expected):
        choose(HASH, EngineOptions(engine=engine))


def test_every_choice_says_why(there: Any) -> None:
    there("onnx", "cuda")
    assert "cuda told so" in choose(HASH, EngineOptions()).why
    assert choose(HASH, EngineOptions(engine="onnx")).why == "as asked for"
    _compiled("onnx")
    assert "compiled and checked on" in choose(HASH, EngineOptions(engine="onnx")).why


def test_what_is_in_the_cache_is_told_with_whether_it_is_used_and_why(there: Any) -> None:
    there("onnx", "openvino")
    used = _compiled("openvino", speed_up=1.5)
    second = _compiled("openvino", "fp16", content=_model(3.0), speed_up=1.2)
    slow = _compiled("onnx", content=_model(4.0), speed_up=0.9)
    untimed = _compiled("onnx", "fp16", content=_model(5.0), speed_up=None)
    how = "as fast as ONNX Runtime on the CPU"
    assert [standing(one) for one in (used, second, slow, untimed)] == [
        f"is used: 1.50 times {how}",
        f"not used by itself: openvino int8 is before it; 1.20 times {how}",
        f"not used by itself: 0.90 times {how}; --engine onnx --precision int8 does",
        "not used by itself: its speed is not known; --engine onnx --precision fp16 does",
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"machine": "another"}, "not used: it is for another machine, another"),
        ({"passed": False}, "not used: it failed its checks, or was not compared yet"),
        ({"backend": "openvino"}, "not used: openvino told so"),
        ({"precision": "fp32"}, "nothing to use: it is the model's own file"),
    ],
)
def test_what_cannot_be_used_is_told_with_the_reason(
    there: Any, changes: dict[str, Any], told: str
) -> None:
    there("onnx")
    assert standing(_compiled(**{"backend": "onnx", **changes})) == told


# What is opened


def test_what_was_compiled_is_what_runs(there: Any) -> None:
    there("onnx")
    _compiled("onnx", "int8", content=_model(5.0))
    network = open_network(MODEL, "times", EngineOptions())
    assert (network.backend, network.precision) == ("onnxruntime-cpu", "int8")
    assert network.run(ONE)["y"].tolist() == [[5.0, 5.0, 5.0]]
    network.close()


def test_openvino_is_opened_where_it_is_asked_for() -> None:
    pytest.importorskip("openvino")
    network = open_network(MODEL, "times", EngineOptions(engine="openvino"))
    assert network.backend == "openvino-cpu"
    assert network.run(ONE)["y"].tolist() == [[2.0, 2.0, 2.0]]
    network.close()


def test_a_gpu_that_fails_is_one_logged_line_and_the_cpu(
    there: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """ONNX Runtime here has no CUDA, or there is no such GPU."""
    there("onnx", "cuda")
    with caplog.at_level(logging.WARNING):
        network = open_network(MODEL, "times", EngineOptions(device=99))
    assert network.backend == "onnxruntime-cpu"
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("times: on ONNX Runtime on the CPU, as ")
    assert "\n" not in line
    network.close()


def test_a_gpu_that_was_asked_for_and_fails_is_refused(there: Any) -> None:
    there("onnx", "cuda")
    with pytest.raises(ModelError, match=r"^times: "):
        open_network(MODEL, "times", EngineOptions(engine="cuda", device=99))


def test_something_compiled_that_is_damaged_is_one_logged_line_and_the_cpu(
    there: Any, caplog: pytest.LogCaptureFixture
) -> None:
    there("onnx")
    kept = _compiled("onnx", content=_model(5.0))
    kept.path.write_bytes(kept.path.read_bytes()[:-1])
    network = open_network(MODEL, "times", EngineOptions())
    assert network.run(ONE)["y"].tolist() == [[2.0, 2.0, 2.0]]
    assert any("checksum" in record.getMessage() for record in caplog.records)
    network.close()


def test_a_model_that_nothing_can_run_is_refused(there: Any) -> None:
    there()
    with pytest.raises(ModelError, match="nothing can run it: onnx told so"):
        open_network(MODEL, "times", EngineOptions())


def test_a_backend_that_fails_later_is_replaced(
    there: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    there("onnx")
    _compiled("onnx", content=_model(5.0))
    network = open_network(MODEL, "times", EngineOptions())
    first: Any = network

    def fail(_: Any) -> Any:
        raise ModelError("out of memory")

    monkeypatch.setattr(first._now, "run", fail)
    assert network.run(ONE)["y"].tolist() == [[2.0, 2.0, 2.0]]
    assert network.precision == "fp32"
    assert "in place of onnxruntime-cpu, which failed: out of memory" in caplog.text
    network.close()


def test_an_input_that_fails_everywhere_replaces_nothing(there: Any) -> None:
    there("onnx")
    _compiled("onnx", content=_model(5.0))
    network = open_network(MODEL, "times", EngineOptions())
    before: Any = network
    first = before._now

    def fail(_: Any) -> Any:
        raise ModelError("a bad input")

    before._now.run = fail
    before._open_other = lambda: first
    with pytest.raises(ModelError, match="a bad input"):
        network.run(ONE)
    assert network.precision == "int8"


# What is told


def test_what_runs_the_models_is_told(there: Any) -> None:
    there("onnx")
    lines = bundled_models().describe()
    expected = "engine of action, object, sound: onnx fp32 (nothing compiled for this machine, and"
    assert any(line.startswith(expected) for line in lines)


def test_models_that_run_differently_are_told_apart(there: Any) -> None:
    there("onnx")
    models = bundled_models()
    path = models.models["sound"].path
    assert path is not None
    _compiled("onnx", model_hash=model_hash(path.read_bytes()))
    told = [line.partition(" (")[0] for line in models.describe() if line.startswith("engine")]
    assert told == ["engine of action, object: onnx fp32", "engine of sound: onnx int8"]


def test_models_list_says_why_what_was_compiled_is_not_used(
    there: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there("onnx")
    monkeypatch.setenv("PLAYSPOT_MODELS", str(tmp_path / "none"))
    path = bundled_models().models["sound"].path
    assert path is not None
    _compiled("onnx", model_hash=model_hash(path.read_bytes()), speed_up=0.85)
    result = CliRunner().invoke(models_app, ["list", "--json"])
    rows = {row["kind"]: row for row in json.loads(result.output)["models"]}
    assert rows["sound"]["precision"] == "fp32"
    assert rows["sound"]["why"].startswith("what was compiled is slower: onnx int8 is 0.85 times")
    assert rows["object"]["why"].startswith("nothing compiled for this machine")


def test_an_engine_that_cannot_be_is_refused_when_models_are_told_of(there: Any) -> None:
    there("onnx")
    models = replace(bundled_models(), options=EngineOptions(engine="openvino"))
    with pytest.raises(ModelError, match="the engine openvino cannot be used"):
        models.describe()


def test_who_only_tells_of_models_does_not_load_the_runtime() -> None:
    if gpu(0) is not None:
        pytest.skip("with a GPU ONNX Runtime is asked whether it can use it")
    code = (
        "import sys\n"
        "from playspot.engines.catalogue import bundled_models\n"
        "bundled_models().describe()\n"
        "print('onnxruntime' in sys.modules, 'openvino' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["False", "False"]
