"""An iterator that may block -> the same items in a thread, taken with a deadline."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """Iterate in a thread; whoever takes the items never waits longer than it wants.

    The thread waits while the items that were not yet taken are too many. It cannot be ended from
    outside: it ends at its next item after `stop`, or with the process.

    Parameters
    ----------
    items : iterator
        Closed by the thread that runs it, if it is a generator.
    size : callable
        Item -> bytes.
    limit : int
        Bytes that may wait.

    Attributes
    ----------
    last : float
        `time.monotonic()` when the last item came, or the thread began.

    Examples
    --------
    >>> numbers = Background(iter("ab"), size=len, limit=10)
    >>> numbers.take(1.0)[0], numbers.take(1.0)[0], numbers.take(1.0), numbers.is_over
    ('a', 'b', None, True)
    """

    def __init__(self, items: Iterator[T], size: Callable[[T], int], limit: int) -> None:
        self._items, self._size, self._limit = items, size, limit
        self._waiting: deque[tuple[T, float]] = deque()
        self._n_bytes = 0
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._is_done = self._is_stopped = False
        self.last = time.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether `take` has nothing more to give: no item, and no error either."""
        with self._changed:
            return self._is_done and not self._waiting and self._error is None

    def waiting(self) -> list[T]:
        """Return the items that have come and were not taken."""
        with self._changed:
            return [item for item, _ in self._waiting]

    def take(self, wait: float) -> tuple[T, float] | None:
        """Return the next item and when it came, or None if there is none within `wait` seconds.

        Raises
        ------
        BaseException
            What ended the iteration, after the last item.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_done, timeout=wait)
            if self._waiting:
                item, came = self._waiting.popleft()
                self._n_bytes -= self._size(item)
                self._changed.notify_all()
                return item, came
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            return None

    def stop(self, wait: float = 0.0) -> bool:
        """Let the thread end at its next item; return whether it did within `wait` seconds."""
        with self._changed:
            self._is_stopped = True
            self._waiting.clear()
            self._changed.notify_all()
        self._thread.join(wait)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    break
        except BaseException as error:
            self._error = error
        finally:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()
            with self._changed:
                self._is_done = True
                self._changed.notify_all()

    def _put(self, item: T) -> bool:
        with self._changed:
            self.last = time.monotonic()
            self._changed.wait_for(lambda: self._n_bytes < self._limit or self._is_stopped)
            if not self._is_stopped:
                self._waiting.append((item, self.last))
                self._n_bytes += self._size(item)
                self._changed.notify_all()
        return not self._is_stopped
