"""What `playspot run` writes to a terminal: in place, and never at the cost of detection."""

import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from playspot.stream.event_lines import heard_line
from playspot.stream.events import Event, ModelInfo
from playspot.stream.live_table import live_table
from playspot.stream.run_screen import RunScreen


class Terminal:
    """The lines that a terminal shows: enough of one for what is written to it here."""

    def __init__(self) -> None:
        self.lines = [""]
        self.row = self.column = 0

    def feed(self, text: str) -> None:
        for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", text):
            if part == "\r":
                self.column = 0
            elif part == "\n":
                self.row, self.column = self.row + 1, 0
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif part.endswith("A") and part.startswith("\x1b"):
                self.row = max(0, self.row - int(part[2:-1]))
            elif part == "\x1b[K":
                self.lines[self.row] = self.lines[self.row][: self.column]
            elif part == "\x1b[J":
                self.lines[self.row] = self.lines[self.row][: self.column]
                del self.lines[self.row + 1 :]
            elif not part.startswith("\x1b"):
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + part + line[self.column + len(part) :]
                self.column += len(part)

    @property
    def shown(self) -> list[str]:
        return [line.rstrip() for line in self.lines if line.strip()]


def console(width: int = 40, height: int = 12) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=height)


def test_a_drawing_replaces_the_one_before_and_lines_stay_above() -> None:
    terminal, screen = Terminal(), RunScreen(console())
    terminal.feed(screen.draw([Text("one"), Text("two"), Text("three")], ["told first"]))
    terminal.feed(screen.draw([Text("uno", "red"), Text("dos")], ["told then"]))
    assert terminal.shown == ["told first", "told then", "uno", "dos"]
    terminal.feed(screen.draw([], ["the end"]))
    assert terminal.shown == ["told first", "told then", "the end"]


def test_nothing_is_written_where_nothing_was_drawn() -> None:
    assert RunScreen(console()).draw([]) == ""


def test_lines_that_a_narrower_terminal_has_wrapped_are_replaced_too() -> None:
    wide = console(40)
    screen = RunScreen(wide)
    screen.draw([Text("x" * 39), Text("y" * 10)])
    wide.width = 20
    assert screen.draw([Text("z")]).startswith("\x1b[3A")


def test_the_drawing_never_goes_up_beyond_the_terminal() -> None:
    screen = RunScreen(console(height=5))
    screen.draw([Text("a")] * 30)
    assert screen.draw([Text("b")]).startswith("\x1b[4A")


@pytest.mark.parametrize(("is_terminal", "kind"), [(False, "xterm"), (True, "dumb")])
def test_without_a_terminal_that_can_draw_there_is_no_table(
    is_terminal: bool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal, raising=False)
    assert live_table() is None


@pytest.mark.usefixtures("utc")
def test_listeners_see_the_local_time_and_no_control_characters() -> None:
    event = Event(
        type="end",
        id="a",
        source="a\x1b[2J",
        label="drum",
        score=0.2,
        top_score=0.9,
        start_time=1.0,
        end_time=3.5,
        time=4.0,
        wall_time=1_790_035_201,
        step=8,
        seq=3,
        system_id="b",
        model=ModelInfo(name="m", hash="h", engine="e", precision="fp32"),
    )
    line = "00:00:01  a?[2J  0:04.0  end     drum        0.20  after 2.5 s, best 0.90"
    assert heard_line(event) == line


@contextmanager
def run_in_terminal(folder: Path, *options: str) -> Iterator[tuple[int, int, str]]:
    """Yield process id, terminal and endpoint of a `playspot run` of rendered players."""
    endpoint = f"ipc://@playspot-test-teller-{os.getpid()}-{time.monotonic_ns()}"
    words = ["run", "bandstand://?seed=300010&labels=guitar", "--publish", endpoint, *options]
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", XDG_STATE_HOME=str(folder))
        os.execv(sys.executable, [sys.executable, "-m", "playspot.stream", *words])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    try:
        yield pid, terminal, endpoint
    finally:
        os.close(terminal)
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def read_until(terminal: int, screen: Terminal, done: Callable[[str], bool], seconds: float) -> str:
    """Return what the terminal shows once it is as wanted; fail after a deadline."""
    deadline, rest = time.monotonic() + seconds, b""
    while not done("\n".join(screen.shown)):
        assert time.monotonic() < deadline, "\n".join(screen.shown)
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                got = os.read(terminal, 65536)
            except OSError:
                break  # the other end has gone
            rest += got
            text = rest.decode(errors="ignore")
            whole = text.rfind("\n") + 1
            rest = rest[len(text[:whole].encode()) :]
            screen.feed(text[:whole])
    return "\n".join(screen.shown)


def wait_for_exit(pid: int, seconds: float) -> int:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, code = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(code)
        select.select([], [], [], 0.02)
    raise AssertionError(f"did not end within {seconds} s")


@pytest.mark.live
def test_a_run_draws_its_table_on_a_terminal_and_ends_with_a_summary(tmp_path: Path) -> None:
    screen = Terminal()
    with run_in_terminal(tmp_path) as (pid, terminal, endpoint):
        playing = r"● bandstand +live .+/s[\s\S]+guitar +\d\.\d\d +0:\d\d +[▁-█ ]+"
        text = read_until(terminal, screen, lambda text: bool(re.search(playing, text)), 40)
        assert text.count("playspot  up") == 1
        assert f"events go to {endpoint}" in text
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 50, 0, 0))
        read_until(terminal, screen, lambda text: "p50/p95" in text and "A/V" not in text, 10)
        os.write(terminal, b"\x03")
        text = read_until(terminal, screen, lambda text: "interrupted" in text, 3)
        assert wait_for_exit(pid, 3) == 130
    assert "playspot  up" not in text
    assert re.search(r"bandstand: \d+ steps, dropped none; guitar 0:\d\d \(\dx, best", text)


STUCK = """
import sys
from playspot.stream.teller import Teller

with Teller(as_json=False) as teller:
    for _ in range(500):
        teller.say("x" * 200)
print("the last line", file=sys.stderr)
sys.exit(7)
"""


@pytest.mark.parametrize("kind", ["xterm", "dumb"])
def test_a_terminal_that_nobody_reads_does_not_hold_up_the_program(kind: str) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = kind
        os.execv(sys.executable, [sys.executable, "-c", STUCK])
    try:
        assert wait_for_exit(pid, 10) == 7
    finally:
        os.close(terminal)


def test_a_terminal_that_is_closed_does_not_end_the_program() -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.execv(sys.executable, [sys.executable, "-c", STUCK])
    os.read(terminal, 100)
    os.close(terminal)
    # Its own last line fails: nobody is there, and Python says so on its way out.
    assert wait_for_exit(pid, 10) in (1, 7, 120)
