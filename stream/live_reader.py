"""The live reader process: one connection of one source, its sessions out to three processes.

Nothing here waits for the processes behind it: what they do not take is dropped and counted. When
the connection breaks, the process says why and ends; the next connection gets a new process.
"""

import time
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
import zmq

from .config import SourceConfig
from .demux import SourceError
from .failures import SourceFailure
from .live import LiveSource, Opened, Previewing
from .locator import redacted
from .media import AudioChunk, End, GreyFrame, MediaItem, Picture
from .messages import Array, Message, send, try_send
from .open_source import open_source
from .pictures import encode_jpeg, fit_size
from .previews import PreviewSender
from .reader import DATA_SOCKETS, MAX_LAG
from .session import SERIAL_BITS, Session, base_of
from .sockets import LIVE_QUEUE, push
from .timeline import SAMPLE_RATE, STEP_SAMPLES, TICKS_PER_STEP, n_steps, step_time, tick_time
from .worker import Worker

ANNOUNCE_INTERVAL = 1.0  # s between announcements of the session, for processes that restarted
ANNOUNCE_MS = 200  # how long the first and the last word of a session may wait for room
LINGER_MS = 500  # how long the last items may take to leave this process
LAST_REPORT = 0.3  # s
CONNECT_MARGIN = 5.0  # s; FFmpeg may take this much longer than its deadlines

SocketName = Literal["pictures", "grey", "pcm"]


@dataclass(frozen=True)
class ReaderJob:
    """What a reader process is started with.

    Attributes
    ----------
    name : str
        Of the source.
    config : SourceConfig
        With credentials; kept from messages and logs.
    serial : int
        Number of this reader in the run; sessions are numbered from it.
    epoch : float or None
        `time.monotonic()` of media time 0 of the source; None before its first session.
    n_steps : int
        That the source has had already.
    picture_side, picture_multiple : int
        Of the pictures, see `fit_size`.
    """

    name: str
    config: SourceConfig = field(repr=False)
    serial: int
    epoch: float | None
    n_steps: int
    picture_side: int
    picture_multiple: int


class LiveSender:
    """Send the sessions of one source to the processes that want them, without ever waiting.

    Attributes
    ----------
    n_steps : int
        Steps of the source's time line so far, those of earlier readers included.
    epoch : float or None
        `time.monotonic()` of media time 0 of the source, once it is known.
    """

    def __init__(self, worker: Worker, run: str, job: ReaderJob, source: LiveSource) -> None:
        self._worker, self._job, self._source = worker, job, source
        self._sockets: dict[str, zmq.Socket[bytes]] = {
            name: push(worker.context, run, name, queue=LIVE_QUEUE, linger_ms=LINGER_MS)
            for name in DATA_SOCKETS
        }
        for socket in self._sockets.values():
            socket.setsockopt(zmq.SNDTIMEO, ANNOUNCE_MS)
        self._number = job.serial << SERIAL_BITS
        self._session: Session | None = None
        self._announced = 0.0
        self._next_picture = self._next_tick = self._n_samples = 0
        self._beginning = {"grey", "pictures"}  # nothing, or a gap, before what comes next there
        self._dropped: dict[SocketName, int] = {}  # last step that was counted
        self._previews = PreviewSender(worker.context, run, job.name)
        self._previewed = -1  # tick
        self.n_steps, self.epoch = job.n_steps, job.epoch

    def send(self, item: Opened | MediaItem) -> None:
        """Send an item, or drop and count it if the process that wants it has no room."""
        if isinstance(item, Opened):
            self._open(item)
        elif isinstance(item, GreyFrame):
            self._next_tick = item.tick + 1
            self._send("grey", "grey", item.tick, tick_time(item.tick), item.image)
            if item.preview is not None:
                self._preview(item.tick, item.preview)
        elif isinstance(item, Picture):
            self._send("pictures", "picture", item.step, step_time(item.step), item.image)
            self._next_picture = item.step + 1
            self._preview_of(item)
        elif isinstance(item, AudioChunk):
            self._send_sound(item)
        else:
            self.close(item, "end_of_stream")

    def look(self) -> None:
        """Let the source make previews, if somebody wants them at the moment."""
        self._previews.look()
        if isinstance(self._source, Previewing):
            self._source.preview_side = self._previews.side

    def announce(self) -> None:
        """Say again, once a second, what session this is: a process may be new."""
        now = time.monotonic()
        if self._session is not None and now - self._announced >= ANNOUNCE_INTERVAL:
            self._announced = now
            for socket in self._sockets.values():
                try_send(socket, self._opening())

    def close(self, end: End | None, reason: str) -> None:
        """Say that the session is over; `end` is None if it broke off."""
        if self._session is None:
            return
        end = end or End(step_time(self._local_steps), self._local_steps)
        self.n_steps = max(self.n_steps, self._session.base + end.n_steps)
        data = {
            "name": self._job.name,
            "duration": end.duration,
            "reason": reason,
            # How much there was, so that whoever has less knows that it was lost.
            "pictures": self._next_picture,
            "ticks": self._next_tick,
            "samples": self._n_samples,
        }
        self._tell_all(Message("end", self._session.number, end.n_steps, data))
        self._session = None

    @property
    def _local_steps(self) -> int:
        return max(self._next_picture, n_steps(self._n_samples / SAMPLE_RATE))

    def _open(self, opened: Opened) -> None:
        self._number += 1
        captured = self._source.captured(0.0)
        self.epoch = captured if self.epoch is None else self.epoch
        base = base_of(captured, self.epoch, self.n_steps)
        self._session = Session(self._number, opened.info, base, self._job.config)
        self._next_picture = self._next_tick = self._n_samples = 0
        self._previewed = -1
        self._beginning = {"grey", "pictures"}
        self._dropped.clear()
        self._announced = time.monotonic()
        self._tell_all(self._opening())

    def _opening(self) -> Message:
        assert self._session is not None
        return Message("open", self._session.number, self._local_steps, self._session.to_json())

    def _send_sound(self, chunk: AudioChunk) -> None:
        time_ = chunk.start / SAMPLE_RATE
        self._send("pcm", "pcm", chunk.start, time_, chunk.waveform, missing=chunk.missing)
        is_wanted = self._previews.is_sound_wanted and not chunk.missing
        if is_wanted and self._session is not None and self._session.info.has_video:
            start = self._session.base * STEP_SAMPLES + chunk.start
            captured = self._source.captured(time_)
            self._previews.send_sound(self._session.number, start, captured, chunk.waveform)
        self._n_samples = chunk.start + len(chunk.waveform)
        if self._session is not None and self._session.info.has_video:
            self._miss_pictures(self._n_samples / SAMPLE_RATE - MAX_LAG)

    def _preview(self, tick: int, jpeg: bytes) -> None:
        if self._session is None or not self._previews.side:
            return
        self._previewed = tick
        place = self._session.base * TICKS_PER_STEP + tick
        captured = self._source.captured(tick_time(tick))
        self._previews.send_picture(self._session.number, place, tick_time(place), captured, jpeg)

    def _preview_of(self, picture: Picture) -> None:
        """Make a preview of a step's picture where the source itself made none for this step."""
        side, tick = self._previews.side, picture.step * TICKS_PER_STEP
        if not side or tick - self._previewed < TICKS_PER_STEP:
            return
        height, width = picture.image.shape[:2]
        image = cv2.cvtColor(picture.image, cv2.COLOR_RGB2BGR)
        if side < max(height, width):
            image = cv2.resize(image, fit_size(width, height, side), interpolation=cv2.INTER_AREA)
        self._preview(tick, encode_jpeg(np.asarray(image, np.uint8)))

    def _miss_pictures(self, until: float) -> None:
        while step_time(self._next_picture) < until:
            for socket in ("pictures", "grey"):
                at = step_time(self._next_picture)
                self._send(socket, "gap", self._next_picture, at, ticks=self._next_tick)
            self._beginning = {"grey", "pictures"}
            self._next_picture += 1

    def _send(
        self, socket: SocketName, kind: str, index: int, at: float, *arrays: Array, **data: Any
    ) -> None:
        if self._session is None:
            return
        now, captured = time.monotonic(), self._source.captured(at)
        data |= {"name": self._job.name, "captured": captured, "arrived": now}
        if kind in ("grey", "picture"):
            data["first"] = socket in self._beginning
            self._beginning.discard(socket)
        message = Message(kind, self._session.number, index, data, arrays)
        self.n_steps = max(self.n_steps, self._session.base + self._local_steps)
        if try_send(self._sockets[socket], message):
            if socket == "pictures" or (socket == "pcm" and index % STEP_SAMPLES == 0):
                self._worker.measures.age(self._job.name, now - captured)
        else:
            self._count(socket, kind, index)

    def _count(self, socket: SocketName, kind: str, index: int) -> None:
        # Several ticks and chunks make a step; it is counted once.
        per_step = {"grey": TICKS_PER_STEP, "pcm": STEP_SAMPLES}.get(kind, 1)
        if self._dropped.get(socket) != index // per_step:
            self._dropped[socket] = index // per_step
            self._worker.measures.drop(self._job.name, "full")

    def _tell_all(self, message: Message) -> None:
        for socket in self._sockets.values():
            try:
                send(socket, message)
            except zmq.Again:
                continue  # its process is gone; the next one learns it from the announcements


def read_live(worker: Worker, run: str, job: ReaderJob) -> None:
    """Be the reader process of one connection."""
    sender: LiveSender | None = None
    patience = job.config.timeout + CONNECT_MARGIN
    worker.beat(patience=patience, state="connecting", n_steps=job.n_steps)
    try:
        source = open_source(
            job.name,
            job.config,
            picture_side=job.picture_side,
            picture_multiple=job.picture_multiple,
        )
        sender = LiveSender(worker, run, job, source)
        _follow(worker, job, source, sender, patience)
        worker.tell("closed", job.serial, n_steps=sender.n_steps)
    except SourceError as error:
        if sender is not None:
            sender.close(None, "source_lost")
        # What is not typed comes of files: they stay as they are.
        kind, may_heal = "damaged", False
        if isinstance(error, SourceFailure):
            kind, may_heal = error.kind, error.may_heal
        failure = {"kind": kind, "message": redacted(error), "may_heal": may_heal}
        n_steps = sender.n_steps if sender is not None else job.n_steps
        worker.tell("source_failed", job.serial, failure=failure, n_steps=n_steps)
    time.sleep(LAST_REPORT)  # else the supervisor could see the end before it hears of the reason


def _follow(
    worker: Worker, job: ReaderJob, source: LiveSource, sender: LiveSender, patience: float
) -> None:
    state, n_sessions, counted = "connecting", 0, dict[str, int]()
    for item in source:
        if item is not None:
            sender.send(item)
        if isinstance(item, Opened):
            state, n_sessions = "live", n_sessions + 1
        sender.announce()
        sender.look()
        for cause, n in source.dropped.items():
            worker.measures.drop(job.name, cause, n - counted.get(cause, 0))
            counted[cause] = n
        worker.beat(
            n=item is not None,
            at_once=isinstance(item, Opened) and n_sessions == 1,
            state=state,
            n_sessions=n_sessions,
            epoch=sender.epoch,
            n_steps=sender.n_steps,
            clock=asdict(source.clock()),
            **({"patience": patience} if state == "connecting" and item is None else {}),
        )
