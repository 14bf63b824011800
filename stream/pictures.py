"""Picture sizes: what a source scales its pictures and grey frames to; and pictures as JPEG.

Sizes are (width, height) in pixels, in that order as in a container's header; arrays are (H, W).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

JPEG_QUALITY = 80  # of 100; for people to look at


def fit_size(width: int, height: int, longer_side: int, multiple: int = 1) -> tuple[int, int]:
    """Return the size of a picture scaled, aspect kept, to a given longer side.

    Parameters
    ----------
    width, height : int
        Of the picture as it is, in pixels; at least 1.
    longer_side : int
        Wanted length of the longer side, in pixels; at least 1. Smaller pictures are enlarged.
    multiple : int
        1: the longer side comes out exact and the other is truncated, as in the paper's data.
        Above 1: both sides go to the nearest multiple of it (halves go up), for networks that
        need such sizes.

    Returns
    -------
    width, height : int
        In pixels, each at least `multiple`.

    Raises
    ------
    ValueError
        If an argument is below 1.

    Notes
    -----
    The paper says "the longer side is 256"; that the other is truncated is seen in the sizes of
    its published annotations. Source: Liu, Yang and Jeng 2018, section IV-C1.

    Examples
    --------
    >>> fit_size(1920, 1080, 256)
    (256, 144)
    >>> fit_size(404, 720, 256)
    (143, 256)
    >>> fit_size(404, 720, 448, multiple=32)
    (256, 448)
    """
    for name, value in (
        ("width", width),
        ("height", height),
        ("longer_side", longer_side),
        ("multiple", multiple),
    ):
        if value < 1:
            raise ValueError(f"{name} is {value}; give at least 1.")
    longest = max(width, height)
    if multiple == 1:  # whole numbers throughout: a float may fall just short of an exact side
        return max(1, width * longer_side // longest), max(1, height * longer_side // longest)
    return (
        _nearest_multiple(width * longer_side, longest, multiple),
        _nearest_multiple(height * longer_side, longest, multiple),
    )


def encode_jpeg(image: NDArray[np.uint8], quality: int = JPEG_QUALITY) -> bytes:
    """Return a picture as JPEG.

    Parameters
    ----------
    image : uint8, shape (H, W, 3)
        Blue, green, red, as OpenCV has them.
    quality : int
        0 to 100.

    Examples
    --------
    >>> encode_jpeg(np.zeros((8, 8, 3), np.uint8))[:2].hex()
    'ffd8'
    """
    _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return jpeg.tobytes()


def _nearest_multiple(numerator: int, denominator: int, multiple: int) -> int:
    count = (2 * numerator + denominator * multiple) // (2 * denominator * multiple)
    return max(1, count) * multiple
