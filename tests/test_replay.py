"""The test double of an engine gives what was recorded, and refuses what is no score."""

import pickle
from typing import Any

import numpy as np
import pytest

from playspot.engines import Header, ReplayEngine

HEADERS = {
    "action": Header(kind="action", name="tiny action", labels=("drum", "violin")),
    "sound": Header(kind="sound", name="tiny sound", labels=("drum", "violin"), front_end="paper"),
}


def test_recorded_scores_are_given_in_order(rng: np.random.Generator) -> None:
    recorded = rng.random((5, 2, 3, 4))
    engine = ReplayEngine(HEADERS["action"], recorded)
    batch = np.zeros((2, 10, 64, 96), np.float32)
    given = np.concatenate([engine(batch), engine(batch), engine(batch[:1])])
    assert np.array_equal(given, recorded.astype(np.float32))
    assert engine.n_given == 5


def test_a_recording_that_ends_says_so() -> None:
    engine = ReplayEngine(HEADERS["sound"], np.zeros((3, 2, 1)))
    with pytest.raises(ValueError, match="'tiny sound' has 3 scores and input 4 was asked for"):
        engine(np.zeros((4, 384, 16), np.float32))
    assert engine.n_given == 0


def test_a_function_may_stand_in_for_a_recording() -> None:
    engine = ReplayEngine(HEADERS["sound"], lambda batch: np.full((len(batch), 2, 1), batch.mean()))
    assert engine(np.full((3, 384, 16), 0.25, np.float32)).tolist() == [[[0.25], [0.25]]] * 3


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.zeros((3, 4, 1)), "axis 1 must be the 2 labels"),
        (np.zeros(2), "axis 1 must be the 2 labels"),
        (np.full((3, 2, 1), 1.5), r"must lie in \[0, 1\]"),
        (np.full((3, 2, 1), np.nan), r"must lie in \[0, 1\]"),
    ],
)
def test_scores_that_are_none_are_refused(scores: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReplayEngine(HEADERS["sound"], scores)


def test_a_function_must_answer_for_each_input() -> None:
    engine = ReplayEngine(HEADERS["sound"], lambda batch: np.zeros((1, 2, 1)))
    with pytest.raises(ValueError, match="1 scores for 3 inputs"):
        engine(np.zeros((3, 384, 16), np.float32))


def test_a_recording_goes_to_another_process() -> None:
    engine = ReplayEngine(HEADERS["sound"], np.full((1, 2, 1), 0.5))
    again = pickle.loads(pickle.dumps(engine))
    assert again.header == engine.header
    assert again.hash == engine.hash
    assert again(np.zeros((1, 384, 16), np.float32)).shape == (1, 2, 1)


def test_recordings_that_differ_have_different_hashes() -> None:
    low, high = (ReplayEngine(HEADERS["sound"], np.full((1, 2, 1), x)) for x in (0.1, 0.9))
    assert low.hash != high.hash
    assert len(low.hash) == 12
