"""A media file -> its compressed packets, stream by stream, from one container.

In: a path. Out: for each stream the packets in the order of the file, in whatever order the file
holds the streams. What the timestamps mean is the business of `clock.py`; only joints of glued
recordings are mended here, because that needs the packets of all streams in file order.
"""

import stat
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

import av
from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.stream import Stream

from .clock import MAX_LEAP, MAX_STRIDE, Joints
from .one_line import reason_of, shown_path

AnyPacket: TypeAlias = "Packet[Any]"

QUEUE_BYTES = 64 * 2**20  # of packets that wait for another stream
PACKET_OVERHEAD = 512  # bytes a packet takes besides its data
MAX_READ_ERRORS = 100  # in a row; some demuxers find the way again after a bad spot

# Demuxers that open further files or devices, or make pictures out of any text.
REFUSED_FORMATS = {
    *("concat", "dash", "ffmetadata", "hls", "image2", "imf", "lavfi", "rtp", "rtsp", "sap"),
    *("sdp", "tty", "vapoursynth", "avisynth", "vobsub", "webm_dash_manifest", "ipfs_gateway"),
    *("alsa", "fbdev", "jack", "kmsgrab", "oss", "pulse", "sndio", "v4l2", "x11grab", "xcbgrab"),
}


class SourceError(ValueError):
    """A source that cannot be read; the message is one line for the user."""


def open_container(path: Path) -> InputContainer:
    """Return the open container of a media file.

    Parameters
    ----------
    path : Path
        Of a regular file. Nothing else is opened, whatever the file says: playlists are refused.

    Returns
    -------
    container : InputContainer
        The caller closes it.

    Raises
    ------
    SourceError
        If there is no such file, or FFmpeg cannot read it; with what to do about it.

    Examples
    --------
    >>> open_container(Path("nowhere.mp4"))
    Traceback (most recent call last):
    playspot.stream.demux.SourceError: nowhere.mp4: no such file; check the path.
    """
    shown = shown_path(path)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise SourceError(f"{shown}: is a folder; name the media file in it.")
        if not stat.S_ISREG(status.st_mode):  # a pipe would wait for ever
            raise SourceError(f"{shown}: is not a regular file; give a media file.")
        if status.st_size == 0:
            raise SourceError(f"{shown}: is empty (0 bytes); copy or record it again.")
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise SourceError(f"{shown}: no such file; check the path.") from None
    except PermissionError:
        raise SourceError(f"{shown}: may not be read; change its permissions.") from None
    except OSError as error:
        raise SourceError(f"{shown}: cannot be opened ({reason_of(error)}).") from None
    formats = ",".join(sorted(av.formats_available - REFUSED_FORMATS))
    try:
        # The prefix keeps "a:b.mp4" from being taken for a protocol.
        return av.open(
            f"file:{path}",
            options={"protocol_whitelist": "file", "format_whitelist": formats},
            metadata_errors="ignore",
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        raise SourceError(
            f"{shown}: is no video or sound that can be read, or was cut off "
            f"({reason_of(error)}); try to play it, or copy it again."
        ) from None


class PacketReader:
    """The packets of some streams of a file, each stream read at its own pace.

    Packets that were not yet asked for wait in memory. If they become too many (a file that holds
    one stream after the other, or a stream that ends early), the file is opened a second time for
    the stream that is behind.

    Parameters
    ----------
    path : Path
    container : InputContainer
        The caller closes it.
    streams : sequence of Stream
    reopen : callable, optional
        Opens the same container once more, if it is not that of a local file.
    fatal : exceptions
        Errors after which nothing more can come; others are bad spots that are left out.
    """

    def __init__(
        self,
        path: Path,
        container: InputContainer,
        streams: Sequence[Stream],
        *,
        reopen: Callable[[], InputContainer] | None = None,
        fatal: tuple[type[Exception], ...] = (),
    ) -> None:
        self._reopen: Callable[[], InputContainer] | None = reopen or partial(open_container, path)
        self._fatal = fatal
        feed = _Feed(container, streams, fatal)
        self._feeds = dict.fromkeys((stream.index for stream in streams), feed)
        self._indices = [stream.index for stream in streams]
        self._n_given = dict.fromkeys(self._indices, 0)
        self._second: InputContainer | None = None

    @property
    def is_read_twice(self) -> bool:
        """Whether the file had to be opened again."""
        return self._second is not None

    @property
    def n_bad_reads(self) -> int:
        """Places in the file that the demuxer could not make sense of."""
        return max(feed.n_bad_reads for feed in self._feeds.values())

    @property
    def joints(self) -> list[float]:
        """Seconds, in the clock of the file, at which recordings had been glued together."""
        return max((feed.joints.times for feed in self._feeds.values()), key=len)

    def packets(self, stream: Stream) -> Iterator[AnyPacket]:
        """Yield the packets of a stream that hold anything, in the order of the file."""
        index = stream.index
        while (packet := self._next(index)) is not None:
            self._n_given[index] += 1
            yield packet

    def close(self) -> None:
        """Close what was opened here; the first container is the caller's."""
        self._reopen = None  # it may hold what holds this: a ring of pictures, for long in memory
        if self._second is not None:
            self._second.close()

    def _next(self, index: int) -> "AnyPacket | None":
        while not self._feeds[index].queues[index]:
            if self._feeds[index].n_bytes > QUEUE_BYTES and self._second is None:
                self._open_again(index)
            elif not self._feeds[index].read():
                return None
        return self._feeds[index].take(index)

    def _open_again(self, index: int) -> None:
        assert self._reopen is not None
        self._second = self._reopen()
        self._feeds[index].drop(index)
        streams = [self._second.streams[i] for i in self._indices]
        feed = _Feed(self._second, streams, self._fatal)
        self._feeds[index] = feed
        for other in self._indices:
            if other != index:
                feed.drop(other)
        for _ in range(self._n_given[index]):  # the first reading has already given these
            self._next(index)


class _Feed:
    # One pass over a file; each stream's packets go to a queue of their own.

    def __init__(
        self,
        container: InputContainer,
        streams: Sequence[Stream],
        fatal: tuple[type[Exception], ...],
    ) -> None:
        self._container, self._streams = container, list(streams)
        self._fatal = fatal
        self._demuxer = container.demux(self._streams)
        self._is_over = False
        self._dropped: set[int] = set()
        self.queues: dict[int, deque[AnyPacket]] = {s.index: deque() for s in streams}
        self.n_bytes = 0
        self.n_bad_reads = 0
        is_gluable = container.format.flags & cast(int, Flags.ts_discont.value)
        self.joints = Joints(MAX_STRIDE if is_gluable else MAX_LEAP)

    def drop(self, index: int) -> None:
        # From here on the packets of this stream are read elsewhere.
        self._dropped.add(index)
        while self.queues[index]:
            self.take(index)

    def take(self, index: int) -> AnyPacket:
        packet = self.queues[index].popleft()
        self.n_bytes -= packet.size + PACKET_OVERHEAD
        return packet

    def read(self) -> bool:
        # Read one packet that is wanted; False at the end of the file.
        n_errors = 0
        while not self._is_over and n_errors < MAX_READ_ERRORS:
            try:
                packet = next(self._demuxer, None)
            except (av.FFmpegError, OSError) as error:
                if isinstance(error, self._fatal):
                    raise
                self.n_bad_reads += n_errors == 0
                n_errors += 1
                self._demuxer = self._container.demux(self._streams)
                continue
            except IndexError:
                break  # so PyAV ends a file in which streams turned up that its header did not name
            if packet is None:
                break
            n_errors = 0
            if not packet.size:  # to the decoder that would mean the end
                continue
            self.joints.mend(packet)
            if packet.stream_index not in self._dropped:
                self.queues[packet.stream_index].append(packet)
                self.n_bytes += packet.size + PACKET_OVERHEAD
                return True
        self._is_over = True
        return False
