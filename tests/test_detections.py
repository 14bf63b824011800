import numpy as np
import pytest

from playspot.engines.settings import Decoding
from playspot.stream.detections import peak, regions

DECODING = Decoding(on=0.5, off=0.35, region=0.6)


def hill(height: float, x: float, y: float, *, width: float = 0.1) -> np.ndarray:
    """Return a Gaussian hill (18, 32) with its top at the normalised place (x, y)."""
    rows, columns = (np.arange(18) + 0.5) / 18, (np.arange(32) + 0.5) / 32
    d2 = (columns[None] - x) ** 2 + (rows[:, None] - y) ** 2
    return (height * np.exp(-d2 / (2 * width**2))).astype(np.float32)


@pytest.mark.parametrize(("x", "y"), [(0.31, 0.62), (0.5, 0.5), (0.77, 0.23)])
def test_a_peak_is_found_between_the_cells(x: float, y: float) -> None:
    _, point = peak(hill(0.9, x, y))
    assert point is not None
    assert point[0] == pytest.approx(x, abs=0.004)  # an eighth of a cell
    assert point[1] == pytest.approx(y, abs=0.007)


def test_a_map_of_one_cell_has_a_score_and_no_place() -> None:
    assert peak(np.full((1, 1), 0.5, np.float32)) == (0.5, None)


def test_two_players_are_two_regions() -> None:
    playing = np.maximum(hill(0.9, 0.2, 0.5), hill(0.7, 0.8, 0.5))[None]
    found = regions(playing, ("violin",), DECODING)
    assert [round(r.point[0], 1) for r in found if r.point] == [0.2, 0.8]
    assert found[0].score > found[1].score


def test_a_box_holds_its_point() -> None:
    (found,) = regions(hill(0.9, 0.4, 0.6)[None], ("violin",), DECODING)
    assert found.box is not None
    assert found.point is not None
    x0, y0, x1, y1 = found.box
    assert x0 < found.point[0] < x1
    assert y0 < found.point[1] < y1
    assert 0 <= x0 < x1 <= 1


def test_below_off_nothing_is_found() -> None:
    assert regions(hill(0.34, 0.5, 0.5)[None], ("violin",), DECODING) == []


def test_a_label_has_its_own_threshold() -> None:
    decoding = Decoding(label_on={"drum": 0.2}, label_off={"drum": 0.1})
    playing = np.stack([hill(0.2, 0.5, 0.5), hill(0.2, 0.5, 0.5)])
    assert [r.label for r in regions(playing, ("drum", "violin"), decoding)] == ["drum"]


def test_a_flat_map_is_one_region_over_the_whole_picture() -> None:
    (found,) = regions(np.full((1, 18, 32), 0.8, np.float32), ("piano",), DECODING)
    assert found.box == (0, 0, 1, 1)


def test_sound_alone_gives_a_region_without_a_place() -> None:
    (found,) = regions(np.full((1, 1, 1), 0.8, np.float32), ("piano",), DECODING)
    assert (found.point, found.box) == (None, None)
