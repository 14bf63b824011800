"""Whose turn it is: whoever was served longest ago."""

from collections.abc import Iterable


class Turns:
    """Turns of sources that share a process.

    Examples
    --------
    >>> turns = Turns()
    >>> turns.take("stage")
    >>> turns.order(["stage", "hall"])
    ['hall', 'stage']
    """

    def __init__(self) -> None:
        self._served: dict[str, None] = {}  # longest ago first

    def order(self, names: Iterable[str]) -> list[str]:
        """Return names, those never served first, then the one served longest ago."""
        waiting = dict.fromkeys(names)
        known = [name for name in self._served if name in waiting]
        return [name for name in waiting if name not in self._served] + known

    def take(self, name: str) -> None:
        """Take note that a source is served."""
        self._served.pop(name, None)
        self._served[name] = None
