"""YT8M-IPA as clips: the four annotated parts of each of its videos that is there.

The annotations lie as their authors publish them, see `ipa`; the videos are `<id>.*`, anywhere
below the folder. Source: Liu, Yang and Jeng 2018, section IV-C2.
"""

from collections import Counter
from pathlib import Path

from .clips import Clip, ClipIndex, make_index
from .ipa import FRAGMENTS, read_annotations
from .media_files import MediaFiles
from .vocabularies import in_order


def read(root: Path, annotations: Path | None = None) -> ClipIndex:
    """Return the annotated parts of the videos that are there, all for the test.

    Parameters
    ----------
    root : Path
    annotations : Path, optional
        Another folder than `root`, in which the annotations are.

    Raises
    ------
    ClipError
        If the annotations cannot be used.
    """
    files = MediaFiles(root)
    found = read_annotations(annotations or root)
    skipped = [*files.skipped, *found.skipped]
    clips: list[Clip] = []
    for name in Counter(video.id for video in found.videos):  # once each, in their order
        tags = in_order(video.label for video in found.videos if video.id == name)
        path = files.find(name)
        if path is None:
            skipped.append((name, "no video of this name below the folder"))
            continue
        for start, end in FRAGMENTS:
            clips.append(Clip(path, None, tags, tags, tags, None, start, end, "test"))
    return make_index(clips, skipped, files.root)
