"""The reader process: one source in, pictures, grey frames and sound out, to three processes.

The source's items come in the order of media time. Where one modality is silent for longer than
`MAX_SKEW` while the other goes on (a badly interleaved file), it is told to be missing, so that the
steps behind it are not held up for ever.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from .media import AudioChunk, End, GreyFrame, MediaItem, Picture, SourceInfo
from .messages import Array, Message, send
from .sockets import push
from .sources import FileSource, SourceError
from .timeline import SAMPLE_RATE, STEP_SAMPLES, step_time
from .worker import Worker

MAX_SKEW = 4.0  # seconds that sound and picture may be apart in the order of the file
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
        """Send one item, and gaps for the modality that has fallen too far behind it."""
        if isinstance(item, GreyFrame):
            self._send("grey", "grey", item.tick, item.image)
        elif isinstance(item, Picture):
            self._send("pictures", "picture", item.step, item.image)
            self._next_step = item.step + 1
            self._miss_sound(step_time(item.step) - MAX_SKEW)
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
        late = self._next_sample - chunk.start  # samples that were already given up
        if late >= len(chunk.waveform):
            return
        waveform = chunk.waveform[max(0, late) :]
        start = chunk.start + max(0, late)
        self._send("pcm", "pcm", start, waveform, missing=chunk.missing)
        self._next_sample = start + len(waveform)
        if self._info is not None and self._info.has_video:
            self._miss_pictures(self._next_sample / SAMPLE_RATE - MAX_SKEW)

    def _miss_sound(self, until: float) -> None:
        n_missing = int(until * SAMPLE_RATE) - self._next_sample
        if n_missing > 0 and self._info is not None and self._info.has_audio:
            silence = np.zeros(n_missing, np.float32)
            self._send("pcm", "pcm", self._next_sample, silence, missing=True)
            self._next_sample += n_missing

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
        worker.tell("source_failed", source, message=str(error), was_open=is_open)
    worker.wait()
