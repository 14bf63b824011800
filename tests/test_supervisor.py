"""Processes are started, watched and stopped, whatever they do."""

import os
import signal
import threading
import time

import pytest

from playspot.stream.flow_worker import flow
from playspot.stream.sockets import new_run
from playspot.stream.supervisor import GRACE, Supervisor, WorkerError

DEADLINE = 20.0  # seconds


def test_a_worker_that_ends_is_noticed() -> None:
    supervisor = Supervisor(new_run())
    supervisor.start("odd", time.sleep)  # wrong arguments: it ends at once
    deadline = time.monotonic() + DEADLINE
    while supervisor.exit_code("odd") is None and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    with pytest.raises(WorkerError, match="the odd process ended with code 1"):
        supervisor.check(["odd"])
    supervisor.stop()


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_worker_that_hangs_is_killed_in_time() -> None:
    supervisor = Supervisor(new_run())
    supervisor.start("flow", flow)
    os.kill(supervisor.pids()["flow"], signal.SIGSTOP)  # no SIGTERM reaches it now
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < GRACE + 2
    assert supervisor.pids() == {}


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_terminal_that_closes_ends_no_worker() -> None:
    supervisor = Supervisor(new_run())
    supervisor.start("flow", flow)
    os.kill(supervisor.pids()["flow"], signal.SIGHUP)  # also while it still imports
    supervisor.terminate("flow")
    deadline = time.monotonic() + DEADLINE
    while supervisor.exit_code("flow") is None and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    assert supervisor.exit_code("flow") == -signal.SIGTERM
    supervisor.stop()
