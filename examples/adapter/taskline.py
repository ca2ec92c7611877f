"""A framework in miniature: it runs functions, and tells its listeners about each run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Event:
    """One run of a task: ``state`` is "started", "done" or "error"; times are Unix seconds."""

    task: str
    state: str
    started_at: float
    ended_at: float | None = None
    results: dict[str, float] = field(default_factory=dict)


class Line:
    """Runs tasks; ``listeners`` are called with each event."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[Event], Any]] = []

    def run(self, task: Callable[[], dict[str, float] | None]) -> bool:
        """Run ``task``: whether it ended well."""
        began = time.time()
        self._tell(Event(task.__name__, "started", began))
        try:
            results = task() or {}
        except Exception:
            self._tell(Event(task.__name__, "error", began, time.time()))
            return False
        self._tell(Event(task.__name__, "done", began, time.time(), results))
        return True

    def _tell(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)
