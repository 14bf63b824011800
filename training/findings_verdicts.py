"""What the figures of several networks say of the paper's findings, and how surely.

Conventions
-----------
* `values` (S, N, K): a metric of one model for each seed, test clip and label; NaN where a clip has
  none. A model without seeds (a teacher, the centre) has S = 1.
* The **average** is the paper's: the mean over the clips of a label, then over the labels.
* Two intervals of 95 % go with every figure and every difference: over **seeds** (Student's t of
  the S averages: would other first weights say the same?) and over **clips** (bootstrap of whole
  clips: would other clips?). Differences are paired: same seed, same clips.
* A difference is given so that above 0 is what the paper found.

A finding **holds** if both intervals of its difference lie above 0, **does not hold** if both lie
below, and otherwise **cannot be told**. Thresholds are **flat** if no two differ by more than SOT
gains over VT in the paper, judged by the same two intervals.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Metric = Literal["temporal_auc", "spatial_px"]
Verdict = Literal["holds", "does not hold", "cannot be told"]
Table = Mapping[tuple[str, Metric], Array]  # values by model and metric

N_RESAMPLES = 2000
MARGINS: dict[Metric, float] = {"temporal_auc": 0.044, "spatial_px": 4.8}  # SOT0503 - VT, paper
T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)  # 1 to 10 degrees
NAN = float("nan")


@dataclass(frozen=True)
class Estimate:
    """A figure or a difference with its intervals: (low, high), NaN where there is none."""

    mean: float
    seeds: tuple[float, float]
    clips: tuple[float, float]


@dataclass(frozen=True)
class Claim:
    """One of the paper's findings as a comparison of two models, or of a row of thresholds.

    Attributes
    ----------
    says : str
    metric : {"temporal_auc", "spatial_px"}
    better, worse : str
        Models; empty for a claim that `flat` thresholds differ little.
    flat : tuple of str
    """

    says: str
    metric: Metric
    better: str = ""
    worse: str = ""
    flat: tuple[str, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        """All models it speaks of."""
        return self.flat or (self.better, self.worse)


@dataclass(frozen=True)
class Finding:
    """A claim, the difference that was measured, and what follows."""

    claim: Claim
    difference: Estimate
    verdict: Verdict
    pair: tuple[str, str]


def average(values: Array) -> Array:
    """Return the mean over clips by label, then over labels; of (..., N, K) the rest.

    Examples
    --------
    >>> average(np.array([[1.0, np.nan], [0.5, 0.25]])).item()  # labels: 0.75 and 0.25
    0.5
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # labels without a clip
        return np.asarray(np.nanmean(np.nanmean(values, axis=-2), axis=-1))


def by_label(values: Array) -> Array:
    """Return the mean over seeds and clips of each label, (K,)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(values, axis=(0, 1)))


def over_seeds(averages: Array) -> tuple[float, float]:
    """Return the 95 % interval of a mean over seeds; NaN of fewer than two.

    Examples
    --------
    >>> [round(end, 2) for end in over_seeds(np.array([1.0, 2.0, 3.0]))]
    [-0.48, 4.48]
    """
    n = len(averages)
    if n < 2:
        return NAN, NAN
    t = T_975[n - 2] if n - 2 < len(T_975) else 1.96 + 2.6 / (n - 1)
    half = t * float(averages.std(ddof=1)) / float(np.sqrt(n))
    mean = float(averages.mean())
    return mean - half, mean + half


def _resampled(values: Array) -> Array:
    """Return the average, mean of seeds, of each draw of clips; the same draws for every model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        table = np.nanmean(values, axis=0)  # (N, K)
        n = len(table)
        draws = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), N_RESAMPLES)
        sums = draws @ np.nan_to_num(table)  # (R, K)
        counts = draws @ ~np.isnan(table)
        return np.asarray(np.nanmean(np.where(counts > 0, sums / counts, np.nan), axis=1))


def _ends(draws: Array) -> tuple[float, float]:
    if np.isnan(draws).all():
        return NAN, NAN
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return float(low), float(high)


def estimate(values: Array) -> Estimate:
    """Return the average of a model with its intervals."""
    averages = average(values)
    return Estimate(float(averages.mean()), over_seeds(averages), _ends(_resampled(values)))


def difference(better: Array, worse: Array, metric: Metric) -> Estimate:
    """Return by how much one model is better than another, in AUC or in pixels."""
    sign = 1 if metric == "temporal_auc" else -1
    averages = np.atleast_1d(sign * (average(better) - average(worse)))
    draws = sign * (_resampled(better) - _resampled(worse))
    return Estimate(float(averages.mean()), over_seeds(averages), _ends(draws))


def judge(found: Estimate) -> Verdict:
    """Return what a difference says of a claim that it is above 0.

    Examples
    --------
    >>> judge(Estimate(0.2, (0.1, 0.3), (0.05, 0.4))), judge(Estimate(0.2, (-0.1, 0.5), (0.1, 0.3)))
    ('holds', 'cannot be told')
    """
    if found.seeds[0] > 0 and found.clips[0] > 0:
        return "holds"
    if found.seeds[1] < 0 and found.clips[1] < 0:
        return "does not hold"
    return "cannot be told"


def judge_flat(found: Estimate, margin: float) -> Verdict:
    """Return what the largest difference between thresholds says of a claim that it is small."""
    if max(found.seeds[1], found.clips[1]) <= margin:
        return "holds"
    if min(found.seeds[0], found.clips[0]) > margin:
        return "does not hold"
    return "cannot be told"  # also with one seed: NaN compares to nothing


def judge_claims(claims: Sequence[Claim], table: Table) -> list[Finding]:
    """Return the finding of each claim whose models were all measured."""
    return [
        _finding(claim, table)
        for claim in claims
        if all((model, claim.metric) in table for model in claim.models)
    ]


def _finding(claim: Claim, table: Table) -> Finding:
    metric = claim.metric
    if not claim.flat:
        found = difference(table[claim.better, metric], table[claim.worse, metric], metric)
        return Finding(claim, found, judge(found), (claim.better, claim.worse))
    sign = 1 if metric == "temporal_auc" else -1
    ordered = sorted(claim.flat, key=lambda m: sign * float(average(table[m, metric]).mean()))
    best, worst = ordered[-1], ordered[0]
    found = difference(table[best, metric], table[worst, metric], metric)
    return Finding(claim, found, judge_flat(found, MARGINS[metric]), (best, worst))
