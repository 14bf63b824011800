"""The outputs of a soak: all that a run can write to, all that can listen, and what each has got.

In: a run with files, a database, MQTT, a webhook, recordings and a live page, and the endpoint.
Out: a `Copies` for each place, to be compared with the journal's. What is not installed here
(mosquitto, paho-mqtt) is left out, with the reason.
"""

import contextlib
import importlib.util
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..stream.stored_event import captured_at
from .soak_clients import (
    JPEG_END,
    JPEG_START,
    Deaf,
    Listen,
    PageSocket,
    ServerSent,
    fetch,
    fetch_until,
)
from .soak_ledger import Copies, Row
from .soak_places import HOST, SECRET, Broker, Hook, has_row_since, last_line, mosquitto
from .soak_run import SoakError, free_port, mount, unmount

LOOK_INTERVAL = 0.2  # s between two looks for signs of life
DISK_MB = 128.0  # of the outputs' own file system, and
DISK_MB_PER_HOUR = 128.0  # a source
KEEP_MB = 40  # of recordings
PAGE = 500  # events of the history at once
CHANGE_TIME = 10.0  # s for a source to be added over HTTP
SETTLE_TIME = 8.0  # s for everybody to have got everything


@dataclass
class Outputs:
    """All outputs of a soak; enter it before the run, `connect` when that has been started.

    Parameters
    ----------
    folder : Path
        For the files of the outputs.
    sources : tuple of str
        The first one's pictures are watched.
    seconds : float
        Of the soak.
    may_mount : bool
        Give the files a file system of their own.
    hear : callable
        Takes the name of a place and the Unix time of capture of what it has got.

    Attributes
    ----------
    copies : dict
        Place to what it has got.
    refilled_since : float
        Unix time of the oldest event from which the database was refilled, 0 if it never was.
    left_out : dict
        Place to the reason.
    """

    folder: Path
    sources: tuple[str, ...]
    seconds: float
    may_mount: bool
    hear: Callable[[str, float], None] = lambda place, captured: None
    copies: dict[str, Copies] = field(default_factory=dict)
    refilled_since: float = 0.0
    left_out: dict[str, str] = field(default_factory=dict)
    broker: Broker | None = None
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _looked: float = 0.0

    def __enter__(self) -> "Outputs":
        for module in ("fastapi", "uvicorn", "websockets"):
            if importlib.util.find_spec(module) is None:
                raise SoakError(
                    f"{module} is missing: pip install 'playspot[web]', or --no-outputs"
                )
        with contextlib.ExitStack() as stack:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.may_mount:
                n_hours = len(self.sources) * self.seconds / 3600
                mount(self.folder, f"{DISK_MB + DISK_MB_PER_HOUR * n_hours:.0f}m")
                stack.callback(unmount, self.folder)
            self.hook = stack.enter_context(Hook(self._taker("webhook")))
            if mosquitto() is None or importlib.util.find_spec("paho") is None:
                self.left_out["mqtt"] = "needs mosquitto and paho-mqtt"
            else:
                folder = self.folder.with_name("broker")
                self.broker = stack.enter_context(Broker(folder, self._taker("mqtt")))
            self.port = free_port()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def settings(self) -> dict[str, Any]:
        """What the configuration of the run says of them."""
        mqtt = {} if self.broker is None else {"mqtt": {"port": self.broker.port}}
        return {
            "jsonl": {"path": str(self._jsonl), "rotate_mb": 1, "keep": 10_000},
            "database": {"path": str(self.database)},
            "webhooks": {
                "soak": {
                    "url": f"http://{HOST}:{self.hook.port}/",
                    "secret": SECRET,
                    "types": ["new", "update", "end"],
                    "timeout": 2,
                }
            },
            "recordings": {"folder": str(self.recordings), "clips": True, "keep_mb": KEEP_MB},
            "web": {"listen": f"{HOST}:{self.port}"},
            **mqtt,
        }

    @property
    def database(self) -> Path:
        """The file of the database."""
        return self.folder / "events.sqlite"

    @property
    def recordings(self) -> Path:
        """Folder of snapshots and clips."""
        return self.folder / "recordings"

    @property
    def ballast(self) -> Path:
        """A file that may fill their file system."""
        return self.folder / "ballast"

    @property
    def _jsonl(self) -> Path:
        return self.folder / "events.jsonl"

    def connect(self, endpoint: str, known: tuple[str, ...]) -> None:
        """Let everybody listen; `known` are all sources that there will ever be."""
        logs = self.folder.parent
        for place in ("listen", "dozing"):
            client = Listen(endpoint, logs / f"{place}.log", self._taker(place))
            self._stack.callback(client.close)
        self.dozing = client
        port, pictured = self.port, self.sources[0]
        stream = ServerSent(port, self._taker("sse"), lambda at: self.hear("sse", at))
        page = PageSocket(port, known, pictured, self._taker("ws"), lambda at: self.hear("web", at))
        for waiting in (stream, page, Deaf(port, endpoint, self.sources)):
            self._stack.callback(waiting.close)
        self.page = page

    def turn(self, expected: dict[str, float]) -> None:
        """Look for signs of life, since a Unix time, of places that do not call by themselves."""
        now = time.monotonic()
        if now - self._looked < LOOK_INTERVAL:
            return
        self._looked = now
        if "jsonl" in expected and (event := Copies().add(last_line(self._jsonl))) is not None:
            self.hear("jsonl", captured_at(event))
        if "database" in expected and has_row_since(self.database, expected["database"]):
            self.hear("database", time.time())
        if "recorder" in expected:
            days = self.recordings.glob("[!.]*/*")
            self.hear("recorder", max((_modified(day) for day in days), default=0.0))

    def lose_database(self, journal: Path) -> None:
        """Remove the database; it can only be filled again as far as the journal reaches."""
        copies = Copies()
        oldest = min(journal.glob("events-*.jsonl"))
        with oldest.open("rb") as file:
            events = (event for line in file if (event := copies.add(line)) is not None)
            self.refilled_since = next((event.wall_time for event in events), 0.0)
        for path in self.database.parent.glob(self.database.name + "*"):
            path.unlink()

    def add_source(self, name: str, url: str) -> None:
        """Add a source over HTTP, as soon as that can be."""
        body = {"name": name, "url": url}
        path = "/api/sources"
        status = fetch_until(self.port, path, seconds=CHANGE_TIME, method="POST", body=body)
        if status != 201:
            raise SoakError(f"adding a source over HTTP answers {status}")

    def remove_source(self, name: str) -> None:
        """Remove it again."""
        path = f"/api/sources/{name}"
        status = fetch_until(self.port, path, seconds=CHANGE_TIME, method="DELETE")
        if status != 204:
            raise SoakError(f"removing a source over HTTP answers {status}")

    def has_all(self, journal: Copies, sources: list[str]) -> bool:
        """Return whether everybody has got as many events of some sources as the journal."""
        return all(
            copies.next_seq(source) >= journal.next_seq(source)
            for place, copies in self.copies.items()
            if place != "jsonl"  # read at the end
            for source in sources
        )

    def history(self) -> dict[str, Row]:
        """Return what the HTTP API knows of all events; nothing if it does not answer."""
        found: dict[str, Row] = {}
        cursor = ""
        while True:
            status, page = fetch(self.port, f"/api/events?limit={PAGE}{cursor}")
            if status != 200:
                return {}
            for event in page["events"]:
                names = ("source", "label", "first_seq", "last_seq", "start_time", "end_time")
                values = [event[name] for name in (*names, "state", "top_score")]
                found[event["id"]] = tuple(values)
            if page["next"] is None:
                return found
            cursor = f"&cursor={page['next']}"

    def finish(self) -> None:
        """Read the files; the run has ended."""
        take = self._taker("jsonl")
        for path in [*sorted(self.folder.glob("events-*.jsonl")), self._jsonl]:
            if path.exists():
                for line in path.read_text("utf-8").splitlines():
                    take(line)

    def rows(self) -> dict[str, Row]:
        """Return the rows of the database."""
        names = "source, label, first_seq, last_seq, start_time, end_time, state, top_score"
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            rows = connection.execute(f"SELECT id, {names} FROM events").fetchall()
        return {id_: tuple(row) for id_, *row in rows}

    def pictures(self) -> tuple[int, list[str]]:
        """Return how many snapshots and clips there are, and the names of those that are broken."""
        paths = [path for path in self.recordings.glob("[!.]*/*/*") if path.is_file()]
        return len(paths), [path.name for path in paths if not _is_whole(path)]

    def unfinished(self) -> list[str]:
        """Return what the recorder has left lying."""
        return [str(path) for path in self.recordings.glob(".unfinished/*/*")]

    def _taker(self, place: str) -> Callable[[str], None]:
        copies = self.copies.setdefault(place, Copies())

        def take(text: str) -> None:
            if (event := copies.add(text)) is not None:
                self.hear(place, captured_at(event))

        return take


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _is_whole(path: Path) -> bool:
    content = path.read_bytes()
    if path.suffix == ".jpg":
        return content.startswith(JPEG_START) and content.endswith(JPEG_END)
    return b"moov" in content
