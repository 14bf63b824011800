"""A training run in a process of its own: `made_run.py CLIPS OUT SETTINGS`.

SETTINGS is JSON, fields of `TrainConfig`. Each step's number is printed, and in the end the
smoothed losses, as JSON.
"""

import json
import sys
from pathlib import Path

import made_clips  # type: ignore[import-not-found]  # beside this file
import torch

from playspot.training.cache import CachedClip
from playspot.training.clips import Clip
from playspot.training.train import Report, train

torch.set_num_threads(1)
folder, out = Path(sys.argv[1]), Path(sys.argv[2])
clips = [
    CachedClip(
        Clip(folder / f"clip{n}.mp4", None, *3 * (made_clips.tags_of(n),)), folder / f"clip{n}"
    )
    for n in range(12)
]
losses: list[float] = []


def tell(report: Report) -> None:
    losses.append(report.loss)
    print(report.step, flush=True)


train(made_clips.tiny(**json.loads(sys.argv[3])), clips, clips, out, progress=tell)
if losses:  # the first of several processes
    print(json.dumps(losses), flush=True)
