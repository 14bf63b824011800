"""The table of timbres: every label has some, and those of the splits do not overlap."""

from pathlib import Path

import pytest

from playspot.models.labels import LABELS
from playspot.training.clips import Split
from playspot.training.etudes import COMPASS, MANNERS
from playspot.training.soundfonts import (
    COMPETITORS,
    HELD_OUT,
    PROGRAMS,
    competitors,
    find_soundfonts,
    presets,
    timbres,
)


@pytest.fixture(scope="module")
def fonts() -> dict[str, Path]:
    found = find_soundfonts()
    if not found:
        pytest.skip("no soundfont is installed")
    return found


def test_every_label_has_programs_a_manner_and_held_out_timbres() -> None:
    for label in LABELS:
        assert PROGRAMS[label]
        assert label in MANNERS
        assert label in COMPASS
        assert all(HELD_OUT[split][label] for split in HELD_OUT)


def test_no_timbre_is_held_out_twice_or_of_two_labels() -> None:
    pairs = [pair for of_split in HELD_OUT.values() for each in of_split.values() for pair in each]
    assert len(pairs) == len(set(pairs))
    programs = [program for each in PROGRAMS.values() for program in each]
    programs += [program for kind in COMPETITORS for program in kind.programs]
    assert len(programs) == len(set(programs))


def test_timbres_of_splits_do_not_overlap(fonts: dict[str, Path]) -> None:
    if len(fonts) < 3:
        pytest.skip("needs three soundfonts")
    splits: tuple[Split, ...] = ("training", "validation", "test")
    for label in LABELS:
        names = [{timbre.name for timbre in timbres(label, split, fonts)} for split in splits]
        assert all(names)
        assert sum(map(len, names)) == len(set.union(*names))


def test_one_soundfont_is_enough_for_every_split(fonts: dict[str, Path]) -> None:
    name, path = next(iter(fonts.items()))
    for label in LABELS:
        for split in ("training", "validation", "test", "demo"):
            assert timbres(label, split, {name: path})
    assert competitors("training", {name: path})


def test_a_file_that_is_no_soundfont_has_no_presets(tmp_path: Path) -> None:
    for name, content in (("a", b""), ("b", b"RIFF"), ("c", b"RIFF0000sfbk" + b"LIST" * 9)):
        path = tmp_path / f"{name}.sf2"
        path.write_bytes(content)
        assert presets(path) == frozenset()
    assert presets(tmp_path / "missing.sf2") == frozenset()


def test_given_soundfonts_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.sf2").write_bytes(b"")
    monkeypatch.setenv("PLAYSPOT_SOUNDFONTS", str(tmp_path))
    assert next(iter(find_soundfonts())) == "mine"
