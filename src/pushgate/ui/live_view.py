"""The newest view of a gateway, which is read when somebody looks."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import PushError
from ..jobs.picture import read_picture
from .page import View

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..gateway.client import Gateway
    from ..jobs.matchers import Matcher
    from ..jobs.picture import Picture
    from .live_history import LiveHistory

_FRESH = 2.0  # seconds: however many look, the gateway is read once in so long


def view_of(gateway: Gateway, picture: Picture, notes: tuple[str, ...] = ()) -> View:
    """The view of a picture that was taken just now."""
    started_at = None
    with suppress(PushError):  # a proxy may let nothing through but groups
        started_at = gateway.started_at()
    return View(gateway.url, picture, time.time(), started_at=started_at, notes=notes)


class LiveView:
    """``matchers`` select the jobs; ``notes`` gives lines to show above them."""

    def __init__(
        self,
        gateway: Gateway,
        matchers: Sequence[Matcher],
        history: LiveHistory | None = None,
        notes: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self._gateway = gateway
        self._matchers = matchers
        self._history = history
        self._notes = notes
        self._lock = threading.Lock()
        self._view = View(gateway.url)
        self._due = 0.0

    def view(self) -> View:
        """The newest view. While a slow gateway is read for one caller, others get the last."""
        if self._lock.acquire(blocking=self._view.picture is None):
            try:
                if time.monotonic() >= self._due:
                    self._view = self._read()
                    self._due = time.monotonic() + _FRESH
            finally:
                self._lock.release()
        return self._view

    def _read(self) -> View:
        try:
            picture = read_picture(self._gateway, self._matchers)
        except PushError as error:
            return self._view._replace(error=str(error))
        if self._history is None:
            return view_of(self._gateway, picture, self._notes())
        self._history.refresh(picture.rows)
        view = view_of(self._gateway, picture, (*self._notes(), *self._history.notes))
        return view._replace(history=self._history.runs)
