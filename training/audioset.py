"""AudioSet: ten-second parts of videos with the sounds in them.

====================================  ==============================================================
`*segments*.csv`                      a row a part: `YTID, start, end, "/m/0mkg,/m/07y_7"`, as
                                      Google publishes it, or `ytid,start,end,Accordion,Violin`,
                                      as the paper's authors publish their choice of it
media, anywhere below the folder      whole videos `<ytid>.*`, or the parts cut out of them, by the
                                      names that download tools give: `<ytid>_30.*`,
                                      `<ytid>_30.000_40.000.*`, `<ytid>_30000_40000.*`,
                                      `<ytid>_000030.*`, all also with a `Y` before the id
====================================  ==============================================================

Rows without an instrument of ours are passed over. Parts of `eval` files are for validation, as in
the paper; of the others all are for training.

Source: Gemmeke et al. 2017; Liu, Yang and Jeng 2018, section IV-C5.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from .clips import Clip, ClipError, ClipIndex, Split, make_index
from .media_files import MediaFiles, length_of
from .tables import ID, part_of, rows
from .vocabularies import by_word, in_order

MISSING = "no video or sound of this name below the folder"
BAD_ROW = "not `id, start, end, labels`"
CUT_SLACK = 0.5  # s; what a cut part may be too long


def read(root: Path, annotations: Path | None = None) -> ClipIndex:
    """Return the parts that are there, `heard` filled in.

    Parameters
    ----------
    root : Path
    annotations : Path, optional
        Another table than all `*segments*.csv` below `root`.

    Raises
    ------
    ClipError
        If there is no table, or it is none of this kind.
    """
    files = MediaFiles(root)
    tables = [annotations] if annotations else find_tables(files)
    if not tables:
        raise ClipError(f"{root}: no table `*segments*.csv` in it; give --annotations FILE")
    skipped = list(files.skipped)
    clips: list[Clip] = []
    for table in tables:
        clips += _clips(table, files, skipped)
    with ThreadPoolExecutor(8) as pool:  # only files have time to lose here
        clips = list(pool.map(_whole_if_cut, clips))
    return make_index(clips, skipped, files.root)


def find_tables(files: MediaFiles) -> list[Path]:
    """Return the tables of AudioSet below a folder."""
    return [path for path in files.named(".csv") if "segments" in path.name.lower()]


def _clips(table: Path, files: MediaFiles, skipped: list[tuple[str, str]]) -> list[Clip]:
    labels = by_word("audioset")
    split: Split = "validation" if "eval" in table.name.lower() else "training"
    clips = []
    n_good = 0
    for number, row in rows(table):
        if row and row[0].startswith("#"):
            continue
        part = part_of(row[1], row[2]) if len(row) > 3 else None
        if part is None or not ID.fullmatch(row[0]):
            skipped.append((f"{table.name}:{number}", BAD_ROW))
            continue
        n_good += 1
        words = ",".join(row[3:]).split(",")
        heard = in_order(labels[w] for word in words if (w := word.strip().lower()) in labels)
        if not heard:
            continue
        found = files.find_part(row[0], part[0])
        if found is None:
            skipped.append((row[0], MISSING))
            continue
        path, is_cut = found
        start, end = (0.0, None) if is_cut else part
        clips.append(Clip(path, None, (), (), heard, None, start, end, split))
    if not n_good:
        raise ClipError(f"{table}: no row `id, start, end, labels` in it, as AudioSet has them")
    return clips


def _whole_if_cut(clip: Clip) -> Clip:
    # `<ytid>.wav` may be the whole recording or what was cut out of it.
    if clip.end is None or clip.start < 1:
        return clip
    length = length_of(clip.path)
    is_cut = length is not None and length <= clip.end - clip.start + CUT_SLACK
    return replace(clip, start=0.0, end=None) if is_cut else clip
