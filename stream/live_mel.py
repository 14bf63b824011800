"""The mel process of a live run: sound of every source in, sound windows out, in time.

Where sound is lost, or a session is joined in the middle, the windows begin anew at the next step.
Those that would have seen what did not arrive are not made up: the step's sound is told to be
`stale`. After that they are again those of the whole sound.
"""

import time
from collections import deque
from dataclasses import dataclass, field

from ..engines.engine import FrontEnd
from .config import Latency
from .deadlines import most_steps, stage_limit
from .fair_queue import Turns
from .inputs import window_message
from .latency import sound_windows, steps_to_settle, window_look_ahead
from .measure import Measures
from .media import AudioChunk
from .messages import Message
from .roster import Heard, Roster
from .session import Session
from .sockets import LIVE_QUEUE, pull, push
from .stage import Clock, Outlet, outlet, serve
from .timeline import SAMPLE_RATE, STEP_SAMPLES, step_time
from .windows import SoundWindow, WindowStream, sound_reach
from .worker import Worker

PCM, WINDOWS = "pcm", "windows"


@dataclass(frozen=True)
class LiveMelJob:
    """What the mel process of a live run is started with.

    Attributes
    ----------
    front_end : {"paper", "yamnet"}
    budget : float
        Seconds from capture to publishing.
    latency : {"normal", "low"}
    """

    front_end: FrontEnd
    budget: float
    latency: Latency = "normal"


@dataclass
class _Sound(Heard):
    """The sound of a session."""

    next_step: int = 0  # the first of which nothing has been said
    received: int = 0  # samples: the chunk that follows starts here
    chunks: "deque[AudioChunk]" = field(default_factory=deque)  # not yet in `stream`
    stream: WindowStream | None = None  # None before the first step boundary after a hole
    origin: int = 0  # step at which `stream` began
    settled: int = 0  # step from which its windows are those of the whole sound
    cause: str = "lost"  # why those before are not
    end: Message | None = None


class MelStage:
    """Windows for the steps of all sources: fair, in time, or not at all.

    Parameters
    ----------
    job : LiveMelJob
    out : Outlet
    measures : Measures
        Drops: "late", and "lost" for the steps that would need what did not arrive.
    clock : callable
        `time.monotonic`, or what a test has in its place.
    """

    def __init__(
        self, job: LiveMelJob, out: Outlet, measures: Measures, clock: Clock = time.monotonic
    ) -> None:
        self._job = job
        self._limit = stage_limit(job.budget, window_look_ahead(job.front_end, job.latency))
        self._needed = 1 if job.latency == "low" else sound_reach(job.front_end)[1]  # samples
        self._settle = steps_to_settle(job.front_end, job.latency)
        self._most = most_steps(job.budget)
        self._out, self._measures, self._clock = out, measures, clock
        self._turns = Turns()
        self._roster: Roster[_Sound] = Roster(_sound)

    def take(self, socket: str, message: Message) -> None:
        """Take in a message of a reader."""
        now = self._clock()
        if message.kind == "open":
            if self._roster.open(message, now) is not None:
                self._out.tell(message)
            return
        sound = self._roster.get(message.source)
        if sound is None or sound.end is not None:
            return
        if message.kind == "pcm":
            sound.note(message, message.index / SAMPLE_RATE, now)
            missing = bool(message.data.get("missing"))
            self._add(sound, AudioChunk(message.index, message.arrays[0], missing))
        elif message.kind == "end":
            sound.heard = now
            sound.end = message

    def work(self) -> bool:
        """Compute the windows of one step or more; return whether there may be more to do."""
        now = self._clock()
        self._roster.look(now)
        for sound in self._roster:
            self._catch_up(sound, now)
        ready = {name: sound for name, sound in self._roster.first().items() if self._is_due(sound)}
        for name in self._turns.order(ready):
            self._turns.take(name)
            self._serve(ready[name])
            return True
        return False

    def _add(self, sound: _Sound, chunk: AudioChunk) -> None:
        if chunk.start < sound.received:
            return
        if chunk.start > sound.received or sound.stream is None:
            while sound.chunks:
                self._hear(sound, sound.chunks.popleft())
            self._restart(sound, -(-chunk.start // STEP_SAMPLES), "lost")
        sound.chunks.append(chunk)
        sound.received = _end(chunk)

    def _restart(self, sound: _Sound, step: int, cause: str) -> None:
        """Begin anew at a step; nothing from before it counts, unless it is the first of all."""
        sound.stream = sound_windows(self._job.front_end, self._job.latency)
        sound.origin, sound.cause = step, cause
        sound.settled = step + self._settle if step else 0
        self._miss(sound, step, cause)

    def _is_due(self, sound: _Sound) -> bool:
        """Whether the next step has all that it needs, or will get no more."""
        if sound.end is not None or sound.is_broken:
            return True
        return sound.received >= sound.next_step * STEP_SAMPLES + self._needed

    def _serve(self, sound: _Sound) -> None:
        # To the next window, also where others lead up to it: who stops on the way may be too late
        # at his next turn, and again at every other.
        is_given = False
        while sound.chunks and not is_given:
            is_given = self._hear(sound, sound.chunks.popleft())
        if sound.chunks:
            return
        if sound.end is not None:
            self._finish(sound, sound.end)
        if sound.end is not None or sound.is_broken:
            self._roster.remove(sound)

    def _hear(self, sound: _Sound, chunk: AudioChunk) -> bool:
        """Take in the chunk that follows; return whether that gave a window."""
        assert sound.stream is not None
        start = chunk.start - sound.origin * STEP_SAMPLES
        heard = chunk.waveform[max(0, -start) :]
        if not len(heard):
            return False
        later = AudioChunk(max(0, start), heard, chunk.missing)
        return self._give(sound, sound.stream.push(later))

    def _give(self, sound: _Sound, windows: list[SoundWindow]) -> bool:
        is_given = False
        for window in windows:
            step = sound.origin + window.step
            if step < sound.next_step:
                continue  # it was told to have none
            if step < sound.settled:
                self._miss(sound, step + 1, sound.cause)
                continue
            sound.next_step = step + 1
            placed = SoundWindow(step, window.window, window.output, window.missing)
            data = sound.labelled(step_time(step))
            self._out.give(window_message(sound.session.number, placed, data))
            is_given = True
        return is_given

    def _finish(self, sound: _Sound, end: Message) -> None:
        # Whoever sent `end` says how much sound there was: only if the last has come, the windows
        # near it are as at the end of a file.
        n_steps, n_samples = end.index, end.data.get("samples", sound.received)
        if n_samples == sound.received and sound.stream is not None and n_steps > sound.origin:
            self._give(sound, sound.stream.flush(n_steps - sound.origin))
        if sound.session.info.has_audio:
            self._miss(sound, n_steps, "lost")
        self._out.tell(end)

    def _catch_up(self, sound: _Sound, now: float) -> None:
        """Leave out what is too late.

        A window needs the sound of some steps before it, so single steps cannot be left out:
        whoever is too late goes on at the newest step that is there.
        """
        n_waiting = sound.received // STEP_SAMPLES - sound.next_step
        is_late = now > sound.captured(step_time(sound.next_step)) + self._limit
        if sound.stream is None or not (is_late or n_waiting > self._most):
            return
        newest = (sound.received - self._needed) // STEP_SAMPLES
        if sound.end is not None:
            newest = sound.end.index - 1
        if newest < sound.next_step:
            return
        if now > sound.captured(step_time(newest)) + self._limit:
            newest += 1
        self._miss(sound, newest, "late")
        begin = newest - self._settle
        if sound.chunks and sound.chunks[0].start < begin * STEP_SAMPLES < sound.received:
            self._restart(sound, begin, "late")
            while _end(sound.chunks[0]) <= begin * STEP_SAMPLES:
                sound.chunks.popleft()

    def _miss(self, sound: _Sound, until: int, cause: str) -> None:
        """Say of the steps below `until` of which nothing was said that they have no window."""
        self._measures.drop(sound.name, cause, until - sound.next_step)
        for step in range(max(sound.next_step, until - self._most), until):
            data = sound.labelled(step_time(step), stale=True)
            self._out.tell(Message("gap", sound.session.number, step, data))
        sound.next_step = max(sound.next_step, until)


def _sound(session: Session, joined: int, now: float) -> _Sound:
    return _Sound(session, joined, now, next_step=joined)


def _end(chunk: AudioChunk) -> int:
    return chunk.start + len(chunk.waveform)


def mel_live(worker: Worker, run: str, job: LiveMelJob) -> None:
    """Be the mel process of a live run."""
    chunks = pull(worker.context, run, PCM, queue=LIVE_QUEUE)
    out = outlet(worker, push(worker.context, run, WINDOWS, queue=LIVE_QUEUE))
    serve(worker, {PCM: chunks}, MelStage(job, out, worker.measures))
