"""The videos of an archive: where they are, how long they are, and pictures of some moments.

In: the file of events, or a video and media times. Out: paths, and small JPEG pictures, upright.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.stream import VideoStream

from .archive import Section
from .demux import SourceError, open_container
from .pictures import encode_jpeg
from .sources import FileSource, video_stream
from .upright import Upright

ENDINGS = (
    *(".mp4", ".mkv", ".mov", ".webm", ".m4v", ".avi", ".mxf", ".ts", ".mts", ".mpg", ".mpeg"),
    *(".wmv", ".flv", ".ogv", ".3gp", ".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".aac"),
)
SIDE = 256  # px, longer side of a picture
QUALITY = 72
MAX_DECODED = 3000  # frames from a key frame to the wanted one; more is damage
NEAR = 2.0  # s; a picture further away than that would show something else


class MediaFolders:
    """Where to look for the video of a file of events.

    Parameters
    ----------
    folders : sequence of Path
        Searched with all that is in them, after the folder of the events.
    """

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self._named: dict[str, Path] = {}
        self._beside: dict[Path, dict[str, Path]] = {}
        for folder in folders:
            for name, path in _media_in(path for path in folder.rglob("*")).items():
                self._named.setdefault(name, path)

    def of(self, section: Section) -> Path | None:
        """Return the file that a section is of; None for a live source, or if it is not there."""
        if section.events is None:
            return None
        folder = section.events.parent
        if folder not in self._beside:
            self._beside[folder] = _media_in(folder.iterdir())
        return self._beside[folder].get(section.name) or self._named.get(section.name)


def media_length(path: Path) -> float:
    """Return the length of a media file as it says itself, s; 0 if it does not say."""
    try:
        with closing(open_container(path)) as container:
            return max(0.0, (container.duration or 0) / av.time_base)
    except SourceError:
        return 0.0


def thumbnails(path: Path, times: Sequence[float]) -> Iterator[bytes | None]:
    """Yield a JPEG picture of a video at each of some media times; None where there is none.

    Parameters
    ----------
    path : Path
    times : sequence of float
        Media seconds.
    """
    try:
        with FileSource(path) as source:
            origin, has_video = source.origin, source.info.has_video
        container = open_container(path)
    except SourceError:
        has_video = False
    if not has_video:
        yield from (None for _ in times)
        return
    with closing(container):
        stream = video_stream(container)
        for time in times:
            yield None if stream is None else _thumbnail(container, stream, origin + time)


def _thumbnail(
    container: "av.container.InputContainer", stream: VideoStream, time: float
) -> bytes | None:
    best = None
    try:
        container.seek(max(0, round(time * av.time_base)), backward=True)
        for n, frame in enumerate(container.decode(stream)):
            if n > MAX_DECODED or frame.time is None:
                break
            if best is None or abs(frame.time - time) <= abs((best.time or 0.0) - time):
                best = frame
            if frame.time >= time:
                break
        if best is None or abs((best.time or 0.0) - time) > NEAR:
            return None
        picture = Upright(best, stream.sample_aspect_ratio, SIDE, 1).picture(best)
    except (av.FFmpegError, OSError, ValueError):
        return None
    return encode_jpeg(np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), np.uint8), QUALITY)


def _media_in(paths: Iterator[Path]) -> dict[str, Path]:
    # Name without ending -> path; of several with one name, the first ending of the list.
    found: dict[str, Path] = {}
    for path in sorted(paths):
        ending = path.suffix.lower()
        if ending not in ENDINGS:
            continue
        known = found.get(path.stem)
        if known is None or ENDINGS.index(ending) < ENDINGS.index(known.suffix.lower()):
            found[path.stem] = path
    return found
