"""The API does what its OpenAPI description says, whatever it is asked (schemathesis)."""

from collections.abc import Iterator
from contextlib import suppress
from types import ModuleType
from typing import Any

import pytest

schemathesis = pytest.importorskip("schemathesis")

from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from hypothesis.errors import Unsatisfiable  # noqa: E402
from schemathesis import GenerationMode  # noqa: E402
from schemathesis.checks import CHECKS  # noqa: E402

Run = Any  # of tests/web.py
EXAMPLES = 5  # of each operation

# JSON Schema cannot say when the polygon of a zone crosses itself or which hours a schedule may
# have: a source that fits the schema may still be refused.
UNSAYABLE = {("POST", "/api/sources"): ["positive_data_acceptance"]}


@pytest.fixture(scope="module")
def api(web: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The description of a web process, and its URL in it."""
    folder = tmp_path_factory.mktemp("described")
    web.fill(folder / "events.sqlite", folder / "recordings")
    with web.ServedRun(
        database=folder / "events.sqlite", recordings=folder / "recordings", media=folder
    ) as run:
        run.event()
        run.step()
        yield schemathesis.openapi.from_url(run.url + "api/openapi.json")


@pytest.fixture(scope="module")
def operations(api: Any) -> list[Any]:
    found = [result.ok() for result in api.get_all_operations()]
    return [each for each in found if each.path != "/api/stream"]  # it has no end


def check(operation: Any, case: Any) -> None:
    left_out = UNSAYABLE.get((operation.method.upper(), operation.path), [])
    case.call_and_validate(excluded_checks=[CHECKS.get_one(name) for name in left_out])


def test_the_bounds_of_every_parameter_hold(api: Any, operations: list[Any]) -> None:
    n = 0
    for operation in operations:
        for case in api.iter_coverage_cases(
            operation,
            generation_modes=list(GenerationMode),
            generation_config=api.config.generation,
        ):
            check(operation, case)
            n += 1
    assert n > 200


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
def test_whatever_it_is_asked_it_answers_as_described(operations: list[Any], mode: Any) -> None:
    for operation in operations:
        with suppress(Unsatisfiable):  # there is nothing that could be wrong
            ask(operation, mode)


def ask(operation: Any, mode: Any) -> None:
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        check(operation, case)

    run()
