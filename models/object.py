"""The object network: RGB pictures -> where each instrument is seen."""

from .blocks import ImageFCN, NetConfig
from .labels import LABELS

RGB_MEAN = (123.509, 115.773, 102.717)  # of the authors' training pictures, 0 to 255


class ObjectNet(ImageFCN):
    """The object model of TABLE II: pictures (B, 3, H, W), RGB, 0 to 255 -> logits (B, K, h, w).

    Parameters
    ----------
    labels : tuple of str
        The axis K.
    width, dropout : float
        See `NetConfig`.

    Notes
    -----
    The mean RGB value is subtracted inside, as the authors did, and nothing divided: their first
    layers were pretrained for that range. Trained from scratch it wants values near 1:
    `net.standardise.set(scale=58.0)`. Source: Liu, Yang and Jeng 2018, section IV-A2.

    Examples
    --------
    >>> import torch
    >>> ObjectNet(width=0.25)(torch.zeros(2, 3, 144, 256)).shape
    torch.Size([2, 9, 5, 8])
    """

    def __init__(
        self, labels: tuple[str, ...] = LABELS, *, width: float = 1.0, dropout: float = 0.5
    ) -> None:
        super().__init__(3, NetConfig("object", tuple(labels), width, dropout))
        self.standardise.set(mean=RGB_MEAN)
