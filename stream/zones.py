"""Zones: polygons that say which parts of a picture are looked at, and what lies in which.

In: polygons in relative coordinates, [x, y] from 0 to 1 of width and height, origin top left.
Out: a mask for the playing map, and the names of the zones that hold a point. A mask is applied
before peaks are looked for, so that a player outside never hides one inside.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .config import Zone

Corners = tuple[tuple[float, float], ...]
Points = NDArray[np.float64]  # (N, 2)

FINE = 8  # parts of a cell's side, to find how much of the cell is covered
SMALLEST = 1e-4  # area of a polygon, as a part of the picture's
EPSILON = 1e-9  # of coordinates: less is rounding


def check_polygon(polygon: Corners) -> Corners:
    """Return a polygon if it encloses an area once, without crossing itself.

    Raises
    ------
    ValueError
        Saying which corners are wrong (the first is number 1).

    Examples
    --------
    >>> check_polygon(((0, 0), (1, 0), (1, 1)))
    ((0, 0), (1, 0), (1, 1))
    >>> check_polygon(((0, 0), (1, 1), (1, 0), (0, 1)))
    Traceback (most recent call last):
    ...
    ValueError: its sides from corner 1 and from corner 3 meet; list the corners in order ...
    """
    _check(polygon)
    return polygon


@lru_cache(maxsize=256)  # every process reads the zones of a source once a second
def _check(polygon: Corners) -> None:
    n = len(polygon)
    if n < 3:
        raise ValueError(f"has {n} corners; a polygon needs at least 3")
    for j in range(n):
        for i in range(j):
            if max(abs(a - b) for a, b in zip(polygon[i], polygon[j], strict=True)) < EPSILON:
                raise ValueError(f"its corners {i + 1} and {j + 1} are the same; leave one out")
    for i in range(n):
        for j in range(i + 1, n):
            if _meet(polygon, i, j):
                raise ValueError(
                    f"its sides from corner {i + 1} and from corner {j + 1} meet; list the "
                    "corners in order around the zone"
                )
    if (area := abs(_area(polygon))) < SMALLEST:
        raise ValueError(f"its area, {area:.2g} of the picture, is below {SMALLEST:g}")


def zone_mask(zones: "Mapping[str, Zone]", shape: tuple[int, int]) -> NDArray[np.float32] | None:
    """Return what of a grid over the picture is looked at: 1 inside, 0 outside.

    A cell belongs to a zone that covers at least half of it; a zone too small for that has the
    cells it covers most.

    Parameters
    ----------
    zones : mapping of name to Zone
        Without `include` zones all is looked at that no `exclude` zone covers.
    shape : (H, W)
        Rows and columns of the playing map.

    Returns
    -------
    mask : float32, shape (H, W), or None
        None where there is nothing to leave out: no zones, or the one cell of sound alone.

    Examples
    --------
    >>> from playspot.stream.config import Zone
    >>> left = Zone(polygon=((0, 0), (0.5, 0), (0.5, 1), (0, 1)))
    >>> zone_mask({"left": left}, (2, 4)).tolist()
    [[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]
    """
    if not zones or shape == (1, 1):
        return None
    included = [_cells(zone.polygon, shape) for zone in zones.values() if zone.kind == "include"]
    mask = np.any(included, axis=0) if included else np.ones(shape, bool)
    for zone in zones.values():
        if zone.kind == "exclude":
            mask &= ~_cells(zone.polygon, shape)
    return mask.astype(np.float32)


def zones_of(point: tuple[float, float] | None, zones: "Mapping[str, Zone]") -> tuple[str, ...]:
    """Return the names of the `include` zones that hold a point; their border belongs to them.

    Parameters
    ----------
    point : (x, y) or None
        In [0, 1]; None (no picture) lies in none.
    zones : mapping of name to Zone

    Examples
    --------
    >>> from playspot.stream.config import Zone
    >>> left = Zone(polygon=((0, 0), (0.5, 0), (0.5, 1), (0, 1)))
    >>> zones_of((0.2, 0.9), {"left": left}), zones_of((0.7, 0.9), {"left": left})
    (('left',), ())
    """
    if point is None:
        return ()
    return tuple(
        name
        for name, zone in zones.items()
        if zone.kind == "include"
        and (bool(_inside(np.array([point]), zone.polygon)[0]) or _on_border(point, zone.polygon))
    )


@lru_cache(maxsize=256)
def _cells(polygon: Corners, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the cells (H, W) that a polygon has."""
    height, width = shape
    y = (np.arange(height * FINE) + 0.5) / (height * FINE)
    x = (np.arange(width * FINE) + 0.5) / (width * FINE)
    places = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    fine = _inside(places, polygon).reshape(height, FINE, width, FINE)
    covered = fine.mean(axis=(1, 3))  # (H, W)
    if covered.max() == 0:  # too thin even for the fine grid: the cells of its corners
        rows = [min(int(y * height), height - 1) for _, y in polygon]
        columns = [min(int(x * width), width - 1) for x, _ in polygon]
        covered[rows, columns] = 1.0
    return np.asarray(covered >= min(0.5, covered.max()))


def _inside(points: Points, polygon: Corners) -> NDArray[np.bool_]:
    """Return which points lie in a polygon: a ray to the right crosses an odd number of sides."""
    x, y = points[:, 0], points[:, 1]
    inside = np.zeros(len(points), bool)
    for (x0, y0), (x1, y1) in _sides(polygon):
        if y0 != y1:
            inside ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    return inside


def _on_border(point: tuple[float, float], polygon: Corners) -> bool:
    return any(
        abs(_turn(a, b, point)) < EPSILON and _spans(a, b, point) for a, b in _sides(polygon)
    )


def _sides(polygon: Corners) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    return list(zip(polygon, polygon[1:] + polygon[:1], strict=True))


def _area(polygon: Corners) -> float:
    """Return the enclosed area; negative where the corners run the other way around."""
    return 0.5 * sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in _sides(polygon))


def _turn(a: Sequence[float], b: Sequence[float], c: Sequence[float]) -> float:
    """Return twice the area of a triangle: 0 where the three points are on one line."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _spans(a: Sequence[float], b: Sequence[float], c: Sequence[float]) -> bool:
    """Return whether `c`, on the line through `a` and `b`, lies between them."""
    return all(
        min(p, q) - EPSILON <= r <= max(p, q) + EPSILON for p, q, r in zip(a, b, c, strict=True)
    )


def _meet(polygon: Corners, i: int, j: int) -> bool:
    """Return whether two sides, i before j, touch elsewhere than at the corner they share."""
    n = len(polygon)
    a, b = polygon[i], polygon[(i + 1) % n]
    c, d = polygon[j], polygon[(j + 1) % n]
    if j == i + 1 or (i == 0 and j == n - 1):
        before, corner, after = (a, b, d) if j == i + 1 else (c, d, b)
        folds_back = (corner[0] - before[0]) * (after[0] - corner[0]) + (corner[1] - before[1]) * (
            after[1] - corner[1]
        ) < 0
        return folds_back and abs(_turn(before, corner, after)) < EPSILON
    turns = [_turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b)]
    for turn, (start, end, point) in zip(
        turns, [(a, b, c), (a, b, d), (c, d, a), (c, d, b)], strict=True
    ):
        if abs(turn) < EPSILON and _spans(start, end, point):
            return True
    return (turns[0] > 0) != (turns[1] > 0) and (turns[2] > 0) != (turns[3] > 0)
