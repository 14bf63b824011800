"""A network that another one replaces when it alone fails."""

import logging
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from playspot.engines.engine import ModelError
from playspot.engines.fallback import FallbackNetwork
from playspot.engines.network import Arrays, Tensor

X = {"x": np.ones((1, 3), np.float32)}


class Doubling:
    """A network that doubles, and fails where it is told to."""

    precision = "fp32"
    inputs = outputs = (Tensor("x", np.dtype(np.float32), ("n", 3)),)

    def __init__(self, backend: str, *, fails: bool = False) -> None:
        self.backend, self.fails, self.is_closed = backend, fails, False

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        if self.fails:
            raise ModelError(f"{self.backend} is lost")
        return {"x": 2 * feeds["x"]}

    def close(self) -> None:
        self.is_closed = True


def test_as_long_as_it_works_the_first_runs_and_no_other_is_opened() -> None:
    opened: list[Doubling] = []

    def other() -> Doubling:
        opened.append(Doubling("cpu"))
        return opened[0]

    network = FallbackNetwork(Doubling("cuda"), other, "object.onnx")
    assert network.run(X)["x"].tolist() == [[2, 2, 2]]
    assert (network.backend, opened) == ("cuda", [])


def test_a_run_that_fails_is_done_by_the_other_one_for_good_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, other = Doubling("cuda", fails=True), Doubling("cpu")
    network = FallbackNetwork(first, lambda: other, "object.onnx")
    with caplog.at_level(logging.WARNING):
        found = [network.run(X)["x"].tolist() for _ in range(2)]
    assert found == [[[2, 2, 2]]] * 2
    assert (network.backend, first.is_closed, other.is_closed) == ("cpu", True, False)
    assert caplog.messages == [
        "object.onnx: from now on cpu in place of cuda, which failed: cuda is lost"
    ]


def test_an_input_that_neither_can_run_changes_nothing() -> None:
    first, other = Doubling("cuda", fails=True), Doubling("cpu", fails=True)
    network = FallbackNetwork(first, lambda: other, "object.onnx")
    with pytest.raises(ModelError, match="cuda is lost"):
        network.run(X)
    assert (network.backend, first.is_closed, other.is_closed) == ("cuda", False, True)


def test_the_error_of_the_other_one_is_raised_once_it_runs() -> None:
    other = Doubling("cpu")
    network = FallbackNetwork(Doubling("cuda", fails=True), lambda: other, "object.onnx")
    network.run(X)
    other.fails = True
    with pytest.raises(ModelError, match="cpu is lost"):
        network.run(X)


def test_closing_closes_what_runs() -> None:
    first = Doubling("cuda")
    network = FallbackNetwork(first, lambda: Doubling("cpu"), "object.onnx")
    network.close()
    network.close()
    assert first.is_closed
