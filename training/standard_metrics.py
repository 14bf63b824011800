"""Standard measures of what `detect` would report: labels of clips and of steps, and events.

Conventions
-----------
* Scores are those of the playing map that `detect` decodes: fused, recalibrated, maximum over the
  picture. A step counts as detected where its score reaches the label's `on` threshold.

Metrics
-------
* **Hit@k**: share of the clips in which one of the k labels with the highest scores, averaged over
  the steps of the clip, is played.
* **clip F1**: of the labels that have an event in a clip, against those that are played in it.
* **frame F1**: precision, recall and F1 over the steps of all clips joined.
* **confusion**: at the steps at which one label alone is played, which one has the highest score.
* events: see `event_metrics`.

Source: Slizovskaia, Gomez and Haro 2017 (Hit@k); DCASE 2017 task 4 (clip F1).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engines.settings import Decoding
from ..stream.timeline import step_time
from .bootstrap import interval, joined_f1
from .event_metrics import ClipEvents, event_report, is_installed
from .paper_metrics import mean_of
from .played_events import decoded_events, true_events

Array = NDArray[np.float64]
ScoreMap = NDArray[np.float32]

# Thresholds of the PSDS: denser towards 0 and 1, where scores crowd.
SWEEP = tuple(round(float(1 / (1 + np.exp(-z))), 4) for z in np.linspace(-6, 6, 25))


class StandardMetrics:
    """Standard measures over clips, added one by one, and the report made of them.

    Parameters
    ----------
    labels : tuple of str
        The axis K of the maps.
    decoding : Decoding
        Thresholds and durations.
    has_events : bool, optional
        Whether events are measured; if None, where the packages for it are installed.
    """

    def __init__(
        self, labels: tuple[str, ...], decoding: Decoding, *, has_events: bool | None = None
    ) -> None:
        self.labels = labels
        self.decoding = decoding
        self.has_events = is_installed() if has_events is None else has_events
        self.scores: dict[str, Array] = {}  # clip -> (N, K)
        self.playing: dict[str, NDArray[np.bool_]] = {}  # clip -> (N, K)
        self.tags: dict[str, NDArray[np.bool_]] = {}  # clip -> (K,)
        self.events: dict[str, ClipEvents] = {}

    def add(
        self, name: str, truth: Mapping[str, Any], playing: NDArray[np.bool_], maps: ScoreMap
    ) -> None:
        """Measure one clip.

        Parameters
        ----------
        name : str
            Of the clip, each once.
        truth : dict
            Content of its JSON.
        playing : bool, shape (N, K)
            Which labels are played at each step.
        maps : float32, shape (N, K, H, W)
            Its playing maps.
        """
        self.scores[name] = np.asarray(maps.max(axis=(2, 3)), np.float64)
        self.playing[name] = playing
        tags = truth.get("played", ())
        self.tags[name] = np.array([label in tags for label in self.labels], bool)
        duration = float(truth.get("duration") or step_time(len(maps)))
        self.events[name] = ClipEvents(
            duration,
            true_events(truth, self.labels, len(maps), duration),
            decoded_events(maps, self.labels, self.decoding, duration),
            {t: self._swept(maps, t, duration) for t in SWEEP} if self.has_events else {},
        )

    def _swept(self, maps: ScoreMap, threshold: float, duration: float) -> Any:
        decoding = self.decoding.with_thresholds(threshold, {})
        return decoded_events(maps, self.labels, decoding, duration)

    def report(self) -> dict[str, Any]:
        """Return `hit_at`, `clip`, `frame` and, where they were measured, `events`."""
        report: dict[str, Any] = {
            "hit_at": {str(k): self._hits(k) for k in (1, 3)},
            "clip": self._f1(
                {name: self._detected_tags(name)[None] for name in self.tags},
                {name: tags[None] for name, tags in self.tags.items()},
            ),
            "frame": self._f1(
                {name: scores >= self._on() for name, scores in self.scores.items()}, self.playing
            ),
            "confusion": self.confusion().tolist(),
        }
        if self.has_events and self.events:
            report["events"] = event_report(self.events, self.labels)
        return report

    def joined(self) -> tuple[NDArray[np.bool_], Array]:
        """Return whether each label is played, and its score, (steps of all clips, K)."""
        empty = np.empty((0, len(self.labels)))
        playing = np.concatenate([empty.astype(bool), *self.playing.values()])
        return playing, np.concatenate([empty, *self.scores.values()])

    def confusion(self) -> NDArray[np.int64]:
        """Return counts (K, K) of steps: row the label played, column the one that scores highest.

        Examples
        --------
        >>> StandardMetrics(("drum", "violin"), Decoding()).confusion().tolist()
        [[0, 0], [0, 0]]
        """
        playing, scores = self.joined()
        alone = playing.sum(axis=1) == 1
        counts = np.zeros((len(self.labels),) * 2, np.int64)
        if alone.any():
            np.add.at(counts, (playing[alone].argmax(axis=1), scores[alone].argmax(axis=1)), 1)
        return counts

    def _on(self) -> Array:
        return np.array([self.decoding.on_of(label) for label in self.labels])

    def _detected_tags(self, name: str) -> NDArray[np.bool_]:
        estimate = self.events[name].estimate
        return np.array([len(estimate[label]) > 0 for label in self.labels], bool)

    def _hits(self, k: int) -> dict[str, Any]:
        hits = [
            np.array([float(tags[np.argsort(-self.scores[name].mean(axis=0))[:k]].any())])
            for name, tags in self.tags.items()
            if tags.any()
        ]
        return {
            "mean": mean_of(float(hit[0]) for hit in hits),
            "interval": list(interval(hits, lambda values: float(values.mean()))),
            "n": len(hits),
        }

    def _f1(
        self, found: Mapping[str, NDArray[np.bool_]], true: Mapping[str, NDArray[np.bool_]]
    ) -> dict[str, Any]:
        counts = [
            np.stack([(found[name] & true[name]).sum(0), found[name].sum(0), true[name].sum(0)])
            for name in true
        ]  # each (3, K): right, found, true
        total = np.sum(counts, axis=0) if counts else np.zeros((3, len(self.labels)), int)
        by_label = {
            label: prf(*(int(n) for n in total[:, k])) for k, label in enumerate(self.labels)
        }
        there = [figures for figures in by_label.values() if figures["n"]]
        micro = prf(*(int(n) for n in total.sum(axis=1)))
        sums = [np.asarray(count.sum(axis=1), float) for count in counts]
        return {
            "micro": micro | {"interval": list(interval(sums, joined_f1))},
            "macro": {key: mean_of(f[key] for f in there) for key in ("f1", "precision", "recall")},
            "labels": by_label,
            "n": micro["n"],
        }


def prf(n_right: int, n_found: int, n_true: int) -> dict[str, Any]:
    """Return F1, precision and recall of counts; NaN where there is nothing to be right about.

    Examples
    --------
    >>> prf(1, 2, 2)
    {'f1': 0.5, 'precision': 0.5, 'recall': 0.5, 'n': 2}
    """
    either = n_found + n_true
    return {
        "f1": 2 * n_right / either if either else float("nan"),
        "precision": n_right / n_found if n_found else float("nan"),
        "recall": n_right / n_true if n_true else float("nan"),
        "n": n_true,
    }
