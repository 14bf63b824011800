"""Calls in several processes: what one of them does never stops the others."""

import operator
import os
import signal
import time
from typing import Any

import pytest

from playspot.training.processes import Failure, in_processes


def test_every_call_gives_its_result() -> None:
    calls = [(k, 2) for k in range(5)]
    assert dict(in_processes(operator.mul, calls, processes=2)) == {k: 2 * k for k in range(5)}


def test_an_error_is_the_failure_of_its_call_alone() -> None:
    results = dict(in_processes(int, [("7",), ("x",), ("8",)], processes=1))
    assert (results[0], results[2]) == (7, 8)
    assert "invalid literal" in results[1].reason


def test_a_process_that_dies_costs_its_call_alone() -> None:
    results = dict(
        in_processes(eval, [("1",), ("__import__('os')._exit(3)",), ("2",)], processes=2)
    )
    assert (results[0], results[2]) == (1, 2)
    assert results[1] == Failure("the process that worked on it died (code 3)")


def test_a_process_that_is_killed_says_by_what() -> None:
    call = "__import__('os').kill(__import__('os').getpid(), 9)"
    ((_, failure),) = in_processes(eval, [(call,)], processes=1)
    assert "SIGKILL" in failure.reason


def test_a_call_that_hangs_is_given_up() -> None:
    begun = time.monotonic()
    calls: list[tuple[Any, ...]] = [(600,), (0,), (0,)]
    results = dict(in_processes(time.sleep, calls, processes=2, time_limits=[1.0, 60.0, 60.0]))
    assert results == {0: Failure("took more than 1 s, given up"), 1: None, 2: None}
    assert time.monotonic() - begun < 30


def test_processes_end_when_the_rest_is_not_wanted() -> None:
    results = in_processes(os.getpid, [() for _ in range(100)], processes=1)
    _, process = next(results)
    results.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(process, signal.SIG_DFL)


def test_a_function_that_cannot_be_sent_is_an_error() -> None:
    with pytest.raises((OSError, AttributeError, ValueError), match=r"lambda|pickle"):
        list(in_processes(lambda: 0, [()], processes=1))
