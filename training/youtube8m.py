"""YouTube-8M: lists of videos, of which the first minute is used.

==================================  ================================================================
`*.tr.txt`, `*.va.txt`, `*.te.txt`  a video id a line: training, validation, test
`tags.csv`, optional                `file,labels`: the tags of each video, see `data_folder`
media, anywhere below the folder    `<id>.*`
==================================  ================================================================

Without tags the videos still serve the targets of teachers (ST, OT, SOT).

Source: Abu-El-Haija et al. 2016; Liu, Yang and Jeng 2018, section IV-C1.
"""

from pathlib import Path

from .clips import Clip, ClipError, ClipIndex, Split, make_index
from .data_folder import find_tags, read_tags
from .media_files import MediaFiles
from .tables import ID, lines

FIRST_MINUTE = 60.0  # s
SPLITS: dict[str, Split] = {".tr.txt": "training", ".va.txt": "validation", ".te.txt": "test"}


def read(root: Path, annotations: Path | None = None, tags: Path | None = None) -> ClipIndex:
    """Return the first minutes of the videos that are there.

    Parameters
    ----------
    root : Path
    annotations : Path, optional
        Another folder than `root`, in which the lists are.
    tags : Path, optional
        Another table than `tags.csv` in `root`.

    Raises
    ------
    ClipError
        If there is no list, or it holds no id.
    """
    files = MediaFiles(root)
    lists = find_lists(files if annotations is None else MediaFiles(annotations))
    if not lists:
        raise ClipError(f"{root}: no list `*.tr.txt` or `*.va.txt` in it")
    skipped = list(files.skipped)
    table = tags or find_tags(files)
    labels = read_tags(table, "youtube8m", skipped) if table else {}
    clips: list[Clip] = []
    for path in lists:
        split = next(split for ending, split in SPLITS.items() if path.name.endswith(ending))
        n_good = 0
        for number, line in lines(path):
            name = line.strip()
            if not ID.fullmatch(name):
                skipped.append((f"{path.name}:{number}", "not the id of a video"))
                continue
            n_good += 1
            video = files.find(name)
            if video is None:
                skipped.append((name, "no video of this name below the folder"))
                continue
            own = labels.get(name, ())
            clips.append(Clip(video, None, own, own, own, None, 0.0, FIRST_MINUTE, split))
        if not n_good:
            raise ClipError(f"{path}: no line with the id of a video in it")
    return make_index(clips, skipped, files.root)


def find_lists(files: MediaFiles) -> list[Path]:
    """Return the lists of YouTube-8M below a folder."""
    return files.named(*SPLITS)
