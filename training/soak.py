"""A soak: a live run of many sources under faults, one after the other, watched from outside.

In: how many sources, how long, which faults. Out: the records that `soak_checks.py` judges, and the
log of every fault. Needs Linux; see `soak_run.py` for what root adds.
"""

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .rtsp_server import RtspServer
from .soak_faults import EXTRA, KINDS, Fault, Faults, is_gone
from .soak_outputs import SETTLE_TIME, Outputs
from .soak_records import FaultRecord, OutputRecords, Records
from .soak_run import RunUnderTest, SoakError, can_mount
from .soak_watch import Witness

START_PATIENCE = 90.0  # s, until every source has given a complete step
NOTICE_PATIENCE = 10.0  # s, for a process that must be gone
RECOVERY_PATIENCE = 60.0  # s
SETTLE = 2.0  # s after a recovery; what a fault does to others may show later
BREATH = (2.0, 6.0)  # s between two faults
NEXT_PATIENCE = 30.0  # s, for the next run to deliver what the last one had no time for
DRAIN_PATIENCE = 10.0  # s, for the accounts after the sources are turned off
QUIET_PART = 0.25  # of the time, at the end: nothing is broken, memory may settle
QUIET_LEAST = 2.5  # s
SOURCE_TIMEOUT = 3.0  # s; of the sources: a stall is longer
SEED = 300_200
SCENE_SECONDS, SCENE_SIZE = 20.0, (320, 180)
KEY_INTERVAL = 1.0  # s, as a camera's: a client sees nothing before the next key picture
CLOCK_FAULTS = "&skew_ppm=100&step_ms=300&step_at=60"  # of the sound card of the last band


@dataclass
class Soak:
    """One soak; `run` does it.

    Parameters
    ----------
    folder : Path
        Of the run, see `RunUnderTest`.
    n_sources, n_rtsp : int
        Of all, and of these the ones by RTSP; the others are `bandstand://`.
    seconds : float
    kinds : tuple of str
        Of faults.
    seed : int
    breath : (float, float)
        Least and most seconds between two faults.
    models : Path, optional
    has_outputs : bool
        Let the run write to everything that it can write to, and somebody listen everywhere.
    say : callable
        Takes lines for people.
    """

    folder: Path
    n_sources: int
    n_rtsp: int
    seconds: float
    kinds: tuple[str, ...] = tuple(KINDS)
    seed: int = 0
    breath: tuple[float, float] = BREATH
    models: Path | None = None
    has_outputs: bool = True
    say: Callable[[str], None] = lambda line: None
    marks: list[tuple[float, str]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def run(self) -> tuple[Records, Witness]:
        """Return what was seen; takes as long as it was told, and a minute more.

        Raises
        ------
        SoakError
            If the run does not start.
        """
        with contextlib.ExitStack() as stack:
            servers = {
                f"rtsp{number}": stack.enter_context(self._server(number))
                for number in range(self.n_rtsp)
            }
            sources = {
                name: {
                    "url": server.url,
                    "transport": ("tcp", "udp")[number % 2],
                    "timeout": SOURCE_TIMEOUT,
                }
                for number, (name, server) in enumerate(servers.items())
            }
            n_bands = self.n_sources - self.n_rtsp
            for number in range(n_bands):
                clock = CLOCK_FAULTS if number == n_bands - 1 else ""
                url = f"bandstand://?seed={SEED + 1000 * (number + 1)}{clock}"
                sources[f"band{number}"] = {"url": url}
            outputs, may_mount = None, can_mount()
            if self.has_outputs:
                folder, names = self.folder / "outputs", tuple(sources)
                outputs = stack.enter_context(Outputs(folder, names, self.seconds, may_mount))
            settings = outputs.settings if outputs is not None else {}
            under_test = RunUnderTest(
                *(self.folder / "run", sources, self.models, settings, may_mount)
            )
            run = stack.enter_context(under_test)
            roles = {name: f"reader {name.rstrip('0123456789')}" for name in sources}
            pids = {"supervisor": run.pid, "harness": os.getpid()}
            witness = Witness(run.endpoint, run.journal, pids, roles)
            stack.callback(witness.close)
            if outputs is not None:
                outputs.hear = witness.hear
                outputs.connect(run.endpoint, (*sources, EXTRA))
            return _Course(self, run, servers, witness, outputs).follow(), witness

    def _server(self, number: int) -> RtspServer:
        from .bandstand import render_clip

        path = self.folder / f"scene{number}.mp4"
        if not path.exists():
            self.say(f"rendering {path.name}")
            render_clip(
                path,
                seed=SEED + number,
                duration=min(SCENE_SECONDS, self.seconds),
                size=SCENE_SIZE,
                key_interval=KEY_INTERVAL,
            )
        return RtspServer(path)


@dataclass
class _Course:
    """The course of one soak: start, faults one after the other, quiet, end."""

    soak: Soak
    run: RunUnderTest
    servers: dict[str, RtspServer]
    witness: Witness
    outputs: Outputs | None

    def follow(self) -> Records:
        self._start()
        began = time.monotonic()
        self.witness.began = began
        records = Records(self.soak.seconds, tuple(self.run.sources))
        faults = Faults(
            *(self.soak.kinds, self.run, self.servers, lambda: self.witness.pids, self.soak.seed),
            outputs=self.outputs,
        )
        until = began + self.soak.seconds * (1 - QUIET_PART)
        with (self.soak.folder / "faults.jsonl").open("w", encoding="utf-8") as log:
            for fault in self._while_running(faults, until):
                self.witness.be_quiet(time.time())
                self._watch(faults.pause(*self.soak.breath))
                self.witness.be_quiet(None)
                record = self._bring_about(fault, time.monotonic() - began)
                records.add(record)
                self._mark(record)
                print(json.dumps(record.to_json()), file=log, flush=True)
                self.soak.say(_line(record))
        self.witness.be_quiet(time.time())
        self.soak.say("no more faults")
        self._watch(max(began + self.soak.seconds - time.monotonic(), QUIET_LEAST))
        self.witness.be_quiet(None)
        records.wanted = tuple(kind for kind in self.soak.kinds if kind not in faults.left_out)
        self.soak.left_out = faults.left_out
        self._end(records)
        return records

    def _start(self) -> None:
        sources = frozenset(self.run.sources)
        self.witness.expect(sources, 0.0)
        if not self._wait_for(lambda: self.witness.arrived.keys() >= sources, START_PATIENCE):
            silent = ", ".join(sorted(sources - self.witness.arrived.keys()))
            raise SoakError(
                f"no complete step within {START_PATIENCE:.0f} s from {silent}; see {self.run.log}"
            )
        self.soak.say(f"{len(sources)} sources are live")

    def _while_running(self, faults: Faults, until: float) -> Iterator[Fault]:
        for fault in faults:
            if time.monotonic() >= until:
                return
            yield fault

    def _bring_about(self, fault: Fault, at: float) -> FaultRecord:
        witness = self.witness
        appearing = frozenset({fault.appears} if fault.appears else ())
        others = self.run.sources.keys() - fault.concerned
        witness.restart_gaps()
        witness.expect(fault.concerned | appearing, time.time())
        began = time.monotonic()
        fault.begin()
        noticed = None
        if fault.pid is not None:
            pid = fault.pid
            is_noticed = self._wait_for(lambda: is_gone(pid), NOTICE_PATIENCE)
            noticed = time.monotonic() - began if is_noticed else math.inf
        announced = 0.0
        if fault.duration:
            self._watch(began + fault.duration - time.monotonic())
            announced = max(self._announced(fault.concerned), fault.patience)
            appeared = {name: witness.arrived.get(name, math.inf) - began for name in appearing}
            fault.end()
            began = time.monotonic()
            witness.expect(fault.concerned, time.time())
        elif fault.pid is None:
            fault.end()

        def are_back() -> bool:
            nonlocal announced
            if fault.pid is None:  # what the run does to itself it has to mend at once
                announced = max(announced, self._retry_in(fault.concerned))
            return witness.arrived.keys() >= fault.concerned

        self._wait_for(are_back, RECOVERY_PATIENCE)
        recovered = {name: witness.arrived.get(name, math.inf) - began for name in fault.concerned}
        if appearing:
            recovered |= appeared
        self._watch(SETTLE)
        gaps = [gap for name, gap in witness.gaps().items() if name in others]
        return FaultRecord(
            fault.kind,
            fault.target,
            at,
            noticed,
            recovered,
            announced,
            max(gaps, default=None),
            os.getloadavg()[0],
        )

    def _retry_in(self, sources: frozenset[str]) -> float:
        """Return how long the run says it waits before it tries one of these sources again."""
        known = (self.witness.status.get(name) for name in sources)
        return max((status.retry_in or 0.0 for status in known if status is not None), default=0.0)

    def _announced(self, sources: frozenset[str]) -> float:
        """Return the same, or the time-out of a connection that it has begun."""
        known = (self.witness.status.get(name) for name in sources)
        is_trying = any(status is not None and status.state == "connecting" for status in known)
        return max(self._retry_in(sources), SOURCE_TIMEOUT * is_trying)

    def _mark(self, record: FaultRecord) -> None:
        self.soak.marks.append((record.at, record.kind))
        if len(self.soak.marks) > 1000:
            del self.soak.marks[::2]

    def _end(self, records: Records) -> None:
        witness, run = self.witness, self.run
        kept, *rest = run.sources
        off = {name: {**run.sources[name], "enabled": False} for name in rest}
        run.reload({kept: run.sources[kept], **off})
        self._wait_for(lambda: not any(self._unaccounted(rest).values()), DRAIN_PATIENCE)
        records.drained = self._unaccounted(rest)
        records.on_their_way = self._unaccounted([kept])
        outputs = self.outputs
        if outputs is not None:
            self._watch_outputs(outputs, rest)
            records.outputs = OutputRecords(witness.copies, witness.rows, outputs.copies)
            records.outputs.history = self._wrong_history(outputs, rest)
            records.outputs.until = {name: witness.copies.next_seq(name) for name in run.sources}
        records.stop_seconds = run.stop()
        records.exit_code = run.exit_code
        witness.finish()
        if outputs is not None and records.outputs is not None:
            records.leftovers += outputs.unfinished()
        records.leftovers += run.leftovers()
        log = run.log.read_bytes()
        records.n_tracebacks = log.count(b"Traceback (most recent call last)")
        for name in ("events", "journalled", "steps", "quiet", "memory", "files", "n_torn"):
            setattr(records, name, getattr(witness, name))
        if outputs is not None and records.outputs is not None:
            self._finish_outputs(outputs, records.outputs)

    def _watch_outputs(self, outputs: Outputs, sources: list[str]) -> None:
        """Wait until everybody has got all events of sources that are off."""
        self.witness.read_journal()
        self._wait_for(lambda: outputs.has_all(self.witness.copies, sources), SETTLE_TIME)

    def _wrong_history(self, outputs: Outputs, sources: list[str]) -> list[str]:
        """Return the ids that HTTP tells otherwise than the journal, of sources that are off."""
        wrong: list[str] = []

        def is_same() -> bool:  # the database may be a commit behind
            nonlocal wrong
            history = outputs.history()
            known = history | self.witness.rows.rows
            ids = self.witness.rows.differences(history, outputs.refilled_since)
            wrong = [id_ for id_ in ids if known[id_][0] in sources]  # the others go on
            return not wrong

        self._wait_for(is_same, SETTLE_TIME)
        return wrong

    def _finish_outputs(self, outputs: Outputs, records: OutputRecords) -> None:
        records.n_next_run = self._run_again(outputs)
        outputs.finish()
        records.database = self.witness.rows.differences(outputs.rows(), outputs.refilled_since)
        records.n_pictures = outputs.page.n_pictures
        records.n_broken_pictures = outputs.page.n_broken
        records.n_recordings, records.broken_recordings = outputs.pictures()
        records.n_replayed = self.witness.n_replayed

    def _run_again(self, outputs: Outputs) -> int:
        """Let the next run deliver what this one had no time for; return how many events."""
        journal, run = self.witness.copies, self.run
        places = [outputs.copies[name] for name in ("mqtt", "webhook") if name in outputs.copies]
        n = sum(len(journal.differences(copies)) for copies in places)
        if n:
            run.configure({name: {**run.sources[name], "enabled": False} for name in run.sources})
            run.start()
            deadline = time.monotonic() + NEXT_PATIENCE
            while any(map(journal.differences, places)) and time.monotonic() < deadline:
                time.sleep(0.1)
            run.stop()
        return n

    def _unaccounted(self, sources: list[str]) -> dict[str, int]:
        return {name: self.witness.accounts.open.get(name, -1) for name in sources}

    def _watch(self, seconds: float) -> None:
        self._wait_for(lambda: False, seconds)

    def _wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= deadline:
                return False
            if self.run.exit_code is not None:
                raise SoakError(
                    f"playspot run has ended with code {self.run.exit_code}; see {self.run.log}"
                )
            self.witness.turn()
            if self.outputs is not None:
                self.outputs.turn(self.witness.expected)
        return True


def _line(record: FaultRecord) -> str:
    said = [f"{record.kind} {record.target}".strip()]
    if record.noticed is not None:
        said.append(f"noticed after {record.noticed:.2f} s")
    if record.worst is not None:
        said.append(f"back after {record.worst:.2f} s")
    if record.others is not None:
        said.append(f"gap of others {record.others:.2f} s")
    return ", ".join(said)
