"""The spool of playing maps: what is read is what was kept."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playspot.stream.jsonl import OutputError
from playspot.stream.spool import MapSpool

LABELS = ("drum", "piano", "violin")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 4), min_size=1, max_size=12))
def test_maps_come_back_in_any_order(seed: int, strides: list[int]) -> None:
    rng = np.random.default_rng(seed)
    steps = np.cumsum(strides) - 1
    maps = rng.random((len(steps), 3, *rng.integers(2, 20, 2))).astype(np.float16)
    with MapSpool(LABELS) as spool:
        for step, cube in zip(steps.tolist(), maps, strict=True):
            spool.append(step, cube)
        for i in rng.permutation(len(steps)).tolist():
            found = spool.read(int(steps[i]))
            for k, label in enumerate(LABELS):
                if maps[i, k].max() >= 0.1:
                    np.testing.assert_array_equal(found[label], maps[i, k])
        for step in set(range(-1, int(steps[-1]) + 2)) - set(steps.tolist()):
            assert spool.read(step) == {}


def test_labels_without_activity_take_no_room() -> None:
    maps = np.full((3, 18, 32), 0.05)
    maps[1, 4, 4] = 0.5
    with MapSpool(LABELS) as spool:
        spool.append(0, maps)
        assert list(spool.read(0)) == ["piano"]
        assert spool._length < 2 * 18 * 32 + 16


def test_steps_from_sound_alone_hold_no_map() -> None:
    with MapSpool(LABELS) as spool:
        spool.append(0, np.ones((3, 1, 1)))
        spool.append(1, None)
        assert spool.read(0) == spool.read(1) == {}


def test_a_step_cannot_be_given_twice() -> None:
    with MapSpool(LABELS) as spool:
        spool.append(4, None)
        with pytest.raises(ValueError, match="step 4 comes after step 4"):
            spool.append(4, None)


def test_nothing_is_left_in_the_folder(tmp_path: Path) -> None:
    with MapSpool(LABELS, folder=tmp_path) as spool:
        spool.append(0, np.ones((3, 4, 4)))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="missing"):
        MapSpool(LABELS, folder=tmp_path / "missing")
