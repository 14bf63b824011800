"""The instruments in the words of each data set: **the** place to add an instrument.

One row here and one label in `models/labels.py` make all readers of data sets, the networks and
`evaluate` know it; the bandstand leaves it out until it is drawn (docs/training.md). Names are
compared without regard to case.
"""

from collections.abc import Iterable
from typing import NamedTuple

from ..models.labels import LABELS


class Words(NamedTuple):
    """What one instrument is called.

    Attributes
    ----------
    audioset : tuple of str
        Machine ids, the general one first; children that are the same instrument with it.
    youtube8m : tuple of str
        Entities.
    medleydb : tuple of str
        Instruments of stems. The paper's guitar is three of them, its saxophone too (not the
        alto), its drum is the drum set alone: so come the songs of its Table V.
    imagenet : tuple of str
        Synsets.
    magnatagatune : tuple of str
        Tags; there is none for the accordion.
    """

    audioset: tuple[str, ...]
    youtube8m: tuple[str, ...]
    medleydb: tuple[str, ...]
    imagenet: tuple[str, ...]
    magnatagatune: tuple[str, ...]


WORDS: dict[str, Words] = {
    "accordion": Words(("/m/0mkg",), ("Accordion",), ("accordion",), ("n02672831",), ()),
    "cello": Words(("/m/01xqw",), ("Cello",), ("cello",), ("n02992211",), ("cello",)),
    "drum": Words(
        ("/m/026t6", "/m/02hnl", "/m/06rvn", "/m/02k_mr", "/m/0bm02"),  # kit, snare, roll, bass
        ("Drummer", "Drum", "Drums"),
        ("drum set",),
        ("n03249569",),
        ("drum", "drums"),
    ),
    "flute": Words(("/m/0l14j_",), ("Flute",), ("flute",), ("n03372029",), ("flute", "flutes")),
    "guitar": Words(
        ("/m/0342h", "/m/02sgy", "/m/042v_gx", "/m/06w87"),  # electric, acoustic, steel
        ("Guitar",),
        ("acoustic guitar", "clean electric guitar", "distorted electric guitar"),
        ("n02676566", "n03272010"),  # acoustic, electric
        ("guitar", "guitars", "acoustic guitar", "classical guitar", "electric guitar"),
    ),
    "piano": Words(
        ("/m/05r5c",),
        ("Piano",),
        ("piano",),
        ("n03452741", "n04515003"),  # grand, upright
        ("piano", "piano solo"),
    ),
    "saxophone": Words(
        ("/m/06ncr",),
        ("Saxophone",),
        ("baritone saxophone", "soprano saxophone", "tenor saxophone"),
        ("n04141076",),
        ("sax",),
    ),
    "trumpet": Words(("/m/07gql",), ("Trumpet",), ("trumpet",), ("n03110669",), ("trumpet",)),
    "violin": Words(
        ("/m/07y_7",), ("Violin",), ("violin",), ("n04536866",), ("violin", "violins", "fiddle")
    ),
}


def by_word(data_set: str) -> dict[str, str]:
    """Return the label of every word of a data set, in small letters; each label is one too.

    Parameters
    ----------
    data_set : str
        A field of `Words`.

    Examples
    --------
    >>> by_word("audioset")["/m/07gql"], by_word("youtube8m")["drummer"]
    ('trumpet', 'drum')
    """
    labels = {label: label for label in LABELS}
    for label, words in WORDS.items():
        labels |= {word.lower(): label for word in getattr(words, data_set)}
    return labels


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Return labels once each, in the order of all arrays.

    Examples
    --------
    >>> in_order(["violin", "cello", "violin"])
    ('cello', 'violin')
    """
    known = set(labels)
    return tuple(label for label in LABELS if label in known)
