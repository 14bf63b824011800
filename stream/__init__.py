"""The run time: from a file or a stream to events. What programs import.

Examples
--------
>>> from playspot.stream import listen
>>> for event in listen(labels=["violin"]):  # doctest: +SKIP
...     print(event.type, event.start_time, event.point)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .events import Detection, Event, Step
    from .pipeline import Pipeline
    from .subscriber import listen
    from .subscriber_async import listen_async
    from .whole import steps_of

__all__ = ["Detection", "Event", "Pipeline", "Step", "listen", "listen_async", "steps_of"]

_HOME = {
    "Detection": ".events",
    "Event": ".events",
    "Step": ".events",
    "listen": ".subscriber",
    "listen_async": ".subscriber_async",
    "Pipeline": ".pipeline",
    "steps_of": ".whole",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: a worker does not pay for what it does not use."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name], __name__), name)
