"""One slope and bias for all labels, that put a model set's fused score on a probability's scale.

python benchmarks/calibrate.py CLIPS --models DIR [--split validation]

A logistic fit of "is it played?" to the fused score of every step and label of clips with ground
truth. Prints what goes into engines/sets.toml, and how often scores of each height are right, on
the clips of the fit and on those of `--check`.
"""

import argparse
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from playspot.engines.catalogue import find_models
from playspot.engines.options import ORIGINAL
from playspot.training.adapt_calibrate import fit
from playspot.training.cache import cache_clips
from playspot.training.clips import index_clips, load_truth
from playspot.training.evaluate import detected_maps, played_steps
from playspot.training.scores import cached_inputs, score_clip

BINS = (0.0, 0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0)


def cases(folder: Path, models: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the log-odds of the uncalibrated fused score, and whether it is played."""
    found = find_models(models)
    engines = dict(replace(found, options=ORIGINAL).load())
    plain = found.decoding.model_copy(update={"slope": {}, "bias": {}})
    clips, _ = cache_clips(
        [clip for clip in index_clips(folder).clips if clip.split == split], folder / ".features"
    )
    scores, played = [], []
    for clip in clips:
        said = score_clip(engines, cached_inputs(clip))
        maps = detected_maps(said, found.labels, plain)
        if maps is None or clip.clip.truth is None:
            continue
        scores.append(maps.max(axis=(2, 3)))
        played.append(played_steps(load_truth(clip.clip.truth), found.labels, said.n_steps))
    top = np.clip(np.concatenate(scores).astype(float), 1e-4, 1 - 1e-4)
    return np.log(top / (1 - top)).ravel(), np.concatenate(played).astype(float).ravel()


def main() -> None:
    """Fit on one split, check on another, print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--check", default="test")
    given = parser.parse_args()
    odds, played = cases(given.clips, given.models, given.split)
    slope, bias = fit(odds, played)
    print(f"slope {slope:.2f}, bias {bias:.2f}: {len(odds)} scores, {played.mean():.3f} played")
    for split in (given.split, given.check):
        odds, played = cases(given.clips, given.models, split)
        scores = 1 / (1 + np.exp(-(slope * odds + bias)))
        print(f"\n| {split}: score | n | played |\n|---|---|---|")
        for low, high in pairwise(BINS):
            here = (scores >= low) & (scores < high + (high == 1))
            share = f"{played[here].mean():.2f}" if here.any() else "-"
            print(f"| {low:g} to {high:g} | {here.sum()} | {share} |")
        is_on = scores >= 0.5
        right = played[is_on].sum()
        precision, recall = right / max(1, is_on.sum()), right / played.sum()
        print(f"at 0.5: precision {precision:.2f}, recall {recall:.2f}")


if __name__ == "__main__":
    main()
