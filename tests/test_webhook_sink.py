"""Webhooks, against a real HTTP server in a thread."""

import base64
import hashlib
import hmac
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from playspot.stream.events import Event
from playspot.stream.http_post import Address, PostError
from playspot.stream.output_config import WebhookConfig
from playspot.stream.sink import SinkError
from playspot.stream.sink_runner import SinkRunner
from playspot.stream.webhook_sink import MAX_AFTER, WebhookSink


class Receiver(ThreadingHTTPServer):
    """A server that answers as it is told, and remembers what it was sent."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str]] | bytes | float] = []
        self.is_released = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hooks/stage?a=1"

    @property
    def taken(self) -> list[Event]:
        return [Event.model_validate_json(body) for _, _, body in self.requests]

    def end(self) -> None:
        self.is_released.set()
        self.shutdown()
        self._thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.answers.pop(0) if self.server.answers else (204, {})
        if isinstance(answer, float):  # a drop at a time, for ever
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not self.server.is_released.wait(answer):
                try:
                    self.wfile.write(b".")
                except OSError:
                    return
            return
        if isinstance(answer, bytes):
            self.wfile.write(answer)
            self.close_connection = True
            return
        if 200 <= answer[0] < 300:
            self.server.requests.append((self.path, headers, body))
        self.send_response(answer[0])
        for name, value in answer[1].items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.end()


@pytest.fixture
def event(event_feed: ModuleType) -> Event:
    event: Event = event_feed.Stage().event("new")
    return event


def hook(url: str, **options: Any) -> WebhookSink:
    return WebhookSink("webhook-test", WebhookConfig(url=url, **options))


def refusal(sink: WebhookSink, event: Event) -> SinkError:
    with pytest.raises(SinkError) as caught:
        sink.deliver([event])
    return caught.value


def test_an_event_is_posted_as_json(receiver: Receiver, event: Event) -> None:
    hook(receiver.url).deliver([event])
    ((path, headers, body),) = receiver.requests
    assert path == "/hooks/stage?a=1"
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("playspot/")
    assert json.loads(body) == json.loads(event.model_dump_json(by_alias=True))
    assert "webhook-signature" not in headers


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        (
            "whsec_" + base64.b64encode(b"a key of 24 bytes, about").decode(),
            b"a key of 24 bytes, about",
        ),
        ("just a text", b"just a text"),
    ],
)
def test_the_signature_is_that_of_standard_webhooks(
    receiver: Receiver, event: Event, secret: str, key: bytes
) -> None:
    hook(receiver.url, secret=secret).deliver([event])
    ((_, headers, body),) = receiver.requests
    signed = b".".join(
        [headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body]
    )
    expected = hmac.new(key, signed, hashlib.sha256).digest()
    version, _, signature = headers["webhook-signature"].partition(",")
    assert version == "v1"
    assert base64.b64decode(signature) == expected
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 5


def test_each_message_has_an_id_that_stays_over_tries(
    receiver: Receiver, event_feed: ModuleType
) -> None:
    stage, sink = event_feed.Stage(), hook(receiver.url)
    new = stage.event("new")
    for event in (new, stage.event("end", new), new):
        sink.deliver([event])
    ids = [headers["webhook-id"] for _, headers, _ in receiver.requests]
    assert ids[0] == ids[2] != ids[1]


def test_a_secret_that_is_no_base64_stops_the_hook() -> None:
    with pytest.raises(SinkError, match="no base64") as caught:
        hook("http://localhost/", secret="whsec_!!!")
    assert caught.value.is_over


def test_only_what_is_wanted_is_posted(receiver: Receiver, event_feed: ModuleType) -> None:
    stage, other = event_feed.Stage(), event_feed.Stage("other")
    new = stage.event("new", label="drum", top_score=0.9)
    events = [
        new,
        stage.event("update", new, label="drum", top_score=0.9),
        stage.event("new", label="cello", top_score=0.9),
        stage.event("new", label="drum", top_score=0.2),
        other.event("new", label="drum", top_score=0.9),
        stage.event("end", new, label="drum", top_score=0.9),
    ]
    hook(receiver.url, sources=["stage"], labels=["drum"], min_score=0.5).deliver(events)
    assert receiver.taken == [events[0], events[-1]]


@pytest.mark.parametrize("status", [100 + 299, 400, 401, 404, 418, 500, 502])
def test_other_answers_are_tried_again(receiver: Receiver, event: Event, status: int) -> None:
    receiver.answers = [(status, {})]
    error = refusal(hook(receiver.url), event)
    assert (error.after, error.gives_up, error.is_over) == (0, False, False)
    assert str(status) in str(error)


@pytest.mark.parametrize(
    ("status", "text", "low", "high"),
    [
        (429, "7", 7, 7),
        (503, "0.5", 0.5, 0.5),
        (503, "99999999", MAX_AFTER, MAX_AFTER),
        (429, "Thu, 01 Jan 1970 00:00:00 GMT", 0, 0),
        (429, "soon", 0, 0),
        (429, "-5", 0, 0),
        (429, "nan", 0, 0),
        (429, "1e999", 0, 0),
        (500, "7", 0, 0),
    ],
)
def test_a_receiver_may_ask_to_be_left_alone(
    receiver: Receiver, event: Event, status: int, text: str, low: float, high: float
) -> None:
    receiver.answers = [(status, {"Retry-After": text})]
    assert low <= refusal(hook(receiver.url), event).after <= high


def test_a_receiver_may_name_the_time_until_it_is_left_alone(
    receiver: Receiver, event: Event
) -> None:
    receiver.answers = [(429, {"Retry-After": formatdate(time.time() + 60, usegmt=True)})]
    assert 30 <= refusal(hook(receiver.url), event).after <= 60


def test_a_hook_that_is_gone_is_over(receiver: Receiver, event: Event) -> None:
    receiver.answers = [(410, {})]
    assert refusal(hook(receiver.url), event).is_over


def test_redirects_are_not_followed(receiver: Receiver, event: Event) -> None:
    receiver.answers = [(307, {"Location": receiver.url})]
    assert "redirects (307)" in str(refusal(hook(receiver.url), event))
    assert receiver.requests == []


@pytest.mark.parametrize(
    "answer", [b"", b"\xff\xfe\x00" * 100, b"HTTP/9 what\r\n\r\n", b"220 mail ready\r\n" * 2000]
)
def test_what_is_no_http_is_an_error(receiver: Receiver, event: Event, answer: bytes) -> None:
    receiver.answers = [answer]
    assert not refusal(hook(receiver.url), event).is_over


def test_a_drop_at_a_time_does_not_hold_it_up(receiver: Receiver, event: Event) -> None:
    receiver.answers = [0.05]
    began = time.monotonic()
    error = refusal(hook(receiver.url, timeout=0.3), event)
    assert "no answer within 0.3 s" in str(error)
    assert time.monotonic() - began < 1.5


def test_a_lookup_that_hangs_does_not_hold_it_up(
    event: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_released = threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        is_released.wait(10)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    address = Address("http://hooks.example/")
    with pytest.raises(PostError, match=r"no answer within 0\.1 s"):
        address.post(b"", {}, 0.1)
    with pytest.raises(PostError, match="has not come back"):
        address.post(b"", {}, 0.1)
    is_released.set()
    assert address._thread is not None
    address._thread.join(5)
    with pytest.raises(PostError, match="Name or service not known"):
        address.post(b"", {}, 1)


def test_a_certificate_nobody_vouches_for_is_refused(event: Event, tmp_path: Path) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    pem = tmp_path / "self.pem"
    openssl = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    subprocess = pytest.importorskip("subprocess")
    done = subprocess.run(
        [*openssl.split(), "-keyout", pem, "-out", f"{pem}.crt"], capture_output=True, check=False
    )
    if done.returncode:
        server.close()
        pytest.skip("needs openssl")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{pem}.crt", pem)

    def serve() -> None:
        connection, _ = server.accept()
        with connection, pytest.raises((ssl.SSLError, OSError)):
            context.wrap_socket(connection, server_side=True).recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    error = refusal(hook(f"https://localhost:{server.getsockname()[1]}/"), event)
    assert "its certificate is not trusted (self" in str(error)
    thread.join()
    server.close()


def test_secrets_are_in_no_message(event: Event, receiver: Receiver) -> None:
    url = receiver.url.replace("://", "://me:pass%20word@").replace("stage?a=1", "T0SECRET?key=abc")
    config = WebhookConfig(url=url, secret="another secret")
    sink = WebhookSink("webhook-test", config)
    receiver.answers = [(500, {}), (301, {}), (410, {}), b"x"]
    messages = [str(refusal(sink, event)) for _ in range(4)]
    receiver.end()
    messages.append(str(refusal(sink, event)))
    assert "refused" in messages[-1]
    for text in [*messages, repr(config), repr(sink)]:
        for secret in ("word", "T0SECRET", "abc", "another"):
            assert secret not in text


def test_user_and_password_are_sent_as_authorization(receiver: Receiver, event: Event) -> None:
    hook(receiver.url.replace("://", "://me:pass%20word@")).deliver([event])
    ((_, headers, _),) = receiver.requests
    assert base64.b64decode(headers["authorization"].removeprefix("Basic ")) == b"me:pass word"


def test_what_is_too_old_is_given_up_after_one_try(
    receiver: Receiver, event_feed: ModuleType
) -> None:
    stage, sink = event_feed.Stage(), hook(receiver.url, give_up_hours=1)
    old = [stage.event("new", wall_time=time.time() - 7200) for _ in range(3)]
    young = stage.event("new", wall_time=time.time())
    receiver.answers = [(500, {})]
    assert [refusal(sink, event).gives_up for event in old] == [True, True, True]
    assert receiver.answers == []  # one try for all of them
    sink.deliver([young])
    sink.deliver(old[:1])  # it works again, so this one is tried
    assert receiver.taken == [young, old[0]]


Run = Callable[[str], SinkRunner]


@pytest.fixture
def run_hook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event_feed: ModuleType
) -> Iterator[Run]:
    """Return what runs a hook over the journal in the folder of the test."""
    monkeypatch.setattr("playspot.stream.restarts.FIRST_DELAY", 0.02)
    with event_feed.running(tmp_path / "journal") as run:
        kinds = ("new", "update", "end")
        yield lambda url: run("hook", hook(url, types=kinds, timeout=1), most=1)


def test_all_arrive_in_order_and_once_after_the_server_was_down(
    tmp_path: Path, run_hook: Run, event_feed: ModuleType
) -> None:
    sent = event_feed.Stage().play(60)
    event_feed.journal_with(tmp_path / "journal", sent)
    receiver = Receiver()
    port = receiver.server_address[1]
    runner = run_hook(receiver.url)
    event_feed.wait_for(lambda: len(receiver.requests) > 5)
    receiver.end()

    event_feed.wait_for(lambda: runner.status().state == "retrying")
    again = Receiver(port)
    again.answers = [(503, {"Retry-After": "0.1"}), b"garbage", (500, {})]
    event_feed.wait_for(lambda: runner.status().delivered == len(sent))
    assert receiver.taken + again.taken == sent
    assert runner.status().lost == 0
    again.end()


def test_an_endless_outage_costs_what_is_given_up_only(
    tmp_path: Path, run_hook: Run, event_feed: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    old = event_feed.Stage(wall_time=time.time() - 1e6).play(30)
    event_feed.journal_with(tmp_path / "journal", old)
    receiver = Receiver()
    receiver.answers = [(500, {})] * 3
    runner = run_hook(receiver.url)
    event_feed.wait_for(lambda: runner.status().lost + runner.status().delivered == len(old))
    assert runner.status().lost == len(old)
    receiver.end()
