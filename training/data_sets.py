"""The data sets that can be read, by name: each a function (root, ...) -> `ClipIndex`.

A new one is a module with such a function, and a line here.
"""

from importlib import import_module
from pathlib import Path

from .clips import ClipError, ClipIndex
from .media_files import MediaFiles

READERS = {
    "bandstand": ("clips", "index_clips"),
    "folder": ("data_folder", "read"),
    "audioset": ("audioset", "read"),
    "youtube8m": ("youtube8m", "read"),
    "ipa": ("ipa", "read"),
    "medleydb": ("medleydb", "read"),
    "imagenet": ("imagenet", "read"),
    "magnatagatune": ("magnatagatune", "read"),
}
NAMES = tuple(READERS)

# What tells them, the first that fits: endings of files that only this data set has.
SIGNS = {
    "ipa": ("tag_list.instrument.csv",),
    "medleydb": ("_sourceid.lab", "_activation_conf.lab", "_metadata.yaml"),
    "magnatagatune": ("annotations_final.csv",),
    "youtube8m": (".tr.txt", ".va.txt"),
}


def read(name: str, root: Path, **paths: Path) -> ClipIndex:
    """Return the clips of a data set.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    root : Path
        Folder below which the media are, and the annotations if `paths` does not say otherwise.
    **paths : Path
        `annotations`: table or folder of annotations elsewhere.

    Returns
    -------
    index : ClipIndex
        Without what is missing or broken: that is in `skipped`, with the reason.

    Raises
    ------
    ClipError
        If there is no such data set, or its folder or tables cannot be used: one line.

    Examples
    --------
    >>> read("kazoos", Path("."))
    Traceback (most recent call last):
    ...
    playspot.training.clips.ClipError: no data set `kazoos`; one of bandstand, folder, audioset, ...
    """
    if name not in READERS:
        raise ClipError(f"no data set `{name}`; one of {', '.join(NAMES)}")
    if name == "bandstand" and paths:
        raise ClipError("clips of the bandstand have their tags beside them; leave out annotations")
    module, function = READERS[name]
    index: ClipIndex = getattr(import_module(f"{__package__}.{module}"), function)(root, **paths)
    return index


def guess(root: Path) -> str:
    """Return which data set a folder holds, as far as its files tell; `folder` if they do not.

    Raises
    ------
    ClipError
        If there is no such folder.
    """
    files = MediaFiles(root)
    for name, endings in SIGNS.items():
        if files.named(*endings):
            return name
    if any("segments" in path.name.lower() for path in files.named(".csv")):
        return "audioset"
    others = set(files.others)
    if any(path.with_suffix(".json") in others for path in files.media):
        return "bandstand"
    return "imagenet" if files.named(".xml") else "folder"
