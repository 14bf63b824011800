"""Which sounds of which soundfont stand for which instrument, and in which split.

**The one table of timbres**: `PROGRAMS` says what a label may sound like, `COMPETITORS` what sounds
like none of the nine, `HELD_OUT` which of all these only validation or only test may use. An
instrument that is added gets a line in `PROGRAMS`.

A timbre is a soundfont with a bank and a program of it (General MIDI, from 0; bank 128: drum kits).
Soundfonts are looked for in $PLAYSPOT_SOUNDFONTS and in the places of Linux distributions.
"""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .clips import Split
from .etudes import Manner

PLACES = (
    "/usr/share/sounds/sf2",
    "/usr/share/sounds/sf3",
    "/usr/share/soundfonts",
    "/usr/local/share/soundfonts",
    "/opt/homebrew/share/soundfonts",
)
KNOWN = ("FluidR3_GM", "MuseScore_General_Full", "MuseScore_General", "TimGM6mb")
DRUM_BANK = 128

Program = tuple[int, int]  # bank, program

# Brass is "trumpet" as in the paper, whose pictures of that class are of cornets, horns and
# trumpets; the tuba is not. Bank 0 is General MIDI, the others are of single soundfonts.
PROGRAMS: dict[str, tuple[Program, ...]] = {
    "accordion": ((0, 21), (0, 23), (8, 21)),
    "cello": ((0, 42), (40, 48), (40, 49)),
    "drum": (
        (128, 0), (128, 8), (128, 16), (128, 24), (128, 32), (128, 40), (128, 48),
        (0, 116), (0, 117), (8, 116),
    ),
    "flute": ((0, 73), (0, 72)),
    "guitar": (
        (0, 24), (0, 25), (0, 26), (0, 27), (0, 28), (0, 29), (0, 30), (8, 24), (8, 25), (8, 28),
    ),
    "piano": ((0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (8, 0)),
    "saxophone": ((0, 64), (0, 65), (0, 66), (0, 67)),
    "trumpet": ((0, 56), (0, 59), (0, 61), (0, 57), (0, 60)),
    "violin": ((0, 40), (0, 110), (8, 40), (20, 48), (25, 48)),
}  # fmt: skip


@dataclass(frozen=True)
class Competitor:
    """Instruments of one kind that are none of the nine.

    Attributes
    ----------
    manner : Manner
        How they are played.
    compass : (int, int)
        Lowest and highest MIDI pitch.
    programs : tuple of Program
    """

    manner: Manner
    compass: tuple[int, int]
    programs: tuple[Program, ...]


COMPETITORS: tuple[Competitor, ...] = (
    Competitor("wind", (50, 91), ((0, 71),)),  # clarinet
    Competitor("wind", (58, 88), ((0, 68), (0, 69))),  # oboe, cor anglais
    Competitor("wind", (34, 70), ((0, 70),)),  # bassoon
    Competitor("wind", (28, 58), ((0, 58),)),  # tuba
    Competitor("keys", (53, 96), ((0, 12), (0, 13))),  # marimba, xylophone
    Competitor("keys", (55, 96), ((0, 8), (0, 9), (0, 10), (0, 11), (0, 14))),  # bells
    Competitor("wind", (26, 55), ((0, 32), (0, 33), (0, 34), (0, 35), (0, 36))),  # basses
    Competitor("keys", (36, 90), ((0, 6), (0, 7), (0, 15), (0, 46))),  # harpsichord, harp
    Competitor("plucked", (45, 84), ((0, 104), (0, 105), (0, 106), (0, 107))),  # sitar, banjo
    Competitor("bellows", (36, 90), ((0, 16), (0, 17), (0, 18), (0, 19))),  # organs
    Competitor("bowed", (45, 84), ((0, 52), (0, 53), (0, 54), (0, 85))),  # choirs
    Competitor("wind", (55, 96), ((0, 22), (0, 78), (0, 79), (0, 109), (0, 111))),  # harmonica
    Competitor("keys", (36, 90), ((0, 38), (0, 80), (0, 81), (0, 88), (0, 90), (0, 95))),  # synths
    Competitor("keys", (60, 84), ((0, 108), (0, 112), (0, 113), (0, 115))),  # bells, blocks
)

_TIM = "TimGM6mb"
HELD_OUT: dict[Split, dict[str, tuple[tuple[str, Program], ...]]] = {
    "validation": {
        "accordion": ((_TIM, (0, 23)),),
        "cello": (("MuseScore_General_Full", (40, 48)), ("MuseScore_General", (40, 48))),
        "drum": ((_TIM, (128, 32)), (_TIM, (128, 40)), (_TIM, (0, 117))),
        "flute": ((_TIM, (0, 73)),),
        "guitar": ((_TIM, (0, 25)), (_TIM, (0, 29))),
        "piano": ((_TIM, (0, 1)), (_TIM, (0, 4))),
        "saxophone": ((_TIM, (0, 65)), (_TIM, (0, 67))),
        "trumpet": ((_TIM, (0, 56)), (_TIM, (0, 57))),
        "violin": ((_TIM, (0, 40)),),
    },
    "test": {
        "accordion": ((_TIM, (0, 21)),),
        "cello": (("MuseScore_General_Full", (40, 49)), ("MuseScore_General", (40, 49))),
        "drum": ((_TIM, (128, 0)), (_TIM, (128, 16)), (_TIM, (0, 116))),
        "flute": ((_TIM, (0, 72)),),
        "guitar": ((_TIM, (0, 24)), (_TIM, (0, 27))),
        "piano": ((_TIM, (0, 0)), (_TIM, (0, 2))),
        "saxophone": ((_TIM, (0, 64)), (_TIM, (0, 66))),
        "trumpet": ((_TIM, (0, 59)), (_TIM, (0, 60))),
        "violin": (("MuseScore_General_Full", (25, 48)), ("MuseScore_General", (25, 48))),
    },
}


@dataclass(frozen=True)
class Timbre:
    """One sound of one soundfont.

    Attributes
    ----------
    font : Path
    bank, program : int
        Bank `DRUM_BANK` holds drum kits.
    """

    font: Path
    bank: int
    program: int

    @property
    def name(self) -> str:
        """The soundfont with bank and program.

        Examples
        --------
        >>> Timbre(Path("FluidR3_GM.sf2"), 0, 73).name
        'FluidR3_GM 0:73'
        """
        return f"{self.font.stem} {self.bank}:{self.program}"


def find_soundfonts() -> dict[str, Path]:
    """Return the soundfonts of this machine by name, in an order that is always the same.

    Those of $PLAYSPOT_SOUNDFONTS (files or folders, separated as in $PATH) come first, whatever
    their names; elsewhere only the names in `KNOWN` count, since a soundfont may hold anything and
    labels need General MIDI.
    """
    found: dict[str, Path] = {}
    for given in os.environ.get("PLAYSPOT_SOUNDFONTS", "").split(os.pathsep):
        place = Path(given)
        if given and place.is_file():
            found.setdefault(place.stem, place)
        elif given and place.is_dir():
            for path in sorted([*place.glob("*.sf2"), *place.glob("*.sf3")]):
                found.setdefault(path.stem, path)
    for name in KNOWN:
        for folder in PLACES:
            for suffix in (".sf2", ".sf3"):
                path = Path(folder) / f"{name}{suffix}"
                if path.is_file():
                    found.setdefault(name, path)
    if "MuseScore_General_Full" in found:
        found.pop("MuseScore_General", None)  # the same sounds, packed
    return found


def timbres(label: str, split: Split, fonts: Mapping[str, Path]) -> list[Timbre]:
    """Return what a label may sound like in a split.

    Parameters
    ----------
    label : str
        One of the nine.
    split : {"training", "validation", "test", "demo"}
        Timbres of validation and of test are in `HELD_OUT`; training has all others, and demo
        takes what training has.
    fonts : mapping of str to Path
        What `find_soundfonts` found.

    Returns
    -------
    timbres : list of Timbre
        Not empty if there is any soundfont: a split whose own soundfonts are missing takes all
        that there is, and then overlaps with others.

    Examples
    --------
    >>> timbres("flute", "training", {})
    []
    """
    every = _found(((name, program) for name in fonts for program in PROGRAMS[label]), fonts)
    if split in HELD_OUT:
        chosen = _found(HELD_OUT[split][label], fonts)
    else:
        held_out = [pair for of_split in HELD_OUT.values() for pair in of_split[label]]
        chosen = [pair for pair in every if pair not in held_out]
    return [Timbre(fonts[name], *program) for name, program in chosen or every]


def competitors(split: Split, fonts: Mapping[str, Path]) -> list[tuple[Competitor, list[Timbre]]]:
    """Return what none of the nine sounds like in a split, each kind with its timbres.

    Validation and test share `TimGM6mb`, training has the other soundfonts.
    """
    names = [name for name in fonts if (name == _TIM) == (split in HELD_OUT)] or list(fonts)
    kinds = []
    for kind in COMPETITORS:
        pairs = _found(((name, program) for name in names for program in kind.programs), fonts)
        if pairs:
            kinds.append((kind, [Timbre(fonts[name], *program) for name, program in pairs]))
    return kinds


def presets(font: Path) -> frozenset[Program]:
    """Return the (bank, program) pairs that a soundfont has; none if it cannot be read.

    Notes
    -----
    SoundFont 2.01 specification, sections 4 and 7.2: the sub-chunk `phdr` of `pdta`.
    """
    try:
        return _presets(font, font.stat().st_mtime_ns)
    except (OSError, ValueError):
        return frozenset()


@functools.cache
def _presets(font: Path, time_ns: int) -> frozenset[Program]:
    with font.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"sfbk":
            raise ValueError(f"{font}: not a soundfont")
        while len(head := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", head)
            if name == b"LIST" and file.read(4) == b"pdta":
                continue  # its sub-chunks come next
            if name == b"LIST":
                size -= 4
            if name == b"phdr":
                content = file.read(min(size, 38 * 65536))
                headers = [content[i : i + 38] for i in range(0, len(content) - 75, 38)]
                pairs = [struct.unpack("<HH", header[20:24]) for header in headers]
                return frozenset((bank, program) for program, bank in pairs)
            file.seek(size + size % 2, os.SEEK_CUR)
    raise ValueError(f"{font}: no presets")


def _found(
    pairs: Iterable[tuple[str, Program]], fonts: Mapping[str, Path]
) -> list[tuple[str, Program]]:
    return [(name, what) for name, what in pairs if name in fonts and what in presets(fonts[name])]
