"""Picture sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playspot.stream.pictures import fit_size

SIDES = st.integers(1, 8192)


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((1920, 1080), (256, 144)),
        ((1280, 1024), (256, 204)),  # 204.8
        ((480, 320), (256, 170)),  # 170.67
        ((404, 720), (143, 256)),  # 143.64, upright
        ((256, 256), (256, 256)),
        ((64, 48), (256, 192)),  # small pictures are enlarged
        ((1, 1), (256, 256)),
    ],
)
def test_sizes_are_those_of_the_published_annotations(
    size: tuple[int, int], fitted: tuple[int, int]
) -> None:
    assert fit_size(*size, 256) == fitted


@given(width=SIDES, height=SIDES, side=st.integers(1, 1024))
def test_the_longer_side_is_exact_and_the_other_is_truncated(
    width: int, height: int, side: int
) -> None:
    fitted = fit_size(width, height, side)
    assert max(fitted) == side
    short, long = sorted((width, height))
    assert min(fitted) == max(1, (short * side) // long)
    assert (fitted[0] >= fitted[1]) == (width >= height) or fitted[0] == fitted[1]


@given(
    width=SIDES, height=SIDES, side=st.integers(32, 1024), multiple=st.sampled_from([2, 7, 16, 32])
)
def test_with_a_multiple_both_sides_are_the_nearest_multiple(
    width: int, height: int, side: int, multiple: int
) -> None:
    fitted = fit_size(width, height, side, multiple)
    for whole, scaled in zip((width, height), fitted, strict=True):
        assert scaled % multiple == 0
        exact = whole * side / max(width, height)
        assert scaled == multiple or abs(scaled - exact) <= multiple / 2 + 1e-6


def test_a_thin_picture_keeps_a_pixel() -> None:
    assert fit_size(4000, 3, 256) == (256, 1)
    assert fit_size(3, 4000, 256, multiple=32) == (32, 256)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 10, 256, 1), "width is 0; give at least 1"),
        ((10, -2, 256, 1), "height is -2"),
        ((10, 10, 0, 1), "longer_side is 0"),
        ((10, 10, 256, 0), "multiple is 0"),
    ],
)
def test_sizes_below_one_are_refused(arguments: tuple[int, int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_size(*arguments)
