"""`playspot benchmark`: its figures add up and its document is whole; nothing here is timed."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from playspot.engines.engine import Header
from playspot.engines.replay import ReplayModels
from playspot.stream.media import GreyFrame
from playspot.stream.sources import FileSource, SourceError
from playspot.stream.timeline import STEP, n_steps
from playspot.training.benchmark import stage_figures
from playspot.training.benchmark_report import machine, print_benchmark, versions
from playspot.training.benchmark_run import PacedSource, ProcessFigures, run_pipeline
from playspot.training.benchmark_stages import Costs, flow_each_step, flow_once, measure
from playspot.training.repeat import repeat, steps_in

MakeClip = Callable[..., Path]
LABELS = ("drum", "violin")


def recorded(front_end: str = "paper") -> ReplayModels:
    """Return models that hear and see the first label in every step."""
    cells = np.zeros((1, 2, 2, 3), np.float32)
    cells[:, 0] = 0.9
    return ReplayModels(
        {
            "object": Header(kind="object", name="o", labels=LABELS),
            "action": Header(kind="action", name="a", labels=LABELS),
            "sound": Header.model_validate(
                {"kind": "sound", "name": "s", "labels": LABELS, "front_end": front_end}
            ),
        },
        {"object": cells, "action": cells, "sound": np.repeat(cells[:, :, 0], 20, axis=2)},
    )


def test_every_stage_of_the_pipeline_is_measured(make_clip: MakeClip) -> None:
    costs = measure(make_clip(duration=2.0), recorded(), 10.0)
    assert list(costs.stages) == [
        "decode and scale",
        "flow",
        "sound windows (paper)",
        "object network",
        "action network",
        "sound network",
        "fusion and decoding",
    ]
    assert all(np.isfinite(cost) and cost >= 0 for cost in costs.stages.values())


def test_every_reference_way_belongs_to_a_stage(make_clip: MakeClip) -> None:
    costs = measure(make_clip(duration=1.0), recorded(), 10.0)
    assert ("flow", "five a step") in costs.references
    assert {stage for stage, _ in costs.references} < set(costs.stages)


def test_no_more_of_a_file_is_measured_than_wanted(make_clip: MakeClip) -> None:
    assert measure(make_clip(duration=3.0), recorded(), 1.1).media_seconds == 2 * STEP


def test_the_front_end_of_the_sound_model_is_measured(make_clip: MakeClip) -> None:
    costs = measure(make_clip(duration=2.0, size=None), recorded("yamnet"), 10.0)
    assert "sound windows (yamnet)" in costs.stages


def test_sound_alone_has_no_stages_of_pictures(make_clip: MakeClip) -> None:
    costs = measure(make_clip(duration=2.0, size=None), recorded(), 10.0)
    assert {"flow", "object network", "action network"}.isdisjoint(costs.stages)


def test_pictures_alone_have_no_stages_of_sound(make_clip: MakeClip) -> None:
    costs = measure(make_clip(duration=2.0, sample_rate=None), recorded(), 10.0)
    assert {"sound windows (paper)", "sound network"}.isdisjoint(costs.stages)


def test_both_ways_of_flow_give_the_same_stacks(rng: np.random.Generator) -> None:
    frames = [GreyFrame(tick, rng.integers(0, 256, (36, 64), dtype=np.uint8)) for tick in range(11)]
    ours = [stack.stack for stack in flow_once(frames)]
    theirs = list(flow_each_step({frame.tick: frame.image for frame in frames}))
    # At the ends the last frame is repeated, where ours is 0 and Farneback's nearly so.
    np.testing.assert_array_equal(ours[1], theirs[1])
    np.testing.assert_allclose(ours, theirs, atol=0.2)


def test_costs_of_runs_become_medians_and_the_spread() -> None:
    runs = [Costs(1.0, {"flow": c, "mel": 1.0}, {("flow", "five a step"): 6.0}) for c in (2, 4, 3)]
    figures = stage_figures(runs)
    assert figures["stages"][0] == {
        "stage": "flow",
        "median": 3.0,
        "low": 2.0,
        "high": 4.0,
        "ms_per_step": 3.0 * STEP,
    }
    assert figures["one_core"]["median"] == 4.0
    assert figures["one_core"]["times_real_time"] == 250.0
    assert figures["ratios"][0]["ratio"] == {"median": 2.0, "low": 1.5, "high": 3.0}


def test_memory_is_compared_between_the_first_and_the_last_quarter() -> None:
    figures = ProcessFigures([1.0, 1.0, 9.0, 9.0, 9.0, 9.0, 5.0, 5.0], [2.0] * 7 + [4.0])
    assert figures.to_json(10.0) == {
        "first_mb": 1.0,
        "last_mb": 5.0,
        "peak_mb": 9.0,
        "cpu_ms_per_s": 200.0,
    }


def test_a_file_is_repeated_to_a_length(make_clip: MakeClip, tmp_path: Path) -> None:
    clip, long = make_clip(duration=2.0), tmp_path / "long.mp4"
    repeat(clip, long, 7.0)
    times: dict[str, list[float]] = {"video": [], "audio": []}
    with av.open(str(long)) as container:
        for packet in container.demux():
            if packet.dts is not None:
                times[packet.stream.type].append(float(packet.dts * packet.time_base))
    assert all(t == sorted(t) for t in times.values())
    assert all(6.5 < t[-1] < 10.0 for t in times.values())
    assert steps_in(long) == n_steps(FileSource(long).info.duration or 0)


def test_a_repeated_file_is_detected_in_without_a_break(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    clip, long = make_clip(duration=2.0), tmp_path / "long.mp4"
    repeat(clip, long, 5.0)
    with FileSource(long) as source:
        n_items = sum(1 for _ in source)
    assert n_items > 0
    assert source.notes == []


def test_what_is_no_media_file_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("no film")
    with pytest.raises(SourceError, match=r"a\.mp4"):
        repeat(tmp_path / "a.mp4", tmp_path / "b.mp4", 9.0)


def test_a_paced_source_gives_what_the_file_gives(make_clip: MakeClip) -> None:
    clip = make_clip(duration=0.6)
    kinds = [
        sorted(type(item).__name__ for item in source)
        for source in (FileSource(clip), PacedSource(clip))
    ]
    assert kinds[0] == kinds[1]


def test_a_paced_pipeline_can_be_started_in_new_processes() -> None:
    from playspot.training.benchmark_run import read_paced

    assert pickle.loads(pickle.dumps(read_paced)) is read_paced


def test_a_run_tells_of_every_process(make_clip: MakeClip) -> None:
    run = run_pipeline(make_clip(duration=1.6), recorded(), is_paced=True)
    assert run.media_seconds == n_steps(1.6) * STEP
    assert run.latencies_ms
    if sys.platform == "linux":
        assert set(run.processes) == {"parent", "reader", "flow", "mel", "detector"}
        assert all(figures.memory[0] > 1 for figures in run.processes.values())


def test_the_machine_and_the_versions_are_told() -> None:
    assert set(machine()) == {"cpu", "cores", "system", "load", "date"}
    assert versions()["numpy"] == np.__version__


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory, media: Any) -> dict[str, Any]:
    """Return what the program prints for a tiny clip."""
    folder = tmp_path_factory.mktemp("benchmark")
    clip = media.make_clip(folder / "clip.mp4", duration=2.0)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "playspot.stream", "benchmark", str(clip), "--json"),
            *("-n", "2", "--seconds", "1", "--paced", "0.5", "--minutes", "0.05"),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PLAYSPOT_MODELS": str(folder / "none")},
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_document_is_whole(document: dict[str, Any]) -> None:
    assert document["schema"] == "playspot/benchmark/1"
    assert set(document) == {
        "schema",
        "machine",
        "versions",
        "n",
        "models",
        "file",
        "measured_seconds",
        "stages",
        "one_core",
        "ratios",
        "pipeline",
        "latency",
    }


def test_the_stages_add_up(document: dict[str, Any]) -> None:
    low = sum(row["low"] for row in document["stages"])
    high = sum(row["high"] for row in document["stages"])
    assert low <= document["one_core"]["median"] <= high


def test_the_file_is_repeated_for_the_pipeline(document: dict[str, Any]) -> None:
    assert document["pipeline"]["media_seconds"] > 3.0
    assert document["pipeline"]["times_real_time"] > 0


def test_the_document_is_printed_as_tables(
    document: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    print_benchmark(document)
    shown = capsys.readouterr().out
    for row in document["stages"]:
        assert row["stage"] in shown
    assert "x real time" in shown
