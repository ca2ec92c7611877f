"""The newest history, which is read in the background."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ..errors import PushError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..jobs.status import JobRow
    from .history import JobKey, PastRun, PrometheusHistory

_FRESH = 60.0  # seconds
_PATIENCE = 2.0  # seconds; a Prometheus needs more for a thousand jobs, and the page does not wait


class LiveHistory:
    """``runs`` are the last that Prometheus told; ``notes`` say what is wrong with it."""

    def __init__(self, history: PrometheusHistory) -> None:
        self._history = history
        self._due = 0.0
        self._reader: threading.Thread | None = None
        self.runs: Mapping[JobKey, list[PastRun]] = {}
        self.notes: tuple[str, ...] = ()

    def refresh(self, rows: Sequence[JobRow]) -> None:
        """Begin to read it anew where it is old. One thread calls this."""
        if time.monotonic() < self._due or (self._reader and self._reader.is_alive()):
            return
        self._reader = threading.Thread(target=self._read, args=(rows,), daemon=True)
        self._reader.start()
        self._reader.join(_PATIENCE)

    def _read(self, rows: Sequence[JobRow]) -> None:
        try:
            self.runs = self._history.runs(rows)
            self.notes = ()
        except PushError as error:
            self.notes = (f"Prometheus {self._history.url} can't be read: {error}",)
        self._due = time.monotonic() + _FRESH
