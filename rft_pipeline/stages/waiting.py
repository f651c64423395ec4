"""Rows that wait to be stored in batches."""

from collections.abc import Callable, Sequence
from threading import RLock, Timer

ROWS, SECONDS = 64, 5.0
"""Rows are stored in batches: after this many, or after this long."""
JudgementRow = dict[str, object]


class Waiting:
    """Stores rows with `keep`, in time also while no further row comes. Close it to store the last ones."""

    def __init__(self, keep: Callable[[list[JudgementRow]], None]) -> None:
        self._keep = keep
        self._rows: list[JudgementRow] = []
        self._lock = RLock()
        self._timer: Timer | None = None

    def add(self, rows: Sequence[JudgementRow]) -> None:
        with self._lock:
            self._rows += rows
            if len(self._rows) >= ROWS:
                self.close()
            elif self._rows and self._timer is None:
                self._timer = Timer(SECONDS, self.close)
                self._timer.daemon = True
                self._timer.start()

    def close(self) -> None:
        """Store what waits. Rows that could not be stored stay, so that the next call raises."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._rows:
                self._keep(self._rows)
                self._rows = []
