"""The web process itself: addresses, TLS, signs of life, and how it ends."""

import errno
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import zmq

from playspot.stream.messages import Message, receive
from playspot.stream.output_config import WebConfig
from playspot.stream.sockets import new_run, pull
from playspot.stream.supervisor import Supervisor
from playspot.stream.web_server import AddressError, bind, make_server, url_of
from playspot.stream.web_worker import WebJob, serve_web

Run = Any  # of tests/web.py


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    paths = folder / "certificate.pem", folder / "key.pem"
    try:
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
                *("ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
                *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
                *("-out", paths[0], "-keyout", paths[1]),
            ],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("needs openssl")
    return paths


@pytest.fixture(scope="module")
def secure(web: ModuleType, certificate: tuple[Path, Path]) -> Iterator[Run]:
    with web.ServedRun(certificate=certificate[0], private_key=certificate[1]) as run:
        yield run


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="needs TCP_USER_TIMEOUT")
def test_a_client_that_never_reads_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playspot.stream.web_server.UNREAD_TIME", 0.5)
    with bind(WebConfig(listen="127.0.0.1:0")) as listening, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect(listening.getsockname())
        listening.setblocking(True)
        served, _ = listening.accept()
        served.setblocking(True)
        with served, pytest.raises(TimeoutError, match="timed out") as error:
            served.sendall(bytes(64 << 20))  # more than any kernel holds
        assert error.value.errno == errno.ETIMEDOUT


def test_an_address_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(AddressError, match="already in use; name another") as error:
            bind(WebConfig(listen=listen))
    assert listen in str(error.value)
    assert "\n" not in str(error.value)


def test_an_address_of_another_machine_is_one_line() -> None:
    with pytest.raises(AddressError, match=r"cannot serve on 192\.0\.2\.1:80"):
        bind(WebConfig(listen="192.0.2.1:80", insecure=True))


@pytest.mark.parametrize(
    ("listen", "url"), [("127.0.0.1:0", "http://127.0.0.1:"), ("[::1]:0", "http://[::1]:")]
)
def test_the_url_is_one_that_can_be_opened(listen: str, url: str) -> None:
    config = WebConfig(listen=listen)
    try:
        bound = bind(config)
    except AddressError:
        pytest.skip("there is no IPv6 here")
    with bound:
        assert url_of(bound, config).startswith(url)


def test_the_url_of_every_interface_is_that_of_loopback() -> None:
    config = WebConfig(listen="0.0.0.0:0", insecure=True)
    with bind(config) as bound:
        assert url_of(bound, config).startswith("http://127.0.0.1:")


# TLS


def test_with_a_certificate_it_speaks_tls(secure: Run, certificate: tuple[Path, Path]) -> None:
    assert secure.url.startswith("https://")
    context = ssl.create_default_context(cafile=str(certificate[0]))
    with httpx.Client(verify=context, trust_env=False) as client:
        assert client.get(secure.url + "healthz").status_code == 200
    with secure.connect() as watcher:
        assert watcher.hello["type"] == "hello"


def test_plain_http_gets_nothing_from_it(secure: Run) -> None:
    url = httpx.URL(secure.url)
    with socket.create_connection((url.host, url.port), timeout=5) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with suppress(ConnectionResetError):
            assert b"HTTP" not in connection.recv(100)


def test_tls_before_1_2_is_refused(secure: Run) -> None:
    server = make_server(lambda *_: None, secure.job.config)  # type: ignore[arg-type]
    assert server.config.ssl is not None
    assert server.config.ssl.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_cookie_under_tls_goes_nowhere_else(
    web: ModuleType, certificate: tuple[Path, Path]
) -> None:
    config = {"certificate": certificate[0], "private_key": certificate[1], "token": "secret"}
    with web.ServedRun(**config) as run:
        answer = run.request("POST", "/api/login", json={"token": "secret"})
        assert "secure" in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize("content", [b"", b"no certificate"])
def test_a_certificate_that_is_none_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.pem"
    path.write_bytes(content)
    with pytest.raises(AddressError, match="no PEM of a certificate"):
        make_server(lambda *_: None, WebConfig(certificate=path, private_key=path))  # type: ignore[arg-type]
    gone = tmp_path / "gone.pem"
    with pytest.raises(AddressError, match="No such file"):
        make_server(lambda *_: None, WebConfig(certificate=gone, private_key=gone))  # type: ignore[arg-type]


# The process


class Started:
    """A web process that was started by a supervisor, and what it reports."""

    def __init__(self, config: WebConfig) -> None:
        self.name = new_run()
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.control = pull(self.context, self.name, "control", queue=100)
        self.supervisor = Supervisor(self.name)
        job = WebJob(config, None, None, "c0ffee00", ())
        self.pid = self.supervisor.start("web", serve_web, job)

    def wait(self, kind: str) -> Message:
        while self.control.poll(20_000):
            if (report := receive(self.control)).kind == kind:
                return report
        raise AssertionError(f"no {kind!r} was reported")

    def close(self) -> None:
        self.supervisor.stop()
        self.context.destroy(linger=0)


def test_the_process_is_ready_beats_and_ends_when_asked_to() -> None:
    started = Started(WebConfig(listen="127.0.0.1:0"))
    try:
        url = started.wait("ready").data["url"]
        assert httpx.get(url + "healthz", trust_env=False).status_code == 200
        assert started.wait("alive").data["rss_mb"] > 1
        port = httpx.URL(url).port
        with socket.create_connection(("127.0.0.1", port)) as idle:  # it does not hold up the end
            os.kill(started.pid, signal.SIGTERM)
            started.supervisor._processes["web"].join(2.0)
            assert started.supervisor.exit_code("web") == 0
            assert idle.recv(1) == b""
    finally:
        started.close()


def test_a_process_that_cannot_listen_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        started = Started(WebConfig(listen=f"127.0.0.1:{taken.getsockname()[1]}"))
        try:
            message = started.wait("failed").data["message"]
        finally:
            started.close()
    assert message.startswith("cannot serve on 127.0.0.1:")


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.delitem(sys.modules, "playspot.stream.web_loop")
    for name in [name for name in sys.modules if name.startswith("playspot.stream.api_")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "playspot.stream.web_app")
    job = WebJob(WebConfig(), None, None, "c0ffee00", ())
    with pytest.raises(ValueError, match=r"needs fastapi: pip install 'playspot\[web\]'"):
        serve_web(None, "run", job)  # type: ignore[arg-type]


def test_the_supervisor_does_not_load_what_only_the_web_process_needs() -> None:
    code = "import sys, playspot.stream.web_worker; sys.exit('fastapi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
