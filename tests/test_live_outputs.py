"""A real `playspot run` whose outputs cannot be reached."""

from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.live

URL = "bandstand://?seed=300010&labels=guitar"


def test_a_run_detects_all_the_same_where_no_output_can_be_written(
    live: ModuleType, tmp_path: Path
) -> None:
    pytest.importorskip("paho.mqtt", reason="needs the extra mqtt")
    file = tmp_path / "file"
    file.touch()
    config = {
        "sources": {"stage": {"url": URL}},
        "jsonl": {"path": str(file / "events.jsonl")},
        "database": {"path": str(file / "events.sqlite")},
        "recordings": {"folder": str(file / "kept")},
        "mqtt": {"port": 1},
    }

    def troubles() -> dict[str, str]:
        run = program.statuses.get("", {})
        told = {name: sink["error"] for name, sink in run.get("sinks", {}).items()}
        return {**told, "recordings": (run.get("recordings") or {}).get("error")}

    with live.RunningProgram(config, tmp_path) as program:
        program.wait(lambda: program.events)
        program.wait(lambda: all(troubles().values()) and len(troubles()) == 4)
        assert "mqtt" in troubles()
        assert program.statuses[""]["sources"] == {"stage": "live"}
