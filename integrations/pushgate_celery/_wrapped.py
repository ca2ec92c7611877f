"""A method of one object with something around it, until that is undone.

For the few events that Celery sends no signal for. Only the instance is touched, never its class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_ABSENT = object()


def wrap(owner: Any, name: str, around: Callable[[Any], Any]) -> Callable[[], None]:
    """Replace ``owner.name``, a method or None, by ``around(original)``. The result undoes it.

    If other code has wrapped it again by then, ours stays, and only calls the original.
    """
    before, original = vars(owner).get(name, _ABSENT), getattr(owner, name)
    used = around(original)

    def call(*args: Any, **kwargs: Any) -> Any:
        return None if used is None else used(*args, **kwargs)

    def undo() -> None:
        nonlocal used
        used = original
        if vars(owner).get(name) is not call:
            return
        if before is _ABSENT:
            delattr(owner, name)
        else:
            setattr(owner, name, before)

    setattr(owner, name, call)
    return undo
