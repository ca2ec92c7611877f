"""What a group lacks of what happened: so that nothing is told twice, or after something newer.

Enters: an event, its families, and the group that the gateway holds. Leaves: the families still to
be pushed. The rule has two steps:

1. The group *shows* the event if it has an end of the same kind (success, failure, skipped) at or
   after the event's, or one after a start that lies between the event's: Airflow's database has a
   failed task's end only from when its process exited, after all its callbacks, and its start from
   before the process knew it (14 s were seen). An end of another kind must have come later.
2. Else each time in the families is pushed where it is later than the group's. Values (duration,
   success or not, the try's number) belong to the latest end, and go or stay with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pushgate import Family, Group
    from pushgate_airflow._event import Event

__all__ = ("lacking", "shows")

_TIME = "_timestamp_seconds"
_START = f"batch_job_last_start{_TIME}"
_COMPLETION = f"batch_job_last_completion{_TIME}"
_SKIPPED = f"batch_job_last_skipped{_TIME}"
_KINDS = {
    "success": f"batch_job_last_success{_TIME}",
    "failed": f"batch_job_last_failure{_TIME}",
}
_ENDS = (_COMPLETION, _SKIPPED, f"batch_job_last_retry{_TIME}")
_RUN_SUCCESS = "batch_job_last_run_success"

_SAME = 0.001  # seconds: databases and text keep microseconds at best


def shows(event: Event, group: Group | None) -> bool:
    """Whether ``group`` shows the end that ``event`` tells."""
    if group is None or event.ended_at is None:
        return False
    if event.state in _KINDS:
        another = group.value(_RUN_SUCCESS) != (event.state == "success")
        if another and (group.value(_COMPLETION) or 0.0) <= event.ended_at + _SAME:
            return False
    end = group.value(_KINDS.get(event.state, _SKIPPED))
    if end is None:
        return False
    if end >= event.ended_at - _SAME:
        return True
    start = group.value(_START)
    if start is None or event.started_at is None:
        return False
    return event.started_at - _SAME <= start <= end + _SAME


def lacking(families: Iterable[Family], group: Group | None) -> list[Family]:
    """Those of ``families`` that say something newer than ``group`` does, or something else."""
    families = list(families)
    if group is None:
        return families
    ours = {f.name: f.samples[0].value for f in families if f.name.endswith(_TIME)}
    stamps = (_START,) if ours.keys().isdisjoint(_ENDS) else _ENDS
    behind = _latest(group.value, stamps) > _latest(ours.get, stamps) + _SAME
    return [
        family
        for family in families
        if (
            ours[family.name] > (group.value(family.name) or 0.0) + _SAME
            if family.name in ours
            else not behind and _differs(family, group)
        )
    ]


def _latest(value: Callable[[str], float | None], names: Iterable[str]) -> float:
    return max(value(name) or 0.0 for name in names)


def _differs(family: Family, group: Group) -> bool:
    return any(group.value(s.name, **s.labels) != s.value for s in family.samples)
