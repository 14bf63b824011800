"""What a data set holds: clips and hours by label and split, and what had to be skipped and why.

Every recording is opened and its first picture and sound decoded, in processes of their own: what
is broken is found here and not in the middle of a night's training.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..models.labels import LABELS
from ..stream.one_line import reason_of
from .clips import Clip, ClipError, ClipIndex
from .media_files import is_picture
from .processes import Failure, in_processes
from .stills import read_still

SPLITS = ("training", "validation", "test", "demo")
SECONDS_TO_OPEN = 60.0  # after which a file is given up
N_NAMED = 3  # skipped clips of each reason that are named


@dataclass
class Survey:
    """Counts of a data set.

    Attributes
    ----------
    clips : Counter of (split, label)
        How many have the label, in any of the three lists of tags; label "" counts all.
    seconds : dict of split to float
        Of recordings; a still picture lasts no time.
    skipped : list of (str, str)
        Name and reason.
    """

    clips: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """Return the counts as for JSON.

        Examples
        --------
        >>> Survey().report()
        {'clips': 0, 'hours': 0.0, 'splits': {}, 'n_skipped': 0, 'skipped': []}
        """
        splits = {
            split: {
                "clips": self.clips[split, ""],
                "hours": round(self.seconds.get(split, 0.0) / 3600, 4),
                "labels": {label: self.clips[split, label] for label in LABELS},
            }
            for split in SPLITS
            if self.clips[split, ""]
        }
        return {
            "clips": sum(self.clips[split, ""] for split in SPLITS),
            "hours": round(sum(self.seconds.values()) / 3600, 4),
            "splits": splits,
            "n_skipped": len(self.skipped),
            "skipped": [{"name": name, "reason": reason} for name, reason in self.skipped],
        }


def survey(
    index: ClipIndex, *, processes: int, progress: Callable[[int, int], None] | None = None
) -> Survey:
    """Return the counts of an index, once each of its recordings has been opened.

    Parameters
    ----------
    index : ClipIndex
    processes : int
    progress : callable, optional
        Called with (done, total) after each recording.
    """
    found = Survey(skipped=list(index.skipped))
    paths = sorted({clip.path for clip in index.clips})
    calls = [(path,) for path in paths]
    limits = [SECONDS_TO_OPEN] * len(paths)
    lengths: dict[Path, Any] = {}
    opened = in_processes(length_of, calls, processes=processes, time_limits=limits)
    for done, (number, length) in enumerate(opened, 1):
        lengths[paths[number]] = length
        if progress is not None:
            progress(done, len(paths))
    for clip in index.clips:
        length = lengths[clip.path]
        seconds = 0.0 if isinstance(length, Failure) else _seconds(clip, length)
        if isinstance(length, Failure):
            found.skipped.append((clip.name, length.reason))
        elif seconds <= 0 and not is_picture(clip.path):
            found.skipped.append((clip.name, "the recording ends before this part"))
        else:
            found.seconds[clip.split] = found.seconds.get(clip.split, 0.0) + seconds
            for label in {"", *clip.played, *clip.visible, *clip.heard}:
                found.clips[clip.split, label] += 1
    return found


def length_of(path: Path) -> float | Failure:
    """Return how many seconds a recording lasts, or why it cannot be used; 0 if it does not say."""
    from ..stream.sources import FileSource, SourceError  # here: needs decoders

    try:
        if is_picture(path):
            read_still(path)
            return 0.0
        with FileSource(path) as source:
            return source.info.duration or 0.0
    except ClipError as error:
        return Failure(str(error).removeprefix(f"{path.name}: "))
    except SourceError as error:
        return Failure(str(error).removeprefix(f"{path}: "))
    except OSError as error:
        return Failure(reason_of(error))


def by_reason(skipped: list[tuple[str, str]]) -> list[str]:
    """Return a line for each reason: how many, why, and the first names; the most frequent first.

    Examples
    --------
    >>> by_reason([("a", "empty"), ("b.mp4", "b.mp4: no such file"), ("c", "empty")])
    ['2: empty (a, c)', '1: no such file (b.mp4)']
    """
    names: dict[str, list[str]] = {}
    for name, reason in skipped:
        names.setdefault(reason.removeprefix(f"{name}: "), []).append(name)
    lines = []
    for reason, own in sorted(names.items(), key=lambda item: -len(item[1])):
        more = ", ..." if len(own) > N_NAMED else ""
        lines.append(f"{len(own)}: {reason} ({', '.join(own[:N_NAMED])}{more})")
    return lines


def _seconds(clip: Clip, length: float) -> float:
    if is_picture(clip.path):
        return 0.0
    length = length or float("inf" if clip.end else 1e-9)  # it does not say: believe the part
    return min(length, clip.end if clip.end is not None else length) - clip.start
