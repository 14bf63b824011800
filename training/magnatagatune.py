"""MagnaTagATune: clips of 29 s of music, each with all the tags that hold for it.

=================================  =================================================================
`annotations_final.csv`            tab between fields, all in quotes: `clip_id`, 188 tags as 0 or 1,
                                   `mp3_path`
media, anywhere below the folder   `<folder>/<name>.mp3` as `mp3_path` says, or `<name>.*`
=================================  =================================================================

Clips are split by their folder, as is customary: 0 to b training, c validation, d to f test. There
is no tag for the accordion. Source: Law et al. 2009; Liu, Yang and Jeng 2018, section V-A1.
"""

from pathlib import Path, PurePosixPath

from .clips import Clip, ClipError, ClipIndex, Split, make_index
from .media_files import MediaFiles
from .tables import rows
from .vocabularies import by_word, in_order

TABLE = "annotations_final.csv"
CUSTOM: dict[str, Split] = {"c": "validation", "d": "test", "e": "test", "f": "test"}


def read(root: Path, annotations: Path | None = None) -> ClipIndex:
    """Return the clips that are there, `heard` filled in.

    Parameters
    ----------
    root : Path
    annotations : Path, optional
        Another table than `annotations_final.csv` below `root`.

    Raises
    ------
    ClipError
        If there is no table, or it is none of this kind.
    """
    files = MediaFiles(root)
    table = annotations or next(iter(files.named(TABLE)), None)
    if table is None:
        raise ClipError(f"{root}: no table `{TABLE}` in it; give --annotations FILE")
    skipped = list(files.skipped)
    lines = rows(table, "\t")
    _, header = next(lines, (1, []))
    if "clip_id" not in header or "mp3_path" not in header:
        raise ClipError(f"{table}: line 1 must name `clip_id`, the tags and `mp3_path`, with tabs")
    labels = by_word("magnatagatune")
    columns = [(at, labels[tag]) for at, tag in enumerate(header) if tag in labels]
    place = header.index("mp3_path")
    clips = []
    for number, row in lines:
        if len(row) != len(header) or not all(row[at] in ("0", "1") for at, _ in columns):
            skipped.append((f"{table.name}:{number}", "not a row of tags of 0 and 1"))
            continue
        named = PurePosixPath(row[place])
        path = files.find(named.stem)
        if path is None:
            skipped.append((named.name, "no sound of this name below the folder"))
            continue
        heard = in_order(label for at, label in columns if row[at] == "1")
        split = CUSTOM.get(named.parent.name, "training")
        clips.append(Clip(path, None, (), (), heard, given_split=split))
    return make_index(clips, skipped, files.root)
