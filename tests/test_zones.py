"""Zones: what of a picture is looked at, and what lies where."""

import itertools

import numpy as np
import pytest

from playspot.engines.settings import Decoding
from playspot.stream.config import Zone
from playspot.stream.detections import peak, regions
from playspot.stream.fusion import grid_shape
from playspot.stream.zones import Corners, check_polygon, zone_mask, zones_of

GRID = grid_shape(1920, 1080)  # (18, 32)
LEFT: Corners = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
WHOLE: Corners = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
# An L: the whole picture without its upper right quarter.
ELL: Corners = ((0.0, 0.0), (0.5, 0.0), (0.5, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0))


def circle(radius: float, n: int = 60) -> Corners:
    angles = 2 * np.pi * np.arange(n) / n
    x, y = 0.5 + radius * np.cos(angles), 0.5 + radius * np.sin(angles)
    return tuple(zip(x.tolist(), y.tolist(), strict=True))


def include(polygon: Corners) -> Zone:
    return Zone(polygon=polygon)


def exclude(polygon: Corners) -> Zone:
    return Zone(polygon=polygon, kind="exclude")


def test_without_zones_there_is_nothing_to_leave_out() -> None:
    assert zone_mask({}, GRID) is None


def test_sound_alone_has_no_place_and_no_zone() -> None:
    assert zone_mask({"left": include(LEFT)}, (1, 1)) is None
    assert zones_of(None, {"left": include(LEFT)}) == ()


def test_the_left_half_is_the_left_half_of_the_grid() -> None:
    mask = zone_mask({"left": include(LEFT)}, GRID)
    assert mask is not None
    assert mask.dtype == np.float32
    assert mask.shape == GRID
    assert (mask[:, :16] == 1).all()
    assert (mask[:, 16:] == 0).all()


def test_an_excluded_zone_is_the_opposite_of_an_included_one() -> None:
    inside, outside = (zone_mask({"x": zone(ELL)}, GRID) for zone in (include, exclude))
    assert inside is not None
    assert outside is not None
    assert (inside + outside == 1).all()


def test_exclude_wins_over_include() -> None:
    mask = zone_mask({"all": include(WHOLE), "left": exclude(LEFT)}, GRID)
    assert mask is not None
    assert mask[:, :16].sum() == 0
    assert mask[:, 16:].all()


def test_two_included_zones_add_up() -> None:
    right = tuple((1 - x, y) for x, y in LEFT)
    mask = zone_mask({"left": include(LEFT), "right": include(right)}, GRID)
    assert mask is not None
    assert mask.all()


def test_the_inner_corner_of_an_l_is_outside() -> None:
    mask = zone_mask({"l": include(ELL)}, (4, 4))
    assert mask is not None
    assert mask.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]]


@pytest.mark.parametrize("radius", [0.1, 0.25, 0.45])
def test_the_mask_of_a_circle_has_its_area(radius: float) -> None:
    mask = zone_mask({"round": include(circle(radius))}, (64, 64))
    assert mask is not None
    # Half of the cells on the border are in: the error is below the area of the border's cells.
    assert mask.mean() == pytest.approx(np.pi * radius**2, abs=2 * np.pi * radius / 64 / 2)


def test_which_way_around_the_corners_run_does_not_matter() -> None:
    a, b = (zone_mask({"l": include(p)}, GRID) for p in (ELL, tuple(reversed(ELL))))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("size", [0.011, 0.02])
def test_a_zone_smaller_than_a_cell_still_has_one(size: float) -> None:
    x, y = 0.51, 0.51
    tiny = ((x, y), (x + size, y), (x + size, y + size), (x, y + size))
    mask = zone_mask({"tiny": include(tiny)}, GRID)
    assert mask is not None
    assert mask.sum() == 1
    assert mask[9, 16] == 1


def test_a_thin_sliver_is_not_lost() -> None:
    sliver = ((0.0, 0.5001), (1.0, 0.5001), (1.0, 0.5003), (0.0, 0.5003))
    mask = zone_mask({"thin": include(sliver)}, GRID)
    assert mask is not None
    assert mask[9].any()
    assert not mask[:9].any()


def test_a_louder_player_outside_does_not_hide_one_inside() -> None:
    playing = np.zeros((1, *GRID), np.float32)
    playing[0, 9, 24], playing[0, 9, 8] = 0.9, 0.6  # outside, inside
    mask = zone_mask({"left": include(LEFT)}, GRID)
    assert mask is not None
    seen = regions(playing * mask, ("drum",), Decoding())
    assert [(round(region.score, 6), region.cell) for region in seen] == [(0.6, (9, 8))]
    score, point = peak(playing[0] * mask)
    assert score == pytest.approx(0.6)
    assert point is not None
    assert zones_of(point, {"left": include(LEFT)}) == ("left",)


def test_the_mask_and_zones_of_agree_at_the_middle_of_whole_cells() -> None:
    zones = {"l": include(ELL)}
    mask = zone_mask(zones, (8, 8))
    assert mask is not None
    for row, column in itertools.product(range(8), range(8)):
        point = ((column + 0.5) / 8, (row + 0.5) / 8)
        assert bool(zones_of(point, zones)) == bool(mask[row, column])


def test_a_point_may_lie_in_several_zones_and_in_none() -> None:
    zones = {"left": include(LEFT), "all": include(WHOLE), "not": exclude(WHOLE)}
    assert zones_of((0.25, 0.5), zones) == ("left", "all")
    assert zones_of((0.75, 0.5), zones) == ("all",)
    assert zones_of((0.75, 0.5), {"left": include(LEFT)}) == ()


@pytest.mark.parametrize("point", [(0.0, 0.0), (1.0, 1.0), (1.0, 0.3), (0.3, 1.0)])
def test_the_border_belongs_to_the_zone(point: tuple[float, float]) -> None:
    assert zones_of(point, {"all": include(WHOLE)}) == ("all",)


@pytest.mark.parametrize(
    ("polygon", "words"),
    [
        (((0, 0), (1, 1)), "2 corners.*at least 3"),
        (((0, 0), (1, 1), (1, 0), (0, 1)), "from corner 1 and from corner 3 meet"),
        (((0, 0), (1, 0), (1, 1), (0, 0)), "corners 1 and 4 are the same"),
        (((0, 0), (0.5, 0.5), (1, 1)), "meet"),  # no area
        (((0, 0), (0.005, 0), (0.005, 0.005)), "area"),
        (((0, 0), (1, 0), (0.5, 0), (0.5, 1)), "meet"),  # turns back on itself
        (((0, 0), (1, 0), (1, 1), (0.5, 0), (0, 1)), "meet"),  # a corner touches a side
    ],
)
def test_an_impossible_polygon_is_refused(polygon: Corners, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_polygon(polygon)


def test_a_corner_on_a_straight_side_is_allowed() -> None:
    polygon = ((0.1, 0.1), (0.2, 0.1), (0.3, 0.1), (0.3, 0.3), (0.1, 0.3))
    assert check_polygon(polygon) == polygon


def test_a_circle_of_many_corners_is_allowed() -> None:
    assert len(check_polygon(circle(0.4, 100))) == 100
