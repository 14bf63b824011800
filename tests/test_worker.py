"""What a worker process says of its own end."""

import os
import subprocess
import sys

import zmq

from playspot.stream.messages import receive
from playspot.stream.sockets import new_run, pull

FAILING = """
import sys
from playspot.stream.worker import main

def fail(worker, run):
    raise RuntimeError("cannot open 'rtsp://viewer:secret@camera/1'")

main(fail, sys.argv[1], "reader stage", int(sys.argv[2]))
"""


def test_the_last_word_of_a_worker_holds_no_password() -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    run = new_run()
    control = pull(context, run, "control")
    done = subprocess.run(
        [sys.executable, "-c", FAILING, run, str(os.getpid())],
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert control.poll(5000)
    report = receive(control)
    control.close()
    context.term()
    told = "reader stage: RuntimeError: cannot open 'rtsp://***@camera/1'"
    assert (report.kind, report.data["message"]) == ("failed", told)
