import numpy as np
import pytest

from playspot.engines.settings import Decoding, ModalityName, Mode
from playspot.stream.fusion import FLOOR, Geometry, ScoreMap, fuse, grid_shape, resample

LABELS = ("drum", "violin")


def maps(action: float, object_: float, sound: float) -> dict[ModalityName, ScoreMap | None]:
    return {
        "action": np.full((2, 3, 4), action, np.float32),
        "object": np.full((2, 3, 4), object_, np.float32),
        "sound": np.full(2, sound, np.float32),
    }


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("action", 0.2),
        ("action*object", (0.2 * 0.4) ** (1 / 2)),
        ("action*sound", (0.2 * 0.8) ** (1 / 2)),
        ("action*object*sound", (0.2 * 0.4 * 0.8) ** (1 / 3)),
    ],
)
def test_each_mode_is_the_geometric_mean_of_its_modalities(mode: Mode, expected: float) -> None:
    playing = fuse(maps(0.2, 0.4, 0.8), LABELS, Decoding(mode=mode))
    assert playing is not None
    np.testing.assert_allclose(playing, expected, rtol=1e-5)


def test_equal_weights_keep_the_order_of_the_papers_product(rng: np.random.Generator) -> None:
    a, o = rng.random((2, 2, 3, 4), np.float32)
    s = rng.random(2, np.float32)
    playing = fuse({"action": a, "object": o, "sound": s}, LABELS, Decoding())
    product = a * o * s[:, None, None]
    assert playing is not None
    assert (np.argsort(playing, axis=None) == np.argsort(product, axis=None)).all()


def test_a_missing_modality_leaves_the_scale_of_the_others() -> None:
    there = maps(0.5, 0.5, 0.5)
    without_sound = fuse({**there, "sound": None}, LABELS, Decoding())
    assert without_sound is not None
    np.testing.assert_allclose(without_sound, 0.5, rtol=1e-5)


def test_sound_alone_gives_a_map_of_one_cell() -> None:
    playing = fuse({"sound": np.array([0.1, 0.9], np.float32)}, LABELS, Decoding())
    assert playing is not None
    assert playing.shape == (2, 1, 1)


def test_nothing_gives_nothing() -> None:
    assert fuse({}, LABELS, Decoding()) is None


def test_weights_are_exponents_normalised_over_what_is_present() -> None:
    decoding = Decoding(weights={"action": 3.0, "object": 1.0, "sound": 1.0})
    playing = fuse({**maps(0.2, 0.4, 0.8), "sound": None}, LABELS, decoding)
    assert playing is not None
    np.testing.assert_allclose(playing, 0.2**0.75 * 0.4**0.25, rtol=1e-5)


def test_recalibration_moves_a_label_and_not_the_others() -> None:
    decoding = Decoding(slope={"drum": 2.0}, bias={"drum": 1.0})
    playing = fuse(maps(0.3, 0.3, 0.3), LABELS, decoding)
    assert playing is not None
    expected = 1 / (1 + np.exp(-(2 * np.log(0.3 / 0.7) + 1)))
    np.testing.assert_allclose(playing[0], expected, rtol=1e-4)
    np.testing.assert_allclose(playing[1], 0.3, rtol=1e-4)


def test_a_score_of_zero_is_no_more_than_the_floor() -> None:
    playing = fuse(maps(0.0, 1.0, 1.0), LABELS, Decoding())
    assert playing is not None
    np.testing.assert_allclose(playing, FLOOR ** (1 / 3), rtol=1e-4)


def test_cells_are_read_where_they_lie() -> None:
    """Our networks' cell i is centred on pixel 32 i: the peak of cell 3 lies at pixel 96."""
    scores = np.zeros((1, 5, 8), np.float32)
    scores[0, 2, 3] = 1
    out = resample(scores, Geometry(256, 144, stride=32, offset=0), grid_shape(256, 144))[0]
    row, column = np.unravel_index(out.argmax(), out.shape)
    assert abs((column + 0.5) * 8 - 96.5) <= 4
    assert abs((row + 0.5) * 8 - 64.5) <= 4


def test_resampling_a_constant_gives_the_constant() -> None:
    out = resample(np.full((3, 1, 1), 0.7, np.float32), Geometry(32, 32, 32, 0), (32, 32))
    np.testing.assert_allclose(out, 0.7, rtol=1e-6)


@pytest.mark.parametrize(
    ("size", "shape"), [((1840, 200), (3, 32)), ((1, 1), (32, 32)), ((10_000, 1), (1, 32))]
)
def test_the_grid_keeps_the_aspect(size: tuple[int, int], shape: tuple[int, int]) -> None:
    assert grid_shape(*size) == shape
