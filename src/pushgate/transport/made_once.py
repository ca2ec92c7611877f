"""A value that several threads want, made by the first."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class MadeOnce(Generic[T]):
    """A value that the first thread makes that asks for it; others wait meanwhile.

    What ``make`` raises is raised to the thread that called it, and the next one tries again.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: list[T] = []
        self._renew()

    def __call__(self) -> T:
        if not self._made:
            if os.getpid() != self._process:  # a thread of the parent may have held the lock
                self._renew()
            with self._lock:
                if not self._made:
                    self._made.append(self._make())
        return self._made[0]

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._process = os.getpid()
