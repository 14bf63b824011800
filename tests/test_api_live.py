"""The WebSocket and server-sent events, through real sockets and a real hub."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import httpx
import pytest
import websockets.exceptions

from playspot.stream import api_stream, web_client, web_state

Run = Any  # of tests/web.py


@pytest.fixture(scope="module")
def run(web: ModuleType) -> Iterator[Run]:
    with web.ServedRun() as run:
        yield run


@pytest.fixture
def fresh(web: ModuleType) -> Iterator[Run]:
    """A run of its own, without events."""
    with web.ServedRun() as run:
        yield run


@contextmanager
def stream(run: Run, query: str = "", **headers: str) -> Iterator[Iterator[dict[str, Any]]]:
    """Open server-sent events; yield them, with comments under `comment`."""
    with (
        run.client() as client,
        client.stream("GET", f"/api/stream?{query}", headers=headers) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _server_sent(answer)


def _server_sent(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    fields: dict[str, Any] = {}
    for line in answer.iter_lines():
        name, _, value = line.partition(":")
        if line:
            fields[name or "comment"] = value.strip()
        else:
            yield fields
            fields = {}


# WebSocket


def test_it_says_hello(run: Run) -> None:
    with run.connect() as watcher:
        hello = watcher.hello
    assert hello["system_id"] == "c0ffee00"
    assert hello["labels"] == ["violin", "drum"]
    assert hello["can_record"] is False


def test_a_client_that_wants_nothing_gets_nothing(run: Run) -> None:
    with run.connect() as watcher:
        run.step()
        run.event()
        watcher.watch(heat=[])
        with pytest.raises(TimeoutError):
            watcher.take(1.2)


def test_it_brings_events_steps_and_statuses(run: Run) -> None:
    with run.connect() as watcher:
        watcher.watch(events=True, steps=True, status=True)
        assert "sources" in watcher.wait("status")["data"]  # the last ones come at once
        watcher.wait("heartbeat")
        event = run.event(label="drum")
        while (told := watcher.wait("event")["data"])["seq"] < event.seq:
            pass
        assert told == json.loads(event.model_dump_json(by_alias=True))
        run.step(number=7)
        while watcher.wait("step")["data"]["step"] != 7:
            pass


def test_pictures_are_made_only_while_somebody_looks(run: Run) -> None:
    with run.connect() as first, run.connect() as second:
        assert run.do(lambda: run.senders["stage"].side) == 0
        first.watch(pictures={"stage": 320})
        second.watch(pictures={"stage": 640, "cellar": 640})
        picture = first.wait("picture")
        assert picture["jpeg"] == run.jpeg
        assert picture["header"]["source"] == "stage"
        assert picture["header"]["time"] == 1.5
        assert abs(picture["header"]["captured"] - time.time()) < 5
        run.wait(lambda: run.do(lambda: run.senders["stage"].side) == 640)
        second.watch(events=True)
        run.wait(lambda: run.do(lambda: run.senders["stage"].side) == 320)
    run.wait(lambda: run.do(lambda: run.senders["stage"].side) == 0)
    assert run.do(lambda: run.senders["hall"].side) == 0


def test_heat_is_made_only_while_somebody_looks(run: Run) -> None:
    assert not run.heat()
    with run.connect() as watcher:
        watcher.watch(heat=["stage"])
        run.wait(run.heat)
        assert watcher.wait("heat")["data"]["source"] == "stage"
        watcher.watch()
        run.wait(lambda: not run.heat())


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "[]",
        '{"type": "look"}',
        '{"pictures": {"a/b": 640}}',
        '{"pictures": {"a": 1}}',
        b"x",
    ],
)
def test_a_malformed_message_is_answered_with_an_error(run: Run, message: str | bytes) -> None:
    with run.connect() as watcher:
        watcher.socket.send(message)
        error = watcher.wait("error")
        assert "\n" not in error["message"]
        watcher.watch(status=True)  # and the connection goes on
        watcher.wait("status")


def test_a_message_that_is_too_large_ends_the_connection(run: Run) -> None:
    with run.connect() as watcher:
        watcher.socket.send("x" * 70_000)
        with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
            watcher.take()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


def test_a_client_comes_back_and_misses_nothing(fresh: Run) -> None:
    run = fresh
    with run.connect() as watcher:
        watcher.watch(events=True)
        run.event()
        assert watcher.wait("event")["data"]["seq"] == 0
    run.events(700)  # more than one answer of the replay holds
    with run.connect() as watcher:
        watcher.watch(events=True, since={"stage": ["c0ffee00", 1]})
        run.event()
        assert [watcher.wait("event")["data"]["seq"] for _ in range(701)] == [*range(1, 702)]


def test_events_the_hub_lost_are_replayed_to_clients(fresh: Run) -> None:
    run = fresh
    with run.connect() as watcher:
        watcher.watch(events=True)
        run.event()
        assert watcher.wait("event")["data"]["seq"] == 0
        sides = run.hub._sides
        run.do(lambda: setattr(run.hub, "_sides", []))  # what is published reaches nobody
        run.events(5)
        run.do(lambda: setattr(run.hub, "_sides", sides))
        assert [watcher.wait("event")["data"]["seq"] for _ in range(5)] == [1, 2, 3, 4, 5]


def test_a_client_that_reads_too_slowly_is_sent_away_and_others_lose_nothing(
    fresh: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_client, "MOST_WAITING", 50)
    run = fresh
    url = httpx.URL(run.url)
    narrow = socket.create_connection((url.host, url.port))
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    with run.connect() as fast, run.connect(sock=narrow, max_queue=1) as slow:
        fast.watch(events=True)
        slow.watch(events=True)
        got = []
        for _ in range(50):
            run.events(20)
            got += [fast.wait("event")["data"]["seq"] for _ in range(20)]
        assert got == [*range(1000)]
        with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
            [slow.take() for _ in range(1000)]
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013


def test_there_are_only_so_many_clients(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_state, "MOST_CLIENTS", 1)
    with run.connect():
        with (
            pytest.raises(websockets.exceptions.ConnectionClosedError, match="1013"),
            run.connect(),
        ):
            pass
        assert run.get("/api/stream").status_code == 503


def test_at_the_end_clients_are_told(web: ModuleType) -> None:
    with web.ServedRun() as run, run.connect() as watcher, stream(run) as sent:
        assert next(sent) == {"retry": "2000"}
        seconds = run.stop()
        with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
            watcher.take()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        assert [fields["comment"] for fields in sent] == ["the program ends"]
        assert seconds < 2


# Server-sent events


def test_a_stream_brings_what_is_asked_for(fresh: Run) -> None:
    run = fresh
    with stream(run, "kinds=event,step,status&source=stage&label=violin") as sent:
        assert next(sent) == {"retry": "2000"}
        assert next(sent)["event"] == "status"
        run.event("hall")
        run.event("stage", "drum")
        event = run.event("stage", "violin")
        run.step("hall")
        run.step("stage")
        got = [each for each in (next(sent) for _ in range(4)) if each["event"] != "status"][:2]
        assert [each["event"] for each in got] == ["event", "step"]
        assert got[0]["id"] == "c0ffee00:stage:1"
        assert json.loads(got[0]["data"]) == json.loads(event.model_dump_json(by_alias=True))


def test_a_stream_goes_on_after_the_last_id(fresh: Run) -> None:
    run = fresh
    for source in ("stage", "hall", "stage", "hall", "stage"):
        run.event(source)
    # Events of all sources that came after it, in their order.
    with stream(run, "", **{"Last-Event-ID": "c0ffee00:hall:0"}) as sent:
        next(sent)
        ids = [next(sent)["id"] for _ in range(3)]
        run.event("stage")
        ids.append(next(sent)["id"])
    of = ["stage:1", "hall:1", "stage:2", "stage:3"]
    assert ids == [f"c0ffee00:{each}" for each in of]


@pytest.mark.parametrize("last_id", ["", "x", "a:b", "a:b:-1", "a:b:" + "9" * 40])
def test_an_id_that_is_none_begins_anew(run: Run, last_id: str) -> None:
    with stream(run, "kinds=status", **{"Last-Event-ID": last_id}) as sent:
        assert next(sent) == {"retry": "2000"}
        assert next(sent)["event"] == "status"


def test_an_unknown_kind_is_refused(run: Run) -> None:
    answer = run.get("/api/stream?kinds=event,heat")
    assert answer.status_code == 400
    assert answer.json()["error"] == "kinds: 'heat' is unknown; give event, step, status"


def test_a_silent_stream_says_that_it_lives(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_stream, "COMMENT_INTERVAL", 0.1)
    with stream(run, "source=cellar") as sent:
        next(sent)
        assert next(sent) == {"comment": "nothing new"}


def test_a_stream_that_is_left_costs_nothing(run: Run) -> None:
    def n_streams() -> int:
        text = run.get("/metrics").text
        lines = [line for line in text.splitlines() if "clients" in line and "stream" in line]
        return int(float(lines[0].split()[-1])) if lines else 0

    before = n_streams()
    with stream(run) as sent:
        next(sent)
        run.wait(lambda: n_streams() == before + 1)
    run.wait(lambda: n_streams() == before)
