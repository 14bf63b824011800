"""A folder of clips on disk: what is there, what each one is tagged with, which split it is in.

In: a folder with `<name>.mp4` (or another video) and `<name>.json` beside it. Out: `Clip` records
in the order of their names, and a list of what was skipped and why.

Training sees of a clip's JSON **three lists of labels for the whole clip and nothing else**
(`played`, `visible`, `heard`: the weak labels). Intervals, boxes and key points in the same file
are ground truth; only `load_truth` returns them, and only `evaluate` calls it.
"""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..models.labels import LABELS

Split = Literal["training", "validation", "test", "demo"]

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi")
FIRST_VALIDATION_SEED = 100_000  # rendered clips are split by the seed they were drawn from
FIRST_TEST_SEED = 200_000
FIRST_DEMO_SEED = 300_000


class ClipError(ValueError):
    """A folder or clip that cannot be used; the message is one line for the user."""


@dataclass(frozen=True)
class Clip:
    """One recording and its tags.

    Attributes
    ----------
    path : Path
        The video.
    truth : Path
        The JSON beside it.
    played, visible, heard : tuple of str
        Labels that are played by someone, seen, sounding at some time of the clip.
    seed : int or None
        What the clip was rendered from; None for a recording.
    """

    path: Path
    truth: Path
    played: tuple[str, ...]
    visible: tuple[str, ...]
    heard: tuple[str, ...]
    seed: int | None = None

    @property
    def name(self) -> str:
        """The file name without its suffix."""
        return self.path.stem

    @property
    def split(self) -> Split:
        """Which split the clip is in: by its seed, or by its name (8 : 1 : 1) if it has none.

        Examples
        --------
        >>> Clip(Path("a.mp4"), Path("a.json"), (), (), (), seed=200_003).split
        'test'
        """
        if self.seed is None:
            tenth = zlib.crc32(self.name.encode()) % 10
            return "test" if tenth == 9 else "validation" if tenth == 8 else "training"
        if self.seed < FIRST_VALIDATION_SEED:
            return "training"
        if self.seed < FIRST_TEST_SEED:
            return "validation"
        return "test" if self.seed < FIRST_DEMO_SEED else "demo"


@dataclass(frozen=True)
class ClipIndex:
    """What a folder holds.

    Attributes
    ----------
    clips : tuple of Clip
        Usable clips, by name.
    skipped : tuple of (str, str)
        File name and reason of everything that was left out.
    """

    clips: tuple[Clip, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    def split(self, name: Split) -> tuple[Clip, ...]:
        """Return the clips of one split.

        Examples
        --------
        >>> ClipIndex(()).split("training")
        ()
        """
        return tuple(clip for clip in self.clips if clip.split == name)


def index_clips(folder: Path) -> ClipIndex:
    """Return every usable clip below a folder, and what was skipped.

    Parameters
    ----------
    folder : Path
        Searched with its sub-folders; hidden files and folders are passed over.

    Returns
    -------
    index : ClipIndex

    Raises
    ------
    ClipError
        If the folder does not exist or holds no usable clip.

    Examples
    --------
    >>> index_clips(Path("nowhere"))
    Traceback (most recent call last):
    ...
    playspot.training.clips.ClipError: nowhere: no such folder
    """
    if not folder.is_dir():
        raise ClipError(f"{folder}: no such folder")
    clips: list[Clip] = []
    skipped: list[tuple[str, str]] = []
    for path in sorted(folder.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        if path.suffix.lower() in VIDEO_SUFFIXES:
            try:
                clips.append(load_clip(path))
            except ClipError as error:
                skipped.append((path.name, str(error)))
    if not clips:
        first = f"; first of {len(skipped)} skipped: {skipped[0][1]}" if skipped else ""
        raise ClipError(
            f"{folder}: no clip with tags in it, expected <name>.mp4 with <name>.json beside it, "
            f"as `playspot data bandstand` writes{first}"
        )
    return ClipIndex(tuple(clips), tuple(skipped))


def load_clip(path: Path) -> Clip:
    """Return one clip with its tags.

    Raises
    ------
    ClipError
        If the video is missing or empty, or the JSON beside it is missing, broken, or names an
        unknown label.

    Examples
    --------
    >>> load_clip(Path("nothing.mp4"))
    Traceback (most recent call last):
    ...
    playspot.training.clips.ClipError: nothing.mp4: no such file, or empty
    """
    if not path.is_file() or path.stat().st_size == 0:
        raise ClipError(f"{path.name}: no such file, or empty")
    truth = path.with_suffix(".json")
    content = load_truth(truth)
    seed = content.get("seed")
    return Clip(
        path,
        truth,
        played=_tags(content, "played", truth.name),
        visible=_tags(content, "visible", truth.name),
        heard=_tags(content, "heard", truth.name),
        seed=seed if isinstance(seed, int) else None,
    )


def load_truth(path: Path) -> dict[str, Any]:
    """Return the whole content of a clip's JSON, ground truth included: for evaluation only.

    Raises
    ------
    ClipError
        If the file is missing or is not a JSON object.

    Examples
    --------
    >>> load_truth(Path("nothing.json"))
    Traceback (most recent call last):
    ...
    playspot.training.clips.ClipError: nothing.json: no such file
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ClipError(f"{path.name}: no such file") from None
    except (ValueError, OSError) as error:
        raise ClipError(f"{path.name}: cannot be read as JSON ({error})") from None
    if not isinstance(content, dict):
        raise ClipError(f"{path.name}: expected a JSON object, got {type(content).__name__}")
    return content


def _tags(content: dict[str, Any], key: str, name: str) -> tuple[str, ...]:
    tags = content.get(key)
    if not isinstance(tags, list):
        raise ClipError(f"{name}: `{key}` must be a list of labels, got {tags!r}")
    for tag in tags:
        if tag not in LABELS:
            raise ClipError(f"{name}: unknown label {tag!r} in `{key}`; one of {', '.join(LABELS)}")
    return tuple(label for label in LABELS if label in tags)
