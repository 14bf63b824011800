import time

import pytest

from playspot.stream.measure import Measures
from playspot.stream.watched import Watched


def report(pid: int, n_late: int, **more: object) -> dict[str, object]:
    measures = Measures()
    measures.drop("stage", "late", n_late)
    return {"pid": pid, "n": 1, "rss_mb": 50.0, "measures": measures.to_json(), **more}


def test_counts_of_earlier_lives_are_kept() -> None:
    watched = Watched("flow")
    watched.started(11)
    watched.report(report(11, 2))
    watched.report(report(11, 3))
    watched.ended("killed")
    watched.started(12)
    watched.report(report(12, 1))
    assert watched.measures.drops["stage", "late"] == 4


def test_a_late_report_of_an_earlier_life_is_left_aside() -> None:
    watched = Watched("flow")
    watched.started(11)
    watched.report(report(11, 2))
    watched.ended("killed")
    watched.started(12)
    watched.report(report(11, 2))
    assert watched.measures.drops["stage", "late"] == 2


def test_a_worker_that_reports_no_more_is_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched("flow")
    watched.started(11)
    watched.report(report(11, 0, patience=1.5))
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 1.0)
    assert not watched.is_hung
    monkeypatch.setattr(time, "monotonic", lambda: now + 2.0)
    assert watched.is_hung


def test_a_worker_that_announced_a_long_task_is_given_that_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = Watched("reader stage")
    watched.started(11)
    watched.report(report(11, 0, patience=10.0))
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 9.0)
    assert not watched.is_hung


def test_a_planned_restart_is_due_at_once_and_is_no_failure() -> None:
    watched = Watched("detector")
    watched.started(11)
    watched.ended("has grown", is_planned=True)
    assert watched.is_due
    assert watched.restarts.total == 0
