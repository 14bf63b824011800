"""ImageNet: pictures of one kind of thing each, some with boxes around it.

=================================  =================================================================
pictures, anywhere below           `<synset>_<number>.*`, or any name in a folder `<synset>`, or any
                                   name with boxes beside or elsewhere
`<name>.xml`, anywhere below       boxes of picture `<name>`, as PASCAL VOC writes them: `size`, and
                                   for each `object` its `name` (a synset) and `bndbox`
=================================  =================================================================

The paper tests object models with it, so all pictures are in the test split. `boxes` returns the
boxes, for evaluation.

Source: Russakovsky et al. 2015; Liu, Yang and Jeng 2018, section IV-C3.
"""

import math
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from .clips import Clip, ClipError, ClipIndex, make_index
from .media_files import MediaFiles, is_picture
from .tables import whole_text
from .vocabularies import by_word, in_order

Boxes = NDArray[np.float64]

SIDES = ("xmin", "ymin", "xmax", "ymax")


def read(root: Path, annotations: Path | None = None) -> ClipIndex:
    """Return the pictures of our instruments, `visible` filled in.

    Parameters
    ----------
    root : Path
    annotations : Path, optional
        Another folder than `root`, in which the boxes are.

    Raises
    ------
    ClipError
        If there is no picture of an instrument.
    """
    files = MediaFiles(root)
    found = _boxes_below((annotations or root).resolve())
    skipped = list(files.skipped)
    clips = []
    for path in files.media:
        if not is_picture(path):
            continue
        truth = found.get(path.stem)
        try:
            visible = _synset(path) or (in_order(read_boxes(truth)) if truth else ())
        except ClipError as error:
            skipped.append((path.name, str(error)))
            continue
        if visible:
            clips.append(Clip(path, truth, (), visible, (), given_split="test"))
    names = {clip.path.stem for clip in clips}
    labels = by_word("imagenet")
    for name in found:
        if name not in names and name.split("_")[0] in labels:
            skipped.append((name, "boxes without a picture of this name below the folder"))
    if not clips:
        raise ClipError(f"{root}: no picture of an instrument in it, such as n02992211/*.JPEG")
    return make_index(clips, skipped, files.root)


def boxes(root: Path, image: Path | str) -> dict[str, Boxes]:
    """Return the boxes of a picture: ground truth, for evaluation only.

    Parameters
    ----------
    root : Path
        Folder in which the boxes are.
    image : Path or str
        The picture, or its name without suffix.

    Returns
    -------
    boxes : dict of label to float64, shape (n, 4)
        x0, y0, x1, y1 as parts of width and height, origin top left.

    Raises
    ------
    ClipError
        If there are no boxes of the picture, or they cannot be read.
    """
    name = image.stem if isinstance(image, Path) else image
    path = _boxes_below(root.resolve()).get(name)
    if path is None:
        raise ClipError(f"{name}: no `{name}.xml` below {root}")
    return read_boxes(path)


def read_boxes(path: Path) -> dict[str, Boxes]:
    """Return the boxes of our instruments in a file of PASCAL VOC, as of `boxes`.

    Raises
    ------
    ClipError
        If it is no such file. One with a document type is refused: nothing in it is expanded.
    """
    text = whole_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ClipError(f"{path.name}: has a document type, which boxes do not need")
    try:
        tree = ElementTree.fromstring(text)
        width, height = (float(tree.findtext(f"size/{side}", "")) for side in ("width", "height"))
        labels = by_word("imagenet")
        found: dict[str, list[list[float]]] = {}
        for item in tree.iter("object"):
            label = labels.get(item.findtext("name", "").strip().lower())
            if label is not None:
                corners = [float(item.findtext(f"bndbox/{side}", "")) for side in SIDES]
                found.setdefault(label, []).append(_normalised(corners, width, height))
    except (ElementTree.ParseError, ValueError):
        raise ClipError(f"{path.name}: not `size` and `object`s of PASCAL VOC") from None
    return {label: np.array(found[label]) for label in in_order(found)}


def _normalised(corners: list[float], width: float, height: float) -> list[float]:
    x0, x1 = (min(max(x / width, 0.0), 1.0) if width > 0 else math.nan for x in corners[::2])
    y0, y1 = (min(max(y / height, 0.0), 1.0) if height > 0 else math.nan for y in corners[1::2])
    if not (x0 < x1 and y0 < y1):  # not a number, or inside out
        raise ValueError
    return [x0, y0, x1, y1]


def _synset(path: Path) -> tuple[str, ...]:
    labels = by_word("imagenet")
    names = (path.stem.split("_")[0], path.parent.name)
    return in_order(labels[name] for name in names if name in labels)[:1]


@lru_cache(maxsize=1)
def _boxes_below(root: Path) -> dict[str, Path]:
    return {path.stem: path for path in MediaFiles(root).named(".xml")}
