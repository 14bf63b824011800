"""The findings: one small run of the real command, killed and gone on with; what it concludes."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from playspot.training.benchmark_commands import benchmark_app
from playspot.training.clips import ClipError
from playspot.training.findings import (
    CHUNK,
    FIRST_SEEDS,
    TARGETS,
    Settings,
    needed_teachers,
    prepare,
)
from playspot.training.findings_paper import CLAIMS, PAPER, WHEN, WHERE, paper_difference
from playspot.training.findings_plot import draw
from playspot.training.findings_report import document_of, markdown, read_figures
from playspot.training.findings_run import run_tasks, tasks_of
from playspot.training.findings_verdicts import (
    Claim,
    Metric,
    average,
    difference,
    estimate,
    judge_claims,
)

SEEDS, CLIPS, LABELS = 3, 12, 4

TINY = {
    **{"--targets": "VT,SOT0101", "--seeds": 1, "--duration": 2, "--width": 0.05},
    **{"--teacher-clips": 2, "--clips": 2, "--validation-clips": 1, "--test-clips": 2},
    **{"--teacher-steps": 2, "--start-steps": 2, "--steps": 2, "--processes": 2},
}


def options(**changes: object) -> list[str]:
    given = TINY | {f"--{key}": value for key, value in changes.items()}
    return [str(part) for pair in given.items() for part in pair]


def start(folder: Path, processes: int) -> "subprocess.Popen[str]":
    given = options(processes=processes)
    command = ["benchmark", "findings", "--out", "out", "--work", "work", *given]
    return subprocess.Popen(
        [sys.executable, "-m", "playspot.stream", *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


class Ran:
    """The small run: killed when the first clips had been rendered, then gone on with."""

    def __init__(self, folder: Path) -> None:
        pytest.importorskip("torch", reason="training needs the extra `train`")
        if not Path("/proc/self/stat").is_file():
            pytest.skip("looks for the processes of a killed run in /proc, which only Linux has")
        self.folder = folder
        done = folder / "work" / "done"
        first = start(folder, processes=2)
        wait_for(lambda: (done / "teachers-0000").is_file(), 200)
        self.orphans = children(first.pid)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        wait_for(lambda: not any(is_alive(pid) for pid in self.orphans), 20)
        self.before = {path.name: path.stat().st_mtime_ns for path in done.iterdir()}
        second = start(folder, processes=1)  # loads PyTorch once
        self.printed, self.told = second.communicate(timeout=300)
        self.code = second.returncode
        self.after = {path.name: path.stat().st_mtime_ns for path in done.iterdir()}
        self.document = json.loads((folder / "out" / "findings.json").read_text())


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return Ran(tmp_path_factory.mktemp("findings"))


def test_a_killed_run_leaves_no_process(ran: Ran) -> None:
    assert ran.orphans


def test_the_same_command_goes_on_after_a_kill(ran: Ran) -> None:
    assert ran.code == 0, ran.told


def test_what_was_done_before_the_kill_is_not_done_again(ran: Ran) -> None:
    assert {name: ran.after[name] for name in ran.before} == ran.before


def test_every_network_and_every_figure_lies_on_disk(ran: Ran) -> None:
    work = ran.folder / "work"
    for target in ("VT", "SOT0101"):
        assert (work / "networks/0" / target / "action.best.pt").is_file()
        assert (work / "figures/0" / f"{target}.json").is_file()


def test_the_json_has_the_form_that_readers_expect(ran: Ran) -> None:
    assert ran.document["seeds"] == [0]
    fused = [
        f"{t}{m}" for t in ("VT", "SOT0101") for m in ("", "*object", "*sound", "*object*sound")
    ]
    assert set(ran.document["models"]) == {"center", "sound", "object", *fused}
    for figures in ran.document["models"].values():
        for metric in ("temporal_auc", "spatial_px"):
            assert {"mean", "low", "high"} <= set(figures[metric])


def test_the_json_says_with_what_it_was_made(ran: Ran) -> None:
    assert ran.document["settings"]["steps"] == 2
    assert ran.document["took"]["before"] == len(ran.before)
    assert ran.document["versions"]["torch"]


def test_the_report_has_the_tables_and_the_picture(ran: Ran) -> None:
    text = (ran.folder / "out" / "findings.md").read_text()
    assert "(table VIII)" in text
    assert "(table XI)" in text
    assert (ran.folder / "out" / "findings.png").read_bytes()[1:4] == b"PNG"


def test_progress_is_told_where_there_is_no_terminal(ran: Ran) -> None:
    assert "100 %" in ran.told
    assert "min left" in ran.told


def test_all_networks_of_a_seed_begin_with_the_same_one(ran: Ran) -> None:
    for target in ("VT", "SOT0101"):
        text = (ran.folder / "work/networks/0" / target / "action.yaml").read_text()
        assert "networks/0/start/action.best.pt" in text


def refused(folder: Path, **changes: object) -> str:
    """Return the one line that the command says when it does not begin."""
    given = options(**changes)
    places = ["--out", str(folder / "out"), "--work", str(folder / "work")]
    result = CliRunner().invoke(benchmark_app, ["findings", *places, *given])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    return str(result.stderr)


def test_a_folder_of_other_settings_is_refused_in_one_line(ran: Ran) -> None:
    assert "steps = 2, now 3" in refused(ran.folder, steps=3)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--targets", "VT,XT05", "--targets: target 'XT05': expected VT, ST05, OT03 or SOT0503"),
        ("--level", "huge", "'huge' is not one of 'easy', 'normal'"),
        ("--duration", "1", "greater than or equal to 2"),
        ("--width", "1e9", "less than or equal to 4"),
    ],
)
def test_a_bad_option_is_a_wrong_use(tmp_path: Path, option: str, value: str, message: str) -> None:
    result = CliRunner().invoke(benchmark_app, ["findings", "--work", str(tmp_path), option, value])
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


# ---- what is planned


def test_every_task_comes_after_what_it_needs() -> None:
    tasks = tasks_of(Settings())
    names = {task.name for task in tasks}
    assert len(names) == len(tasks)
    assert all(set(task.needs) <= names for task in tasks)
    done: set[str] = set()
    while len(done) < len(tasks):
        ready = {task.name for task in tasks if done.issuperset(task.needs)}
        assert ready > done
        done = ready


def test_the_splits_have_seeds_of_their_own() -> None:
    first = sorted(FIRST_SEEDS.values())
    most = max(Settings().n_clips(split) for split in FIRST_SEEDS)
    assert min(np.diff(first)) > 100 * most


def test_targets_without_the_object_model_do_not_wait_for_it() -> None:
    by_name = {task.name: task for task in tasks_of(Settings())}
    assert "ask-object" not in by_name["train-0-ST05"].needs
    assert by_name["train-0-VT"].needs == ("start-0",)


def test_the_teachers_of_each_of_the_paper_s_targets_are_known() -> None:
    pytest.importorskip("torch", reason="targets need PyTorch")
    from playspot.training.targets import parse_target

    for name in TARGETS:
        target = parse_target(name)
        assert ("sound" in needed_teachers(name)) == target.needs_sound
        assert ("object" in needed_teachers(name)) == target.needs_object


def test_more_minutes_make_larger_sizes() -> None:
    small, large = Settings.of_minutes(10), Settings.of_minutes(90)
    assert small.clips < large.clips
    assert small.steps < large.steps
    assert small.clips % CHUNK == 0


def test_a_broken_stamp_is_said(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("[")
    with pytest.raises(ClipError, match="broken"):
        prepare(Settings(), tmp_path)


def test_a_task_that_fails_stops_the_run_with_its_reason(tmp_path: Path) -> None:
    settings = Settings(seeds=1, targets=("VT",), clips=1, teacher_clips=1, level="impossible")
    with pytest.raises(ValueError, match="impossible"):
        run_tasks(settings, tmp_path, 1)


# ---- what is concluded


def values(mean: float, *, spread: float = 0.01, seed: int = 0) -> "np.ndarray[Any, Any]":
    return mean + np.random.default_rng(seed).normal(0, spread, (SEEDS, CLIPS, LABELS))


def verdict(better: "np.ndarray[Any, Any]", worse: "np.ndarray[Any, Any]", metric: Metric) -> str:
    table = {("a", metric): better, ("b", metric): worse}
    (finding,) = judge_claims([Claim("a is better", metric, "a", "b")], table)
    return finding.verdict


def test_a_clear_gain_in_time_holds() -> None:
    assert verdict(values(0.9), values(0.8, seed=1), WHEN) == "holds"


def test_a_clear_gain_in_space_is_a_smaller_distance() -> None:
    assert verdict(values(20.0), values(30.0, seed=1), WHERE) == "holds"
    assert verdict(values(30.0), values(20.0, seed=1), WHERE) == "does not hold"


def test_what_differs_less_than_its_noise_cannot_be_told() -> None:
    assert verdict(values(0.8), values(0.8, seed=1), WHEN) == "cannot be told"


def test_what_only_one_seed_has_cannot_be_told() -> None:
    better = np.full((SEEDS, CLIPS, LABELS), 0.8)
    better[0] += 0.1
    assert verdict(better, np.full_like(better, 0.8), WHEN) == "cannot be told"


def test_one_seed_alone_tells_nothing() -> None:
    assert verdict(values(0.9)[:1], values(0.5)[:1], WHEN) == "cannot be told"


def test_a_model_without_seeds_is_compared_with_each_seed() -> None:
    assert verdict(values(20.0), values(30.0)[:1], WHERE) == "holds"


def test_differences_are_paired_over_clips() -> None:
    hard = np.random.default_rng(5).uniform(0.2, 0.9, (1, CLIPS, LABELS))
    worse = np.repeat(hard, SEEDS, axis=0)
    found = difference(worse + 0.02, worse, WHEN)
    assert found.clips == pytest.approx((0.02, 0.02))
    assert estimate(worse).clips[1] - estimate(worse).clips[0] > 0.05


def test_thresholds_that_hardly_differ_are_flat() -> None:
    claim = Claim("flat", WHEN, flat=("a", "b", "c"))
    table = {(name, WHEN): values(0.8, seed=k) for k, name in enumerate("abc")}
    assert judge_claims([claim], table)[0].verdict == "holds"
    table["c", WHEN] = values(0.6, seed=9)
    assert judge_claims([claim], table)[0].verdict == "does not hold"


def test_a_claim_of_models_that_were_not_trained_is_left_out() -> None:
    assert judge_claims(CLAIMS, {("VT", WHEN): values(0.8)}) == []


def test_the_average_is_over_labels_not_over_pairs() -> None:
    table = np.full((2, 2), np.nan)
    table[:, 0] = 1.0
    table[0, 1] = 0.0
    assert average(table) == 0.5


def test_the_paper_s_own_figures_are_as_its_findings_say() -> None:
    known = [found for claim in CLAIMS if (found := paper_difference(claim)) is not None]
    assert len(known) > 15
    assert min(known) > -0.05  # ST05 alone is 0.2 px better than VT
    assert set(TARGETS) <= set(PAPER)


def made_up(work: Path, settings: Settings) -> None:
    """Write figures as a run leaves them: SOT is best, VT worst."""
    good = {"VT": 0, "ST": 1, "OT": 1, "SO": 2}
    rng = np.random.default_rng(1)

    def outputs(names: tuple[str, ...], gain: float) -> dict[str, Any]:
        pairs = [(f"clip{n}", label) for n in range(8) for label in ("drum", "flute")]
        return {
            name: {
                "temporal_auc": [[*p, 0.7 + 0.05 * gain + rng.normal(0, 0.005)] for p in pairs],
                "spatial_px": [[*p, 40 - 5 * gain + rng.normal(0, 0.2)] for p in pairs],
            }
            for name in names
        }

    fused = ("action", "action*object", "action*sound", "action*object*sound")
    for seed in range(settings.seeds):
        (work / "figures" / str(seed)).mkdir(parents=True)
        for target in settings.targets:
            document = {"outputs": outputs(fused, good[target[:2]])}
            (work / "figures" / str(seed) / f"{target}.json").write_text(json.dumps(document))
    alone = {"outputs": outputs(("center", "sound", "object"), 0)}
    alone["outputs"]["sound"]["spatial_px"] = []
    alone["outputs"]["center"]["temporal_auc"] = []
    more = {"sound_frame_auc": 0.95, "object_hit_rate": 0.5, "played_share": 0.6}
    (work / "figures" / "alone.json").write_text(json.dumps(alone | more))


TOOK = {"seconds": 60.0, "task_seconds": 200.0, "processes": 4, "tasks": 9, "before": 0}


def test_made_up_figures_give_the_verdicts_they_were_made_for(tmp_path: Path) -> None:
    settings = Settings()
    made_up(tmp_path, settings)
    document = document_of(settings, read_figures(settings, tmp_path), TOOK)
    verdicts = {(line["finding"], line["metric"]): line["verdict"] for line in document["findings"]}
    assert verdicts["SOT is better than VT in time", WHEN] == "holds"
    assert verdicts["SOT is better than VT in space", WHERE] == "holds"
    assert verdicts["the object model improves SOT in space", WHERE] == "cannot be told"
    assert verdicts["ST: thresholds from 0.3 to 0.7 are much the same in time", WHEN] == "holds"


def test_the_report_of_made_up_figures_names_every_target(tmp_path: Path) -> None:
    settings = Settings()
    made_up(tmp_path, settings)
    figures = read_figures(settings, tmp_path)
    document = document_of(settings, figures, TOOK)
    text = markdown(settings, figures, document)
    assert all(f"| {target} |" in text for target in settings.targets)
    assert "**holds**" in text
    assert "nan" not in text
    draw(tmp_path / "findings.png", document)
    assert (tmp_path / "findings.png").stat().st_size > 10_000


def test_a_figure_that_is_missing_or_broken_is_an_error_not_a_gap(tmp_path: Path) -> None:
    settings = Settings()
    made_up(tmp_path, settings)
    path = tmp_path / "figures" / "1" / "VT.json"
    for content in ("[" * 100_000, "{}", ""):
        path.write_text(content)
        with pytest.raises(ValueError, match=r"VT\.json: broken"):
            read_figures(settings, tmp_path)
    path.unlink()
    with pytest.raises(OSError, match=r"VT\.json"):
        read_figures(settings, tmp_path)
