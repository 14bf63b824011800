"""The sound network: log-mel at three scales -> when each instrument is heard."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .blocks import NetConfig, Standardise, n_filters
from .labels import LABELS

N_SCALES = 3
N_BANDS = 384  # 128 mel bands of each scale, shortest window first


class SoundNet(nn.Module):
    """The sound model of TABLE I: log-mel (B, 384, T) -> logits (B, K, n_outputs(T)).

    Parameters
    ----------
    labels : tuple of str
        The axis K.
    width, dropout : float
        See `NetConfig`.

    Notes
    -----
    Each scale has its own early layers: one convolution in three groups. A pool takes 4 columns
    in steps of 4 and is padded by 2 at both ends (authors' code), so output j sees the columns
    16 j - 20 ... 16 j + 15 and belongs to step j. Bands are standardised inside, with the mean and
    scale of the training set: `net.standardise.set(mean, scale)`.

    Source: Liu, Yang and Jeng 2018, TABLE I and section IV-A1.

    Examples
    --------
    >>> SoundNet(width=0.25)(torch.zeros(2, 384, 313)).shape
    torch.Size([2, 9, 20])
    """

    STRIDE = 16  # log-mel columns between outputs

    def __init__(
        self, labels: tuple[str, ...] = LABELS, *, width: float = 1.0, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.config = NetConfig("sound", tuple(labels), width, dropout)
        early = N_SCALES * n_filters(256, width)
        late = n_filters(512, width)
        self.standardise = Standardise(N_BANDS)
        self.conv1 = nn.Conv1d(N_BANDS, early, 5, padding=2, groups=N_SCALES)
        self.norm1 = nn.BatchNorm1d(early)
        self.conv2 = nn.Conv1d(early, early, 5, padding=2, groups=N_SCALES)
        self.norm2 = nn.BatchNorm1d(early)
        self.conv3 = nn.Conv1d(early, late, 1)
        self.norm3 = nn.BatchNorm1d(late)
        self.conv4 = nn.Conv1d(late, late, 1)
        self.norm4 = nn.BatchNorm1d(late)
        self.conv5 = nn.Conv1d(late, len(self.config.labels), 1)
        self.pool = nn.MaxPool1d(4, stride=4, padding=2)
        self.dropout = nn.Dropout(dropout)

    @staticmethod
    def n_outputs(n_columns: int) -> int:
        """Return the length of the output for `n_columns` of log-mel.

        Examples
        --------
        >>> SoundNet.n_outputs(157), SoundNet.n_outputs(313)
        (11, 20)
        """
        return (n_columns // 4 + 1) // 4 + 1

    def early_layers(self) -> list[nn.Module]:
        """Return the early convolutions of TABLE I with their normalisation."""
        return [self.conv1, self.norm1, self.conv2, self.norm2]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K, n_outputs(T)) for log-mel (B, 384, T)."""
        x = self.standardise(x)
        x = self.pool(functional.relu(self.norm1(self.conv1(x))))
        x = self.pool(functional.relu(self.norm2(self.conv2(x))))
        x = self.dropout(functional.relu(self.norm3(self.conv3(x))))
        x = self.dropout(functional.relu(self.norm4(self.conv4(x))))
        return self.conv5(x)  # type: ignore[no-any-return]

    def scores(self, x: Tensor) -> Tensor:
        """Return scores (B, K, n_outputs(T)) in [0, 1]: the sigmoid of `forward`."""
        return torch.sigmoid(self(x))

    def clip_scores(self, x: Tensor) -> Tensor:
        """Return one score a clip and label, (B, K): the mean over time, as in TABLE I."""
        return self.scores(x).mean(dim=2)
