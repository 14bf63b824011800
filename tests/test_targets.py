"""Targets of the action network, against examples worked by hand (paper, equations 1 and 2)."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from playspot.training.targets import (  # noqa: E402
    Target,
    binarise,
    make_targets,
    parse_target,
    target_loss,
)


def f32(values: Any) -> NDArray[np.float32]:
    return np.array(values, np.float32)


# Two frames, two labels, a map of 1 x 3. Label 0 sounds in frame 0 only, label 1 in frame 1 only.
TAGS = f32([[1, 1], [1, 1]])
SOUND = f32([[0.9, 0.2], [0.4, 0.5]])
OBJECT = f32([[[[0.1, 0.3, 0.8]], [[0.9, 0.2, 0.1]]], [[[0.1, 0.3, 0.8]], [[0.9, 0.2, 0.1]]]])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("VT", Target("VT")),
        ("ST01", Target("ST", sound_threshold=0.1)),
        ("OT09", Target("OT", object_threshold=0.9)),
        ("SOT0503", Target("SOT", 0.5, 0.3)),
        ("sot0503", Target("SOT", 0.5, 0.3)),
    ],
)
def test_a_name_gives_its_rule_and_thresholds(name: str, expected: Target) -> None:
    assert parse_target(name) == expected


@pytest.mark.parametrize("name", ["", "SOT", "SOT05", "VT05", "ST00", "ST11", "SOT050", "OT-3"])
def test_a_name_that_is_not_of_the_paper_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected VT, ST05, OT03 or SOT0503"):
        parse_target(name)


def test_a_score_equal_to_the_threshold_counts() -> None:
    assert binarise(f32([0.49, 0.5, 0.51]), 0.5).tolist() == [0, 1, 1]


def test_vt_is_the_tags() -> None:
    assert make_targets(parse_target("VT"), TAGS).tolist() == TAGS.tolist()


def test_st_is_the_binarised_sound_and_ignores_tags() -> None:
    targets = make_targets(parse_target("ST05"), 0 * TAGS, SOUND)
    assert targets.tolist() == [[1, 0], [0, 1]]


def test_ot_is_the_binarised_object_map_in_every_frame() -> None:
    targets = make_targets(parse_target("OT03"), TAGS, None, OBJECT)
    assert targets.tolist() == [[[[0, 1, 1]], [[1, 0, 0]]]] * 2


def test_sot_is_the_object_map_while_the_label_sounds() -> None:
    targets = make_targets(parse_target("SOT0503"), TAGS, SOUND, OBJECT)
    silent = [[0, 0, 0]]
    assert targets.tolist() == [[[[0, 1, 1]], silent], [silent, [[1, 0, 0]]]]


def test_st_ignores_an_object_model_and_ot_a_sound_model() -> None:
    assert make_targets(parse_target("ST05"), TAGS, SOUND, OBJECT).ndim == 2
    both = make_targets(parse_target("OT03"), TAGS, SOUND, OBJECT)
    assert both.tolist() == make_targets(parse_target("OT03"), TAGS, None, OBJECT).tolist()


@pytest.mark.parametrize(("name", "missing"), [("ST05", "--sound"), ("OT03", "--object")])
def test_a_missing_teacher_is_named(name: str, missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        make_targets(parse_target(name), TAGS)


def test_the_loss_of_a_map_is_the_mean_over_every_place() -> None:
    logits = torch.tensor([[[[0.0, math.log(3)]]]])  # scores 1/2 and 3/4
    targets = torch.tensor([[[[0.0, 1.0]]]])
    expected = -(math.log(0.5) + math.log(0.75)) / 2
    assert target_loss(logits, targets).item() == pytest.approx(expected, abs=1e-6)


def test_the_loss_of_a_tag_is_that_of_the_maximum_over_space() -> None:
    logits = torch.tensor([[[[0.0, math.log(3)]]]])
    loss = target_loss(logits, torch.tensor([[1.0]]))
    assert loss.item() == pytest.approx(-math.log(0.75), abs=1e-6)


def test_only_the_maximum_of_a_map_learns_from_a_tag() -> None:
    logits = torch.tensor([[[[0.0, 1.0]]]], requires_grad=True)
    target_loss(logits, torch.tensor([[1.0]])).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad.flatten()[0] == 0
    assert logits.grad.flatten()[1] < 0


def test_a_positive_weight_counts_places_with_a_target_of_one_more() -> None:
    logits = torch.tensor([[[[0.0, math.log(3)]]]])
    loss = target_loss(logits, torch.tensor([[[[0.0, 1.0]]]]), positive_weight=4.0)
    assert loss.item() == pytest.approx(-(math.log(0.5) + 4 * math.log(0.75)) / 2, abs=1e-6)
