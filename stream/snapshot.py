"""The picture of a moment with what was played there drawn into it: box, point and tag.

In: a JPEG and an event. Out: another JPEG, drawn as `overlay.py` draws videos.
"""

import cv2
import numpy as np

from .drawing import Canvas, YuvCoding, colour_of
from .events import Event
from .pictures import encode_jpeg, fit_size

QUALITY = 88  # of 100: letters and lines show the blocks of JPEG more than pictures do


def draw_snapshot(jpeg: bytes, event: Event, side: int) -> bytes:
    """Return a picture with an event drawn into it, as JPEG.

    Parameters
    ----------
    jpeg : bytes
    event : Event
    side : int
        Longer side at most, px.

    Raises
    ------
    ValueError
        If this is no picture.
    """
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("a preview is no picture")
    height, width = image.shape[:2]
    if max(width, height) > side:
        width, height = fit_size(width, height, side)
    width, height = max(2, width - width % 2), max(2, height - height % 2)  # as YUV 4:2:0 wants it
    if image.shape[:2] != (height, width):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    yuv = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), np.uint8).reshape(-1)
    n, quarter = width * height, width * height // 4
    y = yuv[:n].reshape(height, width)
    u = yuv[n : n + quarter].reshape(height // 2, width // 2)
    v = yuv[n + quarter :].reshape(height // 2, width // 2)
    _draw(Canvas(y, u, v, YuvCoding()), event)
    drawn = cv2.cvtColor(yuv.reshape(height * 3 // 2, width), cv2.COLOR_YUV2BGR_I420)
    return encode_jpeg(np.asarray(drawn, np.uint8), QUALITY)


def _draw(canvas: Canvas, event: Event) -> None:
    label, colour = event.label, colour_of(event.label)
    if event.box is not None:
        canvas.box(event.box, colour)
    if event.point is not None:
        canvas.point(event.point, colour)
    text = f"{label} {event.score:.2f}"
    canvas.tags([(text, label, colour, event.box, event.point)], canvas.height)
