"""`playspot benchmark engines`: the ways that there are, rounds, load, and what is told of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from playspot.engines.catalogue import bundled
from playspot.training import benchmark_ways
from playspot.training.benchmark_commands import benchmark_app
from playspot.training.benchmark_engines_report import draw, print_engines
from playspot.training.benchmark_inputs import batch_of
from playspot.training.benchmark_load import measure_load
from playspot.training.benchmark_rounds import figures, measure, time_rounds
from playspot.training.benchmark_ways import (
    DEFAULTS,
    EAGER,
    OPENVINO,
    OURS,
    TENSORRT,
    Subject,
    open_ways,
)


@pytest.fixture(scope="module")
def subject() -> Subject:
    """Return the bundled sound network, the smallest, with random sound."""
    model = bundled()["sound"]
    assert model.path is not None
    rows = np.random.default_rng(0).random((3, 384, 48), dtype=np.float32)
    return Subject("sound", model.header.name, {"fp32": model.path.read_bytes()}, rows)


@pytest.fixture(scope="module")
def document(subject: Subject) -> dict[str, Any]:
    """Return a document as the command makes it, of one network and two ways."""
    timed = measure(subject, (1, 2), 0.0, names=(OURS, DEFAULTS))
    load = measure_load([subject], n_busy=1, n_streams=1, seconds=0.05, rounds=2)
    return {
        "machine": {"cpu": "A", "cores": 2, "system": "B", "load": 0.0, "date": "today"},
        "versions": {"python": "3"},
        "threads": 1,
        "peaks": {"cpu": {"flops": 1e9, "bandwidth": 1e9, "source": "made up"}},
        "networks": [{"kind": "sound", "name": "a", **timed.cost}],
        "rows": timed.rows,
        "skipped": {"TensorRT, fp32": "no GPU"},
        "load": load,
    }


def test_every_way_is_measured_at_every_batch(document: dict[str, Any]) -> None:
    found = {(row["way"], row["batch"]) for row in document["rows"]}
    assert found == {(OURS, 1), (OURS, 2), (DEFAULTS, 1), (DEFAULTS, 2)}
    assert all(0 < row["p50_ms"] <= row["p99_ms"] for row in document["rows"])
    assert all(row["roofline_share"] > 0 for row in document["rows"])


def test_streams_under_load_are_told_as_a_ratio_to_the_defaults(document: dict[str, Any]) -> None:
    rows = {(row["way"], row["precision"]): row for row in document["load"]["rows"]}
    assert rows[DEFAULTS, "fp32"]["ratio"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    assert rows[OURS, "fp32"]["ratio"]["low"] > 0
    assert len(rows[OURS, "fp32"]["rounds"]) == 2


def test_the_report_tells_of_ways_and_of_what_was_not_measured(
    document: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    print_engines(document)
    told = capsys.readouterr().out
    assert "ONNX Runtime, defaults, fp32" in told
    assert "not measured: TensorRT, fp32: no GPU" in told


def test_the_picture_is_drawn_with_and_without_load(
    document: dict[str, Any], tmp_path: Path
) -> None:
    draw(tmp_path / "a.png", document)
    draw(tmp_path / "b.png", document | {"load": None})
    assert (tmp_path / "a.png").stat().st_size > (tmp_path / "b.png").stat().st_size > 10_000


def test_all_ways_give_the_scores_of_the_plain_runtime(subject: Subject) -> None:
    pytest.importorskip("torch", reason="needs PyTorch (pip install 'playspot[train]')")
    pytest.importorskip("openvino", reason="needs OpenVINO (pip install openvino)")
    ways, skipped = open_ways(subject, (DEFAULTS, OURS, OPENVINO, EAGER))
    assert not skipped
    plain = ways[0].run(subject.inputs)[0]
    others = [way.run(subject.inputs) for way in ways[1:]]
    for scores in (others[0]["scores"], others[1]["scores"], others[2]):
        np.testing.assert_allclose(scores, plain, atol=1e-4)


def test_a_way_that_is_not_there_is_left_out_with_its_reason(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> Any:
        raise RuntimeError("no such\nthing")

    monkeypatch.setattr(benchmark_ways, "_open", refuse)
    assert open_ways(subject, (TENSORRT,)) == ([], {"TensorRT, fp32": "no such thing"})


def test_a_way_that_fails_does_not_end_the_others() -> None:
    def fail() -> None:
        raise RuntimeError("out of memory")

    failed: dict[str, str] = {}
    times = time_rounds({("bad", "fp32"): fail, ("good", "fp32"): int}, 0.0, failed)
    assert list(times) == [("good", "fp32")]
    assert failed == {"bad, fp32": "out of memory"}


def test_rounds_are_interleaved() -> None:
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    time_rounds(calls, 0.0, {}, min_rounds=4)
    rounds = [order[k : k + 3] for k in range(9, len(order), 3)]  # after the warm-up
    assert len(rounds) == 4
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)


def test_throughput_counts_inputs_and_not_runs() -> None:
    assert figures([0.5, 0.5], 4)["per_second"] == pytest.approx(8)


def test_a_batch_begins_again_where_the_inputs_end() -> None:
    assert batch_of(np.arange(2), 5).tolist() == [0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--batch", "1,x"], "--batch 1,x"),
        (["--batch", "0"], "--batch 0"),
        (["--precision", "fp64"], "fp64: there is fp32"),
    ],
)
def test_a_wrong_option_is_a_usage_error(arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(benchmark_app, ["engines", *arguments])
    assert result.exit_code == 2
    assert told in " ".join(result.output.split())
