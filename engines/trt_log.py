"""What TensorRT says, as messages of `logging`, and its last errors for ours."""

import logging
from functools import cache
from typing import Any

from .metadata import one_line

logger = logging.getLogger(__name__)

MAX_TOLD = 3  # errors in one line


def the_log() -> Any:
    """Return the logger of this process for TensorRT, a `tensorrt.ILogger`.

    Its messages go to `logging`: warnings as such, the rest for debugging. Errors are kept, since
    TensorRT does not raise them: `log.told()` returns them as one line, and forgets them.

    TensorRT has one logger in a process: to a second one it would not talk. And a logger must live
    longer than all that it is given to, so this one is never released.
    """
    import tensorrt as trt

    return _log_of(trt.ILogger)


@cache
def _log_of(_base: type) -> Any:
    import tensorrt as trt

    levels = {
        trt.ILogger.Severity.INTERNAL_ERROR: logging.DEBUG,  # told once, by the error it becomes
        trt.ILogger.Severity.ERROR: logging.DEBUG,
        trt.ILogger.Severity.WARNING: logging.WARNING,
        trt.ILogger.Severity.INFO: logging.DEBUG,
    }

    class Log(trt.ILogger):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._errors: list[str] = []

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            level = levels.get(severity)  # of VERBOSE there are thousands: none
            if level is None:
                return
            logger.log(level, "TensorRT: %s", one_line(ValueError(msg)))
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self._errors = [*self._errors[-MAX_TOLD + 1 :], msg]

        def told(self) -> str:
            told, self._errors = self._errors, []
            return one_line(ValueError("; ".join(told) or "TensorRT does not say why"))

    return Log()
