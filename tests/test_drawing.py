"""Drawing on the planes of a frame: readable at every size, and nowhere else than asked for."""

import itertools
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from playspot.models.labels import LABELS
from playspot.stream.drawing import (
    PALETTE,
    Canvas,
    YuvCoding,
    colour_of,
    make_patch,
    tag_patch,
    text_colour,
)

CODING = YuvCoding()
Tag = tuple[str, str, tuple[int, int, int], Any, Any]


class Sheet:
    """A grey frame with its canvas."""

    def __init__(self, width: int, height: int) -> None:
        half = (-(-height // 2), -(-width // 2))
        self.y = np.full((height, width), 128, np.uint8)
        self.u, self.v = np.full(half, 128, np.uint8), np.full(half, 128, np.uint8)
        self.canvas = Canvas(self.y, self.u, self.v, CODING)

    @property
    def touched(self) -> NDArray[np.bool_]:
        chroma = (self.u != 128) | (self.v != 128)
        full = chroma.repeat(2, axis=0).repeat(2, axis=1)[: self.y.shape[0], : self.y.shape[1]]
        return np.asarray((self.y != 128) | full)


def tag(label: str, box: Any = None, point: Any = None) -> Tag:
    return (f"{label} 0.87", label, colour_of(label), box, point)


def test_every_label_has_a_colour_of_its_own() -> None:
    assert tuple(PALETTE) == LABELS
    lab = cv2.cvtColor(np.array([list(PALETTE.values())], np.float32) / 255, cv2.COLOR_RGB2Lab)[0]
    distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(lab, 2)]
    assert min(distances) > 40
    assert (lab[:, 0] >= 48).all()
    assert (lab[:, 0] <= 88).all()


@pytest.mark.parametrize("label", LABELS)
def test_text_on_a_tag_has_contrast(label: str) -> None:
    def luminance(rgb: tuple[int, int, int]) -> float:
        return float(np.dot((np.array(rgb) / 255) ** 2.2, [0.2126, 0.7152, 0.0722]))

    background = colour_of(label)
    low, high = sorted([luminance(background), luminance(text_colour(background))])
    assert (high + 0.05) / (low + 0.05) > 4  # WCAG 2.1 asks for 3 for large bold text


@pytest.mark.parametrize(
    "coding", [CODING, YuvCoding(0.2126, 0.0722), YuvCoding(is_full_range=True)]
)
def test_grey_has_no_chroma(coding: YuvCoding) -> None:
    for level in (0, 100, 255):
        assert coding.colour((level, level, level))[1:] == (128, 128)


def test_colours_agree_with_opencv() -> None:
    image = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    expected = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]].astype(int)
    assert np.abs(YuvCoding(is_full_range=True).encode(image) - expected).max() <= 1


@pytest.mark.parametrize("size", [(426, 240), (240, 426), (1920, 1080), (1840, 200), (97, 63)])
def test_a_tag_stays_inside_the_picture(size: tuple[int, int]) -> None:
    sheet = Sheet(*size)
    for place in itertools.product((0.0, 0.5, 1.0), repeat=2):
        sheet.canvas.tags([tag("saxophone", point=place)], size[1])
    sheet.canvas.tags([tag("drum", box=(0.0, 0.0, 1.0, 1.0))], size[1])
    assert sheet.touched.any()


def test_letters_have_a_least_size() -> None:
    assert [Sheet(426, 240).canvas.letters, Sheet(1920, 1080).canvas.letters] == [12, 36]


def test_text_is_readable_at_240p_and_at_1080p() -> None:
    for size in (12, 36):
        patch = tag_patch("violin 0.87", (255, 255, 255), size, CODING)
        letters = patch.added[0] < 80
        rows = np.flatnonzero(letters[3:-3, 4:-4].any(axis=1))
        assert len(rows) >= 0.6 * size
        assert 0.08 < letters.mean() < 0.5


def test_tags_do_not_cover_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = []
    monkeypatch.setattr(Canvas, "paste", lambda _, tag, x, y: rows.append((y, y + tag.height)))
    labels = ("violin", "cello", "piano", "drum")
    Sheet(426, 240).canvas.tags([tag(label, box=(0.4, 0.4, 0.5, 0.5)) for label in labels], 240)
    assert len(rows) == 4
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(sorted(rows)))


def test_players_without_a_place_have_their_tags_in_a_row() -> None:
    sheet = Sheet(640, 360)
    sheet.canvas.tags([tag("violin"), tag("drum")], 340)
    rows, columns = np.nonzero(sheet.touched)
    assert rows.min() > 300
    assert rows.max() < 340
    assert columns.max() > 120  # next to each other, not one over the other


def test_a_picture_too_small_for_a_tag_gets_none() -> None:
    sheet = Sheet(24, 16)
    sheet.canvas.tags([tag("saxophone", point=(0.5, 0.5))], 16)
    assert not sheet.touched.any()


def test_heat_is_where_the_map_is_near_its_peak() -> None:
    sheet = Sheet(320, 180)
    scores = np.full((18, 32), 0.2, np.float32)
    scores[4:7, 20:24] = 0.8
    sheet.canvas.heat(scores, colour_of("violin"))
    rows, columns = np.nonzero(sheet.touched)
    assert 28 <= rows.min() <= 44
    assert 66 <= rows.max() <= 82
    assert 188 <= columns.min() <= 204
    assert 236 <= columns.max() <= 252


def test_an_empty_map_gives_no_heat() -> None:
    sheet = Sheet(64, 48)
    sheet.canvas.heat(np.zeros((6, 8), np.float32), colour_of("violin"))
    assert not sheet.touched.any()


def test_heat_lets_the_picture_through() -> None:
    sheet = Sheet(64, 48)
    sheet.y[::2] = 200
    sheet.canvas.heat(np.ones((6, 8), np.float32), colour_of("violin"))
    assert (sheet.y[::2].astype(int) - sheet.y[1::2] > 20).all()


def test_a_box_at_the_edge_is_seen_whole() -> None:
    sheet = Sheet(320, 240)
    sheet.canvas.box((-0.5, 0.0, 1.0, 2.0), colour_of("piano"))
    for edge in (sheet.touched[0], sheet.touched[-1], sheet.touched[:, 0], sheet.touched[:, -1]):
        assert edge.all()
    assert not sheet.touched[20:220, 20:300].any()


def test_a_point_is_a_spot_at_its_place() -> None:
    sheet = Sheet(320, 240)
    sheet.canvas.point((0.25, 0.75), colour_of("piano"))
    rows, columns = np.nonzero(sheet.touched)
    assert (rows.min() + rows.max()) / 2 == pytest.approx(180, abs=1.5)
    assert (columns.min() + columns.max()) / 2 == pytest.approx(80, abs=1.5)
    assert rows.max() - rows.min() < 16


def test_a_patch_is_cut_off_at_the_edges() -> None:
    sheet = Sheet(33, 21)
    patch = make_patch(np.zeros((10, 10, 3), np.uint8), np.full((10, 10), 255, np.uint8), CODING)
    for x, y in ((-5, -5), (28, 16), (40, 4), (4, 40), (-20, -20)):
        sheet.canvas.paste(patch, x, y)
    assert sheet.y[0, 0] == sheet.y[19, 31] == 16
    assert sheet.y[10, 16] == 128
