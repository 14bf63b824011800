"""The reader process: one source in, pictures, grey frames and sound out, to three processes.

The source's items come in the order of media time, and its sound is whole: silence stands for
what is missing. Pictures are not: where there are none for longer than `MAX_LAG` while the sound
goes on (they start late or end early), they are told to be missing, so that steps are not held up.
"""

import time
from pathlib import Path
from typing import Any

import zmq

from .media import AudioChunk, End, GreyFrame, MediaItem, Picture, SourceInfo
from .messages import Array, Message, send
from .sockets import push
from .sources import FileSource, SourceError
from .timeline import SAMPLE_RATE, STEP_SAMPLES, step_time
from .worker import Worker

MAX_LAG = 4.0  # seconds
DATA_SOCKETS = ("pictures", "grey", "pcm")


class Sender:
    """Send the items of one source to the processes that want them.

    Parameters
    ----------
    sockets : dict
        PUSH sockets by the names of `DATA_SOCKETS`.
    source : int
        Number of the source in this run.
    """

    def __init__(self, sockets: "dict[str, zmq.Socket[bytes]]", source: int) -> None:
        self._sockets = sockets
        self._source = source
        self._info: SourceInfo | None = None
        self._next_step = 0  # of pictures
        self._next_sample = 0

    def open(self, info: SourceInfo) -> None:
        """Tell everybody what is coming."""
        self._info = info
        self._tell_all("open", 0, {"info": vars(info)})

    def send(self, item: MediaItem) -> None:
        """Send one item, and gaps for pictures that have fallen too far behind the sound."""
        if isinstance(item, GreyFrame):
            self._send("grey", "grey", item.tick, item.image)
        elif isinstance(item, Picture):
            self._send("pictures", "picture", item.step, item.image)
            self._next_step = item.step + 1
        elif isinstance(item, AudioChunk):
            self._send_sound(item)
        else:
            self.end(item)

    def end(self, item: End) -> None:
        """Tell everybody that the source is over."""
        self._tell_all("end", item.n_steps, {"duration": item.duration})

    @property
    def reached(self) -> End:
        """How far the source has come: its end, if it broke off now."""
        n_steps = max(self._next_step, self._next_sample // STEP_SAMPLES)
        return End(step_time(n_steps), n_steps)

    def _send_sound(self, chunk: AudioChunk) -> None:
        self._send("pcm", "pcm", chunk.start, chunk.waveform, missing=chunk.missing)
        self._next_sample = chunk.start + len(chunk.waveform)
        if self._info is not None and self._info.has_video:
            self._miss_pictures(self._next_sample / SAMPLE_RATE - MAX_LAG)

    def _miss_pictures(self, until: float) -> None:
        while step_time(self._next_step) < until:
            for socket in ("pictures", "grey"):
                self._send(socket, "gap", self._next_step)
            self._next_step += 1

    def _send(self, socket: str, kind: str, index: int, *arrays: Array, **data: Any) -> None:
        data["arrived"] = time.monotonic()
        send(self._sockets[socket], Message(kind, self._source, index, data, arrays))

    def _tell_all(self, kind: str, index: int, data: dict[str, Any]) -> None:
        for socket in self._sockets.values():
            send(socket, Message(kind, self._source, index, data))


def read(
    worker: Worker,
    run: str,
    source: int,
    path: Path,
    name: str,
    picture_side: int,
    picture_multiple: int,
) -> None:
    """Be the reader process of one file."""
    sockets = {n: push(worker.context, run, n) for n in DATA_SOCKETS}
    sender = Sender(sockets, source)
    is_open = False
    try:
        with FileSource(
            path, name=name, picture_side=picture_side, picture_multiple=picture_multiple
        ) as media:
            worker.tell("opened", source, info=vars(media.info))
            sender.open(media.info)
            is_open = True
            for item in media:
                sender.send(item)
                worker.progress()
            worker.tell("closed", source, notes=list(media.notes))
    except SourceError as error:
        if is_open:
            sender.end(sender.reached)
        worker.tell("source_failed", source, message=str(error))
    worker.wait()
