"""A folder of clips on disk: what is there, what each one is tagged with, which split it is in.

In: a folder with `<name>.mp4` (or another video, a sound, a picture) and `<name>.json` beside it.
Out: `Clip` records in the order of their names, and a list of what was skipped and why.

Training sees of a clip's JSON **three lists of labels for the whole clip and nothing else**
(`played`, `visible`, `heard`: the weak labels). Intervals, boxes and key points in the same file
are ground truth; only `load_truth` returns them, and only `evaluate` calls it.
"""

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..models.labels import LABELS
from ..stream.one_line import one_line

Split = Literal["training", "validation", "test", "demo"]

FIRST_VALIDATION_SEED = 100_000  # rendered clips are split by the seed they were drawn from
FIRST_TEST_SEED = 200_000
FIRST_DEMO_SEED = 300_000
MAX_SHOWN = 60  # characters of a value in a message


class ClipError(ValueError):
    """A folder, a clip or a table that cannot be used; the message is one line for the user."""


@dataclass(frozen=True)
class Clip:
    """One recording, or a part of it, or a picture, and its tags.

    Attributes
    ----------
    path : Path
        The video, sound or picture.
    truth : Path or None
        The JSON beside it, if it has one.
    played, visible, heard : tuple of str
        Labels that are played by someone, seen, sounding at some time of the clip.
    seed : int or None
        What the clip was rendered from; None for a recording.
    start, end : float
        Which part of the recording, s; None: to its end.
    given_split : str or None
        The split in which the data set has the clip.
    given_name : str
        Instead of the name that the file gives.
    """

    path: Path
    truth: Path | None
    played: tuple[str, ...]
    visible: tuple[str, ...]
    heard: tuple[str, ...]
    seed: int | None = None
    start: float = 0.0
    end: float | None = None
    given_split: Split | None = None
    given_name: str = ""

    @property
    def name(self) -> str:
        """The file name without its suffix, and the part if it is one; unique in a `ClipIndex`.

        Examples
        --------
        >>> Clip(Path("a.mp4"), None, (), (), (), start=30, end=40).name
        'a_30-40'
        """
        if self.given_name or not self.is_part:
            return self.given_name or self.path.stem
        return f"{self.path.stem}_{self.start:g}-{'' if self.end is None else f'{self.end:g}'}"

    @property
    def is_part(self) -> bool:
        """Whether the clip is not the whole recording."""
        return self.start > 0 or self.end is not None

    @property
    def split(self) -> Split:
        """Which split the clip is in.

        That of its data set; else by its seed; else by the name of its file (8 : 1 : 1), so that
        all parts of a recording are in one.

        Examples
        --------
        >>> Clip(Path("a.mp4"), Path("a.json"), (), (), (), seed=200_003).split
        'test'
        """
        if self.given_split is not None:
            return self.given_split
        if self.seed is None:
            tenth = zlib.crc32(self.path.stem.encode(errors="surrogateescape")) % 10
            return "test" if tenth == 9 else "validation" if tenth == 8 else "training"
        return split_of_seed(self.seed)


def split_of_seed(seed: int) -> Split:
    """Return which split a clip rendered from a seed is in.

    Examples
    --------
    >>> split_of_seed(200_003)
    'test'
    """
    if seed < FIRST_VALIDATION_SEED:
        return "training"
    if seed < FIRST_TEST_SEED:
        return "validation"
    return "test" if seed < FIRST_DEMO_SEED else "demo"


Unit = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=1e6)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True)  # other keys are nobody's business here


class _PlayerAtStep(_Part):
    label: str
    playing: bool
    points: list[Annotated[list[Unit], Field(min_length=2, max_length=2)]]
    box: Annotated[list[Unit], Field(min_length=4, max_length=4)] | None = None


class _Step(_Part):
    step: int
    players: list[_PlayerAtStep]


class _Player(_Part):
    label: str
    playing: list[Annotated[list[Seconds], Field(min_length=2, max_length=2)]] = []


class Truth(_Part):
    """The form of the ground truth in a clip's JSON, as far as `evaluate` reads it.

    Attributes
    ----------
    duration : float, optional
        Of the clip, s.
    players : list, optional
        Of each player `label`, and `playing`: its intervals, s.
    steps : list
        Of each `step` the `players`: `label`, `playing`, `points` and perhaps `box`, normalised.
    """

    duration: Seconds | None = None
    players: list[_Player] = []
    steps: list[_Step] = []


@dataclass(frozen=True)
class ClipIndex:
    """What a folder holds.

    Attributes
    ----------
    clips : tuple of Clip
        Usable clips, by name.
    skipped : tuple of (str, str)
        Name and reason of everything that was left out.
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


def make_index(clips: Iterable[Clip], skipped: Iterable[tuple[str, str]], root: Path) -> ClipIndex:
    """Return an index in which every clip has a name of its own, in the order of the names.

    Clips of one file name in several folders get their folders into their names. What is there
    twice, the same part of the same file, becomes one with the tags of both.

    Examples
    --------
    >>> two = [Clip(Path(f"all/{part}/x.mp4"), None, (), (), ()) for part in ("a", "b")]
    >>> [clip.name for clip in make_index(two, [], Path("all")).clips]
    ['a__x', 'b__x']
    """
    parts: dict[tuple[Path, float, float | None], Clip] = {}
    for clip in clips:
        key = clip.path, clip.start, clip.end
        parts[key] = _joined(parts[key], clip) if key in parts else clip
    by_name: dict[str, list[Clip]] = {}
    for clip in parts.values():
        by_name.setdefault(clip.name, []).append(clip)
    unique: dict[str, Clip] = {}
    for name, same in by_name.items():
        for clip in same:
            if len(same) > 1:
                place = clip.path.relative_to(root).parent.parts
                clip = replace(clip, given_name="__".join((*place, name)))
            unique.setdefault(clip.name, clip)
    return ClipIndex(tuple(unique[name] for name in sorted(unique)), tuple(skipped))


def _joined(one: Clip, other: Clip) -> Clip:
    def both(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(label for label in LABELS if label in first or label in second)

    return replace(
        one,
        played=both(one.played, other.played),
        visible=both(one.visible, other.visible),
        heard=both(one.heard, other.heard),
    )


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
    from .media_files import MediaFiles  # here: it needs ClipError

    files = MediaFiles(folder)
    clips: list[Clip] = []
    skipped = list(files.skipped)
    for path in files.media:
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
    return make_index(clips, skipped, files.root)


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
    if not truth.is_file():
        raise ClipError(f"{path.name}: no JSON of this name beside it")
    content = _read_json(truth)
    seed = content.get("seed")
    return Clip(
        path,
        truth,
        played=_tags(content, "played", truth.name),
        visible=_tags(content, "visible", truth.name),
        heard=_tags(content, "heard", truth.name),
        seed=seed if isinstance(seed, int) and not isinstance(seed, bool) else None,
    )


def load_truth(path: Path) -> dict[str, Any]:
    """Return the whole content of a clip's JSON, ground truth included: for evaluation only.

    Raises
    ------
    ClipError
        If the file is missing, or is not a JSON object in which the ground truth has the form of
        `Truth`.

    Examples
    --------
    >>> load_truth(Path("nothing.json"))
    Traceback (most recent call last):
    ...
    playspot.training.clips.ClipError: nothing.json: no such file
    """
    content = _read_json(path)
    try:
        Truth.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = in_one_line(first["msg"])
        raise ClipError(f"{path.name}: `{in_one_line(place)}`: {reason}") from None
    return content


def _read_json(path: Path) -> dict[str, Any]:
    from .tables import whole_text  # here: it needs ClipError

    text = whole_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = in_one_line(str(error))
        raise ClipError(f"{path.name}: cannot be read as JSON ({reason})") from None
    if not isinstance(content, dict):
        raise ClipError(f"{path.name}: expected a JSON object, got {type(content).__name__}")
    return content


def _tags(content: dict[str, Any], key: str, name: str) -> tuple[str, ...]:
    tags = content.get(key)
    if not isinstance(tags, list):
        raise ClipError(f"{name}: `{key}` must be a list of labels, got {shown(tags)}")
    for tag in tags:
        if tag not in LABELS:
            raise ClipError(
                f"{name}: unknown label {shown(tag)} in `{key}`; one of {', '.join(LABELS)}"
            )
    return tuple(label for label in LABELS if label in tags)


def shown(value: object) -> str:
    """Return a value from a file as it may stand in a message: short, on one line.

    Examples
    --------
    >>> len(shown("x" * 1000))
    60
    """
    return in_one_line(repr(value)) if not isinstance(value, str) else repr(in_one_line(value))


def in_one_line(text: str) -> str:
    """Return a text on one line, cut to a length that a message can bear."""
    text = one_line(text[: 4 * MAX_SHOWN])
    return text if len(text) <= MAX_SHOWN - 2 else text[: MAX_SHOWN - 5] + "..."
