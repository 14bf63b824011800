"""`playspot benchmark latency`: what is counted in its window, and a short run of it."""

import json
import subprocess
import sys
from collections import Counter

import pytest

from playspot.stream.measure import Measures
from playspot.training.benchmark_latency import by_stage, figures_of, print_latency, since

pytestmark = [pytest.mark.live, pytest.mark.clock]


def counted(**ages: tuple[float, ...]) -> Measures:
    measures = Measures()
    for source, values in ages.items():
        for value in values:
            measures.age(source, value)
    return measures


def test_the_warm_up_is_not_in_the_window() -> None:
    before = counted(a=(5.0,) * 50)
    now = counted(a=(5.0,) * 50 + (0.5,) * 10)
    row = figures_of(since(now, before))["all"]
    assert row["n"] == 10
    assert row["p99"] == pytest.approx(500, rel=0.07)


def test_drops_of_the_warm_up_are_not_in_the_window() -> None:
    before, now = Measures(Counter({("a", "late"): 3})), Measures(Counter({("a", "late"): 5}))
    assert since(now, before).drops == {("a", "late"): 2}


def test_a_source_that_came_later_is_in_the_window() -> None:
    assert since(counted(b=(0.1,)), counted()).ages["b"].n == 1


def test_readers_are_one_stage() -> None:
    stages = by_stage({"reader a": counted(a=(0.1,)), "reader b": counted(b=(0.1, 0.2))})
    figures = figures_of(stages["reader"])
    assert figures["all"]["n"] == 3
    assert set(figures["sources"]) == {"a", "b"}


def test_nothing_counted_gives_no_figures() -> None:
    assert figures_of(Measures()) == {
        "all": {"n": 0, "p50": 0.0, "p95": 0.0, "p99": 0.0},
        "sources": {},
    }


def test_a_source_that_does_not_start_is_one_line() -> None:
    done = run_it("nowhere.mp4", "--seconds", "1")
    assert done.returncode == 1
    assert "nowhere.mp4" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_live_run_is_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run_it("--sources", "2", "--seconds", "4", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == "playspot/latency/1"
    assert list(document["stages"]) == ["reader", "flow", "mel", "detector", "publisher"]
    for figures in (*document["stages"].values(), document["published"]):
        assert figures["all"]["n"] > 4
        assert len(figures["sources"]) == 2
    published = document["published"]["all"]
    assert document["look_ahead_ms"] < published["p50"] <= published["p99"]
    monkeypatch.setenv("COLUMNS", "200")
    print_latency(document)
    shown = capsys.readouterr().out
    assert all(stage in shown for stage in document["stages"])
    assert f"{document['look_ahead_ms']:.0f} ms" in shown


def run_it(*args: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "playspot.stream", "benchmark", "latency", *args],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
