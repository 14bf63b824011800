"""A media file repeated to any length: its packets are copied, nothing is decoded."""

from fractions import Fraction
from pathlib import Path

import av

from ..stream.demux import SourceError
from ..stream.sources import FileSource
from ..stream.timeline import n_steps


def repeat(path: Path, out: Path, seconds: float) -> None:
    """Write a file over and over into another until that has a length.

    Parameters
    ----------
    path : Path
        One video and one sound stream are taken, as `FileSource` chooses them.
    out : Path
        Of the same container format, so that it can hold the same packets.
    seconds : float
        At least so long.

    Raises
    ------
    SourceError
        If the file cannot be read, or has no packets with times.

    Examples
    --------
    >>> repeat(Path("scene.mp4"), Path("hour.mp4"), 3600)  # doctest: +SKIP
    """
    FileSource(path).close()  # says in one line what is wrong with a file
    length = _length(path)
    with av.open(str(out), "w") as target:
        streams = None
        for turn in range(max(1, -int(-Fraction(seconds) // length))):
            with av.open(str(path)) as source:
                chosen = [*source.streams.video[:1], *source.streams.audio[:1]]
                if streams is None:
                    streams = {s.index: target.add_stream_from_template(s) for s in chosen}
                for packet in source.demux(chosen):
                    if packet.dts is None or packet.pts is None:
                        continue  # the last, empty one
                    shift = round(turn * length / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = streams[packet.stream.index]
                    target.mux(packet)


def _length(path: Path) -> Fraction:
    """Return the time from the start of a file's first packet to the end of its last, s."""
    start = end = None
    with av.open(str(path)) as source:
        for packet in source.demux([*source.streams.video[:1], *source.streams.audio[:1]]):
            if packet.pts is None:
                continue
            first = packet.pts * packet.time_base
            last = first + (packet.duration or 0) * packet.time_base
            start = first if start is None else min(start, first)
            end = last if end is None else max(end, last)
    if start is None or end is None or end <= start:
        raise SourceError(f"{path}: no packets with times; convert it to MP4")
    return end - start


def steps_in(path: Path) -> int:
    """Return how many steps a file has by what its container says; 0 if it does not say.

    Raises
    ------
    SourceError
        If the file cannot be read.
    """
    with FileSource(path) as source:
        return n_steps(source.info.duration or 0.0)
