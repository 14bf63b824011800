"""Decoded frames of any format -> planes to draw on and to encode.

In: PyAV video frames. Out: copies of them in YUV 4:2:0, turned as the display matrix says, of an
even width and height. A frame that has this format already is copied as it is.
"""

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace

from .demux import SourceError
from .drawing import Canvas, Plane, YuvCoding
from .one_line import reason_of
from .upright import orientation


class Planes:
    """Decoded frames as planes to draw on: upright, YUV 4:2:0, of one even size.

    Parameters
    ----------
    first : VideoFrame
        Its size, colours and display matrix hold for all.
    shown : str
        Name of the file for messages.

    Attributes
    ----------
    width, height : int
        Of the frames that come out; even.
    is_swapped : bool
        Whether rows and columns change places.
    coding : YuvCoding
    color_range, colorspace, color_primaries, color_trc : int
        As the encoder wants them.
    """

    def __init__(self, first: VideoFrame, shown: str) -> None:
        self._shown = shown
        self._stored = (first.width, first.height)
        self.is_swapped, self._flips = orientation(first)
        self._size = self._stored[::-1] if self.is_swapped else self._stored
        self.width, self.height = (n + n % 2 for n in self._size)
        is_full = first.color_range == ColorRange.JPEG or first.format.name.startswith("yuvj")
        self._is_rgb = first.format.is_rgb
        if self._is_rgb:
            is_full = False
        self.color_range = int(ColorRange.JPEG if is_full else ColorRange.MPEG)
        self.colorspace = int(Colorspace.ITU601 if self._is_rgb else first.colorspace)
        self.color_primaries, self.color_trc = first.color_primaries, first.color_trc
        # Where a file does not say, players take HD for BT.709.
        is_709 = self.colorspace == Colorspace.ITU709 or (
            self.colorspace == Colorspace.DEFAULT and max(self._size) >= 1280
        )
        weights = (0.2126, 0.0722) if is_709 else (0.299, 0.114)
        self.coding = YuvCoding(*weights, is_full)

    def copy(self, frame: VideoFrame) -> tuple[VideoFrame, Canvas]:
        """Return a copy of a frame for the encoder, and the canvas that draws on it."""
        stored = self._planes_of(self._converted(frame))
        copy = VideoFrame(self.width, self.height, "yuv420p")
        copy.color_range, copy.colorspace = self.color_range, self.colorspace
        copy.color_primaries, copy.color_trc = self.color_primaries, self.color_trc
        planes = self._planes_of(copy)
        for target, plane in zip(planes, stored, strict=True):
            upright = plane.swapaxes(0, 1) if self.is_swapped else plane
            upright = np.flip(upright, self._flips)
            height, width = upright.shape
            target[:height, :width] = upright
            target[height:, :width] = target[height - 1 : height, :width]
            target[:, width:] = target[:, width - 1 : width]
        width, height = self._size
        return copy, Canvas(planes[0][:height, :width], planes[1], planes[2], self.coding)

    def _converted(self, frame: VideoFrame) -> VideoFrame:
        size = (frame.width, frame.height)
        if frame.format.name in ("yuv420p", "yuvj420p") and size == self._stored:
            return frame
        colours = Colorspace.ITU601 if self._is_rgb else None
        try:
            return frame.reformat(
                *self._stored,
                "yuv420p",
                dst_colorspace=colours,
                dst_color_range=self.color_range,
            )
        except (OSError, ValueError) as error:
            raise SourceError(
                f"{self._shown}: pictures of format {frame.format.name} cannot be drawn on "
                f"({reason_of(error)}); convert the file to yuv420p."
            ) from None

    @staticmethod
    def _planes_of(frame: VideoFrame) -> list[Plane]:
        planes = []
        for plane in frame.planes:
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            planes.append(rows[: plane.height, : plane.width])
        return planes
