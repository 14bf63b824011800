"""`playspot doctor` on this machine, and `--gpu` from beginning to end on a fake one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from playspot.engines import machine
from playspot.engines.availability import Availability
from playspot.engines.catalogue import bundled
from playspot.engines.compiled import Compiled, save
from playspot.engines.machine import cpu_flags
from playspot.engines.metadata import model_hash
from playspot.training import doctor, doctor_gpu, doctor_machine
from playspot.training.doctor import examine, is_fine
from playspot.training.doctor_command import doctor as command
from playspot.training.doctor_gpu_checks import Check, Given, build, parity
from playspot.training.doctor_gpu_report import markdown
from playspot.training.doctor_machine import Finding

FAKES = Path(__file__).with_name("fakes")
# A small acceptance run: one precision, two cycles, two seconds of scene, one of optical flow.
RUN = """
import sys
from pathlib import Path
from playspot.training import benchmark_inputs
from playspot.training.doctor_gpu import examine_gpu

whole = benchmark_inputs.greys_of
benchmark_inputs.greys_of = lambda scene: whole(scene, 1.0)
small = {"precisions": ("fp32",), "cycles": 2, "scene_seconds": 2.0, "latency_seconds": 0.0}
report = examine_gpu(Path(sys.argv[1]), Path(sys.argv[2]), batches=(1, 1, 2), **small)
raise SystemExit(0 if report["is_fine"] else 1)
"""


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the compiled networks of whoever runs the tests out of them."""
    monkeypatch.setenv("PLAYSPOT_ENGINES", str(tmp_path / "engines"))
    return tmp_path / "engines"


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, list(arguments))


def test_this_machine_is_fine_and_everything_is_looked_at() -> None:
    result = run("--json")
    assert result.exit_code == 0
    document = json.loads(result.output)
    whats = [found["what"] for found in document["findings"]]
    assert document["is_fine"]
    for what in ("Python", "processor", "engine onnx", "sound model", "media", "ports", "extras"):
        assert what in whats
    assert "cannot be examined" not in result.output


def test_each_model_is_told_with_its_engine_its_precision_and_why() -> None:
    told = {found.what: found.says for found in examine()}
    name, engine, why = told["object model"].split(": ", 2)
    assert name == "bandstand-object (bundled)"
    assert engine in ("onnx, fp32", "cuda, fp32", "tensorrt, fp32")
    assert why


def test_what_is_compiled_is_told_with_whether_it_is_used_and_why() -> None:
    path = bundled()["object"].path
    assert path is not None
    content = path.read_bytes()
    told: dict[str, Any] = {"model_hash": model_hash(content), "model_name": "m", "kind": "object"}
    told |= {"backend": "onnx", "passed": True, "against": "onnx"}
    save(Compiled(precision="int8", speed_up=0.85, **told), content)
    save(Compiled(precision="fp16", **told | {"passed": False}), content)
    slow = "0.85 times as fast as ONNX Runtime on the CPU"
    found = {one.says.partition(": ")[2]: one for one in examine() if "compiled" in one.what}
    assert [one.state for one in found.values()] == ["could", "ok"]
    failed, passed = found
    assert failed.startswith("not used: it failed its checks, or was not compared yet (")
    assert passed.startswith(f"not used by itself: {slow}; --engine onnx --precision int8 does (")
    [model] = [one.says for one in examine() if one.what == "object model"]
    assert model.endswith(f"onnx, fp32: what was compiled is slower: onnx int8 is {slow}")


def test_a_folder_without_models_is_a_fault_and_exit_code_1(tmp_path: Path) -> None:
    result = run("--models", str(tmp_path))
    assert result.exit_code == 1
    assert "!!  models" in result.output
    assert "detect will not work" in result.output


def test_a_damaged_model_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "sound.onnx").write_bytes(b"no model")
    faults = [found for found in examine(tmp_path) if found.state == "fault"]
    assert [found.what for found in faults] == ["models"]
    assert "not an ONNX file" in faults[0].says


def test_a_look_that_fails_does_not_end_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Any:
        raise RuntimeError("driver in\na strange state")

    monkeypatch.setattr(doctor, "media", fail)
    found = {found.what: found for found in examine()}
    assert found["media"].says == "cannot be examined (driver in a strange state)"
    assert "ports" in found


def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8773))
        except OSError:
            pass  # by somebody else: as good
        else:
            taken.listen()
        found = [found for found in doctor_machine.ports() if found.state == "could"]
    assert any("8773 on 127.0.0.1 is taken" in one.says for one in found)


def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("PLAYSPOT_ENGINES", str(tmp_path / "file" / "engines"))
    [found] = [one for one in doctor_machine.folders() if one.state == "could"]
    assert "compiled networks" in found.says
    assert "PLAYSPOT_ENGINES" in found.do


def test_a_damaged_compiled_network_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAYSPOT_ENGINES", str(tmp_path))
    made = Compiled(
        model_hash="0123456789ab", model_name="", kind="flow", backend="onnx", precision="int8",
        passed=True,
    )  # fmt: skip
    save(made, b"content").path.write_bytes(b"another")
    [found] = [one for one in examine() if one.what == "compiled networks"]
    assert found.state == "could"
    assert found.says.startswith("flow (0123456789ab), onnx, int8, of ")
    assert "its checksum is wrong; compile it again" in found.says


@pytest.mark.parametrize(
    ("why", "expected"),
    [
        (
            "it cannot be loaded (libnvinfer.so.11: cannot open): pip install 'playspot[gpu]'",
            ("it cannot be loaded (libnvinfer.so.11: cannot open)", "'playspot[gpu]'"),
        ),
        ("TensorRT 8.6 is too old: 10.13 is needed", ("TensorRT 8.6 is too old: 10.13", "")),
    ],
)
def test_what_to_do_is_told_apart_from_the_reason(
    monkeypatch: pytest.MonkeyPatch, why: str, expected: tuple[str, str]
) -> None:
    found = [Availability("tensorrt", False, why)]
    monkeypatch.setattr("playspot.engines.availability.available", lambda device: found)
    monkeypatch.setattr("playspot.engines.machine.gpu", lambda device: object())
    [told] = [one for one in examine() if one.what == "engine tensorrt"]
    says, do = expected
    assert told.says.startswith(f"not there: {says}")
    assert told.do == (f"pip install {do}" if do else "")


def test_a_missing_extra_is_told_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(doctor_machine.EXTRAS, "live", ("no_such_module", "microphones"))
    found = {one.do: one.says for one in doctor_machine.extras()}
    assert found["pip install 'playspot[live]'"] == "no live: microphones"


def test_features_of_the_processor_are_read(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nflags\t\t: fpu avx2 avx512_vnni\n\nflags\t\t: other\n")
    assert cpu_flags(path) == {"fpu", "avx2", "avx512_vnni"}


def test_what_could_be_better_is_no_fault() -> None:
    assert is_fine([Finding("a", "ok", ""), Finding("b", "could", "")])
    assert not is_fine([Finding("a", "ok", ""), Finding("b", "fault", "")])


def test_a_machine_without_gpu_is_one_line_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "gpu", lambda device: None)
    result = run("--gpu", "--out", str(tmp_path / "out"))
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert "there is no GPU 0 to be examined" in result.output
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the report of an acceptance run on the fake GPU, in processes of its own."""
    folder = tmp_path_factory.mktemp("accepted")
    (folder / "models").mkdir()
    sound = bundled()["sound"].path
    assert sound is not None
    (folder / "models" / "sound.onnx").write_bytes(sound.read_bytes())
    environment = os.environ | {
        "PYTHONPATH": str(FAKES),
        "PLAYSPOT_ENGINES": str(folder / "engines"),
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(folder / "out"), str(folder / "models")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert (folder / "out" / "report.json").exists(), done.stderr
    report: dict[str, Any] = json.loads((folder / "out" / "report.json").read_text())
    return report | {"code": done.returncode, "folder": folder / "out"}


def test_the_acceptance_run_passes_on_a_gpu_that_works(accepted: dict[str, Any]) -> None:
    failed = [check for check in accepted["checks"] if check["state"] == "fail"]
    assert not failed
    assert accepted["is_fine"]
    assert accepted["code"] == 0


@pytest.mark.parametrize(
    "name",
    [
        "copies, 64 MiB",
        "build sound, fp32",
        "build flow, fp32",
        "parity object, fp32",
        "flow 256x144, TensorRT",
        "CUDA graphs action",
        "latency sound, fp32, batch 2",
        "leaks, device memory",
        "leaks, resident memory",
        "corrupt plan, TensorRT",
        "corrupt plan, fall-back",
        "two processes",
    ],
)
def test_a_check_of_the_acceptance_run_passes(accepted: dict[str, Any], name: str) -> None:
    [check] = [check for check in accepted["checks"] if check["name"] == name]
    assert check["state"] == "pass"
    assert check["figure"]


def test_the_acceptance_run_leaves_its_report_and_nothing_else(accepted: dict[str, Any]) -> None:
    folder: Path = accepted["folder"]
    assert sorted(path.name for path in folder.iterdir()) == ["report.json", "report.md"]
    told = (folder / "report.md").read_text()
    assert told.startswith("# Acceptance run on Fake GPU")
    assert "| copies, 64 MiB | pass |" in told


def test_a_check_whose_plan_could_not_be_built_is_skipped_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = Given(tmp_path, {}, 0)
    monkeypatch.setattr(
        doctor_gpu, "in_processes", lambda call, calls, **_: enumerate(map(_called, calls))
    )
    looks: list[doctor_gpu.Look] = [
        ("build sound", build, ("sound", "fp32"), ""),
        ("parity sound", _no_plan, (), ""),
        ("last", _passes, (), ""),
        ("not here", parity, (), "no GPU"),
    ]
    states = {check.name: check.state for check in doctor_gpu._run(looks, given)}
    assert states == {
        "build sound": "fail",
        "parity sound": "skipped",
        "last": "pass",
        "not here": "skipped",
    }


def _called(arguments: tuple[Any, ...]) -> Any:
    from playspot.training.processes import Failure

    try:
        return doctor_gpu._call(*arguments)
    except Exception as error:
        return Failure(str(error))


def _no_plan(given: Given) -> list[Check]:
    from playspot.training.doctor_gpu_checks import NoPlanError

    raise NoPlanError("its plan was not built")


def _passes(given: Given) -> list[Check]:
    return [Check("last", "pass", "fine")]


def test_a_bar_in_a_figure_does_not_break_the_table() -> None:
    check = {"name": "a", "state": "fail", "figure": "x | y", "bound": "", "seconds": 1.0}
    report = {
        "gpu": {"name": "A"},
        "machine": {"cpu": "B", "cores": 1, "date": "today"},
        "versions": {},
        "seconds": 1.0,
        "checks": [check],
    }
    assert markdown(report).splitlines()[-1] == "| a | fail | x \\| y |  | 1.0 |"
