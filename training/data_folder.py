"""A plain folder of recordings, with or without a table of what is played in them.

=================================  =================================================================
media, anywhere below the folder   videos, sounds, pictures of any name
`tags.csv`, optional               `file,labels`: a path in the folder (or a file's name, with or
                                   without its suffix), and labels with `;` between them
=================================  =================================================================

A recording that the table does not name has no tags: it still serves the targets of teachers (ST,
OT, SOT). The tags are what is played, seen and heard.
"""

from pathlib import Path

from ..models.labels import LABELS
from .clips import Clip, ClipError, ClipIndex, make_index, shown
from .media_files import MediaFiles
from .tables import rows
from .vocabularies import by_word, in_order

HEADER = ["file", "labels"]


def read(root: Path, annotations: Path | None = None) -> ClipIndex:
    """Return every recording below a folder, with its tags.

    Parameters
    ----------
    root : Path
    annotations : Path, optional
        Another table than `tags.csv` in `root`.

    Raises
    ------
    ClipError
        If there is no recording, or the table is none.
    """
    files = MediaFiles(root)
    skipped = list(files.skipped)
    table = annotations or find_tags(files)
    tags = read_tags(table, "youtube8m", skipped) if table else {}
    clips: list[Clip] = []
    used: set[str] = set()
    for path in files.media:
        place = path.relative_to(files.root)
        if path.stat().st_size == 0:
            skipped.append((path.name, "empty (0 bytes)"))
            continue
        names = (str(place.with_suffix("")), path.stem)
        own = next((tags[name] for name in names if name in tags), ())
        used.update(names)
        clips.append(Clip(path, None, own, own, own))
    skipped += [(name, "no file of this name in the folder") for name in tags if name not in used]
    if not clips:
        raise ClipError(f"{root}: no video, sound or picture in it")
    return make_index(clips, skipped, files.root)


def find_tags(files: MediaFiles) -> Path | None:
    """Return the table of tags of a folder, if it has one."""
    table = files.root / "tags.csv"
    return table if table in files.others else None


def read_tags(
    table: Path, words: str, skipped: list[tuple[str, str]]
) -> dict[str, tuple[str, ...]]:
    """Return the labels of each file of a table, by its name without suffix.

    Parameters
    ----------
    table : Path
    words : str
        Whose names of the instruments are known besides ours; a field of `vocabularies.Words`.
    skipped : list of (str, str)
        Rows that cannot be used are added.

    Raises
    ------
    ClipError
        If the table does not begin with the line `file,labels`.
    """
    labels = by_word(words)
    tags: dict[str, tuple[str, ...]] = {}
    lines = rows(table)
    number, header = next(lines, (1, []))
    if [name.lower() for name in header] != HEADER:
        raise ClipError(f"{table}: line {number} must be `file,labels`, got {shown(header)}")
    for number, row in lines:
        if len(row) != 2 or not row[0]:
            skipped.append((f"{table.name}:{number}", "not `file,labels`"))
            continue
        own = [word.strip().lower() for word in row[1].split(";") if word.strip()]
        unknown = [word for word in own if word not in labels]
        if unknown:
            expected = f"unknown label {shown(unknown[0])}; one of {', '.join(LABELS)}"
            skipped.append((f"{table.name}:{number}", expected))
            continue
        try:
            name = str(Path(row[0]).with_suffix(""))
        except ValueError:  # no name in it
            name = row[0]
        tags[name] = in_order((*tags.get(name, ()), *(labels[word] for word in own)))
    return tags
