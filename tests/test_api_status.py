"""Status, live state, replay, schemas, health, figures, the page and the description."""

import json
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import jsonschema
import pytest

from playspot.stream import web_live
from playspot.stream.api_page import page_assets
from playspot.stream.schemas import RECORDS

Run = Any  # of tests/web.py


@pytest.fixture(scope="module")
def run(web: ModuleType) -> Iterator[Run]:
    with web.ServedRun() as run:
        yield run


@pytest.fixture(scope="module")
def description(run: Run) -> dict[str, Any]:
    api: dict[str, Any] = run.get("/api/openapi.json").json()
    return api


def test_the_status_is_that_of_the_run_and_its_sources(run: Run) -> None:
    status = run.get("/api/status").json()
    assert status["run"]["system_id"] == "c0ffee00"
    assert [source["source"] for source in status["sources"]] == ["stage", "hall"]


def test_the_live_state_has_open_events_and_last_steps(run: Run) -> None:
    first, second = run.event(), run.event()
    run.event(id=first.id, type="end")
    run.step(number=3)
    state = run.wait(lambda: (s := run.get("/api/live").json())["steps"] and s)
    assert second.id in [event["id"] for event in state["open"]]
    assert first.id not in [event["id"] for event in state["open"]]
    assert state["steps"]["stage"]["step"] == 3


def test_events_are_replayed(run: Run) -> None:
    for _ in range(3):
        run.event("hall")
    answer = run.get("/api/replay?source=hall&from=1&until=3").json()
    assert [event["seq"] for event in answer["events"]] == [1, 2]
    assert (answer["system_id"], answer["oldest"], answer["next"]) == ("c0ffee00", 0, 3)
    assert run.get("/api/replay?source=cellar").status_code == 404
    assert run.get("/api/replay?source=hall&from=-1").status_code == 400
    assert run.get("/api/replay").json()["error"] == "source: is missing"


@pytest.mark.parametrize("name", RECORDS)
def test_schemas_are_served(run: Run, name: str) -> None:
    schema = run.get(f"/api/schemas/{name}.json").json()
    jsonschema.Draft202012Validator.check_schema(schema)


def test_it_is_ready_while_a_source_is_live(run: Run) -> None:
    assert run.get("/healthz").json() == {"status": "ok"}
    ready = {"status": "ready", "live": ["stage", "hall"], "building": None}
    assert run.get("/readiness").json() == ready


def test_it_is_ready_while_plans_are_built_and_says_so(web: ModuleType) -> None:
    with web.ServedRun() as run:
        run.building = 0.5
        ready = run.wait(lambda: (r := run.get("/readiness").json()).get("building") and r)
        assert (ready["status"], ready["building"]) == ("ready", 0.5)


def test_it_is_not_ready_when_the_run_is_silent(
    web: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_live, "FRESH", 0.7)  # the run speaks twice a second
    with web.ServedRun() as run:
        run._is_over.set()
        run._around.join()
        run.wait(lambda: run.get("/readiness").status_code == 503)
        assert run.get("/healthz").status_code == 200


def test_figures_are_served_for_prometheus(run: Run) -> None:
    answer = run.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "playspot_uptime_seconds 5" in answer.text


# The page


def test_the_page_and_its_assets_are_served(run: Run) -> None:
    page = run.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for name in re.findall(r'(?:src|href)="/?assets/([^"]+)"', page.text):
        assert run.get(f"/assets/{name}").status_code == 200


def test_only_files_of_the_page_are_assets() -> None:
    assert {name[:4] for name in page_assets()} == {"page"}


def test_an_asset_that_is_known_is_not_sent_again(run: Run) -> None:
    first = run.get("/assets/page_docs.css")
    again = run.get("/assets/page_docs.css", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_page_has_no_scripts_of_its_own_or_from_elsewhere(run: Run) -> None:
    for path in ("/", "/docs"):
        text = run.get(path).text
        assert not re.search(r"<script(?![^>]*src=)", text)
        assert not re.search(r"(src|href)=\"(https?:)?//", text)
        assert not re.search(r"\son\w+=\"|style=\"", text)


# The description


def test_every_operation_is_described(description: dict[str, Any]) -> None:
    for path, operations in description["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            assert operation["description"], path
            assert "403" in operation["responses"], path


def test_every_operation_has_an_example_that_is_valid(description: dict[str, Any]) -> None:
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            for parameter in operation.get("parameters", ()):
                if parameter["required"]:
                    assert parameter["schema"].get("examples") or parameter["schema"].get("enum")
            for status, answer in operation["responses"].items():
                for kind, content in answer.get("content", {}).items():
                    if status[0] != "2" or kind.startswith(("image", "video")):
                        continue
                    assert "example" in content, (method, path)
                    if kind == "application/json":
                        whole = content["schema"] | {"components": description["components"]}
                        jsonschema.validate(content["example"], whole)


def test_the_description_says_what_is_needed_to_come_in(description: dict[str, Any]) -> None:
    assert "bearer" in json.dumps(description["components"]["securitySchemes"]).lower()


def test_the_readable_description_names_every_path(run: Run, description: dict[str, Any]) -> None:
    text = run.get("/docs").text
    assert all(path in text for path in description["paths"])
