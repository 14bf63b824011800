"""Sources over HTTP: shown without credentials, added, removed, and seen now."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from playspot.stream import api_sources, web_pictures, web_requests

Run = Any  # of tests/web.py
CAMERA = {"name": "camera", "url": "rtsp://admin:hunter2@camera/1", "threshold": 0.7}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of media beside another that is none; each link is what its name says."""
    whole = tmp_path_factory.mktemp("sources")
    for name in ("media", "media/inside", "private"):
        (whole / name).mkdir()
    for name in ("media/a clip.mp4", "media/inside/b.mp4", "private/secret.mp4"):
        (whole / name).write_bytes(b"video")
    (whole / "media" / "out.mp4").symlink_to(whole / "private" / "secret.mp4")
    (whole / "media" / "in.mp4").symlink_to(whole / "media" / "inside" / "b.mp4")
    (whole / "media" / "loop.mp4").symlink_to(whole / "media" / "loop.mp4")
    return whole


@pytest.fixture(scope="module")
def run(web: ModuleType, folder: Path) -> Iterator[Run]:
    with web.ServedRun(media=folder / "media") as run:
        yield run


@pytest.fixture
def added(run: Run) -> Iterator[Run]:
    """The run; what a test adds is removed again."""
    run.requests.clear()
    yield run
    for name in {*run.sources} - {"stage", "hall"}:
        run.request("DELETE", f"/api/sources/{name}")


def test_sources_are_shown_without_credentials(run: Run) -> None:
    sources = run.get("/api/sources").json()["sources"]
    assert [source["source"] for source in sources] == ["stage", "hall"]
    assert sources[0]["url"] == "rtsp://***@camera/1"
    assert run.get("/api/sources/stage").json()["state"] == "live"


def test_a_source_that_is_not_there_is_not_found(run: Run) -> None:
    for method in ("GET", "DELETE"):
        answer = run.request(method, "/api/sources/cellar")
        assert (answer.status_code, answer.json()) == (404, {"error": "no source cellar"})


def test_a_source_is_added_and_shown_at_once(added: Run) -> None:
    answer = added.request("POST", "/api/sources", json=CAMERA)
    assert answer.status_code == 201
    assert answer.json() == {"name": "camera", "url": "rtsp://***@camera/1"}
    assert added.requests[0]["config"] == {"url": CAMERA["url"], "threshold": 0.7}
    assert added.get("/api/sources/camera").status_code == 200


def test_a_source_that_was_removed_is_gone_at_once(added: Run) -> None:
    added.request("POST", "/api/sources", json=CAMERA)
    assert added.request("DELETE", "/api/sources/camera").status_code == 204
    assert added.get("/api/sources/camera").status_code == 404


def test_a_name_that_is_taken_is_refused(added: Run) -> None:
    answer = added.request("POST", "/api/sources", json={**CAMERA, "name": "stage"})
    assert (answer.status_code, answer.json()["error"]) == (409, "there is a source stage already")


@pytest.mark.parametrize("url", ["v4l2:///dev/video0", "mic://default", "bandstand://"])
def test_devices_may_be_added(added: Run, url: str) -> None:
    answer = added.request("POST", "/api/sources", json={"name": "device", "url": url})
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("a clip.mp4", "a clip.mp4"),
        ("inside/../a clip.mp4", "a clip.mp4"),
        ("in.mp4", "inside/b.mp4"),
        ("file://{media}/a%20clip.mp4", "a clip.mp4"),
        ("{media}/inside/b.mp4", "inside/b.mp4"),
    ],
)
def test_a_file_of_the_media_folder_may_be_added(
    added: Run, folder: Path, url: str, meant: str
) -> None:
    url = url.format(media=folder / "media")
    answer = added.request("POST", "/api/sources", json={"name": "file", "url": url})
    assert answer.status_code == 201
    assert added.requests[0]["config"]["url"] == str((folder / "media" / meant).resolve())


@pytest.mark.parametrize(
    "url",
    [
        "/etc/passwd",
        "../private/secret.mp4",
        "inside/../../private/secret.mp4",
        "out.mp4",
        "loop.mp4",
        "file:///etc/passwd",
        "file://{media}/..%2f..%2fprivate/secret.mp4",
        "file://localhost/etc/passwd",
        "inside",
        ".",
        "nothing.mp4",
        "a\0b.mp4",
    ],
)
def test_no_other_file_may_be_added(added: Run, folder: Path, url: str) -> None:
    url = url.format(media=folder / "media")
    answer = added.request("POST", "/api/sources", json={"name": "file", "url": url})
    assert answer.status_code == 400
    assert answer.json()["error"] == "url: no such file in the folder `media` of web"
    assert added.requests == []


def test_without_a_media_folder_no_file_may_be_added(web: ModuleType) -> None:
    with web.ServedRun() as run:
        answer = run.request("POST", "/api/sources", json={"name": "file", "url": "a.mp4"})
        assert answer.status_code == 403
        assert "media" in answer.json()["error"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"name": "a/b"}, "name: a name has letters"),
        ({"treshold": 1}, "treshold: unknown key; did you mean 'threshold'?"),
        ({"threshold": 3}, "threshold: 3 is too much; give at most 1"),
        ({"url": "rstp://x/1"}, "url: rstp://x/1: unknown scheme 'rstp'; did you mean 'rtsp'?"),
        ({"timeout": "5 s"}, "timeout: '5 s' is not a number; durations are seconds"),
        ({"timeout": "5"}, "timeout: '5' is not a number"),
        ({"gap_merge": False}, "gap_merge: 'False' is not a number"),
        ({"loop": "yes"}, "loop: 'yes' is neither true nor false"),
        ({"transport": "tpc"}, "transport: 'tpc' is unknown; did you mean 'tcp'?"),
        ({"zones": {"a": {"polygon": [[0, 0]]}}}, "zones.a.polygon: has 1; give at least 3"),
    ],
)
def test_what_is_wrong_is_said_as_for_the_configuration(
    run: Run, change: dict[str, Any], error: str
) -> None:
    answer = run.request("POST", "/api/sources", json=CAMERA | change)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(error)


def test_a_run_that_does_not_answer_is_not_waited_for(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_requests, "DEADLINE", 0.2)
    monkeypatch.setattr(run, "answer", lambda _: None)
    answer = run.request("DELETE", "/api/sources/stage")
    assert (answer.status_code, answer.json()["error"]) == (
        503,
        "the run does not answer; try again",
    )


def test_a_change_that_does_not_show_is_not_waited_for(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_sources, "SHOWN_WITHIN", 0.1)
    monkeypatch.setattr(run, "answer", lambda _: {"error": None})
    assert run.request("POST", "/api/sources", json=CAMERA).status_code == 201


def test_a_picture_of_now_is_made_for_the_one_who_asks(run: Run) -> None:
    answer = run.get("/api/sources/stage/snapshot.jpg?side=320")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content == run.jpeg
    assert run.get("/api/sources/cellar/snapshot.jpg").status_code == 404


def test_a_source_without_pictures_says_why(
    web: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_pictures, "SNAPSHOT_DEADLINE", 0.2)
    with web.ServedRun() as run:
        run.do(lambda: run.senders.pop("hall").close())
        answer = run.get("/api/sources/hall/snapshot.jpg")
        assert answer.status_code == 503
        assert answer.json()["error"] == "no picture of hall: none came within 0.2 s"
