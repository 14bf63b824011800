import json
import os
import subprocess
import sys
import threading
import time

import pytest
import zmq
from pydantic import ValidationError

from playspot.stream.events import ModelInfo
from playspot.stream.live import ClockReport
from playspot.stream.measure import Histogram
from playspot.stream.publish import Publisher
from playspot.stream.status import Ages, Clock, RunStatus, SourceStatus, parse_status

MODEL = ModelInfo(name="test", hash="0" * 12, engine="replay", precision="fp32")
SOURCE = SourceStatus(
    source="stage", wall_time=1, state="live", since=0, drops={"mel": {"late": 2}}
)
RUN = RunStatus(
    system_id="a",
    wall_time=1,
    uptime=1,
    model=MODEL,
    budget=2,
    latency="low",
    look_ahead=0,
    sources={"stage": "live"},
)


@pytest.mark.parametrize("status", [SOURCE, RUN])
def test_a_status_survives_the_wire(status: SourceStatus | RunStatus) -> None:
    body = status.model_dump_json(by_alias=True)
    assert json.loads(body)["schema"] == "playspot/status/1"
    assert parse_status(body) == status


def test_fields_of_a_later_version_are_ignored() -> None:
    later = {**SOURCE.model_dump(mode="json", by_alias=True), "mood": "fine"}
    assert parse_status(json.dumps(later)) == SOURCE


def test_another_major_version_is_refused() -> None:
    later = {**SOURCE.model_dump(mode="json", by_alias=True), "schema": "playspot/status/2"}
    with pytest.raises(ValidationError):
        parse_status(json.dumps(later))


def test_a_clock_report_is_a_clock() -> None:
    report = ClockReport(kind="rtcp", av_offset_ms=3.0, uncertainty_ms=5.0)
    assert Clock(**vars(report)).uncertainty_ms == 5.0


def test_the_program_prints_statuses() -> None:
    with zmq.Context() as context:
        publisher = Publisher(context, f"ipc://@playspot-test-status-{os.getpid()}")
        publisher.publish_status("stage", SOURCE.model_dump_json(by_alias=True))
        command = [sys.executable, "-m", "playspot.stream", "listen", publisher.endpoint]
        with subprocess.Popen(
            [*command, "--status", "--timeout", "10"], stdout=subprocess.PIPE, text=True
        ) as program:
            assert program.stdout is not None
            stream = program.stdout
            reader = threading.Thread(target=lambda: lines.append(stream.readline()))
            lines: list[str] = []
            reader.start()
            deadline = time.monotonic() + 20
            while reader.is_alive() and time.monotonic() < deadline:
                publisher.greet()
                reader.join(0.02)
            program.kill()
        publisher.close()
    assert parse_status(lines[0]) == SOURCE


def test_steps_and_statuses_exclude_each_other() -> None:
    command = [sys.executable, "-m", "playspot.stream", "listen", "--status", "--steps"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "exclude each other" in done.stderr


def test_ages_are_in_milliseconds() -> None:
    histogram = Histogram()
    for n in range(100):
        histogram.add(0.1 if n < 90 else 1.0)
    ages = Ages.of(histogram)
    assert ages.n == 100
    assert ages.p50 == pytest.approx(100, rel=0.07)
    assert ages.p99 == pytest.approx(1000, rel=0.07)
