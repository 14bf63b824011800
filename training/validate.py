"""How well a network tells the tags of clips it was not trained on: the AUC that picks the best.

In: a network, and cached clips with their tags. Out: one AUC a label. No ground truth is seen.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from ..models.labels import LABELS
from ..models.net import Net
from .batches import clip_tags
from .cache import CachedClip
from .config import TrainConfig
from .evaluate import auc


@torch.no_grad()
def label_aucs(
    net: Net, config: TrainConfig, clips: Sequence[CachedClip], fabric: Fabric
) -> dict[str, float]:
    """Return the clip-level AUC of each label, NaN where all clips have it or none has.

    A clip's score is the mean over its frames: of the sound network's output, or of the maximum of
    the map. Each process takes its share of the clips.
    """
    net.eval()
    scores = torch.zeros(len(clips), len(LABELS), device=fabric.device)
    for row in range(fabric.global_rank, len(clips), fabric.world_size):
        inputs = fabric.to_device(torch.from_numpy(_inputs(clips[row], config)))
        scores[row] = net.clip_scores(inputs).mean(dim=0)
    found = cast(Tensor, fabric.all_reduce(scores, reduce_op="sum")).cpu().numpy()
    tags = np.stack([clip_tags(clip, config.kind) for clip in clips]) > 0
    return {label: auc(tags[:, k], found[:, k]) for k, label in enumerate(LABELS)}


def _inputs(clip: CachedClip, config: TrainConfig) -> NDArray[np.float32]:
    """Return a whole sound (1, 384, T), or frames all through a clip (n, C, H, W); float32."""
    if config.kind == "sound":
        return np.asarray(clip.log_mel, np.float32)[None]
    steps = np.linspace(0, clip.n_steps - 1, config.validation_frames).round().astype(int)
    if config.kind == "object":
        return np.asarray(clip.pictures[steps], np.float32).transpose(0, 3, 1, 2)
    return np.stack([clip.stack(int(step)) for step in steps]).astype(np.float32)
