"""Mapped tasks: one result for all the instances of a task in a run.

Enters: how many instances ended in each state, as the database counts them, so that a thousand
cost what one costs. Leaves: an Event for the task as a whole, and the families that only a mapped
task has. The task failed if any instance failed, and succeeded if none did and any succeeded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pushgate_airflow._event import Event

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ("Ended", "Mapped", "rolled_up")

_COUNTED = ("success", "failed", "skipped", "upstream_failed")


class Ended(NamedTuple):
    """The instances of a mapped task that are in ``state``: None and others are no end.

    Times are the first start, the last end and the longest duration of these instances; ``began``
    says how many of them had a process.
    """

    task_id: str
    state: str | None
    instances: int
    began: int
    started_at: float | None = None
    ended_at: float | None = None
    longest: float | None = None
    try_number: int | None = None


class Mapped(NamedTuple):
    """A mapped task as a whole: ``counts`` by state, ``longest`` in seconds."""

    event: Event
    counts: Mapping[str, int]
    longest: float | None


def rolled_up(dag_id: str, run_id: str, ended: Iterable[Ended]) -> list[Mapped]:
    """One value for each mapped task of which all instances have ended."""
    tasks: dict[str, list[Ended]] = {}
    for group in ended:
        if group.state != "removed":  # no longer in the DAG
            tasks.setdefault(group.task_id, []).append(group)
    return [
        _whole(dag_id, run_id, task_id, groups)
        for task_id, groups in tasks.items()
        if all(group.state in _COUNTED for group in groups)
    ]


def _whole(dag_id: str, run_id: str, task_id: str, groups: list[Ended]) -> Mapped:
    counts = dict.fromkeys(_COUNTED, 0)
    for group in groups:
        counts[str(group.state)] += group.instances
    state = "failed" if counts["failed"] else "success" if counts["success"] else "skipped"
    # An EmptyOperator succeeds without a process; what is skipped may have had one.
    ran = [group for group in groups if group.began or group.state in ("success", "failed")]
    event = Event(
        dag_id,
        task_id,
        run_id,
        state,
        try_number=max((g.try_number for g in ran if g.try_number is not None), default=None),
        started_at=min((g.started_at for g in ran if g.started_at is not None), default=None),
        ended_at=max((g.ended_at for g in groups if g.ended_at is not None), default=None),
    )
    longest = max((g.longest for g in ran if g.longest is not None), default=None)
    return Mapped(event, counts, longest)
