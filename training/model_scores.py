"""What a model set says of clips, one by one: from the cache of features, or decoded on the way.

A clip that cannot be read, or has nothing that a model takes, is skipped and counted.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..engines.catalogue import find_models
from ..engines.engine import Engine, Models
from ..engines.options import EngineOptions
from ..stream.config import Latency
from .cache import cache_clips
from .clips import Clip
from .progress import counting
from .scores import ClipScores, cached_inputs, fits_cache, read_inputs, score_clip


class ModelScores:
    """What a model set says of clips, from the cache of features or decoded on the way.

    Parameters
    ----------
    models : Path or None
        Folder of models; those of `detect` if None.
    cache : Path
        Folder for features.
    processes : int
        That compute features.
    latency : {"normal", "low"}
        `low`: what the models say with the past alone; the cache holds nothing for that.
    options : EngineOptions, optional
        What runs them; as for `detect` without it, so maybe what was compiled: `described` tells.

    Attributes
    ----------
    found : Models
        The model set.
    skipped : list of (str, str)
        Name and reason of clips that could not be scored.
    """

    def __init__(
        self,
        models: Path | None,
        cache: Path,
        processes: int = 1,
        latency: Latency = "normal",
        options: EngineOptions | None = None,
    ) -> None:
        self.found: Models = replace(find_models(models), options=options or EngineOptions())
        self.skipped: list[tuple[str, str]] = []
        self._engines: dict[str, Engine] = {k: engine for k, engine in self.found.load().items()}
        self._cache = cache
        self._processes = processes
        self._latency = latency

    def of(
        self, clips: Iterable[Clip], kinds: Collection[str] = ("sound", "object", "action")
    ) -> Iterator[tuple[Clip, ClipScores]]:
        """Yield the scores of each clip that can be read, in order; the others go to `skipped`.

        Parameters
        ----------
        clips : iterable of Clip
        kinds : collection of str
            Which of the models are asked.
        """
        wanted = list(clips)
        engines = {kind: engine for kind, engine in self._engines.items() if kind in kinds}
        is_cached = self._latency == "normal" and fits_cache(engines)
        features = {}
        if is_cached:
            with counting("features", len(wanted)) as advance:
                cached, skipped = cache_clips(
                    wanted, self._cache, processes=self._processes, progress=advance
                )
            features = {clip.clip.name: clip for clip in cached}
            self.skipped += skipped
        with counting("evaluating", len(wanted)) as advance:
            for done, clip in enumerate(wanted, 1):
                try:
                    if not is_cached:
                        inputs = read_inputs(
                            clip.path, engines, self._latency, start=clip.start, end=clip.end
                        )
                    elif clip.name in features:
                        inputs = cached_inputs(features[clip.name])
                    else:
                        continue
                    scores = score_clip(engines, inputs)
                except ValueError as error:
                    self.skipped.append((clip.name, str(error)))
                    continue
                finally:
                    advance(done, len(wanted))
                yield clip, scores

    def described(self) -> dict[str, Any]:
        """Return which models these are, what runs them and how they are decoded: for a report."""
        return {
            "models": {
                kind: {
                    "name": engine.header.name,
                    "hash": engine.hash,
                    "engine": engine.backend,
                    "precision": engine.precision,
                }
                for kind, engine in self._engines.items()
            },
            "decoding": self.found.decoding.model_dump(),
        }
