"""`playspot run` with the live page: everything through real processes and sockets."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import cv2
import httpx
import numpy as np
import psutil
import pytest
import websockets.exceptions
import websockets.sync.client

pytestmark = pytest.mark.live

Run = Any  # of tests/live.py
SECONDS = 20.0


@pytest.fixture(scope="module")
def run(live: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with socket.create_server(("127.0.0.1", 0)) as free:  # one that it can come back to
        port = free.getsockname()[1]
    config = {
        "sources": {"stage": {"url": "bandstand://"}},
        "web": {"listen": f"127.0.0.1:{port}", "token": "a token of this test"},
    }
    with live.RunningProgram(config, tmp_path_factory.mktemp("run")) as program:
        program.wait(lambda: program.statuses.get("", {}).get("web"))
        program.wait_for_steps(["stage"])
        yield program


@pytest.fixture
def client(run: Run) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=run.statuses[""]["web"],
        headers={"authorization": "Bearer a token of this test"},
        trust_env=False,
        timeout=SECONDS,
    ) as client:
        yield client


@contextmanager
def watch(client: httpx.Client, **wants: Any) -> Iterator[websockets.sync.client.ClientConnection]:
    with websockets.sync.client.connect(
        str(client.base_url.join("api/ws")).replace("http", "ws", 1),
        additional_headers={"authorization": client.headers["authorization"]},
        proxy=None,
        compression=None,
        max_queue=None,
    ) as connection:
        assert json.loads(connection.recv(SECONDS))["type"] == "hello"
        connection.send(json.dumps({"type": "watch", **wants}))
        yield connection


def events(connection: Any, n: int) -> list[tuple[float, dict[str, Any]]]:
    """Return the next events, with the Unix time of their arrival."""
    found: list[tuple[float, dict[str, Any]]] = []
    deadline = time.monotonic() + SECONDS
    while len(found) < n:
        message = connection.recv(deadline - time.monotonic())
        arrived = time.time()
        if isinstance(message, str) and (told := json.loads(message))["type"] == "event":
            found.append((arrived, told["data"]))
    return found


def test_it_is_ready_and_tells_of_itself(run: Run, client: httpx.Client) -> None:
    assert client.get("/readiness").json()["live"] == ["stage"]
    status = client.get("/api/status").json()
    assert {worker["name"] for worker in status["run"]["workers"]} >= {"web", "sinks", "publisher"}
    assert status["sources"][0]["url"].startswith("bandstand://")
    assert "playspot_" in client.get("/metrics").text


def test_an_event_is_at_a_client_within_100_ms(run: Run, client: httpx.Client) -> None:
    with watch(client, events=True, pictures={"stage": 640}) as connection:
        found = events(connection, 8)[2:]  # the open ones are older
    took = sorted(arrived - event["wall_time"] for arrived, event in found)
    assert took[len(took) // 2] < 0.1


def test_pictures_of_a_real_source_arrive(run: Run, client: httpx.Client) -> None:
    with watch(client, pictures={"stage": 320}) as connection:
        message = connection.recv(SECONDS)
    assert isinstance(message, bytes)
    n = int.from_bytes(message[:4], "big")
    header = json.loads(message[4 : 4 + n])
    picture = cv2.imdecode(np.frombuffer(message[4 + n :], np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert max(picture.shape) <= 320
    assert 0 < time.time() - header["captured"] < 2


def test_the_history_knows_what_was_played(run: Run, client: httpx.Client) -> None:
    run.wait(lambda: client.get("/api/events?limit=1").json()["events"], SECONDS)
    event = client.get("/api/events?limit=1").json()["events"][0]
    assert client.get(f"/api/events/{event['id']}").json()["label"] == event["label"]


def test_a_source_is_added_and_removed(run: Run, client: httpx.Client) -> None:
    source = {"name": "nowhere", "url": "rtsp://admin:hunter2@127.0.0.1:1/stage"}
    answer = client.post("/api/sources", json=source)
    assert answer.status_code == 201, answer.text
    assert client.post("/api/sources", json=source).status_code == 409
    assert client.get("/api/sources/nowhere").json()["url"] == "rtsp://***@127.0.0.1:1/stage"
    assert client.delete("/api/sources/nowhere").status_code == 204
    assert client.get("/api/sources/nowhere").status_code == 404


def test_no_process_shows_the_token(run: Run) -> None:
    processes = psutil.Process(run.process.pid).children(recursive=True)
    assert not any("a token of this test" in " ".join(p.cmdline()) for p in processes)
    assert "a token of this test" not in run.log.read_text()
    assert "hunter2" not in run.log.read_text()


def test_a_killed_web_process_comes_back_and_no_event_is_missed(
    run: Run, client: httpx.Client
) -> None:
    with watch(client, events=True) as connection:
        before = events(connection, 4)[-1][1]
        os.kill(run.pid("web"), signal.SIGKILL)
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            events(connection, 1000)
    url = run.statuses[""]["web"]

    def is_back() -> bool:
        try:
            return httpx.get(f"{url}healthz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    run.wait(is_back, SECONDS)
    since = {"stage": [before["system_id"], before["seq"] + 1]}
    with watch(client, events=True, since=since) as connection:
        found = [event["seq"] for _, event in events(connection, 6)]
    assert found == [*range(before["seq"] + 1, before["seq"] + 7)]


def test_of_a_killed_publisher_clients_notice_nothing(run: Run, client: httpx.Client) -> None:
    with watch(client, events=True) as connection:
        first = events(connection, 4)[-1][1]["seq"]
        os.kill(run.pid("publisher"), signal.SIGKILL)
        found = [event["seq"] for _, event in events(connection, 8)]
    assert found == [*range(first + 1, first + 9)]


def test_it_ends_with_the_run(run: Run, client: httpx.Client) -> None:
    with watch(client, events=True) as connection:
        assert run.stop() in (0, 130)
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            events(connection, 1000)
