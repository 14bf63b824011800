"""One sink in a thread of its own: from the journal to it, and what becomes of failures.

A place that is down is tried again after 0.5, 1, 2 ... 30 s, with the same events. One that is
broken by an error of ours is reported as `stopped`, and made anew after as long. Neither holds up
the others, nor the journal.
"""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from .events import Event
from .journal_reader import JournalReader, Position, bytes_behind
from .locator import redacted
from .restarts import Restarts
from .sink import SinkError
from .sink_cursor import ExactSink
from .status import RunStatus, SinkStatus, Status

TURN = 0.1  # s
MEASURE_INTERVAL = 1.0  # s between looks at how much of the journal waits
SLOW = 60.0  # s over the same events that are said

logger = logging.getLogger(__name__)


class SinkRunner:
    """Run a sink in a thread.

    Parameters
    ----------
    name : str
        Of the sink.
    make : callable
        Returns the sink; called in the thread, again after an error nobody expected.
    journal : Path
        Folder of the journal.
    """

    def __init__(self, name: str, make: Callable[[], ExactSink], journal: Path) -> None:
        self.name = name
        self._make, self._journal = make, journal
        self._lock = threading.Lock()  # of the next two
        self._statuses: dict[str, Status] = {}  # source, "" of the run -> last
        self._fresh: set[str] = set()  # of these, not told to the sink yet
        self._status = SinkStatus(state="ok")
        self._troubles: dict[str, str] = {}  # of which activity -> what
        self._busy_since: float | None = None
        self._restarts, self._retry_at = Restarts(), 0.0  # of deliveries
        self._unsaid = (0, "")  # events that were lost, and why
        self._measured_at = 0.0
        self._is_finishing = self._is_stopping = False
        self._wakes = threading.Event()  # by either
        self._thread = threading.Thread(target=self._run, name=f"sink-{name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def finish(self) -> None:
        """End once all that is in the journal is delivered; at once if that fails."""
        self._is_finishing = True
        self._wakes.set()

    def stop(self) -> None:
        """End as soon as what is under way is done."""
        self._is_stopping = True
        self._wakes.set()

    def join(self, timeout: float) -> bool:
        """Wait for the end, at most so many seconds; return whether it has come."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def note(self, status: Status) -> None:
        """Pass on how a source or the run is doing."""
        with self._lock:
            source = "" if isinstance(status, RunStatus) else status.source
            self._statuses[source] = status
            self._fresh.add(source)
            if isinstance(status, RunStatus):  # sources that are no more
                for gone in self._statuses.keys() - status.sources.keys() - {""}:
                    del self._statuses[gone]
                    self._fresh.discard(gone)

    def status(self) -> SinkStatus:
        """Return how it is doing."""
        status, since = self._status, self._busy_since
        if status.error is None and since is not None and time.monotonic() - since > SLOW:
            slow = f"has been busy with the same events for {time.monotonic() - since:.0f} s"
            return status.model_copy(update={"error": slow})
        return status

    def _tell(self, **changes: object) -> None:
        self._status = self._status.model_copy(update=changes)

    def _run(self) -> None:
        restarts = Restarts()
        while not self._is_stopping:
            restarts.started()
            try:
                sink = self._make()
                try:
                    with self._lock:
                        self._fresh = set(self._statuses)
                    self._live(sink)
                finally:
                    sink.close()
            except SinkError as error:
                self._fail("stopped" if error.is_over else "retrying", str(error))
                if error.is_over:
                    return
            except OSError as error:
                self._fail("retrying", f"{self._journal}: {error.strerror or error}")
            except Exception as error:
                self._fail("stopped", f"failed ({type(error).__name__}: {error})")
                logger.debug("sink %s failed", self.name, exc_info=True)
            if self._is_finishing:
                return
            self._wakes.wait(restarts.failed(is_patient=True))

    def _fail(self, state: str, message: str) -> None:
        """Take note that the sink cannot be."""
        self._trouble("life", message)
        self._status = self._status.model_copy(update={"state": state})

    def _live(self, sink: ExactSink) -> None:
        """Serve a sink until it is to end."""
        reader = JournalReader(self._journal, sink.position())
        self._trouble("life", None)
        events: list[Event] = []  # read, and not taken yet
        taken, lost = reader.position, 0
        try:
            while not self._is_stopping:
                began, is_last = time.monotonic(), self._is_finishing  # before it is read
                self._see_to(sink)
                if began >= self._retry_at:
                    events = events or reader.read(sink.most)
                    self._lose(reader.lost - lost, "the journal does not reach back that far")
                    lost = reader.lost
                    if not events or self._deliver(sink, events, reader.position):
                        taken = reader.position
                        if events:
                            events = []
                            self._measure(taken)
                            continue
                self._measure(taken)
                if is_last:
                    return
                self._wakes.wait(max(0.0, TURN - (time.monotonic() - began)))
        finally:
            self._measure(taken, is_last=True)
            reader.close()

    def _see_to(self, sink: ExactSink) -> None:
        """Tell the sink what is new, and give it its turn."""
        with self._lock:
            fresh = [self._statuses[source] for source in sorted(self._fresh)]
            self._fresh.clear()
        try:
            for status in fresh:
                sink.note(status)
            sink.turn()
        except SinkError as error:
            if error.is_over:
                raise
            self._trouble("turn", str(error))
        else:
            if "turn" in self._troubles:  # the place is there again: no need to wait any longer
                self._retry_at = 0.0
            self._trouble("turn", None)

    def _deliver(self, sink: ExactSink, events: list[Event], position: Position) -> bool:
        """Give events to the sink; return whether it is done with them."""
        self._busy_since = time.monotonic()
        try:
            sink.take(events, position)
        except SinkError as error:
            if error.is_over:
                raise
            if error.gives_up:
                self._lose(len(events), str(error))
                sink.take([], position)
                return True
            delay = max(error.after, self._restarts.failed(is_patient=True))
            self._retry_at = time.monotonic() + delay
            self._trouble("delivery", str(error))
            return False
        finally:
            self._busy_since = None
        self._restarts = Restarts()
        self._trouble("delivery", None)
        self._status = self._status.model_copy(
            update={"delivered": self._status.delivered + len(events)}
        )
        return True

    def _trouble(self, activity: str, message: str | None) -> None:
        """Take note of an error, or that there is none any more; what is new is logged."""
        before = self._troubles.pop(activity, None)
        if message is not None:
            self._troubles[activity] = message = redacted(message)
            if message != before:
                logger.warning("sink %s: %s", self.name, message)
        if message != before:
            error = next(iter(self._troubles.values()), None)
            state = "ok" if error is None else "retrying"
            self._status = self._status.model_copy(update={"state": state, "error": error})
            if error is None:
                logger.warning("sink %s: works again", self.name)

    def _lose(self, n: int, why: str) -> None:
        """Count events that the sink never gets."""
        if n > 0:
            self._status = self._status.model_copy(update={"lost": self._status.lost + n})
            self._unsaid = (self._unsaid[0] + n, redacted(why))

    def _measure(self, taken: Position, *, is_last: bool = False) -> None:
        """See how much of the journal waits for the sink, once in a while."""
        now = time.monotonic()
        if is_last or now - self._measured_at >= MEASURE_INTERVAL:
            self._measured_at = now
            n_lost, why = self._unsaid
            if n_lost:
                logger.warning("sink %s: %d events are lost: %s", self.name, n_lost, why)
                self._unsaid = (0, "")
            behind = bytes_behind(self._journal, taken)
            self._status = self._status.model_copy(update={"behind": behind})
