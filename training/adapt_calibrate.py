"""How an adapted model set is fused and decoded, found without one label.

Two things are set, on the validation part alone:

* **The weight of the action model** is earned: none for an action model that does no better than
  chance at telling when the sound teacher hears a label on recordings it has not learnt from (it
  sees no sound), and that of an equal of the teachers for one that always does:
  w = (2 AUC - 1) / 3, at least 0.05. The teachers share the rest. (Fitting the weights to what the
  teachers say would always choose 0: nobody agrees with them as they do themselves.)
* **One slope and bias for all labels** put the new fused score on the scale of the old one: a
  logistic fit to the probabilities that the set gave before, at every step and label. The old scale
  was found with labels (public teachers: real clips); the fit hands it on, so that 0.5 stays 0.5.
  A weak prior at "as it is" keeps few cases from leading to extremes.
"""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from ..engines.settings import Decoding
from ..models.labels import LABELS
from .adapt_agreement import Heard, agreement, fused

LEAST_WEIGHT = 0.05
LEAST_CASES = 5  # of played steps; with fewer nothing is fitted

Array = NDArray[np.float64]


def calibrate(
    before: Mapping[str, Heard],
    after: Mapping[str, Heard],
    base: Decoding,
    learnt: Collection[str] = LABELS,
) -> tuple[Decoding, str]:
    """Return the settings for an adapted set, and a line that says how they were found.

    Parameters
    ----------
    before : mapping of clip name to Heard
        The validation part with the action model of before.
    after : mapping of clip name to Heard
        At least the same with the adapted one.
    base : Decoding
        Of the set before; its thresholds and durations stay.
    learnt : collection of str
        Labels that the adapted model has learnt.
    """
    area = agreement([after[name] for name in before], base, learnt)["auc_over_all"]["average"]
    action = LEAST_WEIGHT if np.isnan(area) else max(LEAST_WEIGHT, (2 * area - 1) / 3)
    rest = (1 - action) / 2
    weights = {"action": round(action, 3), "object": round(rest, 3), "sound": round(rest, 3)}
    plain = base.model_copy(update={"weights": weights, "slope": {}, "bias": {}})
    old = np.concatenate([_tops(part, base).ravel() for part in before.values()])
    new = np.concatenate([_tops(after[name], plain).ravel() for name in before])
    told = "no AUC: too little is heard" if np.isnan(area) else f"AUC {area:.2f}"
    earned = f"weight of the action model {action:.2f} ({told}, against the sound teacher)"
    n_played = int((old >= base.on).sum())
    if n_played < LEAST_CASES:
        return plain, f"{earned}; scale as it was (only {n_played} played steps for validation)"
    new = np.clip(new, 1e-4, 1 - 1e-4)
    slope, bias = fit(np.log(new / (1 - new)), old)
    found = plain.model_copy(
        update={
            "slope": dict.fromkeys(LABELS, round(slope, 3)),
            "bias": dict.fromkeys(LABELS, round(bias, 3)),
        }
    )
    return found, f"{earned}; slope {slope:.2f}, bias {bias:.2f} from {len(old)} scores"


def _tops(part: Heard, decoding: Decoding) -> Array:
    return np.asarray(fused(part, decoding).max(axis=(2, 3)), float)  # (N, K)


def fit(odds: Array, wanted: Array, *, prior: float = 2.0) -> tuple[float, float]:
    """Return slope and bias of a logistic fit, by Newton's method.

    Parameters
    ----------
    odds : float, shape (n,)
    wanted : float, shape (n,)
        Probabilities.
    prior : float
        How many cases the assumption "slope 1, bias 0" weighs.

    Examples
    --------
    >>> odds = np.linspace(-4, 4, 4001)
    >>> slope, bias = fit(odds, 1 / (1 + np.exp(-(2 * odds + 1))))
    >>> bool(abs(slope - 2) < 0.1 and abs(bias - 1) < 0.1)
    True
    """
    x = np.stack([odds, np.ones(len(odds))], axis=1)
    place, centre = np.array([1.0, 0.0]), np.array([1.0, 0.0])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ place, -30, 30)))
        gradient = x.T @ (p - wanted) + prior * (place - centre)
        curvature = (x * (p * (1 - p))[:, None]).T @ x + prior * np.eye(2)
        change = np.linalg.solve(curvature, gradient)
        size = float(np.abs(change).max())
        place = place - change / max(1.0, size)  # a step of 1 at most
        if size < 1e-6:
            break
    return float(np.clip(place[0], 0.25, 4.0)), float(np.clip(place[1], -6.0, 6.0))
