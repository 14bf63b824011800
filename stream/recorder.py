"""The recorder process: snapshots and clips of events, for who has configured `recordings`.

In: the events of the inner hub, and previews of all sources. Out: JPEGs and MP4s
(`recording_files.py`). The main loop only moves bytes in memory; a thread draws, encodes and writes
in small pieces, one after the other. What is kept in memory is bounded, and whatever goes wrong
with the disk is said once and tried again.
"""

import logging
import signal
import time
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import zmq

from .clip_writer import ClipWriter
from .events import Event
from .film import Film
from .hub import hub_socket, record_of
from .one_line import reason_of
from .output_config import RecordingsConfig
from .previews import Preview, PreviewInlet
from .recording import Bit, Recording
from .recording_files import ID, RecordingFiles, find
from .snapshot import draw_snapshot
from .sockets import endpoint
from .status import RunStatus
from .topics import STATUS_ROOT, TOPIC_ROOT
from .worker import Worker

TURN_MS = 50
QUEUE = 64  # pictures of a source that may wait for this process: 8 s
DELAY = 10.0  # s; an event is told at most so long after its beginning
RETRY = 5.0  # s between two tries to write to a disk that refuses
RETIRE_INTERVAL = 5.0  # s
LEAVE_TIME = 1.5  # s to complete what is open when the run ends
MAX_OPEN = 500  # events at a time; more are only reached while a disk is full
TAKE_MOST = 500  # messages of the hub in a turn
LOOK_PATIENCE = 60.0  # s to find what a large folder holds

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecorderJob:
    """What the recorder process is started with.

    Attributes
    ----------
    config : RecordingsConfig
    folder : Path
        Where recordings lie.
    system_id : str
        Of the run.
    """

    config: RecordingsConfig
    folder: Path
    system_id: str


class _Writing:
    """What the thread does for one event."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.shot: tuple[Event, Preview] | None = None
        self.clip: ClipWriter | None = None
        self.part: Path | None = None
        self.future: Future[None] | None = None  # of the last piece of work

    @property
    def is_busy(self) -> bool:
        return self.future is not None and not self.future.done()


class Recorder:
    """The recorder of a run.

    Parameters
    ----------
    worker : Worker
    run : str
        Name of the run.
    job : RecorderJob
    """

    def __init__(self, worker: Worker, run: str, job: RecorderJob) -> None:
        self._worker, self._job = worker, job
        self._config = job.config
        self._hub = hub_socket(worker.context, (TOPIC_ROOT, STATUS_ROOT))
        self._hub.connect(endpoint(run, "hub"))
        self._inlet = PreviewInlet(worker.context, run, "recorder", queue=QUEUE)
        self._films: defaultdict[str, Film] = defaultdict(Film)
        self._seq: dict[str, int] = {}
        self._open: dict[str, _Writing] = {}  # by the ids of events
        self._thread = ThreadPoolExecutor(1, "recordings")
        self._files: RecordingFiles | None = None
        self._retiring: Future[None] | None = None
        self._retired = self._retry_at = 0.0
        self._error: str | None = None
        self._is_stopped = False
        worker.tell("ready")

    def serve(self) -> None:
        """Work until asked to stop by SIGTERM; then complete what is open."""
        signal.signal(signal.SIGTERM, self._stop)
        poller = zmq.Poller()
        poller.register(self._hub, zmq.POLLIN)
        poller.register(self._inlet.socket, zmq.POLLIN)
        while not self._is_stopped:
            poller.poll(TURN_MS)
            self.turn()
        self.close()

    def turn(self) -> None:
        """Take what has arrived, and see to every event that is recorded."""
        self._see_to_folder()
        n = self._take()
        for writing in list(self._open.values()):
            self._see_to(writing)
        for name, film in self._films.items():
            film.trim(self._wanted_from(name, film))
        self._worker.beat(n=n, recordings=self._report())

    def close(self) -> None:
        """Complete what is open with what is there, and let go of everything."""
        self._take()
        until = time.monotonic() + LEAVE_TIME
        for writing in self._open.values():
            writing.recording.close()
        while self._open and time.monotonic() < until and self._files is not None:
            futures = [w.future for w in self._open.values() if w.future is not None]
            wait(futures, timeout=max(0.0, until - time.monotonic()))
            for writing in list(self._open.values()):
                self._see_to(writing, is_final=True)
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._hub.close()
        self._inlet.close()
        if self._files is not None and not self._open:
            self._files.close()

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._is_stopped = True

    def _see_to_folder(self) -> None:
        now = time.monotonic()
        if self._files is None:
            if now < self._retry_at:
                return
            self._worker.beat(patience=LOOK_PATIENCE)
            try:
                self._files = RecordingFiles(
                    self._job.folder,
                    keep_days=self._config.keep_days,
                    keep_mb=self._config.keep_mb,
                )
            except OSError as error:
                self._fail(error)
                return
            self._well()
        if now - self._retired >= RETIRE_INTERVAL:
            self._retired = now
            if self._retiring is None or self._retiring.done():
                self._retiring = self._thread.submit(self._files.retire)

    def _take(self) -> int:
        """Take what has arrived; return how many messages that were."""
        pictures = self._inlet.turn()
        for picture in pictures:
            self._films[picture.source].add([picture])
        for heard in self._inlet.take_sound():
            self._films[heard.source].add_sound([heard])
        n = 0
        while n < TAKE_MOST and self._hub.poll(0):
            n += 1
            record = record_of(self._hub.recv_multipart())
            if isinstance(record, Event):
                self._note(record)
            elif isinstance(record, RunStatus):
                self._want(record)
        return n + len(pictures)

    def _want(self, status: RunStatus) -> None:
        if self._config.snapshots or self._config.clips:
            has_sound = self._config.clips and self._config.sound
            sides = dict.fromkeys(status.sources, self._config.side)
            self._inlet.want(sides, sound=has_sound)
        for name in self._films.keys() - status.sources.keys():
            if not any(w.recording.event.source == name for w in self._open.values()):
                del self._films[name]

    def _note(self, event: Event) -> None:
        """Take in an event, once: the hub repeats what is open to whoever is new."""
        is_of_run = event.system_id == self._job.system_id
        if not is_of_run or event.seq <= self._seq.get(event.source, -1):
            return
        self._seq[event.source] = event.seq
        writing = self._open.get(event.id)
        if writing is not None:
            writing.recording.note(event)
        elif event.type != "end" and ID.fullmatch(event.id) and len(self._open) < MAX_OPEN:
            self._open[event.id] = writing = _Writing(Recording(self._config, event))
            if find(self._job.folder, event.id, "snapshot"):  # of the process before this one
                writing.recording.top_score = event.top_score

    def _see_to(self, writing: _Writing, *, is_final: bool = False) -> None:
        """Give the thread the next piece of work for an event, if there is one."""
        if writing.is_busy or self._files is None:
            return
        recording, files, failure = writing.recording, self._files, None
        if writing.future is not None:
            failure, writing.future = writing.future.exception(), None
        if failure is not None:
            self._fail(failure)
            self._abandon(writing)
            recording.begin_again()
            if is_final:
                del self._open[recording.event.id]
                return
        if time.monotonic() < self._retry_at and not is_final:
            return
        recording.look()
        film = self._films[recording.event.source]
        writing.shot = recording.shot(film) or writing.shot
        bit = None if recording.is_clipped else recording.take_bit(film, is_final=is_final)
        if writing.shot is not None or bit is not None:
            writing.future = self._thread.submit(self._write, files, writing, bit)
        elif recording.is_over:
            del self._open[recording.event.id]

    # In the thread.

    def _write(self, files: RecordingFiles, writing: _Writing, bit: Bit | None) -> None:
        if writing.shot is not None:
            self._write_snapshot(files, writing.recording, *writing.shot)
            writing.shot = None
        if bit is not None:
            self._write_clip(files, writing, bit)
        self._well()

    def _write_snapshot(
        self, files: RecordingFiles, recording: Recording, moment: Event, picture: Preview
    ) -> None:
        try:
            jpeg = draw_snapshot(picture.jpeg, moment, self._config.side)
        except ValueError as error:
            logger.warning("%s: no snapshot: %s", moment.id, error)
            return
        part = files.unfinished("snapshot")
        try:
            part.write_bytes(jpeg)
            files.keep(part, moment.id, recording.began_at, "snapshot")
        finally:
            part.unlink(missing_ok=True)

    def _write_clip(self, files: RecordingFiles, writing: _Writing, bit: Bit) -> None:
        if writing.clip is None and bit.pictures:
            writing.part = files.unfinished("clip")
            writing.clip = ClipWriter(writing.part, self._config.side, has_sound=bit.has_sound)
        recording, clip, part = writing.recording, writing.clip, writing.part
        if clip is not None and part is not None:
            for picture in bit.pictures:
                clip.add(picture.time, picture.jpeg)
            for heard in bit.sound:
                clip.add_sound(heard.start, heard.waveform)
            if bit.is_last:
                clip.finish()
                # That of a process before this one has more of the event.
                if clip.n_pictures and find(files.folder, recording.event.id, "clip") is None:
                    files.keep(part, recording.event.id, recording.began_at, "clip")
                part.unlink(missing_ok=True)
                writing.clip = writing.part = None
        recording.is_clipped = bit.is_last

    # Both.

    def _abandon(self, writing: _Writing) -> None:
        if writing.clip is not None:
            writing.clip.abort()
        if writing.part is not None:
            writing.part.unlink(missing_ok=True)
        writing.clip = writing.part = None

    def _wanted_from(self, name: str, film: Film) -> float:
        """Return from which media time on a film must be kept."""
        own = (w.recording for w in self._open.values() if w.recording.event.source == name)
        before = self._config.before if self._config.clips else 0.0
        return min([film.newest - before - DELAY, *(recording.wanted_from for recording in own)])

    def _fail(self, error: BaseException) -> None:
        """Say once what is wrong, and leave the disk alone for a while."""
        told = f"recordings in {self._job.folder} cannot be written: {reason_of(error)}"
        self._retry_at = time.monotonic() + RETRY
        if told != self._error:
            self._error = told
            logger.warning("%s; tried again every %.0f s", told, RETRY)

    def _well(self) -> None:
        if self._error is not None and time.monotonic() >= self._retry_at:
            self._error = None
            logger.warning("recordings in %s are written again", self._job.folder)

    def _report(self) -> dict[str, object]:
        files = self._files
        return {
            "snapshots": files.count("snapshot") if files is not None else 0,
            "clips": files.count("clip") if files is not None else 0,
            "bytes": files.n_bytes if files is not None else 0,
            "error": self._error,
        }


def record_live(worker: Worker, run: str, job: RecorderJob) -> None:
    """Be the recorder process of a live run."""
    Recorder(worker, run, job).serve()
