"""The paper's metrics, against scikit-learn and against cases whose answer is known."""

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest
from sklearn.metrics import roc_auc_score

from playspot.engines.engine import Header
from playspot.engines.metadata import read_header, write_header
from playspot.models.labels import LABELS
from playspot.stream.fusion import Geometry
from playspot.training.evaluate import Evaluation, auc, interval, is_hit, nearest_px
from playspot.training.evaluate_report import plain, print_report
from playspot.training.evaluate_run import record
from playspot.training.scores import ClipScores

VIOLIN = LABELS.index("violin")
SQUARE = Geometry(256, 256, 32, 0)


def one_player(playing: list[bool], point: tuple[float, float]) -> dict[str, Any]:
    """Return the truth of a clip with one violin, its key point and a box around it."""
    x, y = point
    box = [x - 0.1, y - 0.1, x + 0.1, y + 0.1]
    steps = [
        {
            "step": k,
            "players": [
                {"label": "violin", "playing": on, "points": [[x, y]] if on else [], "box": box}
            ],
        }
        for k, on in enumerate(playing)
    ]
    return {"played": ["violin"], "heard": ["violin"], "visible": ["violin"], "steps": steps}


def scores_of(playing: list[bool], cell: tuple[int, int]) -> ClipScores:
    """Return scores of three models that know when and where the violin is played."""
    n, row = len(playing), np.array(playing, np.float32)
    sound = np.full((n, 9), 0.05, np.float32)
    sound[:, VIOLIN] += 0.9 * row
    where = np.full((n, 9, 8, 8), 0.05, np.float32)
    where[:, VIOLIN, cell[0], cell[1]] = 0.9
    action = np.full((n, 9, 8, 8), 0.05, np.float32)
    action[:, VIOLIN, cell[0], cell[1]] += 0.9 * row
    return ClipScores(n, 256, 256, sound, where, action, SQUARE, SQUARE)


@pytest.mark.parametrize("levels", [2, 5, 10_000])
def test_auc_is_that_of_scikit_learn(rng: np.random.Generator, levels: int) -> None:
    for _ in range(20):
        positive = rng.random(50) < 0.3
        scores = rng.integers(levels, size=50) / levels
        assert auc(positive, scores) == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)


def test_auc_of_one_class_is_nan() -> None:
    assert math.isnan(auc(np.ones(3, bool), np.arange(3.0)))


def test_the_interval_holds_the_mean_and_narrows_with_clips(rng: np.random.Generator) -> None:
    few = [rng.normal(size=4) for _ in range(5)]
    many = [rng.normal(size=4) for _ in range(500)]
    low, high = interval(few, lambda values: float(values.mean()))
    assert low < np.concatenate(few).mean() < high
    narrow = interval(many, lambda values: float(values.mean()))
    assert narrow[1] - narrow[0] < (high - low) / 3


def test_one_clip_has_no_interval() -> None:
    assert all(math.isnan(bound) for bound in interval([np.ones(3)], lambda v: float(v.mean())))


def test_distance_is_measured_in_pixels_of_a_256_side_picture() -> None:
    # A portrait of any size: longer side 256, so 0.1 of the width is 14.4 px.
    points = np.array([[0.6, 0.5], [0.0, 0.0]])
    assert nearest_px((0.5, 0.5), points, 1080, 1920) == pytest.approx(14.4)


def test_a_hit_may_be_in_any_box() -> None:
    boxes = np.array([[0.0, 0.0, 0.1, 0.1], [0.5, 0.5, 0.7, 0.7]])
    assert is_hit((0.6, 0.6), boxes)
    assert not is_hit((0.3, 0.3), boxes)


def test_models_that_know_everything_score_everything() -> None:
    playing = [False, True, True, False]
    evaluation = Evaluation(LABELS)
    # Cell (3, 2) of a 256 picture is centred on pixel (x 64, y 96).
    evaluation.add("a", one_player(playing, (64.5 / 256, 96.5 / 256)), scores_of(playing, (3, 2)))
    report = evaluation.report()
    fused = report["outputs"]["action*object*sound"]
    assert fused["temporal_auc"]["mean"] == 1
    assert fused["spatial_px"]["median"] < 4.1  # half a cell of the common grid
    assert fused["spatial_px"]["n"] == 2
    assert fused["top1"]["mean"] == 1
    assert report["sound_frame_auc"]["labels"]["violin"] == 1
    assert report["object_hit_rate"]["labels"]["violin"] == 1


def test_the_object_model_alone_does_not_know_when() -> None:
    playing = [False, True, True, False]
    evaluation = Evaluation(LABELS)
    evaluation.add("a", one_player(playing, (0.25, 0.375)), scores_of(playing, (3, 2)))
    outputs = evaluation.report()["outputs"]
    assert outputs["object"]["temporal_auc"]["mean"] == 0.5
    assert outputs["action"]["temporal_auc"]["mean"] == 1


def test_a_map_that_points_elsewhere_is_as_far_as_it_is() -> None:
    playing = [False, True]
    evaluation = Evaluation(LABELS)
    evaluation.add("a", one_player(playing, (64.5 / 256, 224.5 / 256)), scores_of(playing, (3, 2)))
    report = evaluation.report()
    assert report["outputs"]["object"]["spatial_px"]["median"] == pytest.approx(128, abs=6)
    assert report["object_hit_rate"]["labels"]["violin"] == 0


def test_a_clip_that_is_played_throughout_has_no_temporal_auc() -> None:
    playing = [True, True]
    evaluation = Evaluation(LABELS)
    evaluation.add("a", one_player(playing, (0.25, 0.375)), scores_of(playing, (3, 2)))
    assert evaluation.report()["outputs"]["action"]["temporal_auc"]["n"] == 0


def test_a_label_heard_off_screen_is_not_held_against_the_sound_model() -> None:
    playing = [False, True]
    truth = one_player(playing, (0.25, 0.375)) | {"heard": ["violin", "drum"]}
    evaluation = Evaluation(LABELS)
    evaluation.add("a", truth, scores_of(playing, (3, 2)))
    assert "drum" not in evaluation.sound_frames
    assert "flute" in evaluation.sound_frames


def test_a_missing_model_leaves_its_outputs_out() -> None:
    playing = [False, True]
    found = scores_of(playing, (3, 2))
    alone = ClipScores(2, 256, 256, sound=found.sound)
    evaluation = Evaluation(LABELS)
    evaluation.add("a", one_player(playing, (0.25, 0.375)), alone)
    assert list(evaluation.report()["outputs"]) == ["sound"]


def test_a_report_prints_and_has_no_nan_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    playing = [False, True]
    evaluation = Evaluation(LABELS)
    evaluation.add("a", one_player(playing, (0.25, 0.375)), scores_of(playing, (3, 2)))
    report = evaluation.report() | {"split": "test"}
    print_report(report)
    assert "action*object*sound" in capsys.readouterr().out
    assert "nan" not in str(plain(report))


def write_model(path: Path, kind: Literal["sound", "object", "action"]) -> None:
    """Write an ONNX file that has our header and does nothing."""
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    scores = onnx.helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["scores"])
    proto = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [value], [scores]))
    front_end: Literal["paper"] | None = "paper" if kind == "sound" else None
    provenance = {"data": {"clips": 3}}
    header = Header(kind=kind, name=kind, labels=LABELS, front_end=front_end, provenance=provenance)
    write_header(proto, header)
    onnx.save(proto, path)


def test_figures_are_recorded_in_the_headers_beside_what_was_there(tmp_path: Path) -> None:
    playing = [False, True]
    evaluation = Evaluation(LABELS)
    evaluation.add("a", one_player(playing, (0.25, 0.375)), scores_of(playing, (3, 2)))
    kinds: tuple[Literal["sound", "object", "action"], ...] = ("sound", "object", "action")
    for kind in kinds:
        write_model(tmp_path / f"{kind}.onnx", kind)
    record(evaluation.report() | {"split": "test"}, tmp_path)
    provenance = read_header(tmp_path / "sound.onnx").provenance
    assert provenance["data"] == {"clips": 3}
    assert provenance["figures"]["alone"] == {"frame_auc": 1.0}
    assert provenance["figures"]["fused"]["split"] == "test"
    assert provenance["figures"]["fused"]["temporal_auc"] == 1.0
