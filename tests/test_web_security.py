"""What is let in: names, origins, tokens, sizes; what is refused says one line and no more."""

import json
import socket
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import httpx
import pytest
import websockets.exceptions
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from playspot.stream import web_server
from playspot.stream.output_config import WebConfig
from playspot.stream.web_security import Guard
from playspot.stream.web_tokens import Tokens, address_of, cookie_of

TOKEN = "correct horse battery staple"
SOURCE = {"name": "new", "url": "rtsp://admin:hunter2@camera/1"}
Run = Any  # of tests/web.py


@pytest.fixture(scope="module")
def opened(web: ModuleType) -> Iterator[Run]:
    """A web process without a token, on loopback."""
    with web.ServedRun(hosts=("stage.example.org",)) as run:
        yield run


@pytest.fixture(scope="module")
def locked(web: ModuleType) -> Iterator[Run]:
    """A web process with a token."""
    with web.ServedRun(token=TOKEN) as run:
        yield run


def raw(run: Run, request: bytes, seconds: float = 5.0) -> bytes:
    """Send bytes; return what comes back until the server closes."""
    url = httpx.URL(run.url)
    with socket.create_connection((url.host, url.port), timeout=seconds) as connection:
        connection.sendall(request)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


# Names


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8773", "[::1]:1", "Stage.example.org"])
def test_a_name_of_this_machine_is_served(opened: Run, host: str) -> None:
    assert opened.get("/api/version", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "192.168.1.2", "", "a b"],
)
def test_another_name_is_refused(opened: Run, host: str) -> None:
    answer = opened.get("/api/status", headers={"host": host})
    assert answer.status_code == 403
    assert "hosts" in answer.json()["error"]


def test_another_name_is_refused_for_a_websocket(opened: Run) -> None:
    asked = (
        b"GET /api/ws HTTP/1.1\r\nHost: evil.example\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert status_of(raw(opened, asked)) == 403
    assert status_of(raw(opened, asked.replace(b"evil.example", b"", 1))) in (400, 403)


def test_beyond_loopback_an_address_is_a_name_of_this_machine() -> None:
    config = WebConfig(listen="0.0.0.0:1", insecure=True)
    guard = Guard(lambda *_: None, config, Tokens(None))  # type: ignore[arg-type]
    assert guard._is_ours("192.168.1.2:1")
    assert not guard._is_ours("evil.example:1")


# Origins


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "x"])
@pytest.mark.parametrize(("method", "path"), [("POST", ""), ("DELETE", "/stage")])
def test_a_page_of_another_origin_changes_nothing(
    opened: Run, method: str, path: str, origin: str
) -> None:
    asked = len(opened.requests)
    options = {"json": SOURCE} if method == "POST" else {}
    answer = opened.request(method, "/api/sources" + path, headers={"origin": origin}, **options)
    assert answer.status_code == 403
    assert len(opened.requests) == asked


def test_a_page_of_another_origin_gets_no_websocket(opened: Run) -> None:
    with (
        pytest.raises(websockets.exceptions.InvalidStatus, match="403"),
        opened.connect(origin="http://evil.example"),
    ):
        pass


def test_our_own_page_may_do_both(opened: Run) -> None:
    origin = opened.url.rstrip("/")
    answer = opened.request("POST", "/api/sources", json=SOURCE, headers={"origin": origin})
    assert answer.status_code == 201
    answer = opened.request("DELETE", "/api/sources/new", headers={"origin": origin})
    assert answer.status_code == 204
    with opened.connect(origin=origin) as watcher:
        assert watcher.hello["type"] == "hello"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_that_a_form_can_send_is_refused(opened: Run, kind: str) -> None:
    answer = opened.request(
        "POST", "/api/sources", content=json.dumps(SOURCE), headers={"content-type": kind}
    )
    assert answer.status_code == 415


def test_no_other_origin_may_read(opened: Run) -> None:
    answer = opened.get("/api/status", headers={"origin": "http://evil.example"})
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


# Headers of answers


@pytest.mark.parametrize("path", ["/", "/api/status", "/api/nothing", "/docs", "/api/events/a%2Fb"])
def test_every_answer_forbids_scripts_from_elsewhere(opened: Run, path: str) -> None:
    headers = opened.get(path).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


def test_answers_of_the_api_are_not_kept(opened: Run) -> None:
    assert opened.get("/api/status").headers["cache-control"] == "no-store"


# Tokens


def test_without_a_token_loopback_is_open(opened: Run) -> None:
    assert opened.get("/api/status").status_code == 200


@pytest.mark.parametrize(
    "path", ["/api/status", "/api/events", "/api/stream", "/metrics", "/docs", "/api/openapi.json"]
)
def test_with_a_token_nothing_is_open(locked: Run, path: str) -> None:
    answer = locked.get(path)
    assert answer.status_code == 401
    assert answer.json() == {"error": "a token is needed"}


def test_with_a_token_the_websocket_is_not_open(locked: Run) -> None:
    with pytest.raises(websockets.exceptions.InvalidStatus, match="401"), locked.connect():
        pass


@pytest.mark.parametrize("path", ["/healthz", "/readiness", "/", "/assets/page_docs.css"])
def test_what_a_probe_and_the_login_need_is_open(locked: Run, path: str) -> None:
    assert locked.get(path).status_code == 200


def test_the_right_token_is_let_in(locked: Run) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    assert locked.get("/api/status", headers=headers).status_code == 200
    with locked.connect(additional_headers=headers) as watcher:
        assert watcher.hello["type"] == "hello"


@pytest.mark.parametrize(
    "value", [f"Bearer {TOKEN}x", "Bearer", f"Basic {TOKEN}", "Bearer \xff", TOKEN]
)
def test_a_wrong_token_is_refused(locked: Run, value: str) -> None:
    headers = {"authorization": value.encode("latin-1")}
    answer = locked.get("/api/status", headers=headers)
    assert answer.status_code == 401
    assert TOKEN not in answer.text


def test_a_login_gives_a_cookie_until_the_logout(locked: Run) -> None:
    with locked.client() as client:
        answer = client.post("/api/login", json={"token": TOKEN})
        assert answer.status_code == 204
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert TOKEN not in cookie
        assert client.get("/api/status").status_code == 200
        assert client.post("/api/logout").status_code == 204
        assert client.get("/api/status").status_code == 401


def test_a_cookie_that_was_made_up_is_refused(locked: Run) -> None:
    until = int(time.time()) + 1000
    for value in ("", "1.2", f"{until}.{'0' * 64}", f"{until}", "²." + "0" * 64):
        answer = locked.get("/api/status", headers={"cookie": f"playspot_session={value}".encode()})
        assert answer.status_code == 401


def test_a_cookie_ends_after_a_while() -> None:
    now = 1000.0
    tokens = Tokens(TOKEN, lambda: now)
    value = tokens.session()
    assert tokens.is_session(value)
    now += 31 * 86400
    assert not tokens.is_session(value)


def test_a_cookie_of_another_token_is_refused() -> None:
    assert not Tokens(TOKEN).is_session(Tokens("another").session())


def test_who_guesses_tokens_must_wait_and_others_need_not() -> None:
    now = 1000.0
    tokens = Tokens(TOKEN, lambda: now)
    for n in range(10):
        with pytest.raises(HTTPException, match="wrong token"):
            tokens.check(f"guess {n}", "10.0.0.1")
    with pytest.raises(HTTPException, match="too many wrong tokens; wait 60 s") as refusal:
        tokens.check(TOKEN, "10.0.0.1")  # nor is it told whether this one is right
    assert refusal.value.status_code == 429
    assert refusal.value.headers == {"retry-after": "60"}
    tokens.check(TOKEN, "10.0.0.2")
    now += 60
    tokens.check(TOKEN, "10.0.0.1")


def test_a_flood_of_addresses_takes_no_memory() -> None:
    tokens = Tokens(TOKEN)
    for n in range(3000):
        with pytest.raises(HTTPException):
            tokens.check("guess", f"10.0.{n // 256}.{n % 256}")
    assert len(tokens._guesses) == 1000


def test_addresses_of_one_ipv6_network_are_one() -> None:
    scopes = [{"client": (host, 1)} for host in ("2001:db8::1", "2001:db8::ffff:2")]
    assert address_of(scopes[0]) == address_of(scopes[1])


def test_broken_cookies_are_none() -> None:
    assert cookie_of(Headers({"cookie": "\x00=;;[]{}="})) == ""


# Sizes and times


def test_a_body_that_says_it_is_too_large_is_refused(opened: Run) -> None:
    head = b"POST /api/sources HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    answer = raw(opened, head + b"Content-Length: 70000\r\n\r\n")
    assert status_of(answer) == 413


def test_a_body_that_is_too_large_is_refused_whatever_it_says(opened: Run) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(70):
            yield b"x" * 1024

    answer = opened.request("POST", "/api/sources", content=chunks())
    assert answer.status_code == 413


@pytest.mark.parametrize("length", [b"-1", b"x", b"1, 2", b"9" * 30])
def test_a_length_that_is_none_is_refused(opened: Run, length: bytes) -> None:
    head = b"POST /api/sources HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
    assert status_of(raw(opened, head + length + b"\r\n\r\n")) in (400, 413)


def test_headers_that_are_too_large_are_refused(opened: Run) -> None:
    answer = raw(opened, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000)
    assert status_of(answer) == 400


def test_what_is_no_http_is_refused(opened: Run) -> None:
    assert status_of(raw(opened, b"\x16\x03\x01 hello\r\n\r\n")) == 400


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff",
        b'{"name": 1, "url": {}}',
        b"[" * 60_000,
        b"[" * 30_000 + b"]" * 30_000,
    ],
)
def test_malformed_json_is_refused_in_one_line(opened: Run, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    for path in ("/api/sources", "/api/login"):
        answer = opened.request("POST", path, content=body, headers=headers)
        assert answer.status_code == 400
        assert list(answer.json()) == ["error"]
        assert "\n" not in answer.json()["error"]
        assert "Traceback" not in answer.text


def test_slow_headers_are_not_waited_for(web: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_server, "HEADER_TIME", 0.3)
    with web.ServedRun() as run:
        url = httpx.URL(run.url)
        with socket.create_connection((url.host, url.port), timeout=5) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost:")
            assert connection.recv(100) == b""  # closed
        with socket.create_connection((url.host, url.port), timeout=5) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while b"}" not in answer:
                answer += connection.recv(4096)
            connection.sendall(b"GET")  # the second request is not waited for either
            assert connection.recv(100) == b""


def test_a_slow_body_is_not_waited_for(web: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playspot.stream.web_security.BODY_TIME", 0.3)
    with web.ServedRun() as run:
        head = b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
        assert status_of(raw(run, head)) == 408


def test_there_are_only_so_many_connections(
    web: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    with web.ServedRun() as run:
        monkeypatch.setattr(web_server, "MOST_CONNECTIONS", 3)
        url = httpx.URL(run.url)
        held = [socket.create_connection((url.host, url.port), timeout=5) for _ in range(3)]
        with socket.create_connection((url.host, url.port), timeout=5) as another:
            assert is_closed(another)
        for connection in held:
            connection.close()
        run.wait(lambda: is_alive(run))


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(100) == b""
    except ConnectionResetError:
        return True


def is_alive(run: Run) -> bool:
    try:
        return bool(run.get("/healthz").status_code == 200)
    except httpx.TransportError:
        return False


# Paths


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../web_app.py",
        "/assets/..%2fweb_app.py",
        "/assets/%2e%2e/web_app.py",
        "/assets/%2e%2e%2f%2e%2e%2fpyproject.toml",
        "/assets/..%5cweb_app.py",
        "/assets//etc/passwd",
        "/assets/%2fetc%2fpasswd",
        "/assets/page.html%00.css",
        "/assets/web_app.py",
        "/assets/page",
        "/assets/",
        "//assets/page.css/..",
        "/api/events/..%2f..%2fetc%2fpasswd/snapshot.jpg",
        "/api/events/%2e%2e/clip.mp4",
        "/api/events/stage.c0ffee00.1%00/clip.mp4",
        "/api/events/..%252f..%252fetc/clip.mp4",
        "/api/sources/..%2f..%2fetc/snapshot.jpg",
        "/api/schemas/..%2fevent.json",
    ],
)
def test_no_path_leads_out(opened: Run, path: str) -> None:
    answer = raw(
        opened, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    )
    assert status_of(answer) in (400, 404)
    assert b"root:" not in answer
    assert b"import " not in answer


# What errors say


def test_an_error_shows_no_password(opened: Run) -> None:
    for body in (
        {"name": "a/b", "url": SOURCE["url"]},
        {"name": "x", "url": SOURCE["url"], "timeout": "rtsp://admin:hunter2@camera"},
        {"name": "x", "url": "rtsp://admin:hunter2@/"},
        {"name": "x", "url": "rstp://admin:hunter2@camera/1"},
        {"name": "x", "url": SOURCE["url"], "hunter2": 1, "mode": "hunter2://a:hunter2@b"},
    ):
        answer = opened.request("POST", "/api/sources", json=body)
        assert answer.status_code == 400
        assert "admin" not in answer.text.replace("hunter2: unknown key", "")


def test_an_error_of_ours_shows_nothing_of_it(opened: Run) -> None:
    def fail(_request: dict[str, Any]) -> dict[str, Any]:
        return {"error": "cannot open rtsp://admin:hunter2@camera/1", "code": "strange"}

    opened.answer = fail
    try:
        answer = opened.request("POST", "/api/sources", json=SOURCE)
    finally:
        opened.answer = opened.obey
    assert answer.status_code == 400
    assert "hunter2" not in answer.text
