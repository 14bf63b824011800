"""What is learnt from, or kept by a model's hash, is its own file and nothing compiled."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from playspot.engines import load
from playspot.engines.catalogue import bundled_models
from playspot.engines.compiled import Compiled, save
from playspot.engines.metadata import model_hash
from playspot.engines.options import ORIGINAL, EngineOptions
from playspot.training import evaluate_run
from playspot.training.adapt_models import find_teachers
from playspot.training.evaluate_command import evaluate
from playspot.training.evaluate_report import print_report
from playspot.training.model_scores import ModelScores
from playspot.training.teachers import load_teacher


@pytest.fixture(autouse=True)
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Return the bundled models; all are in the cache as faster int8 that passed."""
    monkeypatch.setenv("PLAYSPOT_ENGINES", str(tmp_path / "engines"))
    monkeypatch.setenv("PLAYSPOT_MODELS", str(tmp_path / "none"))
    found = {}
    for kind, model in bundled_models().models.items():
        assert model.path is not None
        content = model.path.read_bytes()
        told: dict[str, Any] = {"model_hash": model_hash(content), "model_name": kind, "kind": kind}
        told |= {"passed": True, "speed_up": 9.0, "against": "onnx"}
        save(Compiled(backend="onnx", precision="int8", **told), content)
        found[str(kind)] = model.path
    return found


def test_who_loads_a_model_is_given_what_was_compiled(paths: dict[str, Path]) -> None:
    assert load(paths["sound"]).precision == "int8"
    assert load(paths["sound"], options=ORIGINAL).precision == "fp32"


@pytest.mark.parametrize("kind", ["sound", "object"])
def test_a_teacher_is_the_original(kind: str, paths: dict[str, Path]) -> None:
    assert load_teacher(paths[kind], kind).precision == "fp32"


def test_models_are_adapted_by_originals_and_compared_with_them() -> None:
    engines = find_teachers(None, None, None).load("sound", "object", "action")
    assert {engine.precision for engine in engines.values()} == {"fp32"}


def test_evaluate_measures_what_detect_would_run_and_tells_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ModelScores(None, tmp_path).described()["models"]
    assert {one["precision"] for one in told.values()} == {"int8"}
    print_report({"models": told, "outputs": {}})
    assert capsys.readouterr().out.count("on onnxruntime-cpu at int8") == 3


def test_evaluate_can_be_told_to_measure_the_originals(tmp_path: Path) -> None:
    told = ModelScores(None, tmp_path, options=ORIGINAL).described()["models"]
    assert {one["precision"] for one in told.values()} == {"fp32"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], EngineOptions()),
        (["--engine", "onnx", "--precision", "fp32"], ORIGINAL),
        (["--models", "m", "--record"], ORIGINAL),
    ],
)
def test_figures_in_a_models_header_are_those_of_the_original(
    options: list[str], expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[EngineOptions] = []

    def run(request: Any) -> Any:
        asked.append(request.options)
        return {"outputs": {}}, None

    monkeypatch.setattr(evaluate_run, "run", run)
    monkeypatch.setattr(evaluate_run, "record", lambda *_: [])
    app = typer.Typer()
    app.command()(evaluate)
    result = CliRunner().invoke(app, [str(tmp_path), "--json", *options])
    assert json.loads(result.output) == {"outputs": {}}
    assert asked == [expected]
