"""Weak supervision: what the action network is asked to output, made of tags and of two teachers.

=======  ==========================================  ===========================================
name     target                                      compared with
=======  ==========================================  ===========================================
VT       V, the clip's tags                          maximum over space of the output
ST05     S >= 0.5, the sound model                   maximum over space of the output
OT03     O >= 0.3, the object model                  the output at every place
SOT0503  (S >= 0.5) x (O >= 0.3)                     the output at every place
=======  ==========================================  ===========================================

The digits are tenths: first the sound threshold v, then the object threshold u.

Shapes: tags and sound scores (B, K), object maps (B, K, h, w). Source: Liu, Yang and Jeng 2018,
section III-A, equations 1 and 2, and table IV.
"""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Array = NDArray[np.float32]
Rule = Literal["VT", "ST", "OT", "SOT"]

_NAME = re.compile(r"(VT)|(ST)(\d\d)|(OT)(\d\d)|(SOT)(\d\d)(\d\d)")


@dataclass(frozen=True)
class Target:
    """A rule and its thresholds.

    Attributes
    ----------
    rule : {"VT", "ST", "OT", "SOT"}
    sound_threshold, object_threshold : float
        v and u of the paper; 0 where the rule does not use them.
    """

    rule: Rule
    sound_threshold: float = 0.0
    object_threshold: float = 0.0

    @property
    def needs_sound(self) -> bool:
        """Whether the rule asks the sound model."""
        return self.rule in ("ST", "SOT")

    @property
    def needs_object(self) -> bool:
        """Whether the rule asks the object model."""
        return self.rule in ("OT", "SOT")


def parse_target(name: str) -> Target:
    """Return the target of a name such as `SOT0503`.

    Raises
    ------
    ValueError
        If the name is not of the paper's form, or a threshold is not between 0.1 and 1.

    Examples
    --------
    >>> parse_target("SOT0503")
    Target(rule='SOT', sound_threshold=0.5, object_threshold=0.3)
    """
    match = _NAME.fullmatch(name.upper())
    parts = [part for part in match.groups() if part] if match else []
    thresholds = [int(digits) / 10 for digits in parts[1:]]
    if not parts or not all(0 < threshold <= 1 for threshold in thresholds):
        raise ValueError(
            f"target {name!r}: expected VT, ST05, OT03 or SOT0503 "
            "(two digits a threshold, in tenths, 01 to 10; sound before object)"
        )
    if parts[0] == "VT":
        return Target("VT")
    if parts[0] == "ST":
        return Target("ST", sound_threshold=thresholds[0])
    if parts[0] == "OT":
        return Target("OT", object_threshold=thresholds[0])
    return Target("SOT", *thresholds)


def binarise(scores: Array, threshold: float) -> Array:
    """Return 1 where a score reaches the threshold, else 0 (equations 1 and 2).

    Examples
    --------
    >>> binarise(np.array([0.2, 0.5, 0.7], np.float32), 0.5)
    array([0., 1., 1.], dtype=float32)
    """
    return (scores >= threshold).astype(np.float32)


def make_targets(
    target: Target, tags: Array, sound: Array | None = None, object_map: Array | None = None
) -> Array:
    """Return what the network should output.

    Parameters
    ----------
    target : Target
    tags : float32, shape (B, K)
        1 for the labels of the clip that each frame is from. Used by VT only.
    sound : float32, shape (B, K), optional
        Scores of the sound model at each frame. Needed by ST and SOT.
    object_map : float32, shape (B, K, h, w), optional
        Scores of the object model. Needed by OT and SOT.

    Returns
    -------
    targets : float32, shape (B, K) for VT and ST, (B, K, h, w) for OT and SOT
        0 or 1.

    Raises
    ------
    ValueError
        If a teacher that the rule needs is not given.

    Examples
    --------
    >>> sound, where = np.float32([[0.6]]), np.float32([[[[0.1, 0.4]]]])
    >>> make_targets(parse_target("SOT0503"), np.float32([[1]]), sound, where)
    array([[[[0., 1.]]]], dtype=float32)
    """
    if target.needs_sound and sound is None:
        raise ValueError(f"target {target.rule} needs a sound model; give one with --sound")
    if target.needs_object and object_map is None:
        raise ValueError(f"target {target.rule} needs an object model; give one with --object")
    when = binarise(sound, target.sound_threshold) if sound is not None else tags
    where = binarise(object_map, target.object_threshold) if object_map is not None else tags
    if target.rule == "VT":
        return tags
    if target.rule == "ST":
        return when
    if target.rule == "OT":
        return where
    return when[:, :, None, None] * where


def target_loss(logits: Tensor, targets: Tensor, positive_weight: float = 1.0) -> Tensor:
    """Return the binary cross-entropy between the output of a network and its targets.

    Parameters
    ----------
    logits : Tensor, shape (B, K, h, w)
        Output before the sigmoid.
    targets : Tensor, shape (B, K) or (B, K, h, w)
        Targets without space are compared with the maximum over space.
    positive_weight : float
        How much more a target of 1 counts. The paper's loss has 1. Of a map, few places are
        positive; a weight puts the scores of a trained network nearer to the middle.

    Returns
    -------
    loss : Tensor, shape ()
        Mean over everything compared, in nats.

    Examples
    --------
    >>> logits = torch.tensor([[[[-2.0, 0.0]]]])
    >>> round(target_loss(logits, torch.tensor([[1.0]])).item(), 4)  # log(2): maximum is 0.5
    0.6931
    """
    if targets.ndim == 2:
        logits = logits.amax(dim=(2, 3))  # (B, K)
    weight = torch.tensor(positive_weight)
    return functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=weight)
