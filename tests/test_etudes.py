"""What soloists play: notes within their time and compass, of many kinds."""

import numpy as np
import pytest

from playspot.models.labels import LABELS
from playspot.training.etudes import COMPASS, MANNERS, etude


@pytest.mark.parametrize("label", LABELS)
def test_notes_lie_in_their_time_and_in_order(label: str) -> None:
    for seed in range(40):
        notes = etude(np.random.default_rng(seed), MANNERS[label], COMPASS[label], 1.0, 5.0)
        assert notes
        assert all(1.0 <= note.onset < note.end <= 5.0 for note in notes)
        assert all(0 < note.velocity <= 1 for note in notes)
        assert [note.onset for note in notes] == sorted(note.onset for note in notes)


@pytest.mark.parametrize("label", ["flute", "trumpet", "violin"])
def test_lines_stay_near_the_compass(label: str) -> None:
    low, high = COMPASS[label]
    pitches = [
        pitch
        for seed in range(40)
        for note in etude(np.random.default_rng(seed), MANNERS[label], (low, high), 0.0, 4.0)
        for pitch in note.pitches
    ]
    assert min(pitches) >= low
    assert max(pitches) <= high + 3
    assert max(pitches) - min(pitches) > 24  # phrases use all of it
