"""What `playspot run` tells a person and a program; what it does is in `test_live_run.py`."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import zmq

from playspot.stream.event_lines import EventLines
from playspot.stream.events import Event, ModelInfo
from playspot.stream.publish import Publisher

pytestmark = pytest.mark.live


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "playspot.stream", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("run", "x.mp4", "--latency", "fast"), 2, "give normal or low"),
        (("run", "x.mp4", "--budget", "99"), 2, "give at most 60"),
        (("run", "x.mp4", "--labels", "violn"), 2, "did you mean 'violin'?"),
        (("run", "rtps://camera/1"), 2, "did you mean 'rtsps'?"),
        (("run", "a.yaml", "b.mp4"), 2, "give it alone"),
        (("run", "bandstand://", "--budget", "0.5"), 1, "look 0.736 s ahead"),
        (("run", "nowhere.yaml"), 1, "No such file"),
        (("probe", "nowhere.mp4"), 1, "no such file"),
    ],
)
def test_what_is_wrong_is_one_line_with_what_to_do(
    words: tuple[str, ...], code: int, told: str
) -> None:
    done = run(*words)
    assert done.returncode == code
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_each_thing_wrong_in_a_configuration_has_its_own_line(tmp_path: Path) -> None:
    path = tmp_path / "home.yaml"
    path.write_text("sources:\n  a: {url: x.mp4, lop: true}\nbudget: 99\n")
    done = run("run", str(path))
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert [line.split(": ")[1].rpartition(":")[2] for line in lines] == ["2", "3"]


def test_a_run_for_some_seconds_ends_by_itself_with_json_events_only(tmp_path: Path) -> None:
    config = {
        "sources": {"stage": {"url": "bandstand://?seed=300010&labels=guitar"}},
        "publish": "auto",
        "journal": str(tmp_path / "journal"),
    }
    path = tmp_path / "playspot.yaml"
    path.write_text(json.dumps(config))
    done = run("run", str(path), "--for", "9", "--json")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {event["source"] for event in events} == {"stage"}
    assert {event["label"] for event in events} == {"guitar"}
    assert [event["seq"] for event in events] == [*range(len(events))]
    opened = [event["id"] for event in events if event["type"] == "new"]
    assert sorted(opened) == sorted(e["id"] for e in events if e["type"] == "end")
    assert opened
    assert "connecting" in done.stderr
    assert re.search(r"events on (\S+) \(playspot listen \1\)", done.stderr)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    publisher = Publisher(context, f"ipc://@playspot-test-lines-{os.getpid()}")
    yield publisher
    publisher.close()
    context.term()


def event(seq: int, kind: Literal["new", "update", "end"]) -> Event:
    return Event(
        type=kind,
        id="stage.1",
        source="stage",
        label="drum",
        score=0.9,
        top_score=0.9,
        start_time=1.0,
        time=1.5,
        wall_time=0,
        step=3,
        seq=seq,
        system_id="b",
        model=ModelInfo(name="m", hash="h", engine="e", precision="fp32"),
    )


def taken(publisher: Publisher, lines: EventLines, n: int) -> list[str]:
    """Return `n` lines, or fewer after a deadline."""
    found: list[str] = []
    deadline = time.monotonic() + 10.0
    while len(found) < n and time.monotonic() < deadline:
        publisher.greet()
        found += lines.take(0.05)
    return found


def test_people_see_beginnings_and_ends_each_once(publisher: Publisher) -> None:
    lines = EventLines(publisher.endpoint, as_json=False)
    publisher.publish(event(0, "new"))
    found = taken(publisher, lines, 1)  # an event that is open comes first
    for each in (event(1, "update"), event(1, "update"), event(2, "end"), event(2, "end")):
        publisher.publish(each)
    publisher.publish(event(3, "new"))
    found += taken(publisher, lines, 2)
    lines.close()
    assert [line.split()[2] for line in found] == ["new", "end", "new"]
