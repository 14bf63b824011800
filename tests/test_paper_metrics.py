"""The paper's metrics, against scikit-learn, PyTorch and cases whose answer is known."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from playspot.training.bootstrap import label_intervals
from playspot.training.paper_metrics import (
    PaperTally,
    distance_px,
    enlarge,
    is_in_a_box,
    label_means,
    max_location,
    multiply,
    picture_size,
)
from playspot.training.sound_frames import SoundFrames

SIZE = (144, 256)
NOBODY = np.empty((0, 2))


def a_map(row: int, column: int, value: float = 0.9) -> np.ndarray:
    found = np.full((5, 8), 0.1, np.float32)
    found[row, column] = value
    return found


def test_maps_are_enlarged_as_upsampling_bilinear_does(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    for shape, size in (((5, 8), (144, 256)), ((7, 8), (204, 256)), ((8, 5), (256, 143))):
        maps = rng.random(shape)
        upsampled = torch.nn.functional.interpolate(
            torch.tensor(maps)[None, None], size=size, mode="bilinear", align_corners=True
        )
        np.testing.assert_allclose(enlarge(maps, size), upsampled[0, 0].numpy(), atol=1e-12)


def test_corner_cells_lie_on_corner_pixels() -> None:
    assert max_location(a_map(4, 7), SIZE) == (143, 255)
    assert max_location(a_map(0, 0), SIZE) == (0, 0)


def test_a_flat_map_has_its_maximum_at_the_first_pixel() -> None:
    assert max_location(np.full((5, 8), 0.3, np.float32), SIZE) == (0, 0)


@pytest.mark.parametrize("length", [1, 2])
def test_maps_of_one_cell_or_two_can_be_enlarged(length: int) -> None:
    assert enlarge(np.ones((length, length)), (3, 1)).tolist() == [[1.0]] * 3


def test_pictures_are_truncated_not_rounded() -> None:
    assert picture_size(1280, 1024) == (204, 256)  # 204.8
    assert picture_size(1080, 1920) == (256, 144)


def test_the_nearest_key_point_counts() -> None:
    assert distance_px((0, 0), np.array([[30.0, 40.0], [3.0, 4.0]])) == 5


def test_bounds_of_boxes_are_inside() -> None:
    assert is_in_a_box((5, 5), np.array([[5, 5, 6, 6]]))
    assert not is_in_a_box((4, 5), np.array([[5, 5, 6, 6]]))


def test_fusion_is_a_product_and_maps_of_two_sizes_meet_on_the_larger() -> None:
    action, sound = np.full((2, 3, 5, 8), 0.5), np.full((2, 3), 0.5)
    eyes = np.full((2, 3, 10, 16), 0.5)
    assert multiply([action, sound]).shape == (2, 3, 5, 8)
    fused = multiply([action, eyes, sound])
    assert fused.shape == (2, 3, 10, 16)
    np.testing.assert_allclose(fused, 0.125)


def test_perfect_maps_have_area_1_and_distance_0() -> None:
    maps = np.stack([a_map(2, 3, 0.9 if played else 0.2) for played in (0, 1, 1, 0)])
    row, column = max_location(a_map(2, 3), SIZE)
    points = [NOBODY, np.array([[row, column]]), np.array([[row, column]]), NOBODY]
    tally = PaperTally()
    tally.add("a", "violin", maps, points, SIZE)
    report = tally.report(("violin", "drum"))
    assert report["temporal_auc"]["average"] == 1
    assert report["spatial_px"]["violin"] == 0
    assert report["n"]["frames"]["all"] == 2
    assert math.isnan(report["temporal_auc"]["drum"])


def test_the_area_of_a_video_is_that_of_scikit_learn(rng: np.random.Generator) -> None:
    maps = rng.random((40, 5, 8)).astype(np.float32)
    points = [np.zeros((1, 2)) if played else NOBODY for played in rng.random(40) < 0.4]
    tally = PaperTally()
    tally.add("a", "violin", maps, points, SIZE)
    expected = roc_auc_score([len(some) > 0 for some in points], maps.max(axis=(1, 2)))
    assert tally.aucs["a", "violin"] == pytest.approx(expected, abs=1e-12)


def test_means_are_over_videos_and_then_over_labels() -> None:
    values = {("a", "x"): 0.0, ("b", "x"): 1.0, ("c", "x"): 1.0, ("a", "y"): 0.0}
    assert label_means(values, ("x", "y"))["average"] == pytest.approx(1 / 3)


def test_a_video_that_is_played_throughout_has_a_distance_and_no_area() -> None:
    tally = PaperTally()
    tally.add("a", "violin", a_map(0, 0)[None], [np.array([[3.0, 4.0]])], SIZE)
    report = tally.report(("violin",))
    assert report["n"]["temporal_auc"]["all"] == 0
    assert report["spatial_px"]["average"] == 5


def test_scores_without_a_place_have_no_distance() -> None:
    tally = PaperTally()
    tally.add("a", "violin", np.ones((2, 1, 1)), [np.zeros((1, 2)), NOBODY], SIZE)
    assert not tally.distances
    assert tally.aucs["a", "violin"] == 0.5


def test_hits_are_shares_of_the_pictures_with_a_box() -> None:
    tally = PaperTally()
    boxes = [np.array([[0, 0, 9, 9]]), np.array([[100, 100, 110, 110]]), np.empty((0, 4))]
    tally.add_hits("a", "violin", np.stack([a_map(0, 0)] * 3), boxes, SIZE)
    assert tally.report(("violin",))["hit_rate"]["average"] == 0.5


def test_intervals_of_labels_hold_their_means(rng: np.random.Generator) -> None:
    values = {(str(n), "violin"): float(v) for n, v in enumerate(rng.random(40))}
    mean = label_means(values, ("violin",))["average"]
    low, high = label_intervals(values, ("violin",))["average"]
    assert low < mean < high
    assert high - low == pytest.approx(4 * 0.29 / 40**0.5, rel=0.3)  # of a uniform distribution


def test_sound_frames_are_counted_as_if_each_output_was_repeated(rng: np.random.Generator) -> None:
    frames = SoundFrames(("drum",))
    columns, truths = [], []
    for n_columns in (100, 157):
        sound = rng.random((-(-n_columns // 16), 1)).astype(np.float32)
        frames.add(sound, n_columns, {"drum": np.array([[0.32, 1.0], [2.0, 2.5]])})
        columns.append(np.repeat(sound[:, 0], 16)[:n_columns])
        n = np.arange(n_columns)
        truths.append(((n >= 10) & (n <= 32)) | ((n >= 62) & (n <= 79)))
    report = frames.report()
    expected = roc_auc_score(np.concatenate(truths), np.concatenate(columns))
    assert report["frame_auc"]["drum"] == pytest.approx(expected, abs=1e-12)
    low, high = report["intervals"]["frame_auc"]["drum"]
    assert low <= expected <= high
