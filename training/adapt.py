"""`playspot adapt`: an action model of one's own from recordings without labels.

    recordings -> parts -> features -> teachers' targets -> training -> ONNX -> fusion -> report

Each stage keeps what it has made in OUT/work, and none does again what is there: a run that was
killed goes on when the same command is given again.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..stream.sources import SourceError
from .adapt_disk import plan_disk
from .adapt_models import TEACHERS, check_out, find_teachers
from .adapt_parts import How, Part, clip_of, n_steps_of, split_recordings
from .alone import alone
from .cache import CachedClip
from .clips import ClipError, make_index
from .config import RECIPES, TrainConfig
from .config_file import read_settings
from .data_sets import read
from .jobs import TORCH_IS_MISSING, features_of, report_skipped
from .media_files import VIDEO_SUFFIXES
from .progress import counting

LEAST_POSITIVE = 4  # steps of a label in the training part


@dataclass(frozen=True)
class AdaptJob:
    """What `playspot adapt` was asked for.

    Attributes
    ----------
    folder, out : Path
        Recordings; folder of the models and the report.
    models : Path or None
        Folder of the teachers; None: pulled ones, else bundled.
    sound, object_ : Path or None
        Single teachers, before those of the folder.
    config : TrainConfig
    minutes : float or None
        Of training, in place of the configuration's steps.
    threads, processes : int
    cache : Path or None
        Folder for features; OUT/work/features if None.
    fresh : bool
        Train anew, though there is a checkpoint.
    split : {"auto", "recordings", "time"}
        See `split_recordings`.
    """

    folder: Path
    out: Path
    models: Path | None = None
    sound: Path | None = None
    object_: Path | None = None
    config: TrainConfig = RECIPES["small"]["action"]
    minutes: float | None = None
    threads: int = 2
    processes: int = 2
    cache: Path | None = None
    fresh: bool = False
    split: How = "auto"

    @property
    def work(self) -> Path:
        """Folder of what is computed on the way."""
        return self.out / "work"


# What is added to the recipe: flow of cameras that move or stand still, where nothing is played.
ADAPT = RECIPES["small"]["action"].replace(
    camera=3.0, speed=0.3, flow_noise=0.1, still=0.15, validate_every=100, validation_frames=10
)


def adapt_config(path: Path | None, settings: Mapping[str, Any]) -> TrainConfig:
    """Return the settings of an adaptation: the recipe, a YAML file over it, options over that.

    Raises
    ------
    ValueError
        If the file cannot be read, or a setting is unknown or outside its bounds: one line.

    Examples
    --------
    >>> adapt_config(None, {"steps": 20, "width": None}).steps
    20
    """
    config = ADAPT if path is None else ADAPT.replace(**read_settings(path, ADAPT))
    given = {key: value for key, value in settings.items() if value is not None}
    if "target" in given:
        given["target"] = str(given["target"]).upper()
    return config.replace(**given)


def run_adapt(job: AdaptJob) -> list[str]:
    """Adapt, and return lines that say how it went.

    Raises
    ------
    ValueError
        If something the user gave cannot be used: one line.
    """
    try:
        import torch
    except ImportError:
        raise ClipError(TORCH_IS_MISSING) from None
    from .adapt_train import adapt  # here: needs PyTorch
    from .run_data import target_of

    target = target_of(job.config)
    if target is None or target.rule == "VT":
        raise ClipError("--target VT needs tags, and these recordings have none; take SOT0503")

    teachers = find_teachers(job.models, job.sound, job.object_)
    engines = teachers.load(*TEACHERS)
    check_out(job.out)
    parts = find_parts(job.folder, job.split)
    say(plan_disk(job.out, sum(part.end - part.first for part in parts)))
    torch.set_num_threads(job.threads)
    busy = f"{job.out}: another adaptation is at work there; give another --out"
    with alone(job.work / ".lock", busy):
        for left in job.out.glob(".*.partial"):  # of a run that was killed
            left.unlink()
        return adapt(job, teachers, engines, clips_of(job, parts))


def find_parts(folder: Path, how: How = "auto") -> list[Part]:
    """Return the parts of all recordings below a folder; those that cannot serve are told.

    Raises
    ------
    ClipError
        If none can serve, or they are too short to be split.
    """
    index = read("folder", folder)
    videos = [clip.path for clip in index.clips if clip.path.suffix.lower() in VIDEO_SUFFIXES]
    if not videos:
        raise ClipError(
            f"{folder}: no video in it; give a folder of recordings ({', '.join(VIDEO_SUFFIXES)})"
        )
    usable: list[tuple[Path, int]] = []
    skipped = list(index.skipped)
    with counting("looking at recordings", len(videos)) as advance:
        for done, path in enumerate(videos, 1):
            try:
                usable.append((path, n_steps_of(path)))
            except (ClipError, SourceError) as error:
                skipped.append((path.name, str(error)))
            advance(done, len(videos))
    report_skipped(skipped)
    if not usable:
        raise ClipError(f"{folder}: none of {len(videos)} recordings has both picture and sound")
    parts = split_recordings(usable, how)
    for split in ("training", "validation", "test"):
        if not any(part.split == split for part in parts):
            total = sum(n for _, n in usable)
            raise ClipError(
                f"{folder}: {len(usable)} recordings with {total} steps of 0.5 s are too few to "
                "be split in three; give a minute at least"
            )
    return parts


def clips_of(job: AdaptJob, parts: Sequence[Part]) -> list[CachedClip]:
    """Return the parts as clips with features, computing those that are not there.

    Raises
    ------
    ClipError
        If none can be decoded.
    """
    index = make_index([clip_of(part) for part in parts], [], job.folder.resolve())
    place = job.cache or job.work / "features"
    cached = features_of(index.clips, job.folder, place, job.processes)
    usable = [clip for clip in cached if clip.has_flows and clip.has_sound]
    if not usable:
        raise ClipError(f"{job.folder}: no part has both picture and sound")
    return usable


def say(line: str) -> None:
    """Say on standard error what the user should know on the way."""
    print(line, file=sys.stderr)
