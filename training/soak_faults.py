"""Faults for a running `playspot run`: what is broken, in whom, for how long, and whom it concerns.

A round holds every kind once, in random order; kinds that this machine or the sources do not allow
are left out, with the reason. Each fault is a pair of functions, so that the harness decides when.
"""

import contextlib
import errno
import os
import random
import resource
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq

from .rtsp_server import RtspServer
from .soak_outputs import Outputs
from .soak_run import RunUnderTest

SERVICES = ("flow", "mel", "detector", "publisher")
FILES = frozenset({"jsonl", "database"})
OUTPUTS = {  # process -> what it serves
    "sinks": FILES | {"mqtt", "webhook"},
    "recorder": frozenset({"recorder"}),
    "web": frozenset({"web", "sse"}),
}
EXTRA = "extra"  # the source that reloads add and remove
N_SLOW = 5  # subscribers that do not read
FILL_BLOCK = 1 << 20  # bytes

# Kind -> seconds until it is over, and what it is.
KINDS: dict[str, tuple[float, str]] = {
    "kill": (0.0, "kill -9 of a process"),
    "stop": (0.0, "SIGSTOP of a process; it does not come back by itself"),
    "stall": (6.0, "RTSP: nothing is sent any more, nothing is closed (half-open)"),
    "cut": (0.0, "RTSP: the connection breaks"),
    "refuse": (4.0, "RTSP: the connection breaks, new ones are refused"),
    "end": (0.0, "RTSP: the server says goodbye"),
    "mute": (6.0, "RTSP: the sound vanishes, without a word"),
    "clock": (15.0, "RTSP: the timestamps of the sound jump by 300 ms, and back"),
    "disk": (8.0, "no room for the journal"),
    "shm": (8.0, "no room in /dev/shm"),
    "slow": (10.0, "subscribers that do not read"),
    "reload": (15.0, "SIGHUP: a source is added, later removed"),
    "pause": (3.0, "Ctrl-Z of all processes, then continued"),
    "freeze": (4.0, "SIGSTOP of the supervisor, then continued"),
    "doze": (12.0, "outputs: SIGSTOP of `playspot listen`, then continued"),
    "broker": (10.0, "outputs: kill -9 of the MQTT broker, then started again"),
    "hook": (10.0, "outputs: the webhook answers 503, or is gone"),
    "full": (8.0, "outputs: no room for files, database and recordings"),
    "unlink": (0.0, "outputs: the database is removed"),
    "http": (12.0, "outputs: a source is added over HTTP, later removed"),
}
OF_RTSP = frozenset({"stall", "cut", "refuse", "end", "mute", "clock"})
OF_PROCESSES = frozenset({"kill", "stop"})
OF_OUTPUTS = frozenset({"doze", "broker", "hook", "full", "unlink", "http"})


class NotHereError(Exception):
    """A fault that cannot be brought about here; the message says why."""


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes
    ----------
    kind, target : str
        Of `KINDS`; a process or source, or empty.
    concerned : frozenset of str
        Sources and places of outputs that it may disturb.
    duration : float
        Seconds from `begin` to `end`.
    begin, end : callable
    pid : int or None
        A process that must be gone soon.
    appears : str or None
        A source that must come.
    patience : float
        Seconds that the run may wait after `end` before it tries again.
    """

    kind: str
    target: str
    concerned: frozenset[str]
    duration: float
    begin: Callable[[], None]
    end: Callable[[], None] = lambda: None
    pid: int | None = None
    appears: str | None = None
    patience: float = 0.0


@dataclass
class Faults:
    """Make faults, round after round, the same for the same seed.

    Parameters
    ----------
    kinds : tuple of str
        Of `KINDS`.
    run : RunUnderTest
    servers : dict
        Source to its RTSP server.
    pids : callable
        Returns the processes of the run by name.
    seed : int
    outputs : Outputs, optional

    Attributes
    ----------
    left_out : dict
        Kind to the reason.
    """

    kinds: tuple[str, ...]
    run: RunUnderTest
    servers: dict[str, RtspServer]
    pids: Callable[[], dict[str, int]]
    seed: int = 0
    outputs: Outputs | None = None
    left_out: dict[str, str] = field(default_factory=dict)
    _rng: random.Random = field(init=False)
    _round: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.kinds) - KINDS.keys()):
            raise ValueError(f"--faults {unknown[0]}: there is {', '.join(KINDS)}")
        self._rng = random.Random(self.seed)

    def pause(self, low: float, high: float) -> float:
        """Return a random number of seconds."""
        return self._rng.uniform(low, high)

    def __iter__(self) -> Iterator[Fault]:
        """Yield faults for ever, or none if nothing is left that can be done."""
        while len(self.left_out) < len(self.kinds):
            self._round = self._round or self._new_round()
            kind, role = self._round.pop()
            try:
                yield self._make(kind, role)
            except NotHereError as reason:
                self.left_out[kind] = str(reason)

    def _new_round(self) -> list[tuple[str, str]]:
        roles = (*SERVICES, "reader", *(OUTPUTS if self.outputs is not None else ()))
        round_ = [
            (kind, role)
            for kind in self.kinds
            if kind not in self.left_out
            for role in (roles if kind in OF_PROCESSES else ("",))
        ]
        self._rng.shuffle(round_)
        return round_

    def _make(self, kind: str, role: str) -> Fault:
        if kind in OF_PROCESSES:
            return self._of_process(kind, role)
        if kind in OF_RTSP:
            if not self.servers:
                raise NotHereError("no source is RTSP")
            return self._of_rtsp(kind, self._rng.choice(sorted(self.servers)))
        if kind in OF_OUTPUTS:
            if self.outputs is None:
                raise NotHereError("there are no outputs")
            return self._of_output(kind, self.outputs)
        make: dict[str, Callable[[], Fault]] = {
            "disk": self._disk,
            "shm": self._shm,
            "slow": self._slow,
            "reload": self._reload,
            "pause": self._pause,
            "freeze": self._freeze,
        }
        return make[kind]()

    @property
    def _everybody(self) -> frozenset[str]:
        return frozenset(self.run.sources)

    def _of_process(self, kind: str, role: str) -> Fault:
        pids = self.pids()
        if role == "reader":
            source = self._rng.choice(sorted(self.run.sources))
            name, concerned = f"reader {source}", frozenset({source})
        else:
            name, concerned = role, OUTPUTS.get(role, self._everybody)
            concerned -= self.outputs.left_out.keys() if self.outputs is not None else set()
        pid = pids[name]
        number = signal.SIGKILL if kind == "kill" else signal.SIGSTOP
        return Fault(kind, name, concerned, 0.0, lambda: os.kill(pid, number), pid=pid)

    def _of_rtsp(self, kind: str, source: str) -> Fault:
        server = self.servers[source]
        jump = self._rng.choice((-0.3, 0.3))

        def refuse() -> None:
            server.refuse()
            server.cut()

        def shift(by: float) -> None:
            server.playback.audio_offset += by

        begin, end = {
            "stall": (server.stall, server.resume),
            "cut": (server.cut, _nothing),
            "refuse": (refuse, server.accept),
            "end": (server.end, _nothing),
            "mute": (server.drop_audio, server.restore_audio),
            "clock": (lambda: shift(jump), lambda: shift(-jump)),
        }[kind]
        return Fault(kind, source, frozenset({source}), KINDS[kind][0], begin, end)

    def _of_output(self, kind: str, outputs: Outputs) -> Fault:
        seconds = KINDS[kind][0]
        if kind == "doze":
            listen = outputs.dozing
            return Fault(
                *(kind, "listen", frozenset({"dozing"}), seconds),
                lambda: listen.doze(is_dozing=True),
                lambda: listen.doze(is_dozing=False),
            )
        if kind == "broker":
            broker = outputs.broker
            if broker is None:
                raise NotHereError(outputs.left_out["mqtt"])
            concerned = frozenset({"mqtt"})
            return Fault(kind, "", concerned, seconds, broker.kill, broker.start, patience=seconds)
        if kind == "hook":
            hook, concerned = outputs.hook, frozenset({"webhook"})
            if self._rng.random() < 0.5:
                said = (kind, "gone", concerned, seconds)
                return Fault(*said, hook.close, hook.open, patience=seconds)

            def be_busy(*, is_busy: bool) -> None:
                hook.is_busy = is_busy

            return Fault(
                *(kind, "503", concerned, seconds),
                lambda: be_busy(is_busy=True),
                lambda: be_busy(is_busy=False),
                patience=seconds,
            )
        if kind == "full":
            if not outputs.may_mount:
                raise NotHereError("only root can give the outputs a file system of their own")
            ballast = outputs.ballast
            return Fault(
                *(kind, "", FILES, seconds),
                lambda: _fill(ballast),
                lambda: ballast.unlink(missing_ok=True),
                patience=seconds,
            )
        if kind == "unlink":
            lose, concerned = outputs.lose_database, frozenset({"database"})
            return Fault(kind, "", concerned, seconds, lambda: lose(self.run.journal))
        url = f"bandstand://?seed={self._rng.randrange(400_000, 500_000)}"
        return Fault(
            *(kind, EXTRA, frozenset(), seconds),
            lambda: outputs.add_source(EXTRA, url),
            lambda: outputs.remove_source(EXTRA),
            appears=EXTRA,
        )

    def _disk(self) -> Fault:
        seconds = KINDS["disk"][0]
        if self.run.may_mount:
            ballast = self.run.journal / "ballast"
            begin, end = (lambda: _fill(ballast)), (lambda: ballast.unlink(missing_ok=True))
            return Fault("disk", "file system", frozenset(), seconds, begin, end)
        pid = self.pids()["publisher"]
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)

        def limit(n_bytes: int) -> None:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (n_bytes, hard))

        return Fault(
            "disk", "file size", frozenset(), seconds, lambda: limit(0), lambda: limit(hard)
        )

    def _shm(self) -> Fault:
        if self.run.shm is None:
            raise NotHereError("only root can give the run a /dev/shm of its own")
        ballast = self.run.shm / "ballast"
        begin, end = (lambda: _fill(ballast)), (lambda: ballast.unlink(missing_ok=True))
        return Fault("shm", "", frozenset(), KINDS["shm"][0], begin, end)

    def _slow(self) -> Fault:
        contexts: list[zmq.Context[zmq.Socket[bytes]]] = []

        def begin() -> None:
            contexts.append(zmq.Context())
            for _ in range(N_SLOW):
                socket = contexts[0].socket(zmq.SUB)
                socket.set_hwm(1)
                socket.subscribe("")
                socket.connect(self.run.endpoint)

        return Fault(
            *("slow", f"{N_SLOW} subscribers", frozenset(), KINDS["slow"][0]),
            begin,
            lambda: contexts[0].destroy(linger=0),
        )

    def _reload(self) -> Fault:
        extra = {EXTRA: {"url": f"bandstand://?seed={self._rng.randrange(400_000, 500_000)}"}}
        before: dict[str, dict[str, Any]] = dict(self.run.sources)
        return Fault(
            *("reload", EXTRA, frozenset(), KINDS["reload"][0]),
            lambda: self.run.reload(before | extra),
            lambda: self.run.reload(before),
            appears=EXTRA,
        )

    def _pause(self) -> Fault:
        return Fault(
            *("pause", "all", self._everybody, KINDS["pause"][0]),
            lambda: self.run.signal(signal.SIGTSTP),
            lambda: self.run.signal(signal.SIGCONT),
        )

    def _freeze(self) -> Fault:
        pid = self.run.pid
        return Fault(
            *("freeze", "supervisor", frozenset(), KINDS["freeze"][0]),
            lambda: os.kill(pid, signal.SIGSTOP),
            lambda: os.kill(pid, signal.SIGCONT),
        )


def is_gone(pid: int) -> bool:
    """Return whether a process has ended and its parent has taken note of it."""
    return not Path(f"/proc/{pid}").exists()


def _fill(path: Path) -> None:
    """Write a file until its file system is full."""
    block = bytes(FILL_BLOCK)
    with path.open("wb", buffering=0) as file:
        try:
            while block:
                if file.write(block) < len(block):
                    block = block[: len(block) // 2]
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def _nothing() -> None:
    """Do nothing: it is over at once."""
