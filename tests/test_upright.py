"""Pictures come out upright, at the right size and in the right colours."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from playspot.stream.upright import Upright

MakeClip = Callable[..., Path]
Read = Callable[..., Any]


def corner(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """Return a grey picture, its upper left quarter white, its lower left red."""
    image = np.full((height, width, 3), 128, np.uint8)
    image[: height // 2, : width // 2] = 235
    image[height // 2 :, : width // 2] = (200, 30, 30)
    return image


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_pictures_are_upright(read: Read, make_clip: MakeClip, name: str, rotation: int) -> None:
    reading = read(make_clip(name, rotation=rotation, image=corner, duration=0.2))
    upright = np.rot90(corner(0, 80, 60), rotation // 90)
    height, width = upright.shape[:2]
    info = reading.source.info
    assert (info.width, info.height) == (width, height)
    picture = reading.pictures[0]
    assert picture.shape == (
        256 * height // max(height, width),
        256 * width // max(height, width),
        3,
    )
    rows = np.array([1, 3]) * picture.shape[0] // 4
    columns = np.array([1, 3]) * picture.shape[1] // 4
    for row, y in zip(rows, (height // 4, 3 * height // 4), strict=True):
        for column, x in zip(columns, (width // 4, 3 * width // 4), strict=True):
            np.testing.assert_allclose(picture[row, column], upright[y, x], atol=8)
            assert reading.greys[0][row, column] == pytest.approx(
                upright[y, x] @ np.array([0.299, 0.587, 0.114]), abs=8
            )


def test_pixels_that_are_not_square_are_stretched(read: Read, make_clip: MakeClip) -> None:
    reading = read(make_clip(pixel_aspect=Fraction(4, 3), duration=0.2))  # 80 x 60 shown as 16:9
    assert reading.greys[0].shape == (144, 256)
    assert reading.pictures[0].shape == (144, 256, 3)
    assert (reading.source.info.width, reading.source.info.height) == (80, 60)


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((1, 1), (256, 256)),
        ((2, 2), (256, 256)),
        ((81, 61), (192, 256)),
        ((1840, 200), (27, 256)),
        ((16, 2000), (256, 2)),
        ((256, 144), (144, 256)),
    ],
)
def test_any_size_comes_out_with_256_on_the_longer_side(
    read: Read, make_clip: MakeClip, size: tuple[int, int], shape: tuple[int, int]
) -> None:
    def image(index: int, width: int, height: int) -> NDArray[np.uint8]:
        return np.full((height, width, 3), (200, 100, 50), np.uint8)

    path = make_clip(
        "clip.mkv", size=size, image=image, duration=0.2, video_codec="libx264",
        pixel_format="yuv444p",
    )  # fmt: skip
    reading = read(path)
    assert reading.greys[0].shape == shape
    assert reading.pictures[0].shape == (*shape, 3)
    np.testing.assert_allclose(reading.pictures[0][0, 0], (200, 100, 50), atol=4)
    assert (reading.source.info.width, reading.source.info.height) == size


def test_pictures_have_the_size_that_the_model_asks_for(read: Read, make_clip: MakeClip) -> None:
    reading = read(make_clip(duration=0.2), picture_side=448, picture_multiple=32)
    assert reading.pictures[0].shape == (352, 448, 3)  # 336 is half-way: up
    assert reading.greys[0].shape == (192, 256)


def test_a_change_of_size_on_the_way_keeps_the_first(
    read: Read, tmp_path: Path, media: ModuleType
) -> None:
    options = {"video_codec": "mpeg2video", "sample_rate": None, "duration": 1.0}
    one = media.make_clip(tmp_path / "one.ts", size=(64, 48), **options)
    two = media.make_clip(tmp_path / "two.ts", size=(96, 48), start=1.0, **options)
    (tmp_path / "both.ts").write_bytes(one.read_bytes() + two.read_bytes())
    reading = read(tmp_path / "both.ts")
    assert {image.shape for image in reading.greys.values()} == {(192, 256)}
    assert {image.shape for image in reading.pictures.values()} == {(192, 256, 3)}
    assert reading.numbers[7] == 22
    assert reading.numbers[12] == pytest.approx(13, abs=1)  # 1.536 s: of the second part


@pytest.mark.parametrize(
    ("codec", "pixels"),
    [
        ("mpeg4", "yuv420p"),  # limited range
        ("mjpeg", "yuvj420p"),  # full range
        ("ffv1", "gray"),
        ("ffv1", "bgr0"),
        ("ffv1", "yuv420p10le"),
        ("ffv1", "yuva444p"),
    ],
)
def test_a_ramp_stays_a_ramp_in_every_pixel_format(
    read: Read, make_clip: MakeClip, codec: str, pixels: str
) -> None:
    def image(index: int, width: int, height: int) -> NDArray[np.uint8]:
        ramp = np.linspace(0, 255, width)
        return np.broadcast_to(ramp[None, :, None], (height, width, 3)).astype(np.uint8)

    options: dict[str, Any] = {"video_codec": codec, "pixel_format": pixels, "duration": 0.2}
    reading = read(make_clip("clip.mkv", size=(256, 144), image=image, **options))
    ramp = np.linspace(0, 255, 256)
    np.testing.assert_allclose(reading.greys[0][72], ramp, atol=6)
    np.testing.assert_allclose(reading.pictures[0][72, :, 1], ramp, atol=6)


# The class by itself


def noise_frame(rng: np.random.Generator, size: tuple[int, int]) -> tuple[Any, NDArray[np.uint8]]:
    width, height = size
    noise = rng.integers(0, 256, (height, width, 3)).astype(np.float32)
    image = cv2.GaussianBlur(noise, (0, 0), 3)
    image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)  # type: ignore[call-overload]
    return av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="yuv420p"), image


@pytest.mark.parametrize("size", [(1920, 1080), (640, 360), (1280, 720)])
def test_pictures_equal_the_area_mean(rng: np.random.Generator, size: tuple[int, int]) -> None:
    frame, image = noise_frame(rng, size)
    expected = cv2.resize(image, (256, 144), interpolation=cv2.INTER_AREA).astype(float)
    upright = Upright(frame, None, 256, 1)
    error = upright.picture(frame) - expected
    # Colour is stored at half the resolution, and rounded twice.
    assert np.abs(error).mean() < 1.5
    assert abs(error.mean()) < 0.2
    grey_error = upright.grey(frame) - expected @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey_error).mean() < 0.5


def test_unknown_colour_codes_are_taken_for_the_usual(rng: np.random.Generator) -> None:
    frame, _ = noise_frame(rng, (320, 180))
    plain = Upright(frame, None, 256, 1).picture(frame)
    for code in (3, 8, 10, 14):  # reserved, YCgCo, constant luminance, ICtCp
        frame.colorspace = code
        np.testing.assert_array_equal(Upright(frame, None, 256, 1).picture(frame), plain)


def test_a_picture_may_be_enlarged_in_one_direction_only(rng: np.random.Generator) -> None:
    frame, _ = noise_frame(rng, (300, 20))
    upright = Upright(frame, Fraction(1, 4), 256, 1)  # shown as 75 x 20
    assert upright.picture(frame).shape == (68, 256, 3)


@pytest.mark.parametrize("aspect", [None, Fraction(0), Fraction(1, 1000), Fraction(5000, 1)])
def test_absurd_pixel_aspects_are_ignored(
    rng: np.random.Generator, aspect: Fraction | None
) -> None:
    frame, _ = noise_frame(rng, (320, 180))
    assert Upright(frame, aspect, 256, 1).grey(frame).shape == (144, 256)
