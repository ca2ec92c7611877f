"""Beat: which entry of the schedule is being sent, and when it is due again.

Nothing is written into the entry or its options: a persistent scheduler would save it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from pushgate_celery._stamp import Due
from pushgate_celery._wrapped import wrap

_due: ContextVar[Due | None] = ContextVar("pushgate_due", default=None)


def due(task: str) -> Due | None:
    """The entry that is being sent, if it is of this task."""
    found = _due.get()
    return found if found is not None and found.task == task else None


def watch(scheduler: Any) -> Callable[[], None]:
    """Note what the scheduler sends, until the result is called."""
    return wrap(scheduler, "apply_async", _noting)


def _noting(send: Callable[..., Any]) -> Callable[..., Any]:
    def apply_async(entry: Any, *args: Any, **options: Any) -> Any:
        token = _due.set(_look_at(entry))
        try:
            return send(entry, *args, **options)
        finally:
            _due.reset(token)

    return apply_async


def _look_at(entry: Any) -> Due | None:
    try:
        schedule = entry.schedule
        interval = getattr(schedule, "seconds", None)  # of plain intervals
        if interval is None:
            # Not is_due(): django-celery-beat's has side effects. From now rather than from the
            # time that it was due, hence a bit less than what the schedule says in whole seconds.
            interval = math.ceil(schedule.remaining_estimate(schedule.now()).total_seconds())
        return Due(entry.task, float(interval)) if interval > 0 else None
    except Exception:  # a schedule of the user's own may lack any of it
        return None
