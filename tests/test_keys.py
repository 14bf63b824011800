"""Keys: `playspot keygen`, and who is served with them. Real CURVE handshakes over TCP."""

import json
import os
import socket as plain
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from types import ModuleType

import pytest
import zmq
import zmq.auth
from typer.testing import CliRunner

from playspot.stream import keys as keys_module
from playspot.stream.__main__ import app
from playspot.stream.addresses import EndpointError
from playspot.stream.keys import ClientKeys, KeysError, ServerKeys, make_client_keys
from playspot.stream.keys import make_server_keys as make_keys
from playspot.stream.publish import Publisher
from playspot.stream.wire import ReplayAnswer

Socket = zmq.Socket[bytes]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_keys(tmp_path / "keys")
    make_client_keys(tmp_path / "keys", "desk")
    return tmp_path / "keys"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_keygen_makes_what_a_server_and_a_subscriber_need(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "keys"
    server = CliRunner().invoke(app, ["keygen", str(folder)])
    client = CliRunner().invoke(app, ["keygen", str(folder), "--client", "desk"])
    assert (server.exit_code, client.exit_code) == (0, 0)
    assert f"keys: {folder}" in server.output
    assert client.output.count("\n") == 1
    assert f"move {folder}/desk.key_secret and copy {folder}/server.key" in client.output
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert names == ["clients/desk.key", "desk.key_secret", "server.key", "server.key_secret"]
    keys = ClientKeys.load(folder)
    assert keys.server == ServerKeys.load(folder).public
    assert (keys.public, keys.secret) == zmq.auth.load_certificate(folder / "desk.key_secret")


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_nobody_else_reads_the_keys(folder: Path) -> None:
    assert mode(folder) == mode(folder / "clients") == 0o700
    assert {mode(path) for path in folder.rglob("*") if path.is_file()} == {0o600}
    (folder / "server.key_secret").chmod(0o604)
    with pytest.raises(KeysError, match="chmod 600"):
        ServerKeys.load(folder)


def test_secrets_are_in_no_repr(folder: Path) -> None:
    for keys in (ServerKeys.load(folder), ClientKeys.load(folder)):
        assert keys.secret.decode() not in repr(keys)


@pytest.mark.parametrize("client", [None, "desk"])
def test_keys_are_never_overwritten(folder: Path, client: str | None) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(KeysError, match="is there already; remove it"):
        make_keys(folder) if client is None else make_client_keys(folder, client)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["", "../desk", "a b", "server", "desk\n", "x" * 65])
def test_a_subscriber_has_a_name_that_is_one(folder: Path, name: str) -> None:
    with pytest.raises(KeysError, match="is not a name for a subscriber"):
        make_client_keys(folder, name)


def test_missing_keys_are_one_clear_line(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(KeysError, match="first run playspot keygen"):
        make_client_keys(tmp_path / "none", "desk")
    with pytest.raises(KeysError, match=r"has no server.key_secret; make it: playspot keygen"):
        ServerKeys.load(tmp_path)
    with pytest.raises(KeysError, match=r"should hold one NAME.key_secret, and holds none"):
        ClientKeys.load(tmp_path)
    make_client_keys(folder, "page")
    with pytest.raises(KeysError, match=r"holds desk.key_secret, page.key_secret; name the file"):
        ClientKeys.load(folder)
    assert ClientKeys.load(folder / "page.key_secret").server == ServerKeys.load(folder).public
    (folder / "server.key").write_text("nothing")
    with pytest.raises(KeysError, match="holds no public-key"):
        ClientKeys.load(folder / "page.key_secret")


class Guarded:
    """A publisher with keys, and sockets that try to reach it."""

    def __init__(self, folder: Path) -> None:
        self.context: zmq.Context[Socket] = zmq.Context()
        self.publisher = Publisher(self.context, "tcp://127.0.0.1:0", system_id="run1", keys=folder)
        self.replay = self.publisher.sockets[1].getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        self.server = ServerKeys.load(folder).public
        self._sockets: list[Socket] = []

    def connected(self, kind: int, keys: ClientKeys | None) -> Socket:
        socket = self.context.socket(kind)
        self._sockets.append(socket)
        if keys is not None:
            keys.use(socket)
        if kind == zmq.SUB:
            socket.subscribe("")
            socket.connect(self.publisher.endpoint)
        else:
            socket.connect(self.replay)
            with suppress(zmq.Again):  # it was turned away already, and is not to wait
                socket.send(json.dumps({"source": "stage"}).encode(), zmq.DONTWAIT)
        return socket

    def turn_until(self, is_so: Callable[[], object], seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not is_so():
            self.publisher.turn()
            assert time.monotonic() < deadline

    def is_served(self, kind: int, keys: ClientKeys | None) -> bool:
        """Return whether something comes; False once a peer was turned away instead."""
        refused = self.publisher.counts()["refused"]
        socket = self.connected(kind, keys)
        self.turn_until(lambda: socket.poll(1) or self.publisher.counts()["refused"] > refused)
        return bool(socket.poll(0))

    def serve(self, kind: int, keys: ClientKeys) -> None:
        """See that something comes, whoever else is turned away meanwhile."""
        socket = self.connected(kind, keys)
        self.turn_until(lambda: socket.poll(1))

    def close(self) -> None:
        for socket in self._sockets:
            socket.close(linger=0)
        self.publisher.close()
        self.context.destroy(linger=0)


@pytest.fixture
def guarded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guarded]:
    monkeypatch.setattr(keys_module, "RELOAD_INTERVAL", 0.0)
    guarded = Guarded(folder)
    yield guarded
    guarded.close()


def stranger(server: bytes) -> ClientKeys:
    return ClientKeys(*zmq.curve_keypair(), server)


def test_an_allowed_subscriber_gets_messages_and_replays(guarded: Guarded, folder: Path) -> None:
    keys = ClientKeys.load(folder)
    heard, asking = guarded.connected(zmq.SUB, keys), guarded.connected(zmq.DEALER, keys)
    guarded.turn_until(lambda: heard.poll(1) and asking.poll(1))
    assert heard.recv_multipart()[0] == b"playspot/heartbeat/v1/"
    assert ReplayAnswer.model_validate_json(asking.recv()).system_id == "run1"
    assert guarded.publisher.counts()["refused"] == 0


@pytest.mark.parametrize("kind", [zmq.SUB, zmq.DEALER])
@pytest.mark.parametrize("who", ["a stranger", "without keys", "of another server"])
def test_others_get_nothing_and_are_counted(
    guarded: Guarded, folder: Path, kind: int, who: str
) -> None:
    keys = {
        "a stranger": stranger(guarded.server),
        "without keys": None,
        "of another server": ClientKeys(*zmq.curve_keypair(), zmq.curve_keypair()[0]),
    }[who]
    assert not guarded.is_served(kind, keys)
    assert guarded.publisher.counts()["refused"] >= 1
    assert guarded.publisher.counts()["subscriptions"] == 0
    assert guarded.publisher.counts()["replayed"] == 0
    guarded.serve(kind, ClientKeys.load(folder))  # others are served as before


def test_a_key_is_allowed_and_revoked_without_a_restart(guarded: Guarded, folder: Path) -> None:
    make_client_keys(folder, "page")
    page = ClientKeys.load(folder / "page.key_secret")
    guarded.serve(zmq.SUB, page)
    (folder / "clients" / "page.key").unlink()
    assert not guarded.is_served(zmq.SUB, page)
    guarded.serve(zmq.SUB, ClientKeys.load(folder / "desk.key_secret"))


def test_the_list_of_keys_is_read_once_a_second_at_most(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = keys_module.AllowedKeys(folder / "clients")
    key = ClientKeys.load(folder).public
    assert allowed.name_of(key) == "desk"
    (folder / "clients" / "desk.key").unlink()
    assert allowed.name_of(key) == "desk"
    monkeypatch.setattr(keys_module, "RELOAD_INTERVAL", 0.0)
    assert allowed.name_of(key) is None


def test_a_broken_file_among_the_keys_does_not_lock_out_the_others(folder: Path) -> None:
    (folder / "clients" / "broken.key").write_bytes(b"\xff\0")
    (folder / "clients" / "folder.key").mkdir()
    allowed = keys_module.AllowedKeys(folder / "clients")
    assert allowed.name_of(ClientKeys.load(folder).public) == "desk"


def test_beyond_loopback_there_must_be_keys_or_insecure(folder: Path) -> None:
    with zmq.Context() as context:
        with pytest.raises(EndpointError, match="give `keys`"):
            Publisher(context, "tcp://0.0.0.0:0")
        with pytest.raises(KeysError, match=r"has no server.key_secret"):
            Publisher(context, "tcp://0.0.0.0:0", keys=folder / "none")
        for options in ({"keys": folder}, {"is_open": True}):
            publisher = Publisher(context, "tcp://0.0.0.0:0", **options)
            assert publisher.endpoint.startswith("tcp://0.0.0.0:")
            publisher.close()


def test_what_hangs_in_a_handshake_holds_nobody_up(guarded: Guarded, folder: Path) -> None:
    address = ("127.0.0.1", int(guarded.publisher.endpoint.rpartition(":")[2]))
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(plain.create_connection(address))
        guarded.serve(zmq.SUB, ClientKeys.load(folder))
    guarded.turn_until(lambda: guarded.publisher.counts()["refused"] == 20)


def test_another_protocol_is_cut_off(guarded: Guarded) -> None:
    address = ("127.0.0.1", int(guarded.publisher.endpoint.rpartition(":")[2]))
    with plain.create_connection(address, timeout=10) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
        received = b""
        with suppress(ConnectionResetError):
            while more := peer.recv(1000):
                received += more
    assert len(received) <= 64  # a greeting of ZeroMQ at most


SUBSCRIBE = """
import sys
import zmq
from playspot.stream.keys import ClientKeys
from pathlib import Path

with zmq.Context() as context:
    with context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        ClientKeys.load(Path(sys.argv[2])).use(socket)
        socket.subscribe("")
        socket.connect(sys.argv[1])
        print(socket.poll(20_000) and socket.recv_multipart()[0].decode())
"""


def test_another_machine_reaches_only_what_is_open_and_with_keys(
    folder: Path, netns: ModuleType
) -> None:
    with netns.Namespace() as outside, zmq.Context() as context:
        here = outside.address.removesuffix(".2") + ".1"

        def answers(port: str) -> bool:
            scan = f"import socket; socket.create_connection(('{here}', {port}), 5)"
            return bool(outside.run(sys.executable, "-c", scan).returncode == 0)

        local = Publisher(context, "tcp://127.0.0.1:0")
        shared = Publisher(context, f"tcp://{here}:0", keys=folder)
        ports = {
            publisher: [
                socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0").rpartition(":")[2]
                for socket in publisher.sockets[:2]
            ]
            for publisher in (local, shared)
        }
        with ThreadPoolExecutor(5) as pool:
            heard = pool.submit(
                outside.run, sys.executable, "-c", SUBSCRIBE, shared.endpoint, str(folder)
            )
            scans = [pool.submit(answers, port) for port in ports[local] + ports[shared]]
            while not heard.done():
                shared.turn()
            assert [scan.result() for scan in scans] == [False, False, True, True]
            assert heard.result().stdout == "playspot/heartbeat/v1/\n"
        local.close()
        shared.close()
