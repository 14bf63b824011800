"""Frame AUC of a sound model on whole songs, as the paper measures it on MedleyDB.

Each output of the network stands for 16 columns of the log-mel (0.512 s); a column is positive
while its instrument sounds. All columns of all songs are joined, and the AUC is taken by label.
As the columns of a step share a score, they are counted, not repeated.

Source: Liu, Yang and Jeng 2018, section V-B1 (TABLE VI); a column counts as sounding up to the end
of the sound, rounded up to a column, as in the authors' files.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bootstrap import BOUNDS
from .paper_metrics import mean_of

Array = NDArray[np.float64]

COLUMN = 0.032  # s
COLUMNS = 16  # that one output stands for
N_RESAMPLES = 200


class SoundFrames:
    """Scores and truth of songs, added one by one, and the report made of them."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self._scores: list[Array] = []  # (N, K) of each song
        self._positive: list[NDArray[np.int64]] = []  # (N, K): columns that sound
        self._n_columns: list[NDArray[np.int64]] = []  # (N,)

    def add(
        self, sound: NDArray[np.float32], n_columns: int, activations: Mapping[str, Array]
    ) -> None:
        """Add a song.

        Parameters
        ----------
        sound : float32, shape (N, K)
        n_columns : int
            Of its log-mel; 0 if unknown: 16 an output.
        activations : mapping of label to (n, 2) float array
            When it sounds, seconds.
        """
        n_all = min(n_columns or COLUMNS * len(sound), COLUMNS * len(sound))
        sounds = np.zeros((COLUMNS * len(sound), len(self.labels)), np.int64)
        for k, label in enumerate(self.labels):
            for start, end in activations.get(label, np.empty((0, 2))):
                first, last = int(start / COLUMN), int(np.ceil(end / COLUMN))
                sounds[first : last + 1, k] = 1
        sounds[n_all:] = 0
        self._scores.append(np.asarray(sound, np.float64))
        self._positive.append(sounds.reshape(len(sound), COLUMNS, -1).sum(axis=1))
        firsts = COLUMNS * np.arange(len(sound))
        self._n_columns.append(np.clip(n_all - firsts, 0, COLUMNS))

    def report(self) -> dict[str, Any]:
        """Return `frame_auc`, `n` (songs with the label) and `intervals` over songs."""
        n_songs = len(self._scores)
        song = np.repeat(np.arange(n_songs), [len(scores) for scores in self._scores])
        scores, positive = np.concatenate(self._scores), np.concatenate(self._positive)
        negative = np.concatenate(self._n_columns)[:, None] - positive
        rng = np.random.default_rng(0)
        draws = rng.multinomial(n_songs, np.full(n_songs, 1 / n_songs), size=N_RESAMPLES)
        aucs: dict[str, float] = {}
        drawn: list[list[float]] = []
        n: dict[str, int] = {}
        for k, label in enumerate(self.labels):
            rank = np.unique(scores[:, k], return_inverse=True)[1]
            right, wrong = positive[:, k], negative[:, k]
            aucs[label] = counted_auc(rank, right, wrong)
            n[label] = sum(bool(own[:, k].any()) for own in self._positive)
            weights = draws[:, song] if n_songs > 1 else np.empty((0, len(song)), np.int64)
            drawn.append([counted_auc(rank, right * w, wrong * w) for w in weights])
        averages = [mean_of(values) for values in zip(*drawn, strict=True)]
        names = dict(zip(self.labels, drawn, strict=True))
        return {
            "frame_auc": {"average": mean_of(aucs.values()), **aucs},
            "n": {"frame_auc": {"all": n_songs, **n}},
            "intervals": {
                "frame_auc": {
                    label: _bounds(values)
                    for label, values in {"average": averages, **names}.items()
                }
            },
        }


def counted_auc(
    rank: NDArray[np.int64], positive: NDArray[np.int64], negative: NDArray[np.int64]
) -> float:
    """Return the AUC of items of which there are so many; NaN unless both classes are there.

    Parameters
    ----------
    rank : int, shape (N,)
        Of the score, from 0; equal scores share one.
    positive, negative : int, shape (N,)
        How many of each class have that score.

    Examples
    --------
    >>> counted_auc(np.array([0, 1, 1]), np.array([0, 1, 1]), np.array([1, 1, 0]))
    0.75
    """
    right = np.bincount(rank, positive)
    wrong = np.bincount(rank, negative)
    pairs = float(right.sum() * wrong.sum())
    if not pairs:
        return float("nan")
    return float((right * (np.cumsum(wrong) - wrong / 2)).sum() / pairs)


def _bounds(values: list[float]) -> list[float]:
    known = [value for value in values if not np.isnan(value)]
    low, high = np.percentile(known, BOUNDS) if known else (np.nan, np.nan)
    return [float(low), float(high)]
