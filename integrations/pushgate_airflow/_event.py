"""What Airflow says of a run, as one frozen value: the contract between reading and reporting.

Enters: nothing of Airflow's; :mod:`._context` and :mod:`._listener_events` make these. Leaves: the
key's labels, a JobRun and an Outcome.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ("DEADLINE_MISSED", "RUNNING", "Event")

RUNNING = "running"
DEADLINE_MISSED = "deadline_missed"


class Event(NamedTuple):
    """A task's run, or a DAG's where ``task_id`` is None, at one moment.

    ``state`` is Airflow's: running, success, failed, up_for_retry, skipped, upstream_failed,
    removed; or deadline_missed, and ``ended_at`` is then the deadline. Times are Unix seconds,
    ``expected_interval`` and what else is a duration seconds; None is not known. ``map_index`` is
    -1 for a task that is not mapped.
    """

    dag_id: str
    task_id: str | None
    run_id: str
    state: str
    map_index: int = -1
    try_number: int | None = None
    started_at: float | None = None
    ended_at: float | None = None
    queued_at: float | None = None
    expected_interval: float | None = None
