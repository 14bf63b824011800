"""Decoded video frames -> small upright pictures: RGB for the object model, grey for flow.

In: PyAV video frames of any pixel format. Out: uint8 arrays, turned as the display matrix says,
with square pixels. Scaling, colour and range go through one pass of FFmpeg's scaler.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import cast

import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from .media import Frame, Grey
from .pictures import encode_jpeg, fit_size
from .timeline import FLOW_SIDE

# Not `frame.side_data`: that keeps what it returns, which keeps the frame, and each picture would
# stay in memory until the garbage collector comes by.
_side_data = cast(Callable[[VideoFrame], Mapping[Type, bytes]], SideDataContainer)

MAX_PIXEL_ASPECT = 10  # more than that is an error in the file

# Without these the scaler halves the colour resolution of its output and rounds down: on noise
# the mean error against OpenCV's INTER_AREA is 8.3 levels, with them 0.6, for 0.3 ms a picture.
EXACT = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


class Upright:
    """The pictures of a video, all of the size that its first frame sets.

    Parameters
    ----------
    frame : VideoFrame
        The first one; its size and display matrix hold for all.
    pixel_aspect : Fraction or None
        Width of a pixel by its height.
    picture_side, picture_multiple : int
        Of the RGB pictures, see `fit_size`.

    Attributes
    ----------
    width, height : int
        Of the video in its own pixels, after turning.
    """

    def __init__(
        self,
        frame: VideoFrame,
        pixel_aspect: Fraction | None,
        picture_side: int,
        picture_multiple: int,
    ) -> None:
        self._is_swapped, self._flips = orientation(frame)
        size = (frame.width, frame.height)
        self.width, self.height = size[::-1] if self._is_swapped else size
        ratio = _ratio(*size, pixel_aspect)
        shown = ratio[::-1] if self._is_swapped else ratio
        self._shown = shown
        self._preview: tuple[int, _Scaler] | None = None  # made when one is wanted
        self._grey = self._scaler("gray", fit_size(*shown, FLOW_SIDE))
        self._picture = self._scaler("rgb24", fit_size(*shown, picture_side, picture_multiple))

    def grey(self, frame: VideoFrame) -> Grey:
        """Return the grey image, uint8 (H, W), longer side 256."""
        return self._turn(self._grey(frame))

    def picture(self, frame: VideoFrame) -> Frame:
        """Return the picture, uint8 RGB (H, W, 3)."""
        return self._turn(self._picture(frame))

    def preview(self, frame: VideoFrame, side: int) -> bytes | None:
        """Return the picture as JPEG, its longer side at most `side`; None if `side` is 0.

        It is never larger than the video.
        """
        if not side:
            return None
        if self._preview is None or self._preview[0] != side:
            size = fit_size(*self._shown, min(side, max(self.width, self.height)))
            self._preview = side, self._scaler("bgr24", size)
        return encode_jpeg(self._turn(self._preview[1](frame)))

    def _scaler(self, pixels: str, shown: tuple[int, int]) -> "_Scaler":
        return _Scaler(pixels, shown[::-1] if self._is_swapped else shown)

    def _turn(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._is_swapped:
            image = image.swapaxes(0, 1)
        return np.ascontiguousarray(np.flip(image, self._flips))


class _Scaler:
    def __init__(self, pixels: str, size: tuple[int, int]) -> None:
        self._pixels = pixels
        self._width, self._height = size
        self._reformatter = VideoReformatter()  # keeps its tables from frame to frame

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        try:
            image = self._scaled(frame, None)
        except OSError:  # colours that the scaler does not know (YCgCo, reserved codes)
            image = self._scaled(frame, Colorspace.ITU601)
        return image.to_ndarray().astype(np.uint8, copy=False)

    def _scaled(self, frame: VideoFrame, colours: Colorspace | None) -> VideoFrame:
        is_smaller = frame.width >= self._width and frame.height >= self._height
        return self._reformatter.reformat(
            frame,
            self._width,
            self._height,
            self._pixels,
            src_colorspace=colours,
            dst_colorspace=colours,
            interpolation=(Interpolation.AREA if is_smaller else Interpolation.BILINEAR) | EXACT,
            threads=1,
        )


def orientation(frame: VideoFrame) -> tuple[bool, tuple[int, ...]]:
    """Return whether rows and columns change places, and which axes are flipped after that."""
    matrix = _side_data(frame).get(Type.DISPLAYMATRIX)
    if matrix is None:
        return False, ()
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    # A stored point (x, y) is shown at (a x + c y, b x + d y).
    is_swapped = abs(b) + abs(c) > abs(a) + abs(d)
    right, down = (c, b) if is_swapped else (a, d)
    return is_swapped, (0,) * (down < 0) + (1,) * (right < 0)


def _ratio(width: int, height: int, pixel_aspect: Fraction | None) -> tuple[int, int]:
    if not pixel_aspect or not 1 / MAX_PIXEL_ASPECT <= pixel_aspect <= MAX_PIXEL_ASPECT:
        return width, height
    # Only the ratio counts, and these are whole numbers.
    return width * pixel_aspect.numerator, height * pixel_aspect.denominator
