"""Optimisers and learning rates: the paper's, and those that train from scratch in minutes."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .config import TrainConfig


def make_optimiser(net: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the optimiser of a configuration.

    Examples
    --------
    >>> make_optimiser(nn.Linear(2, 1), TrainConfig(kind="sound")).defaults["momentum"]
    0.9
    """
    weights, rate, decay = net.parameters(), config.lr, config.weight_decay
    if config.optimiser == "sgd":
        return torch.optim.SGD(weights, rate, momentum=config.momentum, weight_decay=decay)
    if config.optimiser == "adagrad":
        return torch.optim.Adagrad(weights, rate, weight_decay=decay)
    return torch.optim.AdamW(weights, rate, weight_decay=decay)


def load_optimiser(optimiser: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Give an optimiser what one of the same configuration remembered; its settings stay.

    Raises
    ------
    ValueError, TypeError, LookupError, AttributeError
        If that does not fit its weights.
    """
    optimiser.load_state_dict({**saved, "param_groups": optimiser.state_dict()["param_groups"]})
    names = {tuple(own) for own in optimiser.state.values()}
    if len(names) > 1:
        raise ValueError("something is missing")
    for weights, own in optimiser.state.items():
        if any(value.shape not in (weights.shape, torch.Size()) for value in own.values()):
            raise ValueError("of other weights")


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return the learning rate of a step.

    Examples
    --------
    >>> cosine = TrainConfig(kind="sound", steps=1000, lr=1.0, schedule="cosine")
    >>> [round(learning_rate(cosine, step), 3) for step in (0, 100, 500, 1000)]
    [0.01, 0.976, 0.5, 0.0]
    """
    if config.schedule == "constant":
        return config.lr
    warm_up = min(1.0, (step + 1) / max(1, min(100, config.steps // 10)))
    return config.lr * warm_up * 0.5 * (1 + math.cos(math.pi * min(1.0, step / config.steps)))
