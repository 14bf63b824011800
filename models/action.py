"""The action network: stacked optical flow -> where each instrument is being played."""

from .blocks import ImageFCN, NetConfig
from .labels import LABELS

N_CHANNELS = 10  # five flows, x then y each, oldest first


class ActionNet(ImageFCN):
    """The action model of TABLE II: stacks (B, 10, H, W), pixels per tick -> logits (B, K, h, w).

    Parameters
    ----------
    labels : tuple of str
        The axis K.
    width, dropout : float
        See `NetConfig`.

    Notes
    -----
    Flow enters as it is, as in the authors' code; `net.standardise.set(scale=...)` divides it.
    Source: Liu, Yang and Jeng 2018, section IV-A3.

    Examples
    --------
    >>> import torch
    >>> ActionNet(width=0.25)(torch.zeros(2, 10, 192, 256)).shape
    torch.Size([2, 9, 6, 8])
    """

    def __init__(
        self, labels: tuple[str, ...] = LABELS, *, width: float = 1.0, dropout: float = 0.5
    ) -> None:
        super().__init__(N_CHANNELS, NetConfig("action", tuple(labels), width, dropout))
