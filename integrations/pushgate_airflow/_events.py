"""What Airflow says of a run, as one value, and what it means: a JobRun and an Outcome.

``_task_events`` and ``_scheduler_events`` make the values from Airflow's objects. All other modules
know nothing of those objects.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from pushgate import GroupingKey, JobRun, Outcome, Status

RUNNING = "running"
DEADLINE_MISSED = "deadline_missed"

_STATUS = {
    "success": Status.SUCCESS,
    "failed": Status.FAILURE,
    "up_for_retry": Status.RETRY,
    "skipped": Status.SKIPPED,
    "upstream_failed": Status.UPSTREAM_FAILED,
    "removed": Status.SKIPPED,
}
_NEVER_BEGAN = ("upstream_failed", "removed")


class Event(NamedTuple):
    """A task's run, or a DAG's where ``task_id`` is None, at one moment.

    ``state`` is Airflow's (running, success, failed, up_for_retry, skipped, upstream_failed,
    removed) or deadline_missed; ``ended_at`` is then the deadline. Times are Unix seconds,
    ``expected_interval`` is in seconds; None is not known. ``map_index`` is -1 for a task that is
    not mapped. ``timed_out`` is of a DAG's run that has ended. ``exception`` is the class of what a
    task raised. Empty texts are not known.
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
    timed_out: bool | None = None
    host: str = ""
    exception: str = ""


def job_run(event: Event, key: GroupingKey) -> JobRun:
    """The run that ``event`` is about."""
    return JobRun(
        key,
        event.started_at,
        event.expected_interval,
        host=event.host,
        run_id=event.run_id,
        url=_page(event),
    )


def _page(event: Event) -> str:
    """The page of the run, or of the task's log; empty without ``[api] base_url``.

    As TaskInstance.log_url has it, which not all objects have that an event is made of.
    """
    from airflow.configuration import conf

    base = conf.get("api", "base_url", fallback=None)
    if not base:
        return ""
    page = f"{base.rstrip('/')}/dags/{event.dag_id}/runs/{quote(event.run_id)}"
    if event.task_id is None:
        return page
    index = f"/mapped/{event.map_index}" if event.map_index >= 0 else ""
    number = f"?try_number={event.try_number}" if event.try_number else ""
    return f"{page}/tasks/{event.task_id}{index}{number}"


def outcome(event: Event) -> Outcome | None:
    """How the run ended; None where it goes on. Without ``ended_at`` it ended now."""
    status = _STATUS.get(event.state)
    if status is None:
        return None
    ended_at = time.time() if event.ended_at is None else event.ended_at
    began = None if event.state in _NEVER_BEGAN else event.started_at
    wait = None
    if began is not None and event.queued_at is not None:
        wait = max(0.0, began - event.queued_at)
    return Outcome(
        status,
        ended_at,
        duration=None if began is None else max(0.0, ended_at - began),
        try_number=event.try_number,
        queue_wait=wait,
        timed_out=event.timed_out,
        exception=event.exception,
    )


def expected_interval(dag: Any, dag_run: Any) -> float | None:
    """Seconds from when ``dag_run`` was due to when the DAG's next run is, by its schedule.

    Exact where runs come at irregular times: ``0 9 * * 1-5`` gives three days on a Friday. None for
    a run that the scheduler did not make, and where no time says when the next run is: no schedule,
    ``@once``, ``@continuous``, assets. No database is asked.
    """
    from pushgate_airflow.version_compat import next_due

    if plain_state(getattr(dag_run, "run_type", None)) != "scheduled":
        return None
    try:
        due = next_due(dag.timetable, dag_run, dag.end_date)
    except Exception as error:  # a timetable of the user's may raise anything
        logging.getLogger("pushgate").debug("the schedule of %r tells no period: %s", dag, error)
        return None
    span = 0.0 if due is None else (due - dag_run.run_after).total_seconds()
    return span if span > 0 else None


def plain_state(state: Any) -> str | None:
    """The text of a state, a run type or None. str() of an enum differs between Pythons."""
    return None if state is None else str(getattr(state, "value", state))


def unix_time(moment: Any) -> float | None:
    """Unix seconds, of a datetime, of its text in JSON, or of such seconds. None stays None."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    return moment if moment is None or isinstance(moment, float) else float(moment.timestamp())
