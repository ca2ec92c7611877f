"""What a callback's context says, whichever process made it.

Enters: the context of a task's process, of the dag-processor, of ``dag.test()`` or of a missed
deadline. Leaves: an Event, or a ValueError for a context that is none of these. The context is only
read, and no attribute of it is taken for granted: its objects are made without validation in the
dag-processor, and what is a field in one process is missing in another.

Who makes them, in Airflow 3.3:
https://github.com/apache/airflow/blob/3.3.2/task-sdk/src/airflow/sdk/execution_time/task_runner.py
(get_template_context), .../airflow-core/src/airflow/dag_processing/processor.py
(_execute_dag_callbacks, _execute_task_callbacks), .../airflow/models/deadline.py (handle_miss).
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pushgate_airflow._event import DEADLINE_MISSED, RUNNING, Event
from pushgate_airflow._schedule import expected_interval

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("event_of", "in_task_process")


def event_of(context: Mapping[str, Any], callback: object = None) -> Event:
    """The event that ``callback`` was called for."""
    if "deadline" in context:
        return _missed_deadline(context)
    ti = context.get("ti") or context.get("task_instance")
    if ti is not None and in_task_process(context):
        return _of_task(context, ti)
    # Only the dag-processor gives a reason, and it does so for a DAG's callbacks alone: their ti is
    # some task of the run, or there is none.
    if "reason" in context:
        return _of_run(context)
    if ti is None:
        raise ValueError(
            "the context has no task instance, no deadline and no reason: it is none of Airflow's;"
            " call this as a callback, with the context that Airflow passes"
        )
    return _of_lost_task(context, ti, callback)


def in_task_process(context: Mapping[str, Any]) -> bool:
    """Whether the task's own process made the context: nobody else knows when the task started."""
    ti = context.get("ti") or context.get("task_instance")
    return getattr(ti, "start_date", None) is not None


def _of_task(context: Mapping[str, Any], ti: Any) -> Event:
    # The state is unset or running until the body has ended.
    state = _text(ti.state) or RUNNING
    ended_at = None
    if state != RUNNING:
        ended_at = _unix(ti.end_date) or time.time()  # there is none where the task skipped itself
    return _with_schedule(
        Event(
            ti.dag_id,
            ti.task_id,
            ti.run_id,
            state,
            map_index=_map_index(ti),
            try_number=ti.try_number,
            started_at=_unix(ti.start_date),
            ended_at=ended_at,
        ),
        context,
    )


def _of_lost_task(context: Mapping[str, Any], ti: Any, callback: object) -> Event:
    """A task whose process could not speak for itself: it was killed, or never came to be."""
    task = context.get("task")
    return _with_schedule(
        Event(
            ti.dag_id,
            ti.task_id,
            ti.run_id,
            _slot(task, callback) or _state_of_lost(ti, task),
            map_index=_map_index(ti),
            try_number=ti.try_number,
            ended_at=time.time(),
        ),
        context,
    )


def _of_run(context: Mapping[str, Any]) -> Event:
    run = context.get("dag_run")  # None where the run has no task that Airflow could name
    state = _text(getattr(run, "state", None))
    if state not in ("success", "failed"):
        state = "success" if context["reason"] == "success" else "failed"
    return _with_schedule(
        Event(
            context["dag"].dag_id,
            None,
            context["run_id"],
            state,
            started_at=_unix(getattr(run, "start_date", None)),
            ended_at=_unix(getattr(run, "end_date", None)) or time.time(),
        ),
        context,
    )


def _missed_deadline(context: Mapping[str, Any]) -> Event:
    run = context["dag_run"]
    return Event(
        run["dag_id"],
        None,
        run["dag_run_id"],
        DEADLINE_MISSED,
        started_at=_unix(run.get("start_date")),
        ended_at=_unix(context["deadline"].get("deadline_time")) or time.time(),
    )


def _slot(task: Any, callback: object) -> str | None:
    """The state that the slot stands for, where ``callback`` sits in one of the two.

    Their contexts are the same: the request that says which one is meant is not in them.
    """
    slots = [
        state
        for state, name in (
            ("up_for_retry", "on_retry_callback"),
            ("failed", "on_failure_callback"),
        )
        if any(one is callback for one in _as_list(getattr(task, name, None)))
    ]
    return slots[0] if len(slots) == 1 else None


def _state_of_lost(ti: Any, task: Any) -> str:
    """As the scheduler decides it: TaskInstance.is_eligible_to_retry."""
    try_number, max_tries = ti.try_number, getattr(ti, "max_tries", 0)
    again = getattr(task, "retries", max_tries) and try_number <= max_tries
    return "up_for_retry" if again else "failed"


def _with_schedule(event: Event, context: Mapping[str, Any]) -> Event:
    dag, run = context.get("dag"), context.get("dag_run")
    if dag is None or run is None:
        return event
    return event._replace(expected_interval=expected_interval(dag, run))


def _map_index(ti: Any) -> int:
    index = getattr(ti, "map_index", None)
    return -1 if index is None else int(index)


def _text(state: Any) -> str | None:
    """An enum's value; str() of one says other things in other Pythons."""
    return None if state is None else str(getattr(state, "value", state))


def _unix(moment: Any) -> float | None:
    if isinstance(moment, str):  # a deadline's context is JSON
        moment = datetime.fromisoformat(moment.replace("Z", "+00:00"))  # Python 3.10 knows no Z
    return None if moment is None else float(moment.timestamp())


def _as_list(callbacks: Any) -> list[Any]:
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
