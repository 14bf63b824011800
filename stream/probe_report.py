"""What was found out of a source -> JSON, or a table and a small picture on a terminal."""

import json
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from .demux import SourceError
from .media import Frame
from .probe import Probe, StreamReport

PICTURE_COLUMNS = 48  # of the terminal


def print_probe(found: Probe, *, as_json: bool = False, console: Console | None = None) -> None:
    """Print what was found out; with a picture if that goes to a terminal."""
    if as_json:
        print(json.dumps(found.to_json()))
        return
    console = console or Console(highlight=False)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("source", Text(found.source))
    length = f"{found.duration:.1f} s" if found.duration is not None else "unknown length"
    table.add_row("format", f"{found.format}, {'live' if found.is_live else length}")
    for stream in found.streams:
        table.add_row(stream.kind, stream_line(stream))
    if found.av_offset is not None:
        side = "after" if found.av_offset >= 0 else "before"
        table.add_row("sound", f"begins {abs(1000 * found.av_offset):.0f} ms {side} the picture")
    if found.seconds_to_picture is not None:
        table.add_row("picture", f"after {found.seconds_to_picture:.2f} s")
    table.add_row("clock", found.clock)
    console.print(table)
    if found.thumbnail is not None and console.is_terminal:
        console.print(half_blocks(found.thumbnail, min(PICTURE_COLUMNS, console.width)))


def stream_line(stream: StreamReport) -> str:
    """Return a stream on one line.

    Examples
    --------
    >>> stream_line(StreamReport("audio", "aac", rate=48000, channels=2, first_time=1.4))
    'aac, 48000 Hz, 2 channels, from 1.400 s'
    """
    parts = [stream.codec]
    if stream.width and stream.height:
        parts.append(f"{stream.width}x{stream.height}")
    if stream.pixel_aspect not in (None, "1:1"):
        parts.append(f"pixels {stream.pixel_aspect}")
    if stream.is_turned:
        parts.append("turned")
    if stream.rate:
        unit = "Hz" if stream.kind == "audio" else "frames/s"
        parts.append(f"{stream.rate:.6g} {unit}")
    if stream.channels:
        parts.append(f"{stream.channels} channel{'s' * (stream.channels > 1)}")
    if stream.bit_rate:
        parts.append(f"{stream.bit_rate / 1000:.0f} kbit/s")
    if stream.first_time is not None:
        parts.append(f"from {stream.first_time:.3f} s")
    return ", ".join(parts)


def half_blocks(image: Frame, columns: int) -> Text:
    """Return a picture as text: each character shows two pixels, one above the other.

    Parameters
    ----------
    image : uint8, shape (H, W, 3)
        RGB.
    columns : int
        Characters in a line.

    Examples
    --------
    >>> half_blocks(np.zeros((4, 8, 3), np.uint8), 4).plain
    '▀▀▀▀'
    """
    height = max(2, round(columns * image.shape[0] / image.shape[1] / 2) * 2)
    small = cv2.resize(image, (columns, height), interpolation=cv2.INTER_AREA)
    text = Text()
    for row in range(0, height, 2):
        if row:
            text.append("\n")
        for upper, lower in zip(small[row], small[row + 1], strict=True):
            text.append("▀", Style(color=_hex(upper), bgcolor=_hex(lower)))
    return text


def _hex(pixel: Frame) -> str:
    red, green, blue = (int(value) for value in pixel)
    return f"#{red:02x}{green:02x}{blue:02x}"


def write_thumbnail(found: Probe, path: Path) -> None:
    """Write the first picture as PNG.

    Raises
    ------
    SourceError
        If there is no picture.
    OSError
        If it cannot be written.
    """
    if found.thumbnail is None:
        raise SourceError(f"{found.source}: has no picture for {path}; leave out --thumbnail.")
    _, data = cv2.imencode(".png", np.ascontiguousarray(found.thumbnail[:, :, ::-1]))
    path.write_bytes(data.tobytes())
