"""What an action network has learnt to look for: its first filters as movements.

A filter of the first layer is (10, 7, 7): five flows, x then y. Its mean over 7x7 is five vectors;
drawn one after the other they are a path, the movement that it answers to (paper: Fig. 7). The
filters that are more active while one label is played than while others are, are that label's own
(paper: Fig. 8). Source: Liu, Yang and Jeng 2018, section V-E.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..models.blocks import ImageFCN
from ..models.labels import LABELS
from ..models.net import Net
from .cache import CachedClip

Array = NDArray[np.float64]

N_STEPS = 60  # of a label, evenly chosen from those with a verdict
N_OWN = 5  # filters of a label, as in the paper
LEAST_SCORE = 0.1  # of a patch whose movement is shown


def first_layer(net: Net) -> torch.nn.Conv2d | None:
    """Return the first layer of a network of the paper; None of another one."""
    layer = net.conv1 if isinstance(net, ImageFCN) else None
    return layer if isinstance(layer, torch.nn.Conv2d) else None


def paths(net: Net) -> Array:
    """Return the movement of each filter as six points, (F, 6, 2): x to the right, y down.

    Raises
    ------
    ValueError
        If the network has no first layer of flows.
    """
    layer = first_layer(net)
    if layer is None:
        raise ValueError("filters can be shown of the paper's network only")
    vectors = layer.weight.detach().double().mean(dim=(2, 3)).reshape(-1, 5, 2).numpy()
    return steps_to_path(vectors)


def steps_to_path(vectors: Array) -> Array:
    """Return the points that vectors lead to, one after the other, from the origin.

    Examples
    --------
    >>> steps_to_path(np.array([[[1.0, 0.0], [0.0, 2.0]]])).tolist()
    [[[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]]]
    """
    origin = np.zeros((*vectors.shape[:-2], 1, 2))
    return np.concatenate([origin, vectors.cumsum(axis=-2)], axis=-2)


@torch.no_grad()
def own_filters(
    net: Net, clips: Sequence[CachedClip], verdicts: Sequence[NDArray[np.bool_]]
) -> dict[str, list[int]]:
    """Return the filters that characterise each label that is played in some clip.

    Of each step with a verdict, the maximum over space of the rectified first layer; the mean over
    the steps of a label; divided by the sum over labels; the highest first.
    """
    layer = first_layer(net)
    assert layer is not None
    means: dict[str, Array] = {}
    for k, label in enumerate(LABELS):
        places = [
            (clip, int(step))
            for clip, found in zip(clips, verdicts, strict=True)
            for step in np.flatnonzero(found[:, k])
        ]
        chosen = places[:: max(1, -(-len(places) // N_STEPS))]
        peaks = []
        for clip, step in chosen:
            stack = torch.from_numpy(np.asarray(clip.stack(step), np.float32)[None])
            peaks.append(layer(net.standardise(stack)).relu().amax(dim=(2, 3))[0].numpy())
        if peaks:
            means[label] = np.mean(peaks, axis=0)
    if not means:
        return {}
    total = np.maximum(sum(means.values()), 1e-12)
    return {
        label: [int(i) for i in np.argsort(-mean / total, kind="stable")[:N_OWN]]
        for label, mean in means.items()
    }


def mean_movement(
    clips: Sequence[CachedClip],
    maps: Sequence[NDArray[np.float32]],
    k: int,
    *,
    n_patches: int = 20,
) -> tuple[Array, float] | None:
    """Return the movement in the patches that an action model scores highest for a label.

    Parameters
    ----------
    clips : sequence of CachedClip
    maps : sequence of float32, shape (N, K, H, W)
        Of the action model, over the whole picture.
    k : int
        The label.
    n_patches : int
        One a step, the best.

    Returns
    -------
    path : float, shape (6, 2)
        Pixels. Each patch is turned over if it moves the other way than the first, as to and fro
        would cancel out.
    score : float
        The lowest of theirs. None instead of both where all scores are next to nothing.
    """
    found: list[tuple[float, int, int]] = []
    for i, part in enumerate(maps):
        found += [(float(score), i, n) for n, score in enumerate(part[:, k].max(axis=(1, 2)))]
    best = sorted((f for f in found if f[0] >= LEAST_SCORE), reverse=True)[:n_patches]
    if not best:
        return None
    total = np.zeros((5, 2))
    for _, i, step in best:
        row, column = np.unravel_index(maps[i][step, k].argmax(), maps[i].shape[2:])
        stack = np.asarray(clips[i].stack(step), np.float64)
        height, width = stack.shape[1:]
        y = round((row + 0.5) / maps[i].shape[2] * height)
        x = round((column + 0.5) / maps[i].shape[3] * width)
        patch = stack[:, max(0, y - 16) : y + 16, max(0, x - 16) : x + 16]
        vectors = patch.mean(axis=(1, 2)).reshape(5, 2)
        total += vectors if float((vectors * total).sum()) >= 0 else -vectors
    return steps_to_path(total / len(best)), best[-1][0]
