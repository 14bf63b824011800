"""A network that another one replaces when it fails: a GPU may go, or have no memory left."""

import logging
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from .engine import ModelError
from .network import Arrays, Network, Tensor

logger = logging.getLogger(__name__)


class FallbackNetwork:
    """A network, and after a run in which it alone fails another one for good.

    Parameters
    ----------
    first : Network
    open_other : callable
        Returns the other network; called when it is needed.
    name : str
        For the log.
    """

    def __init__(self, first: Network, open_other: Callable[[], Network], name: str) -> None:
        self._now = first
        self._open_other: Callable[[], Network] | None = open_other
        self._name = name

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What it takes."""
        return self._now.inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """What it gives."""
        return self._now.outputs

    @property
    def backend(self) -> str:
        """What runs it now."""
        return self._now.backend

    @property
    def precision(self) -> str:
        """The precision in which it runs now."""
        return self._now.precision

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        """Return every output by name; see `Network.run`."""
        try:
            return self._now.run(feeds)
        except ModelError as error:
            if self._open_other is None:
                raise
            other = self._open_other()
            try:
                found = other.run(feeds)
            except ModelError:  # it is the input's fault
                other.close()
                raise error from None
            before, self._now, self._open_other = self._now, other, None
            before.close()
            logger.warning(
                "%s: from now on %s in place of %s, which failed: %s",
                self._name,
                other.backend,
                before.backend,
                error,
            )
            return found

    def close(self) -> None:
        """Release what runs. Calling it twice is harmless."""
        self._now.close()
