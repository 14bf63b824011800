import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from playspot.stream.measure import BOUNDS, Histogram, Measures

SECONDS = st.floats(min_value=1.01 * BOUNDS[0], max_value=BOUNDS[-1])


@given(st.lists(SECONDS, min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_a_quantile_is_within_six_percent_of_the_true_one(values: list[float], q: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    true = np.quantile(values, q, method="inverted_cdf")
    assert histogram.quantile(q) == pytest.approx(true, rel=0.06)


@given(st.lists(SECONDS, max_size=50), st.lists(SECONDS, max_size=50))
def test_two_histograms_add_up_to_one_of_all_values(a: list[float], b: list[float]) -> None:
    parts, whole = [Histogram(), Histogram()], Histogram()
    for part, values in zip(parts, (a, b), strict=True):
        for value in values:
            part.add(value)
            whole.add(value)
    parts[0].merge(parts[1])
    assert parts[0] == whole


def test_values_outside_the_scale_are_counted_at_its_ends() -> None:
    histogram = Histogram()
    for value in (-1.0, 0.0, 1e9):
        histogram.add(value)
    assert histogram.n == 3
    assert histogram.quantile(0.01) <= BOUNDS[0]
    assert histogram.quantile(0.99) == pytest.approx(BOUNDS[-1], rel=0.06)


def test_an_empty_histogram_has_the_quantile_zero() -> None:
    assert Histogram().quantile(0.5) == 0.0


def test_measures_survive_the_way_through_json() -> None:
    measures = Measures()
    measures.drop("stage", "late", 3)
    measures.age("stage", 0.5)
    again = Measures.from_json(json.loads(json.dumps(measures.to_json())))
    assert again == measures


def test_measures_of_two_lives_add_up() -> None:
    first, second = Measures(), Measures()
    first.drop("stage", "late", 2)
    second.drop("stage", "late")
    second.drop("hall", "full")
    second.age("stage", 0.1)
    first.merge(second)
    assert first.drops == {("stage", "late"): 3, ("hall", "full"): 1}
    assert first.ages["stage"].n == 1


def test_nothing_dropped_leaves_no_entry() -> None:
    measures = Measures()
    measures.drop("stage", "late", 0)
    assert not measures.drops
