"""Fetching the public models, against a server of our own that misbehaves on demand."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from playspot.engines import ModelError
from playspot.engines.catalogue import find_models
from playspot.engines.commands import models_app
from playspot.engines.download import download
from playspot.engines.pull import PUBLIC_MODELS, pull

CONTENT = bytes(range(256)) * 2_000  # 512 kB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`; keeps the Range headers it was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"/file": CONTENT}
        self.ranges: list[str | None] = []
        self.breaks_after: list[int] = []  # bytes, one entry for each request that breaks off
        self.errors: list[int] = []  # HTTP codes of the first requests
        self.knows_ranges = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        span = self.headers.get("Range")
        server.ranges.append(span)
        if server.errors:
            self.send_error(server.errors.pop(0))
            return
        if self.path not in server.files:
            self.send_error(404)
            return
        content = server.files[self.path]
        start = int(span.removeprefix("bytes=").rstrip("-")) if span and server.knows_ranges else 0
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + server.breaks_after.pop(0) if server.breaks_after else len(content)
        self.wfile.write(content[start:end])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(server: Server, target: Path, **options: object) -> Path:
    given: dict[str, object] = {"sha256": SHA256, "max_bytes": len(CONTENT), "pause": 0.0}
    return download(f"{server.url}/file", target, **(given | options))  # type: ignore[arg-type]


def test_a_file_comes_whole_and_leaves_nothing_else(server: Server, tmp_path: Path) -> None:
    target = fetch(server, tmp_path / "sub" / "file.bin")
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]


def test_progress_only_grows_and_reaches_the_size(server: Server, tmp_path: Path) -> None:
    seen: list[int] = []
    fetch(server, tmp_path / "file.bin", on_bytes=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == len(CONTENT)


def test_a_file_that_is_there_is_not_asked_for(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(CONTENT)
    fetch(server, tmp_path / "file.bin")
    assert server.ranges == []


def test_a_broken_connection_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    server.breaks_after = [200_000, 100_000]
    assert fetch(server, tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=200000-", "bytes=300000-"]


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(server: Server, tmp_path: Path) -> None:
    server.breaks_after = [200_000]
    with pytest.raises(ModelError, match=r"broke off 1 times .*pull again, what has come is kept"):
        fetch(server, tmp_path / "file.bin", attempts=1)
    assert not (tmp_path / "file.bin").exists()
    assert fetch(server, tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.ranges[-1] == "bytes=200000-"


def test_a_server_without_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    server.knows_ranges = False
    server.breaks_after = [200_000]
    assert fetch(server, tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_part_that_is_already_whole_is_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert fetch(server, tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_part_of_another_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT + b"more")
    assert fetch(server, tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_wrong_checksum_is_said_and_nothing_stays(server: Server, tmp_path: Path) -> None:
    server.files["/file"] = CONTENT[:-1] + b"!"
    with pytest.raises(ModelError, match=r"wrong checksum .*pull again"):
        fetch(server, tmp_path / "file.bin")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_too_large_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="above 1000 bytes"):
        fetch(server, tmp_path / "file.bin", max_bytes=1000)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_one_clear_line(server: Server, tmp_path: Path) -> None:
    server.files.clear()
    with pytest.raises(ModelError, match="HTTP 404 Not Found; check the address") as caught:
        fetch(server, tmp_path / "file.bin")
    assert "\n" not in str(caught.value)
    assert len(server.ranges) == 1


def test_an_overloaded_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.errors = [503, 429]
    assert fetch(server, tmp_path / "file.bin").read_bytes() == CONTENT


def test_no_server_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"broke off 2 times .*refused.*check the connection"):
        download(
            "http://127.0.0.1:9/file",
            tmp_path / "file.bin",
            sha256=SHA256,
            max_bytes=10,
            attempts=2,
            pause=0.0,
        )


def test_only_web_addresses_are_fetched(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not an http"):
        download("file:///etc/passwd", tmp_path / "x", sha256=SHA256, max_bytes=10)


@pytest.fixture
def mirror(server: Server, shared: Path) -> Server:
    """Serve the real files of the public models."""
    teachers = shared / "data" / "teachers"
    names = {
        "lite-model_yamnet_classification_tflite_1.tflite": "yamnet_lite_classification.tflite"
    }
    for model in PUBLIC_MODELS:
        for remote in (model.network, model.labels):
            path = teachers / names.get(remote.name, remote.name)
            server.files[remote.url("")] = path.read_bytes()
    return server


def test_pull_makes_models_that_detect_uses(mirror: Server, tmp_path: Path) -> None:
    files = pull(tmp_path, base_url=mirror.url, pause=0.0)
    assert [path.name for path in files] == ["mobilenet_v2_1.0_224.onnx", "yamnet.onnx"]
    headers = find_models(tmp_path).headers
    assert [headers[kind].name for kind in ("action", "object", "sound")] == [
        "motion",
        "MobileNetV2 (ImageNet)",
        "YAMNet (AudioSet)",
    ]
    assert (tmp_path / "downloads" / "yamnet_class_map.csv").is_file()


def test_a_second_pull_needs_no_network(mirror: Server, tmp_path: Path) -> None:
    first = pull(tmp_path, base_url=mirror.url, pause=0.0)
    assert pull(tmp_path, base_url="http://127.0.0.1:9", attempts=1) == first


def test_a_conversion_that_differs_is_said(mirror: Server, tmp_path: Path) -> None:
    other = replace(PUBLIC_MODELS[1], strongest=(3, 0.9))
    with pytest.raises(ModelError, match=r"where the original gives 0\.900 for 3"):
        pull(tmp_path, models=(other,), base_url=mirror.url, pause=0.0)


def test_the_command_prints_the_files_and_what_next(
    mirror: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAYSPOT_MODELS", str(tmp_path / "cache"))
    result = CliRunner().invoke(models_app, ["pull", "--base-url", mirror.url])
    assert result.exit_code == 0, result.output
    assert "yamnet.onnx" in result.output
    assert "`playspot detect` uses them from now on." in result.output
    listed = CliRunner().invoke(models_app, ["list"])
    assert "sound: YAMNet (AudioSet) (pulled)" in listed.output
    described = CliRunner().invoke(models_app, ["info", str(tmp_path / "cache" / "yamnet.onnx")])
    assert "front_end: yamnet" in described.output
