"""The program under test: a real `playspot run` in processes of its own, and what it leaves behind.

In: sources and a folder. Out: process ids, the way to reload and to stop it, and leftovers. Needs
/proc. As root, the run gets a file system of its own for its journal and for /dev/shm, so that both
can be filled; else the journal's process is forbidden to write (see `soak_faults.py`).
"""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

JOURNAL_SIZE = "128m"
SHM_SIZE = "16m"
MARK = "PLAYSPOT_SOAK"  # environment variable by which the run's processes are known
GRACE = 1.0  # s; Python's own helper process ends when it sees that its pipe is closed
STOP_PATIENCE = 15.0  # s; then it is killed, and the check has failed anyway


class SoakError(RuntimeError):
    """A soak that cannot be done; the message is one line for the user."""


def can_mount() -> bool:
    """Return whether this process may mount file systems."""
    done = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def free_port() -> int:
    """Return a TCP port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class RunUnderTest:
    """A `playspot run CONFIG` that is started on entering and gone after leaving.

    Parameters
    ----------
    folder : Path
        Empty; configuration, log, journal and temporary files go there.
    sources : dict
        Name to configuration, as in YAML.
    models : Path, optional
    settings : dict
        Further keys of the configuration.
    may_mount : bool
        See the module.
    """

    folder: Path
    sources: dict[str, dict[str, Any]]
    models: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    may_mount: bool = False
    endpoint: str = ""
    mark: str = field(default_factory=lambda: secrets.token_hex(8))
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def journal(self) -> Path:
        """Folder of the journal."""
        return self.folder / "journal"

    @property
    def log(self) -> Path:
        """What the run says on standard error."""
        return self.folder / "run.log"

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        if self._process is None:
            raise SoakError("the run has not been started; enter it first")
        return self._process.pid

    @property
    def shm(self) -> Path | None:
        """Its own /dev/shm, seen from here; None where it is everybody's."""
        return Path(f"/proc/{self.pid}/root/dev/shm") if self.may_mount else None

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return None if self._process is None else self._process.poll()

    def __enter__(self) -> "RunUnderTest":
        for folder in (self.folder, self.journal, self.folder / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        if self.may_mount:
            mount(self.journal, JOURNAL_SIZE)
        self.endpoint = f"tcp://127.0.0.1:{free_port()}"
        self.configure(self.sources)
        self.start()
        return self

    def start(self) -> None:
        """Start the program; it must have ended if it was started before."""
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a script
            signal.signal(signal.SIGINT, signal.default_int_handler)  # the run would inherit that
        try:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    env=os.environ
                    | {
                        MARK: self.mark,
                        "TMPDIR": str(self.folder / "tmp"),
                        "PYTHONFAULTHANDLER": "1",
                    },
                    process_group=0,  # as a shell does; so it can be stopped as by Ctrl-Z
                )
        except OSError as error:
            self.__exit__()
            raise SoakError(f"playspot run cannot be started: {error}") from None

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.signal(signal.SIGKILL)
            self._process.wait(STOP_PATIENCE)
        for pid in self.survivors():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.may_mount:
            unmount(self.journal)

    def configure(self, sources: dict[str, dict[str, Any]]) -> None:
        """Write the configuration; a run that runs takes it over on `reload`."""
        config = {
            "sources": sources,
            "publish": self.endpoint,
            "journal": str(self.journal),
            **({"models": str(self.models)} if self.models is not None else {}),
            **self.settings,
        }
        fresh = self.folder / "playspot.yaml.new"
        fresh.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        fresh.replace(self.folder / "playspot.yaml")  # never half of it

    def reload(self, sources: dict[str, dict[str, Any]]) -> None:
        """Let the run take over other sources."""
        self.configure(sources)
        os.kill(self.pid, signal.SIGHUP)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all processes of the run, as a terminal does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def stop(self) -> float:
        """Press Ctrl-C; return the seconds until the supervisor had ended."""
        assert self._process is not None
        began = time.monotonic()
        self.signal(signal.SIGINT)
        try:
            self._process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            os.kill(self.pid, signal.SIGABRT)  # the log then says where it hangs
            self._process.wait(STOP_PATIENCE)
        return time.monotonic() - began

    def survivors(self) -> list[int]:
        """Return the process ids of what was started by this run and is still there."""
        wanted = f"{MARK}={self.mark}".encode()
        found = []
        for environment in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if wanted in environment.read_bytes().split(b"\0"):
                    found.append(int(environment.parent.name))
        return found

    def leftovers(self) -> list[str]:
        """Return what is left of a run soon after its end: processes, sockets, files."""
        deadline = time.monotonic() + GRACE
        while (left := self._left()) and time.monotonic() < deadline:
            time.sleep(GRACE / 20)
        return left

    def _left(self) -> list[str]:
        left = [f"process {pid}" for pid in self.survivors()]
        sockets = Path("/proc/net/unix").read_text("ascii", "replace").split()
        left += sorted({word for word in sockets if word.startswith(f"@playspot-{self.pid}-")})
        left += [str(path) for path in (self.folder / "tmp").iterdir()]
        left += [str(path) for path in Path("/dev/shm").glob(f"*playspot*{self.pid}*")]
        return left

    def _command(self) -> list[str]:
        run = [sys.executable, "-m", "playspot.stream", "run", str(self.folder / "playspot.yaml")]
        if not self.may_mount:
            return run
        # A /dev/shm of its own; `exec` keeps the process id.
        script = f'mount -t tmpfs -o size={SHM_SIZE} tmpfs /dev/shm && exec "$@"'
        return ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script, "sh", *run]


def mount(folder: Path, size: str) -> None:
    """Give a folder a file system of its own, in memory."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SoakError(f"{folder}: no file system can be mounted ({done.stderr.strip()})")


def unmount(folder: Path) -> None:
    """Take it away again."""
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)
