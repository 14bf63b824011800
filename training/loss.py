"""What is minimised: binary cross-entropy between a network's scores and its targets.

Sound and object networks are told which labels a whole clip has, so their scores are pooled over
time or space first; the action network has targets of its own, see `targets`.
"""

import torch
from torch import Tensor, nn

from .config import TrainConfig
from .targets import target_loss


def network_loss(net: nn.Module, config: TrainConfig, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the binary cross-entropy of a batch, shape ().

    Parameters
    ----------
    net : nn.Module
        Gives logits, (B, K, T) or (B, K, h, w).
    config : TrainConfig
    inputs, targets : Tensor
        As in the table of `batches`.
    """
    smooth = config.label_smoothing
    targets = targets * (1 - 2 * smooth) + smooth
    if config.kind == "action":
        return target_loss(net(inputs), targets, config.positive_weight)
    scores = torch.sigmoid(net(inputs))
    if targets.ndim == 2:
        pooled = pool(scores.flatten(2), config.pool)  # (B, K)
    else:  # a mosaic: (B, K, 2, 2)
        rows, columns = (-(-size // 2) for size in scores.shape[2:])
        quarters = [
            pool(scores[:, :, down, across].flatten(2), config.pool)
            for down in (slice(rows), slice(rows, None))
            for across in (slice(columns), slice(columns, None))
        ]
        pooled = torch.stack(quarters, dim=2)  # (B, K, 4)
        targets = targets.flatten(2)
    pooled = pooled.clamp(1e-6, 1 - 1e-6)  # torch's own loss raises on NaN; the loop reports it
    return -(targets * pooled.log() + (1 - targets) * (1 - pooled).log()).mean()


def pool(scores: Tensor, how: str) -> Tensor:
    """Return one score of many, over the last axis: `mean`, `max`, or `linear`.

    Linear is the mean weighted by the scores themselves: near the mean of those that are high.

    Examples
    --------
    >>> pool(torch.tensor([0.0, 0.0, 0.5, 1.0]), "linear").item()
    0.8333333134651184
    """
    if how == "max":
        return scores.amax(dim=-1)
    if how == "mean":
        return scores.mean(dim=-1)
    return (scores**2).sum(dim=-1) / scores.sum(dim=-1).clamp_min(1e-6)
