"""The files below a folder: videos, sounds and pictures by name, and tables beside them.

Nothing outside the folder is ever reached: not by a link, not by a path that a table names.
"""

import os
import re
from bisect import bisect_left
from pathlib import Path

from ..stream.one_line import shown_path
from .clips import ClipError

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v", ".mpg", ".ts", ".flv", ".3gp")
SOUND_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".m4a", ".opus", ".aac", ".aif", ".aiff", ".wma")
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
MEDIA_SUFFIXES = (*VIDEO_SUFFIXES, *SOUND_SUFFIXES, *PICTURE_SUFFIXES)  # the best first
_TIMES = re.compile(r"[_-](\d+(?:\.\d+)?)(?:[_-]\d+(?:\.\d+)?)?")  # of a part, in its name
OWN_ENDINGS = (".annotated.mp4", ".timeline.png")  # what `detect` writes beside a recording


class MediaFiles:
    """Everything below a folder, hidden files and folders passed over.

    Parameters
    ----------
    folder : Path

    Attributes
    ----------
    root : Path
        The folder, absolute and without links.
    media : list of Path
        Videos, sounds and pictures, sorted. Of a video and its sound or its picture (`a.mp4`,
        `a.wav`, `a.jpg` in one folder) the video alone, of a sound and its picture the sound.
    others : list of Path
        All other files, sorted.
    skipped : list of (str, str)
        Name and reason of what was left out.

    Raises
    ------
    ClipError
        If there is no such folder.

    Examples
    --------
    >>> MediaFiles(Path("nowhere"))
    Traceback (most recent call last):
    ...
    playspot.training.clips.ClipError: nowhere: no such folder
    """

    def __init__(self, folder: Path) -> None:
        try:
            self.root = folder.resolve()
            is_folder = self.root.is_dir()
        except (OSError, RuntimeError, ValueError):
            is_folder = False
        if not is_folder:
            raise ClipError(f"{shown_path(folder)}: no such folder")
        self.media: list[Path] = []
        self.others: list[Path] = []
        self.skipped: list[tuple[str, str]] = []
        self._by_stem: dict[str, Path] = {}
        self._walk()
        self._stems = sorted(self._by_stem)

    def _walk(self) -> None:
        def unreadable(error: OSError) -> None:
            self.skipped.append((Path(error.filename).name, f"cannot be listed ({error.strerror})"))

        for place, folders, names in os.walk(self.root, onerror=unreadable):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in list(folders):
                if Path(place, name).is_symlink():
                    folders.remove(name)
                    self.skipped.append((name, "a link to a folder; name that folder itself"))
            best: dict[str, Path] = {}
            for name in sorted(n for n in names if not n.startswith(".")):
                path = Path(place, name)
                if reason := self._why_not(path):
                    self.skipped.append((name, reason))
                elif path.suffix.lower() not in MEDIA_SUFFIXES:
                    self.others.append(path)
                elif not name.endswith(OWN_ENDINGS):
                    known = best.get(path.stem)
                    if known is None or _kind(path) < _kind(known):
                        best[path.stem] = path
                    elif _kind(path) == _kind(known):
                        self.skipped.append((name, f"{known.name} has the same name"))
            self.media += [best[stem] for stem in sorted(best)]
            for stem, path in best.items():
                self._by_stem.setdefault(stem, path)

    def _why_not(self, path: Path) -> str:
        try:
            if path.is_symlink() and not self.holds(path):
                return "a link that leads out of the folder"
            return "" if path.is_file() else "no regular file"  # a pipe would be waited for
        except OSError as error:
            return f"cannot be reached ({error.strerror})"

    def holds(self, path: Path) -> bool:
        """Return whether a path lies below the folder, links followed.

        Examples
        --------
        >>> MediaFiles(Path(".")).holds(Path("../other.mp4"))
        False
        """
        try:
            return path.resolve(strict=True).is_relative_to(self.root)
        except (OSError, RuntimeError, ValueError):  # gone, in a circle, or no path at all
            return False

    def find(self, *names: str) -> Path | None:
        """Return the first medium with one of these names, without suffix; None without any."""
        return next((self._by_stem[name] for name in names if name in self._by_stem), None)

    def find_part(self, name: str, start: float) -> tuple[Path, bool] | None:
        """Return the medium that holds the part of a recording from `start` s on; None without any.

        Also whether it holds that part alone: then its name has the start after that of the
        recording, in seconds or milliseconds, as download tools do it: `x_30`, `x_30.000_40.000`,
        `x_30000_40000`, `x_000030`.
        """
        for known_as in (name, f"Y{name}"):
            at = bisect_left(self._stems, known_as)
            while at < len(self._stems) and self._stems[at].startswith(known_as):
                times = _TIMES.fullmatch(self._stems[at], len(known_as))
                if times and float(times[1]) in (start, 1000 * start):
                    return self._by_stem[self._stems[at]], True
                at += 1
        path = self.find(name, f"Y{name}")
        return (path, False) if path is not None else None

    def named(self, *endings: str) -> list[Path]:
        """Return the other files whose names end so, whatever the case."""
        return [path for path in self.others if path.name.lower().endswith(endings)]


def length_of(path: Path) -> float | None:
    """Return how many seconds a recording lasts by its header; None if that does not say."""
    import av

    from ..stream.demux import SourceError, open_container  # here: only some data sets ask

    try:
        with open_container(path) as container:
            return container.duration / av.time_base if container.duration else None
    except (SourceError, av.FFmpegError, OSError):
        return None


def _kind(path: Path) -> int:
    suffix = path.suffix.lower()
    return (suffix in SOUND_SUFFIXES) + 2 * (suffix in PICTURE_SUFFIXES)


def is_picture(path: Path) -> bool:
    """Return whether a file is a still picture, by its name.

    Examples
    --------
    >>> is_picture(Path("violin.JPG"))
    True
    """
    return path.suffix.lower() in PICTURE_SUFFIXES
