"""What this process has reported already: a callback and the listener see the same end.

Enters: an event and its group. Leaves: whether it is the first time. There is no lock, so a fork,
of which an Airflow process makes many, can't copy a held one: a dict's setdefault is atomic.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pushgate import GroupingKey
    from pushgate_airflow._event import Event

__all__ = ("first",)

_MAX_KEPT = 1_000
_seen: dict[tuple[object, ...], object] = {}


def first(event: Event, key: GroupingKey) -> bool:
    """False if this process was asked before for this state of this try of this run, and key.

    It counts as reported when it is asked for, not when it has arrived: trying again would delay
    the task by a second deadline.
    """
    about = (
        key,
        event.dag_id,
        event.task_id,
        event.run_id,
        event.map_index,
        event.try_number,
        event.started_at,  # a run that was deleted and made anew begins at its first try again
        event.state,
    )
    mine = object()
    is_first = _seen.setdefault(about, mine) is mine
    while len(_seen) > _MAX_KEPT:
        with suppress(RuntimeError, StopIteration):  # another thread did as well
            _seen.pop(next(iter(_seen)), None)
    return is_first
