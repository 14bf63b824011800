"""Still pictures: a photograph as the networks see it."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..stream.one_line import reason_of
from ..stream.pictures import fit_size
from .clips import ClipError

MAX_BYTES = 200_000_000  # of a file


def read_still(path: Path, longer_side: int = 256, multiple: int = 1) -> NDArray[np.uint8]:
    """Return a picture from a file, upright and scaled.

    Parameters
    ----------
    path : Path
    longer_side, multiple : int
        Size of the picture, see `fit_size`.

    Returns
    -------
    picture : uint8, shape (H, W, 3)
        RGB.

    Raises
    ------
    ClipError
        If the file is no picture that can be read.

    Examples
    --------
    >>> read_still(Path("nowhere.jpg"))
    Traceback (most recent call last):
    ...
    playspot.training.clips.ClipError: nowhere.jpg: No such file or directory
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ClipError(f"{path.name}: larger than {MAX_BYTES} bytes")
        image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    except OSError as error:
        raise ClipError(f"{path.name}: {reason_of(error)}") from None
    except cv2.error:  # empty, or too large a picture
        image = None
    if image is None:
        raise ClipError(f"{path.name}: is no picture that can be read, or was cut off")
    size = fit_size(image.shape[1], image.shape[0], longer_side, multiple)
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(scaled[:, :, ::-1], np.uint8)
