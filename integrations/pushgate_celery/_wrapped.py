"""A method of one object with something around it, until that is undone.

For the few events that Celery sends no signal for. Only the instance is touched, never its class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_ABSENT = object()


class Wrapped:
    """Replaces ``owner.name``, a method or None, by ``around(original)``."""

    def __init__(self, owner: Any, name: str, around: Callable[[Any], Any]) -> None:
        self._owner = owner
        self._name = name
        self._before = vars(owner).get(name, _ABSENT)
        self._original = getattr(owner, name)
        self._ours = around(self._original)
        self._active = True
        setattr(owner, name, self._call)

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        call = self._ours if self._active else self._original
        return call(*args, **kwargs) if call is not None else None

    def undo(self) -> None:
        """Restore it. If other code has wrapped it again, ours only calls the original."""
        self._active = False
        if vars(self._owner).get(self._name) != self._call:
            return
        if self._before is _ABSENT:
            delattr(self._owner, self._name)
        else:
            setattr(self._owner, self._name, self._before)
