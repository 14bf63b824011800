"""The rules of replacing workers; `test_live_run.py` kills real ones."""

import errno
import time
from typing import Any

import pytest

from playspot.stream.config import SourceConfig
from playspot.stream.failures import FailureKind, SourceFailure
from playspot.stream.feeds import Feeds
from playspot.stream.messages import Message
from playspot.stream.services import GROWN_AFTER, Services


class Processes:
    """Stands in for the supervisor: starts nothing, remembers what was asked for."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[str] = []
        self.codes: dict[str, int | None] = {}

    def start(self, name: str, _target: object, *_args: object) -> int:
        self.started.append(name)
        self.codes[name] = None
        return len(self.started)

    def exit_code(self, name: str) -> int | None:
        return self.codes[name]

    def kill(self, name: str) -> None:
        self.ended.append(name)

    dismiss = release = kill


def beat(worker: str, pid: int, rss_mb: float = 50.0, **data: Any) -> Message:
    measures: dict[str, Any] = {"drops": [], "ages": {}}
    fields = {"worker": worker, "pid": pid, "n": 1, "rss_mb": rss_mb, "measures": measures}
    return Message("alive", data=fields | data)


@pytest.fixture
def processes() -> Any:
    return Processes()


@pytest.fixture
def services(processes: Any) -> Services:
    services = Services(processes, 1000.0)
    services.add("flow", lambda: None, None)
    return services


def test_a_dead_service_is_started_again_at_once(processes: Any, services: Services) -> None:
    processes.codes["flow"] = -9
    services.see_to()
    services.see_to()
    assert processes.started == ["flow", "flow"]


def test_a_silent_service_is_killed_and_started_again(
    processes: Any, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.note(beat("flow", 1, patience=0.0))
    services.see_to()
    assert (processes.ended, processes.started) == (["flow"], ["flow", "flow"])


def test_a_service_that_has_grown_too_large_is_replaced_without_a_failure(
    processes: Any, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = time.monotonic() + GROWN_AFTER + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    services.note(beat("flow", 1, rss_mb=1001.0))
    services.see_to()
    assert processes.started == ["flow", "flow"]
    assert services.watched[0].restarts.total == 0


def test_a_service_that_is_too_large_from_the_start_is_backed_off(
    processes: Any, services: Services
) -> None:
    for n in range(20):
        services.note(beat("flow", 1 + n, rss_mb=1001.0))
        services.see_to()
    assert len(processes.started) == 2


def test_a_service_that_dies_again_and_again_is_backed_off(
    processes: Any, services: Services
) -> None:
    for _ in range(20):
        processes.codes["flow"] = 1
        services.see_to()
        services.see_to()
    assert 2 <= len(processes.started) <= 3


@pytest.fixture
def off() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def feeds(processes: Any, off: list[tuple[str, str]]) -> Feeds:
    feeds = Feeds(processes, 256, 1, 1000.0, lambda name, why: off.append((name, why)))
    feeds.configure({name: SourceConfig(url=f"{name}.mp4") for name in ("stage", "hall")})
    feeds.see_to()
    return feeds


def states(feeds: Feeds) -> dict[str, str]:
    return {feed.name: feed.state for feed in feeds}


def report(kind: str, serial: int, name: str = "stage", **data: Any) -> Message:
    return Message(kind, serial, data={"worker": f"reader {name}", **data})


def failed(kind: FailureKind, serial: int) -> Message:
    failure = SourceFailure(kind, f"stage: {kind}")
    data = {"kind": kind, "message": str(failure), "may_heal": failure.may_heal}
    return report("source_failed", serial, failure=data, n_steps=4)


def serial_of(feeds: Feeds, name: str = "stage") -> int:
    return next(feed.serial for feed in feeds if feed.name == name)


def pid_of(feeds: Feeds, name: str = "stage") -> int:
    return next(feed.reader.pid for feed in feeds if feed.name == name)


def test_every_source_gets_a_reader(processes: Any, feeds: Feeds) -> None:
    assert sorted(processes.started) == ["reader hall", "reader stage"]
    assert set(states(feeds).values()) == {"connecting"}


def test_a_source_that_opened_is_live(feeds: Feeds) -> None:
    feeds.note(beat("reader stage", pid_of(feeds), state="live", n_sessions=1, epoch=1.0))
    assert states(feeds) == {"stage": "live", "hall": "connecting"}


def test_a_refused_connection_is_tried_again_later(processes: Any, feeds: Feeds) -> None:
    feeds.note(failed("refused", serial_of(feeds)))
    feeds.see_to()
    assert states(feeds)["stage"] == "retrying"
    assert processes.started.count("reader stage") == 1


def test_a_wrong_password_is_not_tried_again(
    feeds: Feeds, off: list[tuple[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    feeds.note(failed("auth", serial_of(feeds)))
    feeds.see_to()
    assert states(feeds)["stage"] == "failed"
    assert off == [("stage", "source_lost")]
    assert "not tried again" in caplog.text


def test_a_reader_that_crashed_is_replaced_at_once(processes: Any, feeds: Feeds) -> None:
    processes.codes["reader stage"] = -11
    feeds.see_to()
    feeds.see_to()
    assert processes.started.count("reader stage") == 2
    assert processes.started.count("reader hall") == 1


def test_what_an_earlier_reader_says_late_is_left_aside(processes: Any, feeds: Feeds) -> None:
    before = serial_of(feeds)
    processes.codes["reader stage"] = -9
    feeds.see_to()
    feeds.see_to()
    feeds.note(failed("auth", before))
    assert states(feeds)["stage"] == "connecting"


def test_steps_go_on_counting_after_a_reconnect(feeds: Feeds) -> None:
    feeds.note(failed("lost", serial_of(feeds)))
    assert next(feed.n_steps for feed in feeds if feed.name == "stage") == 4


def test_a_file_that_has_been_played_is_over(feeds: Feeds) -> None:
    feeds.note(report("closed", serial_of(feeds), n_steps=9))
    feeds.see_to()
    assert states(feeds)["stage"] == "over"


def test_a_last_word_that_comes_after_the_end_was_seen_still_counts(
    processes: Any, feeds: Feeds
) -> None:
    processes.codes["reader stage"] = 0
    feeds.see_to()
    feeds.note(report("closed", serial_of(feeds), n_steps=9))
    feeds.see_to()
    assert states(feeds)["stage"] == "over"


def test_a_reader_that_cannot_be_started_is_tried_again(
    processes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(processes, "start", refuse)
    feeds = Feeds(processes, 256, 1, 1000.0, lambda _name, _why: None)
    feeds.configure({"stage": SourceConfig(url="stage.mp4")})
    feeds.see_to()
    assert states(feeds) == {"stage": "retrying"}


def test_a_reload_tries_what_had_failed_for_good(processes: Any, feeds: Feeds) -> None:
    feeds.note(failed("auth", serial_of(feeds)))
    same = {name: SourceConfig(url=f"{name}.mp4") for name in ("stage", "hall")}
    feeds.configure(same)
    feeds.see_to()
    assert states(feeds)["stage"] == "connecting"
    assert processes.started.count("reader hall") == 1


def test_another_source_does_not_try_what_had_failed_for_good(processes: Any, feeds: Feeds) -> None:
    feeds.note(failed("auth", serial_of(feeds)))
    more = {name: SourceConfig(url=f"{name}.mp4") for name in ("stage", "hall", "pit")}
    feeds.configure(more, tries_failed=False)
    feeds.see_to()
    assert states(feeds) == {"stage": "failed", "hall": "connecting", "pit": "connecting"}
    assert processes.started.count("reader stage") == 1


def test_a_reload_leaves_sources_that_did_not_change_alone(
    processes: Any, feeds: Feeds, off: list[tuple[str, str]]
) -> None:
    changed = SourceConfig(url="hall.mp4", labels=("violin",))
    feeds.configure(
        {"stage": SourceConfig(url="stage.mp4"), "hall": changed, "pit": SourceConfig(url="p.mp4")}
    )
    feeds.see_to()
    assert processes.started.count("reader stage") == 1
    assert processes.started.count("reader hall") == 2
    assert processes.started.count("reader pit") == 1
    assert off == [("hall", "shutdown")]


def test_a_removed_source_is_stopped(processes: Any, feeds: Feeds) -> None:
    feeds.configure({"stage": SourceConfig(url="stage.mp4")})
    feeds.see_to()
    assert states(feeds) == {"stage": "connecting"}
    assert processes.ended == ["reader hall"]


def test_a_source_that_is_not_enabled_has_no_reader(processes: Any) -> None:
    feeds = Feeds(processes, 256, 1, 1000.0, lambda _name, _why: None)
    feeds.configure({"stage": SourceConfig(url="stage.mp4", enabled=False)})
    feeds.see_to()
    assert processes.started == []


def test_no_password_is_told(feeds: Feeds, processes: Any) -> None:
    secret = SourceConfig(url="rtsp://me:secret@127.0.0.1/x")
    feeds.configure({"stage": secret})
    text = " ".join(repr(feed) for feed in feeds)
    assert "secret" not in text
