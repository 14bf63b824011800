"""Bootstrap intervals: how much a figure would move with other clips of the same kind.

Clips are drawn with replacement as wholes, since steps of one clip are alike. All intervals are
95 % percentile intervals (Efron and Tibshirani 1993, chapter 13).
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

N_RESAMPLES = 1000
BOUNDS = (2.5, 97.5)  # percentiles


def interval(
    groups: list[Array],
    statistic: Callable[[Array], float],
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a statistic, drawing whole groups (clips).

    Parameters
    ----------
    groups : list of float arrays
        The values of each clip.
    statistic : callable
        Of all values of the clips drawn, joined; draws for which it is NaN are left out.
    n_resamples, seed : int

    Returns
    -------
    low, high : float
        NaN with fewer than two groups.

    Examples
    --------
    >>> interval([np.array([1.0])] * 5, np.mean)
    (1.0, 1.0)
    """
    if len(groups) < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(groups), size=(n_resamples, len(groups)))
    values = [statistic(np.concatenate([groups[i] for i in draw])) for draw in draws]
    low, high = _bounds(np.array(values))
    return low, high


def label_intervals(
    values: Mapping[tuple[str, str], float],
    labels: tuple[str, ...],
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Return the intervals of means over clips by label, and of the average of these means.

    Parameters
    ----------
    values : mapping of (clip, label) to float
        One figure for each clip and label that has one.
    labels : tuple of str
    n_resamples, seed : int

    Returns
    -------
    intervals : dict
        `average` and each label: `[low, high]`; NaN with fewer than two clips. A draw without any
        clip of a label averages over the others.

    Examples
    --------
    >>> same = {(clip, "drum"): 0.5 for clip in "abc"}
    >>> label_intervals(same, ("drum", "violin"))["average"]
    [0.5, 0.5]
    """
    clips = list(dict.fromkeys(clip for clip, _ in values))
    row = {clip: i for i, clip in enumerate(clips)}
    table = np.full((len(clips), len(labels)), np.nan)
    for (clip, label), value in values.items():
        table[row[clip], labels.index(label)] = value
    known = ~np.isnan(table)
    nothing = [float("nan"), float("nan")]
    if len(clips) < 2:
        return {name: list(nothing) for name in ("average", *labels)}
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(clips), np.full(len(clips), 1 / len(clips)), size=n_resamples)
    n = draws @ known  # (n_resamples, K)
    sums = draws @ np.nan_to_num(table)
    means = np.divide(sums, n, out=np.full(n.shape, np.nan), where=n > 0)
    drawn = n > 0
    averages = np.nan_to_num(means).sum(axis=1) / np.maximum(drawn.sum(axis=1), 1)
    found = {"average": _bounds(averages[drawn.any(axis=1)])}
    for k, label in enumerate(labels):
        enough = known[:, k].sum() > 1
        found[label] = _bounds(means[drawn[:, k], k]) if enough else nothing
    return found


def joined_f1(counts: Array) -> float:
    """Return the F1 of clips drawn: how many were right, found, true in each, one after the other.

    Examples
    --------
    >>> joined_f1(np.array([1.0, 2.0, 2.0, 2.0, 2.0, 2.0]))
    0.75
    """
    right, found, true = counts.reshape(-1, 3).sum(axis=0)
    return float(2 * right / (found + true)) if found + true else float("nan")


def _bounds(values: Array) -> list[float]:
    known = values[~np.isnan(values)]
    if not len(known):
        return [float("nan"), float("nan")]
    low, high = np.percentile(known, BOUNDS)
    return [float(low), float(high)]
