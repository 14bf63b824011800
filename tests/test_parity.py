"""Whether two ways to run a network agree: what is measured, what is accepted, what is told."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from playspot.engines.catalogue import bundled_models
from playspot.engines.compiled import Compiled
from playspot.engines.metadata import find_header, parse_model
from playspot.engines.ort import OrtNetwork
from playspot.engines.settings import Decoding
from playspot.stream.fusion import Geometry
from playspot.training.compile_run import Outcome, Request
from playspot.training.parity import BOUNDS, Bounds, Parity
from playspot.training.parity_report import as_json, print_outcome, write_report
from playspot.training.parity_torch import TorchNetwork, rebuild
from playspot.training.scores import ClipScores

LABELS = ("drum", "violin")
NAMES = {"sound": "ears", "object": "eyes", "action": "motion"}
N = 6
STRICT = Bounds(0.01, 0.001)


def scores_of(played: Any, place: int = 1) -> ClipScores:
    """Return scores of a clip in which the violin plays at `place` where `played` is high."""
    maps = np.full((N, 2, 3, 4), 0.1, np.float32)
    maps[:, 1, 1, place] = played
    sound = np.full((N, 2), 0.2, np.float32)
    sound[:, 1] = played
    where = Geometry(96, 64, 32.0, 0.0)
    return ClipScores(N, 96, 64, sound, maps, maps.copy(), where, where)


PLAYED = np.array([0.15, 0.9, 0.8, 0.2, 0.9, 0.15], np.float32)
RIGHT = scores_of(PLAYED)
TRUTH = {
    "played": ["violin"],
    "heard": ["violin"],
    "steps": [
        {
            "step": step,
            "players": [{"label": "violin", "playing": True, "points": [[0.33, 0.5]], "box": None}],
        }
        for step in (1, 2, 4)
    ],
}


def compared(given: ClipScores, bounds: Bounds = STRICT, **options: Any) -> Parity:
    parity = Parity("onnx int8", bounds, NAMES, LABELS, Decoding(), **options)
    parity.add("clip", TRUTH, RIGHT, given)
    return parity


def test_the_same_scores_are_within_every_bound() -> None:
    parity = compared(scores_of(PLAYED), Bounds(0.0, 0.0, 0.0, 0.0))
    assert parity.faults() == []
    assert [(row.kind, row.largest, row.n) for row in parity.agreements()] == [
        ("sound", 0.0, 2 * N),
        ("object", 0.0, 2 * N * 12),
        ("action", 0.0, 2 * N * 12),
    ]


def test_figures_say_of_how_much_they_are() -> None:
    change = {row.output: row for row in compared(scores_of(PLAYED)).changes()}
    assert list(change) == ["sound", "object", "action", "action*object*sound"]
    assert (change["action"].n_videos, change["action"].n_frames) == (1, 3)
    assert change["action"].auc == 1.0
    assert change["sound"].n_frames == 0  # a score without a place
    assert np.isnan(change["sound"].px)


def test_a_score_that_differs_too_much_is_named_with_its_bound() -> None:
    parity = compared(scores_of(PLAYED + np.float32(0.05)))
    assert parity.faults("object")[0] == (
        "object, onnx int8: largest difference 0.05, accepted up to 0.01"
    )


def test_a_score_that_is_no_number_is_beyond_every_bound() -> None:
    broken = PLAYED.copy()
    broken[0] = np.nan
    faults = compared(scores_of(broken), BOUNDS["fp16"]).faults("sound")
    assert "largest difference nan" in faults[0]


def test_a_maximum_elsewhere_is_a_growth_of_the_distance() -> None:
    faults = compared(scores_of(PLAYED, place=3), Bounds(None, None)).faults("action")
    assert "growth of the distance" in faults[0]


def test_scores_at_the_wrong_time_are_a_fall_of_the_auc() -> None:
    given = scores_of(np.roll(PLAYED, 1))
    assert any("fall of the AUC" in fault for fault in compared(given).faults("sound"))


def test_what_is_wrong_with_all_together_is_held_against_each() -> None:
    right, wrong = scores_of(PLAYED), scores_of(np.where(PLAYED > 0.5, 0.01, 0.9))
    given = replace(right, object_map=wrong.object_map)
    faults = compared(given, Bounds(None, None)).faults("sound")
    assert faults
    assert all("action*object*sound" in fault for fault in faults)


def test_flow_from_another_place_loosens_the_bounds_of_what_it_is_in() -> None:
    parity = compared(scores_of(PLAYED), BOUNDS["fp32"], has_flow=True)
    assert parity.bounds_of("object") == BOUNDS["fp32"]
    assert (parity.bounds_of("action").largest or 0) > (BOUNDS["fp32"].largest or 0)


def test_the_bounds_are_those_of_the_documentation() -> None:
    text = (Path(__file__).parents[1] / "docs" / "engines.md").read_text(encoding="utf-8")
    told = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[0] in BOUNDS:
            told[cells[0]] = [None if cell == "-" else float(cell) for cell in cells[1:]]
    assert told == {name: [*asdict(bounds).values()] for name, bounds in BOUNDS.items()}


def test_clips_without_a_truth_are_compared_score_by_score() -> None:
    parity = Parity("onnx int8", STRICT, NAMES, LABELS, Decoding())
    parity.add("clip", None, RIGHT, RIGHT)
    assert parity.changes() == []
    assert len(parity.agreements()) == 3


@pytest.fixture
def outcome() -> Outcome:
    kept = Compiled(
        model_hash="0123456789ab", model_name="ears", kind="sound", backend="onnx", precision="int8"
    )
    return Outcome({"sound": kept}, [compared(scores_of(PLAYED * 0.9))], {"bandstand": 1}, ["a"])


def test_the_report_is_json_without_nan(outcome: Outcome) -> None:
    report = as_json(Request(), outcome)
    assert json.loads(json.dumps(report, allow_nan=False))["passed"] is False
    assert report["parities"][0]["changes"][0]["px"] is None


def test_the_report_is_written_as_three_files(outcome: Outcome, tmp_path: Path) -> None:
    paths = write_report(Request(precision="int8"), outcome, tmp_path)
    assert [path.name for path in paths] == ["parity.json", "parity.md", "parity.png"]
    assert paths[2].read_bytes().startswith(b"\x89PNG")
    text = paths[1].read_text()
    assert text.startswith("# Parity: onnx int8, NOT passed")
    assert r"| action\*object\*sound | onnx int8 |" in text


def test_the_tables_end_with_what_is_wrong(
    outcome: Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    print_outcome(outcome)
    lines = capsys.readouterr().out.splitlines()
    assert any("largest difference" in line for line in lines)
    assert lines[-1].endswith("onnx int8 is kept, but not used")


@pytest.mark.parametrize("kind", ["sound", "object", "action"])
def test_a_network_of_ours_is_rebuilt_in_torch_from_its_file(kind: Any, rng: Any) -> None:
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'playspot[train]'")
    path = bundled_models().models[kind].path
    assert path is not None
    content = path.read_bytes()
    header = find_header(parse_model(content, kind), kind)
    assert header is not None
    onnx = OrtNetwork(content, kind)
    batch = {
        "sound": rng.random((2, 384, 50), np.float32) * 8,
        "object": rng.integers(0, 256, (2, 70, 99, 3), np.uint8),
        "action": rng.standard_normal((2, 10, 70, 99), np.float32),
    }[kind]
    feeds = {onnx.inputs[0].name: batch}
    given = TorchNetwork(rebuild(content), header, onnx).run(feeds)["scores"]
    np.testing.assert_allclose(given, onnx.run(feeds)["scores"], atol=1e-5)


def test_what_training_did_not_export_is_not_rebuilt() -> None:
    path = bundled_models().models["action"].path
    assert path is not None
    proto = parse_model(path.read_bytes(), "it")
    del proto.metadata_props[:]
    with pytest.raises(ValueError, match="not exported by `playspot train`"):
        rebuild(proto.SerializeToString())
