"""The timeline picture: right places, any length, no state left behind."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from playspot.models.labels import LABELS
from playspot.stream.drawing import colour_of
from playspot.stream.events import Step
from playspot.stream.jsonl import OutputError
from playspot.stream.played import Played
from playspot.stream.plot import columns, save_timeline
from playspot.stream.timeline import step_time

MakePlayed = Callable[..., Played]
BOX = (0.25, 0.25, 0.75, 0.75)


def picture(path: Path) -> NDArray[np.uint8]:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB), np.uint8)


def places(image: NDArray[np.uint8], label: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows and columns of the pixels of a label's colour."""
    rows, found = np.nonzero(np.abs(image.astype(int) - colour_of(label)).max(axis=2) < 6)
    return rows, found


def test_a_part_is_a_bar_from_its_start_to_its_end(make_played: MakePlayed, tmp_path: Path) -> None:
    played = make_played(10.0, ("violin", 5, 9, None, None, 0.75), ("drum", 0, 19, None, None, 0.5))
    path = save_timeline(tmp_path / "a.png", played, title="a.mp4")
    image = picture(path)
    left, right = (f(places(image, "drum")[1]) for f in (np.min, np.max))  # the whole length
    part = next(part for part in played.parts if part.label == "violin")
    _, found = places(image, "violin")
    scale = (right - left) / 10.0
    assert found.min() == pytest.approx(left + part.start * scale, abs=4)
    assert found.max() == pytest.approx(left + part.end * scale, abs=4)


def test_labels_stand_in_their_order(make_played: MakePlayed, tmp_path: Path) -> None:
    played = make_played(5.0, *((label, 2, 6, None, None, 0.75) for label in LABELS))
    image = picture(save_timeline(tmp_path / "a.png", played))
    middles = [places(image, label)[0].mean() for label in LABELS]
    assert middles == sorted(middles)


def test_players_of_one_instrument_lie_side_by_side(
    make_played: MakePlayed, tmp_path: Path
) -> None:
    alone = make_played(5.0, ("violin", 1, 6, None, None, 0.75))
    both = make_played(5.0, ("violin", 1, 6, None, None, 0.75), ("violin", 3, 8, None, None, 0.75))
    heights = []
    for played in (alone, both):
        image = picture(save_timeline(tmp_path / "a.png", played))
        rows, found = places(image, "violin")
        column = rows[found == found.min() + 12]
        heights.append(len(column))
    assert heights[1] < 0.6 * heights[0]


@pytest.mark.parametrize("n_steps", [0, 1, 2, 7032])
def test_any_number_of_steps_gives_a_picture(tmp_path: Path, n_steps: int) -> None:
    played = Played(LABELS)
    for step in range(n_steps):
        scores = dict.fromkeys(LABELS, step % 7 / 7)
        played.add(Step(step=step, time=step_time(step), scores=scores, points={}))
    image = picture(save_timeline(tmp_path / "a.png", played, title="a.mp4"))
    assert image.shape[1] == 1440
    assert 400 < image.shape[0] < 900


def test_a_single_high_score_in_an_hour_is_seen(tmp_path: Path) -> None:
    images = []
    for top in (0.0, 1.0):
        played = Played(("drum",))
        for step in range(7032):
            scores = {"drum": top if step == 3517 else 0.0}
            played.add(Step(step=step, time=step_time(step), scores=scores, points={}))
        images.append(picture(save_timeline(tmp_path / f"{top}.png", played)))
    assert (images[0] != images[1]).any()


def test_columns_hold_the_maximum_of_their_steps(rng: np.random.Generator) -> None:
    scores = rng.random((1001, 3)).astype(np.float32)
    shorter = columns(scores, 100)
    assert len(shorter) <= 100
    np.testing.assert_array_equal(shorter.max(axis=0), scores.max(axis=0))
    np.testing.assert_array_equal(shorter[0], scores[:11].max(axis=0))


@pytest.mark.parametrize("title", ["$x_1$ {a} \\frac", "a\nb\x1b[31m", "Flöte 笛 🎻", "x" * 300])
def test_any_name_can_be_the_title(make_played: MakePlayed, tmp_path: Path, title: str) -> None:
    assert save_timeline(tmp_path / "a.png", make_played(2.0), title=title).exists()


def test_an_unwritable_place_is_named_and_nothing_is_left(
    make_played: MakePlayed, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match=r"missing.*cannot be written"):
        save_timeline(tmp_path / "missing" / "a.png", make_played(2.0))
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match=r"folder\.png"):
        save_timeline(tmp_path / "folder.png", make_played(2.0))
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_matplotlib_is_imported_only_by_who_saves_and_pyplot_by_nobody(tmp_path: Path) -> None:
    code = (
        "import sys; from playspot.stream.plot import save_timeline; "
        "from playspot.stream.played import Played; from pathlib import Path; "
        "assert 'matplotlib' not in sys.modules; "
        f"save_timeline(Path({str(tmp_path / 'a.png')!r}), Played(['drum'])); "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
