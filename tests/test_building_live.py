"""While plans are built the programs work, and go on with the same events on the plans.

Real processes; TensorRT and the GPU are strict fakes that compute by ONNX Runtime.
"""

import fcntl
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from playspot.engines.build_process import build_into_store
from playspot.engines.catalogue import bundled_models
from playspot.engines.compiled import compiled_networks
from playspot.engines.options import ORIGINAL
from playspot.engines.planned import plan_order
from playspot.stream.detector import model_info
from playspot.stream.event_log import EventLog
from playspot.stream.whole import steps_of

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("fake_gpu")]
THRESHOLD = "0.005"  # what is played in the made clip is not much like music


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "engines"
    folder.mkdir()
    monkeypatch.setenv("PLAYSPOT_ENGINES", str(folder))
    return folder


@pytest.fixture
def clip(make_clip: Callable[..., Path]) -> Path:
    return make_clip(duration=4.0, video_rate=8.0)


@contextmanager
def detecting(clip: Path, folder: Path) -> Iterator[Callable[[], tuple[list[dict[str, Any]], str]]]:
    """Detect in a file; yield what waits for it and returns its events, and what was told."""
    program = [sys.executable, "-m", "playspot.stream", "detect", str(clip), "--out", str(folder)]
    outputs = ["--publish", "off", "--no-video", "--no-timeline", "--no-steps"]
    settings = ["--flow", "farneback", "--threshold", THRESHOLD]

    def done() -> tuple[list[dict[str, Any]], str]:
        told, _ = process.communicate()
        assert process.returncode == 0, told
        lines = (folder / f"{clip.stem}.events.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines], told

    with subprocess.Popen(
        [*program, *outputs, *settings],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        yield done


def said(event: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(event[name] for name in ("type", "label", "seq", "start_time", "end_time", "box"))


def plain_events(clip: Path) -> list[dict[str, Any]]:
    """Return the events of a file that the original networks give, until its last step."""
    models = bundled_models()
    decoding = models.decoding.with_thresholds(float(THRESHOLD), {})
    plain = replace(models, decoding=decoding, options=ORIGINAL)
    engines = plain.load()
    log = EventLog(clip.stem, model_info(engines))
    changes = [change for result in steps_of(clip, plain, engines) for change in result.changes]
    return [log.event(change).model_dump(mode="json") for change in changes]


def test_the_events_of_a_file_are_the_same_over_the_switch(clip: Path, tmp_path: Path) -> None:
    for model in bundled_models().models.values():
        assert model.path is not None
        content = model.path.read_bytes()
        build_into_store(content, plan_order(content, model.path.name))
    with detecting(clip, tmp_path / "switched") as done:
        switched, told = done()
    found = [said(event) for event in switched if event["end_reason"] != "end_of_stream"]
    assert found == [said(event) for event in plain_events(clip)]
    engines = [event["model"]["engine"] for event in switched]
    assert (engines[0], engines[-1]) == ("onnxruntime-cpu", "tensorrt")
    assert engines == sorted(engines)
    over = {e["id"] for e in switched if e["model"]["engine"] == "tensorrt"}
    assert over & {e["id"] for e in switched if e["model"]["engine"] == "onnxruntime-cpu"}
    assert "TensorRT plans are about to be tried" in told
    assert "the networks run on tensorrt fp32 from step 3 on" in told
    assert all(one.passed for one in compiled_networks())


def builders(program: Any) -> list[psutil.Process]:
    """Return the processes that build plans for a run."""
    program.take()
    try:
        children = psutil.Process(program.pid("detector")).children()
        return [child for child in children if "trt_build" in " ".join(child.cmdline())]
    except psutil.NoSuchProcess:  # told of, and not any more there
        return []


def engines_of(record: dict[str, Any]) -> set[str]:
    return set(record["model"]["engine"].split("+"))


def test_a_live_run_works_while_plans_are_built_and_switches_over(
    live: ModuleType, clip: Path, tmp_path: Path, cache: Path
) -> None:
    """The detector is killed, and its builders end; of those of the next one is killed, too.

    Its network stays as it is, and the others switch.
    """
    source = {"url": str(clip), "loop": True, "threshold": float(THRESHOLD)}
    config = {"sources": {"stage": source}, "flow": "auto"}
    with (
        (cache / "gpu-0.lock").open("w") as lock,
        live.RunningProgram(config, tmp_path) as program,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)  # as if another process were building
        program.wait(lambda: program.statuses.get("", {}).get("building") == 0)
        program.wait_for_steps(["stage"])
        assert engines_of(program.statuses[""]) == {"onnxruntime-cpu"}
        before = program.wait(lambda: len(found := builders(program)) == 3 and found)
        psutil.Process(program.pid("detector")).kill()
        _, alive = psutil.wait_procs(before, 10.0)
        assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
        program.wait(lambda: len(builders(program)) == 3)
        builders(program)[0].kill()
        fcntl.flock(lock, fcntl.LOCK_UN)
        both = {"onnxruntime-cpu", "tensorrt"}
        program.wait(lambda: engines_of(program.statuses[""]) == both)
        program.wait(lambda: program.statuses[""]["building"] is None)
        program.wait(lambda: program.events and engines_of(program.events[-1]) == both)
        assert engines_of(program.events[0]) == {"onnxruntime-cpu"}
        program.stop()
    told = program.log.read_text()
    assert told.count("TensorRT plans are being built (0%)") == 1
    assert "flow: network (opencv-cpu): until the plan for the GPU is there" in told
    assert "flow: network (tensorrt): a GPU runs it" in told
    assert told.count("ended by SIGKILL") == 1
    assert "the networks run on" in told
    assert "Traceback" not in told
