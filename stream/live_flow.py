"""The flow process of a live run: grey frames of every source in, flow stacks out, in time.

Frames are kept until their stack's turn has come; only then is its flow computed, by a network for
the stacks of all sources that wait. A stack that touches a frame which did not arrive is not made
up: the step's flow is told to be `stale`, as it is when there was no time for it.
"""

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from .config import Latency
from .deadlines import Pace, most_steps, stage_limit
from .fair_queue import Turns
from .flow import FlowStack, FlowStream, Ready, stacks_of
from .flow_choice import FlowSettings, flow_line
from .flow_method import FARNEBACK, FlowMethod
from .inputs import stack_message
from .latency import flow_look_ahead, flow_stream
from .measure import Measures
from .media import GreyFrame
from .messages import Message
from .roster import Heard, Roster
from .session import Session
from .sockets import LIVE_QUEUE, pull, push
from .stage import Clock, Outlet, outlet, serve
from .timeline import TICKS_PER_STEP, step_time, tick_time
from .worker import Worker

GREY, STACKS = "grey", "stacks"
LOAD_PATIENCE = 60.0  # seconds for a network to load, and for its first run of a size

# What is to be sent, in order: a stack still to be computed, or a message as it is.
Item: TypeAlias = Ready | Message


@dataclass(frozen=True)
class LiveFlowJob:
    """What the flow process of a live run is started with.

    Attributes
    ----------
    budget : float
        Seconds from capture to publishing.
    latency : {"normal", "low"}
    flow : FlowSettings
        How flow is computed.
    """

    budget: float
    latency: Latency = "normal"
    flow: FlowSettings = field(default_factory=FlowSettings)


@dataclass
class _Frames(Heard):
    """The frames of a session."""

    stream: FlowStream | None = None  # of the frames that follow each other; None before the first
    first_tick: float = 0  # of those; -inf if nothing is missing before it
    next_tick: int = 0
    next_step: int = 0  # the first of which nothing has been said
    line: "deque[Item]" = field(default_factory=deque)
    end: Message | None = None


class FlowStage:
    """Stacks for the steps of all sources: fair, in time, or not at all.

    Parameters
    ----------
    job : LiveFlowJob
    out : Outlet
    measures : Measures
        Drops: "late", and "lost" for the steps that touch a missing frame.
    clock : callable
        `time.monotonic`, or what a test has in its place.
    method : FlowMethod or None
        How flow is computed; None: not at all, and steps come with their frames.
    before_slow : callable
        Called before what may take seconds: the first run of a network on inputs of a size, or of
        such a number.
    """

    def __init__(
        self,
        job: LiveFlowJob,
        out: Outlet,
        measures: Measures,
        clock: Clock = time.monotonic,
        method: FlowMethod | None = FARNEBACK,
        before_slow: Callable[[], None] = lambda: None,
    ) -> None:
        self._latency: Latency = job.latency
        self._method, self._before_slow = method, before_slow
        self._pace = Pace(1 if method is None else method.batch)
        self._seen: set[tuple[tuple[int, ...], int]] = set()  # size, and so many of it
        self._limit = stage_limit(job.budget, flow_look_ahead(job.latency))
        self._most = most_steps(job.budget)
        self._out, self._measures, self._clock = out, measures, clock
        self._turns = Turns()
        self._roster: Roster[_Frames] = Roster(_frames)

    def take(self, socket: str, message: Message) -> None:
        """Take in a message of a reader."""
        now = self._clock()
        if message.kind == "open":
            if self._roster.open(message, now) is not None:
                self._out.tell(message)
            return
        frames = self._roster.get(message.source)
        if frames is None or frames.end is not None:
            return
        if message.kind == "grey":
            frames.note(message, tick_time(message.index), now)
            self._add(frames, message)
        elif message.kind == "gap":
            frames.note(message, step_time(message.index), now)
            self._finish(frames, message, message.index)
            frames.line.append(message)
            frames.next_step = max(frames.next_step, message.index + 1)
        elif message.kind == "end":
            frames.heard = now
            self._finish(frames, message, message.index)
            frames.end = message
        self._shorten(frames)

    def work(self) -> bool:
        """Compute the stacks of a few steps; return whether there may be more to do."""
        now = self._clock()
        self._roster.look(now)
        for frames in self._roster:
            self._pass_on(frames, now)
        batch = self._batch()
        for (frames, _), stack in zip(batch, self._computed(batch), strict=True):
            data = frames.labelled(step_time(stack.step))
            self._out.give(stack_message(frames.session.number, stack, data))
        return bool(batch)

    def _batch(self) -> list[tuple[_Frames, Ready]]:
        """Take the steps whose turn it is, one of each source and then the next of each."""
        batch: list[tuple[_Frames, Ready]] = []
        waiting, most = self._roster.first(), self._pace.batch
        while waiting and len(batch) < most:
            # What is behind a message must not overtake it.
            waiting = {
                name: frames
                for name, frames in waiting.items()
                if frames.line and not isinstance(frames.line[0], Message)
            }
            for name in self._turns.order(waiting)[: most - len(batch)]:
                self._turns.take(name)
                item = waiting[name].line.popleft()
                assert not isinstance(item, Message)
                batch.append((waiting[name], item))
        return batch

    def _computed(self, batch: list[tuple[_Frames, Ready]]) -> list[FlowStack]:
        if not batch:
            return []
        if self._may_be_slow(batch):
            self._before_slow()
        begun = self._clock()
        stacks = stacks_of([ready for _, ready in batch])
        self._pace.add(self._clock() - begun, len(batch))
        return stacks

    def _may_be_slow(self, batch: list[tuple[_Frames, Ready]]) -> bool:
        if self._method is None or self._method.batch == 1:
            return False
        counts = Counter(stream.frames(step)[0].shape for _, (stream, step) in batch)
        is_new = not counts.items() <= self._seen
        self._seen |= counts.items()
        return is_new or self._method.is_slow_next

    def _add(self, frames: _Frames, message: Message) -> None:
        tick = message.index
        is_first = bool(message.data.get("first", tick == 0))
        if frames.stream is not None and tick < frames.next_tick:
            return
        if is_first or frames.stream is None or tick != frames.next_tick:
            own = -(-tick // TICKS_PER_STEP)  # the first step whose own frame has not come
            if frames.stream is not None:
                self._finish(frames, None, own)
            self._miss(frames, own, is_stale=not is_first)
            frames.stream = flow_stream(self._latency, self._method)
            frames.first_tick = float("-inf") if is_first else tick
        frames.next_tick = tick + 1
        assert frames.stream is not None
        self._queue(frames, frames.stream.add(GreyFrame(tick, message.arrays[0])))

    def _queue(self, frames: _Frames, steps: list[int]) -> None:
        assert frames.stream is not None
        for step in steps:
            if step < frames.next_step:  # told to have none already
                frames.stream.skip(step)
                continue
            self._miss(frames, step, is_stale=True)
            if TICKS_PER_STEP * step + frames.stream.first < frames.first_tick:
                frames.stream.skip(step)
                self._miss(frames, step + 1, is_stale=True)
            else:
                frames.line.append((frames.stream, step))
                frames.next_step = step + 1

    def _finish(self, frames: _Frames, message: Message | None, until: int) -> None:
        """End the frames that follow each other, before step `until`.

        Whoever sent `message` says how many ticks there were: if the last has come, stacks near
        it are as at the end of a file.
        """
        if frames.stream is not None:
            n_ticks = None if message is None else message.data.get("ticks", frames.next_tick)
            rest = frames.stream.finish()
            if n_ticks == frames.next_tick:
                self._queue(frames, rest)
            elif rest:
                self._miss(frames, rest[-1] + 1, is_stale=True)
            if n_ticks is not None:
                self._miss(frames, min(until, -(-n_ticks // TICKS_PER_STEP)), is_stale=True)
        frames.stream = None

    def _miss(self, frames: _Frames, until: int, *, is_stale: bool) -> None:
        """Say of the steps below `until` of which nothing was said that they have no stack."""
        n = max(0, until - frames.next_step)
        if is_stale:
            self._measures.drop(frames.name, "lost", n)
        for step in range(max(frames.next_step, until - self._most), until):
            frames.line.append(_gap(frames, step, is_stale=is_stale))
        frames.next_step = max(frames.next_step, until)

    def _pass_on(self, frames: _Frames, now: float) -> None:
        """Leave out what is too late, and send what needs no work."""
        if frames.is_broken and frames.end is None:
            self._finish(frames, None, 0)
        while frames.line:
            item = frames.line[0]
            if not isinstance(item, Message):
                if now <= frames.captured(step_time(item[1])) + self._limit:
                    return
                item = self._leave_out(frames, item)
            self._out.tell(item)
            frames.line.popleft()
        if frames.end is not None:
            self._out.tell(frames.end)
        if frames.end is not None or frames.is_broken:
            self._roster.remove(frames)

    def _leave_out(self, frames: _Frames, item: Ready) -> Message:
        stream, step = item
        stream.skip(step)
        self._measures.drop(frames.name, "late")
        return _gap(frames, step, is_stale=True)

    def _shorten(self, frames: _Frames) -> None:
        """Keep memory bounded: a source that sends faster than time passes is late as well."""
        while len(frames.line) > self._most:
            item = frames.line.popleft()
            self._out.tell(item if isinstance(item, Message) else self._leave_out(frames, item))


def _frames(session: Session, joined: int, now: float) -> _Frames:
    return _Frames(session, joined, now, next_step=joined)


def _gap(frames: _Frames, step: int, *, is_stale: bool) -> Message:
    data = frames.labelled(step_time(step), stale=is_stale)
    return Message("gap", frames.session.number, step, data)


def flow_live(worker: Worker, run: str, job: LiveFlowJob) -> None:
    """Be the flow process of a live run."""
    frames = pull(worker.context, run, GREY, queue=LIVE_QUEUE)
    out = outlet(worker, push(worker.context, run, STACKS, queue=LIVE_QUEUE))

    def be_patient() -> None:
        worker.beat(patience=LOAD_PATIENCE)

    be_patient()
    method = job.flow.open()
    worker.tell("ready", flow=flow_line(method))
    worker.also = lambda: {
        "building": getattr(method, "progress", None),
        "flow": flow_line(method),
    }
    measures = worker.measures
    stage = FlowStage(job, out, measures, method=method, before_slow=be_patient)
    serve(worker, {GREY: frames}, stage)
