"""Who played from when to when: of a clip's truth, and decoded from playing maps as `detect` does.

Conventions
-----------
* `Intervals`: label -> float (n, 2), start and end in media seconds, in order, not overlapping.
  Two players of one instrument at a time are one event here: the measures of sound event detection
  know labels, not players.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engines.settings import Decoding
from ..stream.detections import Region, regions
from ..stream.events import Detection, Modalities
from ..stream.timeline import STEP, step_time
from ..stream.tracks import Change, Tracker

Intervals = dict[str, NDArray[np.float64]]
ScoreMap = NDArray[np.float32]

UNKNOWN = Modalities()


def true_events(
    truth: Mapping[str, Any], labels: tuple[str, ...], n_steps: int, duration: float
) -> Intervals:
    """Return when each label is played, by a clip's truth.

    The players' intervals where the truth has them, else the runs of steps with playing, each of
    which stands for the time nearer to it than to other steps.

    Examples
    --------
    >>> truth = {"players": [{"label": "drum", "playing": [[1.0, 2.0], [4.0, 99.0]]}]}
    >>> true_events(truth, ("drum",), 10, 5.0)["drum"].tolist()
    [[1.0, 2.0], [4.0, 5.0]]
    """
    found: dict[str, list[tuple[float, float]]] = {label: [] for label in labels}
    if "players" in truth:
        for player in truth["players"]:
            if player["label"] in found:
                found[player["label"]] += map(tuple, player.get("playing", ()))
    else:
        for step in truth.get("steps", ()):
            time = step_time(step["step"])
            for player in step["players"] if step["step"] < n_steps else ():
                if player["playing"] and player["label"] in found:
                    found[player["label"]].append((time - STEP / 2, time + STEP / 2))
    return {label: merged(spans, duration) for label, spans in found.items()}


def decoded_events(
    playing: ScoreMap, labels: tuple[str, ...], decoding: Decoding, duration: float
) -> Intervals:
    """Return when each label is played, by the playing maps of a clip's steps.

    Parameters
    ----------
    playing : float32, shape (N, K, H, W)
    labels : tuple of str
        The axis K.
    decoding : Decoding
        Thresholds and durations.
    duration : float
        Of the clip, seconds: no event goes on after it.

    Notes
    -----
    The regions and the tracker are those of `playspot detect`.

    Examples
    --------
    >>> playing = np.zeros((6, 1, 4, 4), np.float32)
    >>> playing[1:4, 0, 2, 2] = 0.9
    >>> decoded_events(playing, ("drum",), Decoding(), 3.072)["drum"].round(3).tolist()
    [[0.256, 1.792]]
    """
    tracker = Tracker(decoding)
    changes: list[Change] = []
    for step, maps in enumerate(playing):
        seen = [(region, _detection(region)) for region in regions(maps, labels, decoding)]
        changes += tracker.update(step, seen)
    changes += tracker.flush(len(playing) - 1, "end_of_stream", duration)
    found: dict[str, list[tuple[float, float]]] = {label: [] for label in labels}
    for change in changes:
        if change.type == "end" and change.end_time is not None:
            found[change.track.label].append((change.track.start_time, change.end_time))
    return {label: merged(spans, duration) for label, spans in found.items()}


def _detection(region: Region) -> Detection:
    # Unchecked, for speed: thousands a clip while thresholds are swept.
    return Detection.model_construct(
        label=region.label,
        score=region.score,
        point=region.point,
        box=region.box,
        modalities=UNKNOWN,
    )


def merged(spans: Iterable[tuple[float, float]], duration: float) -> NDArray[np.float64]:
    """Return intervals (n, 2) in order, cut to the clip; those that overlap are joined.

    Examples
    --------
    >>> merged([(2.0, 4.0), (-1.0, 1.0), (3.0, 9.0)], 5.0).tolist()
    [[0.0, 1.0], [2.0, 5.0]]
    """
    joined: list[list[float]] = []
    for start, end in sorted(spans):
        start, end = max(0.0, start), min(end, duration)
        if not start < end:
            continue
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    return np.array(joined, float).reshape(-1, 2)
