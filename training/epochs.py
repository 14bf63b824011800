"""The order of clips in training: which clips make which batch, the same for the same number.

In: groups of clips that fit in one batch, since their pictures have one size. Out: for each batch
its clips. In an epoch every clip comes once, in a new random order; the last batch of a group is
filled up with clips of that epoch that came already.
"""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


class Epochs:
    """Numbered batches of clips, by their number in a list.

    Parameters
    ----------
    sizes : sequence
        Of each clip: those of equal size may be in one batch.
    n_per_batch, seed : int

    Examples
    --------
    >>> epochs = Epochs(["wide", "tall", "wide"], n_per_batch=2, seed=0)
    >>> epochs.n_batches, sorted(len(epochs.chosen(k)) for k in range(2))
    (2, [2, 2])
    """

    def __init__(self, sizes: Sequence[Hashable], n_per_batch: int, seed: int) -> None:
        places: dict[Hashable, list[int]] = {}
        for place, size in enumerate(sizes):
            places.setdefault(size, []).append(place)
        self.groups = [np.array(group) for group in places.values()]
        self.group_of = {int(place): group for group in self.groups for place in group}
        self.n_per_batch = n_per_batch
        self.seed = seed
        self._epoch: tuple[int, list[Indices]] = (-1, [])

    @property
    def n_batches(self) -> int:
        """Batches in an epoch."""
        return sum(-(-len(group) // self.n_per_batch) for group in self.groups)

    def chosen(self, number: int) -> list[int]:
        """Return the clips of batch `number`, counted over all epochs."""
        epoch, place = divmod(number, self.n_batches)
        known = self._epoch  # once: other threads ask for batches of other epochs
        if known[0] != epoch:
            known = self._epoch = (epoch, self._batches(epoch))
        return [int(i) for i in known[1][place]]

    def _batches(self, epoch: int) -> list[Indices]:
        rng = np.random.default_rng([self.seed, 2, epoch])
        batches = []
        for group in self.groups:
            order = rng.permutation(group)
            for first in range(0, len(order), self.n_per_batch):
                batches.append(np.resize(np.roll(order, -first), self.n_per_batch))
        return [batches[i] for i in rng.permutation(len(batches))]
