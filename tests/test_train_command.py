"""The command `playspot train`: options, what it refuses, and the model it leaves."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from playspot.training.alone import alone
from playspot.training.cache import CachedClip
from playspot.training.train_command import train

app = typer.Typer()
app.command()(train)


def invoke(*arguments: object) -> Result:
    """Return what `playspot train` does, with one thread: more wait for each other here."""
    return CliRunner().invoke(app, [*map(str, arguments), "--threads", "1"])


def test_the_command_imports_without_torch() -> None:
    code = "import sys; import playspot.training.train_command; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_torch_the_command_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    result = invoke("sound", "--data", tmp_path, "--out", tmp_path)
    assert result.exit_code == 1
    assert 'pip install "playspot[train]"' in result.output


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--recipe", "x"], 2, "--recipe"),
        (["--steps", "0"], 2, "steps: 0 is too small; give at least 1"),
        (["--set", "dropuot=0.1"], 2, "dropuot: unknown key; did you mean 'dropout'?"),
        (["--set", "dropout"], 2, "give NAME=VALUE"),
        (["--processes", "99999999"], 2, "less than or equal to 1024"),
        (["--steps", "3", "--epochs", "3"], 2, "give one of them"),
        (["--set", "=1"], 2, "give NAME=VALUE"),
        (["--set", "kind=action"], 2, "the kind is the first argument"),
        (["--dataset", "kazoos"], 2, "--dataset kazoos: one of bandstand, folder"),
        (["--target", "VT"], 2, "--target is for the action network"),
        (["--config", "nothing.yaml"], 1, "nothing.yaml: No such file"),
    ],
)
def test_a_bad_option_is_one_line(
    tmp_path: Path, options: list[str], code: int, message: str
) -> None:
    result = invoke("sound", "--data", tmp_path, "--out", tmp_path, *options)
    assert result.exit_code == code
    assert message in " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "target SOT0503 needs --sound, a trained model"),
        (["--target", "OT03"], "target OT03 needs --object, a trained model"),
        (["--target", "SOT53"], "target 'SOT53': expected VT, ST05, OT03 or SOT0503"),
        (["--target", "OT03", "--sound-threshold", "0.5"], "target OT does not use it"),
        (["--target", "ST05", "--sound-threshold", "1.5"], "1.5 is too much; give at most 1"),
    ],
)
def test_a_target_that_cannot_be_made_is_refused_before_any_work(
    tmp_path: Path, options: list[str], message: str
) -> None:
    pytest.importorskip("torch", reason="training needs the extra `train`")
    result = invoke("action", "--data", tmp_path / "none", "--out", tmp_path, *options)
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


@pytest.fixture
def seeded(
    clips: list[CachedClip],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write_clip: Callable[..., None],
) -> Path:
    """Return a folder of clips whose features are there."""
    pytest.importorskip("torch", reason="training needs the extra `train`")
    cached = [
        replace(clip, clip=replace(clip.clip, seed=number if number < 8 else 100_000 + number))
        for number, clip in enumerate(clips)
    ]
    monkeypatch.setattr("playspot.training.jobs.features_of", lambda *_: cached)
    data = tmp_path / "data"
    data.mkdir()
    for clip in cached:
        write_clip(data, clip.clip.name, seed=clip.clip.seed)
    return data


def test_a_command_trains_and_exports_a_model_with_its_provenance(
    seeded: Path, tmp_path: Path
) -> None:
    from playspot.engines import load

    out = tmp_path / "out"
    options = ["--steps", "3", "--width", "0.05", "--set", "dropout=0.1"]
    result = invoke("sound", "--data", seeded, "--out", out, *options)
    assert result.exit_code == 0, result.output
    provenance = load(out / "sound.onnx", "sound").header.provenance
    assert provenance["data"]["seeds"] == "0 to 7"
    assert provenance["validation"]["clips"] == 4
    assert provenance["config"]["steps"] == 3
    assert provenance["config"]["dropout"] == 0.1
    assert str(tmp_path) not in json.dumps(provenance)


def test_the_saved_settings_are_taken_again_and_nothing_is_left_to_train(
    seeded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr("playspot.training.jobs.export_best", lambda *_: out / "sound.onnx")
    first = invoke("sound", "--data", seeded, "--out", out, "--steps", "3", "--width", "0.05")
    again = invoke("sound", "--data", seeded, "--out", out, "--config", out / "sound.yaml")
    assert again.exit_code == 0, again.output
    assert again.stdout == first.stdout


def test_two_runs_of_a_network_in_one_folder_are_refused(seeded: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with alone(out / ".sound.lock"):
        result = invoke("sound", "--data", seeded, "--out", out, "--steps", "3")
    assert result.exit_code == 1
    assert "another run trains the sound network there; give another --out" in result.output
    assert not (out / "sound.yaml").exists()
