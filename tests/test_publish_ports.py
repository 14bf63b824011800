"""Which ports a real `playspot run` has open, and to whom."""

import ipaddress
import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest
import zmq

from playspot.stream.keys import ClientKeys, make_client_keys, make_server_keys

pytestmark = pytest.mark.live

STAGE = {"stage": {"url": "bandstand://?seed=300010&labels=guitar"}}


def listening(pid: int) -> set[tuple[str, int]]:
    """Return where a process and all that it has started can be reached by TCP or UDP."""
    main = psutil.Process(pid)
    return {
        (connection.laddr.ip, connection.laddr.port)
        for process in [main, *main.children(recursive=True)]
        for connection in process.net_connections("inet")
        if connection.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)
    }


def port_of(program: Any) -> int | None:
    """Return the port of events of a run that has begun."""
    told = re.search(r"events on tcp://\S+:(\d+)", program.log.read_text())
    return None if told is None else int(told[1])


@pytest.mark.skipif(os.name != "posix", reason="looks into /proc")
def test_nobody_outside_reaches_a_run_that_says_nothing_of_the_network(
    live: ModuleType, tmp_path: Path
) -> None:
    outputs = {
        "web": {"listen": "127.0.0.1:0"},
        "jsonl": {"path": str(tmp_path / "events.jsonl")},
        "recordings": {"folder": str(tmp_path / "kept")},
    }
    config = {"sources": STAGE, "publish": "auto", **outputs}
    with live.RunningProgram(config, tmp_path) as program:
        port = program.wait(lambda: port_of(program))
        found = listening(program.process.pid)
    assert port in {port for _, port in found}
    assert len(found) == 3  # of events, of replays, of the page
    assert all(ipaddress.ip_address(address).is_loopback for address, _ in found)


@pytest.mark.skipif(os.name != "posix", reason="looks into /proc")
def test_with_keys_two_ports_are_open_and_only_to_who_is_allowed(
    live: ModuleType, tmp_path: Path
) -> None:
    make_server_keys(tmp_path / "keys")
    make_client_keys(tmp_path / "keys", "desk")
    config = {"sources": STAGE, "publish": "tcp://0.0.0.0:0", "keys": str(tmp_path / "keys")}
    with live.RunningProgram(config, tmp_path) as program, zmq.Context() as context:
        port = program.wait(lambda: port_of(program))
        found = listening(program.process.pid)
        allowed, stranger = context.socket(zmq.SUB), context.socket(zmq.SUB)
        ClientKeys.load(tmp_path / "keys").use(allowed)
        for socket in (stranger, allowed):
            socket.subscribe("playspot/")
            socket.connect(f"tcp://127.0.0.1:{port}")
        heard, refused = allowed.poll(10_000), stranger.poll(1_000)
        for socket in (stranger, allowed):
            socket.close(linger=0)
    assert {address for address, _ in found} == {"0.0.0.0"}
    assert port in {port for _, port in found}
    assert len(found) == 2
    assert heard
    assert not refused
