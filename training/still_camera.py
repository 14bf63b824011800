"""Flow of a camera before a picture in which nothing moves, as the run time's own code sees it.

In: a picture, uint8 RGB (H, W, 3). Out: a flow stack, (10, H, W), px per tick. It has all that
makes a camera look like a player: no flow where there is no texture, odd flow at edges, noise and
coding. Nothing is played, so its target is 0.
"""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from ..stream.flow import N_CHANNELS
from ..stream.flow_method import farneback
from ..stream.timeline import FLOWS_PER_STACK
from .cache import CachedClip

N_KEPT = 256  # stacks of a size; 190 MB at 144x256
VIEW = 0.8  # of the picture: so far the camera may move before it sees the edge (then a mirror)

Stack = NDArray[np.float16]


class StillCameras:
    """A store of stacks, each made when it is first asked for.

    Parameters
    ----------
    clips : sequence of CachedClip
        Whose pictures are looked at.
    seed : int
    largest : float
        Motion of the camera at the edge of the picture, px per tick; most move much less.
    """

    def __init__(self, clips: Sequence[CachedClip], seed: int, largest: float) -> None:
        self.clips = clips
        self.seed = seed
        self.largest = largest
        self._made: dict[tuple[int, int], Stack] = {}

    def stack(self, number: int, like: Sequence[int] | NDArray[np.int64]) -> Stack:
        """Return stack `number` modulo `N_KEPT` of some clips of one size, float16 (10, H, W).

        Parameters
        ----------
        number : int
        like : sequence of int
            Which clips; always the same for a size.
        """
        key = number % N_KEPT, int(like[0])
        if key not in self._made:
            rng = np.random.default_rng([self.seed, 3, *key])
            clip = self.clips[int(rng.choice(like))]
            picture = clip.pictures[int(rng.integers(clip.n_steps))]
            self._made[key] = still_stack(picture, self.largest, rng).astype(np.float16)
        return self._made[key]


def still_stack(
    picture: NDArray[np.uint8], largest: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return the flow stack of one camera that looks at a picture, float32 (10, H, W).

    One in four cameras stands still; the others pan, zoom and turn steadily, and shake.

    Examples
    --------
    >>> black = np.zeros((36, 64, 3), np.uint8)
    >>> still_stack(black, 4.0, np.random.default_rng(0)).shape
    (10, 36, 64)
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    n = FLOWS_PER_STACK + 1
    kinds = rng.standard_normal(4) * (rng.random(4) < [0.7, 0.7, 0.4, 0.4])
    drift = np.arange(n)[:, None] * kinds * rng.uniform(0, 1) ** 2
    shake = rng.standard_normal((n, 4)) * [1, 1, 0.1, 0.3] * 0.7 * rng.uniform(0, 1) ** 3
    path = (drift + shake) * largest * (rng.random() < 0.75) / [1, 1, width / 2, width / 2]
    noise, quality = rng.uniform(0, 6), int(rng.integers(30, 96))
    views = []
    for across, down, grow, turn in path:
        matrix = cv2.getRotationMatrix2D(
            (width / 2, height / 2), np.degrees(turn), np.exp(grow) / VIEW
        )
        matrix[:, 2] += across, down
        view = cv2.warpAffine(grey, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
        view = np.clip(view + noise * rng.standard_normal(view.shape), 0, 255).astype(np.uint8)
        coded = cv2.imencode(".jpg", view, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        views.append(np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8))
    flows = [farneback(one, two) for one, two in pairwise(views)]
    return np.stack(flows).reshape(N_CHANNELS, height, width)
